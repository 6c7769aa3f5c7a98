"""Pickles read as data: nothing in them is executed, whatever they hold.

A pickle is a program for a small machine with a stack. Python's own machine calls any function that a pickle can name;
the one here knows the steps that files of `torch.save` are made of. A name that is not in a short list is refused, and
what is in it becomes an inert stand-in that keeps what the file says of an object.

Every step costs a unit of work, and one that copies costs what it copies, so that time and memory are bounded by
`MOST_STEPS`, whatever the steps are. Keys are texts and small numbers: a tuple of tuples can take longer to hash than
the world is old, and large numbers can be chosen so that all of them have one hash.
"""

import pickle
import pickletools
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import shown

DTYPES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1",
    "Byte": "u1", "Bool": "?",
}  # fmt: skip
STORAGE = re.compile(rf"torch\.(?:cuda\.)?({'|'.join(DTYPES)})Storage")
MOST_STEPS = 500_000  # of a pickle, copied elements among them: honest files have some ten thousand
MOST_BYTES = (
    32 << 20
)  # of a pickle: 100 KB, or 400 KB with the source code of its modules; a text may take 4 bytes each
MOST_KEY = 1 << 31  # numbers up to here are their own hash
MOST_AXES = 32  # of a tensor, as in NumPy
MOST_NUMBERS = 1 << 62  # of a storage, and in a tensor's place and shape
MODELS = r"models\.(dcgan_64|dcgan_128|vgg_64|vgg_128|lstm)"  # the modules of the 2018 code
INERT = re.compile(
    rf"({MODELS}|torch\.nn\.modules(\.\w+)*|torch\.nn\.backends\.thnn|torch\.optim(\.\w+)*)\.[^\W\d]\w*"
    r"|argparse\.Namespace|torch\.device|(builtins|__builtin__)\.(object|int|long|float)"
)


class Broken(pickle.UnpicklingError):
    """A pickle that no file of ours has; the message says why."""


@dataclass(slots=True, frozen=True)
class Name:
    """A class or function that a file names."""

    path: str


@dataclass(slots=True, eq=False, repr=False)
class Inert:
    """Stands for an object of a file, and keeps what the file says of it.

    Attributes:
        path: the name of its class, such as models.lstm.lstm.
        state: its attributes by name, if the file gives such.
    """

    path: str
    state: dict = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"an object of {self.path:.60}"


@dataclass(slots=True, frozen=True)
class Storage:
    """Numbers of a file, not read yet: `numel` of them, at `offset` of what is stored under `key`."""

    dtype: np.dtype
    key: str
    numel: int
    offset: int = 0


@dataclass(slots=True, eq=False)
class StoredTensor:
    """A view of a storage: a tensor or parameter of a file, not read yet. All its numbers are whole and 0 or more."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def unpickled(file: BinaryIO, path: Path, steps: int = MOST_STEPS) -> tuple[Any, dict[str, Storage]]:
    """The next pickle of a file, and the storages that it names.

    Args:
        file: to read from, where it stands.
        path: of the file, for messages.
        steps: how many are gone through at most.

    Raises:
        InputError: it names what no file of ours needs.
        Exception: nearly any, if it is broken (`DAMAGED` in `torch_files`).
    """
    machine = _Machine(path, steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strange escapes in texts; what is broken raises
        for code, given, _ in pickletools.genops(_Bounded(file)):  # type: ignore[arg-type]  # it needs no more of a file
            if code.name == "STOP":
                break
            machine.step(code.name, given)
    return machine.stack.pop(), machine.storages


class _Bounded:
    """A file of which no more is asked for than there is, or than a pickle has: Python takes memory for it."""

    def __init__(self, file: BinaryIO):
        self.file, self.tell = file, file.tell
        begin = file.tell()
        self.end = min(file.seek(0, 2), begin + MOST_BYTES)
        file.seek(begin)

    def read(self, size: int) -> bytes:
        return self.file.read(min(size, self.end - self.file.tell()))

    def readline(self) -> bytes:
        return self.file.readline(self.end - self.file.tell())


class _Machine:
    """What a pickle's steps work on."""

    def __init__(self, path: Path, steps: int):
        self.path, self.left, self.most = path, steps, steps
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def step(self, code: str, given: Any) -> None:
        """Goes one step, by the name of its code and what is given with it."""
        self.work(1)
        if code in VALUES:
            self.stack.append(given)
        elif code in CONSTANTS:
            self.stack.append(CONSTANTS[code]())
        elif code in STEPS:
            STEPS[code](self, given)
        else:
            raise Broken(f"a step {code}, which files of torch.save do not have")

    def work(self, units: int) -> None:
        """Counts work before it is done."""
        self.left -= units
        if self.left < 0:
            raise Broken(f"more than {self.most:,} steps")

    def marked(self) -> list[Any]:
        """What lies on the stack above the last mark, taken off."""
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def held(self, items: Any) -> list[Any]:
        """A copy of a list or tuple, which costs its length."""
        if not isinstance(items, list | tuple):
            raise Broken(f"{shown(items)} where a list is expected")
        self.work(len(items))
        return list(items)

    def top(self, kind: type) -> Any:
        """What is to be filled next."""
        if type(self.stack[-1]) is not kind:
            raise Broken(f"something to fill that is no {kind.__name__}")
        return self.stack[-1]

    # ------------------------------------------------------------------------------------------------- lists and such

    def take(self, count: int) -> None:
        """Makes the last `count` items a tuple."""
        if len(self.stack) < count:
            raise Broken("a tuple of more than there is")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def update(self, items: list[Any]) -> None:
        keys = _keys(items[::2])
        self.top(dict).update(zip(keys, items[1::2], strict=True))

    def remember(self, index: int) -> None:
        if not 0 <= index < MOST_KEY:
            raise Broken("a memo of no sensible number")
        self.memo[index] = self.stack[-1]

    # --------------------------------------------------------------------------------------------- names and objects

    def name(self, path: str) -> None:
        if not (path in CALLS or INERT.fullmatch(path) or STORAGE.fullmatch(path)):
            raise InputError(
                f"{str(self.path)!r} names {f'{path:.120}'!r}, which no SVG checkpoint needs. It was refused, and "
                "nothing in it was run. Do not load it with torch.load either, unless you trust its origin."
            )
        self.stack.append(Name(path))

    def call(self, name: Any, given: Any) -> None:
        if type(name) is not Name or type(given) is not tuple:
            raise Broken("a call of something that cannot be called")
        make = CALLS.get(name.path)
        self.stack.append(make(self, *given[:MOST_GIVEN]) if make else Inert(name.path))

    def build(self) -> None:
        """The state of an object; what dictionaries and tensors have beside their items is of no use."""
        state, holder = self.stack.pop(), self.stack[-1]
        if type(holder) is Inert:
            holder.state = state if type(state) is dict else {}
        elif type(holder) not in (dict, StoredTensor):
            raise Broken("a state of something that has none")

    def store(self, saved: Any) -> None:
        """A class with its source code, which is left alone; or a storage, or a part of one."""
        if type(saved) is not tuple or not 2 <= len(saved) <= MOST_GIVEN:
            raise Broken("a reference that makes no sense")
        kind, *rest = saved
        if kind == "module" and type(rest[0]) is Name:
            self.stack.append(rest[0])
            return
        if kind != "storage":
            raise Broken(f"a reference of unknown kind {shown(kind)}")
        name, key, _, numel, *view = rest
        dtype = STORAGE.fullmatch(name.path) if type(name) is Name else None
        if dtype is None or not (type(key) is str or _whole(key, MOST_KEY)) or not _whole(numel):
            raise Broken(f"a storage {shown(key)} of {shown(numel)} numbers")
        storage = Storage(np.dtype(DTYPES[dtype[1]]), str(key), numel)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise Broken(f"a storage {shown(key)} of two kinds")
        if view and view[0] is not None:
            _, begin, count = view[0]
            if not (_whole(begin) and _whole(count)):
                raise Broken(f"a part of a storage from {shown(begin)} on, of {shown(count)} numbers")
            storage = Storage(storage.dtype, storage.key, count, begin)
        self.stack.append(storage)


def _whole(value: Any, most: int = MOST_NUMBERS) -> bool:
    return type(value) is int and 0 <= value < most


def _keys(keys: Iterable[Any]) -> list[Any]:
    """Keys that are quick to hash and to tell apart."""
    keys = list(keys)
    for key in keys:
        if not (type(key) in (str, bytes, bool, type(None)) or (type(key) is int and -MOST_KEY < key < MOST_KEY)):
            raise Broken(f"a key {shown(key)}, which is neither text nor a small number")
    return keys


# ----------------------------------------------------------------------------------------------- what is called by name

MOST_GIVEN = 8  # to a call


def _ordered(machine: _Machine, pairs: Any = (), *_: Any) -> dict:
    pairs = [pair for pair in machine.held(pairs) if isinstance(pair, list | tuple)]
    if any(len(pair) != 2 for pair in pairs):
        raise Broken("a dictionary of more than keys and values")
    return dict(zip(_keys(key for key, _ in pairs), (value for _, value in pairs), strict=True))


def _set(machine: _Machine, members: Any = (), *_: Any) -> set:
    return set(_keys(machine.held(members)))


def _size(machine: _Machine, numbers: Any = (), *_: Any) -> tuple:
    return tuple(machine.held(numbers))


def _tensor(machine: _Machine, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> StoredTensor:
    if type(storage) is not Storage:
        raise Broken("a tensor without a storage")
    for what, numbers in (("offset", (offset,)), ("size", size), ("stride", stride)):
        if type(numbers) is not tuple or len(numbers) > MOST_AXES or not all(map(_whole, numbers)):
            raise Broken(f"a tensor with {what} {shown(offset if what == 'offset' else numbers)}")
    if len(size) != len(stride):
        raise Broken(f"a tensor with size {shown(size)} and stride {shown(stride)}")
    return StoredTensor(storage, offset, size, stride)


def _parameter(machine: _Machine, tensor: Any, *_: Any) -> StoredTensor:
    if type(tensor) is not StoredTensor:
        raise Broken("a parameter without a tensor")
    return tensor


def _reconstructed(machine: _Machine, name: Any, *_: Any) -> Inert:
    """How objects of old-style classes come out of Python 2."""
    if type(name) is not Name or not INERT.fullmatch(name.path):
        raise Broken("an object of no class that is known")
    return Inert(name.path)


CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.autograd.variable.Variable": _parameter,
    "copy_reg._reconstructor": _reconstructed,
    "copyreg._reconstructor": _reconstructed,
}

# ------------------------------------------------------------------------------------------------------------ the steps

VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES",
    "BINBYTES8",
}  # fmt: skip
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set,
}  # fmt: skip


def _pop(m: _Machine, _: Any) -> None:
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.stack.pop()


def _named_on_stack(m: _Machine, _: Any) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise Broken("a name that is no text")
    m.name(f"{module}.{name}")


def _dict(m: _Machine, _: Any) -> None:
    items = m.marked()
    m.stack.append({})
    m.update(items)


def _item(m: _Machine, _: Any) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    m.update([key, value])


def _call(m: _Machine, _: Any) -> None:
    given = m.stack.pop()
    m.call(m.stack.pop(), given)


def _call_marked(m: _Machine, _: Any) -> None:
    name, *given = m.marked()
    m.call(name, tuple(given))


def _call_named(m: _Machine, path: str) -> None:
    given = tuple(m.marked())
    m.name(path.replace(" ", "."))
    m.call(m.stack.pop(), given)


STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "POP": _pop,
    "POP_MARK": lambda m, _: m.marked(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "LIST": lambda m, _: m.stack.append(m.marked()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.marked())),
    "TUPLE1": lambda m, _: m.take(1),
    "TUPLE2": lambda m, _: m.take(2),
    "TUPLE3": lambda m, _: m.take(3),
    "FROZENSET": lambda m, _: m.stack.append(frozenset(_keys(m.marked()))),
    "APPEND": lambda m, _: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, _: m.extend(m.marked()),
    "DICT": _dict,
    "SETITEM": _item,
    "SETITEMS": lambda m, _: m.update(m.marked()),
    "ADDITEMS": lambda m, _: (lambda items: m.top(set).update(items))(_keys(m.marked())),
    "PUT": lambda m, index: m.remember(index),
    "BINPUT": lambda m, index: m.remember(index),
    "LONG_BINPUT": lambda m, index: m.remember(index),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    "GET": lambda m, index: m.stack.append(m.memo[index]),
    "BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "LONG_BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "GLOBAL": lambda m, path: m.name(path.replace(" ", ".")),
    "STACK_GLOBAL": _named_on_stack,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "OBJ": _call_marked,
    "INST": _call_named,
    "BUILD": lambda m, _: m.build(),
    "BINPERSID": lambda m, _: m.store(m.stack.pop()),
}
