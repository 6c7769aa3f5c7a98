"""Run folders: what a training run leaves, and how it is found and continued.

config.yaml     every setting of the run
metrics.csv     losses over the steps
checkpoints/    step-NNNNNNNN.ckpt, to continue from
samples/        futures of held-out clips as the model learned
tensorboard/    the same for TensorBoard
model/          the trained model: config.json, model.safetensors, training.yaml (the run's config), and clips.json
                (rate, stride and crop of the store that it was trained on, if it was)
"""

import dataclasses
import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

from stochvid.config import CLIPS, TRAINING, TrainConfig, load_config
from stochvid.errors import InputError
from stochvid.files import replacing, replacing_folder, writable_folder
from stochvid.untrusted import read_json, shown

CONFIG = "config.yaml"
CONTENTS = (CONFIG, "metrics.csv", "checkpoints", "samples", "tensorboard", "model")
CHECKPOINT = re.compile(r"step-(\d{8})\.ckpt")


class Run:
    """A run folder.

    Attributes:
        folder: where it is.
        checkpoint: what to continue from, or None.
        stopped_by: the signal that ended training early, or None.
        main: whether this process is the one of the run that writes.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.checkpoint: Path | None = None
        self.stopped_by: signal.Signals | None = None
        self.main = True

    @property
    def step(self) -> int:
        """The step that training continues from."""
        return int(CHECKPOINT.fullmatch(self.checkpoint.name)[1]) if self.checkpoint else 0

    def checkpoint_at(self, step: int) -> Path:
        """The file of a step's checkpoint."""
        return self.folder / "checkpoints" / f"step-{step:08d}.ckpt"

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        found = (self.folder / "checkpoints").glob("step-*.ckpt")
        return sorted(path for path in found if CHECKPOINT.fullmatch(path.name))

    def only_begun(self) -> bool:
        """Whether a run was started here and ended before it left anything to continue from."""
        return (self.folder / CONFIG).is_file() and not self.checkpoints() and not (self.folder / "model").exists()

    def open_new(self, config: TrainConfig, *, overwrite: bool, init: str | Path | None = None) -> None:
        """Makes the folder ready for a new run.

        Raises:
            InputError: the folder holds something and is not to be overwritten, or cannot be written.
        """
        there = [name for name in CONTENTS if (self.folder / name).exists()]
        if there and not overwrite:
            raise InputError(
                f"run folder {str(self.folder)!r} already holds {', '.join(there)}. Continue it with --resume "
                f"{self.folder}, choose another --out, or replace it with --overwrite."
            )
        if there:
            self._remove(there)
        writable_folder(self.folder)
        with replacing(self.folder / CONFIG) as path:
            started = f"# started from --init {init}\n" if init else ""
            path.write_text(started + config.to_yaml(), encoding="utf-8")

    def open_again(self, config: TrainConfig) -> None:
        """Makes the folder ready to be continued from its newest checkpoint.

        Raises:
            InputError: there is no run or no checkpoint, or the config differs in more than a later end.
        """
        path = self.folder / CONFIG
        if not path.is_file():
            raise InputError(
                f"there is no run to continue in {str(self.folder)!r}: it has no {CONFIG}. Check --resume."
            )
        self._compare(load_config(path), config)
        self.checkpoint = self.newest()
        writable_folder(self.folder)

    def newest(self) -> Path:
        """The newest checkpoint.

        Raises:
            InputError: there is none.
        """
        if not self.checkpoints():
            raise InputError(
                f"run {str(self.folder)!r} has no checkpoint to continue from. Start it again with --overwrite."
            )
        return self.checkpoints()[-1]

    def record(self, config: TrainConfig) -> None:
        """Writes a continued run's config, once it does continue; comments stay."""
        path = self.folder / CONFIG
        if load_config(path) == config:
            return
        comments = [line for line in path.read_text(encoding="utf-8").splitlines(True) if line.startswith("#")]
        with replacing(path) as temporary:
            temporary.write_text("".join(comments) + config.to_yaml(), encoding="utf-8")

    def save_model(self, model, seen: dict[str, Any] | None = None) -> None:
        """Writes the model folder, with the run's config in it, and what `StoredClips.seen` says."""
        with replacing_folder(self.folder / "model") as folder:
            model.save_pretrained(folder)
            shutil.copyfile(self.folder / CONFIG, folder / TRAINING)
            if seen:
                (folder / CLIPS).write_text(json.dumps(seen), encoding="utf-8")

    def _remove(self, names: list[str]) -> None:
        try:
            load_config(self.folder / CONFIG)
        except InputError:
            raise InputError(
                f"folder {str(self.folder)!r} holds {', '.join(names)}, but is no run of stochvid (no valid {CONFIG}), "
                "and so it is not overwritten. Choose another --out."
            ) from None
        for name in names:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _compare(self, saved: TrainConfig, given: TrainConfig) -> None:
        for group, fields in dataclasses.asdict(saved).items():
            for name, old in fields.items():
                new = getattr(getattr(given, group), name)
                longer = (group, name) == ("trainer", "max_steps") and new > old
                if new != old and not longer:
                    raise InputError(
                        f"--{group}.{name} is {old!r} in the run {str(self.folder)!r}, but {new!r} was given. A "
                        "continued run may only have a larger --trainer.max_steps; start a new one with another --out."
                    )


def seen_clips(model: Path) -> dict[str, Any]:
    """How a model's training looked at its clips, as far as its folder says: `fps`, `stride` and `crop`.

    Raises:
        InputError: what it says makes no sense.
    """
    seen = {"fps": None, "stride": 1, "crop": "none"}
    path = model / CLIPS
    if path.is_file():
        try:
            seen |= read_json(path)
            right = 1 <= seen["stride"] < 1e6 and (seen["fps"] is None or 0 < seen["fps"] < 1e4)
            if not right or type(seen["stride"]) is not int or seen["crop"] not in ("none", "centre"):
                raise ValueError(shown(seen))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{str(path)!r} is not as it should be: {error!s:.100}. Delete it, or train again."
            ) from None
    return seen


def folder_name(model: str) -> str:
    """What results of a model are called: the name of its run, its folder, or its repository."""
    folder = Path(model).resolve() if Path(model).exists() else Path(model)
    return folder.parent.name if folder.name == "model" else folder.name
