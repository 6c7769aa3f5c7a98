"""Clips in HDF5 files (and MATLAB's of version 7.3), read frame by frame.

A file from elsewhere may name other files, claim any size, or ask for a filter that HDF5 would load as a program: of
all this, nothing is followed.
"""

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_CHUNK, MOST_LINKS, PACKING, UNPACKED
from stochvid.media.arrays import KEYS, ArrayFile, check_beside, pick_key
from stochvid.media.axes import recognise_axes

FILTERS = {1, 2, 3, 4, 5, 6, 32000}  # that HDF5 and h5py have in them: no plugin is ever loaded
MATLAB, MATLAB_OLD = b"MATLAB 7.3", b"MATLAB 5.0"


class HDF5File(ArrayFile):
    """Clips in one dataset of an HDF5 file; as `ArrayFile`.

    The key is the dataset's path in the file. MATLAB keeps axes in the opposite order, and so (H, W, C, T) of MATLAB
    is recognised there.
    """

    _key: str

    def _header(self, key: str | None) -> tuple[str, tuple[int, ...], np.dtype]:
        try:
            import h5py
        except ImportError:
            raise InputError(
                f"{str(self.path)!r} is an HDF5 file, which needs h5py: pip install 'stochvid[hdf5]'."
            ) from None
        with open(self.path, "rb") as file:
            begin = file.read(16)
        if begin.startswith(MATLAB_OLD):
            raise InputError(f"{str(self.path)!r} is a MATLAB file of version 5. Save it with save(…, '-v7.3').")
        self._matlab = begin.startswith(MATLAB)
        # the cache holds a whole chunk, so that each is unpacked once for all of its frames
        self._file = h5py.File(self.path, "r", locking=False, rdcc_nbytes=MOST_CHUNK)
        found = dict(_datasets(self._file, h5py))
        name = _pick(self.path, found, key)
        _check_dataset(self.path, name, found[name])
        return name, tuple(map(int, found[name].shape)), found[name].dtype

    def _recognise(self, shape: tuple[int, ...]) -> str | None:
        axes = recognise_axes(shape, self._key.rpartition("/")[2], self.path.stem)
        return axes.translate(str.maketrans("HW", "WH")) if axes and self._matlab else axes

    def _read_beside(self, name: str) -> np.ndarray | None:
        import h5py

        found = dict(_datasets(self._file, h5py))
        if name not in found:
            return None
        _check_dataset(self.path, name, found[name])
        check_beside(self.path, name, tuple(map(int, found[name].shape)), found[name].dtype)
        values = found[name][()]
        return values.T if self._matlab else values

    def _load(self) -> Any:
        return self._file[self._key]

    def _unreadable(self, error: Exception) -> InputError:
        said = str(error) or type(error).__name__
        return InputError(f"clip {str(self.path)!r} cannot be read as HDF5: {said:.200}.")


def _datasets(file: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """Path and dataset of what is in a file itself; links to other files are passed over, and each group is seen once.

    Raises:
        ValueError: there are too many names.
    """
    groups, seen, links = deque([("", file)]), set(), 0
    while groups:
        path, group = groups.popleft()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            links += 1
            if links > MOST_LINKS:
                raise ValueError(f"it has more than {MOST_LINKS:,} names")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink) or name.startswith("#"):  # MATLAB's own
                continue
            entry = group[name]
            if isinstance(entry, h5py.Dataset):
                yield path + name, entry
            elif isinstance(entry, h5py.Group):
                groups.append((f"{path}{name}/", entry))


def _pick(path: Path, found: dict[str, Any], asked: str | None) -> str:
    """The path of the dataset that holds the clips: the one asked for, the only one, or that of a usual name.

    Raises:
        InputError: there is none, or none that stands out.
    """
    if asked is not None:
        return pick_key(path, list(found), asked.strip("/"))
    clips = [name for name, dataset in found.items() if dataset.ndim >= 3 and dataset.dtype.kind in "buif"]
    frames = [name for name, dataset in found.items() if dataset.ndim == 2 and dataset.dtype.kind in "buif"]
    usual = [name for key in KEYS for name in clips if name.rpartition("/")[2] == key]
    clips = usual[:1] if usual else clips or frames
    if clips:
        return pick_key(path, clips, None) if len(clips) > 1 else clips[0]
    raise InputError(f"{str(path)!r} has no dataset of numbers with 2 axes or more: no clip is in it.")


def _check_dataset(path: Path, name: str, dataset: Any) -> None:
    """Checks that a dataset lies in this file, in pieces of bounded size, and is packed by known filters alone.

    Raises:
        InputError: it does not.
    """
    what = f"dataset {name!r:.80} of {str(path)!r}"
    if dataset.is_virtual or dataset.external:
        raise InputError(f"{what} lies in other files, which are not followed. Copy it into one: h5repack, or h5py.")
    if dataset.shape is None:
        raise InputError(f"{what} is empty.")
    plist = dataset.id.get_create_plist()
    unknown = [plist.get_filter(n) for n in range(plist.get_nfilters()) if plist.get_filter(n)[0] not in FILTERS]
    if unknown:
        raise InputError(
            f"{what} is packed by filter {unknown[0][0]}, which is not read. Repack it: h5repack -f GZIP=4."
        )
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if chunk > MOST_CHUNK:
        raise InputError(
            f"{what} is in chunks of {chunk:,} bytes; at most {MOST_CHUNK:,} are read. Repack it in smaller ones."
        )
    claimed, size = math.prod(dataset.shape) * dataset.dtype.itemsize, path.stat().st_size
    if claimed > (size if dataset.chunks is None else max(UNPACKED, PACKING * size)):
        raise InputError(f"{what} claims {claimed:,} bytes, the file has {size:,}. Get it again.")
