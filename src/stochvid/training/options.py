"""What `stochvid train` takes beside the groups of its config. Imports no torch."""

from dataclasses import dataclass

from stochvid.command_options import ThreadsOptions, argument, option
from stochvid.config import TrainConfig
from stochvid.core.errors import InputError


@dataclass
class SearchOptions(ThreadsOptions):
    """What `stochvid search` takes; its command line has the fields of the config one by one, too."""

    config: TrainConfig = argument("what to train, on what, and how, where the space says nothing else")
    space: str = option("", "YAML file of what may vary: fields as optim.lr, and their values")
    trials: int = option(20, "trainings in all, those of other processes and of before included", least=1)
    minutes: float | None = option(None, "begin no training after so many (default: until all are there)", above=0)
    out: str = option("searches/search", "folder of trials and report (default: searches/NAME of the config)")
    storage: str | None = option(
        None, "what processes and machines share: a file, or a database's URL (default: study.log in the folder)"
    )
    study: str = option("stochvid", "name of the search in the storage")
    seed: int = option(0, "of the proposals", least=0, most=(1 << 32) - 1)

    def check(self) -> None:
        """Checks that there is something to search."""
        if not self.space:
            raise InputError("search needs --space FILE: a YAML file of what may vary, as optim.lr: [1.0e-3, 2.0e-3].")


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
