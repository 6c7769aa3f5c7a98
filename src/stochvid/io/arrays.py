"""Clips in `.npy` and `.npz` files: which array, which axes, which values. Nothing is ever unpickled.

Axes: `N` clips, `T` time, `H W` height and width, `C` channels.
"""

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from stochvid.errors import InputError
from stochvid.untrusted import MOST_CLIPS, check_archive, check_directory, check_frame, check_npy

KEYS = ("frames", "clip", "video", "sequences")  # sequences: the public test sets of Franceschi et al. (2020)
CHANNELS = (1, 3, 4)
CLIP_AXES = ("THW", "THWC", "TCHW")
ONE_CLIP = "(T, H, W), (T, H, W, C) or (T, C, H, W) with 1, 3 or 4 channels"
SET_AXES = ("NTHW", "NTHWC", "NTCHW", "TNHW", "TNHWC", "TNCHW")


class ArrayFile:
    """Clips in one array file, in a known order of axes.

    Args:
        path: of the `.npy` or `.npz` file; in an `.npz`, the array is the only one or has one of the names in `KEYS`.
        axes: order of the axes, one of `CLIP_AXES` or `SET_AXES`; None: recognised.

    Attributes:
        axes: order of the axes.
        shape: N, T, H, W, C.

    Raises:
        InputError: the file cannot be read, holds Python objects, or its shape or dtype are of no kind of clip.
    """

    def __init__(self, path: Path, axes: str | None = None):
        self.path, self._array = path, None
        try:
            self._key, shape, dtype = _header(path)
        except InputError:
            raise
        except Exception as error:  # NumPy's and zip's readers raise nearly anything on broken files
            raise _unreadable(path, error) from None
        if dtype != np.uint8 and dtype.kind not in "bf":
            what = "holds Python objects" if dtype.hasobject else f"has dtype {dtype}"
            raise InputError(f"clip {str(path)!r} {what}; expected uint8, bool, or float in [0, 1].")
        self.axes = axes or recognise_axes(shape, self._key)
        if self.axes is None or len(self.axes) != len(shape):
            wanted = f"{len(axes)} axes {axes}" if axes else ONE_CLIP
            raise InputError(f"clip {str(path)!r} has shape {shape}; expected {wanted}.")
        sides = dict(zip(self.axes, shape, strict=True))
        self.shape = tuple(sides.get(axis, 1) for axis in "NTHWC")
        check_frame(f"clip {str(path)!r}", self.shape[3], self.shape[2] * self.shape[4])
        if self.shape[0] > MOST_CLIPS:
            raise InputError(
                f"{str(path)!r} claims {self.shape[0]:,} clips; at most {MOST_CLIPS:,} of a file are read."
            )
        if 0 in self.shape:
            raise InputError(f"clip {str(path)!r} has no frames{' with pixels' if 0 not in self.shape[:2] else ''}.")

    def frames(self, number: int) -> Iterator[np.ndarray]:
        """The frames of clip `number`, read one by one: (H, W, C) uint8 each.

        Raises:
            InputError: the file is broken, or has values outside [0, 1].
        """
        if self._array is None:
            self._array = self._load()
        name = f"{self.path}#{number}" if "N" in self.axes else str(self.path)
        return (_pixels(frame, name) for frame in self._array[number])

    def _load(self) -> np.ndarray:
        try:
            if self._key is None:
                array = np.load(self.path, mmap_mode="r", allow_pickle=False)
            else:
                with np.load(self.path, allow_pickle=False) as archive:
                    array = archive[self._key]
        except Exception as error:
            raise _unreadable(self.path, error) from None
        array = array.transpose([self.axes.index(axis) for axis in "NTHWC" if axis in self.axes])
        missing = [place for place, axis in enumerate("NTHWC") if axis not in self.axes]
        return np.expand_dims(array, tuple(missing))


def recognise_axes(shape: tuple[int, ...], key: str | None = None) -> str | None:
    """The order of an array's axes, from its shape; None where there is no likely one.

    One clip where the axes fit it; of 4 axes without channels the first counts clips, under the key `sequences` time.
    """
    clips_and_time = "TN" if key == "sequences" else "NT"
    match shape:
        case (_, _, _):
            return "THW"
        case (_, _, _, _) if key == "sequences":
            return "TNHW"
        case (_, _, _, channels) if channels in CHANNELS:
            return "THWC"
        case (_, channels, _, _) if channels in CHANNELS:
            return "TCHW"
        case (_, _, _, _):
            return "NTHW"
        case (_, _, _, _, channels) if channels in CHANNELS:
            return clips_and_time + "HWC"
        case (_, _, channels, _, _) if channels in CHANNELS:
            return clips_and_time + "CHW"
    return None


def _header(path: Path) -> tuple[str | None, tuple[int, ...], np.dtype]:
    """Name in the archive (None for `.npy`), shape and dtype, without reading the values."""
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as file:
            return None, *_npy_header(file, path.stat().st_size)
    check_directory(path)
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)
        keys = [name.removesuffix(".npy") for name in archive.namelist()]
        key = next((key for key in KEYS if key in keys), keys[0] if len(keys) == 1 else None)
        if key is None:
            held = f"{', '.join(keys[:6]):.200}{', …' if len(keys) > 6 else ''}" or "nothing"
            raise InputError(f"clip {str(path)!r} holds {held}; name one array {KEYS[0]!r}.")
        with archive.open(f"{key}.npy") as file:
            return key, *_npy_header(file, archive.getinfo(f"{key}.npy").file_size)


def _npy_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype]:
    check_npy(file)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    expected = math.prod(shape) * dtype.itemsize + file.tell()
    if not dtype.hasobject and (size < expected or any(side < 0 for side in shape)):
        raise ValueError(f"its header promises {expected:,} bytes, it has {size:,}")
    return shape, dtype


def _pixels(array: np.ndarray, name: str) -> np.ndarray:
    """uint8, from bool or float in [0, 1] too."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise InputError(f"clip {name!r} has float values outside [0, 1]. Scale them, or save uint8.")
    return np.round(array * 255).astype(np.uint8)


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"clip {str(path)!r} cannot be read as a NumPy array: {str(error) or type(error).__name__:.200}.")
