"""Run folders: what a training run leaves, and how it is found and continued.

config.yaml     every setting of the run
metrics.csv     losses over the steps
checkpoints/    step-NNNNNNNN.ckpt, to continue from: the newest ones, and that of the best validation
samples/        futures of held-out clips as the model learned
tensorboard/    the same for TensorBoard
logger.json     what another logger calls the run, if there is one
model/          the trained model: config.json, model.safetensors, README.md (its card), training.yaml (the run's
                config), clips.json (rate, stride and crop of the store that it was trained on, if it was), and
                health.json (what its futures of held-out clips are worth)
best/           likewise, with the weights of the best validation
"""

import csv
import dataclasses
import json
import math
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from stochvid.config import CLIPS, HEALTH, RUN_CONFIG, TRAINING, TrainConfig, load_config
from stochvid.core.errors import InputError
from stochvid.core.files import remove_leftovers, replacing, replacing_folder, writable_folder
from stochvid.core.untrusted import MOST_CSV, read_json, read_text, shown

if TYPE_CHECKING:
    from stochvid.models.pretrained import Pretrained

METRICS, CARD, LOCK = "metrics.csv", "README.md", ".lock"
LOGGED_AS = "logger.json"  # what another tool calls the run, so that it goes on there
CONTENTS = (RUN_CONFIG, METRICS, LOGGED_AS, "checkpoints", "samples", "tensorboard", "model", "best")
FIRST_COLUMNS = ("step", "split", "loss")  # of metrics.csv; the objective's terms stand between them
LAST_COLUMNS = ("lr", "clips_per_s")
CRPS = "crps"  # the column of rollouts by which the best validation is found; without them it is the loss
CHECKPOINT = re.compile(r"step-(\d{8})\.ckpt")

# Settings of how a run is carried out. All others are of what is learned, and stay as they were when it began.
CARRYING_OUT = {
    "data": {"store", "mnist", "workers"},  # the data may have moved: a checkpoint knows their digest
    "trainer": {
        "device", "devices", "num_nodes", "compile", "recompute", "log_every", "validate_every", "checkpoint_every",
        "keep_checkpoints", "sample_clips", "rollout_clips", "patience",
        "logger",
    },
}  # fmt: skip


class Run:
    """A run folder. A context: from `open_new` or `open_again` to its end, no other process may train in the folder.

    Attributes:
        folder: where it is.
        checkpoint: what to continue from, or None.
        refused: newer checkpoints, which are damaged or of another run.
        stopped_by: the signal that ended training early, or None.
        main: whether this process is the one of the run that writes.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.checkpoint: Path | None = None
        self.refused: list[Path] = []
        self.stopped_by: signal.Signals | None = None
        self.main = True
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._lock is not None:
            self._lock.release()

    @property
    def step(self) -> int:
        """The step that training continues from."""
        return _step_of(self.checkpoint) if self.checkpoint else 0

    def checkpoint_at(self, step: int) -> Path:
        """The file of a step's checkpoint."""
        return self.folder / "checkpoints" / f"step-{step:08d}.ckpt"

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        found = (self.folder / "checkpoints").glob("step-*.ckpt")
        return sorted(path for path in found if CHECKPOINT.fullmatch(path.name))

    def only_begun(self) -> bool:
        """Whether a run was started here and ended before it left anything to continue from."""
        return (self.folder / RUN_CONFIG).is_file() and not self.checkpoints() and not (self.folder / "model").exists()

    def open_new(self, config: TrainConfig, *, overwrite: bool, init: str | Path | None = None) -> None:
        """Makes the folder ready for a new run.

        Raises:
            InputError: the folder holds something and is not to be overwritten, or cannot be written.
        """
        there = [name for name in CONTENTS if (self.folder / name).exists()]
        if there and not overwrite:
            more = "" if self.only_begun() else f"Continue it with --resume {self.folder}, c"
            raise InputError(
                f"run folder {str(self.folder)!r} already holds {', '.join(there)}. {more or 'C'}hoose another --out, "
                "or replace it with --overwrite."
            )
        self._hold()
        if there:
            self._remove(there)
        with replacing(self.folder / RUN_CONFIG) as path:
            started = f"# started from --init {init}\n" if init else ""
            path.write_text(started + config.to_yaml(), encoding="utf-8", errors="backslashreplace")

    def open_again(self, config: TrainConfig, check: Callable[[Path], None]) -> None:
        """Makes the folder ready to be continued from its newest checkpoint that is whole.

        Args:
            config: of the continued run.
            check: raises InputError where a checkpoint is damaged, or of another run.

        Raises:
            InputError: there is no run or no good checkpoint, or the config differs in more than how it is carried
                out, and a later end.
        """
        path = self.folder / RUN_CONFIG
        if not path.is_file():
            raise InputError(
                f"there is no run to continue in {str(self.folder)!r}: it has no {RUN_CONFIG}. Check --resume."
            )
        if difference := changed(dataclasses.asdict(load_config(path)), config):
            raise InputError(
                f"{difference} A continued run keeps its settings; only --trainer.max_steps may grow. "
                + self._instead(difference)
            )
        self.find_checkpoint(check)
        self._hold()

    def _instead(self, difference: str) -> str:
        if difference.startswith("--model."):
            return "Start a new run with another --out."
        again = f"stochvid train --config {self.folder / RUN_CONFIG} --init {self.folder} --out NEW"
        return f"To use its weights with other settings, start a new run from them: {again}, and the settings."

    def find_checkpoint(self, check: Callable[[Path], None]) -> None:
        """Sets `checkpoint` to the newest one that passes a check, and `refused` to those that were newer.

        Raises:
            InputError: there is none.
        """
        reasons = []
        for path in reversed(self.checkpoints()):
            try:
                check(path)
            except InputError as error:
                reasons.append(str(error))
                self.refused.append(path)
                continue
            self.checkpoint = path
            if reasons and self.main:
                print("stochvid:", *reasons, f"Continuing from {path.name}, the one before.", file=sys.stderr)
            return
        why = f": {reasons[0]}" if reasons else "."
        raise InputError(
            f"run {str(self.folder)!r} has no checkpoint to continue from{why} Start it again with --overwrite."
        )

    def record(self, config: TrainConfig) -> None:
        """Writes a continued run's config, once it does continue; comments stay. Clears away what is of no use."""
        for path in self.refused:
            path.replace(path.with_name(f"{path.name}.refused"))
        remove_leftovers(self.folder)
        path = self.folder / RUN_CONFIG
        if load_config(path) == config:
            return
        comments = [line for line in path.read_text(encoding="utf-8").splitlines(True) if line.startswith("#")]
        with replacing(path) as temporary:
            temporary.write_text("".join(comments) + config.to_yaml(), encoding="utf-8", errors="backslashreplace")

    def save_model(
        self,
        model: "Pretrained",
        place: str,
        preprocessing: dict[str, Any] | None = None,
        health: str | None = None,
        findings: Sequence[str] = (),
        name: str = "model",
    ) -> None:
        """Writes a model's folder.

        Args:
            model: to save.
            place: what it was trained on, for its card.
            preprocessing: as `StoredClips.preprocessing`.
            health: as `Health.to_json`.
            findings: what is wrong with it.
            name: of the folder.
        """
        config, rows = load_config(self.folder / RUN_CONFIG), read_metrics(self.folder / METRICS)
        held_out = [row for row in rows if row["split"] == "val"]
        by = CRPS if any(row.get(CRPS) for row in held_out) else "loss"
        finite = [row for row in held_out if row[by] and math.isfinite(float(row[by]))]
        best = min(finite, key=lambda row: float(row[by]), default=None)
        hours = _seconds([row for row in rows if row["split"] == "train"], config.data.batch_size) / 3600
        card = model.generate_model_card(
            name=folder_name(str(self.folder)),
            training=config,
            validation=best if name == "best" else held_out[-1] if held_out else None,
            effort=f"{hours:.2g} hours on {config.processes} × {place}",
            findings=findings,
        )
        model.documents = {CARD: str(card), TRAINING: (self.folder / RUN_CONFIG).read_text(encoding="utf-8")}
        if preprocessing:
            model.documents[CLIPS] = json.dumps(preprocessing)
        if health:
            model.documents[HEALTH] = health
        with replacing_folder(self.folder / name) as folder:
            model.save_pretrained(folder)

    def _hold(self) -> None:
        lock = FileLock(writable_folder(self.folder) / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"another process is training in {str(self.folder)!r}. Wait for it to end, or choose another --out."
            ) from None
        except NotImplementedError:  # a file system without locks
            return
        self._lock = lock

    def _remove(self, names: list[str]) -> None:
        try:
            load_config(self.folder / RUN_CONFIG)
        except InputError:
            raise InputError(
                f"folder {str(self.folder)!r} holds {', '.join(names)}, but is not a run of stochvid (no valid "
                f"{RUN_CONFIG}), so it is not overwritten. Choose another --out."
            ) from None
        for name in names:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def changed(saved: dict[str, dict[str, Any]], given: TrainConfig) -> str | None:
    """The first setting in which a continued run may not differ, in words; None if there is none.

    Args:
        saved: the config that the run began with.
        given: the config to continue with.
    """
    for group, fields in saved.items():
        for name, old in fields.items():
            new = getattr(getattr(given, group), name)
            longer = (group, name) == ("trainer", "max_steps") and new > old
            if new != old and not longer and name not in CARRYING_OUT.get(group, ()):
                return f"--{group}.{name} is {old!r} in the run, but {new!r} was given."
    return None


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a `metrics.csv`; none if it is not there.

    Raises:
        InputError: the file is none of stochvid's.
    """
    try:
        whole = read_text(path, MOST_CSV).rpartition("\n")[0]  # a last line without an end was cut short
        rows = list(csv.DictReader(whole.splitlines(), strict=True))
        for row in rows:
            loss, trained = float(row["loss"]), row["split"] == "train"  # a held-out loss may overflow
            names = tuple(row)
            right = names[:3] == FIRST_COLUMNS and names[-2:] == LAST_COLUMNS
            right = right and int(row["step"]) >= 0 and (trained or row["split"] == "val")
            if not right or (trained and not (math.isfinite(loss) and math.isfinite(float(row["clips_per_s"])))):
                raise ValueError(row)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, csv.Error):
        raise InputError(f"{str(path)!r} is not a metrics file of stochvid. Move it away to go on.") from None
    return rows


def _step_of(checkpoint: Path) -> int:
    named = CHECKPOINT.fullmatch(checkpoint.name)
    assert named is not None, checkpoint
    return int(named[1])


def _seconds(rows: list[dict[str, str]], batch: int) -> float:
    """How long the steps of training rows took, validations left out."""
    steps = [0, *(int(row["step"]) for row in rows)]
    clips = [batch * (step - before) for before, step in pairwise(steps)]
    return sum(count / max(float(row["clips_per_s"]), 1e-9) for count, row in zip(clips, rows, strict=True))


def read_preprocessing(model: Path) -> dict[str, Any]:
    """How a model's training looked at its clips, as far as its folder says: `fps`, `stride`, `crop` and `range`.

    Raises:
        InputError: what it says makes no sense.
    """
    from stochvid.media.values import check_range

    how: dict[str, Any] = {"fps": None, "stride": 1, "crop": "none", "range": None}
    path = model / CLIPS
    if path.is_file():
        try:
            how |= read_json(path)
            right = 1 <= how["stride"] < 1e6 and (how["fps"] is None or 0 < how["fps"] < 1e4)
            if not right or type(how["stride"]) is not int or how["crop"] not in ("none", "centre"):
                raise ValueError(shown(how))
            if isinstance(how["range"], str):
                raise ValueError(shown(how["range"]))
            how["range"] = check_range(how["range"])
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{str(path)!r} is not as it should be: {error!s:.100}. Delete it, or train again."
            ) from None
    return how


def folder_name(model: str) -> str:
    """What results of a model are called: the name of its run (RUN-best for its `best/`), folder, or repository."""
    folder = Path(model).resolve() if Path(model).exists() else Path(model)
    if folder.name == "best" and (folder.parent / RUN_CONFIG).is_file():
        return f"{folder.parent.name}-best"
    return folder.parent.name if folder.name == "model" else folder.name
