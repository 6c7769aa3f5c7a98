"""Pickles read as data: nothing in them is executed, whatever they hold.

A pickle can call any function that it can name. Here a name is looked up in a short list, what is not in it is refused
before anything runs, and what is in it are inert stand-ins that keep what a file says of an object and do nothing.
Python's unpickler in Python (not the one in C) goes through the file, so that its steps can be checked: keys are texts
and numbers, since a tuple of tuples can take longer to hash than the world is old, and nothing but stand-ins is given a
state.
"""

import pickle
import pickletools
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from stochvid.errors import InputError
from stochvid.untrusted import shown

DTYPES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1",
    "Byte": "u1", "Bool": "?",
}  # fmt: skip
STORAGE = re.compile(r"(\w+)Storage")
MOST_STEPS = 500_000  # of a pickle: honest files have some ten thousand; each may make an object of a kilobyte
KEYS = (str, int, float, bool, bytes, type(None))
MODELS = r"models\.(dcgan_64|dcgan_128|vgg_64|vgg_128|lstm)"  # the modules of the 2018 code
INERT = re.compile(rf"{MODELS}|torch\.nn\.modules(\.\w+)*|torch\.nn\.backends\.thnn|torch\.optim(\.\w+)*")
BUILTINS = ("builtins", "__builtin__")


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


def unpickled(file: BinaryIO, path: Path) -> tuple[Any, dict[str, Storage]]:
    """The next pickle of a file, and the storages that it names.

    Raises:
        InputError: it names what no file of ours needs.
        Exception: nearly any, if it is broken (`DAMAGED` in `torch_files`).
    """
    begin, bounded = file.tell(), _Bounded(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strange escapes in texts; what is broken raises
        for step, _ in enumerate(pickletools.genops(bounded)):
            if step > MOST_STEPS:
                raise pickle.UnpicklingError(f"more than {MOST_STEPS:,} steps")
        file.seek(begin)
        unpickler = _Unpickler(bounded, path)
        return unpickler.load(), unpickler.storages


class _Bounded:
    """A file of which no more is asked for than there is: Python takes memory for what it asks for."""

    def __init__(self, file: BinaryIO):
        self.file = file
        place = file.tell()
        self.end = file.seek(0, 2)
        file.seek(place)
        self.readline, self.tell = file.readline, file.tell

    def read(self, size: int) -> bytes:
        return self.file.read(min(size, self.end - self.file.tell()))


class _Unpickler(pickle._Unpickler):
    """Looks names up in a list of inert things, and refuses all others."""

    dispatch: ClassVar[dict] = dict(pickle._Unpickler.dispatch)  # from here on: steps, by their codes

    def __init__(self, file: _Bounded, path: Path):
        super().__init__(file, encoding="latin1")  # texts of Python 2
        self.path, self.storages, self.kinds = path, {}, {}

    def load_setitem(self) -> None:
        """A key and its value."""
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        """Keys and values, in turn."""
        _check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        """A dictionary of keys and values, in turn."""
        _check_keys(self.stack[::2])
        super().load_dict()

    def load_additems(self) -> None:
        """Members of a set."""
        _check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        """A set of its members."""
        _check_keys(self.stack)
        super().load_frozenset()

    def load_build(self) -> None:
        """The state of an object; what an ordered dictionary has beside its items is of no use."""
        state, holder = self.stack.pop(), self.stack[-1]
        if isinstance(holder, Inert | StoredTensor):
            holder.__setstate__(state)
        elif not isinstance(holder, OrderedDict):
            raise pickle.UnpicklingError("a state of something that has none")

    for _code, _load in (
        (pickle.SETITEM, load_setitem), (pickle.SETITEMS, load_setitems), (pickle.DICT, load_dict),
        (pickle.ADDITEMS, load_additems), (pickle.FROZENSET, load_frozenset), (pickle.BUILD, load_build),
    ):  # fmt: skip
        dispatch[_code[0]] = _load

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
            path = f"{module}.{name}"
            if path not in self.kinds:
                self.kinds[path] = type(name, (Inert,), {"path": path})
            return self.kinds[path]
        raise InputError(
            f"{str(self.path)!r} names {f'{module:.60}.{name:.60}'!r}, which no SVG checkpoint needs. It was "
            "refused, and nothing in it was run. Do not load it with torch.load either, unless you trust its origin."
        )

    def persistent_load(self, saved: Any) -> Any:
        """A class with its source code, which is left alone; or a storage."""
        kind, *rest = saved
        if kind == "module":
            return rest[0]
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown kind {shown(kind)}")
        dtype, key, _, numel, *view = rest
        if not isinstance(dtype, np.dtype) or type(numel) is not int or numel < 0 or type(key) not in (str, int):
            raise pickle.UnpicklingError("a storage makes no sense")
        storage = self.storages.setdefault(str(key), Storage(dtype, str(key), numel))
        if view and view[0] is not None:  # a part of it
            return Storage(dtype, storage.key, view[0][2], view[0][1])
        return storage


def _check_keys(keys: Iterable[Any]) -> None:
    if not all(type(key) in KEYS for key in keys):
        raise pickle.UnpicklingError("a key is neither text nor number")


def _set(members: Iterable[Any] = ()) -> set:
    members = list(members)
    _check_keys(members)
    return set(members)


def _ordered(pairs: Iterable[Any] = ()) -> OrderedDict:
    pairs = [(key, value) for key, value in pairs]
    _check_keys(key for key, _ in pairs)
    return OrderedDict(pairs)


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
    "collections.OrderedDict": _ordered,
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
    KNOWN |= {f"{_module}.set": _set, f"{_module}.object": Inert}
    KNOWN |= {f"{_module}.{name}": type(name, (Inert,), {"path": name}) for name in ("int", "long", "float")}
