"""Figures: uncertainty, scores and surprise over time. Matplotlib is imported when one is drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.evaluation.protocols import HIGHER_IS_BETTER, METRICS
from stochvid.files import replacing


def plot_uncertainty(
    path: Path, prior_std: np.ndarray, context: int, bounces: np.ndarray | None = None, title: str = ""
) -> Path:
    """The prior's σ over time: mean over latents; line and band are mean and range over samples (paper, fig. 3).

    Args:
        path: PNG to write.
        prior_std: σ_ψ, (S, T, Z) with Z ≥ 1.
        context: frames K before the first predicted one.
        bounces: (≥ K + T,) bool, frames of the true clip in which something unpredictable happens, or None.
        title: above the axes.

    Returns:
        `path`.
    """
    sigma = prior_std.mean(axis=-1)  # (S, T)
    frames = np.arange(context + 1, context + 1 + sigma.shape[1])
    figure = _figure(7.5, 3.4)
    axes = figure.add_subplot()
    axes.axvspan(0.5, context + 0.5, color="0.88", label="given frames")
    if bounces is not None:
        for i, frame in enumerate(np.flatnonzero(bounces[: frames[-1]]) + 1):
            label = "bounce in the true clip" if i == 0 else None
            axes.axvline(frame, color="tab:green", ls="--", lw=1.2, label=label)
    axes.fill_between(
        frames, sigma.min(axis=0), sigma.max(axis=0), color="tab:orange", alpha=0.25, lw=0, label="range over samples"
    )
    axes.plot(frames, sigma.mean(axis=0), color="tab:orange", marker="o", ms=3.5, label="prior σ, mean of samples")
    axes.set_ylim(0, 1.1 * float(sigma.max()) or 1.0)
    axes.set_xlim(0.5, frames[-1] + 0.5)
    _finish(axes, "frame", "prior σ (mean over latents)", title or "How uncertain the next frame is")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return _save(figure, path)


def plot_curves(path: Path, runs: Sequence[dict[str, Any]]) -> Path:
    """Metrics over the predicted frames, as the paper's figures 5 and 7: of the best sample, with 95 % bands.

    Args:
        path: PNG to write.
        runs: results of evaluations on the same clips; of a single one, the mean of its samples is shown, too.
    """
    names = [name for name in METRICS if any(name in run["curves"] for run in runs)]
    figure = _figure(4.6 * len(names), 3.6)
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        for i, run in enumerate(run for run in runs if name in run["curves"]):
            drawn, kinds = run["sampling"]["drawn"], run["curves"][name]
            label = f"{run['name']}, best of {drawn}" if drawn > 1 else run["name"]
            _band(axes, run, kinds["best"], f"C{i}", label if place == 0 else None)
            if len(runs) == 1 and drawn > 1:
                _band(axes, run, kinds["mean"], "0.45", "mean of samples" if place == 0 else None, ls="--")
        arrow = "↑" if HIGHER_IS_BETTER[name] else "↓"
        _finish(axes, "frame", f"{METRICS[name]} {arrow}", "")
    protocol, setting = runs[0]["protocol"]["name"], runs[0]["setting"]
    title = f"{protocol}, {setting['clips']:,} clips, {setting['context']} frames given; bands: 95 % of the mean"
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=min(4, max(2, len(runs))))
    return _save(figure, path)


def _band(axes, run: dict[str, Any], curve: dict[str, list], colour: str, label: str | None, **style: Any) -> None:
    mean, half = (np.array(curve[name], dtype=float) for name in ("mean", "ci95"))
    frames = run["setting"]["context"] + 1 + np.arange(len(mean))
    axes.plot(frames, mean, color=colour, label=label, lw=1.6, **style)
    axes.fill_between(frames, mean - half, mean + half, color=colour, alpha=0.2, lw=0)


def _figure(width: float, height: float):
    """A figure that needs no display (inches)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    return figure


def _finish(axes, x: str, y: str, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    if x == "frame":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary)
    return path
