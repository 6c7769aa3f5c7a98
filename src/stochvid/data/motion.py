"""What moves in clips, and how much of it there is. Imports no torch.

Axes: `B` clips, `T` frames, `C H W` image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import ndimage

from stochvid.core.clips import CHANGE, FRAMES

LOOKED_AT = 64  # clips
THUMBNAIL = 8  # pixels a side of the pictures by which scenes are told apart
FEWEST_CLIPS = 4  # of which two scenes can be told apart
FAR_APART = 25  # of 255, in the mean over all pixels


@dataclass(frozen=True)
class Motion:
    """Of some clips.

    Attributes:
        changing: share of the pixels that change from frame to frame.
        moving: size in pixels of what moves: half of the pixels that change are in connected areas no larger than this;
            0 where nothing does.
        contrast: largest difference of two pixels of a clip, of 255.
        scenes: 2 where clips, each of a camera that stands still, are plainly of two kinds, else 1.
    """

    changing: float
    moving: float
    contrast: int
    scenes: int

    @classmethod
    def of(cls, frames: np.ndarray) -> Self:
        """Looks at clips, (B, T, C, H, W) uint8."""
        changed = changes(frames)[:, :, 0]
        return cls(
            float(changed.mean()) if changed.size else 0.0,
            _size_of_what_moves(changed.reshape(-1, *changed.shape[2:])),
            int(frames.max()) - int(frames.min()),
            2 if _are_two_scenes(frames) else 1,
        )


def look_at(clips: Any) -> Motion:
    """Motion of the first clips of a data set."""
    numbers: Sequence[int] = range(LOOKED_AT)
    return Motion.of(clips.__getitems__(numbers)[FRAMES])


def changes(frames: np.ndarray) -> np.ndarray:
    """Where a pixel of a frame differs from that of the frame before in some channel.

    Args:
        frames: (B, T, C, H, W) uint8.

    Returns:
        (B, T − 1, 1, H, W) bool.
    """
    values = frames.astype(np.int16)
    return (np.abs(np.diff(values, axis=1)) >= CHANGE).max(2, keepdims=True, initial=False)


def _size_of_what_moves(changed: np.ndarray) -> float:
    """Of (frames, H, W) bool."""
    sizes: list[int] = []
    for frame in changed:
        areas, count = ndimage.label(frame, structure=np.ones((3, 3)))
        if count:
            sizes += np.bincount(areas.ravel())[1:].tolist()
    if not sizes:
        return 0.0
    ordered = np.sort(sizes)
    return float(ordered[np.searchsorted(ordered.cumsum(), ordered.sum() / 2)])


def _are_two_scenes(frames: np.ndarray) -> bool:
    """Whether what stays in the clips makes two groups that are far apart, each close together."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    still = np.median(frames[:, :, :, :: frames.shape[3] // THUMBNAIL, :: frames.shape[4] // THUMBNAIL], axis=1)
    still = still.reshape(len(frames), -1)
    distinct = len(np.unique(still, axis=0))
    if distinct < FEWEST_CLIPS or changes(frames).mean() > 0.2:  # a camera that moves sees many scenes
        return False
    groups = KMeans(2, n_init=1, random_state=0).fit_predict(still)
    if min(np.bincount(groups, minlength=2)) < 2:
        return False
    apart = np.abs(still[groups == 0].mean(0) - still[groups == 1].mean(0)).mean()
    return bool(apart > FAR_APART and silhouette_score(still, groups) > 0.5)
