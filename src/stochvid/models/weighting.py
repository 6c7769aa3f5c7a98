"""Which pixels count more: those that change from frame to frame."""

from torch import Tensor

from stochvid.core.clips import CHANGE
from stochvid.core.shapes import Float


def changes(frames: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B steps 1 H W"]:
    """1 where a pixel of a frame differs from that of the frame before in some channel, else 0.

    Args:
        frames: in [0, 1].
    """
    differences = (frames[:, 1:] - frames[:, :-1]).abs().amax(2, keepdim=True)
    return (differences > (CHANGE - 0.5) / 255).to(frames.dtype)
