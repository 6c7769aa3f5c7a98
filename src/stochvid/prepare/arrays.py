"""Clips in `.npy`, `.npz` and HDF5 files, one or many in each, or a folder of one array for each frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stochvid.core.errors import InputError
from stochvid.data.splits import SHIPPED
from stochvid.data.tracks import Track
from stochvid.media.arrays import (
    ARRAY_SUFFIXES,
    HDF5_SUFFIXES,
    ArrayFile,
    ArrayFrames,
    are_frames,
    array_paths,
    open_array,
)
from stochvid.media.images import COLOURS
from stochvid.media.order import negative_names
from stochvid.prepare.beside import find_beside, values_beside
from stochvid.prepare.source import Event, Item, Source, SourceFile, Walk, regular


class Arrays(Source):
    """Array files, (N, T, H, W), (N, T, H, W, C), (N, T, C, H, W), (T, N, H, W), or one clip or frame without N."""

    format = "arrays"
    _kept: tuple[Path | None, dict[str, np.ndarray | None]] = (None, {})
    takes = frozenset({"axes", "range", "key", "actions", "states"})

    @classmethod
    def recognises(cls, root: Path, tree: Walk) -> bool:
        """Any `.npy`, `.npz` or HDF5 file will do."""
        return any(_is_array(path) for path in tree.files)

    def find(self) -> list[Path]:
        """Every array file, or in its place the folder whose arrays are the frames of one clip."""
        files = [path for path in self.tree.files if _is_array(path)]
        self.note_others(set(files))
        frames: dict[Path, bool] = {}
        for path in files:
            if path.parent not in frames and path != self.root:
                beside = array_paths(path.parent)
                frames[path.parent] = are_frames(beside, self.options.axes, self.options.key)
                if frames[path.parent] and (minus := negative_names([entry.name for entry in beside])):
                    self.notes.append(f"names as {minus[0]!r} are taken for negative numbers")
        paths = list(dict.fromkeys(path.parent if frames.get(path.parent) else path for path in files))
        self._find_tracks(paths)
        return paths

    def _find_tracks(self, paths: list[Path]) -> None:
        """Which arrays lie beside the frames of the first file, which those of the others must have, too."""
        self.found: dict[str, tuple[str, Track]] = {}
        if paths and not paths[0].is_dir():
            try:
                array = self._open(paths[0])
            except InputError:  # it is said where the file is probed
                return
            assert isinstance(array, ArrayFile)
            many, what = "N" in array.axes, repr(str(paths[0]))
            self.found, notes = find_beside(array.beside, self.options, array.shape[1], many, what)
            self.notes += notes
            self.tracks = {name: track for name, (_, track) in self.found.items()}
        elif self.options.actions or self.options.states:
            raise InputError("folders of single frames have no arrays beside them: leave out --actions and --states.")

    def probe(self, path: Path) -> SourceFile:
        """As many clips as the array has; or one, of a folder of frames."""
        array = self._open(path)
        count, length, height, width, channels = array.shape
        if channels not in COLOURS:
            raise InputError(f"clip {str(path)!r} has {channels} channels; expected 1, 3 or 4 (axes {array.axes}).")
        name = self.name(path)
        names = [f"{name}#{i}" for i in range(count)] if "N" in array.axes else [name]
        split = SHIPPED.get(path.stem.lower(), self.shipped_split(path))
        items = tuple(Item(name, length, split) for name in names)
        note = f"{name!r}: axes {array.axes}, {count} clip(s) of {length} frames (if not, give --axes)"
        limits = array.limits() if self.options.range == "auto" else self.options.range
        return SourceFile(
            path, items, (width, height), channels, note="" if self.options.axes else note, limits=limits or None
        )

    def read(self, task: SourceFile) -> Iterator[Event]:
        """All frames; clips with bad values are named, and the next one follows."""
        array = self._open(task.path)
        for number in range(len(task.items)):
            try:
                yield from ((number, frame) for frame in array.frames(number, task.limits))
                yield number, self._told(array, number)
            except InputError as error:
                yield number, error

    def _told(self, array: ArrayFile | ArrayFrames, number: int) -> dict[str, np.ndarray] | None:
        """The tracks of a clip; each array is read once for all clips of a file."""
        if not self.found or not isinstance(array, ArrayFile):
            return None
        if self._kept[0] != array.path:
            self._kept = array.path, {key: array.beside(key) for key, _ in self.found.values()}
        which = number if "N" in array.axes else None
        return values_beside(self._kept[1].get, self.found, which, array.shape[1], repr(str(array.path)))

    def _open(self, path: Path) -> ArrayFile | ArrayFrames:
        asked = self.options.axes, self.options.key, self.options.range is not None
        if path.is_dir():
            return ArrayFrames(array_paths(path), *asked)
        regular(path)
        array = open_array(path, *asked)
        array.check_clip()
        return array


def _is_array(path: Path) -> bool:
    return path.suffix.lower() in ARRAY_SUFFIXES | HDF5_SUFFIXES
