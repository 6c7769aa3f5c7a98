"""The order of an array's axes, as it is given or recognised.

`N` clips, `T` time, `H W` height and width, `C` channels.
"""

from pathlib import Path

from stochvid.core.errors import InputError
from stochvid.core.untrusted import shown

CHANNELS = (1, 3, 4)
LETTERS = "NTHWC"
USUAL = ("THW", "THWC", "TCHW", "CTHW", "NTHW", "NTHWC", "NTCHW", "NCTHW", "TNHW", "HW", "HWC")  # for messages
LEAST_SIDE = 8  # pixels: what is smaller is hardly a picture, but an array whose axes are others
TIME_FIRST = "mnist_test_seq"  # the published test set of Moving MNIST, (T, N, H, W)
PUBLISHED = (20, 10_000, 64, 64)  # its shape, whatever it is called


def check_axes(axes: str | None) -> str | None:
    """An order of axes as it was given, in capitals.

    Raises:
        InputError: it is none.
    """
    if axes is None:
        return None
    axes = axes.upper()
    if not set(axes) <= set(LETTERS) or len(set(axes)) < len(axes) or not {"H", "W"} <= set(axes):
        raise InputError(
            f"--axes must be one of {', '.join(USUAL)}, or another order of N (clips), T (time), H, W and C "
            f"(channels), got {shown(axes)}."
        )
    if "N" in axes and "T" not in axes:
        raise InputError(f"--axes {axes} has clips, but no time. Frames of one clip: {axes.replace('N', 'T')}.")
    return axes


def recognise_axes(shape: tuple[int, ...], key: str | None = None, stem: str = "") -> str | None:
    """The order of an array's axes, from its shape; None where there is no likely one.

    One clip where the axes fit it. Of 4 axes without channels the first counts clips; under the key `sequences`, and
    in the published test set of Moving MNIST, it is time. Three channels before time are PyTorch's order of a video.

    Args:
        shape: of the array.
        key: its name in its file.
        stem: the file's name.
    """
    published = shape == PUBLISHED or (stem.startswith(TIME_FIRST) and len(shape) == 4)
    clips_and_time = "TN" if key == "sequences" or published else "NT"
    match shape:
        case (height, width, channels) if channels in CHANNELS and height >= LEAST_SIDE and width >= LEAST_SIDE:
            return "HWC"
        case (_, _, _):
            return "THW"
        case (_, _):
            return "HW"
        case (_, _, _, _) if clips_and_time == "TN":
            return "TNHW"
        case (_, _, _, channels) if channels in CHANNELS:
            return "THWC"
        case (_, channels, _, _) if channels in CHANNELS:
            return "TCHW"
        case (1 | 3, _, _, _):
            return "CTHW"
        case (_, _, _, _):
            return "NTHW"
        case (_, _, _, _, channels) if channels in CHANNELS:
            return clips_and_time + "HWC"
        case (_, _, channels, _, _) if channels in CHANNELS:
            return clips_and_time + "CHW"
        case (_, channels, _, _, _) if channels in CHANNELS:
            return "NCTHW"
    return None


def sides_of(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """N, T, H, W, C of an array; 1 where it has no such axis."""
    sides = dict(zip(axes, shape, strict=True))
    return tuple(sides.get(axis, 1) for axis in LETTERS)


def check_sides(path: str | Path, shape: tuple[int, ...], axes: str) -> None:
    """Checks that recognised axes give pictures.

    Raises:
        InputError: they would be a few pixels wide.
    """
    _, _, height, width, _ = sides_of(shape, axes)
    if "T" in axes and min(height, width) < LEAST_SIDE and 0 not in shape:
        raise InputError(
            f"clip {str(path)!r} has shape {shape}: as {axes}, its frames would have {width}×{height} pixels. Say what "
            f"its axes are with --axes, as in --axes {_likely(shape)}."
        )


def _likely(shape: tuple[int, ...]) -> str:
    """An order in which the two largest sides are height and width."""
    largest = sorted(sorted(range(len(shape)), key=lambda place: -shape[place])[:2])
    names = iter("TNC" if len(shape) == 3 else "NTC")
    return "".join("HW"[largest.index(place)] if place in largest else next(names) for place in range(len(shape)))
