"""A clip from whatever a person has: a video, a folder of frames, an array; and in the size that a model wants."""

import io
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from stochvid.errors import InputError
from stochvid.io.arrays import CLIP_AXES, ONE_CLIP, ArrayFile
from stochvid.io.frames import as_frames, is_frames
from stochvid.io.times import Pace, Timed
from stochvid.io.video import probe_video, timed_video
from stochvid.untrusted import check_frame

Fit = Literal["squash", "crop", "pad"]

ARRAY_SUFFIXES = {".npy", ".npz"}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
MOST_IMAGE_BYTES = 400 << 20  # of a file: the most pixels, of 16 bits and 4 channels
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}


@dataclass
class Clip:
    """A piece of video.

    Attributes:
        name: for files and titles.
        frames: (T, H, W, C) uint8.
        fps: frames per second, None where the source does not say.
        bounces: (T,) bool where it is known when something unpredictable happens, else None.
        times: (T,) float64, when each frame is shown, in seconds since the first of the source; None: not known.
    """

    name: str
    frames: np.ndarray
    fps: float | None = None
    bounces: np.ndarray | None = None
    times: np.ndarray | None = None

    @property
    def varies(self) -> bool:
        """Whether its frames are known not to follow each other at a constant rate."""
        pace = Pace()
        for time in [] if self.times is None else self.times.tolist():
            pace.add(time)
        return pace.varies

    def __str__(self) -> str:
        count, height, width, channels = self.frames.shape
        rate = ", variable frame rate" if self.varies else f", {self.fps:g} fps" if self.fps else ""
        return f"{count} frames of {width}×{height} {COLOURS.get(channels, f'{channels} channels')}{rate}"


def read_clip(source: str | Path | np.ndarray, limit: int | None = None, fps: float | None = None) -> Clip:
    """Reads a video, a GIF, a folder of frames, or a `.npy`/`.npz` array.

    Arrays are (T, H, W), (T, H, W, C) or (T, C, H, W), uint8, bool, or float in [0, 1]; in an `.npz` the array is the
    only one, or is called `frames`, `clip` or `video`. Frames of a folder are taken in natural order.

    Args:
        source: the path; or the frames themselves, as such an array.
        limit: read no more than so many frames (from the start).
        fps: take the frames of a video at this constant rate; None: as they come.

    Returns:
        The clip, with at least one frame.

    Raises:
        InputError: the source is missing, broken, empty, or of no such kind.
    """
    if is_frames(source):
        return Clip("frames", as_frames(source)[:limit], fps)
    name, timed, rate = open_clip(source, fps)
    frames = list(islice(timed, limit))
    if not frames:
        raise InputError(f"clip {str(source)!r} has no frames.")
    clip = Clip(name, np.stack(frames), rate, times=timed.seconds)
    if clip.varies:
        logging.getLogger(__name__).warning("clip %r %s.", str(source), timed.pace.advice.replace("--fps ", "fps="))
    return clip


def open_clip(source: str | Path, fps: float | None = None) -> tuple[str, Timed, float | None]:
    """As `read_clip`, frame by frame: name, frames (H, W, C) uint8 each, and their rate."""
    path = Path(source)
    if not path.exists():
        raise InputError(
            f"clip {str(source)!r} does not exist. Give a video, a folder of frames, .npy, .npz, STORE:NUMBER or "
            "moving-mnist:SEED."
        )
    if path.is_dir():
        return path.resolve().name or "frames", Timed.unknown(read_images(frame_paths(path), path)), None
    if not path.is_file():
        raise InputError(f"clip {str(source)!r} is not a regular file. Give a video, a folder of frames, .npy or .npz.")
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return _stem(path), Timed.unknown(_one_clip(path)), None
    info = probe_video(path)
    return _stem(path), timed_video(path, fps, info), fps or info.fps


def _stem(path: Path) -> str:
    """A file's name without its suffix, unless that leads elsewhere: of `...npy`, it would be the folder above."""
    return path.name if path.stem in (".", "..") else path.stem


def frame_paths(folder: Path) -> list[Path]:
    """The images of a folder, in natural order (2 before 10)."""
    images = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted((path for path in images if path.is_file() and not path.name.startswith(".")), key=natural)


def natural(path: Path | str) -> list:
    """A key that sorts names with numbers in them as people count."""
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", str(path))]


def read_images(paths: Iterable[Path], folder: Path) -> Iterator[np.ndarray]:
    """The frames of a folder, (H, W, C) uint8 each.

    Raises:
        InputError: there is none, one is no image, or they are not alike.
    """
    first = None
    for path in paths:
        try:
            with open_image(path) as image:
                pixels = _image_pixels(image)
        except InputError:
            raise
        except Exception as error:  # so do Pillow's
            raise InputError(f"frame {str(path)!r} cannot be read as an image: {error}.") from None
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        first = first or (path.name, pixels.shape)
        if pixels.shape != first[1]:
            (h0, w0, c0), (h, w, c) = first[1], pixels.shape
            raise InputError(
                f"frames of one clip must be alike: {first[0]!r} is {w0}×{h0} {COLOURS[c0]}, "
                f"{str(path)!r} is {w}×{h} {COLOURS[c]}."
            )
        yield pixels
    if first is None:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        others = [
            path.name for path in folder.iterdir() if path.suffix.lower() in (*ARRAY_SUFFIXES, ".mp4", ".avi", ".mov")
        ]
        fix = f" It holds {len(others)} video(s) or array(s): name them, as {folder / others[0]}." if others else ""
        raise InputError(f"clip folder {str(folder)!r} has no frames. It must hold images ({known}).{fix}")


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """An image whose pixels have not been read yet; raises nearly anything where there is none.

    Raises:
        InputError: it is too large.
    """
    size = path.stat().st_size
    if size > MOST_IMAGE_BYTES:
        raise InputError(f"frame {str(path)!r} has {size:,} bytes; at most {MOST_IMAGE_BYTES:,} are read.")
    # what is inside decides on the format, whatever the name says: for some, Pillow would start other programs; and it
    # takes memory for whatever length a file claims, unless the file is in memory
    with Image.open(io.BytesIO(path.read_bytes()), formats=IMAGE_FORMATS) as image:
        check_frame(f"frame {str(path)!r}", *image.size)
        yield image


def fit_frame(frame: np.ndarray, size: int, channels: int, fit: Fit = "squash") -> np.ndarray:
    """One frame as a model wants it.

    Args:
        frame: (H, W, C) uint8.
        size: height and width to make.
        channels: to make: those that it has, or 1 or 3 of a grey, RGB or RGBA frame.
        fit: squash the whole picture, crop its middle square, or pad it to a square with black.

    Returns:
        (C, size, size) uint8.

    Raises:
        InputError: the channels cannot be converted.
    """
    had = frame.shape[-1]
    if had != channels and (channels not in (1, 3) or had not in COLOURS):
        raise InputError(
            f"frames of {had} channel(s) cannot be converted to the {channels} channels of the model. Use other clips."
        )
    if fit == "pad":
        frame = _padded(frame)
    if channels in (1, 3):
        image = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
        mode = "L" if channels == 1 else "RGB"
        planes = [image if image.mode == mode else image.convert(mode)]
    else:
        planes = [Image.fromarray(np.ascontiguousarray(frame[..., c])) for c in range(channels)]
    if frame.shape[:2] != (size, size):
        planes = [_resize(plane, size, fit) for plane in planes]
    pixels = [np.asarray(plane).reshape(size, size, -1).transpose(2, 0, 1) for plane in planes]
    return np.ascontiguousarray(pixels[0] if len(pixels) == 1 else np.concatenate(pixels))


def fit_frames(clip: Clip | np.ndarray, size: int, channels: int, fit: Fit = "squash") -> np.ndarray:
    """All frames of a clip as a model wants them.

    Args:
        clip: as `read_clip` gives it; or its frames, (T, H, W) or (T, H, W, C), uint8, bool, or float in [0, 1].
        size: height and width to make.
        channels: to make: those that it has, or 1 or 3 of a grey, RGB or RGBA clip.
        fit: squash the whole picture, crop its middle square, or pad it to a square with black.

    Returns:
        (T, C, size, size) uint8.

    Raises:
        InputError: the channels cannot be converted, or the frames are none.
    """
    frames = clip.frames if isinstance(clip, Clip) else as_frames(clip)
    return np.stack([fit_frame(frame, size, channels, fit) for frame in frames])


def _one_clip(path: Path) -> Iterator[np.ndarray]:
    array = ArrayFile(path)
    if array.axes not in CLIP_AXES:
        shape = tuple(array.shape["NTHWC".index(axis)] for axis in array.axes)
        raise InputError(f"clip {str(path)!r} has shape {shape}; expected {ONE_CLIP}.")
    return array.frames(0)


def _image_pixels(image: Image.Image) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8; 16-bit grey keeps its upper byte."""
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("its values are outside 0 … 65535")
        return (deep >> 8).astype(np.uint8)
    if image.mode == "F":
        raise ValueError("it holds floats; save 8-bit or 16-bit grey, or a .npy array in [0, 1]")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        shown = image.convert("RGBA")  # what is transparent is black, whatever colour it hides
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), shown).convert("RGB")
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _padded(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(frame, ((top, side - height - top), (left, side - width - left), (0, 0)))


def _resize(plane: Image.Image, size: int, fit: Fit) -> Image.Image:
    if fit == "crop":
        side = min(plane.size)
        left, top = (plane.width - side) // 2, (plane.height - side) // 2
        plane = plane.crop((left, top, left + side, top + side))
    # far larger frames are first averaged down to three times the size: three times as fast, and alike to the eye
    return plane.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
