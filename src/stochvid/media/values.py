"""Values of any kind as the bytes of a picture: which are black, which are white."""

import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import shown

Limits = tuple[float, float]  # the values that become 0 and 255
Range = Limits | Literal["auto"] | None  # as people give it; auto: the least and the largest value that there is

OFFER = "Say which values are black and white with --range LOW HIGH, or --range auto for the least and the largest."


def check_range(value: Any) -> Range:
    """A range as it was given: None, auto, two numbers, or text as `0,4095`.

    Raises:
        InputError: it is none of these, or its numbers do not rise.
    """
    if value is None:
        return None
    if isinstance(value, str) and value == "auto":
        return "auto"
    try:
        low, high = (float(number) for number in (value.split(",") if isinstance(value, str) else value))
    except (TypeError, ValueError):
        raise InputError(f"--range must be two numbers, as --range 0 4095, or auto; got {shown(value)}.") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"--range must go from a smaller to a larger number, got {low:g} to {high:g}.")
    return low, high


def to_bytes(values: np.ndarray, limits: Limits | None, name: str, number: int) -> np.ndarray:
    """The values of a frame as uint8, whatever lies beyond the limits being black or white.

    Args:
        values: bool, integers or floats of any shape.
        limits: what becomes 0 and 255; None: uint8 as it is, bool, or floats in [0, 1].
        name: of the clip, for messages.
        number: of the frame, from 1.

    Raises:
        InputError: NaN or infinite values, or values that say nothing without limits.
    """
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if limits is None and values.dtype == np.uint8:
        return values
    low, high = frame_limits(values, name, number)
    if limits is None:
        if values.dtype.kind != "f" or low < 0 or high > 1:
            kind = f"{values.dtype} values" if values.dtype.kind != "f" else "float values outside [0, 1]"
            raise InputError(f"clip {name!r} has {kind} ({low:,g} to {high:,g} in frame {number}). {OFFER}")
        limits = (0.0, 1.0)
    black, white = limits
    # in this order, what lies half-way between two bytes is so exactly, for integers of any range
    scaled = (values.astype(np.float64) - black) * 255 / (white - black)
    return np.round(np.clip(scaled, 0, 255)).astype(np.uint8)


def frame_limits(values: np.ndarray, name: str, number: int) -> Limits:
    """The least and the largest value of a frame; arguments as `to_bytes`.

    Raises:
        InputError: it has NaN or infinite values.
    """
    low, high = float(values.min()), float(values.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    bad = np.isnan(values)
    what = "NaN" if bad.any() else "infinite values"
    bad = bad if bad.any() else ~np.isfinite(values)
    row, column = np.argwhere(bad)[0][:2]
    raise InputError(
        f"clip {name!r} has {what} in frame {number}: {np.count_nonzero(bad):,} of {bad.size:,} values, the first in "
        f"row {row + 1}, column {column + 1}. Replace them with a number."
    )


def joint_limits(limits: Iterable[Limits]) -> Limits | None:
    """The limits that hold for all of several; None of none. Where nothing varies, a range of one from there."""
    limits = list(limits)
    if not limits:
        return None
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    return (low, high) if low < high else (low, low + 1)


def check_used(low: float, high: float, full: int, name: str) -> None:
    """Checks that pictures of more than 8 bits use more than a corner of what their format can hold.

    Args:
        low: least value that was found.
        high: largest.
        full: the value that is white.
        name: of the clip.

    Raises:
        InputError: as they are, they would be nearly black.
    """
    if low >= 0 and 0 < high < full / 4:
        likely = 2 ** math.ceil(math.log2(high + 1)) - 1
        raise InputError(
            f"clip {name!r} has values {low:,.0f} to {high:,.0f} of {full:,}: nearly black as they are. Say which are "
            f"black and white: --range 0 {likely} (as it seems), --range auto (the least and the largest of all), or "
            f"--range 0 {full} (as they are)."
        )
