"""Arrays, predictions and digits, with attacks on them."""

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch

from hostile.models import overlapping
from hostile.text import BILLION, Canary, device, pipe, writing


def clip_array(count: int = 3, length: int = 4) -> np.ndarray:
    """Clips (N, T, H, W)."""
    return np.random.default_rng(0).integers(0, 256, (count, length, 32, 32), dtype=np.uint8)


def make_npy(folder: Path) -> list[Path]:
    np.save(folder / "a.npy", clip_array())
    return [folder / "a.npy"]


def make_npz(packed: bool):
    def make(folder: Path) -> list[Path]:
        (np.savez_compressed if packed else np.savez)(
            folder / "a.npz", frames=clip_array() if not packed else clip_array() // 200
        )
        return [folder / "a.npz"]

    return make


def sparse_npy(name: str, shape: tuple, dtype: str = "|u1", real: bool = True):
    def attack(folder: Path) -> None:
        with open(folder / name, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
            if real:  # a hole on disk
                file.truncate(file.tell() + int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize)

    return attack


def _npz_bomb(name: str, shape: tuple, key: str = "frames", dtype: str = "|u1"):
    def attack(folder: Path) -> None:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": dtype, "fortran_order": False, "shape": shape})
        size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        with (
            zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(f"{key}.npy", "w", force_zip64=True) as file,
        ):
            file.write(head.getvalue())
            while size > 0:
                size -= file.write(bytes(min(size, 16 << 20)))

    return attack


def _npz_boast(name: str, shape: tuple, key: str = "frames"):
    """The zip's directory lies about an entry's size, so that it fits its header."""

    def attack(folder: Path) -> None:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
        real = head.getvalue() + bytes(100)
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(f"{key}.npy", real)
        size = min(len(head.getvalue()) + int(np.prod(shape, dtype=object)), 0xFFFFFFF0)
        data = (
            (folder / name)
            .read_bytes()
            .replace(struct.pack("<II", len(real), len(real)), struct.pack("<II", len(real), size))
        )
        (folder / name).write_bytes(data)

    return attack


def _npz_members(name: str, keys: list[str], count: int = 1):
    def attack(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "w") as archive:
            for n in range(count):
                for key in keys:
                    archive.writestr(f"{key}{n or ''}.npy", _npy(np.zeros((2, 4, 4), np.uint8)))

    return attack


def _npy(array: np.ndarray) -> bytes:
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def _npy_header(name: str, text: bytes, version: bytes = b"\2\0"):
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(text))
    return writing(name, b"\x93NUMPY" + version + length + text)


NPY = {
    "million frames": sparse_npy("a.npy", (10**6, 64, 64), real=False),
    "absurd sides": sparse_npy("a.npy", (2, 100_000, 100_000)),
    "absurd sides that are not there": sparse_npy("a.npy", (2, 100_000, 100_000), real=False),
    "billion clips": sparse_npy("a.npy", (BILLION, 2, 1, 1, 1)),
    "one endless row": sparse_npy("a.npy", (2, 1, 10**10)),
    "absurd floats": sparse_npy("a.npy", (2, 20_000, 20_000), "<f8"),
    "long float clip": sparse_npy("a.npy", (4_000, 400, 400), "<f4"),
    "overflow": sparse_npy("a.npy", (2**33, 2**33, 2**33), real=False),
    "more than 64 bits": sparse_npy("a.npy", (10**40, 2, 2), real=False),
    "long header": _npy_header("a.npy", b"{" + b" " * 3_000_000 + b"}"),
    "absurd header": writing("a.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff{"),
    "deep header": _npy_header("a.npy", b"(" * 9_000),
    "power in the header": _npy_header("a.npy", b"{'descr': '|u1', 'fortran_order': False, 'shape': (9**9**9,)}"),
    "huge text dtype": _npy_header("a.npy", b"{'descr': '|S2000000000', 'fortran_order': False, 'shape': (2, 2, 2)}"),
    "objects": lambda f: np.save(f / "a.npy", np.array([Canary(f / "canary")], dtype=object)),
    "pickle": lambda f: (f / "a.npy").write_bytes(pickle.dumps(Canary(f / "canary"))),
    "a pipe": lambda f: pipe(f / "a.npy"),
    "without an end": lambda f: device(f / "a.npy"),
}  # fmt: skip
NPZ = {
    "bomb": _npz_bomb("a.npz", (1300, 1, 1024, 1024)),
    "bomb in one clip": _npz_bomb("a.npz", (1300, 1024, 1024)),
    "bomb of floats": _npz_bomb("a.npz", (170, 1024, 1024), dtype="<f8"),
    "bomb across clips": _npz_bomb("a.npz", (1300, 1, 1024, 1024), key="sequences"),
    "absurd sides": _npz_bomb("a.npz", (1, 40_000, 40_000)),
    "boast": _npz_boast("a.npz", (4, 30_000, 30_000)),
    "million names": _npz_members("a.npz", ["array"], 20_000),
    "names outside": _npz_members("a.npz", ["../../canary"]),
    "absolute name": _npz_members("a.npz", ["/tmp/canary-of-stochvid"]),
    "long names": _npz_members("a.npz", ["x" * 60_000, "y" * 60_000]),
    "objects": lambda f: np.savez(f / "a.npz", frames=np.array([Canary(f / "canary")] * 2, dtype=object)),
    "overlapping": lambda f: overlapping(f / "a.npz"),
    "no array": lambda f: zipfile.ZipFile(f / "a.npz", "w").writestr("frames", b"x"),
    "a pipe": lambda f: pipe(f / "a.npz"),
}  # fmt: skip


def make_hdf5(folder: Path) -> list[Path]:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("clips/frames", data=clip_array()[0], chunks=True, compression="gzip")
    return [folder / "a.h5"]


def _hdf5(make):
    def attack(folder: Path) -> None:
        import h5py

        with h5py.File(folder / "a.h5", "w") as file:
            make(file)

    return attack


HDF5 = {
    "vast dataset": _hdf5(lambda f: f.create_dataset("a", (10**6, 1000, 1000), "u1", chunks=(1, 1000, 1000))),
    "vast chunk": _hdf5(lambda f: f.create_dataset("a", (999, 999, 999), "u1", chunks=(999, 999, 999))),
    "vast frame": _hdf5(lambda f: f.create_dataset("a", (2, 10**5, 10**5), "u1", chunks=True)),
    "bomb": _hdf5(lambda f: f.create_dataset("a", data=np.zeros((400, 1000, 1000), np.uint8), compression=9)),
    "many names": _hdf5(lambda f: [f.create_group(f"g{n}") for n in range(20_000)]),
    "another file": _hdf5(lambda f: f.create_dataset("a", (4, 32, 32), "u1", external=[("/etc/hosts", 0, 4096)])),
    "objects": _hdf5(lambda f: f.create_dataset("a", data=[[["a"] * 9] * 9] * 9)),
    "a pipe": lambda f: pipe(f / "a.h5"),
    "without an end": lambda f: device(f / "a.h5"),
}  # fmt: skip


def make_predictions(name: str):
    def make(folder: Path) -> list[Path]:
        array = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 8, 8, 1), dtype=np.uint8)
        np.save(folder / name, array) if name.endswith("npy") else np.savez(
            folder / name, predictions=array, truth=array[:, 0], context=array[:, 0, :2]
        )
        return [folder / name]

    return make


def load_predictions(name: str):
    def load(folder: Path) -> None:
        from stochvid.core.clips import Clips
        from stochvid.evaluation.forecasters import Predictions

        found = Predictions(folder / name)
        horizon = min(found.shape[2], 10)
        clips = Clips(torch.zeros(1, 2, 1, 8, 8, dtype=torch.uint8))
        found.draw([0], clips, horizon, 0, min(found.shape[1], 2))

    return load


PREDICTIONS_NPY = {
    "million samples": sparse_npy("p.npy", (1, 10**6, 30, 64, 64, 1), real=False),
    "absurd sides": sparse_npy("p.npy", (1, 2, 3, 100_000, 100_000, 1)),
    "boast": sparse_npy("p.npy", (1, 2, 3, 100_000, 100_000, 1), real=False),
    "pickle": lambda f: (f / "p.npy").write_bytes(pickle.dumps(Canary(f / "canary"))),
    "a pipe": lambda f: pipe(f / "p.npy"),
}
PREDICTIONS_NPZ = {
    "bomb": _npz_bomb("p.npz", (1300, 1, 1, 1024, 1024, 1), key="predictions"),
    "objects": lambda f: np.savez(f / "p.npz", predictions=np.array([Canary(f / "canary")] * 2, dtype=object)),
    "long names": _npz_members("p.npz", ["x" * 60_000]),
    "million names": _npz_members("p.npz", ["array"], 20_000),
    "boast": _npz_boast("p.npz", (1, 2, 3, 30_000, 30_000, 1), key="predictions"),
}


def make_idx(suffix: str):
    def make(folder: Path) -> list[Path]:
        digits = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
        data = struct.pack(">4I", 0x0803, *digits.shape) + digits.tobytes()
        path = folder / f"train-images-idx3-ubyte{suffix}"
        path.write_bytes(gzip.compress(data) if suffix else data)
        return [path]

    return make


def load_idx(folder: Path) -> None:
    from stochvid.data.digits import load_digits

    assert load_digits("mnist", "train", folder).shape[1:] == (28, 28)


def _idx(suffix: str, count: int, side: int, real: int):
    def attack(folder: Path) -> None:
        path = folder / f"train-images-idx3-ubyte{suffix}"
        with (gzip.open if suffix else open)(path, "wb") as file:
            file.write(struct.pack(">4I", 0x0803, count, side, side))
            for _ in range(real >> 24):
                file.write(bytes(1 << 24))

    return attack


def idx_attacks(suffix: str) -> dict:
    """Headers and bombs."""
    name = f"train-images-idx3-ubyte{suffix}"
    return {
        "billion digits": _idx(suffix, BILLION, 28, 0),
        "absurd sides": _idx(suffix, 1, 100_000, 0),
        "all ones": _idx(suffix, 0xFFFFFFFF, 0xFFFFFFFF, 0),
        "none": _idx(suffix, 0, 28, 0),
        "bomb": _idx(suffix, (2 << 30) // 784, 28, 2 << 30),
        "longer than it says": _idx(suffix, 1, 28, 1 << 30),
        "a pipe": lambda f: pipe(f / name),
        "without an end": lambda f: device(f / name),
    }
