"""What a decoded frame looks like to people: upright, of square pixels, black where nothing is."""

from fractions import Fraction
from typing import Any

import numpy as np

GREY = ("gray", "mono")  # FFmpeg's names of formats without colour begin so
WIDEST = 4  # pixels wider or higher than that are a mistake of the header
NEARLY_SQUARE = 0.01  # what encoders make of odd sizes: 404:405


def is_grey(pix_fmt: str | None) -> bool:
    """Whether a format of FFmpeg's has no colour (1 bit counts as grey)."""
    return (pix_fmt or "").startswith(GREY)


def shown_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of a frame in square pixels; what is narrow is widened.

    Args:
        width: as stored.
        height: likewise.
        aspect: of a pixel, width to height; None or out of all reason: square.
    """
    if not aspect or not 1 / WIDEST <= aspect <= WIDEST or abs(aspect - 1) < NEARLY_SQUARE:
        return width, height
    return max(1, round(width * aspect)), height


class Developer:
    """Turns FFmpeg's frames into arrays.

    Args:
        aspect: of a pixel, as the stream says.
    """

    def __init__(self, aspect: Fraction | None):
        from av.video.reformatter import VideoReformatter

        self._aspect = aspect
        self._reformatter = VideoReformatter()  # kept, with one thread: a new one for each frame takes 20 times as long

    def develop(self, frame: Any) -> np.ndarray:
        """(H, W, 3), or (H, W, 1) of a grey frame, uint8; 10 bits and more become 8."""
        see_through = any(component.is_alpha for component in frame.format.components) or frame.format.has_palette
        format = "rgba" if see_through else "gray" if is_grey(frame.format.name) else "rgb24"
        width, height = shown_size(frame.width, frame.height, self._aspect)
        pixels = self._reformatter.reformat(frame, width, height, format, threads=1).to_ndarray()
        if see_through:
            pixels = _on_black(pixels)
        return _upright(pixels.reshape(*pixels.shape[:2], -1), frame)


def _on_black(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) of (H, W, 4): what is transparent is black, whatever colour it hides."""
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if (alpha == 255).all():
        return np.ascontiguousarray(colours)
    return ((colours.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def _upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """(H, W, C), turned and mirrored as its display matrix says, to the next quarter."""
    matrix = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return pixels
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), dtype=np.int32).astype(np.int64).tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):  # x' = a x, y' = d y
        across, down = a, d
    else:  # x' = c y, y' = b x
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
