"""Pictures in files of their own, and stacks of them in one file: TIFF pages, animated WebP and PNG.

What a picture says about itself is honoured: the orientation of its EXIF data, what is transparent (shown over black),
and how many bits a value has.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_PAGES, check_frame
from stochvid.media.order import natural_order
from stochvid.media.pages import check_pages, page_starts
from stochvid.media.times import Frame, Pace, Timed, watched
from stochvid.media.values import OFFER, Limits, check_used, frame_limits, joint_limits, to_bytes
from stochvid.media.video import at_rate

IMAGE_SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pnm",
}  # fmt: skip
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
STACKS = ("PNG", "WEBP", "TIFF")  # formats whose further pictures are frames; those in a JPEG are previews
MOST_IMAGE_BYTES = 400 << 20  # of a picture: the most pixels, of 16 bits and 4 channels; TIFF is read page by page
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}
DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # modes of more than 8 bits
GREY = ("1", "L", "LA", "La", *DEEP)
SAMPLED = 8  # frames of a clip that are looked at for the values that it uses

ORIENTATION, SUBFILE, BITS, PHOTOMETRIC, DESCRIPTION, SAMPLE = 274, 254, 258, 262, 270, 339  # tags of TIFF and EXIF
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


class Pictures:
    """The frames of one clip: pictures of a folder, or the pages of one file.

    Args:
        paths: of the pictures in order, or of one file.

    Attributes:
        count: frames; of a folder, files.
        size: (width, height) of the first.
        channels: 1, or 3 if any has colour.
        full: the value that is white, the largest of all pictures; 0: nothing says.
        deep: whether values have more than 8 bits.
        times: when each frame is shown, in seconds, and the end of the last; None: nobody says.

    Raises:
        InputError: the first is no picture; files with several pages are among others; or there is no end of pages.
    """

    def __init__(self, paths: Sequence[Path]):
        self.paths = list(paths)
        self.name = str(self.paths[0] if len(self.paths) == 1 else self.paths[0].parent)
        headers = list(_headers(self.paths))
        stacks = [path for path, header in headers if header.pages > 1]
        if stacks and len(self.paths) > 1:
            singles = [path for path, header in headers if header.pages == 1]
            pages = next(header.pages for path, header in headers if path == stacks[0])
            what = f"and {singles[0].name!r} has one" if singles else "as have others: each is a clip. Name one"
            raise InputError(
                f"folder {self.name!r} is no clip: {stacks[0].name!r} has {pages:,} pages, {what} (prepare takes all "
                "of a folder of stacks)."
            )
        self.size = headers[0][1].size
        self.count = headers[0][1].pages if len(self.paths) == 1 else len(self.paths)
        self.channels = 1 if all(header.grey for _, header in headers) else 3
        depths = {header.full for _, header in headers}
        self.full = 0 if 0 in depths else max(depths)
        self.deep = self.full != 255
        self.times = page_starts(self.paths[0], self.count) if stacks else None

    @property
    def fps(self) -> float | None:
        """Mean frames per second, None where nobody says."""
        return None if self.times is None else self.count / self.times[-1]

    def frames(self, limits: Limits | None = None) -> Iterator[np.ndarray]:
        """The frames, (H, W, C) uint8 each.

        Args:
            limits: the values that are black and white; None: 0 and the largest that the format can hold.

        Raises:
            InputError: one is no picture, or they are not alike.
        """
        first = None
        if limits is None:
            self.check_used()
        for number, (path, values) in enumerate(self._values(), 1):
            height, width = values.shape[:2]
            first = first or (path.name, width, height)
            if (width, height) != first[1:]:
                grey = COLOURS[1 if values.ndim == 2 else 3]
                raise InputError(
                    f"frames of one clip must be alike: {first[0]!r} is {first[1]}×{first[2]} "
                    f"{COLOURS[self.channels]}, {str(path)!r} is {width}×{height} {grey}."
                )
            pixels = self._bytes(values, limits, str(path), number)
            pixels = pixels.reshape(height, width, -1)
            yield pixels if pixels.shape[2] == self.channels else np.repeat(pixels, 3, axis=2)

    def timed(self, limits: Limits | None = None) -> Iterator[Frame]:
        """As `frames`, with the time of each; `times` must be known."""
        for pixels, (start, stop) in zip(self.frames(limits), pairwise(self.times), strict=True):
            yield Frame(pixels, start, stop - start)

    def at(self, fps: float | None, limits: Limits | None = None) -> Timed:
        """As `frames`, as they come or at a constant rate; `times` must be known."""
        if fps:
            ticks = enumerate(at_rate(self.timed(limits), fps, self.paths[0]))
            return Timed((pixels, tick / fps) for tick, pixels in ticks)
        pace = Pace()
        return Timed(watched(self.timed(limits), pace), pace)

    @property
    def pace(self) -> Pace:
        """How evenly the frames follow each other; `times` must be known."""
        pace = Pace()
        for time in self.times[:-1]:
            pace.add(time)
        return pace

    def limits(self) -> Limits | None:
        """The least and the largest value of all frames."""
        found = (
            frame_limits(self._spread(values), str(path), number)
            for number, (path, values) in enumerate(self._values(), 1)
        )
        return joint_limits(found)

    def _bytes(self, values: np.ndarray, limits: Limits | None, name: str, number: int) -> np.ndarray:
        if limits is not None:
            if values.ndim == 3 and self.deep:
                raise InputError(
                    f"frame {name!r} has colours of 16 bits, of which 8 are read: --range is for grey. Save them as a "
                    ".npy array to scale them."
                )
            return to_bytes(self._spread(values), limits, name, number)
        if values.dtype == np.uint8:
            return values
        low, high = frame_limits(values, name, number)
        if low < 0 or high > self.full or values.dtype.kind == "f":
            kind = "it holds floats" if values.dtype.kind == "f" else f"its values are outside 0 … {self.full}"
            raise InputError(f"frame {name!r} cannot be read as an image: {kind} ({low:,.6g} to {high:,.6g}). {OFFER}")
        return (values.astype(np.int64) >> (self.full.bit_length() - 8)).astype(np.uint8)

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """Values of a picture that was saved with 8 bits among deeper ones, as its neighbours have them."""
        return values * (self.full / 255) if values.dtype == np.uint8 and self.full > 255 else values

    def check_used(self) -> None:
        """Checks by some frames that values of more than 8 bits are not all in a corner of what they may be.

        Raises:
            InputError: they are, and would be nearly black; or a frame is no picture.
        """
        if not (self.deep and self.full):
            return
        step = max(1, -(-self.count // SAMPLED))
        found = [
            frame_limits(values.astype(np.float64) * (self.full / 255 if values.dtype == np.uint8 else 1), str(path), n)
            for n, (path, values) in enumerate(self._values(step), 1)
        ]
        if limits := joint_limits(found):
            check_used(*limits, self.full, self.name)

    def _values(self, step: int = 1) -> Iterator[tuple[Path, np.ndarray]]:
        """File and values, (H, W) or (H, W, 3), of every so many-th frame."""
        if len(self.paths) > 1:
            for path in self.paths[::step]:
                with _as_ours(path), open_image(path) as image:
                    values = image_values(image)
                yield path, values
            return
        path, given = self.paths[0], 0
        with open_image(path) as image:
            for page in _pages(image, path, self.count):
                if given % step == 0:
                    with _as_ours(path, given if self.count > 1 else None):
                        values = image_values(page)
                    yield path, values
                given += 1


class _Bounded(io.BufferedReader):
    """A file that is asked for no more than it has: Pillow asks for whatever length a file claims, in advance."""

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path))
        self.size = path.stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        left = max(self.size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """An image whose pixels have not been read yet; raises nearly anything where there is none.

    Raises:
        InputError: it is too large.
    """
    # what is inside decides on the format, whatever the name says: for some, Pillow would start other programs
    with _Bounded(path) as file:
        if file.size > MOST_IMAGE_BYTES and file.peek(2)[:2] not in (b"II", b"MM"):
            raise InputError(f"frame {str(path)!r} has {file.size:,} bytes; at most {MOST_IMAGE_BYTES:,} are read.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF data, which is no part of the picture
            image = Image.open(file, formats=IMAGE_FORMATS)
        with image:
            check_frame(f"frame {str(path)!r}", *image.size)
            yield image


def frame_paths(folder: Path) -> list[Path]:
    """The images of a folder, in natural order (2 before 10)."""
    images = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    names = [path.name for path in images if path.is_file() and not path.name.startswith(".")]
    return [folder / name for name in natural_order(names, fold=True)]


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
    with _as_ours(path), open_image(path) as image:
        pages = 1
        if image.format in STACKS:
            pages = check_pages(path, getattr(image, "tag_v2", {}).get(DESCRIPTION), image.size)
        full = _full(image)
        # of TIFF, Pillow has seen to it; of PNG without EXIF data before the pixels, it would decode them to look on
        says = image.format == "JPEG" or "exif" in image.info
        turned = says and image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
        return Header(image.size[::-1] if turned else image.size, image.mode in GREY, full, pages)


def image_values(image: Image.Image) -> np.ndarray:
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


def _full(image: Image.Image) -> int:
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


def _headers(paths: Sequence[Path]) -> Iterator[tuple[Path, Header]]:
    """The headers of all files; those that cannot be read are told of when their turn comes, but for the first."""
    yield paths[0], read_header(paths[0])
    for path in paths[1:]:
        try:
            yield path, read_header(path)
        except InputError:
            continue


def _pages(image: Image.Image, path: Path, count: int) -> Iterator[Image.Image]:
    """The pages of a file, without previews and masks."""
    if count == 1:
        yield image
        return
    hidden = 1 if getattr(image, "default_image", False) else 0  # of APNG: for those who know no animation
    place = given = 0
    while given < count:
        with _as_ours(path, given):
            image.seek(hidden + place)
            check_frame(f"frame {str(path)!r}", *image.size)
            is_page = not getattr(image, "tag_v2", {}).get(SUBFILE, 0) & 5
        place += 1
        if is_page:
            given += 1
            yield image
        if place > MOST_PAGES:
            raise InputError(f"clip {str(path)!r} has more than {MOST_PAGES:,} pages.")


@contextmanager
def _as_ours(path: Path, page: int | None = None) -> Iterator[None]:
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
