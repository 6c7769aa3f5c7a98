"""How the values of clips become one number with its interval. Imports no torch.

Axes: `N` clips, `T` predicted frames.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def interval(values: np.ndarray) -> np.ndarray | np.floating:
    """Half the 95 % interval of the mean of N values, 1.96 s / √N, along the first axis; NaN of a single one."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1.96 * values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else values[0] * np.nan


def mean(values: np.ndarray) -> dict[str, Any]:
    """Mean over the first axis and half its 95 % interval, null where there is none."""
    return {"mean": plain(values.mean(axis=0)), "ci95": plain(interval(values))}


def mean_over_clips(curves: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Mean of N clips' curves of T values: over clips and time, and of each frame."""
    values = np.array(curves)
    return mean(values.mean(1)) | {"curve": mean(values)}


def beside_truth(curves: Sequence[Sequence[float]], truths: Sequence[Sequence[float]]) -> dict[str, Any]:
    """As `mean_over_clips`, and the mean of what the true frames themselves get, `truth`."""
    return mean_over_clips(curves) | {"truth": mean_over_clips(truths)["mean"]}


def ratio_over_clips(above: Sequence[Sequence[float]], below: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Ratio of the means of two kinds of curves, N × T each: over clips and time, and of each frame."""
    a, b = np.array(above), np.array(below)
    return _ratio(a.mean(1), b.mean(1)) | {"curve": _ratio(a, b)}


def rank_histogram(ranks: Sequence[Sequence[float]], alike: Sequence[int]) -> dict[str, Any]:
    """Sum of N clips' rank histograms, how far it is from flat, and how many pixels have no rank."""
    most = max(map(len, ranks))  # clips that lack a sample have fewer ranks
    histogram = np.sum([counts for counts in ranks if len(counts) == most], axis=0)
    return {
        "counts": histogram.tolist(),
        "reliability_index": reliability_index(histogram),
        "pixels_all_alike": int(sum(alike)),
    }


def reliability_index(histogram: np.ndarray) -> float:
    """How far a rank histogram is from flat: Σ_k |f_k − 1 / n| of its n frequencies (Delle Monache et al. 2006).

    0 is flat; 2 − 2 / n, the most, if all is in one rank.
    """
    total = histogram.sum()
    return float(np.abs(histogram / total - 1 / len(histogram)).sum()) if total else 0.0


def plain(values: np.ndarray | np.floating) -> Any:
    """Floats for JSON, null for what is not finite."""
    numbers = np.asarray(values, dtype=np.float64)
    told = numbers.astype(object)
    told[~np.isfinite(numbers)] = None
    return told.tolist()


def _ratio(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Ratio of the means of a and b over the first axis, with a linearised 95 % interval."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = a.mean(axis=0) / b.mean(axis=0)
        return {"mean": plain(ratio), "ci95": plain(interval((a - ratio * b) / b.mean(axis=0)))}
