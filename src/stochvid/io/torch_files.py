"""Files of `torch.save`, old and new, read as data: nothing in them is executed, whatever they hold.

Both formats are read: the stream of pickles of PyTorch before 1.6, with its storages behind it, and the zip archive.
`unpickling` reads the pickles in them.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stochvid.errors import InputError
from stochvid.io.unpickling import StoredTensor, unpickled
from stochvid.untrusted import check_archive, check_directory, shown

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # at the beginning of the old format
DAMAGED = (
    pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    MemoryError, OverflowError, RecursionError, NotImplementedError, RuntimeError, OSError,
)  # fmt: skip  # what unpickling broken or forged bytes has been seen to raise


def read_torch_file(path: str | Path) -> tuple[Any, Callable[[StoredTensor], np.ndarray]]:
    """Reads a file of `torch.save` without executing anything in it.

    Args:
        path: of the file.

    Returns:
        What it holds, made of dictionaries, lists, numbers, texts, `Inert` and `StoredTensor`; and a function that
        gives the numbers of a stored tensor.

    Raises:
        InputError: the file is missing, broken, or names anything that no SVG checkpoint needs.
    """
    path = Path(path)
    with _opened(path) as file:
        start = file.read(2)
        file.seek(0)
        held, storages = (_read_zip if start == b"PK" else _read_stream)(file, path)
    return held, lambda tensor: _numbers(tensor, storages, path)


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
        unpickled(io.BytesIO(archive.read(entries["data.pkl"])), Path(path))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, with whatever goes wrong in our words."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError("it is a pipe or a device")
        with open(path, "rb") as file:
            yield file
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"checkpoint {str(path)!r} does not exist.") from None
    except IsADirectoryError:
        raise InputError(f"checkpoint {str(path)!r} is a folder. Give the .pth file that torch.save wrote.") from None
    except DAMAGED as error:
        raise InputError(
            f"{str(path)!r} is not a whole file of torch.save ({type(error).__name__}: {error!s:.80}). Fetch it again."
        ) from None


def _read_stream(file: BinaryIO, path: Path) -> tuple[Any, dict[str, bytes]]:
    if unpickled(file, path)[0] != MAGIC or unpickled(file, path)[0] != PROTOCOL:
        raise pickle.UnpicklingError("it does not begin as one")
    if not unpickled(file, path)[0].get("little_endian", True):
        raise InputError(f"{str(path)!r} was written on a big-endian machine, which is not supported.")
    held, known = unpickled(file, path)
    storages, end = {}, path.stat().st_size
    for key in unpickled(file, path)[0]:
        if type(key) not in (str, int):
            raise pickle.UnpicklingError("a storage has no name")
        key = str(key)
        numel, size = int.from_bytes(file.read(8), "little"), known[key].numel * known[key].dtype.itemsize
        if numel != known[key].numel or file.tell() + size > end:
            raise EOFError(f"storage {key} is cut off")
        storages[key] = file.read(size)
    return held, storages


def _read_zip(file: BinaryIO, path: Path) -> tuple[Any, dict[str, bytes]]:
    with _archive(file, path) as (archive, entries):
        held, known = unpickled(io.BytesIO(archive.read(entries["data.pkl"])), path)
        return held, {key: archive.read(entries[f"data/{key}"]) for key in known}


@contextmanager
def _archive(file: BinaryIO, path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """A zip archive of torch.save, and its entries by the names within it."""
    check_directory(path)
    with zipfile.ZipFile(file) as archive:
        check_archive(archive, path)
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("its entries are compressed, which torch.save does not do")
        entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise InputError(f"{str(path)!r} was written on a big-endian machine, which is not supported.")
        yield archive, entries


def _numbers(tensor: StoredTensor, storages: dict[str, bytes], path: Path) -> np.ndarray:
    """A stored tensor's numbers, checked to lie within its storage."""
    storage, size, stride = tensor.storage, tensor.size, tensor.stride
    numbers = np.frombuffer(storages[storage.key], storage.dtype)
    offset = tensor.offset + storage.offset
    whole = all(type(n) is int and n >= 0 for n in (offset, *size, *stride)) and len(size) == len(stride)
    if whole and 0 in size:
        return np.zeros(size, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if whole else -1
    if not whole or last >= len(numbers) or math.prod(size) > len(numbers):
        raise InputError(f"{str(path)!r} is damaged: a tensor of {shown(size)} does not lie within its storage.")
    bytes_of = [step * storage.dtype.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, bytes_of, writeable=False).copy()
