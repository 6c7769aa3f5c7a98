"""Heat: numbers over the frames that they belong to, as colours.

Axes: `T` frames, `C H W` image, `h w` cells of a map, each of which covers a part of the frame.
"""

import matplotlib
import numpy as np

COLOURS = "inferno"
DIMMED = 0.55  # brightness of what is below the heat
OPAQUE = 0.8  # of the brightest heat that is laid over frames


def heated(frames: np.ndarray, values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Frames with the heat of values over them: none at `low`, brightest at `high`.

    Args:
        frames: (T, C, H, W) uint8.
        values: (T, h, w), where h and w divide H and W: a cell's value counts for all of its pixels.
        low: below which there is no heat.
        high: above which there is no more.

    Returns:
        (T, 3, H, W) uint8.
    """
    height, width = frames.shape[-2:]
    colour, weight = _colours(values, low, high)
    colour, weight = (
        x.repeat(height // values.shape[1], 1).repeat(width // values.shape[2], 2) for x in (colour, weight)
    )
    mixed = colour * weight + DIMMED * in_rgb(frames).transpose(0, 2, 3, 1) * (1 - weight)
    return mixed.round().astype(np.uint8).transpose(0, 3, 1, 2)


def heat(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Heat to be laid over frames: (T, h, w) → (T, h, w, 4) uint8, red, green, blue and opacity.

    Args:
        values: of each cell.
        low: transparent.
        high: brightest.
    """
    colour, weight = _colours(values, low, high)
    return np.concatenate([colour, OPAQUE * 255 * weight], -1).round().astype(np.uint8)


def _colours(values: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Colours in [0, 255], (T, h, w, 3), and how much each of them counts, in [0, 1], (T, h, w, 1)."""
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return matplotlib.colormaps[COLOURS](share)[..., :3] * 255, np.sqrt(share)[..., None]


def in_rgb(frames: np.ndarray) -> np.ndarray:
    """Frames (T, C, H, W) in three channels: the first three, or the first one three times."""
    return frames[:, :3] if frames.shape[1] >= 3 else frames[:, :1].repeat(3, axis=1)
