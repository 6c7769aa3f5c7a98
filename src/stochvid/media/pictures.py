"""Pictures of futures: side by side over time, enlarged, framed by what they are, and labelled."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stochvid.media.video import write_gif, write_mp4

Colour = tuple[int, int, int]

BACKGROUND: Colour = (22, 24, 29)
TEXT: Colour = (226, 230, 236)
CONTEXT: Colour = (128, 138, 152)
TRUTH: Colour = (74, 190, 121)
FUTURE: Colour = (245, 158, 66)

BORDER, GAP, LINE = 3, 8, 20
TILE = 160  # a frame is enlarged to about so many pixels
COLUMNS = 6
FPS = 8.0


class FuturesPicture:
    """The context of a clip, its futures, and the truth where it is known.

    Args:
        context: (K, C, H, W) uint8.
        futures: (S, T, C, H, W) uint8.
        truth: (T', C, H, W) uint8, the true future as far as it is known, or None.
        title: written above.
        labels: S words on what each future is; None: they are numbered.
        words: what the true clip is called, and what frames are before and after the context.
    """

    def __init__(
        self,
        context: np.ndarray,
        futures: np.ndarray,
        truth: np.ndarray | None = None,
        title: str = "",
        labels: Sequence[str] | None = None,
        words: tuple[str, str, str] = ("truth", "given", "predicted"),
    ):
        self.context, self.futures, self.words = context, futures, words
        self.title = title.encode("utf-8", "replace").decode()  # names of files may hold anything
        self.labels = list(labels or (f"future {s + 1}" for s in range(len(futures))))
        self.truth = truth[: futures.shape[1]] if truth is not None and len(truth) else None

    def animation(self) -> Iterator[np.ndarray]:
        """The frames of the animation, context first: (h, w, 3) uint8."""
        known, horizon = len(self.context), self.futures.shape[1]
        count = len(self.futures) + (self.truth is not None)
        columns = math.ceil(count / math.ceil(count / COLUMNS))
        for t in range(known + horizon):
            tiles = list(self._tiles(t))
            side = tiles[0].width
            rows = math.ceil(count / columns)
            page = Image.new(
                "RGB",
                (max(columns * (side + GAP) + GAP, 300), 2 * LINE + GAP + rows * (tiles[0].height + GAP)),
                BACKGROUND,
            )
            draw = ImageDraw.Draw(page)
            self._heading(draw, t, page.width)
            for i, tile in enumerate(tiles):
                page.paste(
                    tile,
                    (GAP + i % columns * (side + GAP), 2 * LINE + GAP + i // columns * (tile.height + GAP)),
                )
            yield np.asarray(page)

    def write_gif(self, path: Path, fps: float = FPS) -> Path:
        """Writes the animation as a GIF."""
        return write_gif(path, self.animation(), fps)

    def write_mp4(self, path: Path, fps: float = FPS) -> Path:
        """Writes the animation as an MP4."""
        return write_mp4(path, self.animation(), fps)

    def strip(self, tile: int = 96, context: int = 5, future: int = 10) -> np.ndarray:
        """The clip as a still: a row for the truth and for each future, a column per shown frame.

        Args:
            tile: about how many pixels wide a frame is.
            context: last context frames to show, at most.
            future: future frames to show, at most: every one, every second, every third…

        Returns:
            (h, w, 3) uint8.
        """
        known, horizon = len(self.context), self.futures.shape[1]
        before = list(range(max(0, known - context), known))
        after = list(range(known, known + horizon, math.ceil(horizon / future)))
        rows: list[tuple[str, int | None]] = [(self.words[0] if self.truth is not None else "context", None)]
        rows += [(label, s) for s, label in enumerate(self.labels)]
        scale = _scale(self.futures.shape[-1], tile)
        side = self.futures.shape[-1] * scale + 2 * BORDER
        left, step = 72, side + 2
        page = Image.new(
            "RGB", (left + len(before + after) * step + GAP, 2 * LINE + len(rows) * step + GAP), BACKGROUND
        )
        draw = ImageDraw.Draw(page)
        draw.text((left, 3), self.words[1], CONTEXT, _font(14))
        draw.text((left + len(before) * step, 3), self.words[2], FUTURE, _font(14))
        for column, t in enumerate(before + after):
            x = left + column * step
            draw.text((x + side // 2, LINE + 8), str(t + 1), TEXT, _font(12), anchor="mm")
            for row, (_, sample) in enumerate(rows):
                frame, colour = self._frame(t, sample)
                if frame is not None and (sample is None or t >= known):
                    page.paste(_framed(frame, scale, colour), (x, 2 * LINE + row * step))
        for row, (label, sample) in enumerate(rows):
            colour = FUTURE if sample is not None else TRUTH if self.truth is not None else CONTEXT
            draw.text((left - 8, 2 * LINE + row * step + side // 2), label, colour, _font(13), anchor="rm")
        return np.asarray(page)

    def _frame(self, t: int, sample: int | None) -> tuple[np.ndarray | None, Colour]:
        """Frame t (from 0) of a future, or of the truth (sample None), and the colour of its border."""
        known = len(self.context)
        if t < known:
            return self.context[t], CONTEXT
        if sample is not None:
            return self.futures[sample, t - known], FUTURE
        if self.truth is not None and t - known < len(self.truth):
            return self.truth[t - known], TRUTH
        return None, BACKGROUND

    def _tiles(self, t: int) -> Iterator[Image.Image]:
        which = ([None] if self.truth is not None else []) + list(range(len(self.futures)))
        scale = _scale(self.futures.shape[-1], TILE)
        for sample in which:
            frame, colour = self._frame(t, sample)
            if frame is None:
                frame = np.zeros_like(self.futures[0, 0])
            image = _framed(frame, scale, colour)
            tile = Image.new("RGB", (image.width, image.height + LINE), BACKGROUND)
            tile.paste(image, (0, LINE))
            label = self.words[0] if sample is None else self.labels[sample]
            ImageDraw.Draw(tile).text((0, 1), label, TRUTH if sample is None else FUTURE, _font(14))
            yield tile

    def _heading(self, draw: ImageDraw.ImageDraw, t: int, width: int) -> None:
        known, total = len(self.context), len(self.context) + self.futures.shape[1]
        phase, colour = (self.words[1], CONTEXT) if t < known else (self.words[2], FUTURE)
        draw.text((GAP, 5), self.title or "futures", TEXT, _font(14))
        draw.text((width - GAP, 5), f"frame {t + 1} of {total}: {phase}", colour, _font(14), anchor="ra")
        # a bar of the whole clip, with the given part and the place in it
        x0, x1, y = GAP, width - GAP, LINE + 10
        edge = x0 + (x1 - x0) * known // total
        draw.line((x0, y, edge, y), CONTEXT, 3)
        draw.line((edge, y, x1, y), FUTURE, 3)
        x = x0 + (x1 - x0) * (2 * t + 1) // (2 * total)
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), TEXT)


def _scale(size: int, tile: int) -> int:
    return max(1, round(tile / size))


def _framed(frame: np.ndarray, scale: int, colour: Colour) -> Image.Image:
    """A frame (C, H, W), enlarged with nearest neighbour, in a border. More than three channels show their first."""
    rgb = frame[:3] if len(frame) >= 3 else frame[:1].repeat(3, axis=0)
    pixels = rgb.transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1)
    image = Image.new("RGB", (pixels.shape[1] + 2 * BORDER, pixels.shape[0] + 2 * BORDER), colour)
    image.paste(Image.fromarray(np.ascontiguousarray(pixels)), (BORDER, BORDER))
    return image


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
