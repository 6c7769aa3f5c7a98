"""Layers of the backbones, in the form in which they are fastest; each equals a plain layer up to rounding.

Everything is in channels-last format: a map (N, C, h, w) lies in memory as the matrix (N · h · w, C), and so a
convolution that is a matrix product at heart (a kernel as large as its map, a map of few pixels) can be one.

Axes: `T B S` steps, clips and samples; `N` maps, of `C` channels and `h × w` pixels.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stochvid.core.shapes import Float

Module = TypeVar("Module", bound=nn.Module)

SMALL = 4  # height of a map up to which products beat oneDNN's strided convolutions: 1.4× in fp32, 3× in bf16


def in_format(part: Module, memory_format: torch.memory_format) -> Module:
    """A module with its weights in a memory format."""
    return part.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's annotations leave it out


def _channels_last(x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N h w C"]:
    """(N, C, h, w) → (N, h, w, C), a view."""
    return x.permute(0, 2, 3, 1)


def _channels_first(x: Float[Tensor, "N h w C"]) -> Float[Tensor, "N C h w"]:
    """(N, h, w, C) → (N, C, h, w), a view."""
    return x.permute(0, 3, 1, 2)


# ------------------------------------------------------------------------------------ 4×4 convolutions with stride 2


def _patches(x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N H//2 W//2 4 4 C"]:
    """x (N, C, 2h, 2w), padded with one pixel of zeros → its 4×4 patches, two pixels apart, (N, h, w, 4, 4, C)."""
    x = _channels_last(x)
    n, height, width, c = x.shape
    h, w = height // 2, width // 2
    # 4×4 patches two pixels apart are 2×2 patches, one apart, of 2×2 blocks
    blocks = F.pad(x, (0, 0, 1, 1, 1, 1)).view(n, h + 1, 2, w + 1, 2, c).transpose(2, 3)  # (N, h + 1, w + 1, 2, 2, C)
    patches = x.new_empty(n, h, w, 2, 2, 2, 2, c)
    for i in (0, 1):
        for j in (0, 1):
            patches[:, :, :, i, :, j] = blocks[:, i : i + h, j : j + w]
    return patches.view(n, h, w, 4, 4, c)


def _overlapped(patches: Float[Tensor, "N h w 4 4 C"]) -> Float[Tensor, "N C 2*h 2*w"]:
    """The adjoint: sums overlapping 4×4 patches (N, h, w, 4, 4, C) into (N, C, 2h, 2w)."""
    n, h, w, _, _, c = patches.shape
    patches = patches.view(n, h, w, 2, 2, 2, 2, c)
    x = patches.new_zeros(n, h + 1, 2, w + 1, 2, c)
    blocks = x.transpose(2, 3)
    for i in (0, 1):
        for j in (0, 1):
            blocks[:, i : i + h, j : j + w].add_(patches[:, :, :, i, :, j])
    x = _channels_first(x.view(n, 2 * h + 2, 2 * w + 2, c)[:, 1:-1, 1:-1])
    return x.contiguous(memory_format=torch.channels_last)


class Patches(torch.autograd.Function):
    """`_patches`, with `_overlapped` as its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N H//2 W//2 4 4 C"]:
        """x (N, C, 2h, 2w) → (N, h, w, 4, 4, C)."""
        return _patches(x)

    @staticmethod
    def backward(ctx: Any, grad: Float[Tensor, "N h w 4 4 C"]) -> Float[Tensor, "N C 2*h 2*w"]:
        """(N, h, w, 4, 4, C) → (N, C, 2h, 2w)."""
        return _overlapped(grad)


class Overlapped(torch.autograd.Function):
    """`_overlapped`, with `_patches` as its gradient."""

    @staticmethod
    def forward(ctx: Any, patches: Float[Tensor, "N h w 4 4 C"]) -> Float[Tensor, "N C 2*h 2*w"]:
        """patches (N, h, w, 4, 4, C) → (N, C, 2h, 2w)."""
        return _overlapped(patches)

    @staticmethod
    def backward(ctx: Any, grad: Float[Tensor, "N C H W"]) -> Float[Tensor, "N H//2 W//2 4 4 C"]:
        """(N, C, 2h, 2w) → (N, h, w, 4, 4, C)."""
        return _patches(grad)


class DownConv(nn.Conv2d):
    """A 4×4 convolution with stride 2, that halves a map: (N, in, 2h, 2w) → (N, out, h, w)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Float[Tensor, "N _ H W"]) -> Float[Tensor, "N {self.out_channels} H//2 W//2"]:
        """As `nn.Conv2d`; on a CPU, small maps as a product of their patches."""
        if x.shape[2] // 2 > SMALL or not x.is_cpu:
            return super().forward(x)
        patches = Patches.apply(x)
        return _channels_first(F.linear(patches.flatten(3), _channels_last(self.weight).flatten(1), self.bias))


class UpConv(nn.ConvTranspose2d):
    """A 4×4 transposed convolution with stride 2, that doubles a map: (N, in, h, w) → (N, out, 2h, 2w); no bias."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1, bias=False)

    def forward(  # type: ignore[override]  # a size is all that it takes: the double
        self, x: Float[Tensor, "N _ h w"]
    ) -> Float[Tensor, "N {self.out_channels} 2*h 2*w"]:
        """As `nn.ConvTranspose2d`; on a CPU, small maps as overlapping products."""
        if x.shape[2] > SMALL or not x.is_cpu:
            return super().forward(x)
        patches = _channels_last(x) @ _channels_last(self.weight).flatten(1)
        return Overlapped.apply(patches.unflatten(3, (4, 4, self.out_channels)))


# ------------------------------------------------------------------------------------- to a single pixel, and from it


class ConvToPoint(nn.Conv2d):
    """A convolution whose kernel covers the whole map, as a matrix product: (N, in, k, k) → (N, out, 1, 1)."""

    def forward(self, x: Float[Tensor, "N _ k k"]) -> Float[Tensor, "N {self.out_channels} 1 1"]:
        """As `nn.Conv2d`, for maps of the kernel's size."""
        y = F.linear(_channels_last(x).flatten(1), _channels_last(self.weight).flatten(1), self.bias)
        return y[:, :, None, None]


class ConvFromPoint(nn.ConvTranspose2d):
    """A transposed convolution of a single pixel, as a matrix product: (N, in, 1, 1) → (N, out, k, k)."""

    def forward(  # type: ignore[override]  # likewise
        self, x: Float[Tensor, "N _ 1 1"]
    ) -> Float[Tensor, "N {self.out_channels} k k"]:
        """As `nn.ConvTranspose2d`, for maps of one pixel."""
        y = x.flatten(1) @ _channels_last(self.weight).flatten(1)
        y = y.unflatten(1, (*self.kernel_size, self.out_channels))
        return _channels_first(y if self.bias is None else y + self.bias.to(y.dtype))


def make_plain(part: nn.Module) -> None:
    """Makes the convolutions above, wherever in `part` they are, the plain ones that they equal: for export."""
    for layer in part.modules():  # they have the weights and attributes of plain ones: only `forward` is another
        if isinstance(layer, DownConv | ConvToPoint):
            _become(layer, nn.Conv2d)
        elif isinstance(layer, UpConv | ConvFromPoint):
            _become(layer, nn.ConvTranspose2d)


def _become(layer: nn.Module, kind: type[nn.Module]) -> None:
    layer.__class__ = kind


# ------------------------------------------------------------------------------------------------- skip connections


class Branch(torch.autograd.Function):
    """x (N, …) → x itself and its first rows, x[:n].

    Written out because autograd would fill the rows that a slice left out with zeros, in another memory format, and
    add all that to the gradient of x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, " N *map"], n: int
    ) -> tuple[Float[Tensor, " N *map"], Float[Tensor, " {n} *map"]]:
        """x and x[:n], both views."""
        ctx.n = n
        return x.view_as(x), x[:n]

    @staticmethod
    def backward(
        ctx: Any, grad: Float[Tensor, " N *map"], first: Float[Tensor, " _ *map"]
    ) -> tuple[Float[Tensor, " N *map"], None]:
        """The gradient of x, with that of the first rows in its place."""
        return torch.cat([grad[: ctx.n] + first, grad[ctx.n :]]), None


def add_skips(
    d: Float[Tensor, "N C h w"], skips: Float[Tensor, "_ C h w"], rows: tuple[int, int, int]
) -> Float[Tensor, "N C h w"]:
    """Adds hoisted skips to d, in place: step t of d takes those of step t, or of the last step that has its own.

    Args:
        d: (T·B·S, C, h, w).
        skips: (T'·B, C, h, w), 1 ≤ T' ≤ T.
        rows: T, B and S.
    """
    if torch.is_grad_enabled() and (d.requires_grad or skips.requires_grad):
        return AddSkips.apply(d, skips, rows)
    if skips.shape[0] == d.shape[0]:
        return d.add_(skips)  # every row has its own: one plain sum, also in an exported graph
    own = skips.shape[0] // rows[1]
    by_step, skips = d.unflatten(0, rows), skips.unflatten(0, (own, rows[1]))[:, :, None]
    by_step[:own].add_(skips)
    if own < rows[0]:
        by_step[own:].add_(skips[-1])
    return d


class AddSkips(torch.autograd.Function):
    """`add_skips` with its gradient: autograd would copy that of d, the largest there is, for every slice added to."""

    @staticmethod
    def forward(
        ctx: Any, d: Float[Tensor, "N C h w"], skips: Float[Tensor, "_ C h w"], rows: tuple[int, int, int]
    ) -> Float[Tensor, "N C h w"]:
        """d + skips; d is changed."""
        ctx.rows, ctx.own = rows, skips.shape[0] // rows[1]
        ctx.mark_dirty(d)
        return add_skips(d, skips, rows)  # gradients are off here

    @staticmethod
    def backward(
        ctx: Any, grad: Float[Tensor, "N C h w"]
    ) -> tuple[Float[Tensor, "N C h w"], Float[Tensor, "_ C h w"], None]:
        """The gradient itself, and its sums over everything that a skip was added to."""
        by_step = _channels_last(grad).unflatten(0, ctx.rows)  # so that the sums are in channels-last format, too
        skips = by_step[: ctx.own].sum(2)
        if ctx.own < ctx.rows[0]:
            skips[-1].add_(by_step[ctx.own :].sum((0, 2)))
        return grad, _channels_first(skips.flatten(0, 1)), None
