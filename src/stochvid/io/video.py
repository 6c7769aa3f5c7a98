"""Clips in from videos, frame folders and arrays; animations out as GIF and MP4.

Frames here are NumPy arrays, (T, H, W, C) uint8, as image libraries have them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imageio.v3 as iio
import numpy as np
import torch
from PIL import Image

from stochvid.errors import InputError
from stochvid.files import replacing

Fit = Literal["squash", "crop", "pad"]

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}
ARRAY_KEYS = ("frames", "clip", "video")


@dataclass
class Clip:
    """A piece of video.

    Attributes:
        name: for files and titles.
        frames: (T, H, W, C) uint8.
        fps: frames per second, None where the source does not say.
        bounces: (T,) bool where it is known when something unpredictable happens, else None.
    """

    name: str
    frames: np.ndarray
    fps: float | None = None
    bounces: np.ndarray | None = None

    def __str__(self) -> str:
        count, height, width, channels = self.frames.shape
        rate = f", {self.fps:g} fps" if self.fps else ""
        return f"{count} frames of {width}×{height} {COLOURS.get(channels, f'{channels} channels')}{rate}"


# ---------------------------------------------------------------------------------------------------------------- in


def read_clip(source: str | Path, limit: int | None = None) -> Clip:
    """Reads a video, a GIF, a folder of frames, or a `.npy`/`.npz` array.

    Arrays are (T, H, W), (T, H, W, C) or (T, C, H, W), uint8, bool, or float in [0, 1]; in an `.npz` the array is the
    only one, or is called `frames`, `clip` or `video`. Frames of a folder are taken in natural order.

    Args:
        source: the path.
        limit: read no more than so many frames (from the start).

    Returns:
        The clip, with at least one frame.

    Raises:
        InputError: the source is missing, broken, empty, or of no such kind.
    """
    path = Path(source)
    if not path.exists():
        raise InputError(f"clip {str(source)!r} does not exist. Give a video, a folder of frames, .npy or .npz.")
    if path.is_dir():
        frames, fps = _read_folder(path, limit), None
    elif path.suffix.lower() in (".npy", ".npz"):
        frames, fps = _read_array(path)[:limit], None
    else:
        frames, fps = _read_video(path, limit)
    if 0 in frames.shape:
        raise InputError(f"clip {str(source)!r} has no frames{' with pixels' if len(frames) else ''}.")
    return Clip(path.stem if path.is_file() else path.resolve().name, frames, fps)


def _read_folder(folder: Path, limit: int | None) -> np.ndarray:
    paths = sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=_natural)[:limit]
    if not paths:
        raise InputError(
            f"clip folder {str(folder)!r} has no frames. It must hold images ({', '.join(sorted(IMAGE_SUFFIXES))})."
        )
    frames = []
    for path in paths:
        try:
            with Image.open(path) as image:
                pixels = _image_pixels(image)
        except Exception as error:  # so do Pillow's
            raise InputError(f"frame {str(path)!r} cannot be read as an image: {error}.") from None
        frames.append(pixels.reshape(*pixels.shape[:2], -1))
        if frames[-1].shape != frames[0].shape:
            (h0, w0, c0), (h, w, c) = frames[0].shape, frames[-1].shape
            raise InputError(
                f"frames of one clip must be alike: {paths[0].name!r} is {w0}×{h0} {COLOURS[c0]}, "
                f"{str(path)!r} is {w}×{h} {COLOURS[c]}."
            )
    return np.stack(frames)


def _image_pixels(image: Image.Image) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8; 16-bit grey keeps its upper byte."""
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("its values are outside 0 … 65535")
        return (deep >> 8).astype(np.uint8)
    if image.mode == "F":
        raise ValueError("it holds floats; save 8-bit or 16-bit grey, or a .npy array in [0, 1]")
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _natural(path: Path) -> list:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def _read_video(path: Path, limit: int | None) -> tuple[np.ndarray, float | None]:
    import av

    frames = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"clip {str(path)!r} has no video stream.")
            stream = container.streams.video[0]
            fps = float(stream.average_rate) if stream.average_rate else None
            for frame in container.decode(stream):
                grey = frame.format.name.startswith("gray")
                pixels = frame.to_ndarray(format="gray" if grey else "rgb24")
                frames.append(pixels.reshape(*pixels.shape[:2], -1))
                if frames[-1].shape != frames[0].shape:
                    raise InputError(f"clip {str(path)!r} changes its frame size at frame {len(frames)}.")
                if len(frames) == limit:
                    break
    except (av.FFmpegError, OSError) as error:
        where = f" after {len(frames)} frames" if frames else ""
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"clip {str(path)!r} cannot be decoded as video{where}: {reason}.") from None
    return np.stack(frames) if frames else np.empty((0, 1, 1, 1), np.uint8), fps


def _read_array(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            array = loaded if isinstance(loaded, np.ndarray) else loaded[_array_key(path, loaded.files)]
            if not isinstance(array, np.ndarray):
                raise ValueError("it holds no array")
    except InputError:
        raise
    except Exception as error:  # NumPy's readers raise nearly anything on broken files
        reason = "it holds Python objects" if "allow_pickle" in str(error) else error or type(error).__name__
        raise InputError(f"clip {str(path)!r} cannot be read as a NumPy array: {reason}.") from None
    return _pixels(_channels_last(array, path), path)


def _array_key(path: Path, keys: list[str]) -> str:
    for key in ARRAY_KEYS:
        if key in keys:
            return key
    if len(keys) == 1:
        return keys[0]
    raise InputError(f"clip {str(path)!r} holds {', '.join(keys) or 'nothing'}; name one array {ARRAY_KEYS[0]!r}.")


def _channels_last(array: np.ndarray, path: Path) -> np.ndarray:
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4 and array.shape[-1] in COLOURS:
        return array
    if array.ndim == 4 and array.shape[1] in COLOURS:
        return np.moveaxis(array, 1, -1)
    raise InputError(
        f"clip {str(path)!r} has shape {array.shape}; expected (T, H, W), (T, H, W, C) or (T, C, H, W) with 1, 3 or 4 "
        "channels."
    )


def _pixels(array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind == "f":
        if array.size and not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise InputError(f"clip {str(path)!r} has float values outside [0, 1]. Scale them, or save uint8.")
        return np.round(array * 255).astype(np.uint8)
    raise InputError(f"clip {str(path)!r} has dtype {array.dtype}; expected uint8, bool, or float in [0, 1].")


def fit_frames(clip: Clip, size: int, channels: int, fit: Fit = "squash") -> np.ndarray:
    """Frames as a model wants them.

    Args:
        clip: of any size.
        size: height and width to make.
        channels: 1 or 3 (anything else only if the clip has as many).
        fit: squash the whole picture, crop its middle square, or pad it to a square with black.

    Returns:
        (T, C, size, size) uint8.

    Raises:
        InputError: the channels cannot be converted.
    """
    frames = clip.frames
    if frames.shape[-1] != channels:
        if channels not in (1, 3) or frames.shape[-1] not in COLOURS:
            raise InputError(
                f"clip {clip.name!r} has {frames.shape[-1]} channels and cannot be converted to the {channels} "
                "channels of the model."
            )
        frames = np.stack([_recolour(frame, channels) for frame in frames])
    if frames.shape[1:3] != (size, size):
        frames = np.stack([_resize(frame, size, fit) for frame in frames])
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))


def _recolour(frame: np.ndarray, channels: int) -> np.ndarray:
    image = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


def _resize(frame: np.ndarray, size: int, fit: Fit) -> np.ndarray:
    height, width = frame.shape[:2]
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frame = frame[top : top + side, left : left + side]
    elif fit == "pad":
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        frame = np.pad(frame, ((top, side - height - top), (left, side - width - left), (0, 0)))
    planes = [
        Image.fromarray(np.ascontiguousarray(frame[..., c])).resize((size, size), Image.Resampling.BILINEAR)
        for c in range(frame.shape[-1])
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


# --------------------------------------------------------------------------------------------------------------- out


def to_bytes(frames: torch.Tensor) -> np.ndarray:
    """Frames as uint8 on the CPU: float in [0, 1] is scaled and rounded, uint8 stays."""
    if frames.dtype != torch.uint8:
        frames = (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return frames.cpu().numpy()


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """Writes one picture (H, W, 3) uint8."""
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary)
    return path


def write_gif(path: Path, frames: Iterable[np.ndarray], fps: float) -> Path:
    """Writes frames (H, W, 3) uint8 as an endless GIF that rests a second on its last frame."""
    frames = np.stack(list(frames))
    durations = [1000 / fps] * (len(frames) - 1) + [1000]
    with replacing(path) as temporary:
        iio.imwrite(temporary, frames, extension=".gif", plugin="pillow", duration=durations, loop=0)
    return path


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> Path:
    """Writes frames (H, W, 3) uint8 as H.264 that browsers play (even sides, yuv420p)."""
    from fractions import Fraction

    import av

    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = None
        for frame in frames:
            frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            if stream is None:
                rate = Fraction(fps).limit_denominator(1000)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "threads": "2"})
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuv420p"
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
