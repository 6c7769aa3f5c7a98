"""Clips in `.npy` and `.npz` files, one or many in each."""

from collections.abc import Iterator
from pathlib import Path

from stochvid.data.source import Event, Item, Source, Task, regular, walk
from stochvid.data.splits import SPLITS
from stochvid.errors import InputError
from stochvid.io.arrays import ArrayFile
from stochvid.io.clip import ARRAY_SUFFIXES, COLOURS


class Arrays(Source):
    """Array files, (N, T, H, W), (N, T, H, W, C), (N, T, C, H, W), (T, N, H, W), or one clip without N."""

    format = "arrays"
    takes = frozenset({"axes"})

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """A `.npy` or `.npz` file, or a tree with one."""
        files = [root] if root.is_file() else walk(root).files
        return any(path.suffix.lower() in ARRAY_SUFFIXES for path in files)

    def find(self) -> list[Path]:
        """Every array file."""
        if self.root.is_file():
            return [self.root]
        return [path for path in walk(self.root).files if path.suffix.lower() in ARRAY_SUFFIXES]

    def probe(self, path: Path) -> Task:
        """As many clips as the array has."""
        regular(path)
        array = ArrayFile(path, self.options.axes)
        count, length, height, width, channels = array.shape
        if channels not in COLOURS:
            raise InputError(f"clip {str(path)!r} has {channels} channels; expected 1, 3 or 4 (axes {array.axes}).")
        name = self.name(path)
        names = [f"{name}#{i}" for i in range(count)] if "N" in array.axes else [name]
        split = path.stem.lower() if path.stem.lower() in SPLITS else None
        items = tuple(Item(name, length, split) for name in names)
        note = f"{name!r}: axes {array.axes}, {count} clip(s) of {length} frames (if not, give --axes)"
        return Task(path, items, (width, height), channels, note="" if self.options.axes else note)

    def read(self, task: Task) -> Iterator[Event]:
        """All frames; clips with bad values are named, and the next one follows."""
        array = ArrayFile(task.path, self.options.axes)
        for number, item in enumerate(task.items):
            try:
                clip = array.clip(number)
            except InputError as error:
                yield number, InputError(str(error).replace(str(task.path), str(task.path.parent / item.name), 1))
                continue
            yield from ((number, frame) for frame in clip)
            yield number, None
