"""What a source of clips is: it finds files, says which clips are in each, and reads their frames.

`prepare` calls the three steps in turn, the last two in worker processes.
"""

import json
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import numpy as np

from stochvid.core.errors import InputError
from stochvid.data.splits import SHIPPED
from stochvid.data.store import WORK, is_store
from stochvid.data.tracks import Track
from stochvid.media.order import natural, natural_order
from stochvid.media.values import Limits, Range, joint_limits


@dataclass(frozen=True)
class Options:
    """What a person may ask of a source.

    Attributes:
        fps: take frames at this constant rate; None: as they come.
        axes: order of an array's axes; None: recognised.
        camera: of a LeRobot dataset; None: its only one.
        range: the values of arrays and images that become black and white; auto: the least and the largest of all.
        key: name of the array in a file with several; None: the only one, or that of a usual name.
        length: frames of a clip of a published test set; None: as published.
        split: the published test set asked for (srvp-test), or None.
        actions: what the source calls what was done at each frame; None: a usual name.
        states: what it calls what was measured, likewise.
    """

    fps: float | None = None
    axes: str | None = None
    camera: str | None = None
    range: Range = None
    key: str | None = None
    length: int | None = None
    split: str | None = None
    actions: str | None = None
    states: str | None = None


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
class SourceFile:
    """A file, or a folder of frames, and the clips in it: what one worker reads in one go.

    Attributes:
        path: of the file.
        items: clips, in the order in which `read` gives them.
        size: (width, height) of its frames.
        channels: of its frames.
        fps: frames per second of what `read` gives, None where it is not known.
        note: what a person should know of it.
        key: its name, and a digest of sizes and times of change: another key, another content.
        limits: the values that become black and white; None: as they are.
    """

    path: Path
    items: tuple[Item, ...]
    size: tuple[int, int]
    channels: int
    fps: float | None = None
    note: str = ""
    key: tuple[str, str] = ("", "")
    limits: Limits | None = None

    @property
    def frames(self) -> int:
        """Frames of all its clips, about."""
        return sum(item.frames for item in self.items)


Event = tuple[int, np.ndarray | dict[str, np.ndarray] | InputError | None]


class Source(ABC):
    """A kind of data on disk.

    Args:
        root: the folder, or the one file.
        tree: what is there.
        options: what was asked for.

    Attributes:
        format: its name.
        size: height and width that it is stored in unless told otherwise.
        channels: likewise; None: as many as the frames have.
        takes: the options that concern it.
        notes: what a person should know before the work begins.
        tracks: what else it knows of every frame of every clip, by name; settled by `find`.
    """

    format: ClassVar[str]
    size: ClassVar[int] = 64
    channels: int | None = None
    takes: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, root: Path, tree: "Walk", options: Options):
        self.root, self.tree, self.options = root, tree, options
        self.notes: list[str] = []
        self.tracks: dict[str, Track] = {}

    @classmethod
    @abstractmethod
    def recognises(cls, root: Path, tree: "Walk") -> bool:
        """Whether this looks like the format."""

    @abstractmethod
    def find(self) -> list[Path]:
        """The files (or folders of frames) with clips, in the order of the store.

        Raises:
            InputError: there is none, or what describes them is broken.
        """

    @abstractmethod
    def probe(self, path: Path) -> SourceFile:
        """Which clips a file holds, from its header.

        Raises:
            InputError: it is not what it should be.
        """

    def arrange(self, tasks: list[SourceFile]) -> list[SourceFile]:
        """The last word on which clips to take, once all files are known, and on one range for all of them."""
        if self.options.range != "auto":
            return tasks
        limits = joint_limits(task.limits for task in tasks if task.limits)
        return [replace(task, limits=limits) for task in tasks]

    @abstractmethod
    def read(self, task: SourceFile) -> Iterator[Event]:
        """The frames of a task's clips, clip after clip.

        Yields:
            Number of the clip in the task, and its next frame (H, W, C) uint8; then, in a frame's place: the clip is
            whole, and these are its tracks, (T, …) each (None: it has none); or what is wrong with it.

        Raises:
            InputError: clips that are not whole by now cannot be read.
        """

    def name(self, path: Path) -> str:
        """The path below the root, with forward slashes."""
        return path.resolve().name if path == self.root else path.relative_to(self.root).as_posix()

    def shipped_split(self, path: Path) -> str | None:
        """The split that the folders above a file name or None."""
        parents = path.relative_to(self.root).parts[:-1]
        return next((SHIPPED[name.lower()] for name in parents if name.lower() in SHIPPED), None)

    def note_others(self, taken: Collection[Path]) -> None:
        """Says which files are not taken for clips."""
        others = Counter(path.suffix.lower() or path.name for path in self.tree.files if path not in taken)
        if others:
            kinds = ", ".join(f"{count} {kind!r}" for kind, count in others.most_common(5))
            self.notes.append(f"not taken for clips: {kinds}{', …' if len(others) > 5 else ''}")

    def keyed(self, task: SourceFile) -> SourceFile:
        """The task with its key."""
        try:
            stats = [(task.path.name, task.path.stat())]
            if task.path.is_dir():
                stats = sorted((entry.name, entry.stat()) for entry in os.scandir(task.path) if entry.is_file())
        except OSError as error:
            raise unreadable(task.path, error) from None
        told = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        digest = sha256(json.dumps(told).encode()).hexdigest()[:16]
        return replace(task, key=(self.name(task.path), digest))


@dataclass
class Walk:
    """What is below a folder, but for hidden files, stores, and the unfinished work on one.

    Attributes:
        files: every file, in natural order; the root itself where it is a file.
        twice: links to folders that are in the tree already, which were not followed.
        closed: what is wrong with folders that cannot be listed.
    """

    files: list[Path] = field(default_factory=list)
    twice: list[Path] = field(default_factory=list)
    closed: list[InputError] = field(default_factory=list)


def walk(root: Path) -> Walk:
    """Lists a tree; links to folders are followed, but every folder is seen once."""
    found, seen = Walk(), {os.path.realpath(root)}
    if not root.is_dir():
        return Walk([root])

    def note(error: OSError) -> None:
        found.closed.append(unreadable(Path(error.filename), error))

    for folder, names, files in os.walk(root, followlinks=True, onerror=note):
        kept = []
        for name in sorted(names, key=lambda n: (os.path.islink(os.path.join(folder, n)), natural(n))):
            path = Path(folder, name)
            real = os.path.realpath(path)
            if name.startswith(".") or name.endswith(WORK) or is_store(real):
                continue
            if real in seen:
                found.twice.append(path)
                continue
            seen.add(real)
            kept.append(name)
        names[:] = kept
        found.files += [Path(folder, name) for name in files if not name.startswith(".")]
    paths = {str(path.relative_to(root)): path for path in found.files}
    found.files = [paths[name] for name in natural_order(paths)]
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
