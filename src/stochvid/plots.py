"""Figures: how uncertain the model is, step by step."""

from pathlib import Path

import numpy as np

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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    sigma = prior_std.mean(axis=-1)  # (S, T)
    frames = np.arange(context + 1, context + 1 + sigma.shape[1])
    figure = Figure(figsize=(7.5, 3.4), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("frame")
    axes.set_ylabel("prior σ (mean over latents)")
    axes.set_title(title or "How uncertain the next frame is", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    with replacing(path) as temporary:
        figure.savefig(temporary)
    return path
