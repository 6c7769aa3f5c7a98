"""Frames that a program has in memory already, as the frames of a clip."""

from typing import Any

import numpy as np

from stochvid.errors import InputError

CHANNELS = (1, 3, 4)
EXPECTED = "(T, H, W), (T, H, W, C) or (T, C, H, W) with 1, 3 or 4 channels"


def is_frames(source: Any) -> bool:
    """Whether this is an array, or a list of some, rather than the name of a file."""
    return hasattr(source, "__array__") or isinstance(source, list | tuple)


def as_frames(source: Any) -> np.ndarray:
    """An array, or a list of frames, as (T, H, W, C) uint8.

    Args:
        source: (T, H, W), (T, H, W, C) or (T, C, H, W): uint8, bool, or float in [0, 1].

    Raises:
        InputError: it has another shape or dtype, or values that are no brightness.
    """
    try:
        array = np.asarray(source)
    except (ValueError, TypeError) as error:  # frames of several sizes, a tensor on a GPU
        raise InputError(f"the frames are no array: {error!s:.200}.") from None
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim == 4 and array.shape[3] not in CHANNELS and array.shape[1] in CHANNELS:
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in CHANNELS or array.size == 0:
        raise InputError(f"the frames have shape {np.shape(source)}; expected {EXPECTED}.")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind != "f":
        raise InputError(f"the frames have dtype {array.dtype}; expected uint8, bool, or float in [0, 1].")
    if np.isnan(array).any():
        raise InputError("the frames hold NaN; expected values in [0, 1].")
    least, most = array.min(), array.max()
    if least < 0 or most > 1:
        raise InputError(f"the frames have values from {least:g} to {most:g}; floats must be in [0, 1]. Scale them.")
    return np.round(array * 255).astype(np.uint8)
