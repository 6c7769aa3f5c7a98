"""What an evaluation has scored so far, on disk, so that it can go on after an interruption."""

import json
import shutil
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from stochvid.core.errors import InputError
from stochvid.core.files import check_free, replacing, writable_folder
from stochvid.core.untrusted import MOST_RECORDS, parse_json, read_json, read_text
from stochvid.evaluation.protocols import SHOWN_BY
from stochvid.evaluation.results import RESULTS, is_scored, summarise

WORK = ".evaluating"  # ends the name of the folder in which an evaluation is kept until it is whole


class Journal:
    """The records of clips, one JSON line each, beside what they are of. A context: one process at a time.

    Args:
        out: folder of the results; the journal is kept in `OUT.evaluating`.
        identity: of the evaluation: everything that its numbers depend on.
        resume: go on with what is there, if something is.
        overwrite: begin again, and let results be replaced.

    Attributes:
        records: of the clips, in their order.

    Raises:
        InputError: on entering, if there is something that may not be replaced, or that is of another evaluation.
    """

    def __init__(self, out: Path, identity: dict[str, Any], *, resume: bool, overwrite: bool):
        self.out = out.resolve()
        if not self.out.name:
            raise InputError(f"--out {str(out)!r} is not a folder for results. Name one, as in --out evaluations/mine.")
        self.folder = self.out.with_name(self.out.name + WORK)
        self.records: list[dict[str, Any]] = []
        self._identity, self._resume, self._overwrite = json.loads(json.dumps(identity)), resume, overwrite
        self._about: dict[str, Any] = {}

    def __enter__(self) -> Self:
        check_free(self.out, RESULTS, self._overwrite)
        begun = (self.folder / "about.json").is_file()
        if begun and not (self._resume or self._overwrite):
            raise InputError(
                f"an evaluation was begun in {str(self.folder)!r}. Continue with --resume, or begin again with "
                "--overwrite."
            )
        writable_folder(self.folder)
        self._lock = FileLock(self.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"another process is working in {str(self.folder)!r}. Wait for it to end.") from None
        try:
            if not (begun and self._resume and self._read()):
                self.records, self._about = [], {"identity": self._identity}
                self._write_about()
            self._rewrite()
            self._file = open(self._lines, "a", encoding="utf-8")
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()
        self._lock.release()
        if not self.records:  # nothing to go on from
            self.remove()

    def add(self, record: dict[str, Any]) -> None:
        """Notes the next clip."""
        self.records.append(record)
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def cut(self, count: int) -> None:
        """Forgets all but the first `count` records."""
        if count < len(self.records):
            del self.records[count:]
            self._file.close()
            self._rewrite()
            self._file = open(self._lines, "a", encoding="utf-8")  # noqa: SIM115

    def keep(self, name: str, value: Any) -> Any:
        """Notes a value that must stay what it was when the evaluation began, and gives that."""
        if name not in self._about:
            self._about[name] = value
            self._write_about()
        return self._about[name]

    def remove(self) -> None:
        """Deletes the journal: the results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _lines(self) -> Path:
        return self.folder / "clips.jsonl"

    def _write_about(self) -> None:
        with replacing(self.folder / "about.json") as path:
            path.write_text(json.dumps(self._about, indent=1), encoding="utf-8")

    def _rewrite(self) -> None:
        with replacing(self._lines) as path:
            path.write_text("".join(json.dumps(record) + "\n" for record in self.records), encoding="utf-8")

    def _read(self) -> bool:
        """Takes up what is there; false if that is of another evaluation, and may be replaced."""
        try:
            self._about = read_json(self.folder / "about.json")
            lines = read_text(self._lines, MOST_RECORDS).split("\n")[:-1] if self._lines.exists() else []
            self.records = [parse_json(line) for line in lines]  # a last line without an end was cut short
            began, chunk = self._about["identity"], self._about.get("chunk", 1)
            if type(chunk) is not int or chunk < 1:
                raise ValueError(f"chunk is {chunk!r}")
            if not all(map(_is_whole, self.records)):
                raise ValueError("a clip's record is not whole")
            summarise(self.records)  # what cannot be summed up now would fail after hours
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            if self._overwrite:
                return False
            raise InputError(
                f"what was evaluated in {str(self.folder)!r} is broken ({error!s:.100}). Start again with --overwrite."
            ) from None
        if began != self._identity and not self._overwrite:
            raise InputError(
                f"the evaluation in {str(self.folder)!r} was another one: {difference(began, self._identity)}. Go on "
                "with the same, choose another --out, or start again with --overwrite."
            )
        return began == self._identity


def _is_whole(record: dict[str, Any]) -> bool:
    """Whether a clip's record has values of the right kinds where `summarise` does not look at them."""
    metrics = {name: value for name, value in record.items() if isinstance(value, dict) and "best" in value}
    numbers = [metric[f"{which}_sample"] for metric in metrics.values() for which in ("best", "worst")]
    numbers += [record.get("clipped", 0), *record["not_finite"]]
    if is_scored(record) and SHOWN_BY not in metrics:
        return False
    return type(record["digest"]) is str and all(type(number) is int and number >= 0 for number in numbers)


def difference(old: Any, new: Any, name: str = "") -> str:
    """The first fields in which two plain values differ, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        fields = [field for field in {**old, **new} if old.get(field) != new.get(field)]
        return ", ".join(difference(old.get(f), new.get(f), f"{name}.{f}".lstrip(".")) for f in fields)
    return f"{name} was {old!r:.60}, is {new!r:.60}"
