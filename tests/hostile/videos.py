"""Videos, pictures, and the sources of `prepare`, with attacks on them."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from hostile.arrays import sparse_npy
from hostile.text import Canary, device, json_attacks, pipe, setting, writing
from made_data import example, moving, record, write_bair, write_frames, write_kth, write_lerobot, write_video
from tiny import narrow


def make_video(name: str, codec: str, pix_fmt: str = "yuv420p"):
    def make(folder: Path) -> list[Path]:
        return [write_video(folder / name, moving(12), codec, pix_fmt=pix_fmt)]

    return make


def load_clip(name: str):
    def load(folder: Path) -> None:
        from stochvid.media.clip import read_clip

        read_clip(folder / name, limit=200)

    return load


def _patched(name: str, change):
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def _mp4_sides(data: bytes, width: int = 60_000, height: int = 60_000, codec: bool = True) -> bytes:
    """The sides in the track's header and in the sample's description."""
    data = bytearray(data)
    place = data.index(b"tkhd") + 80
    data[place : place + 8] = struct.pack(">HHHH", width, 0, height, 0)
    place = data.index(b"mp4v" if b"mp4v" in data else b"avc1") + 28
    data[place : place + 4] = struct.pack(">HH", width, height)
    return bytes(data)


def _mp4_count(data: bytes) -> bytes:
    """A million frames, by the table of their durations."""
    data = bytearray(data)
    place = data.index(b"stts") + 12
    data[place : place + 4] = struct.pack(">I", 10**6)
    return bytes(data)


def _mp4_table(name: bytes):
    def change(data: bytes) -> bytes:
        data = bytearray(data)
        place = data.index(name) + (12 if name == b"stsz" else 8)
        data[place : place + 4] = b"\x7f\xff\xff\xff"
        return bytes(data)

    return change


def _gif(width: int, height: int, frames: int = 2) -> bytes:
    """A GIF of a vast canvas, with tiny pictures in it."""
    made = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    picture = b"\x21\xf9\4\0\4\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return made + picture * frames + b"\x3b"


def _avi_sides(data: bytes) -> bytes:
    data = bytearray(data)
    place = data.index(b"avih") + 40
    data[place : place + 8] = struct.pack("<II", 100_000, 100_000)
    place = data.index(b"strf") + 12
    data[place : place + 8] = struct.pack("<II", 100_000, 100_000)
    return bytes(data)


def _raw_avi(data: bytes) -> bytes:
    """Uncompressed frames of vast sides."""
    data = bytearray(_avi_sides(data))
    place = data.index(b"strf") + 24
    data[place : place + 4] = b"\0\0\0\0"
    return bytes(data)


def _y4m(width: int, height: int) -> bytes:
    return f"YUV4MPEG2 W{width} H{height} F25:1 Cmono\nFRAME\n".encode() + bytes(1000)


def _rename(old: str, new: bytes):
    return lambda folder: (folder / old).write_bytes(new)


MP4 = {
    "absurd sides": _patched("a.mp4", _mp4_sides),
    "million frames": _patched("a.mp4", _mp4_count),
    "absurd table of sizes": _patched("a.mp4", _mp4_table(b"stsz")),
    "absurd table of chunks": _patched("a.mp4", _mp4_table(b"stco")),
    "y4m of vast sides": _rename("a.mp4", _y4m(100_000, 100_000)),
    "y4m of 30,000 sides": _rename("a.mp4", _y4m(30_000, 30_000)),
    "concat": _rename("a.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n"),
    "text art": _rename("a.mp4", b"\x1b[2J\x1b[999999;999999H" * 1000),
    "subtitles": _rename("a.mp4", b"[Script Info]\n" + b"x" * 100_000),
}
GIF = {
    "absurd canvas": writing("a.gif", _gif(65_535, 65_535)),
    "canvas of 20,000": writing("a.gif", _gif(20_000, 20_000)),
    "many frames": writing("a.gif", _gif(64, 64, 100_000)),
}
AVI = {
    "absurd sides": _patched("a.avi", _avi_sides),
    "absurd raw sides": _patched("a.avi", _raw_avi),
}


def _png(width: int, height: int, colour: int = 0, packed: bytes = b"", chunks: bytes = b"") -> bytes:
    """A PNG of any claims."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _png_bomb(width: int, height: int, colour: int, channels: int) -> bytes:
    """A picture of one colour, all of whose rows are really there."""
    packer, row = zlib.compressobj(9), bytes(width * channels + 1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return _png(width, height, colour, packed)


def _png_text() -> bytes:
    data = b"zTXtkey\0\0" + zlib.compress(bytes(200 << 20), 9)
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return _png(32, 32, 0, zlib.compress(bytes(33 * 32)), chunk)


def make_pngs(folder: Path) -> list[Path]:
    write_frames(folder / "clip", moving(3))
    return [folder / "clip" / "frame1.png", folder / "clip" / "frame2.png"]


def _frame(data):
    return lambda folder: (folder / "clip" / "frame2.png").write_bytes(data() if callable(data) else data)


PNGS = {
    "absurd sides": _frame(_png(100_000, 100_000)),
    "largest sides": _frame(_png(2**31 - 1, 2**31 - 1)),
    "bomb of grey": _frame(lambda: _png_bomb(13_000, 13_000, 0, 1)),
    "bomb of colour": _frame(lambda: _png_bomb(12_000, 12_000, 2, 3)),
    "bomb of alpha": _frame(lambda: _png_bomb(12_000, 12_000, 6, 4)),
    "bomb of text": _frame(_png_text),
    "no data": _frame(_png(32, 32)),
    "eps": _frame(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n(x) run\n"),
    "a pipe": lambda f: pipe(f / "clip" / "frame2.png"),
    "without an end": lambda f: device(f / "clip" / "frame2.png"),
}  # fmt: skip


def make_stack(name: str, **options):
    """Frames as the pages of one file."""

    def make(folder: Path) -> list[Path]:
        first, *others = (Image.fromarray(frame) for frame in moving(6))
        first.save(folder / name, save_all=True, append_images=others, **options)
        return [folder / name]

    return make


def _tiff_chain(folder: Path, count: int, circle: bool = False) -> None:
    """Empty pages behind the first, one linked to the next."""
    data = bytearray((folder / "a.tif").read_bytes())
    first = struct.unpack("<I", data[4:8])[0]
    link = first + 2 + 12 * struct.unpack("<H", data[first : first + 2])[0]
    begin = len(data)
    data[link : link + 4] = struct.pack("<I", first if circle else begin)
    page = struct.pack("<HHHII", 1, 256, 3, 1, 64)
    pages = (page + struct.pack("<I", begin + 18 * (number + 1)) for number in range(count))
    (folder / "a.tif").write_bytes(bytes(data) + b"".join(pages))


def _tiff_entry(tag: int, value: int):
    """Another value for a field of the first page."""

    def attack(folder: Path) -> None:
        data = bytearray((folder / "a.tif").read_bytes())
        first = struct.unpack("<I", data[4:8])[0]
        for place in range(first + 2, first + 2 + 12 * struct.unpack("<H", data[first : first + 2])[0], 12):
            if struct.unpack("<H", data[place : place + 2])[0] == tag:
                data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, value)
        (folder / "a.tif").write_bytes(data)

    return attack


def _webp_frames(count: int) -> bytes:
    """An animation of a vast canvas, with tiny pictures in it that are not there."""
    frame = b"ANMF" + struct.pack("<I", 16) + bytes(16)
    body = b"WEBPVP8X" + struct.pack("<II", 10, 2) + b"\xff\x3f\0\xff\x3f\0" + frame * count
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _apng_count(folder: Path) -> None:
    data = bytearray((folder / "a.png").read_bytes())
    place = data.index(b"acTL")
    data[place + 4 : place + 8] = b"\x7f\xff\xff\xff"
    data[place + 12 : place + 16] = struct.pack(">I", zlib.crc32(data[place : place + 12]))
    (folder / "a.png").write_bytes(data)


TIFF = {
    "million pages": lambda f: _tiff_chain(f, 10**6),
    "pages in a circle": lambda f: _tiff_chain(f, 0, circle=True),
    "many pages that are none": lambda f: _tiff_chain(f, 50_000),
    **{f"field {tag} is {value}": _tiff_entry(tag, value) for tag in (256, 257, 258, 259, 273, 277, 278, 279)
       for value in (0, 65_535, 2**31 - 1, 2**32 - 1)},
}  # fmt: skip
WEBP = {
    "frames that are not there": writing("a.webp", _webp_frames(100_000)),
    "a vast canvas and no frames": writing("a.webp", _webp_frames(0)),
    "more frames than may be": writing("a.webp", _webp_frames(200_000)),
}
APNG = {"more frames than there are": _apng_count}


def make_bair(folder: Path) -> list[Path]:
    write_bair(folder, train=2, test=1)
    return [folder / "softmotion30_44k" / "train" / "traj_0_to_1.tfrecords"]


def _tfrecord(data):
    name = "softmotion30_44k/train/traj_0_to_1.tfrecords"
    return lambda folder: (folder / name).write_bytes(data() if callable(data) else data)


def _sparse_record(folder: Path) -> None:
    head = record(bytes(1))[:0]
    from made_data import masked

    length = struct.pack("<Q", 4 << 30)
    path = folder / "softmotion30_44k" / "train" / "traj_0_to_1.tfrecords"
    path.write_bytes(head + length + masked(length))
    os.truncate(path, 12 + (4 << 30) + 4)


BAIR = {
    "record of 4 GiB": _sparse_record,
    "empty records": _tfrecord(lambda: record(b"") * 2_000_000),
    "absurd length": _tfrecord(lambda: struct.pack("<Q", 1 << 63) + bytes(100)),
    "empty fields": _tfrecord(lambda: record(b"\x0a\0" * 400_000)),
    "endless number": _tfrecord(lambda: record(b"\xff" * 400_000)),
    "absurd field": _tfrecord(lambda: record(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f")),
    "many features": _tfrecord(lambda: record(example({f"f{n}": b"" for n in range(40_000)}))),
    "nested": _tfrecord(lambda: record(b"\x0a\x02\x0a\x00" * 100_000)),
    "groups": _tfrecord(lambda: record(b"\x0b" * 1000)),
}  # fmt: skip


def make_lerobot(folder: Path) -> list[Path]:
    write_lerobot(folder)
    meta = folder / "meta"
    video = folder / "videos" / "observation.images.top" / "chunk-000" / "file-000.mp4"
    data = folder / "data" / "chunk-000" / "file-000.parquet"
    return [meta / "info.json", meta / "episodes" / "chunk-000" / "file-000.parquet", data, video]


def make_lerobot_pictures(folder: Path) -> list[Path]:
    write_lerobot(folder, (5, 4), version=2, kind="image")
    meta, data = folder / "meta", folder / "data" / "chunk-000"
    return [meta / "info.json", meta / "episodes.jsonl", data / "episode_000000.parquet"]


def _parquet(make, where="meta/episodes", **options):
    def attack(folder: Path) -> None:
        from pyarrow import parquet

        path = folder / where / "chunk-000" / "file-000.parquet"
        parquet.write_table(make(parquet.read_table(path)), path, **options)

    return attack


def _repeated(table, rows: int):
    """One row, over and over: some kilobytes on disk."""
    import pyarrow as pa

    columns = {name: pa.array(np.full(rows, table[name][0].as_py())) for name in table.column_names if name != "tasks"}
    return pa.table(columns)


def _column(name: str, values, where="meta/episodes"):
    def make(table):
        import pyarrow as pa

        name_ = next(column for column in table.column_names if column.endswith(name))
        place = table.column_names.index(name_)
        return table.set_column(place, name_, pa.array(values(len(table))))

    return _parquet(make, where)


PARQUET = {
    "ten million episodes": _parquet(lambda t: _repeated(t, 10**7), compression="zstd"),
    "absurd numbers": _column("episode_index", lambda n: [2**62] * n),
    "negative numbers": _column("length", lambda n: [-1] * n),
    "absurd lengths": _column("length", lambda n: [2**62] * n),
    "absurd times": _column("from_timestamp", lambda n: [1e300] * n),
    "no times": _column("to_timestamp", lambda n: [float("nan")] * n),
    "texts": _column("file_index", lambda n: ["../../../etc/passwd"] * n),
    "lists": _column("length", lambda n: [[1]] * n),
    "long texts": _column("length", lambda n: ["9" * 10_000] * n),
    "huge texts": _column("length", lambda n: ["x" * 10_000_000] * n),
    "nothing": _column("length", lambda n: [None] * n),
    "a pipe": lambda f: pipe(f / "meta" / "episodes" / "chunk-000" / "file-000.parquet"),
    "rows without end": _parquet(lambda t: _repeated(t.drop(["action"]), 11 * 10**6), "data", compression="zstd"),
    "a million rows of one frame": _parquet(lambda t: t.take([0] * 10**6), "data", compression="zstd"),
    "actions of texts": _column("action", lambda n: ["x"] * n, "data"),
    "actions of any length": _column("action", lambda n: [[1.0] * (row % 7) for row in range(n)], "data"),
    "vast actions": _column("action", lambda n: [[1.0] * 300_000] * n, "data"),
    "no actions": _column("action", lambda n: [None] * n, "data"),
    "infinite actions": _column("action", lambda n: [[float("inf")] * 6] * n, "data"),
    "frames of another order": _column("frame_index", lambda n: list(range(n))[::-1], "data"),
    "absurd episodes": _column("episode_index", lambda n: [2**62] * n, "data"),
    "data are a pipe": lambda f: pipe(f / "data" / "chunk-000" / "file-000.parquet"),
}
LEROBOT = (
    json_attacks(
        "meta/info.json", ("fps",), ("features",), ("video_path",), ("splits",), ("codebase_version",), ("data_path",),
        *(("features", "action", field) for field in ("dtype", "shape", "names")),
    )
    | {
        f"path {path}": setting("meta/info.json", ("video_path",), path)
        for path in (
            "../../{video_key}.mp4", "/etc/passwd", "videos/../../{video_key}", "{video_key}/../../../x",
            "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:09d}.mp4", "{video_key}" * 5_000,
            "{chunk_index.__class__}", "{0}", "", ".", "..", "videos\0", "~", "videos/*",
        )
    }
    | {
        f"data {path}": setting("meta/info.json", ("data_path",), path)
        for path in ("../../x.parquet", "/etc/passwd", "data/../../{file_index}", "", "..", "data\0", "{0}")
    }
    | {
        f"camera {name[:20]}": setting("meta/info.json", ("features",), {name: {"dtype": "video"}})
        for name in ("..", "../../x", "", "\0", "x" * 100_000)
    }
    | PARQUET
)  # fmt: skip


def make_kth(folder: Path) -> list[Path]:
    write_kth(folder, people=(1,), actions=("boxing",), scenes=(1,), length=30)
    return [folder / "boxing" / "person01_boxing_d1_uncomp.avi", folder / "00sequences.txt"]


def _long_kth(folder: Path) -> None:
    frames = [np.full((480, 640, 3), 99, np.uint8)] * 1500
    write_video(folder / "boxing" / "person01_boxing_d1_uncomp.avi", frames, "mpeg4", tag="DIVX", g="600")


KTH = {
    "endless ranges": writing("00sequences.txt", "person01_boxing_d1 frames " + "1-999999, " * 2_000),
    "long line": writing("00sequences.txt", "person01_boxing_d1" + " " * 5_000_000),
    "long list": writing("00sequences.txt", "person01_boxing_d1 frames 1-20\n" * 100_000),
    "many digits": writing("00sequences.txt", "person01_boxing_d1 frames " + "1" * 1_000_000 + "-2"),
    "held video": _long_kth,
    "a pipe": lambda f: pipe(f / "00sequences.txt"),
}  # fmt: skip


def make_store(folder: Path) -> list[Path]:
    from stochvid.data.tracks import Track
    from stochvid.prepare.store_writer import StoreWriter

    with StoreWriter(
        folder, 32, 1, {"bounces": Track("bool"), "actions": Track("float32", (2,), ["x", "y"])}
    ) as writer:
        for number, length in enumerate((6, 9)):
            frames = np.full((length, 1, 32, 32), number, np.uint8)
            tracks = {"bounces": np.zeros(length, bool), "actions": np.zeros((length, 2), np.float32)}
            writer.add("train", f"clip {number}", frames, length, fps=25, tracks=tracks)
        writer.finish({"plan": {"format": "videos"}})
    return [folder / "index.json", folder / "train.npy", folder / "train.bounces.npy", folder / "train.actions.npy"]


def load_store(folder: Path) -> None:
    from stochvid.data.store import Store
    from stochvid.data.stored_clips import StoredClips
    from stochvid.inference.sources import open_source

    store = Store(folder)
    for split in store.splits:
        store.clip(split, 0)
        StoredClips(store, split, 4).__getitems__([0, 1])
    open_source(f"{folder}:0", folder, narrow(), 3, 6, None, 1).read(6)


STORE = json_attacks(
    "index.json", ("size",), ("channels",), ("splits",), ("version",), ("format",), ("splits", "train"),
    *(("splits", "train", name) for name in ("names", "offsets", "lengths", "fps", "sha256", "tracks")),
    *(("splits", "train", name, 0) for name in ("names", "offsets", "lengths", "fps")),
    ("splits", "train", "tracks", "actions"), ("tracks",), ("tracks", "actions"), ("tracks", "bounces", "dtype"),
    *(("tracks", "actions", name) for name in ("dtype", "shape", "names", "units", "statistics")),
    *(("tracks", "actions", *places) for places in (("shape", 0), ("names", 0), ("statistics", "mean"))),
    ("plan",), ("source",), ("left_out",),
) | {
    "split outside": setting("index.json", ("splits", "../../etc"), {}),
    "array of vast sides": sparse_npy("train.npy", (15, 1, 100_000, 100_000)),
    "array that is not there": sparse_npy("train.npy", (15, 1, 32, 32), real=False),
    "track outside": setting("index.json", ("tracks", "../../etc"), {"dtype": "bool"}),
    "vast track": sparse_npy("train.actions.npy", (15, 100_000, 100_000)),
    "track that is not there": sparse_npy("train.actions.npy", (15, 2), real=False),
    "track of objects": lambda f: np.save(f / "train.actions.npy", np.array([Canary(f / "canary")], dtype=object)),
    "track is a pipe": lambda f: pipe(f / "train.actions.npy"),
    "objects": lambda f: np.save(f / "train.npy", np.array([Canary(f / "canary")], dtype=object)),
    "array is a pipe": lambda f: pipe(f / "train.npy"),
}  # fmt: skip


def _pictures(value):
    """Every picture of the first episode is this one."""

    def attack(folder: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        path = folder / "data" / "chunk-000" / "episode_000000.parquet"
        table = parquet.read_table(path)
        place = table.column_names.index("observation.images.top")
        column = pa.array([value() if callable(value) else value] * len(table))
        parquet.write_table(table.set_column(place, "observation.images.top", column), path, compression="zstd")

    return attack


def _line(text: str, times: int = 1):
    return lambda folder: (folder / "meta" / "episodes.jsonl").write_text((text + "\n") * times)


LEROBOT_PICTURES = json_attacks("meta/info.json", ("data_path",), ("chunks_size",), ("features",), ("fps",)) | {
    "vast pictures": _pictures(lambda: {"bytes": b"\0" * (40 << 20)}),
    "a picture of a million by a million": _pictures(
        {"bytes": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (10**6).to_bytes(4, "big") * 2 + b"\x08\2\0\0\0" + b"\0" * 40}
    ),
    "texts for pictures": _pictures("x" * 100),
    "numbers for pictures": _pictures(7),
    "nothing for pictures": _pictures({"bytes": None}),
    "a picture elsewhere": _pictures({"bytes": None, "path": "/etc/passwd"}),
    "episodes without end": _line('{"episode_index": 0, "length": 5}', 2_000_000),
    "one episode a million times": _line('{"episode_index": 0, "length": 5}', 1_000_000),
    "an absurd length": _line('{"episode_index": 0, "length": 4611686018427387904}'),
    "an absurd number": _line('{"episode_index": 4611686018427387904, "length": 5}'),
    "nested episodes": _line("[" * 1_000_000),
    "episodes are a pipe": lambda f: pipe(f / "meta" / "episodes.jsonl"),
}
