"""How frames that a model made differ from the true ones, in all the ways that a loss may count it.

Axes: `B` clips, `T` frames, `C H W` image; all frames in [0, 1].
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from stochvid.core.clips import CHANGE
from stochvid.core.shapes import Float

NEARLY = 1e-6  # how near to 0 and 1 a pixel may come for the cross-entropy, where only the pixel is known


def errors(
    names: Sequence[str],
    made: Float[Tensor, "B T C H W"],
    true: Float[Tensor, "B T C H W"],
    logits: Float[Tensor, "B T C H W"] | None = None,
    weight: Float[Tensor, "B T 1 H W"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Errors by their names, each a mean over clips and frames.

    Args:
        names: of `PER_PIXEL` and `PER_FRAME`.
        made: frames that a model made.
        true: those that they should be, in the dtype to compute in.
        logits: of which `made` are the sigmoids, if known.
        weight: of every pixel, for errors of `PER_PIXEL`.
    """
    made = made.to(true.dtype)
    found = {}
    for name in names:
        if name in PER_FRAME:
            found[name] = PER_FRAME[name](made, true).mean()
            continue
        if name == "bce" and logits is not None:
            each = F.binary_cross_entropy_with_logits(logits.to(true.dtype), true, reduction="none")
        else:
            each = PER_PIXEL[name](made, true)
        found[name] = (each if weight is None else each * weight).mean()
    return found


def changes(frames: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B steps 1 H W"]:
    """1 where a pixel of a frame differs from that of the frame before in some channel, else 0."""
    differences = (frames[:, 1:] - frames[:, :-1]).abs().amax(2, keepdim=True)
    return (differences > (CHANGE - 0.5) / 255).to(frames.dtype)


def change_weights(
    frames: Float[Tensor, "B T C H W"], made: int, weight: Tensor | None
) -> Float[Tensor, "B {made} 1 H W"] | None:
    """What each pixel of a clip's last frames counts: those that changed `1 + weight`, the others 1.

    Args:
        frames: of the clip, more than `made`.
        made: how many of the last frames.
        weight: a scalar; None: all count the same, which is None, too.
    """
    return None if weight is None else 1 + weight * changes(frames[:, -made - 1 :])


def cross_entropy(made: Float[Tensor, "B T C H W"], true: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B T C H W"]:
    """−y log x − (1 − y) log(1 − x) of each pixel, in nats."""
    made = made.clamp(NEARLY, 1 - NEARLY)
    return -(true * made.log() + (1 - true) * (-made).log1p())


def gradient_difference(made: Float[Tensor, "B T C H W"], true: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B T"]:
    """How much steps from pixel to pixel, right and down, differ in their amounts (Mathieu et al. 2016, eq. 6, α = 1).

    A sum over both directions of the mean over pixels and channels.
    """
    down, right = ((made.diff(dim=axis).abs() - true.diff(dim=axis).abs()).abs().mean((2, 3, 4)) for axis in (-2, -1))
    return down + right


def fourier_amplitude(made: Float[Tensor, "B T C H W"], true: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B T"]:
    """Mean squared difference of the amplitudes of the frames' Fourier transforms (Yan et al. 2024, FAL).

    The transform is orthonormal, so that it is of the size of a squared error per pixel.
    """
    a, b = (torch.fft.rfft2(x, norm="ortho").abs() for x in (made, true))
    width = made.shape[-1]
    twice = torch.full((a.shape[-1],), 2.0, dtype=made.dtype, device=made.device)  # what rfft2 leaves out mirrors it
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    return ((a - b).square() * twice).sum((2, 3, 4)) / (made.shape[2] * made.shape[3] * width)


def fourier_correlation(made: Float[Tensor, "B T C H W"], true: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B T"]:
    """1 − the correlation of the frames' Fourier transforms (Yan et al. 2024, FCL).

    By Parseval's theorem it is 1 − the cosine between the frames themselves, which is how it is computed.
    """
    return 1 - F.cosine_similarity(made.flatten(2), true.flatten(2), dim=2)


PER_PIXEL = {
    "mse": lambda made, true: (made - true).square(),
    "l1": lambda made, true: (made - true).abs(),
    "bce": cross_entropy,
}
PER_FRAME = {
    "gradient_difference": gradient_difference,
    "fourier_amplitude": fourier_amplitude,
    "fourier_correlation": fourier_correlation,
}
