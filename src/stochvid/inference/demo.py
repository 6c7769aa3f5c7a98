"""The first thing to try: futures that a shipped model draws, without data or a network."""

from pathlib import Path

from stochvid.command_options import takes
from stochvid.config import MOVING_MNIST, shipped_clips, shipped_models
from stochvid.core.errors import InputError, nearest
from stochvid.core.threads import use_threads
from stochvid.inference.options import DemoOptions
from stochvid.inference.predict import predict_clips

CLIPS = (4, 8, 12)
STORED = (0, 3, 4)  # of those that come with a model

DIGITS = """
Open {first}/futures.gif: the clip as it was given, how it went on, and {samples} ways in which it could have.
{first}/uncertainty.png shows σ of the learned prior: low while the motion is certain, high where a digit turns.

Next: stochvid predict {name} moving-mnist:7 --samples 11 --seed 1     other digits, other futures
      stochvid uncertainty {name}                                      the same over 400 clips, as a number
      stochvid train --config laptop                                       a model of your own, in minutes"""

DRIVEN = """
Open {first}/futures.gif: the clip as it was given, how it went on, and {samples} ways in which the same
actions could have gone.
The pusher goes where it was driven; the futures part where it pushes the block.

Next: stochvid app {name}                             its tab Play: drive the pusher yourself
      stochvid predict {name} {name}:6 --actions hold  what would come of something else
      stochvid evaluate {name} --out results          what its futures are worth, in numbers"""


@takes(DemoOptions)
def demo(options: DemoOptions) -> list[Path]:
    """Draws futures of three clips with a shipped model, in place of those of an earlier demo.

    Args:
        options: `DemoOptions`, or their fields.

    Returns:
        The folders written, one for each clip.

    Raises:
        InputError: no such model, or a folder that cannot be written, or holds other things.
    """
    name, models = options.model, shipped_models()
    if name not in models:
        raise InputError(
            f"no shipped model is called {name!r}. {nearest(name, models)} Another model draws futures of your clips: "
            f"stochvid predict {name} CLIP."
        )
    use_threads(options.threads)
    driven = name in shipped_clips()
    clips = [f"{name}:{clip}" for clip in STORED] if driven else [f"{MOVING_MNIST}:{clip}" for clip in CLIPS]
    samples = options.samples
    folders = predict_clips(models[name], clips, options.out, samples=samples, seed=options.seed, overwrite=True)
    print((DRIVEN if driven else DIGITS).format(first=folders[0], samples=samples, name=name))
    return folders
