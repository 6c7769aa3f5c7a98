"""Small data sets in the real on-disk formats, written without the code under test."""

import io
import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

KTH_ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")


def square(t: int, height: int = 48, width: int = 64, brightness: int = 200) -> np.ndarray:
    """A frame (H, W, 3) with a square that moves to the right."""
    frame = np.full((height, width, 3), 16, dtype=np.uint8)
    frame[8:24, t % (width - 16) : t % (width - 16) + 16] = brightness
    return frame


def stored(store) -> dict[str, np.ndarray]:
    """The clips (T, C, H, W) by name, of all splits."""
    return {
        name: store.clip(split, number)["frames"]
        for split, index in store.splits.items()
        for number, name in enumerate(index.names)
    }


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def moving(length: int, start: int = 0, **size) -> list[np.ndarray]:
    """Frames (H, W, 3) of a moving square."""
    return [square(start + t, **size) for t in range(length)]


def write_video(
    path: Path, frames, codec="libx264", rate=25, pix_fmt="yuv420p", tag=None, times=None, format=None, **options
) -> Path:
    """Encodes frames (H, W, 3); `times` in milliseconds gives a variable rate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    muxer = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    with av.open(str(path.absolute()), "w", format, options=muxer) as container:
        stream = container.add_stream(codec, rate=rate, options={"threads": "1"} | options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pix_fmt
        if tag:
            stream.codec_context.codec_tag = tag
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if times:
                picture.pts, picture.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def write_frames(folder: Path, frames, suffix=".png") -> Path:
    """A folder of images, numbered from 1 without leading zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / f"frame{number}{suffix}")
    return folder


# -------------------------------------------------------------------------------------------------------------- KTH


def write_kth(
    root: Path, people=(1, 2, 21), actions=("boxing", "walking"), scenes=(1, 2), length=60, ranges=True
) -> Path:
    """AVI files as KTH's: 160×120, MPEG-4 (DivX) in AVI, 25 frames/s; frame t of a video is about as bright as t."""
    lines = ["The person is visible in these frames:", ""]
    for action in actions:
        for person in people:
            for scene in scenes:
                name = f"person{person:02}_{action}_d{scene}"
                frames = [np.full((120, 160, 3), 20 + 3 * t, np.uint8) for t in range(length)]
                write_video(root / action / f"{name}_uncomp.avi", frames, "mpeg4", tag="DIVX", b="2000000")
                lines.append(f"{name}\t\tframes\t1-{length // 2}, {length // 2 + 5}-{length + 4}")
    lines.append("person13_handclapping_d3\t*missing*")
    if ranges:
        (root / "00sequences.txt").write_text("\r\n".join(lines) + "\r\n")
    return root


# ------------------------------------------------------------------------------------------------------------- BAIR

CRC_TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    CRC_TABLE.append(byte)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), byte by byte."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = len(data), b""
    while length > 0x7F:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + data


def example(features: dict[str, bytes]) -> bytes:
    """A tf.train.Example of bytes features; those of `action` and `endeffector_pos` are float lists, as BAIR's are."""
    entries = b""
    for name, value in features.items():
        kind = 2 if name.endswith(("action", "endeffector_pos")) else 1
        entries += field(1, field(1, name.encode()) + field(2, field(kind, field(1, value))))
    return field(1, entries)


def record(data: bytes) -> bytes:
    """A TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def bair_example(seed: int, frames: int = 30) -> tuple[bytes, np.ndarray]:
    """A trajectory as BAIR's, with a second camera and actions beside, and its frames (T, 64, 64, 3)."""
    video = np.random.default_rng(seed).integers(0, 256, (frames, 64, 64, 3), dtype=np.uint8)
    features = {}
    for t in range(frames):
        features[f"{t}/image_main/encoded"] = b"\1" * 48
        features[f"{t}/image_aux1/encoded"] = video[t].tobytes()
        features[f"{t}/action"] = struct.pack("<4f", seed, t, 0.3, 0.4)
        features[f"{t}/endeffector_pos"] = struct.pack("<3f", 0.1 * t, 0.2, seed)
    return example(features), video


def write_bair(root: Path, train=3, test=2) -> dict[str, np.ndarray]:
    """Record files as BAIR's; gives the clips (T, 64, 64, 3) by split."""
    clips = {}
    for split, count in (("train", train), ("test", test)):
        folder = root / "softmotion30_44k" / split
        folder.mkdir(parents=True)
        made = [bair_example(seed + 100 * (split == "test")) for seed in range(count)]
        (folder / f"traj_0_to_{count - 1}.tfrecords").write_bytes(b"".join(record(data) for data, _ in made))
        clips[split] = np.stack([video for _, video in made])
    return clips


# ---------------------------------------------------------------------------------------------------------- LeRobot


def as_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_lerobot(
    root: Path, lengths=(20, 31, 24, 40), fps=20, cameras=("observation.images.top",), splits=None, recorded=True,
    version=3, kind="video",
) -> Path:  # fmt: skip
    """A LeRobot dataset; frame t of episode e is about as bright as 20 + 40 e + t, in videos or as images in parquet.

    Other cameras than the first are brighter, by 9 each.

    Of version 3, an MP4 file has two episodes, one of data three; of version 2, each has its own, two to a chunk.
    If recorded, its action there is [e, t, 0 …], and its state 100 e + t.
    """
    import pyarrow as pa
    from pyarrow import parquet

    own = version == 2
    names = ["chunk-{chunk_index:03d}", "file-{file_index:03d}"]
    if own:
        names = ["chunk-{episode_chunk:03d}", "episode_{episode_index:06d}"]
    info = {
        "codebase_version": "v2.1" if own else "v3.0", "robot_type": "so100", "fps": fps,
        "total_episodes": len(lengths),
        "total_frames": sum(lengths), "chunks_size": 2 if own else 1000,
        "splits": splits or {"train": f"0:{len(lengths)}"}, "data_path": "data/{}/{}.parquet".format(*names),
        "video_path": ("videos/{}/{{video_key}}/{}.mp4" if own else "videos/{{video_key}}/{}/{}.mp4").format(*names)
        if kind == "video" else None,
        "features": {camera: {"dtype": kind, "shape": [48, 64, 3]} for camera in cameras}
        | {"action": {"dtype": "float32", "shape": [6], "names": {"motors": list("abcdef")}}}
        | {"observation.state": {"dtype": "float32", "shape": [1], "names": ["height"]}},
    }  # fmt: skip
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    rows = [{"episode_index": e, "length": length, "tasks": ["lift"]} for e, length in enumerate(lengths)]

    def picture(camera, e, t):
        return np.full((48, 64, 3), 20 + 40 * e + t + 9 * cameras.index(camera), np.uint8)

    for camera in cameras if kind == "video" else ():
        for file in range(0, len(lengths), 1 if own else 2):
            frames, start = [], 0.0
            for e in range(file, min(file + (1 if own else 2), len(lengths))):
                frames += [picture(camera, e, t) for t in range(lengths[e])]
                stop = start + lengths[e] / fps
                place = {"chunk_index": 0, "file_index": file // 2, "from_timestamp": start, "to_timestamp": stop}
                rows[e] |= {f"videos/{camera}/{name}": value for name, value in place.items()}
                start = stop
            path = root / "videos" / camera / "chunk-000" / f"file-{file // 2:03d}.mp4"
            if own:
                path = root / "videos" / f"chunk-{file // 2:03d}" / camera / f"episode_{file:06d}.mp4"
            write_video(path, frames, rate=fps, crf="10")
    for file in range(0, len(lengths) if recorded else 0, 1 if own else 3):
        told = [(e, t) for e in range(file, min(file + (1 if own else 3), len(lengths))) for t in range(lengths[e])]
        for e, _ in told:
            rows[e] |= {"data/chunk_index": 0, "data/file_index": file // 3}
        columns = {
            "action": pa.array([[e, t, 0, 0, 0, 0] for e, t in told], pa.list_(pa.float32())),
            "observation.state": pa.array([100 * e + t for e, t in told], pa.float32()),
            "episode_index": pa.array([e for e, _ in told], pa.int64()),
            "frame_index": pa.array([t for _, t in told], pa.int64()),
        }
        for camera in cameras if kind == "image" else ():
            files = [{"bytes": as_png(picture(camera, *place)), "path": None} for place in told]
            columns[camera] = pa.array(files, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
        path = root / "data" / "chunk-000" / f"file-{file // 3:03d}.parquet"
        if own:
            path = root / "data" / f"chunk-{file // 2:03d}" / f"episode_{file:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(columns), path)
    if own:
        lines = [json.dumps({name: row[name] for name in ("episode_index", "tasks", "length")}) for row in rows]
        (root / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
        return root
    folder = root / "meta" / "episodes" / "chunk-000"
    folder.mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(rows), folder / "file-000.parquet")
    return root
