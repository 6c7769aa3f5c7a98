"""What was done at each frame of a video, in a table beside it: `clip.csv` for `clip.mp4`, a row for each frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.data.tracks import Track
from stochvid.media.tables import read_table
from stochvid.prepare.beside import STATE, values_beside
from stochvid.prepare.source import Options

TABLE = ".csv"
BEGIN = {ACTIONS: ("action",), STATE: ("state", "observation")}  # how the names of a track's columns begin
ALL = ""  # the columns of a table without names


def find_columns(paths: Sequence[Path], options: Options) -> tuple[dict[str, tuple[str, Track]], list[str]]:
    """The tracks that the table beside the first video tells, by name: its columns, and what a frame's value is.

    Args:
        paths: of the videos.
        options: which may name columns, separated by commas.

    Raises:
        InputError: a table cannot be read, or lacks the columns that were asked for.
    """
    asked = {ACTIONS: options.actions, STATE: options.states}
    table = paths[0].with_suffix(TABLE) if paths else None
    if table is None or not table.is_file():
        if any(asked.values()):
            raise InputError(f"--actions and --states are columns of a table beside each video; there is no {table}.")
        return {}, []
    if options.fps:
        if any(asked.values()):
            raise InputError("--fps takes other frames than those that the tables tell of. Leave one of them out.")
        return {}, [f"{table.name!r} and others are not taken: --fps takes other frames than those they tell of"]
    names, _ = read_table(table)
    found = {}
    for name, columns in asked.items():
        if columns:
            chosen = [column.strip() for column in columns.split(",")]
            if lacking := next((column for column in chosen if column not in names), None):
                raise InputError(f"{str(table)!r} has no column {lacking!r}, only {', '.join(names):.300}.")
        elif names:
            chosen = [column for column in names if column.lower().startswith(BEGIN[name])]
        else:
            chosen = [ALL] if name == ACTIONS else []
        if chosen:
            size = len(chosen) if names else len(read_table(table)[1][0])
            found[name] = ",".join(chosen), Track("float32", (size,), chosen if names else None)
    told = ", ".join(f"{name} ({track.shape[0]})" for name, (_, track) in found.items()) or "nothing that is known"
    return found, [f"the table beside each video tells {told}"]


def columns_of(path: Path, found: dict[str, tuple[str, Track]], length: int) -> dict[str, np.ndarray]:
    """The tracks of a video, (T, A) float32 each.

    Raises:
        InputError: there is no table, it cannot be read, or has no row for each frame.
    """
    table = path.with_suffix(TABLE)
    names, rows = read_table(table)

    def read(columns: str) -> np.ndarray | None:
        if columns == ALL or not names:
            return rows
        chosen = columns.split(",")
        if any(column not in names for column in chosen):
            return None
        return rows[:, [names.index(column) for column in chosen]]

    return values_beside(read, found, None, length, repr(str(table)))
