"""What is told of every frame in arrays beside those of the frames: which tracks there are, and their values."""

from collections.abc import Callable

import numpy as np

from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.data.tracks import Track
from stochvid.prepare.source import Options

STATE = "state"
USUAL = {ACTIONS: ("actions", "action"), STATE: ("state", "states")}
MOST_COMPONENTS = 4096


Read = Callable[[str], np.ndarray | None]


def find_beside(
    read: Read, options: Options, length: int, many: bool, what: str
) -> tuple[dict[str, tuple[str, Track]], list[str]]:
    """The tracks of a file, by name: what the file calls each, and what a frame's value is; and what to say of others.

    Args:
        read: gives an array of the file by its name, or None.
        options: which may name the arrays.
        length: frames T of its first clip.
        many: whether the file holds many clips, so that arrays are (N, T, …) and not (T, …).
        what: what people call the file.

    Raises:
        InputError: an array that was asked for is not there, or is none of numbers for every frame.
    """
    found: dict[str, tuple[str, Track]] = {}
    notes: list[str] = []
    for name, asked in ((ACTIONS, options.actions), (STATE, options.states)):
        for key in (asked,) if asked else USUAL[name]:
            try:
                values = read(key)
                if values is None:
                    continue
                found[name] = key, _kind(values, name, key, length, many, what)
                break
            except InputError as error:
                if asked:
                    raise
                notes.append(f"{key} is not taken: {error!s:.300}")
        else:
            if asked:
                raise InputError(f"{what} has nothing that is called {asked!r}.")
    return found, notes


def _kind(values: np.ndarray, name: str, key: str, length: int, many: bool, what: str) -> Track:
    wanted = "(N, T, A)" if many else "(T, A)"
    rows = values.shape[many] if values.ndim > many else 0
    if values.ndim not in (1 + many, 2 + many) or not values.size or rows not in _lengths(name, length):
        raise InputError(
            f"{what}: {key!r} has shape {values.shape}; expected {wanted}, numbers for each of {length} frames."
        )
    size = values.shape[-1] if values.ndim == 2 + many else 1
    if size > MOST_COMPONENTS:
        raise InputError(f"{what}: {key!r} has {size:,} numbers for every frame; at most {MOST_COMPONENTS:,}.")
    return Track("float32", (size,))


def _lengths(name: str, length: int) -> tuple[int, ...]:
    """How many rows there may be: the last action, which leads to no frame, may be missing."""
    return (length, length - 1) if name == ACTIONS and length > 1 else (length,)


def values_beside(
    read: Read,
    found: dict[str, tuple[str, Track]],
    number: int | None,
    length: int,
    what: str,
) -> dict[str, np.ndarray]:
    """The tracks of a clip, (T, …) float32 each.

    Args:
        read: as of `find_beside`.
        found: what that gave, of the first file.
        number: of the clip in a file of many; None: the file is the clip.
        length: frames T.
        what: what people call the file.

    Raises:
        InputError: they are missing, or are not a row for each frame.
    """
    tracks = {}
    for name, (key, track) in found.items():
        values = read(key)
        if values is None:
            raise InputError(f"{what} has no {key!r}, which others beside it have.")
        if number is not None:
            values = values[number] if values.ndim > 1 and number < len(values) else values[:0]
        values = values.reshape(len(values), -1).astype(np.float32)
        if len(values) != length and len(values) in _lengths(name, length):
            values = np.concatenate([values, values[-1:]])
        if values.shape != (length, *track.shape):
            raise InputError(
                f"{what}: {key!r} is {values.shape} for {length} frames; expected {(length, *track.shape)}, a row for "
                "each."
            )
        tracks[name] = values
    return tracks
