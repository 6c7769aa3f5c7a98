"""The figures of how-it-works.md, from a model of the `laptop` config's kind: deterministic, given the model.

    python docs/figures.py one-digit
    python docs/figures.py one-digit --betas runs/beta-1e-6 runs/beta-1e-4 runs/beta-1e-2

The second command draws the figure of β, too.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

from stochvid import SVG
from stochvid.evaluation.held_out import TestClips, find_clips_for
from stochvid.evaluation.metrics.frames import as_float, mse, psnr
from stochvid.evaluation.metrics.samples import diversity, gradient_energy
from stochvid.inference.trained import Trained
from stochvid.models.noise import latent_noise

OUT = Path(__file__).parent / "figures"
CONTEXT, HORIZON = 5, 20
ORANGE, GREEN, BLUE, GREY, INK = "#e08a2e", "#3aa76d", "#3f78b5", "#8a93a3", "#2a2f3a"
FILL = {GREY: "#eef0f4", ORANGE: "#fdeedd", BLUE: "#e3edf8", GREEN: "#e1f4ea"}
STYLE = {"font.size": 9, "axes.edgecolor": INK, "text.color": INK, "axes.labelcolor": INK}
CLIPS, SAMPLES = 64, 20  # what is measured for β


def open_figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=130, layout="constrained", facecolor="white")


def save(figure: Figure, name: str) -> None:
    OUT.mkdir(exist_ok=True)
    path, raw = OUT / name, io.BytesIO()
    figure.savefig(raw, format="png")
    Image.open(raw).convert("RGB").quantize(96).save(path, optimize=True)  # 96 colours: a third of the bytes
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def tidy(axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


def legend_above(axes) -> None:
    """A legend that crosses no line."""
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.97), ncols=3, fontsize=8, borderaxespad=0)


def open_test(model: str) -> TestClips:
    return find_clips_for(Trained.open(model, "cpu"), None, None).open(CONTEXT + HORIZON)


def pick(test: TestClips) -> int:
    """The third test clip with two bounces after frame 9, the first before frame 17: its digit stays legible."""
    bounces = test.read(range(200))["bounces"]
    telling = bounces[:, 9:16].any(1) & (bounces[:, 9:].sum(1) == 2) & ~bounces[:, CONTEXT:9].any(1)
    return int(np.flatnonzero(telling)[2])


# ------------------------------------------------------------------------------------------------ a diagram of one step


class Diagram:
    """Boxes and arrows on axes of 100 × 46."""

    def __init__(self, figure: Figure):
        self.axes = figure.add_subplot()
        self.axes.set(xlim=(0, 100), ylim=(0, 47), aspect="equal")
        self.axes.set_axis_off()

    def box(self, x: float, y: float, words: str, colour: str, wide: float = 15, high: float = 6.4) -> None:
        shape = FancyBboxPatch(
            (x - wide / 2, y - high / 2), wide, high, boxstyle="round,pad=0,rounding_size=1", fc=FILL[colour], ec=colour
        )
        self.axes.add_patch(shape)
        self.axes.text(x, y, words, ha="center", va="center", fontsize=9, linespacing=1.25)

    def image(self, x: float, y: float, frame: np.ndarray, words: str, colour: str = GREY, side: float = 9) -> None:
        half = side / 2
        self.axes.imshow(frame, extent=(x - half, x + half, y - half, y + half), cmap="gray", vmin=0, vmax=1)
        self.axes.add_patch(
            FancyBboxPatch((x - half, y - half), side, side, boxstyle="square,pad=0", fc="none", ec=colour, lw=1.6)
        )
        self.axes.text(x, y - half - 2, words, ha="center", va="center", fontsize=10)

    def arrow(self, start: Sequence[float], end: Sequence[float], words: str = "", colour: str = INK, **how) -> None:
        bend, dashed = how.get("bend"), how.get("dashed", False)
        style = {"connectionstyle": bend} if bend else {}
        self.axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=10, lw=1.2, color=colour, shrinkA=0, shrinkB=0,
                ls="--" if dashed else "-", **style,
            )
        )  # fmt: skip
        if words:
            dx, dy = how.get("at", (0, 1.5))
            x, y = (start[0] + end[0]) / 2 + dx, (start[1] + end[1]) / 2 + dy
            self.axes.text(x, y, words, ha="center", va="center", fontsize=9, color=colour)


def draw_step(before: np.ndarray, now: np.ndarray, made: np.ndarray) -> None:
    """One step of training: frames (H, W) in [0, 1]."""
    figure = open_figure(9.2, 4.3)
    d = Diagram(figure)
    top, middle, low = 38, 24, 8
    d.image(7, middle, before, "$x_{t-1}$")
    d.image(7, low, now, "$x_t$", GREEN)
    d.box(25, middle, "encoder", GREY, 13)
    d.box(25, low, "encoder", GREY, 13)
    d.box(48, top - 2, "prior LSTM\n$p_\\psi(z_t\\,|\\,x_{1:t-1})$", ORANGE, 18, 8)
    d.box(48, low, "posterior LSTM\n$q_\\phi(z_t\\,|\\,x_{2:t})$", GREEN, 18, 8)
    d.box(67, middle, "predictor\nLSTM", BLUE, 13, 8)
    d.box(83, middle, "decoder", BLUE, 11)
    d.image(95, middle, made, r"$\hat{x}_t$", BLUE)
    d.arrow((11.7, middle), (18.3, middle))
    d.arrow((11.7, low), (18.3, low))
    d.arrow((31.7, middle), (60.3, middle), "$h_{t-1}$", at=(-8.5, 1.6))
    d.arrow((35.5, middle), (38.8, top - 2), bend="angle,angleA=90,angleB=0,rad=3")
    d.arrow((31.7, low), (38.8, low), "$h_t$", at=(-0.6, 1.6))
    d.arrow((57.2, low), (65, middle - 4.2), "$z_t \\sim q_\\phi$\nin training", GREEN, at=(10.2, -1.2),
            bend="angle,angleA=0,angleB=90,rad=3")  # fmt: skip
    d.arrow((57.2, top - 2), (65, middle + 4.2), "$z_t \\sim p_\\psi$\nin prediction", ORANGE, at=(11, 0.2),
            bend="angle,angleA=0,angleB=90,rad=3", dashed=True)  # fmt: skip
    d.arrow((48, low + 4.2), (48, middle - 1.2), "", GREY, dashed=True)
    d.arrow((48, top - 6.2), (48, middle + 1.2), "", GREY, dashed=True)
    d.axes.text(49, middle - 5.5, "KL$(q_\\phi\\,\\|\\,p_\\psi)$", fontsize=9, color=GREY, va="center")
    d.arrow((73.7, middle), (77.3, middle), "$g_t$", at=(0, 1.8))
    d.arrow((88.7, middle), (90.3, middle))
    d.axes.plot([25, 25, 83], [middle + 3.2, top + 5.5, top + 5.5], color=GREY, lw=1.2)
    d.arrow((83, top + 5.5), (83, middle + 3.4), colour=GREY)
    d.axes.text(26, top + 7.2, "skips: feature maps at every resolution", fontsize=9, color=GREY, va="center")
    save(figure, "step.png")


# -------------------------------------------------------------------------------------------------- what a model does


def strip(axes, frames: np.ndarray, first: int = 1, edge: str = GREY, numbers: bool = False) -> None:
    """Frames (T, H, W) in a row, frame t at x = t, with every fifth number below."""
    for t, frame in enumerate(frames, first):
        axes.imshow(
            frame, extent=(t - 0.47, t + 0.47, 0, 0.94), cmap="gray", vmin=0, vmax=255 if frame.max() > 1 else 1
        )
        axes.plot([t - 0.47, t + 0.47, t + 0.47, t - 0.47, t - 0.47], [0, 0, 0.94, 0.94, 0], color=edge, lw=1)
        if numbers and t % 5 == 0:
            axes.text(t, -0.15, str(t), ha="center", va="top", fontsize=8)
    axes.set(ylim=(-0.03, 0.97), yticks=[], aspect="equal")
    axes.set_axis_off()


def mark(axes, bounces: np.ndarray) -> None:
    axes.axvspan(0.5, CONTEXT + 0.5, color="#f0f1f4", lw=0)
    for i, frame in enumerate(np.flatnonzero(bounces) + 1):
        axes.axvline(frame, color=GREEN, ls="--", lw=1.2, label="bounce" if i == 0 else None)


def draw_sigma(model: SVG, frames: np.ndarray, bounces: np.ndarray) -> None:
    """σ of the prior along an observed clip, above its frames."""
    sigma = model.observe(torch.from_numpy(frames)[None], decode=False).prior.std[0].mean(-1).numpy()
    figure = open_figure(9.2, 3.0)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
    mark(axes, bounces)
    axes.plot(
        np.arange(2, len(frames) + 1), sigma, color=ORANGE, marker="o", ms=4, label="prior's σ, mean over latents"
    )
    axes.set(ylim=(0, 1.1 * sigma.max()), xlim=(0.4, len(frames) + 0.6))
    axes.text(0.7, 0.08, "context", color=GREY, fontsize=8)
    legend_above(axes)
    tidy(axes, "", "σ of the next frame")
    strip(below, frames[:, 0], numbers=True)
    save(figure, "sigma.png")


def draw_futures(model: SVG, frames: np.ndarray, bounces: np.ndarray) -> None:
    """The truth and several futures from one context, every second frame."""
    context = torch.from_numpy(frames[None, :CONTEXT])
    futures = model.predict(context, HORIZON, samples=4, seed=0).frames[0, :, :, 0].numpy()
    shown = np.r_[1:CONTEXT, CONTEXT : len(frames) : 2]
    figure = open_figure(9.2, 3.45)
    figure.get_layout_engine().set(hspace=0, h_pad=0)
    rows = figure.subplots(5, 1)
    for row, axes in enumerate(rows):
        clip = frames[:, 0] / 255 if row == 0 else np.concatenate([frames[:CONTEXT, 0] / 255, futures[row - 1]])
        for column, t in enumerate(shown):
            if row and t < CONTEXT:
                continue
            colour = GREY if t < CONTEXT else GREEN if row == 0 else ORANGE
            strip(axes, clip[t : t + 1], column, colour)
            if row == 0:
                axes.text(column, 1.05, f"{t + 1}" + (" ↯" if bounces[max(t - 1, CONTEXT) : t + 1].any() else ""),
                          ha="center", fontsize=8)  # fmt: skip
        axes.set_xlim(-2.1, len(shown) - 0.45)
        axes.text(-0.65, 0.47, "truth" if row == 0 else f"future {row}", ha="right", va="center", fontsize=9,
                  color=GREEN if row == 0 else ORANGE)  # fmt: skip
    save(figure, "futures.png")


def draw_kl(model: SVG, frames: np.ndarray, bounces: np.ndarray) -> None:
    """KL(q ‖ p) along an observed clip, and both Gaussians of the latent that tells most."""
    seen = model.observe(torch.from_numpy(frames)[None], decode=False)
    kl = seen.posterior.kl(seen.prior)[0].numpy()
    q, p = (Gaussian[0].numpy() for Gaussian in (seen.posterior.mean, seen.prior.mean))
    q_std, p_std = seen.posterior.std[0].numpy(), seen.prior.std[0].numpy()
    z = int(np.argmax(((q - p) ** 2).sum(0)))
    steps = np.arange(2, len(frames) + 1)
    figure = open_figure(9.2, 4.3)
    axes, below, pictures = figure.subplots(3, 1, sharex=True, height_ratios=[2, 2.4, 1])
    mark(axes, bounces)
    axes.bar(steps, kl, width=0.55, color=BLUE, label="KL(q ‖ p)")
    axes.set(xlim=(0.4, len(frames) + 0.6), ylim=(0, 1.08 * kl.max()))
    legend_above(axes)
    tidy(axes, "", "nats")
    mark(below, bounces)
    below.fill_between(steps, p[:, z] - 2 * p_std[:, z], p[:, z] + 2 * p_std[:, z], color=ORANGE, alpha=0.25, lw=0,
                       step="mid", label="prior, μ ± 2σ: before the frame is seen")  # fmt: skip
    below.errorbar(steps, q[:, z], 2 * q_std[:, z], fmt="o", ms=4, color=GREEN, lw=1.4,
                   label="posterior, μ ± 2σ: after it")  # fmt: skip
    legend_above(below)
    tidy(below, "", f"latent {z + 1} of {p.shape[1]}")
    strip(pictures, frames[:, 0], numbers=True)
    save(figure, "kl.png")


# ------------------------------------------------------------------------------------------------------ what β does


def measure(model: SVG, test: TestClips) -> dict[str, float]:
    """What a model reconstructs, needs and draws, over test clips: PSNR in dB, KL in nats a step."""
    frames = torch.from_numpy(test.read(range(CLIPS))["frames"])
    known = frames.shape[1] - 1
    seen = model.observe(frames, latent_noise(0, range(CLIPS), 1, known, model.z_dim))
    truth = as_float(frames)
    futures = model.predict(frames[:, :CONTEXT], HORIZON, SAMPLES, clip_ids=range(CLIPS)).frames
    scores = psnr(futures, truth[:, CONTEXT:]).mean((2, 3))  # (B, S)
    error = mse(futures, truth[:, CONTEXT:])
    return {
        "reconstruction": float(psnr(seen.frames, truth[:, 1:]).mean()),
        "kl": float(seen.posterior.kl(seen.prior).mean()),
        "best": float(scores.max(1).values.mean()),
        "sharpness": float(gradient_energy(futures).mean() / gradient_energy(truth[:, None, CONTEXT:]).mean()),
        "diversity": float(torch.stack([diversity(clip) for clip in futures]).mean() / error.mean()),
    }


def draw_beta(folders: Sequence[str]) -> None:
    """Models that differ in β alone: what they measure, and a future of each."""
    models = [SVG.from_pretrained(folder).for_inference() for folder in folders]
    tests = [open_test(folder) for folder in folders]
    found = [measure(model, test) for model, test in zip(models, tests, strict=True)]
    betas = [f"{model.config.beta:.0e}".replace("e-0", "e-") for model in models]
    for beta, numbers in zip(betas, found, strict=True):
        print(beta, {name: round(value, 3) for name, value in numbers.items()})
    figure = open_figure(9.2, 4.6)
    figure.get_layout_engine().set(hspace=0)
    above, below = figure.subfigures(2, 1, height_ratios=[1.1, 1])
    panels = {"reconstruction": ("reconstruction, PSNR (dB)", None), "kl": ("KL(q ‖ p), nats a step", None),
              "sharpness": ("sharpness of futures", 1.0), "diversity": ("diversity / error", 1.0),
              "best": (f"best of {SAMPLES}, PSNR (dB)", None)}  # fmt: skip
    for axes, (name, (title, ideal)) in zip(above.subplots(1, len(panels)), panels.items(), strict=True):
        values = [numbers[name] for numbers in found]
        axes.bar(betas, values, color=[BLUE, ORANGE, GREEN][: len(values)], width=0.6)
        for i, value in enumerate(values):
            axes.text(i, value, f"{value:.3g}" if value > 1e-3 else "0", ha="center", va="bottom", fontsize=8)
        if ideal:
            axes.axhline(ideal, color=GREY, ls=":", lw=1.2)
        axes.set_ylim(0, 1.18 * max(*values, ideal or 0))
        axes.set_title(title, fontsize=8.5, loc="left")
        tidy(axes, "β", "")
        axes.tick_params(labelsize=8)
    clip = tests[0].read([pick(tests[0])])["frames"][0]
    rows = below.subplots(len(models) + 1, 1)
    for row, axes in enumerate(rows):
        future = clip[CONTEXT:, 0] / 255
        if row:
            future = models[row - 1].predict(torch.from_numpy(clip[None, :CONTEXT]), HORIZON).frames[0, 0, :, 0].numpy()
        strip(axes, future, CONTEXT + 1, GREEN if row == 0 else ORANGE)
        axes.set_xlim(2.6, CONTEXT + HORIZON + 0.6)
        axes.text(5.3, 0.47, "truth" if row == 0 else f"β = {betas[row - 1]}", ha="right", va="center", fontsize=9)
    save(figure, "beta.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="one-digit, or a run of the laptop config")
    parser.add_argument("--betas", nargs="+", default=[], help="runs that differ in model.beta alone")
    options = parser.parse_args()
    import matplotlib

    torch.set_num_threads(1)  # the same sums in the same order
    with matplotlib.rc_context(STYLE), torch.inference_mode():
        model = SVG.from_pretrained(options.model).for_inference()
        test = open_test(options.model)
        clip = test.read([pick(test)])
        frames, bounces = clip["frames"][0], clip["bounces"][0]
        made = model.observe(torch.from_numpy(frames)[None]).frames[0, 0, :, 0].numpy()
        draw_step(frames[5, 0] / 255, frames[6, 0] / 255, made[5])
        draw_sigma(model, frames, bounces)
        draw_futures(model, frames, bounces)
        draw_kl(model, frames, bounces)
        if options.betas:
            draw_beta(options.betas)


if __name__ == "__main__":
    main()
