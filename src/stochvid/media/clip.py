"""A clip from whatever a person has: a video, a folder of frames, an array; and in the size that a model wants."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from stochvid.core.errors import InputError
from stochvid.media.archives import unpack_command
from stochvid.media.arrays import (
    ARRAY_SUFFIXES,
    HDF5_SUFFIXES,
    ONE_CLIP,
    ArrayFile,
    ArrayFrames,
    are_frames,
    array_paths,
    open_array,
)
from stochvid.media.axes import check_axes
from stochvid.media.frames import as_frames, is_frames
from stochvid.media.images import COLOURS, IMAGE_SUFFIXES
from stochvid.media.order import negative_names
from stochvid.media.sequences import Pictures, frame_paths
from stochvid.media.times import Pace, Timed
from stochvid.media.values import Limits, Range, check_range
from stochvid.media.video import probe_video, timed_video

Fit = Literal["squash", "crop", "pad"]

KEYED = {".npz", *HDF5_SUFFIXES}  # files with arrays that have names


@dataclass
class Clip:
    """A piece of video.

    Attributes:
        name: for files and titles.
        frames: (T, H, W, C) uint8.
        fps: frames per second, None where the source does not say.
        tracks: what else is known of every frame, by name, (T, …): see `core/clips.py`.
        times: (T,) float64, when each frame is shown, in seconds since the first of the source; None: not known.
    """

    name: str
    frames: np.ndarray
    fps: float | None = None
    tracks: dict[str, np.ndarray] = field(default_factory=dict)
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


def read_clip(
    source: str | Path | np.ndarray,
    limit: int | None = None,
    fps: float | None = None,
    range: Range = None,
    axes: str | None = None,
) -> Clip:
    """Reads a video, a GIF, a stack of pictures, a folder of frames, or an array.

    Arrays are `.npy`, `.npz` or HDF5: (T, H, W), (T, H, W, C), (T, C, H, W) or (C, T, H, W), uint8, bool, or float in
    [0, 1]; where a file has several, the array is called `frames`, `clip` or `video`, or is named by `FILE:NAME`.
    Frames of a folder are taken in natural order. The pages of a TIFF, and of an animated WebP or PNG, are a clip.

    Args:
        source: the path; or the frames themselves, as such an array.
        limit: read no more than so many frames (from the start).
        fps: take the frames of a video or an animation at this constant rate; None: as they come.
        range: the values of arrays and images that become black and white, others in proportion; auto: the least and
            the largest of the clip; None: images by their number of bits, arrays as they are.
        axes: order of an array's axes, letters of T, H, W and C; None: recognised.

    Returns:
        The clip, with at least one frame.

    Raises:
        InputError: the source is missing, broken, empty, or of no such kind; or its values need a range.
    """
    if is_frames(source):
        return Clip("frames", as_frames(source, range, axes)[:limit], fps)
    assert not isinstance(source, np.ndarray)
    name, timed, rate = open_clip(source, fps, range, axes)
    frames = list(islice(timed, limit))
    if not frames:
        raise InputError(f"clip {str(source)!r} has no frames.")
    clip = Clip(name, np.stack(frames), rate, times=timed.seconds)
    if clip.varies:
        logging.getLogger(__name__).warning("clip %r %s.", str(source), timed.pace.advice.replace("--fps ", "fps="))
    return clip


def open_clip(
    source: str | Path,
    fps: float | None = None,
    range: Range = None,
    axes: str | None = None,
    trained: Limits | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> tuple[str, Timed, float | None]:
    """As `read_clip`, frame by frame: name, frames (H, W, C) uint8 each, and their rate.

    Args:
        source: the path.
        fps: see `read_clip`.
        range: likewise.
        axes: likewise.
        trained: the range of a model's training, for values of more than 8 bits where `range` is None.
        note: called with what a person should know.
    """
    path, key = _path_and_key(source)
    range, axes = check_range(range), check_axes(axes)
    files = _frame_files(path)
    if files is None and path.suffix.lower() not in ARRAY_SUFFIXES | HDF5_SUFFIXES:
        if range is not None or axes is not None:
            option = "--range" if range is not None else "--axes"
            raise InputError(
                f"{option} is for {'arrays and images' if range else 'arrays'}; {str(source)!r} is a video."
            )
        info = probe_video(path)
        return _stem(path), timed_video(path, fps, info), fps or info.fps
    if files and files[0].suffix.lower() in IMAGE_SUFFIXES:
        if axes is not None:
            raise InputError(f"--axes is for arrays; {str(source)!r} holds images.")
        held: Pictures | ArrayFile | ArrayFrames = Pictures(files)
    else:
        held = _one_clip(path, files, axes, key, range is not None or trained is not None)
    if files and (minus := negative_names([file.name for file in files])):
        note(f"{source}: names as {minus[0]!r} are taken for negative numbers; the first frame is {files[0].name!r}")
    limits = _limits(held, range, trained, lambda text: note(f"{source}: {text}"))
    name = path.resolve().name or "frames" if path.is_dir() else _stem(path)
    if isinstance(held, Pictures) and held.times is not None:
        return name, held.at(fps, limits), fps or held.fps
    return name, Timed.unknown(held.frames(limits=limits)), None


def _path_and_key(source: str | Path) -> tuple[Path, str | None]:
    """A clip's path, and the name of an array in it where it is given as FILE:NAME.

    Raises:
        InputError: there is no such file.
    """
    path, key = Path(source), None
    if not path.exists():
        file, _, name = str(source).partition(":")
        while name and Path(file).suffix.lower() not in KEYED:
            more, _, name = name.partition(":")
            file = f"{file}:{more}"
        if not (name and Path(file).is_file()):
            raise InputError(
                f"clip {str(source)!r} does not exist. Give a video, a folder of frames, a stack, .npy, .npz, .h5, "
                "STORE:NUMBER or moving-mnist:SEED."
            )
        path, key = Path(file), name
    if path.is_dir():
        return path, None
    if not path.is_file():
        raise InputError(f"clip {str(source)!r} is not a regular file. Give a video, a folder of frames, .npy or .npz.")
    if command := unpack_command(path):
        raise InputError(f"clip {str(source)!r} is an archive. Unpack it first: {command}")
    return path, key


def _frame_files(path: Path) -> list[Path] | None:
    """The files with the frames of a clip: pictures, or one with several, or arrays; None: it is no such clip.

    Raises:
        InputError: a folder has none.
    """
    if path.is_file():
        return [path] if path.suffix.lower() in IMAGE_SUFFIXES else None
    if files := frame_paths(path) or array_paths(path):
        return files
    others = Counter(entry.suffix.lower() or entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    held = ", ".join(f"{count} {kind!r}" for kind, count in others.most_common(4))
    raise InputError(
        f"clip folder {str(path)!r} has no frames. It must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}) or an "
        f"array for each frame.{f' It holds {held}: name a file, if it is a clip.' if held else ''}"
    )


def _one_clip(
    path: Path, files: list[Path] | None, axes: str | None, key: str | None, scaled: bool
) -> ArrayFile | ArrayFrames:
    """The array, or the arrays of a folder, that are one clip."""
    if files is not None:
        if are_frames(files, axes, key):
            return ArrayFrames(files, axes, key, scaled)
        raise InputError(
            f"clip folder {str(path)!r} has no frames: it holds {len(files)} array(s) that are no frames. Name one, as "
            f"{files[0]}."
        )
    array = open_array(path, axes, key, scaled)
    array.check_clip()
    if array.shape[0] != 1:
        shape = tuple(array.shape["NTHWC".index(axis)] for axis in array.axes)
        raise InputError(
            f"clip {str(path)!r} has shape {shape}; expected {ONE_CLIP}. As {array.axes} it holds {array.shape[0]:,} "
            "clips: say what the axes are with --axes, or prepare it and name STORE:NUMBER."
        )
    return array


def _limits(
    held: Pictures | ArrayFile | ArrayFrames, range: Range, trained: Limits | None, note: Callable[[str], None]
) -> Limits | None:
    """The values that become black and white; None: as they are."""
    if range == "auto":
        limits = held.limits()
        assert limits is not None, held  # it has frames
        note(f"values {limits[0]:,.6g} to {limits[1]:,.6g} become black to white")
        return limits
    if range is not None or trained is None:
        return range
    told = f"{trained[0]:,.6g} to {trained[1]:,.6g}"
    if held.deep:
        note(f"values {told} become black to white, as in training (--range changes it)")
        return trained
    note(
        f"the model was trained on values {told} from black to white; these have 8 bits and stay as they are (--range)"
    )
    return None


def _stem(path: Path) -> str:
    """A file's name without its suffix, unless that leads elsewhere: of `...npy`, it would be the folder above."""
    return path.name if path.stem in (".", "..") else path.stem


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
