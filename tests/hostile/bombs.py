"""Small checkpoints that would take all time or memory: pickles for either format, and whole checkpoints of 2018."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

from torch import nn

from official_files import make_checkpoint, published_modules, save_checkpoint

HASH = (1 << 61) - 1  # multiples of it have one hash
ORDERED, SIZE, SET = b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"c__builtin__\nset\n"
MAKE = b")\x81"  # an object of a class, of nothing
GET_1 = b"h\1"
Attack = Callable[[Path], object]


def text(words: str | bytes) -> bytes:
    """Opcodes of a text."""
    data = words.encode() if isinstance(words, str) else words
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    """Opcodes of a whole number of any size."""
    data = pickle.encode_long(value)
    return b"\x8b" + struct.pack("<I", len(data)) + data


def mapping(**items: bytes) -> bytes:
    """Opcodes of a dictionary."""
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def thing(path: str, state: bytes = b"") -> bytes:
    """Opcodes of an object with a state."""
    module, _, name = path.rpartition(".")
    return f"c{module}\n{name}\n".encode() + MAKE + (state + b"b" if state else b"")


def module(path: str = "torch.nn.modules.container.Sequential", **held: bytes) -> bytes:
    """Opcodes of a module with its `_modules`, `_parameters` or `_buffers`."""
    return thing(path, mapping(**held))


def checkpoint(encoder: bytes, **opt: bytes) -> bytes:
    """A pickle of a checkpoint with this encoder."""
    parts = {
        "opt": thing("argparse.Namespace", mapping(**opt)),
        "encoder": encoder,
        "decoder": module("models.dcgan_64.decoder"),
        "frame_predictor": module("models.lstm.lstm"),
        "posterior": module("models.lstm.gaussian_lstm"),
    }
    return b"\x80\x02" + mapping(**parts) + b"."


def stored(
    numel: bytes = b"K\1", offset: bytes = b"K\0", size: bytes = b"K\1\x85", stride: bytes = b"K\1\x85", kind="Float"
) -> bytes:
    """Opcodes of a tensor whose parts are opcodes, too."""
    storage = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text("0") + text("cpu") + numel + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + stride + b"\x89}tR"


def _tree(children: int, depth: int) -> bytes:
    """A module in a module in …, each holding the next many times."""
    code = module()
    for _ in range(depth):
        again = b"".join(text(f"c{n}") + GET_1 for n in range(children))
        code = (
            code + b"q\x01" + b"0" + thing("models.dcgan_64.encoder", b"}" + text("_modules") + b"}(" + again + b"us")
        )
    return code


# ---------------------------------------------------------------------------------------------- pickles that unfold


def pickles() -> dict[str, bytes]:
    """Pickles whose steps are few and whose work is not; each has less than 5 MB."""
    many = b"](" + b"N" * 100_000 + b"eq\x010"
    pairs = b"](" + b"".join(number(n) + b"N\x86" for n in range(30_000)) + b"eq\x010"
    collide = b"".join(number(n * HASH) + b"N" for n in range(160_000))
    return {
        "sizes copied": b"\x80\x02" + many + SIZE + b"q\x020](" + b"h\2h\1\x85R" * 2_500 + b"e.",
        "ordered dictionaries copied": b"\x80\x02" + pairs + ORDERED + b"q\x020](" + b"h\2h\1\x85R" * 2_500 + b"e.",
        "sets copied": b"\x80\x02" + pairs + SET + b"q\x020](" + b"h\2h\1\x85R" * 2_500 + b"e.",
        "long references": b"\x80\x02(" + b"N" * 100_000 + b"tq\x010](" + b"h\1Q" * 100_000 + b"e.",
        "long arguments": b"\x80\x02("
        + b"N" * 100_000
        + b"tq\x010"
        + ORDERED
        + b"q\x020]("
        + b"h\2h\1R" * 50_000
        + b"e.",
        "names of classes": b"\x80\x02(" + b"".join(b"ctorch.nn\nA%x\n" % n for n in range(499_000)) + b"t.",
        "names of inert classes": b"\x80\x02(" + b"".join(b"ctorch.optim\nA%x\n" % n for n in range(300_000)) + b"t.",
        "keys of one hash": b"\x80\x02}(" + collide + b"u.",
        "keys of one hash in a dictionary of old": b"\x80\x02(" + collide + b"d.",
        "members of one hash": b"\x80\x04\x8f(" + b"".join(number(n * HASH) for n in range(160_000)) + b"\x90.",
        "memo of one hash": b"\x80\x02N" + b"".join(b"p%d\n" % (n * HASH) for n in range(80_000)) + b".",
        "keys that are large floats": b"\x80\x02}("
        + b"".join(b"G" + struct.pack(">d", float(n << 61)) + b"N" for n in range(100_000))
        + b"u.",
        "empty dictionaries": b"\x80\x02(" + b"}" * 499_000 + b"l.",
        "empty sets": b"\x80\x04(" + b"\x8f" * 499_000 + b"l.",
        "objects": b"\x80\x02ctorch.optim\nAdam\nq\x010(" + b"h\1)\x81" * 160_000 + b"l.",
        "objects within objects": b"\x80\x02ctorch.optim\nAdam\nq\x01" + MAKE + b"}" + (b"h\1)\x81}" * 60_000) + b".",
        "objects as states": b"\x80\x02N" + (b"q\x02" + b"0ctorch.optim\nAdam\n)\x81}K\1h\2sb") * 60_000 + b".",
        "doubled lists in a name": b"\x80\x02]" + b"2\x86" * 60 + b"N\x93.",
        "long number as a key": b"\x80\x02}" + number(1 << 3_000_000) + b"Ns.",
        "long numbers in text": b"\x80\x02(" + (b"I" + b"9" * 4_000 + b"\n") * 1_000 + b"l.",
        "wide text": b"\x80\x02" + text("a" * 4_000_000 + "\U0001f600") + b".",
        "lists that fill themselves": b"\x80\x02]q\1(" + b"h\1" * 100_000 + b"eq\1" + b"2a" * 1000 + b".",
    }


# ------------------------------------------------------------------------------------- checkpoints that do not add up

DOUBLED = b")" + b"2\x86" * 60
WEIGHT = ("c1", "main", "0")  # where the encoder's first weights are
NUMBERS = (
    "channels", "g_dim", "z_dim", "rnn_size", "n_past", "n_future", "predictor_rnn_layers", "posterior_rnn_layers",
    "beta",
)  # fmt: skip
OPT = dict.fromkeys(NUMBERS, b"K\1") | {"image_width": b"K\x40", "n_past": b"K\2"}
WRONG_OPT = {
    "text as width": {"image_width": text("64" * 100_000)},
    "a doubled tuple as width": {"image_width": DOUBLED},
    "a billion layers": {"predictor_rnn_layers": number(10**9)},
    "a vast width": {"rnn_size": number(1 << 70)},
    "a number of a million digits": {"z_dim": number(1 << 3_000_000)},
    "beta NaN": {"beta": b"G\x7f\xf8\0\0\0\0\0\0"},
    "an object as skip": {"last_frame_skip": DOUBLED},
    "minus one past": {"n_past": b"J\xff\xff\xff\xff"},
    "a fraction as size": {"g_dim": b"G@\x04\0\0\0\0\0\0"},
    "true as channels": {"channels": b"\x88"},
    "all layers at most": {"predictor_rnn_layers": b"K\x40"} | dict.fromkeys(("rnn_size", "g_dim"), number(4096)),
}


def encoder_with(weight: bytes) -> bytes:
    """Opcodes of an encoder with this as its first weights."""
    code = module(_parameters=mapping(weight=weight))
    for name in WEIGHT[:0:-1]:
        code = module(_modules=mapping(**{name: code}))
    return module("models.dcgan_64.encoder", _modules=mapping(**{WEIGHT[0]: code}))


def holding_itself(times: int = 60) -> bytes:
    """A checkpoint, of a few hundred bytes, with a module that has itself as its parts."""
    again = b"".join(text(f"a{n}") + GET_1 for n in range(times))
    return checkpoint(thing("models.dcgan_64.encoder") + b"q\x01}" + text("_modules") + b"}(" + again + b"usb")


def sharing(things: int = 100_000, modules: int = 5_000) -> bytes:
    """A checkpoint of many modules that have one long dictionary of parameters."""
    held = b"}(" + b"".join(text(f"p{n}") + b"N" for n in range(things)) + b"uq\x020"
    one = thing("torch.nn.modules.linear.Linear", b"}" + text("_parameters") + b"h\2s")
    children = b"".join(text(f"m{n}") + one for n in range(modules))
    return checkpoint(held + module("models.dcgan_64.encoder", _modules=b"}(" + children + b"u"))


ABSURD = {
    "holds itself 60 times": holding_itself(),
    "holds one module 60 times, 7 deep": checkpoint(_tree(60, 7)),
    "holds one module, 5,000 deep": checkpoint(_tree(1, 5_000)),
    "shares a dictionary of 100,000 things": sharing(),
    "names of a megabyte": checkpoint(
        module("models.dcgan_64.encoder", _parameters=b"}" + text("w" * 3_000_000) + stored() + b"s")
    ),
    "path of a megabyte": checkpoint(thing("models.dcgan_64." + "e" * 1_000_000)),
    "attributes of a megabyte": checkpoint(encoder_with(stored()), **{"a" * 1_000_000: b"N"}),
} | {f"{what} in opt": checkpoint(encoder_with(stored()), **OPT | change) for what, change in WRONG_OPT.items()}
FAR, LEFT = number(1 << 61), b"J\xff\xff\xff\xff"  # −1
TENSORS = {
    "offset none": stored(offset=b"N"),
    "offset text": stored(offset=text("0")),
    "offset below 0": stored(offset=LEFT),
    "offset true": stored(offset=b"\x88"),
    "offset far": stored(offset=FAR),
    "stride of 2^70": stored(stride=number(1 << 70) + b"\x85"),
    "stride below 0": stored(stride=LEFT + b"\x85"),
    "stride far": stored(size=b"K\2\x85", stride=FAR + b"\x85"),
    "100 axes": stored(size=b"(" + b"K\1" * 100 + b"t", stride=b"(" + b"K\1" * 100 + b"t"),
    "size of 0 and 2^62": stored(size=b"K\0" + number(1 << 62) + b"\x86", stride=b"K\1K\1\x86"),
    "size below 0": stored(size=LEFT + b"\x85"),
    "size none": stored(size=b"N"),
    "size of fractions": stored(size=b"G?\xf0\0\0\0\0\0\0\x85"),
    "size a doubled tuple": stored(size=DOUBLED + b"\x85"),
    "size and stride of two lengths": stored(size=b"K\1K\1\x86"),
    "numel none": stored(numel=b"N"),
    "numel below 0": stored(numel=LEFT),
    "numel true": stored(numel=b"\x88"),
    "numel vast": stored(numel=number(1 << 63)),
    "numel other": stored(numel=b"K\2"),
    "numel of 51 bytes": stored(numel=b"K\x33"),
    "no storage of its kind": stored(kind="Complex"),
}


def in_zip(pickled: bytes, data: bytes = b"1234") -> bytes:
    """A zip archive of a pickle and storage 0."""
    from hostile.models import torch_zip

    return torch_zip(pickled, _0=data)


def _writes(make: Callable[[], bytes]) -> Attack:
    return lambda folder: (folder / "svg.pth").write_bytes(make())


def official_attacks() -> dict[str, Attack]:
    """Attacks on checkpoints of the published code, whatever the format."""
    from hostile.models import torch_stream

    attacks = {name: _writes(lambda code=code: in_zip(code)) for name, code in ABSURD.items()}
    for name, code in pickles().items():
        attacks[f"zip: {name}"] = _writes(lambda code=code: in_zip(code))
        attacks[f"stream: {name}"] = _writes(lambda code=code: torch_stream(code, []))
    for name, code in TENSORS.items():
        attacks[f"tensor: {name}"] = _writes(lambda code=code: in_zip(checkpoint(encoder_with(code), **OPT)))
    return attacks | {
        "one cell in 64 layers": tied_cell,
        "long line": long_line,
        "large pickle": _writes(lambda: in_zip(b"\x80\x02" + text(b"a" * 40_000_000) + b".")),
        "a million entries": many_entries,
        "entry far outside": _writes(lambda: _moved(in_zip(checkpoint(thing("models.dcgan_64.encoder"))))),
    }  # fmt: skip


def tied_cell(folder: Path, width: int = 1280, layers: int = 64) -> None:
    """A whole checkpoint whose predictor is one LSTM cell of 52 MB, named in 64 layers."""
    from tiny import narrow

    config = narrow(image_size=64, predictor_layers=1, rnn_size=width, future_skip="second_last", prior="fixed")
    with published_modules(64) as classes:
        held = make_checkpoint(classes, config)
        held["frame_predictor"].lstm = nn.ModuleList([held["frame_predictor"].lstm[0]] * layers)
        held["opt"].predictor_rnn_layers = layers
        save_checkpoint(held, folder / "svg.pth", old=False)
    assert (folder / "svg.pth").stat().st_size < 2 * 4 * 8 * width**2 + (4 << 20)


def long_line(folder: Path) -> None:
    """The old format, with a name of a billion zeros on one line."""
    from hostile.models import torch_stream

    begin = torch_stream(b"\x80\x02c", b"")
    with open(folder / "svg.pth", "wb") as file:
        file.write(begin)
        file.truncate(1 << 30)  # a hole


def many_entries(folder: Path, count: int = 1_000_000) -> None:
    """A zip archive of a million entries in its list alone."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    directory = b"".join(entry + b"%07d" % n for n in range(count))
    size, start = len(directory), 4
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (folder / "svg.pth").write_bytes(b"PK\3\4" + directory + record + locator + end)


def _moved(data: bytes) -> bytes:
    """An archive whose first entry is said to begin elsewhere."""
    at = data.index(b"PK\1\2") + 42
    return data[:at] + struct.pack("<I", 1 << 31) + data[at + 4 :]


def crowded_state(path: Path, count: int = 50_000, numel: int = 10_000_000) -> None:
    """A state dict of many names for one storage of 40 MB."""
    names = b"".join(text(f"t{n}") + GET_1 for n in range(count))
    tensor = stored(number(numel), size=number(numel) + b"\x85")
    path.write_bytes(in_zip(b"\x80\x02" + tensor + b"q\x010}(" + names + b"u.", bytes(4 * numel)))
