"""Images in files: one of them, or several pages of TIFF, WebP or PNG.

What a picture says about itself is honoured: the orientation of its EXIF data, what is transparent (shown over black),
and how many bits a value has.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from stochvid.core.errors import InputError
from stochvid.core.untrusted import check_frame
from stochvid.media.pages import check_pages
from stochvid.media.tiff import cut_out, tiff_pages

IMAGE_SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pnm",
}  # fmt: skip
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
STACKS = ("PNG", "WEBP", "TIFF")  # formats whose further pictures are frames; those in a JPEG are previews
MOST_IMAGE_BYTES = 400 << 20  # of a picture: the most pixels, of 16 bits and 4 channels; TIFF is read page by page
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}
DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # modes of more than 8 bits
GREY = ("1", "L", "LA", "La", *DEEP)
ORIENTATION, BITS, PHOTOMETRIC, DESCRIPTION, SAMPLE = 274, 258, 262, 270, 339  # tags of TIFF and EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What the header of a picture says.

    Attributes:
        size: (width, height), upright.
        grey: whether it has no colour.
        full: the value that is white; 0: nothing says.
        pages: how many pictures the file has.
    """

    size: tuple[int, int]
    grey: bool
    full: int
    pages: int


class _Bounded(io.BufferedReader):
    """A file that is asked for no more than it has: Pillow asks for whatever length a file claims, in advance."""

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path))
        self.size = path.stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        left = max(self.size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


@contextmanager
def open_image(path: Path) -> Iterator[ImageFile]:
    """An image whose pixels have not been read yet, of a TIFF the first page; raises nearly anything if there is none.

    Raises:
        InputError: it is too large.
    """
    with _Bounded(path) as file:
        if file.peek(2)[:2] in (b"II", b"MM"):
            places = [page.place for page in islice((p for p in tiff_pages(file, path) if p.shown), 1)]
            with _tiff_page(file, path, places[0]) if places else _opened(file, path) as image:
                yield image
            return
        if file.size > MOST_IMAGE_BYTES:
            raise InputError(f"frame {str(path)!r} has {file.size:,} bytes; at most {MOST_IMAGE_BYTES:,} are read.")
        with _opened(file, path) as image:
            yield image


def open_pages(path: Path, count: int, step: int = 1) -> Iterator[ImageFile]:
    """Every so many-th of the pages of a file, one after another, each to be used before the next is taken.

    Args:
        path: of the file.
        count: how many pages it has, without previews and masks.
        step: of those that are wanted.

    Raises:
        InputError: a page is too large, or not there.
    """
    with _Bounded(path) as file:
        if file.peek(2)[:2] in (b"II", b"MM"):
            places = [page.place for page in tiff_pages(file, path) if page.shown]
            for place in places[::step]:
                with _tiff_page(file, path, place) as image:
                    yield image
            return
    with open_image(path) as image:
        hidden = 1 if getattr(image, "default_image", False) else 0  # of APNG: for those who know no animation
        for number in range(0, count, step):
            image.seek(hidden + number)
            check_frame(f"frame {str(path)!r}", *image.size)
            yield image


def image_of(file: io.BytesIO, path: Path) -> np.ndarray:
    """The values (as `image_values`) of a picture in memory, no TIFF; raises nearly anything if there is none.

    Args:
        file: its bytes.
        path: where they are from, for messages.
    """
    if file.getbuffer()[:2] in (b"II", b"MM"):
        raise InputError(f"{str(path)!r} has pictures in TIFF. PNG, JPEG and WebP are read.")
    with _opened(file, path) as image:
        return image_values(image)


@contextmanager
def _tiff_page(file: BinaryIO, path: Path, place: int) -> Iterator[ImageFile]:
    with _opened(io.BytesIO(cut_out(file, place, MOST_IMAGE_BYTES)), path) as image:
        yield image


@contextmanager
def _opened(file: BinaryIO, path: Path) -> Iterator[ImageFile]:
    # what is inside decides on the format, whatever the name says: for some, Pillow would start other programs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged EXIF data, which is no part of the picture
        image = Image.open(file, formats=IMAGE_FORMATS)
    with image:
        check_frame(f"frame {str(path)!r}", *image.size)
        yield image


def is_stack(path: Path) -> bool:
    """Whether an image file has several pages; what is wrong with it is said when it is read."""
    try:
        return read_header(path).pages > 1
    except InputError:
        return False


def read_header(path: Path) -> Header:
    """The header of an image file.

    Raises:
        InputError: it is none, or has no end of pages.
    """
    with as_input_error(path), open_image(path) as image:
        pages = 1
        if image.format in STACKS:
            pages = check_pages(path, getattr(image, "tag_v2", {}).get(DESCRIPTION), image.size)
        full = _full(image)
        # of TIFF, Pillow has seen to it; of PNG without EXIF data before the pixels, it would decode them to look on
        says = image.format == "JPEG" or "exif" in image.info
        turned = says and image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
        return Header(image.size[::-1] if turned else image.size, image.mode in GREY, full, pages)


def image_values(image: ImageFile) -> np.ndarray:
    """The values of an image, upright: (H, W) or (H, W, 3) uint8, or (H, W) of another type where it is deeper."""
    image.load()
    turn = TURNS.get(_orientation(image))
    upright = image.transpose(turn) if turn is not None else image
    tags = getattr(image, "tag_v2", {})
    if image.mode in DEEP:
        values = np.asarray(upright)
        if tags and _first(tags.get(SAMPLE, 1)) == 1 and values.dtype == np.int32:
            values = values.view(np.uint32)
        if tags.get(PHOTOMETRIC) == 0:  # 0 is white; of 8 bits, Pillow turns it round
            values = _full(image) - values.astype(np.int64)
        key = image.info.get("transparency")
        return np.where(values == key, 0, values) if isinstance(key, int) else values
    if image.mode == "L" and _first(tags.get(SAMPLE)) == 2:
        return np.asarray(upright).view(np.int8)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        shown = upright.convert("RGBA")  # what is transparent is black, whatever colour it hides
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, (0, 0, 0, 255)), shown)
    return np.asarray(upright.convert("L" if image.mode in GREY else "RGB"))


def _full(image: ImageFile) -> int:
    """The value that is white; 0: nothing says."""
    bits = _first(getattr(image, "tag_v2", {}).get(BITS))
    if image.mode == "F":
        return 0
    if image.mode in DEEP:
        return (1 << bits) - 1 if bits in (10, 12, 14) else 65535
    if image.mode == "L" and _first(getattr(image, "tag_v2", {}).get(SAMPLE)) == 2:
        return 0
    return 65535 if bits == 16 or any(";16" in str(part) for tile in image.tile for part in tile) else 255


def _orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF counts; 1 where nothing sensible is said. Of TIFF, what Pillow has not turned yet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # of damaged EXIF data
        return 1


def _first(value: object) -> object:
    return value[0] if isinstance(value, tuple) and value else value


@contextmanager
def as_input_error(path: Path, page: int | None = None) -> Iterator[None]:
    """Pillow's errors, which are of nearly any kind, in our words."""
    try:
        yield
    except InputError:
        raise
    except EOFError:
        raise InputError(f"clip {str(path)!r} is cut short: it ends before frame {(page or 0) + 1}.") from None
    except UnidentifiedImageError:
        raise InputError(
            f"frame {str(path)!r} cannot be read as an image: it is no whole PNG, JPEG, WebP, TIFF, BMP or PNM, or has "
            "values of a kind that is not read. Save it again, or as a .npy array."
        ) from None
    except Exception as error:
        where = "" if page is None else f" (page {page + 1})"
        raise InputError(f"frame {str(path)!r}{where} cannot be read as an image: {error!s:.200}.") from None
