"""The frames of one clip as pictures: files of a folder, or the pages of one file."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from stochvid.core.errors import InputError
from stochvid.media.images import (
    COLOURS,
    IMAGE_SUFFIXES,
    Header,
    as_input_error,
    image_values,
    open_image,
    open_pages,
    read_header,
)
from stochvid.media.order import natural_order
from stochvid.media.pages import page_starts
from stochvid.media.times import Frame, Pace, Timed, noting_pace
from stochvid.media.values import OFFER, Limits, check_used, frame_limits, joint_limits, to_bytes
from stochvid.media.video import at_rate

SAMPLED = 8  # frames of a clip that are looked at for the values that it uses


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
                f"folder {self.name!r} is not a clip: {stacks[0].name!r} has {pages:,} pages, {what} (prepare takes "
                "all of a folder of stacks)."
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
        assert self.times is not None
        for pixels, (start, stop) in zip(self.frames(limits), pairwise(self.times), strict=True):
            yield Frame(pixels, start, stop - start)

    def at(self, fps: float | None, limits: Limits | None = None) -> Timed:
        """As `frames`, as they come or at a constant rate; `times` must be known."""
        if fps:
            ticks = enumerate(at_rate(self.timed(limits), fps, self.paths[0]))
            return Timed((pixels, tick / fps) for tick, pixels in ticks)
        pace = Pace()
        return Timed(noting_pace(self.timed(limits), pace), pace)

    @property
    def pace(self) -> Pace:
        """How evenly the frames follow each other; `times` must be known."""
        assert self.times is not None
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
                with as_input_error(path), open_image(path) as image:
                    values = image_values(image)
                yield path, values
            return
        path, number = self.paths[0], 0
        pages = open_pages(path, self.count, step)
        while True:
            with as_input_error(path, number if self.count > 1 else None):
                if (page := next(pages, None)) is None:
                    return
                values = image_values(page)
            yield path, values
            number += step


def frame_paths(folder: Path) -> list[Path]:
    """The images of a folder, in natural order (2 before 10)."""
    images = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    names = [path.name for path in images if path.is_file() and not path.name.startswith(".")]
    return [folder / name for name in natural_order(names, fold=True)]


def _headers(paths: Sequence[Path]) -> Iterator[tuple[Path, Header]]:
    """The headers of all files; those that cannot be read are told of when their turn comes, but for the first."""
    yield paths[0], read_header(paths[0])
    for path in paths[1:]:
        try:
            yield path, read_header(path)
        except InputError:
            continue
