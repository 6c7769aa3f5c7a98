"""What a source of clips is: it finds files, says which clips are in each, and reads their frames.

`prepare` calls the three steps in turn, the last two in worker processes.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from stochvid.data.store import is_store
from stochvid.errors import InputError
from stochvid.io.clip import natural


@dataclass(frozen=True)
class Options:
    """What a person may ask of a source.

    Attributes:
        fps: take frames at this constant rate; None: as they come.
        axes: order of an array's axes; None: recognised.
        camera: of a LeRobot dataset; None: its only one.
        length: frames of a clip of a published test set; None: as published.
        split: the published test set asked for (srvp-test), or None.
    """

    fps: float | None = None
    axes: str | None = None
    camera: str | None = None
    length: int | None = None
    split: str | None = None


@dataclass(frozen=True)
class Item:
    """A clip to store.

    Attributes:
        name: its path below the source, with a number where a file has several.
        frames: how many it has, as far as is known before it is decoded.
        split: where the source itself puts it, or None.
        start: where it begins in its file, in the source's own unit.
        stop: where it ends.
    """

    name: str
    frames: int
    split: str | None = None
    start: float = 0
    stop: float = np.inf


@dataclass(frozen=True)
class Task:
    """A file, or a folder of frames, and the clips in it: what one worker reads in one go.

    Attributes:
        path: of the file.
        items: clips, in the order in which `read` gives them.
        size: (width, height) of its frames.
        channels: of its frames.
        fps: frames per second of what `read` gives, None where it is not known.
        note: what a person should know of it.
        key: name, bytes and time of change: another key, another file.
    """

    path: Path
    items: tuple[Item, ...]
    size: tuple[int, int]
    channels: int
    fps: float | None = None
    note: str = ""
    key: tuple[str, int, int] = ("", 0, 0)

    @property
    def frames(self) -> int:
        """Frames of all its clips, about."""
        return sum(item.frames for item in self.items)


WORK = ".preparing"  # ends the name of the folder in which a store is made

Event = tuple[int, np.ndarray | InputError | None]


class Source:
    """A kind of data on disk.

    Args:
        root: the folder, or the one file.
        options: what was asked for.

    Attributes:
        format: its name.
        size: height and width that it is stored in unless told otherwise.
        channels: likewise; None: as many as the frames have.
        takes: the options that concern it.
        notes: what a person should know before the work begins.
    """

    format: ClassVar[str]
    size: ClassVar[int] = 64
    channels: ClassVar[int | None] = None
    takes: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, root: Path, options: Options):
        self.root, self.options = root, options
        self.notes: list[str] = []

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether `root` looks like this format."""
        raise NotImplementedError

    def find(self) -> list[Path]:
        """The files (or folders of frames) with clips, in the order of the store.

        Raises:
            InputError: there is none, or what describes them is broken.
        """
        raise NotImplementedError

    def probe(self, path: Path) -> Task:
        """Which clips a file holds, from its header.

        Raises:
            InputError: it is not what it should be.
        """
        raise NotImplementedError

    def arrange(self, tasks: list[Task]) -> list[Task]:
        """The last word on which clips to take, once all files are known."""
        return tasks

    def read(self, task: Task) -> Iterator[Event]:
        """The frames of a task's clips, clip after clip.

        Yields:
            Number of the clip in the task, and its next frame (H, W, C) uint8; then, in a frame's place, None: the
            clip is whole; or what is wrong with it.

        Raises:
            InputError: clips that are not whole by now cannot be read.
        """
        raise NotImplementedError

    def name(self, path: Path) -> str:
        """The path below the root, with forward slashes."""
        return path.name if path == self.root else path.relative_to(self.root).as_posix()

    def keyed(self, task: Task) -> Task:
        """The task with its key."""
        try:
            stat = task.path.stat()
            size, changed = stat.st_size, stat.st_mtime_ns
            if task.path.is_dir():
                stats = [entry.stat() for entry in os.scandir(task.path) if entry.is_file()]
                size, changed = sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)
        except OSError as error:
            raise unreadable(task.path, error) from None
        return replace(task, key=(self.name(task.path), size, changed))


@dataclass
class Walk:
    """What a folder tree holds, but for hidden files, stores, and the unfinished work on one.

    Attributes:
        files: every file, in natural order.
        loops: links to folders that contain them, which were not followed.
    """

    files: list[Path] = field(default_factory=list)
    loops: list[Path] = field(default_factory=list)


def walk(root: Path) -> Walk:
    """Lists a tree, following links to folders, but none in circles.

    Raises:
        InputError: the root, or a folder below it, cannot be listed.
    """
    found = Walk()
    above = {os.path.realpath(root): ()}

    def fail(error: OSError) -> None:
        raise unreadable(Path(error.filename), error) from None

    for folder, names, files in os.walk(root, followlinks=True, onerror=fail):
        parents = (*above[os.path.realpath(folder)], os.path.realpath(folder))
        kept = []
        for name in names:
            real = os.path.realpath(os.path.join(folder, name))
            if name.startswith(".") or name.endswith(WORK) or is_store(real):
                continue
            if real in parents:
                found.loops.append(Path(folder, name))
                continue
            above[real] = parents
            kept.append(name)
        names[:] = kept
        found.files += [Path(folder, name) for name in files if not name.startswith(".")]
    found.files.sort(key=lambda path: natural(path.relative_to(root)))
    return found


def regular(path: Path) -> None:
    """Checks that a path is a file that can be read.

    Raises:
        InputError: it is a pipe, a broken link, or not readable.
    """
    try:
        if not path.is_file():
            path.stat()
            raise InputError(f"clip {str(path)!r} is not a regular file.")
        with open(path, "rb"):
            pass
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> InputError:
    """What to say of a file that the system does not give."""
    return InputError(f"{str(path)!r} cannot be read: {error.strerror}.")
