"""What `stochvid train` takes beside the groups of its config. Imports no torch."""

from dataclasses import dataclass

from stochvid.command_options import ThreadsOptions, argument, option
from stochvid.config import TrainConfig


@dataclass
class TrainOptions(ThreadsOptions):
    """What `stochvid train` takes; its command line has the fields of the config one by one."""

    config: TrainConfig = argument("what to train, on what, and how")
    out: str = option("runs/run", "run folder (default: runs/NAME of the config)")
    resume: str | None = option(None, "a run to continue, or auto: the one in --out, if there is one")
    videos: str | None = option(
        None, "a folder of videos: they are prepared first, as --data.store (default: data/NAME), then trained on"
    )
    init: str | None = option(None, "a trained model to start from (fine-tuning)")
    overwrite: bool = option(False, "replace another run in --out")
    print_config: bool = option(False, "print every setting as YAML and exit")
