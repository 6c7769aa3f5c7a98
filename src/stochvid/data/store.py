"""A prepared store: decoded clips as one memory-mapped array for each split, and an index.

    STORE/index.json          clips (names, offsets, lengths), size, channels, tracks, where they come from, checksums
    STORE/train.npy           (frames, C, size, size) uint8, the clips one after another
    STORE/train.actions.npy   (frames, …), a track: what is known of each of these frames
    STORE/test.npy …          likewise

`Store` reads one; `store_writer.py` makes one. Version 1 knew no tracks but `bounces`, whose frames the index listed.
"""

import hashlib
import shlex
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.config import shipped_clips
from stochvid.core.clips import FRAMES
from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_PIXELS, MOST_RECORDS, check_npy, read_json, shown
from stochvid.data.splits import SPLITS
from stochvid.data.tracks import Track, at_frames, check_tracks, marked

INDEX = "index.json"
WORK = ".preparing"  # ends the name of the folder in which a store is made
FORMAT, VERSION = "stochvid store", 2
READ = (1, VERSION)  # versions


@dataclass
class SplitIndex:
    """The clips of a split; lists are alike in length.

    Attributes:
        names: of the clips.
        offsets: first frame of each in the array.
        lengths: frames of each.
        fps: frames per second, null where unknown.
        sha256: of the array's file.
        tracks: of each track's file, likewise.
    """

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    fps: list[float | None] = field(default_factory=list)
    sha256: str = ""
    tracks: dict[str, str] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Frames of all clips together."""
        return sum(self.lengths)

    def add(self, name: str, length: int, fps: float | None) -> None:
        """Notes a clip whose frames follow those of the last one."""
        self.offsets.append(self.offsets[-1] + self.lengths[-1] if self.offsets else 0)
        self.names.append(name)
        self.lengths.append(length)
        self.fps.append(fps)


class Store:
    """A store on disk, opened to be read.

    Args:
        path: its folder.

    Attributes:
        size: height and width of the frames.
        channels: of the frames.
        splits: the clips of each split.
        tracks: what is known of every frame, by name.
        about: what else the index says: source, options, what was left out.

    Raises:
        InputError: there is no store, or its index and arrays do not agree.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        index = _read_index(self.path)
        try:
            self.size, self.channels = index.pop("size"), index.pop("channels")
            splits = {name: dict(split) for name, split in index.pop("splits").items()}  # the index is shared
            tracks, old = index.pop("tracks", {}), index["version"] == 1
            self._bounces = {name: split.pop("bounces") for name, split in splits.items()} if old else {}
            self.splits = {name: SplitIndex(**split) for name, split in splits.items()}
            self.tracks = {name: Track(**track) for name, track in tracks.items()}
            self.about = index
            self._check_index()
            self._check_tracks()
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise self._broken(f"{INDEX} is not as it should be ({error!s:.200})") from None
        image = (self.channels, self.size, self.size)
        self._arrays, self._values = {}, {}
        for name in self.splits:
            self._arrays[name] = self._map(name, name, "uint8", image)
            tracks = () if self._bounces else self.tracks.items()
            self._values[name] = {n: self._map(name, f"{name}.{n}", t.dtype, t.shape) for n, t in tracks}

    def __str__(self) -> str:
        """What people type to name it: its folder, or the model that it came with."""
        return next((name for name, folder in shipped_clips().items() if folder == self.path), str(self.path))

    @property
    def name(self) -> str:
        """What results of its clips are called, for files."""
        return Path(str(self)).resolve().name

    def clip(self, split: str, number: int, limit: int | None = None) -> dict[str, np.ndarray]:
        """A whole clip, or its first `limit` frames: `frames` (T, C, H, W) uint8, and each track by name, (T, …).

        Raises:
            InputError: there is no such split or clip.
        """
        index = self.splits.get(split)
        if index is None or not 0 <= number < len(index.names):
            held = ", ".join(f"{name} 0 to {len(s.names) - 1}" for name, s in self.splits.items())
            raise InputError(f"store {str(self)!r} has no clip {number} in {split!r}; it has {held}.")
        start, length = index.offsets[number], min(index.lengths[number], limit or index.lengths[number])
        return {FRAMES: np.array(self.array(split)[start : start + length])} | self.tracks_at(split, number, 0, length)

    def tracks_at(self, split: str, number: int, first: int, length: int, stride: int = 1) -> dict[str, np.ndarray]:
        """Every track of a clip at the frames first, first + stride …, counted from the clip's first: (length, …).

        Actions are those that led to these frames (`tracks.at_frames`).
        """
        index = self.splits[split]
        begin, end = index.offsets[number], index.offsets[number] + index.lengths[number]
        if self._bounces:
            whole = {name: marked(self._bounces[split][number], end - begin) for name in self.tracks}
        else:
            whole = {name: values[begin:end] for name, values in self._values[split].items()}
        return {name: at_frames(values, first, length, stride, name) for name, values in whole.items()}

    def first(self, split: str, frames: int) -> int:
        """Number of the first clip with so many frames, or else of the longest."""
        lengths = self.splits[split].lengths
        return next((n for n, length in enumerate(lengths) if length >= frames), lengths.index(max(lengths)))

    def array(self, split: str) -> np.ndarray:
        """The memory map of a split: (frames, C, size, size) uint8."""
        return self._arrays[split]

    @property
    def tracks_text(self) -> str:
        """Its tracks for people, a line each."""
        return "".join(f"track {name}: {track}\n" for name, track in self.tracks.items())

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
            f"store {str(self.path)!r} has nothing to validate on, only {', '.join(self.splits)}. Prepare it "
            "with a --split that names test or val, too."
        )

    def verify(self) -> None:
        """Compares the arrays with their checksums.

        Raises:
            InputError: one differs.
        """
        for name, split in self.splits.items():
            for file, sha256 in ((name, split.sha256), *((f"{name}.{n}", told) for n, told in split.tracks.items())):
                if checksum(self.path / f"{file}.npy") != sha256:
                    raise self._broken(f"{file}.npy does not match its checksum")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a pickled memory map would be a copy of everything

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(Store(state["path"])))

    def _map(self, split: str, stem: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        """The memory map of a file, which must hold a value of this dtype and shape for every frame of the split."""
        file = self.path / f"{stem}.npy"
        try:
            if not file.is_file():
                raise FileNotFoundError("there is no such file")
            with open(file, "rb") as opened:
                check_npy(opened)
            array = np.lib.format.open_memmap(file, mode="r")
        except Exception as error:  # NumPy raises nearly anything on broken files
            raise self._broken(f"{file.name} cannot be opened ({error!s:.200})") from None
        expected = (self.splits[split].frames, *shape)
        if array.dtype != np.dtype(dtype) or array.shape != expected or not array.flags.c_contiguous:
            raise self._broken(
                f"{file.name} is {array.dtype} {array.shape}, but {INDEX} says {dtype} {expected}, frame after frame"
            )
        if file.stat().st_size != array.offset + array.nbytes:
            raise self._broken(f"{file.name} has {file.stat().st_size:,} bytes, not those of its header")
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
            columns = (split.names, split.offsets, split.lengths, split.fps)
            if name not in SPLITS or not split.names or len({len(column) for column in columns}) != 1:
                raise ValueError(f"split {name!r} is incomplete")
            rates = all(fps is None or (type(fps) in (int, float) and 0 < fps < 1e6) for fps in split.fps)
            if not rates or {type(clip) for clip in split.names} != {str}:
                raise ValueError(f"names or fps of {name!r} are of the wrong kind")
            offsets, lengths = np.array(split.offsets), np.array(split.lengths)
            whole = all(a.dtype == np.int64 and a.shape == (len(split.names),) for a in (offsets, lengths))
            if not whole or lengths.min() < 1:
                raise ValueError(f"the clips of {name!r} are not whole numbers of frames")
            order = np.argsort(offsets)
            if not np.array_equal(offsets[order], np.cumsum(lengths[order]) - lengths[order]):
                raise ValueError(f"the clips of {name!r} overlap or leave gaps")

    def _check_tracks(self) -> None:
        check_tracks(self.tracks)
        for name, split in self.splits.items():
            told = split.tracks
            if (
                not isinstance(told, dict)
                or set(told) != set(self.tracks)
                or not all(type(v) is str for v in told.values())
            ):
                raise ValueError(f"the tracks of {name!r} are not those of the store: {', '.join(self.tracks)}")
        listed = [bounces for name, column in self._bounces.items() for bounces in _column(column, self.splits[name])]
        if not all(clip is None or (type(clip) is list and all(map(_is_frame, clip))) for clip in listed):
            raise ValueError("bounces are of the wrong kind")
        if listed and None not in listed:  # a track is known of all clips
            self.tracks = {"bounces": Track("bool")}

    def _broken(self, why: str) -> InputError:
        return InputError(f"store {str(self.path)!r} is broken: {why}. Prepare it again with --overwrite.")


def _is_frame(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 62


def _column(values: Any, split: SplitIndex) -> list[Any]:
    """A list with something for every clip.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(values, list) or len(values) != len(split.names):
        raise ValueError("bounces are incomplete")
    return values


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
        raise InputError(f"{str(out)!r} exists and is not a store. Choose another folder.")
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
                f"{str(folder)!r} is not a store (no {INDEX} there). Prepare it first: {prepare_command(folder)[0]}."
            ) from None
        raise InputError(
            f"there is no store in {str(folder)!r} (no {INDEX} there). Make one: stochvid prepare SOURCE {folder}."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"store {str(folder)!r} is broken: {INDEX} cannot be read ({error!s:.200}).") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise InputError(f"{str(path)!r} is not the index of a store of stochvid.")
    if type(index.get("version")) is not int or index["version"] not in READ:
        raise InputError(
            f"store {str(folder)!r} is of version {shown(index.get('version'))}; this stochvid reads versions "
            f"{' and '.join(map(str, READ))}. Prepare it again with --overwrite, or update stochvid."
        )
    return dict(index)


@lru_cache(maxsize=2)  # a command has one store, or two, and asks for it several times; its index may be large
def _read_once(path: Path, *_: int) -> Any:
    """The content of an index file, read again once its inode, size or time is another. Nobody changes it in memory."""
    return read_json(path, MOST_RECORDS)
