"""What `predict`, `surprise` and `demo` take. Imports no torch."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import ClassVar

from stochvid.command_options import MODEL, ClipOptions, DeviceOptions, DrawingOptions, ThreadsOptions, argument, option
from stochvid.config import shipped_models
from stochvid.core.errors import InputError

MOST_FRAMES = 10**9  # of a clip: a year of video
MOST_SIDE = 16384  # of raw frames


@dataclass
class DemoOptions(ThreadsOptions):
    """What `stochvid demo` takes."""

    out: str | Path = option("demo", "folder of the results")
    _: KW_ONLY
    model: str = argument(f"one of {', '.join(shipped_models())}", next(iter(shipped_models())))
    samples: int = option(5, "futures of each clip", least=1)
    seed: int = option(0, "another seed gives other futures")


@dataclass
class PredictOptions(DrawingOptions, ClipOptions):
    """What `stochvid predict` takes."""

    missing: ClassVar = "predict needs a model and then what to see: stochvid predict one-digit moving-mnist:7."

    model: str | Path = argument(MODEL)
    clips: Sequence[str] = argument(
        "a video, a folder of frames, a stack (TIFF, GIF, WebP), .npy, .npz, .h5, FILE:ARRAY, STORE:NUMBER (held-out "
        "clip) or moving-mnist:SEED",
        metavar="CLIP",
    )
    out: str | Path = option("predictions", "folder of the results")
    _: KW_ONLY
    start: int = option(0, "first frame to give; -5: the fifth from the end", least=-MOST_FRAMES, most=MOST_FRAMES)
    context: int | None = option(None, "frames to give (default: as trained)")
    horizon: int | None = option(None, "frames to predict (default: twice as trained)", least=1)
    samples: int = option(5, "futures of each clip", least=1)
    actions: str | None = option(
        None,
        "what is done, of a model with actions: a .csv or .npy file with a row for each frame to predict; "
        "hold (go on as before) or zero (default: what was done in the clip)",
        metavar="FILE|hold|zero",
    )
    seed: int = option(0, "another seed gives other futures")
    temperature: float = option(
        1.0, "scale of the future's σ: 0 the prior's mean, 1 as trained", least=0, said="0 or more"
    )
    overwrite: bool = option(False, "replace earlier results")

    def check(self) -> None:
        """Checks that there are clips, and enough for statistics of their own."""
        super().check()
        if not self.clips:
            raise InputError(
                "no clip was given. Name a video, a folder of frames, .npy, .npz, STORE:NUMBER or moving-mnist:SEED."
            )
        if self.batch_statistics and len(self.clips) < 2:
            raise InputError("--batch-statistics are those of two clips or more, and one was given. Name more clips.")


@dataclass
class WatchOptions(DeviceOptions, ClipOptions):
    """What `stochvid watch` takes."""

    missing: ClassVar = "watch needs a model and then what to see: stochvid watch runs/mine /dev/video0."

    model: str | Path = argument(f"{MODEL}; with a learned or a fixed prior")
    source: str = argument("a camera (/dev/video0), - for raw frames on standard input, or a clip, played in real time")
    _: KW_ONLY
    raw: str | None = option(
        None, "size of frames on standard input, 8 bits a channel: WIDTHxHEIGHTxCHANNELS", metavar="640x480x3"
    )

    def check(self) -> None:
        """Checks that the size of raw frames is given where it is needed, and only there."""
        super().check()
        if (self.source == "-") != (self.raw is not None):
            needs = self.source == "-"
            what = "needs the size of the frames" if needs else "has no raw frames: leave out --raw, or take -"
            raise InputError(f"source {self.source!r} {what}, as in: stochvid watch MODEL - --raw 640x480x3.")
        if self.raw is not None:
            read_size(self.raw)

    @property
    def raw_size(self) -> tuple[int, int, int]:
        """Width, height and channels of raw frames."""
        assert self.raw is not None
        return read_size(self.raw)


def read_size(text: str) -> tuple[int, int, int]:
    """The size of raw frames: width, height and channels (3 where these are left out).

    Raises:
        InputError: it is none.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise InputError(f"--raw must be WIDTHxHEIGHT or WIDTHxHEIGHTxCHANNELS, as in 640x480x3, got {text[:80]!r}.")
    width, height, channels = (*map(int, parts), 3)[:3]
    if not (1 <= width <= MOST_SIDE and 1 <= height <= MOST_SIDE and 1 <= channels <= 4):
        raise InputError(f"--raw must have sides from 1 to {MOST_SIDE:,} and 1 to 4 channels, got {text!r}.")
    return width, height, channels


@dataclass
class SurpriseOptions(DeviceOptions, ClipOptions):
    """What `stochvid surprise` takes."""

    missing: ClassVar = "surprise needs a model and then what to see: stochvid surprise one-digit moving-mnist:7."

    model: str | Path = argument(f"{MODEL}; with a learned or a fixed prior")
    video: str = argument(
        "a video of any length, a folder of frames, a stack (TIFF, GIF, WebP), .npy, .npz, .h5, FILE:ARRAY, "
        "STORE:NUMBER or moving-mnist:SEED"
    )
    out: str | Path | None = option(None, "folder of the results (default: surprise/NAME)")
    _: KW_ONLY
    smooth: float = option(2.0, "σ of the smoothing, in frames", least=0)
    length: int | None = option(None, "frames to read (default: all; of moving-mnist 100)", least=2)
    overwrite: bool = option(False, "replace earlier results")
