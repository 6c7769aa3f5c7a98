"""The first thing to try: futures of moving digits by a shipped model, without data or a network."""

from pathlib import Path

from stochvid.command_options import takes
from stochvid.config import MOVING_MNIST, shipped_models
from stochvid.core.threads import use_threads
from stochvid.inference.options import DemoOptions
from stochvid.inference.predict import predict_clips

CLIPS = (4, 8, 12)


@takes(DemoOptions)
def demo(options: DemoOptions) -> list[Path]:
    """Draws futures of three clips with the first of the shipped models, in place of those of an earlier demo.

    Args:
        options: `DemoOptions`, or their fields.

    Returns:
        The folders written, one for each clip.

    Raises:
        InputError: a folder that cannot be written, or holds other things.
    """
    use_threads(options.threads)
    clips, samples = [f"{MOVING_MNIST}:{clip}" for clip in CLIPS], options.samples
    name, folder = next(iter(shipped_models().items()))
    folders = predict_clips(folder, clips, options.out, samples=samples, seed=options.seed, overwrite=True)
    first = folders[0]
    print(f"""
Open {first / "futures.gif"}: the clip as it was given, how it went on, and {samples} ways in which it could have.
{first / "uncertainty.png"} shows σ of the learned prior: low while the motion is certain, high where a digit turns.

Next: stochvid predict {name} moving-mnist:7 --samples 11 --seed 1     other digits, other futures
      stochvid uncertainty {name}                                      the same over 400 clips, as a number
      stochvid train --config laptop                                       a model of your own, in minutes""")
    return folders
