"""What `stochvid train` does around the training: checks before torch is loaded, and what is said in the end."""

import os
import sys
from pathlib import Path
from typing import Literal

from stochvid.config import MOVING_MNIST, TrainConfig
from stochvid.core.signals import Interrupted
from stochvid.data.motion import look_at
from stochvid.data.opening import open_clips
from stochvid.data.places import at_hand
from stochvid.data.store import Store
from stochvid.data.stored_clips import StoredClips
from stochvid.evaluation.findings import data_findings
from stochvid.training.options import TrainOptions

PARTS: tuple[Literal["train", "held out"], ...] = ("train", "held out")


def run(options: TrainOptions) -> int:
    """Trains, and gives the exit code: 0 done, 1 diverged, 130 and 143 stopped by a signal.

    Args:
        options: what the command line says.

    Raises:
        InputError: as of `train`.
    """
    config, resume = options.config, options.resume is not None
    if options.print_config:
        print(config.to_yaml(), end="")
        return 0
    if options.videos:
        prepare_videos(options.videos, config)
    if config.data.store:  # what is wrong with it can be said before torch has loaded
        config = at_hand(config, Path(options.out), resume)
        clips, _ = (open_clips(config.data, config.model, part, config.model.frames, 0) for part in PARTS)
        assert isinstance(clips, StoredClips)
        for finding in data_findings(look_at(clips), str(config.data.store), clips.count):
            print(f"note: {finding}", file=sys.stderr)
    from stochvid.core.threads import fastest_threads, use_threads
    from stochvid.training.train import Diverged, train

    if options.threads or config.processes == 1:  # of several, each has a thread of its own
        use_threads(options.threads or fastest_threads(config.trainer.device))
    try:
        run = train(config, options.out, resume=resume, init=options.init, overwrite=options.overwrite)
    except Diverged as error:
        print(f"stochvid: {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(f"stochvid: stopped by {error.number.name} within a step.", file=sys.stderr)
        print(f"Continue from the last checkpoint, if any: stochvid train --resume {options.out}", file=sys.stderr)
        return 128 + error.number
    if not run.main:
        return 0  # the main process speaks for all, and would be killed for another code
    if run.stopped_by:
        print(f"Stopped by {run.stopped_by.name}. Continue with: stochvid train --resume {run.folder}")
        return 128 + run.stopped_by
    if resume and run.step >= config.trainer.max_steps:
        print(f"It was at step {run.step} already. A larger --trainer.max_steps continues it.")
    print(f"Done. Draw futures with: stochvid predict {run.folder} {_clip_to_predict(config)}")
    return 0


def prepare_videos(folder: str, config: TrainConfig) -> None:
    """Makes the store that a config names of a folder of videos, in the model's size and channels, unless it is there.

    Raises:
        InputError: as `stochvid prepare`.
    """
    from stochvid.prepare.command import run as prepare
    from stochvid.prepare.options import PrepareOptions

    assert config.data.store is not None
    prepare(PrepareOptions(folder, config.data.store, size=config.model.image_size, channels=config.model.channels))


def _clip_to_predict(config: TrainConfig) -> str:
    """The name of a held-out clip of what was trained on, long enough to be predicted."""
    if not config.data.store:
        return f"{MOVING_MNIST}:1"
    store, model = Store(config.data.store), config.model
    number = store.first(store.held_out, (model.context + 2 * model.horizon - 1) * config.data.stride + 1)
    return f"{min(config.data.store, os.path.relpath(config.data.store), key=len)}:{number}"
