"""Encoders and decoders: DCGAN and VGG, one class pair each for every power-of-two image size from 32 up.

Axes: `N` frames, `C` image channels, `G` features. There are log2(size) − 2 stages; stage i has
base_channels · min(2^i, 8) channels. Skips are listed finest first.

The decoder convolves the joined channels [d, skip] at every resolution. Convolution is linear, so
conv([d, skip]) = conv_d(d) + conv_skip(skip), and the second term is the same for every frame and sample that shares
a skip: `Decoder.hoist` computes it once, `Decoder.forward` adds it (DESIGN: the hoisted skip convolution).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def stage_channels(image_size: int, base_channels: int) -> list[int]:
    """Channels of each stage, finest first: 64 px → [b, 2b, 4b, 8b], 128 px → [b, 2b, 4b, 8b, 8b]."""
    stages = image_size.bit_length() - 1 - 2
    return [base_channels * min(2**i, 8) for i in range(stages)]


def init_weights(module: nn.Module) -> None:
    """The paper's start: conv and linear weights N(0, 0.02), biases 0, batch-norm weights N(1, 0.02)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def _activated(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, inplace=True)]


def _conv3(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1), *_activated(out_channels)]


def _vgg_depth(stage: int) -> int:
    return 2 if stage < 2 else 3


def add_per_group(d: Tensor, s: Tensor) -> Tensor:
    """d + s where each row of s (R, …) serves the next N/R rows of d (N, …)."""
    n, r = d.shape[0], s.shape[0]
    if n == r:
        return d + s
    return (d.unflatten(0, (r, n // r)) + s.unsqueeze(1)).flatten(0, 1)


class JoinedConv(nn.Module):
    """A convolution over joined channels [d, skip], held as its two halves, and what follows it.

    Args:
        conv: `nn.Conv2d` or `nn.ConvTranspose2d`.
        in_channels: channels of d, and as many of the skip.
        out_channels: channels of the result.
        then: layers after the sum.
        geometry: kernel size, stride and padding.
    """

    def __init__(self, conv, in_channels: int, out_channels: int, then: list[nn.Module], **geometry: int):
        super().__init__()
        self.d = conv(in_channels, out_channels, **geometry)
        self.skip = conv(in_channels, out_channels, bias=False, **geometry)
        self.then = nn.Sequential(*then)

    def forward(self, d: Tensor, hoisted: Tensor) -> Tensor:
        """d (N, in, h, w) and hoisted = self.skip(skips) (R, out, h', w'), N a multiple of R → (N, out, h', w')."""
        return self.then(add_per_group(self.d(d), hoisted))


# ---------------------------------------------------------------------------------------------------------- encoders


class Encoder(nn.Module):
    """Frames → features h ∈ (−1, 1)^G and skips. Subclasses fill `stages`; `pool` halves the size between them."""

    pool = False

    def __init__(self, stages: list[nn.Module], top_channels: int, g_dim: int):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.head = nn.Sequential(nn.Conv2d(top_channels, g_dim, 4), nn.BatchNorm2d(g_dim), nn.Tanh())

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x (N, C, H, W) in [0, 1] → h (N, G) and the stages' outputs, finest first."""
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
            if self.pool:
                x = F.max_pool2d(x, 2)
        return self.head(x).flatten(1), skips


class DCGANEncoder(Encoder):
    """4×4 stride-2 convolutions (Radford et al. 2016, as used for Moving MNIST in the paper)."""

    def __init__(self, image_size: int, channels: int, base_channels: int, g_dim: int):
        widths = stage_channels(image_size, base_channels)
        stages = [
            nn.Sequential(nn.Conv2d(i, o, 4, stride=2, padding=1), *_activated(o))
            for i, o in zip([channels, *widths[:-1]], widths, strict=True)
        ]
        super().__init__(stages, widths[-1], g_dim)


class VGGEncoder(Encoder):
    """Stages of two or three 3×3 convolutions with 2×2 max-pooling between (VGG-16, as for KTH and BAIR)."""

    pool = True

    def __init__(self, image_size: int, channels: int, base_channels: int, g_dim: int):
        widths = stage_channels(image_size, base_channels)
        stages = []
        for i, (first, width) in enumerate(zip([channels, *widths[:-1]], widths, strict=True)):
            rest = [layer for _ in range(_vgg_depth(i) - 1) for layer in _conv3(width, width)]
            stages.append(nn.Sequential(*_conv3(first, width), *rest))
        super().__init__(stages, widths[-1], g_dim)


# ---------------------------------------------------------------------------------------------------------- decoders


class Decoder(nn.Module):
    """Features g and hoisted skips → frames. Subclasses fill `stages`, coarsest first."""

    upsample = False

    def __init__(self, stages: list[JoinedConv], top_channels: int, g_dim: int):
        super().__init__()
        self.head = nn.Sequential(nn.ConvTranspose2d(g_dim, top_channels, 4), *_activated(top_channels))
        self.stages = nn.ModuleList(stages)

    def hoist(self, skips: list[Tensor]) -> list[Tensor]:
        """The skips' half of every joined convolution: skips finest first (R, …) → maps coarsest first (R, …)."""
        return [stage.skip(skip) for stage, skip in zip(self.stages, reversed(skips), strict=True)]

    def forward(self, g: Tensor, hoisted: list[Tensor]) -> Tensor:
        """g (N, G) and hoisted skips of R rows, N a multiple of R → frames (N, C, H, W) in (0, 1).

        Row i of g belongs to row i // (N / R) of the hoisted skips.
        """
        d = self.head(g[:, :, None, None])
        for stage, hoisted_skip in zip(self.stages, hoisted, strict=True):
            if self.upsample:
                d = F.interpolate(d, scale_factor=2, mode="nearest")
            d = stage(d, hoisted_skip)
        return torch.sigmoid(d)


class DCGANDecoder(Decoder):
    """4×4 stride-2 transposed convolutions of [d, skip]."""

    def __init__(self, image_size: int, channels: int, base_channels: int, g_dim: int):
        widths = stage_channels(image_size, base_channels)
        stages = []
        for i in reversed(range(len(widths))):
            out, then = (widths[i - 1], _activated(widths[i - 1])) if i else (channels, [])
            stages.append(JoinedConv(nn.ConvTranspose2d, widths[i], out, then, kernel_size=4, stride=2, padding=1))
        super().__init__(stages, widths[-1], g_dim)


class VGGDecoder(Decoder):
    """Nearest ×2, join the skip, 3×3 convolutions; the last stage ends in a 3×3 transposed convolution."""

    upsample = True

    def __init__(self, image_size: int, channels: int, base_channels: int, g_dim: int):
        widths = stage_channels(image_size, base_channels)
        stages = []
        for i in reversed(range(len(widths))):
            width = widths[i]
            then = _activated(width)
            if i:
                outs = [width] * (_vgg_depth(i) - 2) + [widths[i - 1]]
                for out in outs:
                    then += _conv3(width, out)
            else:
                then.append(nn.ConvTranspose2d(width, channels, 3, padding=1))
            stages.append(JoinedConv(nn.Conv2d, width, width, then, kernel_size=3, padding=1))
        super().__init__(stages, widths[-1], g_dim)


BACKBONES: dict[str, tuple[type[Encoder], type[Decoder]]] = {
    "dcgan": (DCGANEncoder, DCGANDecoder),
    "vgg": (VGGEncoder, VGGDecoder),
}
