"""What visitors give the page as a clip: a seed, a file or a drawing, under limits that keep any file little work.

Everything in a file is checked by its header before it is decoded, and read no further than it is used.
"""

import math
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.app.limits import MIB, UPLOAD_BYTES
from stochvid.app.studio import Studio
from stochvid.config import MOVING_MNIST
from stochvid.core.errors import InputError
from stochvid.core.untrusted import check_directory
from stochvid.data.digits import digit_from_strokes
from stochvid.inference.sources import ClipSource, made_source, stored_source
from stochvid.media.arrays import ARRAY_SUFFIXES, ArrayFile
from stochvid.media.clip import fit_frame, open_clip
from stochvid.media.containers import VIDEO_SUFFIXES
from stochvid.media.times import Timed
from stochvid.media.values import Limits
from stochvid.media.video import probe_video

ARRAY_BYTES = 256 * MIB  # that a compressed array may unfold into
PIXELS = 3840 * 2160  # of a frame
SECONDS = 600  # of a video
READ_SECONDS = 30  # how long reading a file may take
POINTS = 5000  # of a drawing
SUFFIXES = sorted(VIDEO_SUFFIXES | ARRAY_SUFFIXES)
MOST_SEED = 2**31 - 1

DIGITS, UPLOAD, DRAWING = "Digits", "Your clip", "Drawing"  # in place of digits, held-out clips of a model's store
KINDS = (DIGITS, UPLOAD, DRAWING)


def choose_clip(studio: Studio, kind: str, seed: Any, upload: str | None, strokes: Any, length: int) -> ClipSource:
    """Opens the clip that a visitor has chosen.

    Args:
        studio: the model that it is for.
        kind: one of `KINDS`.
        seed: of the digits' motion; or number of a held-out clip, from 0 again after the last.
        upload: path of an uploaded file.
        strokes: of a drawing, lines of points (x, y) in 0 … 1.
        length: frames to make, where they are made.

    Raises:
        InputError: nothing was given, or it is not what it should be.
    """
    if kind == UPLOAD:
        if not upload:
            raise InputError(
                f"No file was given. Choose a video, a GIF, .npy or .npz of at most {UPLOAD_BYTES // MIB} MB."
            )
        how = studio.preprocessing
        source = open_upload(Path(upload), how["fps"], how["range"])
        return source.every(how["stride"]) if None in (how["fps"], source.fps) else source
    try:
        return _own_clip(studio, kind, seed, strokes, length)
    except InputError as error:
        raise InputError(studio.without_paths(str(error))) from error.__cause__


def _own_clip(studio: Studio, kind: str, seed: Any, strokes: Any, length: int) -> ClipSource:
    """A clip of the model's store, of digits or of a drawing; see `choose_clip`."""
    seed = whole_number("number of the clip" if studio.held_out else "seed of the motion", seed, 0, MOST_SEED)
    if kind == DIGITS and studio.held_out and studio.store:
        number = seed % studio.held_out
        return stored_source(studio.store, number, studio.least_context, length, studio.preprocessing["stride"])
    if kind == DIGITS:
        return made_source(f"{MOVING_MNIST}-{seed}", seed, studio.folder, studio.network.config, length)
    if kind == DRAWING:
        digit = digit_from_strokes(checked_strokes(strokes))
        return made_source(f"drawing-{seed}", seed, studio.folder, studio.network.config, length, digit[None])
    raise InputError(f"There is no clip of the kind {kind!r:.40}. Choose one of: {', '.join(KINDS)}.")


def read_frames(source: ClipSource, studio: Studio, most: int) -> Iterator[np.ndarray]:
    """The first frames of a clip, (C, H, W) uint8 each, as the model takes them.

    Raises:
        InputError: they cannot be read, or only in too long a time.
    """
    began, config = time.monotonic(), studio.network.config
    for number, frame in zip(range(most), source.frames, strict=False):
        yield fit_frame(frame, config.image_size, config.channels, studio.fit)
        if time.monotonic() - began > READ_SECONDS:
            raise InputError(
                f"Reading {source.name!r} takes too long: {number + 1} of {most} frames in {READ_SECONDS} seconds. "
                "Give a shorter or smaller clip."
            )


def open_upload(path: Path, fps: float | None, trained: Limits | None = None) -> ClipSource:
    """Opens an uploaded file after a look at its header.

    Args:
        path: where it lies; messages call it by its name alone.
        fps: take the frames of a video at this rate; None: as they come.
        trained: the range of the model's training, for arrays that are not uint8.

    Raises:
        InputError: it is of no known kind, broken, or beyond the limits.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path.name!r} cannot be read here. Give one of: {', '.join(SUFFIXES)}.")
    if (size := path.stat().st_size) > UPLOAD_BYTES:
        raise InputError(f"{path.name!r} has {size:,} bytes; the limit is {UPLOAD_BYTES // MIB} MB.")
    try:
        if path.suffix.lower() in ARRAY_SUFFIXES:
            _check_array(path, trained is not None)
        else:
            _check_video(path)
        name, frames, rate = open_clip(path, fps, trained=trained)
    except InputError as error:
        raise _called(error, path) from None
    return ClipSource(name, Timed(_pairs(frames, path), frames.pace), rate)


def _pairs(frames: Timed, path: Path) -> Iterator[tuple[np.ndarray, float | None]]:
    try:
        yield from frames.pairs
    except InputError as error:
        raise _called(error, path) from None


def _called(error: InputError, path: Path) -> InputError:
    """The same error without the folders of this machine."""
    return InputError(str(error).replace(str(path), path.name))


def _check_video(path: Path) -> None:
    info = probe_video(path)
    _check_pixels(path, info.width, info.height)
    seconds = info.frames / info.fps if info.fps else 0
    if seconds > SECONDS:
        raise InputError(
            f"clip {path.name!r} lasts {seconds / 60:,.0f} minutes; at most {SECONDS // 60} can be taken. Cut out the "
            "part that matters: its first frames are what is used."
        )


def _check_array(path: Path, scaled: bool) -> None:
    if path.suffix.lower() == ".npz":
        try:
            check_directory(path)
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise InputError(f"clip {path.name!r} is not a whole .npz file: {error}.") from None
        if size > ARRAY_BYTES:  # no reader of a member goes beyond the size that the archive states
            raise InputError(
                f"clip {path.name!r} unpacks to {size / MIB:,.0f} MB; at most {ARRAY_BYTES // MIB} MB can be taken."
            )
    _, _, height, width, _ = ArrayFile(path, scaled=scaled).shape
    _check_pixels(path, width, height)


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > PIXELS:
        raise InputError(f"clip {path.name!r} has frames of {width}×{height}; at most 3840×2160 can be taken.")


def checked_strokes(strokes: Any) -> list[list[tuple[float, float]]]:
    """The lines of a drawing, as they come from a browser.

    Raises:
        InputError: they are no lines of points in 0 … 1, too many, or none.
    """
    wrong = InputError("A drawing must be a list of lines, each a list of points [x, y] from 0 to 1.")
    if not strokes:
        raise InputError("Nothing is drawn yet. Draw a digit in the box first.")
    if not isinstance(strokes, list) or not all(isinstance(stroke, list) for stroke in strokes):
        raise wrong
    if sum(map(len, strokes)) > POINTS:
        raise InputError(f"The drawing has more than {POINTS:,} points. Clear it, and draw a simpler one.")
    try:
        lines = [[(float(x), float(y)) for x, y in stroke] for stroke in strokes if stroke]
    except (TypeError, ValueError):
        raise wrong from None
    if not lines or not all(0 <= value <= 1 for line in lines for point in line for value in point):
        raise wrong
    return lines


def whole_number(name: str, value: Any, least: int, most: int) -> int:
    """A whole number that a visitor gave.

    Raises:
        InputError: it is none, or out of range.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not (least <= number <= most and number == int(number)):
        raise InputError(f"The {name} must be a whole number from {least} to {most:,}, got {value!r:.40}.")
    return int(number)


def number_within(name: str, value: Any, least: float, most: float) -> float:
    """A number that a visitor gave; errors as `whole_number`."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not least <= number <= most:
        raise InputError(f"The {name} must be from {least:g} to {most:g}, got {value!r:.40}.")
    return float(number)
