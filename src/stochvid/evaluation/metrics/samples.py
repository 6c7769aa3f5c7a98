"""What a set of samples is worth as a forecast: diversity, sharpness, and whether the truth looks like one of them.

Best-of-N rewards noise: the more samples differ, the nearer the nearest one comes. These tell noise from futures.

Axes: `S` samples, `T` frames, `C` channels, `H W` height and width; values in [0, 1]. One clip at a time.
"""

import torch
from torch import Tensor

from stochvid.core.shapes import Float, Int


def diversity(samples: Float[Tensor, "S T C H W"]) -> Float[Tensor, " T"]:
    """Mean squared error between two different samples, a mean over all pairs: the mean pairwise distance.

    It is what `spread` is in ensemble forecasting (Fortin et al. 2014): if the truth is like one more sample, it equals
    the mean squared error between samples and truth. Computed as twice the unbiased variance, which is the same.

    Args:
        samples: (S, T, C, H, W).

    Returns:
        (T,), 0 for a single sample.
    """
    if len(samples) == 1:
        return samples.new_zeros(samples.shape[1])
    return 2 * samples.var(0, correction=1).mean((-1, -2, -3))


def gradient_energy(frames: Float[Tensor, "*times C H W"]) -> Float[Tensor, "*times"]:
    """Mean squared difference between neighbouring pixels, down and across: low in blurred frames.

    Divided by that of the truth it is a sharpness ratio: 1 as sharp, below 1 blurred, above 1 noisy (the squared form
    of the gradients that the sharpness measure of Mathieu et al. 2016, section 4, compares).

    Args:
        frames: (..., T, C, H, W).

    Returns:
        (..., T).
    """
    down, across = frames.diff(dim=-2), frames.diff(dim=-1)
    return (down.square().mean((-1, -2)) + across.square().mean((-1, -2))).mean(-1)


def crps(samples: Float[Tensor, "S T C H W"], truth: Float[Tensor, "T C H W"]) -> Float[Tensor, " T"]:
    """Continuous ranked probability score of each pixel, a mean over pixels (Gneiting and Raftery 2007, eq. 21).

    E|x − y| − ½ E|x − x'|, the second mean over different samples only: the fair form (Ferro 2014), whose expectation
    does not depend on how many samples there are. Lower is better; a single sample has its mean absolute error.

    Args:
        samples: (S, T, C, H, W).
        truth: (T, C, H, W).

    Returns:
        (T,).
    """
    count = len(samples)
    error = (samples - truth).abs().mean((0, -1, -2, -3))
    if count == 1:
        return error
    # Σ_{i<j} |x_i − x_j| is Σ_k (2k − S + 1) x_(k) over the sorted samples
    weights = torch.arange(1 - count, count, 2, dtype=samples.dtype, device=samples.device)
    return error - torch.tensordot(weights, _sorted(samples), 1).mean((-1, -2, -3)) / (count * (count - 1))


def ranks(
    samples: Float[Tensor, "S T C H W"], truth: Float[Tensor, "T C H W"]
) -> tuple[Float[Tensor, " S+1"], Int[Tensor, ""]]:
    """Rank histogram of the truth among the samples, over pixels in bytes (Hamill 2001).

    Flat if the truth is like one more sample; U-shaped if samples are too alike, a dome if they differ too much. Pixels
    in which all samples and the truth have one value say nothing, and are left out. A truth that ties with samples has
    any of the ranks in question with equal probability, and counts with a share for each.

    Args:
        samples: (S, T, C, H, W).
        truth: (T, C, H, W).

    Returns:
        How many pixels have each rank, 0 (below all samples) to S (above all): (S + 1,) float64, fractions where ranks
        tie; and how many pixels were left out.
    """
    x, y = _bytes(samples).flatten(1), _bytes(truth).flatten()
    below, ties = (x < y).sum(0), (x == y).sum(0)
    telling = ties < len(x)
    below, ties = below[telling], ties[telling]
    # each pixel adds 1 / (ties + 1) to the ranks below … below + ties: steps up and down, summed up
    steps = torch.zeros(len(x) + 2, dtype=torch.float64, device=x.device)
    share = 1 / (ties.double() + 1)
    steps.index_add_(0, below, share)
    steps.index_add_(0, below + ties + 1, -share)
    return steps.cumsum(0)[:-1].clamp(min=0), (~telling).sum()


def _sorted(samples: Tensor) -> Tensor:
    """Samples sorted in each pixel; on a CPU by NumPy, whose sort of short contiguous rows is many times faster."""
    if samples.device.type != "cpu":
        return samples.sort(0).values
    rows = samples.flatten(1).T.clone(memory_format=torch.contiguous_format).numpy()
    rows.sort(axis=1)
    return torch.from_numpy(rows).T.view(samples.shape)


def _bytes(frames: Tensor) -> Tensor:
    return (frames * 255).round().to(torch.uint8)
