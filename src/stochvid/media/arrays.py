"""Clips in `.npy`, `.npz` and HDF5 files: which array, which axes, which values. Nothing is ever unpickled.

Axes: `N` clips, `T` time, `H W` height and width, `C` channels; see `io/axes.py`.
"""

import math
import zipfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_CLIPS, check_archive, check_directory, check_frame, check_npy
from stochvid.media.axes import check_axes, check_sides, recognise_axes, sides_of
from stochvid.media.order import natural_order
from stochvid.media.values import OFFER, Limits, frame_limits, joint_limits, to_bytes

ARRAY_SUFFIXES = {".npy", ".npz"}
HDF5_SUFFIXES = {".h5", ".hdf5", ".hdf", ".mat"}
KEYS = ("frames", "clip", "video", "sequences")  # sequences: the public test sets of Franceschi et al. (2020)
ONE_CLIP = "(T, H, W), (T, H, W, C), (T, C, H, W) or (C, T, H, W) with 1, 3 or 4 channels"
KINDS = "uint8, bool, or float in [0, 1]"
MOST_BESIDE = 256 << 20  # bytes of an array beside the frames: ten hours at 30 a second with 50 numbers
SAMPLED = 3  # frames that are looked at to say what values there are


class ArrayFile:
    """Clips in one array file, in a known order of axes.

    Args:
        path: of the `.npy` or `.npz` file.
        axes: order of the axes, letters of NTHWC; None: recognised.
        key: name of the array in an archive; None: the only one, or that with one of the names in `KEYS`.
        scaled: whether limits will be given, so that values may be of any kind.

    Attributes:
        axes: order of the axes; without T, the file is one frame.
        shape: N, T, H, W, C.
        deep: whether values are neither uint8 nor bool.

    Raises:
        InputError: the file cannot be read, holds Python objects, or its shape or dtype are of no kind of clip.
    """

    def __init__(self, path: Path, axes: str | None = None, key: str | None = None, scaled: bool = False):
        self.path, axes = path, check_axes(axes)
        self._array: Any = None  # what `_load` gives, once it is needed
        try:
            self._key, shape, dtype = self._header(key)
        except InputError:
            raise
        except Exception as error:  # NumPy's and zip's readers raise nearly anything on broken files
            raise self._unreadable(error) from None
        if dtype.kind not in "buif":
            what = "holds Python objects" if dtype.hasobject else f"has dtype {dtype!s:.80}"
            raise InputError(f"clip {str(path)!r} {what}; expected {KINDS}.")
        order = axes or self._recognise(shape)
        if order is None or len(order) != len(shape):
            wanted = f"{len(axes)} axes {axes}" if axes else ONE_CLIP
            raise InputError(f"clip {str(path)!r} has shape {shape}; expected {wanted}.")
        self.axes, self.shape = order, sides_of(shape, order)
        check_frame(f"clip {str(path)!r}", self.shape[3], self.shape[2] * self.shape[4])
        if not axes:
            check_sides(path, shape, order)
        if self.shape[0] > MOST_CLIPS:
            raise InputError(
                f"{str(path)!r} claims {self.shape[0]:,} clips; at most {MOST_CLIPS:,} of a file are read."
            )
        if 0 in self.shape:
            raise InputError(f"clip {str(path)!r} has no frames{' with pixels' if 0 not in self.shape[:2] else ''}.")
        self.deep = dtype not in (np.uint8, np.bool_)
        if self.deep and dtype.kind != "f" and not scaled:
            raise InputError(f"clip {str(path)!r} has dtype {dtype}; expected {KINDS}. {self._found()}{OFFER}")

    def frames(self, number: int = 0, limits: Limits | None = None) -> Iterator[np.ndarray]:
        """The frames of clip `number`, read one by one: (H, W, C) uint8 each.

        Args:
            number: of the clip.
            limits: the values that become black and white; None: as they are.

        Raises:
            InputError: the file is broken, or has NaN, or values that say nothing without limits.
        """
        for place, values in enumerate(self._values(number), 1):
            yield to_bytes(values, limits, self._name(number), place)

    def limits(self) -> Limits:
        """The least and the largest value of all clips.

        Raises:
            InputError: the file is broken, or has NaN.
        """
        numbers = range(self.shape[0])
        found = (frame_limits(v, self._name(n), t) for n in numbers for t, v in enumerate(self._values(n), 1))
        limits = joint_limits(found)
        assert limits is not None, self.shape  # it has frames
        return limits

    def beside(self, name: str) -> np.ndarray | None:
        """Another array of numbers in the file, whole; None: there is none of this name.

        Raises:
            InputError: it cannot be read, or holds something else than numbers.
        """
        try:
            found = self._read_beside(name)
        except InputError:
            raise
        except Exception as error:  # as above
            raise self._unreadable(error) from None
        if found is not None and found.dtype.kind not in "buif":
            raise InputError(
                f"array {name!r:.80} of {str(self.path)!r} has dtype {found.dtype!s:.80}; expected numbers."
            )
        return found

    def _read_beside(self, name: str) -> np.ndarray | None:
        if self._key is None or self.path.suffix.lower() == ".npy":
            return None
        with zipfile.ZipFile(self.path) as archive:
            if f"{name}.npy" not in archive.namelist():
                return None
            with archive.open(f"{name}.npy") as file:
                shape, dtype = _npy_header(file, archive.getinfo(f"{name}.npy").file_size)
        check_beside(self.path, name, shape, dtype)
        with np.load(self.path, allow_pickle=False) as whole:
            return whole[name]

    def check_clip(self) -> None:
        """Checks that it is a clip, or clips, and no single frame.

        Raises:
            InputError: it is a frame.
        """
        if "T" not in self.axes:
            shape = tuple(side for side, axis in zip(self.shape, "NTHWC", strict=True) if axis in self.axes)
            raise InputError(
                f"clip {str(self.path)!r} has shape {shape}; expected {ONE_CLIP}. It looks like one frame "
                f"({', '.join(self.axes)}): give a folder of such files, or say what the axes are with --axes."
            )

    def _name(self, number: int) -> str:
        return f"{self.path}#{number}" if "N" in self.axes else str(self.path)

    def _values(self, number: int) -> Iterator[np.ndarray]:
        """The frames of a clip as they are, (H, W, C)."""
        if self._array is None:
            self._array = self._load()
        kept = [axis for axis in self.axes if axis in "HWC"]
        order = [kept.index(axis) for axis in "HWC" if axis in kept]
        for time in range(self.shape[1]):
            place = tuple({"N": number, "T": time}.get(axis, slice(None)) for axis in self.axes)
            try:
                values = np.asarray(self._array[place])
            except Exception as error:  # of what is read only now
                raise self._unreadable(error) from None
            yield values.transpose(order).reshape(self.shape[2:])

    def _found(self) -> str:
        """What the first values are, in words."""
        try:
            frames = islice(self._values(0), SAMPLED)
            values = np.stack(list(frames))
            low, high = frame_limits(values, str(self.path), 1)
        except InputError:
            return ""
        return f"Its first frames have values {low:,.6g} to {high:,.6g}. "

    def _recognise(self, shape: tuple[int, ...]) -> str | None:
        return recognise_axes(shape, self._key, self.path.stem)

    def _header(self, key: str | None) -> tuple[str | None, tuple[int, ...], np.dtype]:
        """Name in the archive (None for `.npy`), shape and dtype, without reading the values."""
        if self.path.suffix.lower() == ".npy":
            if key is not None:
                raise InputError(f"clip {str(self.path)!r} is one array without names; there is no {key!r:.80} in it.")
            with open(self.path, "rb") as file:
                return None, *_npy_header(file, self.path.stat().st_size)
        check_directory(self.path)
        with zipfile.ZipFile(self.path) as archive:
            check_archive(archive, self.path)
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
            key = pick_key(self.path, keys, key)
            with archive.open(f"{key}.npy") as file:
                return key, *_npy_header(file, archive.getinfo(f"{key}.npy").file_size)

    def _load(self) -> Any:
        """The array, or what can be indexed like one."""
        try:
            if self._key is None:
                return np.load(self.path, mmap_mode="r", allow_pickle=False)
            with np.load(self.path, allow_pickle=False) as archive:
                return archive[self._key]
        except Exception as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> InputError:
        said = str(error) or type(error).__name__
        return InputError(f"clip {str(self.path)!r} cannot be read as a NumPy array: {said:.200}.")


class ArrayFrames:
    """A clip whose frames are array files of a folder.

    Args:
        paths: of the files in order.
        axes: of each, letters of HWC; None: recognised.
        key: as for `ArrayFile`.
        scaled: likewise.

    Attributes:
        shape: N, T, H, W, C.
        axes: of the first frame.
        deep: whether the first has values that are neither uint8 nor bool.

    Raises:
        InputError: the first is no frame.
    """

    def __init__(self, paths: Sequence[Path], axes: str | None = None, key: str | None = None, scaled: bool = False):
        self.paths, self._asked = list(paths), (axes, key, scaled)
        first = self._open(self.paths[0])
        self.axes, self.deep, self._sides = first.axes, first.deep, first.shape[2:]
        self.shape = (1, len(self.paths), *self._sides)

    def frames(self, number: int = 0, limits: Limits | None = None) -> Iterator[np.ndarray]:
        """As `ArrayFile.frames`."""
        for place, path in enumerate(self.paths, 1):
            frame = self._open(path)
            if frame.axes != self.axes or frame.shape[2:] != self._sides:
                raise InputError(
                    f"frames of one clip must be alike: {self.paths[0].name!r} is {self._sides}, {str(path)!r} is "
                    f"{frame.shape[2:]} (height, width, channels)."
                )
            (values,) = frame._values(0)
            yield to_bytes(values, limits, str(path), place)

    def limits(self) -> Limits | None:
        """As `ArrayFile.limits`."""
        return joint_limits(self._open(path).limits() for path in self.paths)

    def check_clip(self) -> None:
        """Nothing is wrong with it."""

    def _open(self, path: Path) -> ArrayFile:
        frame = open_array(path, *self._asked)
        if "T" in frame.axes:
            raise InputError(
                f"{str(path)!r} has shape {frame.shape[1:]} (T, H, W, C): it is no frame, as the arrays beside it. Put "
                "frames and clips into folders of their own."
            )
        return frame


def check_beside(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Checks that an array beside the frames is not too large to be read whole.

    Raises:
        InputError: it is.
    """
    if math.prod(shape) * dtype.itemsize > MOST_BESIDE:
        raise InputError(f"array {name!r:.80} of {str(path)!r} has more than {MOST_BESIDE:,} bytes.")


def open_array(path: Path, axes: str | None = None, key: str | None = None, scaled: bool = False) -> ArrayFile:
    """Opens a `.npy`, `.npz` or HDF5 file; as `ArrayFile`."""
    if path.suffix.lower() in HDF5_SUFFIXES:
        from stochvid.media.hdf5 import HDF5File

        return HDF5File(path, axes, key, scaled)
    return ArrayFile(path, axes, key, scaled)


def array_paths(folder: Path) -> list[Path]:
    """The array files of a folder, in natural order."""
    arrays = [path for path in folder.iterdir() if path.suffix.lower() in ARRAY_SUFFIXES | HDF5_SUFFIXES]
    names = [path.name for path in arrays if path.is_file() and not path.name.startswith(".")]
    return [folder / name for name in natural_order(names, fold=True)]


def are_frames(paths: Sequence[Path], axes: str | None = None, key: str | None = None) -> bool:
    """Whether array files of a folder are the frames of one clip, by the first two and the last of them.

    Raises:
        InputError: it cannot be said.
    """
    if len(paths) < 2:
        return False
    try:
        looked = [open_array(path, axes, key, scaled=True) for path in (paths[0], paths[1], paths[-1])]
    except InputError:
        return False  # what is wrong with one is said when it is read
    first = looked[0]
    if axes is None and first.axes == "THW" and first.shape[1] == 3 and all(a.shape == first.shape for a in looked):
        shape = first.shape[1:4]
        raise InputError(
            f"the arrays of {str(paths[0].parent)!r} have shape {shape}: one frame each, channels first (--axes CHW), "
            f"or {shape[0]} grey frames each (--axes THW)? Say which."
        )
    return all("T" not in array.axes for array in looked)


def pick_key(path: Path, keys: Sequence[str], asked: str | None) -> str:
    """The name of the array that holds the clips.

    Raises:
        InputError: there is no such name, or none that stands out.
    """
    held = f"{', '.join(keys[:6]):.200}{', …' if len(keys) > 6 else ''}" or "nothing"
    if asked is not None and asked not in keys:
        raise InputError(f"clip {str(path)!r} has no array {asked!r:.80}; it holds {held}.")
    key = asked or next((key for key in KEYS if key in keys), keys[0] if len(keys) == 1 else None)
    if key is None:
        raise InputError(
            f"clip {str(path)!r} holds {held}; name one array {KEYS[0]!r}, or say which with {path.name}:NAME "
            "(prepare: --key NAME)."
        )
    return key


def _npy_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype]:
    check_npy(file)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    expected = math.prod(shape) * dtype.itemsize + file.tell()
    if not dtype.hasobject and (size < expected or any(side < 0 for side in shape)):
        raise ValueError(f"its header promises {expected:,} bytes, it has {size:,}")
    return shape, dtype
