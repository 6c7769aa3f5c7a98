"""Frames that a program has in memory already, as the frames of a clip."""

from typing import Any

import numpy as np

from stochvid.core.errors import InputError
from stochvid.media.arrays import ONE_CLIP
from stochvid.media.axes import check_axes, check_sides, recognise_axes
from stochvid.media.values import Range, check_range, frame_limits, joint_limits, to_bytes

NAME = "frames"


def is_frames(source: Any) -> bool:
    """Whether this is an array, or a list of some, rather than the name of a file."""
    return hasattr(source, "__array__") or isinstance(source, list | tuple)


def as_frames(source: Any, range: Range = None, axes: str | None = None) -> np.ndarray:
    """An array, or a list of frames, as (T, H, W, C) uint8.

    Args:
        source: (T, H, W), (T, H, W, C), (T, C, H, W) or (C, T, H, W): uint8, bool, or float in [0, 1]; with a range,
            numbers of any kind.
        range: as `read_clip` takes it.
        axes: likewise.

    Raises:
        InputError: it has another shape or dtype, or values that are no brightness.
    """
    range, axes = check_range(range), check_axes(axes)
    try:
        array = np.asarray(source)
    except (ValueError, TypeError) as error:  # frames of several sizes, a tensor on a GPU
        raise InputError(f"the frames are no array: {error!s:.200}.") from None
    order = axes or recognise_axes(array.shape)
    if order is None or len(order) != array.ndim or not set(order) <= set("THWC") or "T" not in order or not array.size:
        raise InputError(f"the frames have shape {array.shape}; expected {ONE_CLIP}.")
    if array.dtype.kind not in "buif":
        raise InputError(f"the frames have dtype {array.dtype}; expected uint8, bool, or float in [0, 1].")
    frames = array.transpose([order.index(axis) for axis in "THWC" if axis in order])
    frames = frames if "C" in order else frames[..., None]
    if axes is None:
        check_sides(NAME, array.shape, order)
    if range == "auto":
        range = joint_limits(frame_limits(frame, NAME, number) for number, frame in enumerate(frames, 1))
    return np.stack([to_bytes(frame, range, NAME, number) for number, frame in enumerate(frames, 1)])
