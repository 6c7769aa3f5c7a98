"""The folder in which a store is made: it becomes the store when all of it is there, and can be taken up until then.

OUT.preparing/plan.json       what is made of what, and how: other plans do not go on with this work
OUT.preparing/journal.jsonl   a line for each file whose clips are in the arrays; what no line names does not count
OUT.preparing/train.npy …     the arrays, growing
OUT.preparing/parts-…/        what workers have decoded ahead of its turn
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from stochvid.core.errors import InputError
from stochvid.core.files import replacing, sync_folder, writable_folder
from stochvid.core.untrusted import parse_json, read_json
from stochvid.data.splits import SPLITS
from stochvid.data.store import WORK, SplitIndex, difference, is_store
from stochvid.data.tracks import Track
from stochvid.prepare.store_writer import StoreWriter
from stochvid.prepare.workers import Part, cannot_write

PLAN, JOURNAL, LOCK = "plan.json", "journal.jsonl", "lock"


class Work:
    """The making of one store. To be used in a `with` block.

    Args:
        out: what the store will be.
        plan: what it is made of, and how.
        size: height and width of the frames.
        channels: of the frames.
        tracks: as `StoreWriter` takes them.
        overwrite: whether unfinished work of another plan may be thrown away.

    Attributes:
        folder: where it is made.
        parts: a folder in it for workers.
        writer: of the arrays.

    Raises:
        InputError: there is other work, or another process at it, or the folder cannot be written.
    """

    def __init__(
        self, out: Path, plan: dict[str, Any], size: int, channels: int, tracks: Mapping[str, Track], overwrite: bool
    ):
        self.out, self.plan, self.overwrite = out, plan, overwrite
        self.folder = out.with_name(out.name + WORK)
        self.writer = StoreWriter(self.folder, size, channels, tracks)
        self._aside = out.with_name(f"{out.name}.replaced")

    def __enter__(self) -> Self:
        if self.folder.is_dir() and not (self.folder / PLAN).is_file() and set(os.listdir(self.folder)) - {LOCK}:
            raise InputError(f"{str(self.folder)!r} is in the way: it is no work of stochvid. Move it elsewhere.")
        writable_folder(self.folder)
        self._lock = FileLock(self.folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"another process is preparing {str(self.out)!r} right now. Wait for it.") from None
        try:
            self._recover()
            self._claim()
            self.parts = Path(tempfile.mkdtemp(prefix="parts-", dir=self.folder))
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        """Leaves the folder only if there is something in it to go on with."""
        self.writer.close()
        if self.folder.exists():
            shutil.rmtree(self.parts, ignore_errors=True)
            journal = self.folder / JOURNAL
            if not (journal.is_file() and journal.stat().st_size):
                shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def take_up(self, tasks: Sequence[Any]) -> list[dict[str, Any]]:
        """Takes up the clips of the first tasks, as far as the journal has them.

        Args:
            tasks: what identifies each task, and what becomes of it.

        Returns:
            The journal's entries, one for each of the tasks that are done.
        """
        path = self.folder / JOURNAL
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(True) if path.is_file() else []
        entries: list[dict[str, Any]] = []
        splits: dict[str, SplitIndex] = {}
        for line, task in zip(lines, tasks, strict=False):
            try:
                entry = parse_json(line)
                if entry["task"] != task:
                    break  # from here on, the files or their splits are others
                clips = [_checked(*clip) for clip in entry["clips"]]
                entry["wrong"] = [str(fault) for fault in entry["wrong"]]
            except (ValueError, TypeError, LookupError):
                break  # it was killed while it wrote this line, or somebody else wrote in it
            entries.append(entry)
            for split, name, length, fps in clips:
                splits.setdefault(split, SplitIndex()).add(name, length, fps)
        if len(entries) < len(lines):
            with replacing(path) as temporary:
                temporary.write_text("".join(lines[: len(entries)]), encoding="utf-8")
        for array in self.folder.glob("*.npy"):
            if array.name.partition(".")[0] not in splits:
                array.unlink()
        try:
            self.writer.go_on(splits)
        except OSError as error:
            raise cannot_write(self.folder, error) from None
        return entries

    def append(self, task: Any, part: Part, clips: Sequence[tuple[str, str, int, float | None]]) -> None:
        """Appends a task's clips to the arrays, then to the journal.

        Args:
            task: what identifies it, as JSON.
            part: its frames.
            clips: split, name, length and frames per second of each clip, in the order of the frames.

        Raises:
            InputError: the disk is full.
        """
        try:
            first = 0
            with open(part.path, "rb") as file:
                for split, name, length, fps in clips:
                    tracks = {track: values[first : first + length] for track, values in part.tracks.items()}
                    self.writer.add(split, name, file, length, fps, tracks)
                    first += length
            self.writer.flush()
            with open(self.folder / JOURNAL, "a", encoding="utf-8") as journal:
                journal.write(json.dumps({"task": task, "clips": clips, "wrong": part.wrong}) + "\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise cannot_write(self.folder, error) from None

    def finish(self, about: dict[str, Any], order: Mapping[str, Sequence[int]] | None = None) -> None:
        """Makes the folder the store.

        Args:
            about: as `StoreWriter.finish`.
            order: likewise.

        Raises:
            InputError: the disk is full, or the folder cannot be put into its place.
        """
        try:
            shutil.rmtree(self.parts)
            self.writer.finish(about, order)
            sync_folder(self.folder)
            if is_store(self.out):
                os.replace(self.out, self._aside)
            elif self.out.exists():
                self.out.rmdir()  # it is empty
            os.replace(self.folder, self.out)
            sync_folder(self.out.parent)
            for name in (PLAN, JOURNAL, LOCK):  # not before: without them, nobody could take up the work
                (self.out / name).unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.out, error) from None
        finally:
            self._recover()

    def discard(self) -> None:
        """Throws the work away."""
        (self.folder / JOURNAL).unlink(missing_ok=True)

    def _claim(self) -> None:
        """Makes the folder this plan's."""
        path = self.folder / PLAN
        plan: Any = self.plan
        if path.is_file():
            try:
                plan = read_json(path)
            except (OSError, ValueError):
                plan = None
        # other files are no other plan: the journal says from which on they differ
        same = isinstance(plan, dict) and plan | {"files": ""} == self.plan | {"files": ""}
        if not same and not self.overwrite:
            raise InputError(
                f"{str(self.folder)!r} holds unfinished work with other options ({difference(plan, self.plan)}). Give "
                "those to go on with it, or --overwrite to begin anew."
            )
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)  # parts of a killed process
            elif not same and entry.name != LOCK:
                entry.unlink()
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.plan), encoding="utf-8")

    def _recover(self) -> None:
        """After a stop while one store was put into the place of another: the new one, or else the old one."""
        if is_store(self._aside):
            if self.out.exists():
                shutil.rmtree(self._aside)
            else:
                os.replace(self._aside, self.out)


def _checked(split: str, name: str, length: int, fps: float | None) -> tuple[str, str, int, float | None]:
    """A clip of the journal.

    Raises:
        ValueError: it is none that this program wrote.
    """
    rate = fps is None or (type(fps) in (int, float) and 0 < fps < 1e6)
    if split not in SPLITS or type(name) is not str or type(length) is not int or length < 1 or not rate:
        raise ValueError("no clip")
    return split, name, length, fps
