"""Handwritten digits to move about: the ones that ship inside scikit-learn, or MNIST from its IDX files."""

import gzip
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from stochvid.core.errors import InputError

Split = Literal["train", "test"]

MNIST_FILES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
IDX_IMAGES = 0x0803  # magic: unsigned bytes, three axes
SIDE = 28
MOST_BYTES = 768 << 20  # a broken header shall not ask for all memory; the largest relative of MNIST has 547 million
BOX, PEN, FINE = 18, 3.4, 10  # a drawn digit: its size and its lines, in pixels; how much finer it is drawn
BUILTIN_TRAIN = 1_500  # of scikit-learn's 1,797 digits; the others are for testing


def load_digits(
    source: Literal["builtin", "mnist", "both"], split: Split, mnist: str | Path | None = None
) -> np.ndarray:
    """The digits of one split, white on black.

    Args:
        source: builtin, mnist, or both: MNIST, then the built-in ones, over and over until there are as many.
        split: train or test; the two share no digit.
        mnist: folder of the MNIST files, needed unless `source` is builtin.

    Returns:
        (N, 28, 28) uint8.

    Raises:
        InputError: the folder or a file is missing or broken.
    """
    if source == "builtin":
        return _builtin(split)
    digits = _mnist(mnist, split)
    if source == "both":
        small = _builtin(split)
        repeats = max(1, round(len(digits) / len(small)))  # else one digit in forty would be a built-in one
        digits = np.concatenate([digits, np.tile(small, (repeats, 1, 1))])
    return digits


def resize_digits(digits: np.ndarray, size: int) -> np.ndarray:
    """Digits (N, h, w) uint8 → (N, size, size) uint8, bilinear (the same digits where they have that size)."""
    if digits.shape[1:] == (size, size):
        return digits
    resized = [Image.fromarray(digit).resize((size, size), Image.Resampling.BILINEAR) for digit in digits]
    return np.stack([np.asarray(image) for image in resized])


def digit_from_strokes(strokes: Sequence[Sequence[tuple[float, float]]]) -> np.ndarray:
    """A digit as a pen drew it, as large and as thick as those of MNIST, in the middle of its box.

    Args:
        strokes: lines of points (x, y) in any unit, y downwards; at least one point in all.

    Returns:
        (28, 28) uint8, white on black.
    """
    points = np.concatenate([np.asarray(stroke, dtype=np.float64) for stroke in strokes])
    low, high = points.min(axis=0), points.max(axis=0)
    scale = BOX / max(*(high - low), 1e-6) if len(points) > 1 else 1.0
    large = SIDE * FINE
    image = Image.new("L", (large, large))
    draw, pen = ImageDraw.Draw(image), FINE * PEN / 2
    for stroke in strokes:
        ends = ((np.asarray(stroke) - (low + high) / 2) * scale + SIDE / 2) * FINE
        draw.line([tuple(end) for end in ends], fill=255, width=round(2 * pen))
        for x, y in ends:  # round joints and ends
            draw.ellipse((x - pen, y - pen, x + pen, y + pen), fill=255)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


def read_idx_images(path: str | Path) -> np.ndarray:
    """Reads an IDX file of images, plain or gzipped: (N, h, w) uint8.

    Raises:
        InputError: the file is no IDX file of byte images, or is shorter or longer than its header says.
    """
    path = Path(path)
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            magic, *shape = np.frombuffer(file.read(16).ljust(16, b"\0"), dtype=">u4").tolist()
            if magic != IDX_IMAGES:
                raise InputError(
                    f"{str(path)!r} is not an IDX file of images: its magic number is {magic:#010x}, "
                    f"expected {IDX_IMAGES:#010x}."
                )
            expected = math.prod(shape)
            if expected > MOST_BYTES:
                raise InputError(
                    f"{str(path)!r} claims {shape[0]:,} images of {shape[2]:,}×{shape[1]:,}; at most {MOST_BYTES:,} "
                    "bytes are read. Get the file again."
                )
            pixels = file.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}. Get the file again.") from None
    if len(pixels) != expected:
        got = f"only {len(pixels):,}" if len(pixels) < expected else "more"
        raise InputError(f"{str(path)!r} should hold {expected:,} bytes of images, got {got}. Get the file again.")
    return np.frombuffer(pixels, dtype=np.uint8).reshape(shape)


def is_mnist(folder: str | Path) -> bool:
    """Whether a folder has files of MNIST, as far as their names tell."""
    names = [name + end for name in MNIST_FILES.values() for end in ("", ".gz")]
    return any(os.path.isfile(os.path.join(folder, name)) for name in names)


def _mnist(folder: str | Path | None, split: Split) -> np.ndarray:
    if folder is None:
        raise InputError(
            "MNIST digits need the folder of its IDX files: --mnist PATH (in train, --data.mnist PATH). Without one, "
            "take the built-in digits (builtin)."
        )
    name = MNIST_FILES[split]
    for path in (Path(folder) / name, Path(folder) / f"{name}.gz"):
        if path.is_file():
            images = read_idx_images(path)
            if images.shape[1:] != (SIDE, SIDE) or len(images) == 0:
                raise InputError(f"{str(path)!r} should hold 28×28 digits, got an array of shape {images.shape}.")
            return images
    raise InputError(
        f"MNIST folder {str(folder)!r} has no {name} (or {name}.gz). Give the folder of MNIST's IDX files, "
        "or use the built-in digits (digits builtin)."
    )


def _builtin(split: Split) -> np.ndarray:
    from sklearn.datasets import load_digits as load_sklearn_digits

    small = load_sklearn_digits().images  # (1797, 8, 8) in 0 … 16
    small = small[:BUILTIN_TRAIN] if split == "train" else small[BUILTIN_TRAIN:]
    digits = np.zeros((len(small), SIDE, SIDE), dtype=np.uint8)
    for digit, pixels in zip(digits, small, strict=True):
        image = Image.fromarray(pixels.astype(np.float32)).resize((20, 20), Image.Resampling.BICUBIC)
        # a stretch of the middle of the range turns the blur of the enlargement back into strokes
        stroke = np.clip((np.asarray(image) - 4.0) / 7.0, 0, 1)
        digit[4:24, 4:24] = np.round(255 * stroke)  # a 20×20 box in the middle, as in MNIST
    return digits
