"""Files of `torch.save`, old and new, read as data: nothing in them is executed, whatever they hold.

A pickle can call any function that it can name. Here a name is looked up in a short list, what is not in it is refused
before anything runs, and what is in it are inert stand-ins that keep what a file says of an object and do nothing.
Both formats are read: the stream of pickles of PyTorch before 1.6, with its storages behind it, and the zip archive.
"""

import math
import pickle
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stochvid.errors import InputError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # at the beginning of the old format
DTYPES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1",
    "Byte": "u1", "Bool": "?",
}  # fmt: skip
STORAGE = re.compile(r"(\w+)Storage")
MOST_MEMOS = 1_000_000  # honest files have some thousands
MODELS = r"models\.(dcgan_64|dcgan_128|vgg_64|vgg_128|lstm)"  # the modules of the 2018 code
INERT = re.compile(rf"{MODELS}|torch\.nn\.modules(\.\w+)*|torch\.nn\.backends\.thnn|torch\.optim(\.\w+)*")
BUILTINS = ("builtins", "__builtin__")
DAMAGED = (
    pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    MemoryError, OverflowError, RecursionError, NotImplementedError, RuntimeError, OSError,
)  # fmt: skip  # what unpickling broken or forged bytes has been seen to raise


class Inert:
    """Stands for an object of a file, and keeps what the file says of it.

    Attributes:
        path: the name of its class, such as models.lstm.lstm.
        state: its attributes by name, if the file gives such.
    """

    path = ""

    def __new__(cls, *_: Any, **__: Any) -> "Inert":
        """Takes whatever the class would take."""
        self = super().__new__(cls)
        self.state = {}
        return self

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


@dataclass
class Storage:
    """Numbers of a file, not read yet."""

    dtype: np.dtype
    key: str
    numel: int
    offset: int = 0


class StoredTensor:
    """A view of a storage: a tensor or parameter of a file, not read yet."""

    def __init__(self, storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]):
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)

    def __setstate__(self, state: Any) -> None:
        """What old versions add (whether it wants a gradient) does not matter."""


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
    try:
        with open(path, "rb") as file:
            start = file.read(4)
            file.seek(0)
            held, storages = (_read_zip if start[:2] == b"PK" else _read_stream)(file, path)
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
    return held, lambda tensor: _numbers(tensor, storages, path)


def _read_stream(file: BinaryIO, path: Path) -> tuple[Any, dict[str, bytes]]:
    if _unpickled(file, path)[0] != MAGIC or _unpickled(file, path)[0] != PROTOCOL:
        raise pickle.UnpicklingError("it does not begin as one")
    if not _unpickled(file, path)[0].get("little_endian", True):
        raise InputError(f"{str(path)!r} was written on a big-endian machine, which is not supported.")
    held, known = _unpickled(file, path)
    storages, end = {}, path.stat().st_size
    for key in map(str, _unpickled(file, path)[0]):
        numel, size = int.from_bytes(file.read(8), "little"), known[key].numel * known[key].dtype.itemsize
        if numel != known[key].numel or file.tell() + size > end:
            raise EOFError(f"storage {key} is cut off")
        storages[key] = file.read(size)
    return held, storages


def _unpickled(file: BinaryIO, path: Path) -> tuple[Any, dict[str, "Storage"]]:
    """The next pickle of a file, and the storages that it names."""
    begin = file.tell()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strange escapes in texts; what is broken raises
        for opcode, argument, _ in pickletools.genops(file):
            if "PUT" in opcode.name and argument > MOST_MEMOS:  # memory is taken for all numbers up to this one
                raise pickle.UnpicklingError(f"memo {argument}")
        file.seek(begin)
        unpickler = _Unpickler(file, path)
        return unpickler.load(), unpickler.storages


def _read_zip(file: BinaryIO, path: Path) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in entries.values()):
            raise ValueError("its entries are compressed, which torch.save does not do")
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise InputError(f"{str(path)!r} was written on a big-endian machine, which is not supported.")
        if sum(info.file_size for info in entries.values()) > path.stat().st_size:
            raise ValueError("its entries are larger than the file")
        with archive.open(entries["data.pkl"]) as pickled:
            held, known = _unpickled(pickled, path)
        return held, {key: archive.read(entries[f"data/{key}"]) for key in known}


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
        raise InputError(f"{str(path)!r} is damaged: a tensor of {size} does not lie within its storage.")
    bytes_of = [step * storage.dtype.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, bytes_of, writeable=False).copy()


class _Unpickler(pickle.Unpickler):
    """Looks names up in a list of inert things, and refuses all others."""

    def __init__(self, file: BinaryIO, path: Path):
        super().__init__(file, encoding="latin1")  # texts of Python 2
        self.path, self.storages = path, {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for.

        Raises:
            InputError: the name is not in the list.
        """
        if found := KNOWN.get(f"{module}.{name}"):
            return found
        if module in ("torch", "torch.cuda") and (kind := STORAGE.fullmatch(name)) and kind[1] in DTYPES:
            return np.dtype(DTYPES[kind[1]])
        if INERT.fullmatch(module) and name.isidentifier():
            return type(name, (Inert,), {"path": f"{module}.{name}"})
        raise InputError(
            f"{str(self.path)!r} names {f'{module}.{name}'!r:.100}, which no SVG checkpoint needs. It was refused, and "
            "nothing in the file was run. Do not load this file with torch.load either, unless you trust its origin."
        )

    def persistent_load(self, saved: Any) -> Any:
        """A class with its source code, which is left alone; or a storage."""
        kind, *rest = saved
        if kind == "module":
            return rest[0]
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown kind {kind!r:.40}")
        dtype, key, _, numel, *view = rest
        if not isinstance(dtype, np.dtype) or type(numel) is not int or numel < 0:
            raise pickle.UnpicklingError("a storage makes no sense")
        storage = self.storages.setdefault(str(key), Storage(dtype, str(key), numel))
        if view and view[0] is not None:  # a part of it
            return Storage(dtype, storage.key, view[0][2], view[0][1])
        return storage


def _rebuild_tensor(storage: Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return StoredTensor(storage, offset, size, stride)


def _rebuild_parameter(tensor: StoredTensor, *_: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise pickle.UnpicklingError("a parameter without a tensor")
    return tensor


def _reconstructor(kind: type, *_: Any) -> Inert:
    """How objects of old-style classes come out of Python 2."""
    if not (isinstance(kind, type) and issubclass(kind, Inert)):
        raise pickle.UnpicklingError("an object of no class that is known")
    return kind()


KNOWN: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "argparse.Namespace": type("Namespace", (Inert,), {"path": "argparse.Namespace"}),
    "torch.Size": tuple,
    "torch.device": type("device", (Inert,), {"path": "torch.device"}),
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.nn.parameter.Parameter": _rebuild_parameter,
    "torch.autograd.variable.Variable": _rebuild_parameter,
    "copy_reg._reconstructor": _reconstructor,
    "copyreg._reconstructor": _reconstructor,
}
for _module in BUILTINS:
    KNOWN |= {f"{_module}.set": set, f"{_module}.object": Inert}
    KNOWN |= {f"{_module}.{name}": type(name, (Inert,), {"path": name}) for name in ("int", "long", "float")}
