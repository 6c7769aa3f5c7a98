"""Configs, model folders, and files of torch.save, with attacks on them."""

import dataclasses
import io
import json
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import torch

from hostile.text import BILLION, Canary, device, json_attacks, pipe, writing, yaml_attacks
from official_files import make_checkpoint, published_modules, save_checkpoint
from stochvid.config import TrainConfig, load_config
from tiny import narrow


def make_config(folder: Path) -> list[Path]:
    (folder / "c.yaml").write_text(TrainConfig(model=narrow()).to_yaml())
    return [folder / "c.yaml"]


def make_model(folder: Path) -> list[Path]:
    from stochvid import SVG

    SVG(narrow()).save_pretrained(folder)
    (folder / "training.yaml").write_text(TrainConfig(model=narrow()).to_yaml())
    (folder / "clips.json").write_text('{"fps": 25.0, "stride": 2, "crop": "centre"}')
    return [folder / name for name in ("config.json", "model.safetensors", "training.yaml", "clips.json")]


def load_model(folder: Path) -> None:
    from stochvid import SVG
    from stochvid.models.pretrained import find_model
    from stochvid.training.runs import read_preprocessing

    found = find_model(str(folder))
    model, seen = SVG.from_pretrained(folder), read_preprocessing(found)
    load_config(found / "training.yaml")
    assert 0 < (seen["fps"] or 1) < 1e4
    assert seen["crop"] in ("none", "centre")
    assert sum(value.numel() for value in model.parameters()) < 1e6


def _safetensors(header: dict | bytes, data: bytes = b"", length: int | None = None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return writing("model.safetensors", struct.pack("<Q", len(text) if length is None else length) + text + data)


SAFETENSORS = {
    "absurd header": _safetensors(b"{}", length=1 << 62),
    "header of 20 MB": _safetensors(b" " * 20_000_000 + b"{}"),
    "deep header": _safetensors(b'{"a":' * 100_000),
    "absurd tensor": _safetensors({"x": {"dtype": "F32", "shape": [BILLION] * 2, "data_offsets": [0, 4]}}, b"1234"),
    "negative": _safetensors({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}, b"1234"),
    "many tensors": _safetensors(
        {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(200_000)}
    ),
    "long name": _safetensors({"x" * 1_000_000: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    "strange dtype": _safetensors({"x": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}, b"1234"),
}  # fmt: skip
MODEL_NUMBERS = ("image_size", "channels", "base_channels", "g_dim", "z_dim", "rnn_size", "predictor_layers", "beta")
MODEL = (
    json_attacks("config.json", *((name,) for name in (*MODEL_NUMBERS, "backbone", "batch_statistics", "context")))
    | {f"clips: {k}": v for k, v in json_attacks("clips.json", ("fps",), ("stride",), ("crop",), ("other",)).items()}
    | {f"training: {k}": v for k, v in yaml_attacks("training.yaml").items()}
    | {f"weights: {k}": v for k, v in SAFETENSORS.items()}
)


def make_ckpt(folder: Path) -> list[Path]:
    """What Lightning keeps of a run, after a step."""
    from stochvid.training.checkpoint import AtomicCheckpointIO
    from stochvid.training.module import Training

    config = TrainConfig(model=narrow())
    model = Training(config)
    adam = torch.optim.Adam(model.parameters(), fused=True)
    for weights in model.parameters():
        weights.grad = torch.ones_like(weights)
    adam.step()
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1.0)
    held = {
        "epoch": 0, "global_step": 1, "pytorch-lightning_version": "2.6.6", "state_dict": model.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}}, "callbacks": {},
        "optimizer_states": [adam.state_dict()], "lr_schedulers": [schedule.state_dict()],
        "config": dataclasses.asdict(config), "data": "digits",
        "log": {"sums": [[0.0, 0.0, 0.0, 0.0]], "best": (1, 0.5), "validated": 1},
    }  # fmt: skip
    AtomicCheckpointIO().save_checkpoint(held, folder / "step-00000001.ckpt")
    return [folder / "step-00000001.ckpt"]


def load_checkpoint(folder: Path) -> None:
    from stochvid.training.checkpoint import AtomicCheckpointIO
    from stochvid.training.module import Training

    path = folder / "step-00000001.ckpt"
    Training(TrainConfig(model=narrow())).check_checkpoint(path, "digits")  # as before a run continues
    assert isinstance(AtomicCheckpointIO().load_checkpoint(path)["optimizer_states"][0]["param_groups"], list)


def make_official(old: bool):
    def make(folder: Path) -> list[Path]:
        config = narrow(image_size=64, predictor_layers=2, future_skip="second_last")
        with published_modules(64) as classes:
            save_checkpoint(make_checkpoint(classes, config), folder / "svg.pth", old)
        return [folder / "svg.pth"]

    return make


def load_official(folder: Path) -> None:
    from stochvid.interop.official import read_official

    read_official(folder / "svg.pth")


def doubled(times: int, twice: bytes = b"\x86", begin: bytes = b")") -> bytes:
    """Opcodes of a tuple that holds the one before twice, over and over: its hash takes 2^times steps."""
    return begin + (b"2" + twice) * times


def torch_zip(pickled: bytes, compression: int = zipfile.ZIP_STORED, **records: bytes) -> bytes:
    """A zip archive as torch.save writes them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/byteorder", b"little")
        archive.writestr("x/version", b"3\n")
        for key, data in records.items():
            archive.writestr(f"x/data/{key.lstrip('_')}", data)
    return packed.getvalue()


def torch_stream(pickled: bytes, keys: list[str] | bytes = b"]") -> bytes:
    """A stream as torch.save wrote them before 1.6."""
    begin = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    return begin + pickled + (keys if isinstance(keys, bytes) else pickle.dumps(keys, 2))


def storage(numel: int, key: str = "0") -> bytes:
    """Opcodes of a storage."""
    parts = pickle.dumps(("storage", None, key, "cpu", numel), 2)[2:-1]
    return parts.replace(b"N", b"ctorch\nFloatStorage\n", 1) + b"Q"


def tensor(numel: int, shape: tuple, stride: tuple) -> bytes:
    """Opcodes of a tensor."""
    inner = b"".join(pickle.dumps(part, 2)[2:-1] for part in (0, shape, stride, False))
    return REBUILD + b"(" + storage(numel) + inner + b"ccollections\nOrderedDict\n)Rt" + b"R"


DOUBLED = doubled(60)
ORDERED, REBUILD = b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n"
KIND = b"(X\x07\0\0\0storagectorch\nFloatStorage\n"


def torch_attacks(name: str) -> dict:
    """Pickles of both formats that hash, repeat, boast or run."""
    streams = {
        "doubled tuple as key": b"\x80\x02}" + DOUBLED + b"Ns.",
        "doubled tuple in a set": b"\x80\x04\x8f(" + DOUBLED + b"\x90.",
        "doubled tuple in a frozen set": b"\x80\x04(" + DOUBLED + b"\x91.",
        "doubled tuple as key of an ordered dictionary": b"\x80\x02" + ORDERED + b"((" + DOUBLED + b"N\x86ltR.",
        "doubled tuple as key of a state": b"\x80\x02ctorch.nn.modules.conv\nConv2d\n)R}" + DOUBLED + b"Nsb.",
        "doubled tuple as key of a storage": b"\x80\x02" + KIND + DOUBLED + b"NK\1tQ.",
        "doubled tuple as kind": b"\x80\x02" + DOUBLED + b"N\x86Q.",
        "doubled list as kind": b"\x80\x02" + doubled(60, b"\x86", b"]") + b"N\x86Q.",
        "doubled tuple as a number": b"\x80\x02" + KIND + b"X\1\0\0\x000N" + DOUBLED + b"tQ.",
        "doubled tuple as size": b"\x80\x02" + REBUILD + b"(" + storage(1) + b"K\0" + DOUBLED + b")tR.",
        "doubled tuple as all": b"\x80\x02" + DOUBLED + b".",
        "long text": b"\x80\x02X\xff\xff\xff\x7f.",
        "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
        "long bytes of 8 GB": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 33) + b".",
        "long array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b".",
        "frame of 8 GB": b"\x80\x04\x95" + struct.pack("<Q", 1 << 33) + b"N.",
        "long number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "memo": b"\x80\x02Nr\xff\xff\xff\xff.",
        "memo in text": b"\x80\x02Np4000000000\n.",
        "decimal number": b"\x80\x02I" + b"9" * 5_000 + b"\n.",
        "decimal long": b"\x80\x02L" + b"9" * 5_000 + b"L\n.",
        "deep lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "deep tuples": b"\x80\x02)" + b"\x85" * 1_000_000 + b".",
        "many marks": b"\x80\x02" + b"(" * 2_000_000 + b".",
        "bytearray": b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\0\0\0\0\4\x85R.",
        "zeros": b"\x80\x02ctorch\nzeros\n\x8a\x05\0\0\0\0\4\x85R.",
        "numbers": b"\x80\x02(" + b"K\1" * 1_000_000 + b"l.",
        "absurd tensor": b"\x80\x02" + tensor(1, (10**6, 10**6), (0, 0)) + b".",
        "absurd storage": b"\x80\x02" + tensor(10**12, (1,), (1,)) + b".",
        "runs a command": pickle.dumps(Canary(Path(f"{name}.canary")), 2),
        "runs a command as key": b"\x80\x02}cos\nmkdir\nX\6\0\0\0canary\x85RNs.",
        "extension": b"\x80\x02\x82\x01.",
        "build of a class": b"\x80\x02ctorch.nn.modules.conv\nConv2d\n}X\x08\0\0\0__init__Nsb.",
    }  # fmt: skip
    attacks = {f"zip: {key}": writing(name, torch_zip(text)) for key, text in streams.items()}
    attacks |= {f"stream: {key}": writing(name, torch_stream(text)) for key, text in streams.items()}
    attacks |= {f"bare: {key}": writing(name, text) for key, text in streams.items()}
    return attacks | {
        "bomb": lambda f: _zip_bomb(f / name, "x/data.pkl"),
        "bomb as storage": lambda f: _zip_bomb(f / name, "x/data/0", b"\x80\x02" + tensor(BILLION, (1,), (1,)) + b"."),
        "overlapping": lambda f: overlapping(f / name),
        "names outside": writing(name, _traversing()),
        "a pipe": lambda f: pipe(f / name),
        "without an end": lambda f: device(f / name),
        "a folder": lambda f: ((f / name).unlink(), (f / name).mkdir()),
        "tar": writing(name, b"x" * 257 + b"ustar\0" + b"0" * 1000),
    }


def _zip_bomb(path: Path, entry: str, pickled: bytes = b"\x80\x02N.", gib: int = 2) -> None:
    """An entry of so many GiB of zeros, a thousandth of that on disk."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        if entry != "x/data.pkl":
            archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/byteorder", b"little")
        archive.writestr("x/version", b"3\n")
        block = bytes(16 << 20)
        with archive.open(entry, "w", force_zip64=True) as file:
            for _ in range(gib * 64):
                file.write(block)


def overlapping(path: Path, times: int = 300) -> None:
    """Many entries that are all the same bytes of the file: far more in sum than the file has."""
    data = bytearray(torch_zip(b"\x80\x02N.", _0=bytes(1 << 20)))
    end = data.rindex(b"PK\5\6")
    size, start = struct.unpack("<II", data[end + 12 : end + 20])
    central = bytes(data[start : start + size])
    last = central[central.rindex(b"PK\1\2") :]
    more = (
        b"".join(last.replace(b"x/data/0", b"x/data/%d" % n) for n in range(1, times))
        if times < 10
        else b"".join(
            last[:28] + struct.pack("<H", 10) + last[30:46] + b"x/data/%03d" % n + last[54:] for n in range(times)
        )
    )
    count = struct.unpack("<H", data[end + 10 : end + 12])[0] + (times - 1 if times < 10 else times)
    tail = bytearray(data[end:])
    tail[8:12] = struct.pack("<HH", count, count)
    tail[12:16] = struct.pack("<I", size + len(more))
    path.write_bytes(bytes(data[:end]) + more + tail)


def _traversing() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../canary", b"x")
        archive.writestr("/tmp/canary-of-stochvid", b"x")
        archive.writestr("x/data.pkl", b"\x80\x02N.")
    return packed.getvalue()


def make_lpips(folder: Path) -> list[Path]:
    from metric_networks import alexnet, heads

    torch.save(alexnet(), folder / "alexnet.pth")
    torch.save(heads(), folder / "alex.pth")
    return [folder / "alex.pth", folder / "alexnet.pth"]


def load_lpips(folder: Path) -> None:
    from stochvid.evaluation.metrics.lpips import LPIPS

    assert len(LPIPS.from_folder(folder).identity) == 64


class _Network(torch.nn.Module):
    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = True):
        return x[:, :, :8].mean(dim=(3, 4)).flatten(1)


class Writer(torch.nn.Module):
    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = True):
        torch.save(x, "i3d.canary")
        return x[:, :, :8].mean(dim=(3, 4)).flatten(1)


class Reader(torch.nn.Module):
    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = True):
        return torch.from_file("/etc/hostname", False, 4, dtype=torch.float32)[None]


def save_script(network: torch.nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), path)


def make_i3d(folder: Path) -> list[Path]:
    save_script(_Network(), folder / "i3d.pt")
    return [folder / "i3d.pt"]


def load_i3d(folder: Path) -> None:
    from stochvid.evaluation.metrics.fvd import I3D

    I3D(folder / "i3d.pt")(torch.zeros(1, 10, 3, 8, 8, dtype=torch.uint8))
