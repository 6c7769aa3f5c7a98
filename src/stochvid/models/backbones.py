"""Encoders and decoders: DCGAN and VGG, one class pair each for every power-of-two image size from 32 up.

Axes: `N` frames, `C` image channels, `G` features. Features are vectors (G,), or maps (G, h, w) whose cells are each a
part of the frame. There are log2(size / smallest) stages; stage i has base_channels · min(2^i, 8) channels. Skips are
listed finest first.

The decoder convolves the joined channels [d, skip] at every resolution. Convolution is linear, so
conv([d, skip]) = conv_d(d) + conv_skip(skip), and the second term is the same for every frame and sample that shares
a skip: `Decoder.hoist` computes it once, `Decoder.forward` adds it (DESIGN: the hoisted skip convolution).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from stochvid.core.shapes import Float
from stochvid.models.layers import Branch, ConvFromPoint, ConvToPoint, DownConv, UpConv, add_skips

BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
Conv = nn.Conv2d | nn.ConvTranspose2d
Stage = TypeVar("Stage", bound=nn.Module)


def stage_channels(image_size: int, base_channels: int, smallest: int = 4) -> list[int]:
    """Channels of each stage, finest first: 64 px → [b, 2b, 4b, 8b], 128 px → [b, 2b, 4b, 8b, 8b].

    Args:
        image_size: of the frames.
        base_channels: of the first stage.
        smallest: height of the last stage's output (of VGG: after pooling).
    """
    stages = image_size.bit_length() - smallest.bit_length()
    return [base_channels * min(2**i, 8) for i in range(stages)]


def init_weights(module: nn.Module) -> None:
    """The paper's start: conv and linear weights N(0, 0.02), biases 0, batch-norm weights N(1, 0.02).

    Nothing of a model that has shapes alone: torch would first load its compiler, for two seconds.
    """
    if any(x.is_meta for x in module.parameters(recurse=False)):
        return
    if isinstance(module, Conv | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


Norm = Callable[[int], nn.Module]  # of so many channels


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalisation over groups of channels of each frame alone, at most eight groups."""
    return nn.GroupNorm(math.gcd(channels, 8), channels)


NORMS: dict[str, Norm] = {"batch": nn.BatchNorm2d, "group": group_norm}


def _activated(channels: int, norm: Norm) -> list[nn.Module]:
    return [norm(channels), nn.LeakyReLU(0.2, inplace=True)]


def _conv3(in_channels: int, out_channels: int, norm: Norm) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1), *_activated(out_channels, norm)]


def _vgg_depth(stage: int) -> int:
    return 2 if stage < 2 else 3


class Stages(nn.ModuleList, Generic[Stage]):
    """A list of modules of one type."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[Stage]: ...


class JoinedConv(nn.Module):
    """A convolution over joined channels [d, skip], held as its two halves and a bias, and what follows it.

    Args:
        d: the half for d, without bias.
        skip: the half for the skip, without bias.
        then: layers after the sum.
    """

    def __init__(self, d: Conv, skip: Conv, then: list[nn.Module]):
        super().__init__()
        self.d, self.skip = d, skip
        self.bias = nn.Parameter(torch.zeros(d.out_channels))
        self.then = nn.Sequential(*then)

    def hoist(self, skips: Float[Tensor, "N _ _ _"]) -> Float[Tensor, "N _ _ _"]:
        """The skips' half and the bias: (T'·B, in, h, w) → (T'·B, out, h', w')."""
        # not the convolution's own bias: its gradient takes oneDNN longer than all other gradients together
        hoisted = self.skip(skips)
        return hoisted + self.bias.to(hoisted.dtype)[:, None, None]

    def forward(
        self, d: Float[Tensor, "N _ _ _"], hoisted: Float[Tensor, "_ out h w"], rows: tuple[int, int, int]
    ) -> Float[Tensor, "N _ h w"]:
        """d (T·B·S, in, h, w) and hoisted (T'·B, out, h', w') → (T·B·S, out, h', w')."""
        return self.then(add_skips(self.d(d), hoisted, rows))


class Backbone(nn.Module):
    """What encoders and decoders share.

    Attributes:
        stages: from one image size to the next.
        head: between the smallest maps and the features.
        recompute: whether training keeps only the stages' inputs, and runs every stage again for its gradients.
    """

    stages: Stages
    head: nn.Sequential
    recompute = False

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        weight = self.head[0].weight
        assert isinstance(weight, Tensor)
        return weight.dtype

    def _run(self, stage: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        if not (self.recompute and torch.is_grad_enabled()):
            return stage(*inputs)
        contexts = (nullcontext(), self._statistics_kept())  # the second is entered when gradients are computed
        return checkpoint(stage, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: contexts)

    @contextmanager
    def _statistics_kept(self) -> Iterator[None]:
        """Batch-norm sees its batch a second time, which must not count for its running statistics."""
        norms = [module for module in self.modules() if isinstance(module, BATCH_NORMS) and module.training]
        kept = [(norm, norm.momentum, _batches_seen(norm).clone()) for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, momentum, count in kept:
                norm.momentum = momentum
                _batches_seen(norm).copy_(count)


def _batches_seen(norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> Tensor:
    assert norm.num_batches_tracked is not None
    return norm.num_batches_tracked


# ---------------------------------------------------------------------------------------------------------- encoders


class Encoder(Backbone):
    """Frames → features and skips. `pool` halves the size between stages, and after the last."""

    stages: Stages[nn.Sequential]
    pool = False

    def __init__(self, stages: Sequence[nn.Sequential], head: nn.Sequential):
        super().__init__()
        self.stages, self.head = Stages(stages), head

    def forward(
        self, x: Float[Tensor, "N C H W"], first: int | None = None
    ) -> tuple[Float[Tensor, "N G *cells"], list[Float[Tensor, "N _ _ _"]], list[Float[Tensor, "_ _ _ _"]]]:
        """Encodes frames.

        Args:
            x: (N, C, H, W) in [0, 1].
            first: how many frames have skips that are used; None: all.

        Returns:
            h (N, G) or (N, G, h, w); the skips of all frames, (N, …) each; and those of the first ones, to be used in
            training.
        """
        skips, used = [], []
        for i, stage in enumerate(self.stages):
            x = self._run(lambda x, stage=stage, i=i: stage(F.max_pool2d(x, 2) if self.pool and i else x), x)
            if first is None:
                used.append(x)
            else:
                x, branch = Branch.apply(x, first)
                used.append(branch)
            skips.append(x)
        return self.head(F.max_pool2d(x, 2) if self.pool else x), skips, used


class DCGANEncoder(Encoder):
    """4×4 stride-2 convolutions (Radford et al. 2016, as used for Moving MNIST in the paper)."""

    def __init__(self, widths: list[int], channels: int, head: nn.Sequential, norm: Norm):
        stages = [
            nn.Sequential(DownConv(i, o), *_activated(o, norm))
            for i, o in zip([channels, *widths[:-1]], widths, strict=True)
        ]
        super().__init__(stages, head)


class VGGEncoder(Encoder):
    """Stages of two or three 3×3 convolutions with 2×2 max-pooling between (VGG-16, as for KTH and BAIR)."""

    pool = True

    def __init__(self, widths: list[int], channels: int, head: nn.Sequential, norm: Norm):
        stages = []
        for i, (first, width) in enumerate(zip([channels, *widths[:-1]], widths, strict=True)):
            rest = [layer for _ in range(_vgg_depth(i) - 1) for layer in _conv3(width, width, norm)]
            stages.append(nn.Sequential(*_conv3(first, width, norm), *rest))
        super().__init__(stages, head)


# ---------------------------------------------------------------------------------------------------------- decoders


class Decoder(Backbone):
    """Features g and hoisted skips → logits of frames.

    Stages are coarsest first; `upsample` doubles the size before each.
    """

    stages: Stages[JoinedConv]
    upsample = False

    def __init__(self, stages: Sequence[JoinedConv], head: nn.Sequential):
        super().__init__()
        self.head, self.stages = head, Stages(stages)

    def hoist(self, skips: list[Float[Tensor, "R _ _ _"]]) -> list[Float[Tensor, "R _ _ _"]]:
        """The skips' half of every joined convolution: skips finest first (R, …) → maps coarsest first (R, …)."""
        return [stage.hoist(skip) for stage, skip in zip(self.stages, reversed(skips), strict=True)]

    def forward(
        self, g: Float[Tensor, "T B S G *cells"], hoisted: list[Float[Tensor, "R _ _ _"]]
    ) -> Float[Tensor, "T B S C H W"]:
        """Decodes S samples of B clips at T steps.

        Args:
            g: (T, B, S, G) or (T, B, S, G, h, w), in (−1, 1).
            hoisted: of T'·B skips, 1 ≤ T' ≤ T, rows (T', B): step t takes those of step min(t, T').

        Returns:
            Logits of the frames, (T, B, S, C, H, W), at least float32.
        """
        rows = g.shape[:3]
        d = g.flatten(0, 2)
        d = self.head(d if d.ndim == 4 else d[:, :, None, None])  # a vector is a map of one pixel
        for stage, hoisted_skip in zip(self.stages, hoisted, strict=True):
            d = self._run(lambda d, skip, stage=stage: stage(self._upsampled(d), skip, rows), d, hoisted_skip)
        return d.to(torch.promote_types(d.dtype, torch.float32)).unflatten(0, rows)

    def _upsampled(self, d: Tensor) -> Tensor:
        return F.interpolate(d, scale_factor=2, mode="nearest") if self.upsample else d


class DCGANDecoder(Decoder):
    """4×4 stride-2 transposed convolutions of [d, skip]."""

    def __init__(self, widths: list[int], channels: int, head: nn.Sequential, norm: Norm):
        stages = []
        for i in reversed(range(len(widths))):
            out, then = (widths[i - 1], _activated(widths[i - 1], norm)) if i else (channels, [])
            stages.append(JoinedConv(UpConv(widths[i], out), UpConv(widths[i], out), then))
        super().__init__(stages, head)


class VGGDecoder(Decoder):
    """Nearest ×2, join the skip, 3×3 convolutions; the last stage ends in a 3×3 transposed convolution."""

    upsample = True

    def __init__(self, widths: list[int], channels: int, head: nn.Sequential, norm: Norm):
        stages = []
        for i in reversed(range(len(widths))):
            width = widths[i]
            then = _activated(width, norm)
            if i:
                outs = [width] * (_vgg_depth(i) - 2) + [widths[i - 1]]
                for out in outs:
                    then += _conv3(width, out, norm)
            else:
                then.append(nn.ConvTranspose2d(width, channels, 3, padding=1))
            d, skip = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
            stages.append(JoinedConv(d, skip, then))
        super().__init__(stages, head)


# --------------------------------------------------------------------------------------------------------- the pairs

_PAIRS: dict[str, tuple[type[DCGANEncoder] | type[VGGEncoder], type[DCGANDecoder] | type[VGGDecoder]]] = {
    "dcgan": (DCGANEncoder, DCGANDecoder),
    "vgg": (VGGEncoder, VGGDecoder),
}


def vector_backbone(
    kind: str, image_size: int, channels: int, base_channels: int, g_dim: int
) -> tuple[Encoder, Decoder]:
    """Encoder and decoder whose features are vectors (G,) (SVG, sec. 4)."""
    widths, (encoder, decoder) = stage_channels(image_size, base_channels), _PAIRS[kind]
    to_vector = nn.Sequential(ConvToPoint(widths[-1], g_dim, 4), nn.BatchNorm2d(g_dim), nn.Tanh(), nn.Flatten())
    from_vector = nn.Sequential(ConvFromPoint(g_dim, widths[-1], 4), *_activated(widths[-1], nn.BatchNorm2d))
    return (
        encoder(widths, channels, to_vector, nn.BatchNorm2d), decoder(widths, channels, from_vector, nn.BatchNorm2d),
    )  # fmt: skip


def map_backbone(
    kind: str, image_size: int, channels: int, base_channels: int, g_dim: int, map_size: int, norm: Norm, more: int = 0
) -> tuple[Encoder, Decoder]:
    """Encoder and decoder whose features are maps (G, map_size, map_size): the same stages, but fewer (SVG′).

    The decoder gives so many channels `more` than the frames have.
    """
    widths, (encoder, decoder) = stage_channels(image_size, base_channels, map_size), _PAIRS[kind]
    to_map = nn.Sequential(nn.Conv2d(widths[-1], g_dim, 3, padding=1))
    from_map = nn.Sequential(nn.Conv2d(g_dim, widths[-1], 3, padding=1))
    if norm is group_norm:  # else what narrow ConvLSTMs say is lost beside the skips
        from_map.extend(_activated(widths[-1], norm))
    return encoder(widths, channels, to_map, norm), decoder(widths, channels + more, from_map, norm)
