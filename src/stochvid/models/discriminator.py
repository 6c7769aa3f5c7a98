"""The network that tells futures from true clips: 3-D convolutions with spectral normalisation (Miyato et al. 2018).

Axes: `B` clips, `T` frames, `C H W` image.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import cached

from stochvid.config import LEAST_FRAMES
from stochvid.core.shapes import Float
from stochvid.models.layers import in_format

SLOPE = 0.1  # of LeakyReLU below 0
WIDEST = 8  # of the first layer's channels
LAST_CELLS = 4  # cells a side of the last maps


class VideoDiscriminator(nn.Module):
    """Halves height and width until 4 × 4 cells are left, and from the second layer on time, and scores what is left.

    Every layer's largest singular value is 1, so that scores change no faster than frames do.

    Args:
        channels: of a frame.
        image_size: height and width of a frame, a power of two from 32 on.
        width: channels of the first layer.
    """

    def __init__(self, channels: int, image_size: int, width: int):
        super().__init__()
        halvings = (image_size // LAST_CELLS).bit_length() - 1
        widths = [channels, *(width * min(2**i, WIDEST) for i in range(halvings))]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv3d(below, above, (LEAST_FRAMES, 4, 4), (1 + (i > 0), 2, 2), (1, 1, 1)))
            for i, (below, above) in enumerate(pairwise(widths))
        )
        self.head = spectral_norm(nn.Conv3d(widths[-1], 1, (1, LAST_CELLS, LAST_CELLS)))
        in_format(self, torch.channels_last_3d)  # in bf16 less than half the time, in fp32 about the same

    def forward(self, clips: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B _"]:
        """Scores of each stretch of time: the higher, the more it looks true."""
        x = clips.transpose(1, 2)
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), SLOPE)
        return self.head(x).flatten(1)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Gives no gradients to its own weights meanwhile, only to what it reads."""
        self.requires_grad_(False)
        try:
            yield
        finally:
            self.requires_grad_(True)

    @contextmanager
    def normalised(self) -> Iterator[None]:
        """Normalises its weights once, in full precision, for all clips that it reads meanwhile."""
        with cached():
            with torch.autocast(next(self.parameters()).device.type, enabled=False):
                for layer in (*self.layers, self.head):
                    layer.weight  # noqa: B018  # to compute it
            yield
