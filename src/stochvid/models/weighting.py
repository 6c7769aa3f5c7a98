"""Which pixels count more: those that changed since the frame before."""

import torch
from torch import Tensor

from stochvid.core.shapes import Float

CHANGE = 0.05  # in [0, 1]: less is noise of cameras and of compression


def changes(frames: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B steps 1 H W"]:
    """1 where a pixel of a frame differs from that of the frame before in some channel, else 0.

    Args:
        frames: in [0, 1].
    """
    differences = (frames[:, 1:] - frames[:, :-1]).abs()
    return (differences.amax(2, keepdim=True) > CHANGE).to(frames.dtype)
