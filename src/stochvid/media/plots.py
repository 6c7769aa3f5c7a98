"""Figures: uncertainty, scores and surprise over time. Matplotlib is imported when one is drawn."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stochvid.core.clips import in_words, one_of
from stochvid.core.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

EVENTS = ("tab:green", "tab:purple", "tab:brown", "tab:olive")  # the colours that mark them


def plot_uncertainty(
    path: Path, prior_std: np.ndarray, context: int, events: Mapping[str, np.ndarray] | None = None, title: str = ""
) -> Path:
    """The prior's σ over time: mean over latents; line and band are mean and range over samples (paper, fig. 3).

    Args:
        path: PNG to write.
        prior_std: σ_ψ, (S, T, …), of latents of any shape.
        context: frames K before the first predicted one.
        events: by name, (≥ K + T,) bool, the frames of the true clip in which something unpredictable happens.
        title: above the axes.

    Returns:
        `path`.
    """
    sigma = prior_std.reshape(*prior_std.shape[:2], -1).mean(axis=-1)  # (S, T)
    frames = np.arange(context + 1, context + 1 + sigma.shape[1])
    figure = new_figure(7.5, 3.4)
    axes = figure.add_subplot()
    axes.axvspan(0.5, context + 0.5, color="0.88", label="given frames")
    for (name, happens), color in zip((events or {}).items(), cycle(EVENTS)):
        for i, frame in enumerate((np.flatnonzero(happens[: frames[-1]]) + 1).tolist()):
            label = as_words(f"{one_of(name)} in the true clip") if i == 0 else None
            axes.axvline(frame, color=color, ls="--", lw=1.2, label=label)
    axes.fill_between(
        frames, sigma.min(axis=0), sigma.max(axis=0), color="tab:orange", alpha=0.25, lw=0, label="range over samples"
    )
    axes.plot(frames, sigma.mean(axis=0), color="tab:orange", marker="o", ms=3.5, label="prior σ, mean of samples")
    axes.set_ylim(0, 1.1 * float(sigma.max()) or 1.0)
    axes.set_xlim(0.5, frames[-1] + 0.5)
    finish_axes(axes, "frame", "prior σ (mean over latents)", as_words(title) or "How uncertain the next frame is")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return save_figure(figure, path)


def plot_events(
    path: Path,
    results: dict[str, Any],
    sigma: np.ndarray,
    happens: np.ndarray,
    frames: np.ndarray,
    context: int,
    name: str,
    each: tuple[np.ndarray, np.ndarray] | None = None,
) -> Path:
    """The prior's σ against a true event: ROC curves, σ around it, and a clip's σ above its frames (fig. 3).

    Args:
        path: PNG to write.
        results: of `uncertainty`.
        sigma: of the clip's frames 2 … T, (T − 1,).
        happens: when the event happens in the clip, (T,) bool.
        frames: of the clip, (T, C, H, W) uint8.
        context: frames that the model is given.
        name: of the event, in the plural.
        each: σ where each of the clip's digits is, (T − 1, D), and when it turns, (T, D); None: σ is no map.
    """
    one, many = one_of(name), in_words(name)
    figure = new_figure(10, 6.6)
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.15, 1])
    left, right = above.subplots(1, 2)
    kinds = {"every_frame": "every frame", "without_the_frame_after": f"without the frame after a {one}"}
    kinds["each_digit"] = "each digit where it is"
    for i, (which, label) in enumerate(kinds.items()):
        if which not in results:
            continue
        r = results[which]
        low, high = r["auroc_ci95"]
        label = f"{label}: AUROC {r['auroc']:.3f} ({low:.3f} to {high:.3f})"
        left.plot(r["roc"]["false_positive_rate"], r["roc"]["true_positive_rate"], color=f"C{i}", label=label)
    left.plot([0, 1], [0, 1], color="0.7", lw=1, ls=":")
    left.legend(frameon=False, fontsize=8, loc="lower right")
    finish_axes(left, f"frames without a {one} above the threshold", f"{many} above it", f"σ tells the {many}")
    offsets, mean, low, high = (
        np.array([step[name] for step in results["aligned"]], dtype=float) for name in ("offset", "mean", "p10", "p90")
    )
    right.fill_between(offsets, low, high, color="tab:orange", alpha=0.25, lw=0, label="10 to 90 % of the frames")
    right.plot(offsets, mean, color="tab:orange", marker="o", ms=4, label="mean")
    right.axvline(0, color=EVENTS[0], ls="--", lw=1.2, label=one)
    right.set_ylim(0, None)
    right.legend(frameon=False, fontsize=8)
    finish_axes(right, f"frames after the {one}", "prior σ (mean over latents)", f"σ around a {one}")
    _plot_clip(below, sigma, happens, frames, context, many, each)
    return save_figure(figure, path)


def _plot_clip(
    place: "SubFigure",
    sigma: np.ndarray,
    happens: np.ndarray,
    frames: np.ndarray,
    context: int,
    many: str,
    each: tuple[np.ndarray, np.ndarray] | None,
) -> None:
    """A clip's σ above its frames; arguments as `plot_events`, `many` the events in words."""
    strip, axes = place.subplots(2, 1, sharex=True, height_ratios=[1, 3])
    for t, frame in enumerate(frames, 1):
        strip.imshow(_pixels(frame), extent=(t - 0.48, t + 0.48, 0, 0.96), cmap="gray", vmin=0, vmax=255)
    strip.set_ylim(0, 0.96)
    strip.set_anchor("S")
    strip.set_axis_off()
    axes.axvspan(0.5, context + 0.5, color="0.9")
    axes.set_xlim(0.5, len(frames) + 0.5)
    steps = np.arange(2, len(frames) + 1)
    axes.plot(steps, sigma, color="tab:orange" if each is None else "0.5", marker="o", ms=3.5, label="whole frame")
    top = float(sigma.max())
    if each is None:
        for frame in np.flatnonzero(happens) + 1:
            axes.axvline(frame, color=EVENTS[0], ls="--", lw=1.2)
    else:
        top = max(top, float(each[0].max()))
        for i, (values, turns) in enumerate(zip(each[0].T, each[1].T, strict=True)):
            axes.plot(steps, values, color=f"C{i}", lw=1.2, label=f"digit {i + 1}; dashed: its {many}")
            for frame in np.flatnonzero(turns) + 1:
                axes.axvline(frame + 0.06 * (i - 0.5), color=f"C{i}", ls="--", lw=1.2)
        axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=3)
    axes.set_ylim(0, 1.1 * top)
    finish_axes(axes, "frame", "prior σ", "")
    strip.set_title(
        "One clip: σ of each frame, given the true frames before it (grey: context)", loc="left", fontsize=11
    )


def plot_surprise(
    path: Path,
    series: dict[str, np.ndarray],
    peaks: np.ndarray,
    strip: Sequence[tuple[int, np.ndarray]],
    shown: Sequence[tuple[int, np.ndarray]],
    title: str,
) -> Path:
    """Surprise over a video above a filmstrip, its peaks marked, and the frames of the highest peaks.

    Args:
        path: PNG to write.
        series: `frame`, `kl`, `kl_smooth`, `mse`, `mse_smooth`, (T,) each.
        peaks: places in the series.
        strip: frame numbers and frames (C, H, W) uint8 along the video.
        shown: likewise of peaks.
        title: above.
    """
    figure = new_figure(11, 6.4 if shown else 5.2)
    heights = [0.5, 1.6, 1] + [0.7] * bool(shown)
    rows = figure.subplots(len(heights), 1, height_ratios=heights)
    _filmstrip(rows[0], strip, as_words(title))
    for axes, name, colour, label in (
        (rows[1], "kl", "tab:orange", "KL(q ‖ p), nats"), (rows[2], "mse", "tab:blue", "reconstruction MSE"),
    ):  # fmt: skip
        axes.plot(series["frame"], series[name], color=colour, alpha=0.4, lw=1, label="raw")
        axes.plot(series["frame"], series[f"{name}_smooth"], color=colour, lw=1.6, label="smoothed")
        axes.set_xlim(1, max(2, series["frame"][-1]))
        axes.set_ylim(0, 1.12 * float(series[name].max()) or 1.0)
        axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
        finish_axes(axes, "frame", label, "")
        axes.vlines(
            series["frame"][peaks], 0, 1, color="tab:red", ls="--", lw=0.8, transform=axes.get_xaxis_transform()
        )  # fmt: skip
    rows[1].set_xlabel("")
    for number, _ in shown:
        place = number, series["kl"][number - series["frame"][0]]
        rows[1].annotate(str(number), place, (2, 2), textcoords="offset points", color="tab:red", fontsize=8)
    if shown:
        _filmstrip(rows[3], shown, "the highest peaks, and their frames")
    return save_figure(figure, path)


def _filmstrip(axes: "Axes", frames: Sequence[tuple[int, np.ndarray]], title: str) -> None:
    """Frames (C, H, W) uint8 side by side, with their numbers below."""
    for i, (number, frame) in enumerate(frames):
        axes.imshow(_pixels(frame), extent=(i + 0.02, i + 0.98, 0, 1), cmap="gray", vmin=0, vmax=255)
        axes.text(i + 0.5, -0.08, str(number), ha="center", va="top", fontsize=7)
    axes.set_xlim(0, len(frames))
    axes.set_ylim(0, 1)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_anchor("W")
    axes.set_axis_off()


def _pixels(frame: np.ndarray) -> np.ndarray:
    """(C, H, W) uint8 as Matplotlib shows it: (H, W), or (H, W, 3)."""
    return frame[:3].transpose(1, 2, 0) if len(frame) >= 3 else frame[0]


def as_words(text: str) -> str:
    """A name as Matplotlib shows it: no formulas, no bytes that are no text, nothing that hides it from a legend."""
    text = text.encode("utf-8", "replace").decode().replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def new_figure(width: float, height: float) -> "Figure":
    """A figure that needs no display (inches)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    return figure


def finish_axes(axes: "Axes", x: str, y: str, title: str) -> None:
    """Labels and title of axes, as all figures here have them."""
    from matplotlib.ticker import MaxNLocator

    if x == "frame":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: "Figure", path: Path) -> Path:
    """Writes a figure whole or not at all."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # in people's own names
        figure.savefig(temporary)
    return path
