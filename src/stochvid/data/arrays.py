"""Clips in `.npy` and `.npz` files, one or many in each."""

from collections.abc import Iterator
from pathlib import Path

from stochvid.data.source import Event, Item, Source, Task, Walk, regular
from stochvid.data.splits import SHIPPED
from stochvid.errors import InputError
from stochvid.io.arrays import ArrayFile
from stochvid.io.clip import ARRAY_SUFFIXES, COLOURS


class Arrays(Source):
    """Array files, (N, T, H, W), (N, T, H, W, C), (N, T, C, H, W), (T, N, H, W), or one clip without N."""

    format = "arrays"
    takes = frozenset({"axes"})

    @classmethod
    def recognises(cls, root: Path, tree: Walk) -> bool:
        """Any `.npy` or `.npz` file will do."""
        return any(path.suffix.lower() in ARRAY_SUFFIXES for path in tree.files)

    def find(self) -> list[Path]:
        """Every array file."""
        files = [path for path in self.tree.files if path.suffix.lower() in ARRAY_SUFFIXES]
        self.note_others(set(files))
        return files

    def probe(self, path: Path) -> Task:
        """As many clips as the array has."""
        regular(path)
        array = ArrayFile(path, self.options.axes)
        count, length, height, width, channels = array.shape
        if channels not in COLOURS:
            raise InputError(f"clip {str(path)!r} has {channels} channels; expected 1, 3 or 4 (axes {array.axes}).")
        name = self.name(path)
        names = [f"{name}#{i}" for i in range(count)] if "N" in array.axes else [name]
        split = SHIPPED.get(path.stem.lower(), self.shipped_split(path))
        items = tuple(Item(name, length, split) for name in names)
        note = f"{name!r}: axes {array.axes}, {count} clip(s) of {length} frames (if not, give --axes)"
        return Task(path, items, (width, height), channels, note="" if self.options.axes else note)

    def read(self, task: Task) -> Iterator[Event]:
        """All frames; clips with bad values are named, and the next one follows."""
        array = ArrayFile(task.path, self.options.axes)
        for number in range(len(task.items)):
            try:
                yield from ((number, frame) for frame in array.frames(number))
                yield number, None
            except InputError as error:
                yield number, error
