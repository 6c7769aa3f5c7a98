"""Metrics over time as a figure. Matplotlib is imported when it is drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stochvid.evaluation.results import numbered
from stochvid.media.plots import as_words, finish_axes, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_curves(path: Path, runs: Sequence[dict[str, Any]]) -> Path:
    """Metrics over the predicted frames, as in the paper's figures: of the best sample, with 95 % bands.

    Args:
        path: PNG to write.
        runs: results of evaluations on the same clips; of a single one, the mean of its samples is shown, too.
    """
    metrics = numbered(runs, "frame")
    figure = new_figure(4.6 * len(metrics), 3.6)
    for place, metric in enumerate(metrics):
        axes = figure.add_subplot(1, len(metrics), place + 1)
        for i, run in enumerate(run for run in runs if metric.name in run["curves"]):
            drawn, kinds = run["sampling"]["drawn"], run["curves"][metric.name]
            label = as_words(f"{run['name']}, best of {drawn}" if drawn > 1 else run["name"])
            _band(axes, run, kinds["best"], f"C{i}", label if place == 0 else None)
            if len(runs) == 1 and drawn > 1:
                _band(axes, run, kinds["mean"], "0.45", "mean of samples" if place == 0 else None, ls="--")
        finish_axes(axes, "frame", metric.title, "")
    protocol, setting = runs[0]["protocol"]["name"], runs[0]["setting"]
    title = f"{protocol}, {setting['clips']:,} clips, {setting['context']} frames given; bands: 95 % of the mean"
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=min(4, max(2, len(runs))))
    return save_figure(figure, path)


def _band(
    axes: "Axes", run: dict[str, Any], curve: dict[str, list], colour: str, label: str | None, **style: Any
) -> None:
    mean, half = (np.array(curve[name], dtype=float) for name in ("mean", "ci95"))
    frames = run["setting"]["context"] + 1 + np.arange(len(mean))
    axes.plot(frames, mean, color=colour, label=label, lw=1.6, **style)
    axes.fill_between(frames, mean - half, mean + half, color=colour, alpha=0.2, lw=0)
