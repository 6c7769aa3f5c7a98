"""How near predicted frames are to the true ones: MSE, PSNR and SSIM, for many samples of many clips at once.

Axes: `B` clips, `S` samples, `T` frames, `C` channels, `H W` height and width. Everything is told per clip, sample,
frame and channel; what to average, and which sample is the best, is a protocol's affair.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from stochvid.core.errors import InputError
from stochvid.core.shapes import Float, Frames

Window = Literal["uniform", "gaussian"]

K1, K2 = 0.01, 0.03  # Wang et al. (2004), section III
UNIFORM_SIDE, GAUSSIAN_SIDE, GAUSSIAN_SIGMA = 7, 11, 1.5
RISKY = 50  # roundings of float32: 3e-6
PIXELS_AT_ONCE = {"cpu": 40 * 64 * 64, "cuda": 1 << 26}  # the maps of so many stay in a processor's cache


def mse(prediction: Frames[Tensor, "B S T C H W"], truth: Frames[Tensor, "B T C H W"]) -> Float[Tensor, "B S T C"]:
    """Mean squared error of each frame and channel, of values in [0, 1].

    Args:
        prediction: (B, S, T, C, H, W), float in [0, 1] or uint8.
        truth: (B, T, C, H, W), likewise.

    Returns:
        (B, S, T, C) float32.

    Raises:
        InputError: the shapes do not go together.
    """
    prediction, truth = _checked(prediction, truth)
    result = truth.new_empty(prediction.shape[:4])
    for piece, x, y in _pieces(prediction, truth):
        result.flatten(2)[piece] = (x - y).square_().mean((-1, -2))
    return result


def psnr(prediction: Frames[Tensor, "B S T C H W"], truth: Frames[Tensor, "B T C H W"]) -> Float[Tensor, "B S T C"]:
    """Peak signal-to-noise ratio of each frame and channel in dB, 10 log₁₀(1 / MSE); infinite where they are equal.

    Args:
        prediction: (B, S, T, C, H, W), float in [0, 1] or uint8.
        truth: (B, T, C, H, W), likewise.

    Returns:
        (B, S, T, C) float32.

    Raises:
        InputError: the shapes do not go together.
    """
    return -10 * torch.log10(mse(prediction, truth))


def ssim(
    prediction: Frames[Tensor, "B S T C H W"],
    truth: Frames[Tensor, "B T C H W"],
    *,
    window: Window = "gaussian",
    sample_covariance: bool = False,
    data_range: float = 1.0,
) -> Float[Tensor, "B S T C"]:
    """Structural similarity (Wang et al. 2004) of each frame and channel, a mean over the windows inside the frame.

    Two windows: uniform, 7×7, and Gaussian, 11×11 with σ = 1.5. Within 1e-5 of scikit-image in float64: frames are
    centred on the mean of the true one first, as second moments of bright frames lose their last digits in float32, and
    frames that are flat far from their mean, half black and half white ones, are computed in float64.

    Args:
        prediction: (B, S, T, C, H, W), float in [0, 1] or uint8.
        truth: (B, T, C, H, W), likewise.
        window: uniform or gaussian.
        sample_covariance: divide by N − 1 instead of N, with N pixels in the window.
        data_range: L of the constants (K₁L)² and (K₂L)², for values in [0, 1].

    Returns:
        (B, S, T, C) float32, at most 1.

    Raises:
        InputError: the shapes do not go together, or frames are smaller than the window.
    """
    prediction, truth = _checked(prediction, truth)
    side, windowed = WINDOWS[window]
    height, width = truth.shape[-2:]
    if min(height, width) < side:
        raise InputError(f"SSIM's {window} window has {side} pixels a side; frames of {height}×{width} are smaller.")
    scale = side**2 / (side**2 - 1) if sample_covariance else 1.0
    constants = (K1 * data_range) ** 2, (K2 * data_range) ** 2 / scale  # the scale cancels out of the other terms
    result, risk = _ssim(prediction, truth, windowed, *constants)
    doubtful = risk > RISKY
    if doubtful.any():  # flat windows far from the frame's mean
        expanded = truth[:, None].expand_as(prediction)
        x, y = (frames[doubtful].double()[None, :, None] for frames in (prediction, expanded))
        result[doubtful] = _ssim(x[:, None], y, windowed, *constants)[0].flatten().to(result)
    return result.clamp_(max=1)


def _ssim(
    prediction: Float[Tensor, "B S T C H W"],
    truth: Float[Tensor, "B T C H W"],
    windowed: Callable[[Tensor], Tensor],
    c1: float,
    c2: float,
) -> tuple[Float[Tensor, "B S T C"], Float[Tensor, "B S T C"]]:
    """SSIM (B, S, T, C), and by how many roundings of 1 it may be off, about."""
    result, risk = truth.new_empty(prediction.shape[:4]), truth.new_empty(prediction.shape[:4])
    known: tuple[int, slice] | None = None
    for (clip, samples, frames), x, y in _pieces(prediction, truth):
        if known != (clip, frames):  # what the truth gives serves all samples
            known, moments = (clip, frames), _true_moments(y, windowed, c2)
        shift, y_twice, y_mean_twice, y_mean_back, y_mean_squared, y_square = moments
        maps = x.new_empty(3, *x.shape)
        torch.sub(x, shift, out=maps[0])
        torch.mul(maps[0], maps[0], out=maps[1])
        torch.mul(maps[0], y_twice, out=maps[2])
        x_mean, x_square, product_twice = windowed(maps)
        # Wang et al. (2004), equation 13, in place; the shift is put back into the means
        back = (x_mean + y_mean_back).mul_(2 * shift).add_(c1)
        means_twice = x_mean * y_mean_twice
        squares = torch.addcmul(y_mean_squared, x_mean, x_mean)
        variances = x_square.add_(y_square).sub_(squares)
        above = (back + means_twice).mul_(product_twice.sub_(means_twice).add_(c2))
        risk.flatten(2)[clip, samples, frames] = (squares / variances).mean((-1, -2))
        below = back.add_(squares).mul_(variances)
        result.flatten(2)[clip, samples, frames] = above.div_(below).mean((-1, -2))
    return result, risk


def _true_moments(y: Tensor, windowed: Callable[[Tensor], Tensor], c2: float) -> tuple[Tensor, ...]:
    """The terms of SSIM that the truth (n, H, W) alone gives: its mean over the frame, and centred on that: y, twice;
    its windowed mean, twice; not centred; squared; and its windowed square plus the constant."""
    shift = y.mean((-1, -2), keepdim=True)
    y = y - shift
    mean, square = windowed(torch.stack([y, y * y]))
    return shift, 2 * y, 2 * mean, mean + shift, mean.square(), square + c2


def _pieces(prediction: Tensor, truth: Tensor) -> Iterator[tuple[tuple[int, slice, slice], Tensor, Tensor]]:
    """Pieces that stay in cache: (clip, samples, frames), prediction (s, n, H, W), truth (n, H, W).

    A frame of C channels counts as C frames here. Pieces of one clip and the same frames follow each other.
    """
    x, y = prediction.flatten(2, 3), truth.flatten(1, 2)
    samples, length = x.shape[1:3]
    most = max(1, PIXELS_AT_ONCE.get(y.device.type, PIXELS_AT_ONCE["cuda"]) // y[0, 0].numel())
    width = min(length, most)
    for clip in range(len(y)):
        for frames in _slices(length, width):
            for some in _slices(samples, most // width):
                yield (clip, some, frames), x[clip, some, frames], y[clip, frames]


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _uniform(maps: Tensor) -> Tensor:
    """Means over all 7×7 windows in the frames, (..., H, W) → (..., H − 6, W − 6): one value and three sums of two."""
    for dim in (-2, -1):
        count = maps.shape[dim] - 6
        two = maps.narrow(dim, 0, count + 5) + maps.narrow(dim, 1, count + 5)
        maps = maps.narrow(dim, 6, count) + two.narrow(dim, 0, count)
        maps += two.narrow(dim, 2, count)
        maps += two.narrow(dim, 4, count)
    return maps.mul_(1 / UNIFORM_SIDE**2)


def _gaussian(maps: Tensor) -> Tensor:
    """Means over all 11×11 Gaussian windows in the frames, (..., H, W) → (..., H − 10, W − 10): two band matrices."""
    rows, columns = (_band(side).to(maps) for side in maps.shape[-2:])
    return rows.T @ (maps @ columns)


@cache
def _band(side: int) -> Tensor:
    """(side, side − 10): column j holds the Gaussian window that begins at j."""
    places = torch.arange(GAUSSIAN_SIDE, dtype=torch.float64) - GAUSSIAN_SIDE // 2
    weights = torch.exp(-places.square() / (2 * GAUSSIAN_SIGMA**2))
    band = weights.new_zeros(side, side - GAUSSIAN_SIDE + 1)
    for offset, weight in enumerate(weights / weights.sum()):
        band.diagonal(-offset).fill_(weight)
    return band


WINDOWS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "uniform": (UNIFORM_SIDE, _uniform),
    "gaussian": (GAUSSIAN_SIDE, _gaussian),
}


def _checked(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    if prediction.ndim != 6 or truth.shape != prediction.shape[:1] + prediction.shape[2:] or 0 in prediction.shape:
        raise InputError(
            "predictions (B, S, T, C, H, W) and truth (B, T, C, H, W) do not go together: they are "
            f"{tuple(prediction.shape)} and {tuple(truth.shape)}."
        )
    return as_float(prediction), as_float(truth)


def as_float(frames: Frames[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Frames in [0, 1] as float32: of bytes, a 255th."""
    return frames.float() if frames.is_floating_point() else frames.float() / 255
