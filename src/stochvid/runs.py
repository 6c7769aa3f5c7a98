"""Run folders: what a training run leaves, and how it is found and continued.

config.yaml     every setting of the run
metrics.csv     losses over the steps
checkpoints/    step-NNNNNNNN.ckpt, to continue from
samples/        futures of held-out clips as the model learned
tensorboard/    the same for TensorBoard
model/          the trained model: config.json, model.safetensors, training.yaml (the run's config)
"""

import dataclasses
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from stochvid.config import TrainConfig, load_config
from stochvid.errors import InputError
from stochvid.files import replacing, replacing_folder, writable_folder

CONFIG = "config.yaml"
TRAINING = "training.yaml"
CONTENTS = (CONFIG, "metrics.csv", "checkpoints", "samples", "tensorboard", "model")
CHECKPOINT = re.compile(r"step-(\d{8})\.ckpt")


@dataclass
class Run:
    """A run folder.

    Attributes:
        folder: where it is.
        checkpoint: what to continue from, or None.
        stopped_by: the signal that ended training early, or None.
    """

    folder: Path
    checkpoint: Path | None = None
    stopped_by: signal.Signals | None = None

    def checkpoint_at(self, step: int) -> Path:
        """The file of a step's checkpoint."""
        return self.folder / "checkpoints" / f"step-{step:08d}.ckpt"

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        found = (self.folder / "checkpoints").glob("step-*.ckpt")
        return sorted(path for path in found if CHECKPOINT.fullmatch(path.name))

    def save_model(self, model) -> None:
        """Writes the model folder, with the run's config in it."""
        with replacing_folder(self.folder / "model") as folder:
            model.save_pretrained(folder)
            shutil.copyfile(self.folder / CONFIG, folder / TRAINING)


def step_of(checkpoint: Path | None) -> int:
    """The step after which a checkpoint was written, by its name; 0 for None."""
    return int(CHECKPOINT.fullmatch(checkpoint.name)[1]) if checkpoint else 0


def open_run(config: TrainConfig, folder: Path, *, resume: bool, overwrite: bool, main: bool = True) -> Run:
    """Makes a run folder ready: a new one, or one to continue.

    Args:
        config: of the run.
        folder: where.
        resume: whether to continue what is there.
        overwrite: whether to replace what is there.
        main: whether this is the process that writes; the others of a run only look.

    Raises:
        InputError: the folder holds another run, or cannot be continued with this config, or cannot be written.
    """
    if not main:
        run = Run(folder)
        run.checkpoint = run.checkpoints()[-1] if resume else None
        return run
    there = [name for name in CONTENTS if (folder / name).exists()]
    if resume:
        run = _continue(config, folder)
    elif there and not overwrite:
        raise InputError(
            f"run folder {str(folder)!r} already holds {', '.join(there)}. Continue it with --resume {folder}, "
            "choose another --out, or replace it with --overwrite."
        )
    else:
        for name in there:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run = Run(writable_folder(folder))
    with replacing(folder / CONFIG) as path:
        path.write_text(config.to_yaml(), encoding="utf-8")
    return run


def _continue(config: TrainConfig, folder: Path) -> Run:
    if not (folder / CONFIG).is_file():
        raise InputError(f"there is no run to continue in {str(folder)!r}: it has no {CONFIG}. Check --resume.")
    run = Run(writable_folder(folder))
    saved = load_config(folder / CONFIG)
    for group, old in dataclasses.asdict(saved).items():
        for name, value in old.items():
            given = getattr(getattr(config, group), name)
            longer = (group, name) == ("trainer", "max_steps") and given > value
            if given != value and not longer:
                raise InputError(
                    f"--{group}.{name} is {value!r} in the run {str(folder)!r}, but {given!r} was given. A continued "
                    "run may only have a larger --trainer.max_steps; start a new one with another --out."
                )
    if not run.checkpoints():
        raise InputError(f"run {str(folder)!r} has no checkpoint to continue from. Start it again with --overwrite.")
    run.checkpoint = run.checkpoints()[-1]
    return run
