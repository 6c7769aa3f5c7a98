"""Tables of numbers in `.csv` files, a row for each frame."""

import csv
import io
from pathlib import Path

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_CSV, read_text


def read_table(table: Path) -> tuple[list[str], np.ndarray]:
    """Names of the columns, where the first row has such, and the rows, (T, columns) float64.

    Raises:
        InputError: it cannot be read, or is no table of numbers.
    """
    try:
        lines = [row for row in csv.reader(io.StringIO(read_text(table, MOST_CSV))) if row]
    except OSError as error:
        raise InputError(f"{str(table)!r} cannot be read: {error.strerror or error}.") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"table {str(table)!r} cannot be read: {error!s:.200}.") from None
    names = [] if not lines or all(map(_is_number, lines[0])) else [cell.strip() for cell in lines.pop(0)]
    try:
        rows = np.array([[float(cell) for cell in line] for line in lines], dtype=np.float64)
    except ValueError as error:
        raise InputError(
            f"table {str(table)!r} should hold numbers alone, a row for each frame: {error!s:.200}."
        ) from None
    if rows.ndim != 2 or (names and rows.shape[1] != len(names)):
        raise InputError(f"table {str(table)!r} should have rows of one length, got {len(lines)} row(s) of several.")
    return names, rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
