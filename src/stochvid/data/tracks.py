"""Tracks of a store: what is known of every frame of its clips, in arrays beside those of the frames.

A track has a name, such as `actions`, and a value for each frame, of one dtype and shape throughout the store. In a
store, as in the data sets of robots, an action stands at the frame *after* which it was done (frame t, action t, frame
t + 1). Whoever reads clips gets, at each frame, the action that *led to* it; `at_frames` is the one place that knows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stochvid.core.clips import ACTIONS, is_track_name
from stochvid.core.errors import InputError
from stochvid.core.untrusted import shown

DTYPES = ("bool", "uint8", "int16", "int32", "int64", "float32", "float64")
STATISTICS = ("mean", "std", "min", "max")
MOST_TRACKS = 64  # of a store
MOST_VALUES = 1 << 20  # of a frame: a map of the size of the largest frames has 65,536
MOST_AXES = 4
BLOCK = 1 << 22  # values that are summed up at once


@dataclass
class Track:
    """What a store's index says of a track.

    Attributes:
        dtype: of the values, one of `DTYPES`.
        shape: of the value of a frame; () for a single number.
        names: of its components, in C order; None: they have none.
        units: of its components, likewise.
        statistics: `mean`, `std`, `min` and `max` over the frames of the training split, each of the shape of a frame's
            value; None: there is no such split.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    names: list[str] | None = None
    units: list[str] | None = None
    statistics: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.shape = tuple(self.shape)

    @property
    def is_event(self) -> bool:
        """Whether it marks frames: one bool for each."""
        return self.dtype == "bool" and not self.shape

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame's value."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    def __str__(self) -> str:
        size = f" ({'×'.join(map(str, self.shape))})" if self.shape else ""
        named = f": {', '.join(self.names[:20])}{', …' if len(self.names) > 20 else ''}" if self.names else ""
        return f"{self.dtype}{size}{named}"

    def check(self, name: Any) -> None:
        """Checks all of it, and what it is called.

        Raises:
            ValueError: a value that makes no sense.
        """
        what = f"track {shown(name)}"
        if not is_track_name(name):
            raise ValueError(f"{what} has a name that no track can have")
        if self.dtype not in DTYPES:
            raise ValueError(f"{what} has dtype {shown(self.dtype)}; expected one of {', '.join(DTYPES)}")
        if len(self.shape) > MOST_AXES or not all(type(side) is int and side >= 1 for side in self.shape):
            raise ValueError(f"{what} has shape {shown(self.shape)}")
        if math.prod(self.shape) > MOST_VALUES:
            raise ValueError(f"{what} has more than {MOST_VALUES:,} values a frame")
        for kind, words in (("names", self.names), ("units", self.units)):
            if words is None:
                continue
            if not isinstance(words, list) or {type(word) for word in words} != {str}:
                raise ValueError(f"{kind} of {what} are no list of words")
            if len(words) != math.prod(self.shape):
                raise ValueError(f"{what} has {math.prod(self.shape):,} component(s), but {len(words):,} {kind}")
        if self.statistics is not None:
            self._check_statistics(what)

    def check_values(self, values: np.ndarray, length: int, what: str) -> None:
        """Checks a clip's values.

        Args:
            values: they should be (length, …) of this dtype and shape.
            length: frames of the clip.
            what: what people call the track and the clip.

        Raises:
            InputError: they are others, or not finite.
        """
        expected = (length, *self.shape)
        if values.dtype != np.dtype(self.dtype) or values.shape != expected:
            raise InputError(
                f"{what} is {values.dtype} {values.shape}; expected {self.dtype} {expected}, a value for each frame."
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            frame = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise InputError(f"{what} is no finite number in frame {frame}. Mend it, or leave the clip out.")

    def _check_statistics(self, what: str) -> None:
        if not isinstance(self.statistics, dict) or set(self.statistics) != set(STATISTICS):
            raise ValueError(f"statistics of {what} are not {', '.join(STATISTICS)}")
        for kind, values in self.statistics.items():
            array = np.array(values)
            if array.dtype.kind not in "fi" or array.shape != self.shape or not np.isfinite(array).all():
                raise ValueError(f"the {kind} of {what} is not finite, or not of the track's shape")


def check_tracks(tracks: Mapping[Any, Track]) -> None:
    """Checks what an index says of all tracks.

    Raises:
        ValueError: a value that makes no sense, or too many tracks.
    """
    if len(tracks) > MOST_TRACKS:
        raise ValueError(f"it has {len(tracks):,} tracks; at most {MOST_TRACKS} are read")
    for name, track in tracks.items():
        track.check(name)


def led_to_shape(shape: tuple[int, ...], stride: int) -> tuple[int, ...]:
    """Shape of the actions that led to a frame, given that of one action."""
    return (stride * math.prod(shape),)


def at_frames(track: np.ndarray, first: int, length: int, stride: int, name: str = "") -> np.ndarray:
    """A clip's track at the frames first, first + stride …, as they are taken.

    An event in a frame that is passed over counts at the next one that is taken, the first that shows it. Actions are
    those that led from one taken frame to the next: of a stride of s the s actions between, joined.

    Args:
        track: of the whole clip, (T, …).
        first: frame, from 0.
        length: frames to take.
        stride: from one to the next.
        name: of the track.

    Returns:
        (length, …); of actions (length, stride · A), those before the clip's beginning as its first.
    """
    last = first + (length - 1) * stride
    if name == ACTIONS:
        done = first + stride * np.arange(length)[:, None] + np.arange(-stride, 0)
        return track[np.maximum(done, 0)].reshape(length, *led_to_shape(track.shape[1:], stride))
    if stride == 1 or track.dtype != bool or track.ndim > 1:
        return np.array(track[first : last + 1 : stride])
    before = max(0, first - stride + 1)
    counts = np.concatenate([[0], np.cumsum(track[before : last + 1])])
    ends = first - before + 1 + stride * np.arange(length)
    return counts[ends] > counts[np.maximum(ends - stride, 0)]


def marked(frames: Sequence[int], length: int) -> np.ndarray:
    """An event as older stores list it, the frames in which it happens, as a track (length,) bool."""
    track = np.zeros(length, dtype=bool)
    track[[frame for frame in frames if frame < length]] = True
    return track


def statistics(values: np.ndarray, block: int = BLOCK) -> dict[str, Any]:
    """Mean, standard deviation, least and largest of each component over all frames, as nested lists.

    Args:
        values: (frames, …), at least one; read piece by piece.
        block: values of a piece.
    """
    rows = max(1, block // math.prod(values.shape[1:]))
    pieces = [slice(begin, begin + rows) for begin in range(0, len(values), rows)]
    mean = sum(values[piece].sum(0, dtype=np.float64) for piece in pieces) / len(values)
    variance = sum(np.square(values[piece] - mean).sum(0) for piece in pieces) / len(values)
    found = {"mean": mean, "std": np.sqrt(variance)}
    for name, extreme in (("min", np.min), ("max", np.max)):
        found[name] = extreme([extreme(values[piece], 0) for piece in pieces], 0).astype(np.float64)
    return {name: np.asarray(value).tolist() for name, value in found.items()}
