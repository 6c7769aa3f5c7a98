"""Files of `torch.save`, old and new, read as data: nothing in them is executed, whatever they hold.

Both formats are read: the stream of pickles of PyTorch before 1.6, with its storages behind it, and the zip archive.
`unpickling` reads the pickles in them; numbers are copied out of a map of the file, when they are asked for.
"""

import io
import math
import mmap
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import check_archive, check_directory, shown
from stochvid.interop.unpickling import MOST_BYTES, Broken, Storage, StoredTensor, unpickled
from stochvid.interop.wrong_files import refuse_other_archive, refuse_other_file

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # at the beginning of the old format
FEW = 1000  # steps of its small pickles
BIG_ENDIAN = "was written on a big-endian machine, which is not supported."
DAMAGED = (
    pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    MemoryError, OverflowError, RecursionError, NotImplementedError, RuntimeError, OSError, struct.error,
)  # fmt: skip  # what unpickling broken or forged bytes has been seen to raise
Numbers = Callable[[StoredTensor], np.ndarray]


@dataclass(frozen=True)
class Place:
    """Where the numbers of a storage lie in a file, in bytes, and their checksum, if the file has one."""

    begin: int
    size: int
    crc: int | None = None


def read_torch_file(path: str | Path) -> tuple[Any, Numbers]:
    """Reads a file of `torch.save` without executing anything in it.

    Args:
        path: of the file.

    Returns:
        What it holds, made of dictionaries, lists, numbers, texts, `Inert` and `StoredTensor`; and a function that
        gives the numbers of a stored tensor, of all tensors together no more than the file has.

    Raises:
        InputError: the file is missing, broken, something else, or names anything that no SVG checkpoint needs.
    """
    path = Path(path)
    with _opened(path) as file:
        refuse_other_file(file, path)
        start = file.read(2)
        file.seek(0)
        held, storages, places = (_read_zip if start == b"PK" else _read_stream)(file, path)
        _check_places(storages, places)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return held, _reader(mapped, storages, places, path)


def check_torch_file(path: str | Path) -> None:
    """Checks that a zip archive of `torch.save` is as it was written, and holds tensors and plain values alone.

    `torch.load` trusts sizes, does not look at checksums, and can be made to hash without end.

    Args:
        path: of the file.

    Raises:
        InputError: as `read_torch_file`.
    """
    with _opened(Path(path)) as file, _archive(file, Path(path)) as (archive, entries):
        if changed := archive.testzip():
            raise ValueError(f"the checksum of {changed!r:.60} is wrong")
        unpickled(_pickle(archive, entries), Path(path))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, with whatever goes wrong in our words."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError("it is a pipe or a device")
        with open(path, "rb") as file, _in_our_words(path):
            yield file
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"checkpoint {str(path)!r} does not exist.") from None
    except IsADirectoryError:
        raise InputError(f"checkpoint {str(path)!r} is a folder. Give the .pth file that torch.save wrote.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"checkpoint {str(path)!r} cannot be read: {error!s:.80}.") from None


@contextmanager
def _in_our_words(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except DAMAGED as error:
        said = f"{error!s:.160}" if isinstance(error, Broken) else f"{type(error).__name__}: {error!s:.80}"
        raise InputError(f"{str(path)!r} is not a whole file of torch.save ({said}). Fetch it again.") from None


# ---------------------------------------------------------------------------------------------------------- the formats

Read = tuple[Any, dict[str, Storage], dict[str, Place]]


def _read_stream(file: BinaryIO, path: Path) -> Read:
    if unpickled(file, path, FEW)[0] != MAGIC or unpickled(file, path, FEW)[0] != PROTOCOL:
        raise Broken("it does not begin as one")
    if not unpickled(file, path, FEW)[0].get("little_endian", True):
        raise InputError(f"{str(path)!r} {BIG_ENDIAN}")
    held, storages = unpickled(file, path)
    places, end = {}, path.stat().st_size
    for key in unpickled(file, path)[0]:
        if type(key) not in (str, int) or str(key) not in storages or str(key) in places:
            raise Broken(f"a storage {shown(key)} that no tensor is in, or for the second time")
        storage = storages[str(key)]
        numel, size = int.from_bytes(file.read(8), "little"), storage.numel * storage.dtype.itemsize
        if numel != storage.numel or file.tell() + size > end:
            raise Broken(f"storage {shown(key)} of {shown(storage.numel)} numbers is cut off")
        places[storage.key] = Place(file.tell(), size)
        file.seek(size, io.SEEK_CUR)
    return held, storages, places


def _read_zip(file: BinaryIO, path: Path) -> Read:
    with _archive(file, path) as (archive, entries):
        held, storages = unpickled(_pickle(archive, entries), path)
        return held, storages, {key: _place(file, entries[f"data/{key}"]) for key in storages}


@contextmanager
def _archive(file: BinaryIO, path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """A zip archive of torch.save, and its entries by the names within it."""
    check_directory(path)
    with zipfile.ZipFile(file) as archive:
        check_archive(archive, path)
        refuse_other_archive(archive, path)
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise Broken("its entries are compressed, which torch.save does not do")
        entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if len(entries) < len(archive.infolist()):
            raise Broken("it has two entries of one name")
        if "byteorder" in entries and archive.read(entries["byteorder"])[:16] != b"little":
            raise InputError(f"{str(path)!r} {BIG_ENDIAN}")
        yield archive, entries


def _pickle(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> BinaryIO:
    entry = entries["data.pkl"]
    if entry.file_size > MOST_BYTES:
        raise Broken(f"data.pkl has {entry.file_size:,} bytes; at most {MOST_BYTES:,} are read")
    return io.BytesIO(archive.read(entry))


def _place(file: BinaryIO, entry: zipfile.ZipInfo) -> Place:
    """Where an entry's bytes begin: behind a header that has a name and extra fields of its own."""
    file.seek(entry.header_offset)
    signature, name, extra = struct.unpack("<4s22xHH", file.read(30))
    if signature != b"PK\3\4":
        raise Broken(f"its entry {entry.filename!r:.60} is not where it should be")
    return Place(entry.header_offset + 30 + name + extra, entry.file_size, entry.CRC)


# ---------------------------------------------------------------------------------------------------------- the numbers


def _check_places(storages: dict[str, Storage], places: dict[str, Place]) -> None:
    for key, storage in storages.items():
        if key not in places or places[key].size != storage.numel * storage.dtype.itemsize:
            size = f"{places[key].size:,}" if key in places else "no"
            raise Broken(f"storage {shown(key)} of {shown(storage.numel)} {storage.dtype} has {size} bytes")


def _reader(mapped: mmap.mmap, storages: dict[str, Storage], places: dict[str, Place], path: Path) -> Numbers:
    """Gives the numbers of stored tensors, checked to lie within their storage."""
    checked: set[str] = set()
    left = sum(storage.numel for storage in storages.values())

    def numbers(tensor: StoredTensor) -> np.ndarray:
        nonlocal left
        storage = tensor.storage
        place = places[storage.key]
        if place.crc is not None and storage.key not in checked:
            with memoryview(mapped)[place.begin : place.begin + place.size] as data:
                if len(data) != place.size or zlib.crc32(data) != place.crc:
                    raise InputError(f"{str(path)!r} is damaged: the checksum of a storage is wrong. Fetch it again.")
            checked.add(storage.key)
        count = math.prod(tensor.size)
        if not _lies_within(tensor, storages[storage.key].numel):
            raise InputError(
                f"{str(path)!r} is damaged: a tensor of {shown(tensor.size)} does not lie within its storage."
            )
        left -= count
        if left < 0:
            raise InputError(f"{str(path)!r} is damaged: its tensors have more numbers together than the file holds.")
        if not count:
            return np.zeros([min(n, 1) for n in tensor.size], storage.dtype)
        stored = np.frombuffer(mapped, storage.dtype, storages[storage.key].numel, place.begin)
        strides = [
            step * storage.dtype.itemsize if n > 1 else 0 for n, step in zip(tensor.size, tensor.stride, strict=True)
        ]
        from_first = stored[storage.offset + tensor.offset :]
        return np.lib.stride_tricks.as_strided(from_first, tensor.size, strides, writeable=False).copy()

    return numbers


def _lies_within(tensor: StoredTensor, numel: int) -> bool:
    steps = zip(tensor.size, tensor.stride, strict=True)
    last = tensor.storage.offset + tensor.offset + sum((n - 1) * step for n, step in steps)
    return 0 in tensor.size or last < numel
