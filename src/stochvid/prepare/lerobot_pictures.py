"""Pictures that LeRobot datasets keep in parquet, one in a row (features of dtype `image`), instead of in videos."""

import io
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.core.errors import InputError
from stochvid.media.images import as_input_error, image_of
from stochvid.prepare.lerobot_tracks import EPISODE, FRAME, MOST_BATCH
from stochvid.prepare.source import regular

AT_ONCE = 8  # pictures


def picture_size(path: Path, camera: str) -> tuple[int, int]:
    """Width and height of the first picture of a file.

    Raises:
        InputError: it has none that can be read.
    """
    for _, _, data in _rows(path, camera):
        height, width = _pixels(data, path).shape[:2]
        return width, height
    raise InputError(f"{str(path)!r} has no rows. Get the dataset again.")


def pictures(path: Path, camera: str, expected: Iterable[tuple[int, int]]) -> Iterator[np.ndarray]:
    """The pictures of a file, (H, W, 3) uint8, row by row.

    Args:
        path: of the file.
        camera: the column.
        expected: the number of the episode and of the frame in it, of every row.

    Raises:
        InputError: a row is of another frame, or no picture can be read of it.
    """
    for number, (wanted, row) in enumerate(zip_longest(expected, _rows(path, camera))):
        if row is None:
            return  # too few: whoever counts them says so
        if row[:2] != wanted:
            should = "frame {1} of episode {0}".format(*wanted) if wanted else "nothing more"
            raise InputError(
                f"row {number} of {str(path)!r} is frame {row[1]} of episode {row[0]}, and should be {should}. Get the "
                "dataset again."
            )
        yield _pixels(row[2], path)


def _rows(path: Path, camera: str) -> Iterator[tuple[int, int, bytes]]:
    """Episode, frame and file of every picture, a few at once: they may be large."""
    from pyarrow import ArrowException, parquet

    try:
        regular(path)
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_ONCE, columns=[EPISODE, FRAME, camera], use_threads=False):
                if batch.nbytes > MOST_BATCH:
                    raise ValueError(f"{len(batch)} of its rows take {batch.nbytes:,} bytes")
                for row in batch.to_pylist():
                    yield int(row[EPISODE]), int(row[FRAME]), _data(row[camera])
    except InputError:
        raise
    except (ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{str(path)!r} does not give the pictures of {camera!r:.80}: {error!s:.200}.") from None


def _data(value: Any) -> bytes:
    """The file of a picture: bytes, in a field of that name."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        raise ValueError("a row has no bytes of a picture in it")
    return data


def _pixels(data: bytes, path: Path) -> np.ndarray:
    with as_input_error(path):
        values = image_of(io.BytesIO(data), path)
    if values.dtype != np.uint8:
        raise InputError(
            f"{str(path)!r} has pictures of {values.dtype}, which LeRobot gives no range of. Take another camera."
        )
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, 2)
