"""Actions and states of LeRobot datasets: columns of `data/**.parquet`, which have a row for every frame."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import shown
from stochvid.data.tracks import DTYPES, Track
from stochvid.prepare.source import regular

ACTION, STATE = "action", "observation.state"  # what features are usually called
EPISODE, FRAME = "episode_index", "frame_index"
AT_ONCE = 10_000  # rows
MOST_ROWS = 10_000_000  # of a file: one of 100 MB, at which the next begins, has less than a million
MOST_BATCH = 64 << 20  # bytes of `AT_ONCE` rows: 1,000 numbers of 4 bytes in each are 40 million
MOST_KEPT = 256 << 20  # bytes of all rows of the episodes of a video: ten hours at 30 a second with 50 numbers


def find_tracks(features: Mapping[str, Any], taken: Mapping[str, str]) -> tuple[dict[str, Track], list[str]]:
    """The tracks that `info.json` describes, and what to say of those that are not taken.

    Args:
        features: of the dataset.
        taken: by feature, what the track is called.
    """
    tracks, notes = {}, []
    for feature, name in taken.items():
        about = features.get(feature)
        if not isinstance(about, dict):
            continue
        dtype, shape = about.get("dtype"), about.get("shape")
        track = Track(str(dtype), tuple(shape) if isinstance(shape, list) else (), _names(about.get("names")))
        try:
            if not isinstance(shape, list) or len(shape) != 1 or dtype not in DTYPES:
                raise ValueError(f"it has dtype {shown(dtype)} and shape {shown(shape)}; a list of numbers is")
            if len(track.names or ()) != math.prod(track.shape):
                track.names = None
            track.check(name)
            tracks[name] = track
        except ValueError as error:
            notes.append(f"{feature} is not taken: {error!s:.200}")
    return tracks, notes


def _names(names: Any) -> list[str] | None:
    """The components' names, which datasets give as a list, or as a list in a mapping."""
    if isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    return names if isinstance(names, list) and all(type(name) is str for name in names) else None


def read_tracks(
    path: Path, tracks: Mapping[str, Track], taken: Mapping[str, str], lengths: Mapping[int, int]
) -> dict[int, dict[str, Any]]:
    """The tracks of some episodes, (T, …) each, from a data file.

    Args:
        path: of the file.
        tracks: to read.
        taken: as of `find_tracks`.
        lengths: frames of each episode, by its number.

    Raises:
        InputError: the file cannot be read, or its rows are not the frames of these episodes.
    """
    from pyarrow import ArrowException, parquet

    rows: list[dict[str, np.ndarray]] = []
    try:
        regular(path)
        with parquet.ParquetFile(path) as file:
            rows += _rows(file, tracks, taken, np.array(sorted(lengths)), sum(lengths.values()))
    except InputError:
        raise
    except (ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{str(path)!r} does not say what was done and measured: {error!s:.200}.") from None
    whole = {name: np.concatenate([piece[name] for piece in rows]) for name in rows[0]} if rows else {}
    found = {}
    for episode, length in lengths.items():
        its = np.flatnonzero(whole[EPISODE] == episode) if rows else np.array([], int)
        if len(its) != length or not np.array_equal(whole[FRAME][its], np.arange(length)):
            raise InputError(
                f"{str(path)!r} should have a row for each of the {length} frames of episode {episode}, in their "
                f"order, but has {len(its)}, or others. Get the dataset again."
            )
        found[episode] = {name: whole[name][its] for name in tracks}
    return found


def _rows(
    file: Any, tracks: Mapping[str, Track], taken: Mapping[str, str], episodes: np.ndarray, frames: int
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of some episodes, piece by piece: a few packed bytes can stand for any number of values.

    Args:
        file: to read.
        tracks: as of `read_tracks`.
        taken: likewise.
        episodes: their numbers.
        frames: of all of them together.

    Raises:
        ValueError: there are too many of them, or they are of another kind.
    """
    count = size = 0
    if file.metadata.num_rows > MOST_ROWS:
        raise ValueError(f"it claims {file.metadata.num_rows:,} rows")
    columns = {name: column for column, name in taken.items() if name in tracks}
    for batch in file.iter_batches(AT_ONCE, columns=[EPISODE, FRAME, *columns.values()], use_threads=False):
        if batch.nbytes > MOST_BATCH:
            raise ValueError(f"{len(batch):,} of its rows take {batch.nbytes:,} bytes")
        row = {name: _values(batch.column(name), Track("int64")) for name in (EPISODE, FRAME)}
        kept = np.isin(row[EPISODE], episodes)
        if kept.any():
            row |= {name: _values(batch.column(column), tracks[name]) for name, column in columns.items()}
            piece = {name: values[kept] for name, values in row.items()}
            count, size = count + int(kept.sum()), size + sum(values.nbytes for values in piece.values())
            if count > frames or size > MOST_KEPT:
                raise ValueError(f"it has {count:,} rows or more, of {size:,} bytes, for {frames:,} frames")
            yield piece


def _values(column: Any, track: Track) -> np.ndarray:
    """A column as an array of the track's dtype and shape, a row for each frame; numbers that are missing are NaN."""
    count, flat = len(column), column
    if hasattr(column, "flatten") and hasattr(column.type, "value_type"):
        flat = column.flatten()
        sizes = set(column.value_lengths().to_pylist()) if hasattr(column, "value_lengths") else set()
        if column.null_count or sizes - set(track.shape):
            raise ValueError(f"a row has another number of values than {math.prod(track.shape)}")
    values = flat.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "biuf" or not np.can_cast(values.dtype, np.dtype(track.dtype), "same_kind"):
        raise ValueError(f"a column holds {flat.type}, not {track.dtype}")
    return values.reshape(count, *track.shape).astype(track.dtype)
