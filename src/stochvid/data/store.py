"""A prepared store: decoded clips as one memory-mapped array for each split, and an index.

    STORE/index.json   clips (names, offsets, lengths), size, channels, where they come from, checksums
    STORE/train.npy    (frames, C, size, size) uint8, the clips one after another
    STORE/test.npy     likewise

`Store` reads one; `store_writer.py` makes one.
"""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_PIXELS, MOST_RECORDS, check_npy, read_json, shown
from stochvid.data.splits import SPLITS

INDEX = "index.json"
WORK = ".preparing"  # ends the name of the folder in which a store is made
FORMAT, VERSION = "stochvid store", 1


@dataclass
class SplitIndex:
    """The clips of a split; lists are alike in length.

    Attributes:
        names: of the clips.
        offsets: first frame of each in the array.
        lengths: frames of each.
        fps: frames per second, null where unknown.
        bounces: for made clips, the frames in which something unpredictable happens; else null.
        sha256: of the array's file.
    """

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    fps: list[float | None] = field(default_factory=list)
    bounces: list[list[int] | None] = field(default_factory=list)
    sha256: str = ""

    @property
    def frames(self) -> int:
        """Frames of all clips together."""
        return sum(self.lengths)

    def add(self, name: str, length: int, fps: float | None, bounces: Sequence[int] | None = None) -> None:
        """Notes a clip whose frames follow those of the last one."""
        self.offsets.append(self.offsets[-1] + self.lengths[-1] if self.offsets else 0)
        self.names.append(name)
        self.lengths.append(length)
        self.fps.append(fps)
        self.bounces.append(None if bounces is None else [int(frame) for frame in bounces])


class Store:
    """A store on disk, opened to be read.

    Args:
        path: its folder.

    Attributes:
        size: height and width of the frames.
        channels: of the frames.
        splits: the clips of each split.
        about: what else the index says: source, options, what was left out.

    Raises:
        InputError: there is no store, or its index and arrays do not agree.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        index = _read_index(self.path)
        try:
            self.size, self.channels = index.pop("size"), index.pop("channels")
            self.splits = {name: SplitIndex(**split) for name, split in index.pop("splits").items()}
            self.about = index
            self._check_index()
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise self._broken(f"{INDEX} is not as it should be ({error!s:.200})") from None
        self._arrays = {name: self._map(name) for name in self.splits}

    def clip(self, split: str, number: int, limit: int | None = None) -> dict[str, np.ndarray]:
        """A whole clip, or its first `limit` frames: `frames` (T, C, H, W) uint8, `bounces` (T,) bool where known.

        Raises:
            InputError: there is no such split or clip.
        """
        index = self.splits.get(split)
        if index is None or not 0 <= number < len(index.names):
            held = ", ".join(f"{name} 0 to {len(s.names) - 1}" for name, s in self.splits.items())
            raise InputError(f"store {str(self.path)!r} has no clip {number} in {split!r}; it has {held}.")
        start, length = index.offsets[number], min(index.lengths[number], limit or index.lengths[number])
        clip = {"frames": np.array(self.array(split)[start : start + length])}
        if index.bounces[number] is not None:
            clip["bounces"] = np.isin(np.arange(length), index.bounces[number])
        return clip

    def first(self, split: str, frames: int) -> int:
        """Number of the first clip with so many frames, or else of the longest."""
        lengths = self.splits[split].lengths
        return next((n for n, length in enumerate(lengths) if length >= frames), lengths.index(max(lengths)))

    def array(self, split: str) -> np.ndarray:
        """The memory map of a split: (frames, C, size, size) uint8."""
        return self._arrays[split]

    @property
    def held_out(self) -> str:
        """The split to validate on: val, or else test.

        Raises:
            InputError: there is neither.
        """
        for name in ("val", "test"):
            if name in self.splits:
                return name
        raise InputError(
            f"store {str(self.path)!r} has nothing to validate on: it has only {', '.join(self.splits)}. Prepare it "
            "with a --split that names test or val, too."
        )

    def verify(self) -> None:
        """Compares the arrays with their checksums.

        Raises:
            InputError: one differs.
        """
        for name, split in self.splits.items():
            if checksum(self.path / f"{name}.npy") != split.sha256:
                raise self._broken(f"{name}.npy does not match its checksum")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a pickled memory map would be a copy of everything

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])

    def _map(self, name: str) -> np.ndarray:
        file = self.path / f"{name}.npy"
        try:
            if not file.is_file():
                raise FileNotFoundError("there is no such file")
            with open(file, "rb") as opened:
                check_npy(opened)
            array = np.lib.format.open_memmap(file, mode="r")
        except Exception as error:  # NumPy raises nearly anything on broken files
            raise self._broken(f"{name}.npy cannot be opened ({error!s:.200})") from None
        expected = (self.splits[name].frames, self.channels, self.size, self.size)
        if array.dtype != np.uint8 or array.shape != expected or not array.flags.c_contiguous:
            raise self._broken(
                f"{name}.npy is {array.dtype} {array.shape}, but {INDEX} says uint8 {expected}, frame after frame"
            )
        if file.stat().st_size != array.offset + array.nbytes:
            raise self._broken(f"{name}.npy has {file.stat().st_size:,} bytes, not those of its header")
        return array

    def _check_index(self) -> None:
        for name, value in (("size", self.size), ("channels", self.channels)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {shown(value)}")
        if self.size**2 * self.channels > MOST_PIXELS:
            raise ValueError(f"frames of {shown(self.size)}×{shown(self.size)} are too large")
        if not self.splits:
            raise ValueError("it has no splits")
        for name, split in self.splits.items():
            columns = (split.names, split.offsets, split.lengths, split.fps, split.bounces)
            if name not in SPLITS or not split.names or len({len(column) for column in columns}) != 1:
                raise ValueError(f"split {name!r} is incomplete")
            rates = all(fps is None or (type(fps) in (int, float) and 0 < fps < 1e6) for fps in split.fps)
            turns = all(b is None or (type(b) is list and all(map(_is_frame, b))) for b in split.bounces)
            if not rates or not turns or {type(clip) for clip in split.names} != {str}:
                raise ValueError(f"names, fps or bounces of {name!r} are of the wrong kind")
            offsets, lengths = np.array(split.offsets), np.array(split.lengths)
            whole = all(a.dtype == np.int64 and a.shape == (len(split.names),) for a in (offsets, lengths))
            if not whole or lengths.min() < 1:
                raise ValueError(f"the clips of {name!r} are no whole numbers of frames")
            order = np.argsort(offsets)
            if not np.array_equal(offsets[order], np.cumsum(lengths[order]) - lengths[order]):
                raise ValueError(f"the clips of {name!r} overlap or leave gaps")

    def _broken(self, why: str) -> InputError:
        return InputError(f"store {str(self.path)!r} is broken: {why}. Prepare it again with --overwrite.")


def _is_frame(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 62


def bounces_at(bounces: Sequence[int], first: int, length: int, stride: int) -> np.ndarray:
    """Which of the frames first, first + stride … follow a bounce that the one before them did not: (length,) bool."""
    frames = first + stride * np.arange(length)
    ordered = np.sort(np.asarray(bounces, dtype=np.int64))
    return np.searchsorted(ordered, frames, side="right") > np.searchsorted(ordered, frames - stride, side="right")


def is_store(path: str | Path) -> bool:
    """Whether there is a store in a folder, as far as its index shows."""
    try:
        return _read_index(Path(path)) is not None
    except InputError:
        return False


def prepare_command(source: str | Path, *options: str) -> tuple[str, str]:
    """The command that makes a store of a source, and the name of that store, for people to copy."""
    path = Path(source)
    stem = path.resolve().stem if path.is_file() else path.resolve().name
    store = shlex.quote(f"data/{stem}")
    return f"stochvid prepare {shlex.quote(str(source))} {store}" + "".join(f" {word}" for word in options), store


def is_prepared(out: Path, plan: dict[str, Any], overwrite: bool) -> bool:
    """Whether a store of this plan is there already.

    Args:
        out: folder of the store.
        plan: what it is made of, and how.
        overwrite: whether another store, or a broken one, may be replaced.

    Raises:
        InputError: there is something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not is_store(out):
        raise InputError(f"{str(out)!r} exists and is no store. Choose another folder.")
    try:
        store = Store(out)
        old = store.about.get("plan")
        if overwrite:
            store.verify()
    except InputError:
        if overwrite:
            return False
        raise
    if old != plan and not overwrite:
        raise InputError(
            f"{str(out)!r} holds another store ({difference(old, plan)}). Choose another folder, or replace it with "
            "--overwrite."
        )
    return old == plan


def difference(old: Any, new: dict[str, Any]) -> str:
    """How two plans differ, in words."""
    if not isinstance(old, dict):
        return "of unknown options"
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    named = [name for name in names if name != "files"]
    if not named:
        return "the files of the source are others, or have changed"
    told = {name: [repr(plan[name]) if name in plan else "none" for plan in (old, new)] for name in named}
    return ", ".join(f"{name} {was}, asked for {now}" for name, (was, now) in told.items())


def checksum(path: Path) -> str:
    """SHA-256 of a file, as `sha256sum` prints it.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from None


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        file = path.stat()
        index = _read_once(path.absolute(), file.st_ino, file.st_size, file.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError):
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise InputError(
                f"{str(folder)!r} is no store (no {INDEX} there). Prepare it first: {prepare_command(folder)[0]}."
            ) from None
        raise InputError(
            f"there is no store in {str(folder)!r} (no {INDEX} there). Make one: stochvid prepare SOURCE {folder}."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"store {str(folder)!r} is broken: {INDEX} cannot be read ({error!s:.200}).") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise InputError(f"{str(path)!r} is not the index of a store of stochvid.")
    if index.get("version") != VERSION:
        raise InputError(
            f"store {str(folder)!r} is of version {shown(index.get('version'))}; this stochvid reads version "
            f"{VERSION}. Prepare it again with --overwrite, or update stochvid."
        )
    return dict(index)


@lru_cache(maxsize=2)  # a command has one store, or two, and asks for it several times; its index may be large
def _read_once(path: Path, *_: int) -> Any:
    """The content of an index file, read again once its inode, size or time is another. Nobody changes it in memory."""
    return read_json(path, MOST_RECORDS)
