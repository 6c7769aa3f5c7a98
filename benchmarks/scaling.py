"""Cost against batch, length, samples, resolution and width, and two processes against two threads."""

import csv
import os
import statistics
import subprocess
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.commands import STOCHVID
from benchmarks.models import DCGAN, HORIZON, TINY, precisions
from benchmarks.race import Contender, Row, race
from stochvid.model_configs import SVGConfig

PLOT = Path(__file__).parent / "scaling.png"


def scaling(options) -> list[Row]:
    """One thing at a time, the others as in DCGAN-64 with 16 clips of 15 frames, or 8 clips × 20 futures × 20 frames.

    Work is counted in frames: a ratio of 1 says that the cost is linear in batch, length and samples.
    """
    base, precision = SVGConfig(**TINY) if options.tiny else DCGAN, precisions(options.device)[-1]
    few = options.tiny

    def train(model: SVGConfig, batch: int) -> tuple[dict, float]:
        return {"task": "train", "model": asdict(model), "batch": batch}, batch * model.frames

    def sample(samples: int) -> tuple[dict, float]:
        spec = {"task": "sample", "model": asdict(base), "clips": 8, "samples": samples, "horizon": HORIZON}
        return spec, 8 * samples * HORIZON

    cases = {
        "batch": {b: train(base, b) for b in ((2, 4) if few else (4, 8, 16, 32, 64, 128))},
        "length": {t: train(replace(base, horizon=t - base.context), 16) for t in ((6, 8) if few else (8, 15, 30, 60))},
        "samples": {s: sample(s) for s in ((1, 2) if few else (1, 5, 20, 80))},
        "resolution": {r: train(replace(base, image_size=r), 16) for r in ((32, 64) if few else (32, 64, 128))},
        "base channels": {c: train(replace(base, base_channels=c), 16) for c in ((4, 8) if few else (8, 16, 32, 64))},
    }
    rows = []
    for case, points in cases.items():
        contenders = [
            Contender(str(value), spec | {"device": options.device, "who": "stochvid", "precision": precision}, work)
            for value, (spec, work) in points.items()
        ]
        rows += race(f"{case}, {precision}", "frames/s", contenders, options.rounds, alike=False)
    if not options.tiny:
        _plot(rows)
    return rows


def processes(options) -> list[Row]:
    """`stochvid train` in one process with two threads, and in two (DDP) with one each, the same batch in both."""
    size = ["--model.image_size", "32", "--model.base_channels", "4"] if options.tiny else []
    steps, batch = (6, 4) if options.tiny else (24, 32)
    words = [STOCHVID, "train", "--config", "smmnist-lp", "--data.digits", "builtin", *size, "--data.val_clips", "2"]
    words += [
        "--data.batch_size",
        str(batch),
        "--trainer.max_steps",
        str(steps),
        "--trainer.log_every",
        str(steps // 6),
    ]
    words += ["--trainer.sample_clips", "0", "--trainer.device", "cpu"]
    found: dict[str, list[float]] = {"1 process × 2 threads": [], "2 processes × 1 thread": []}
    for _ in range(1 if options.tiny else max(1, options.rounds // 2)):
        for name, rates in found.items():
            devices, _, _, threads, _ = name.split()
            with tempfile.TemporaryDirectory() as folder:
                environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
                subprocess.run(
                    [*words, "--trainer.devices", devices, "--out", f"{folder}/run"],
                    env=environment, check=True, stdout=subprocess.DEVNULL,
                )  # fmt: skip
                with open(f"{folder}/run/metrics.csv", newline="") as file:
                    lines = [float(row["clips_per_s"]) for row in csv.DictReader(file) if row["split"] == "train"]
            rates.append(statistics.median(lines[2:]))  # the first steps find their memory
    rows = []
    for name, rates in found.items():
        row = Row(
            f"stochvid train, DCGAN, batch {batch}", name, "clips/s", statistics.median(rates), (min(rates), max(rates))
        )
        if rows:
            ratios = [b / a for a, b in zip(*found.values(), strict=True)]
            row.ratio = (statistics.median(ratios), min(ratios), max(ratios))
        rows.append(row)
    return rows


def _plot(rows: list[Row]) -> None:
    """Speed per frame, relative to each curve's first point."""
    cases = list(dict.fromkeys(row.case for row in rows))
    figure = Figure(figsize=(2.6 * len(cases), 2.8), layout="constrained")
    axes = figure.subplots(1, len(cases))
    for ax, case in zip(axes, cases, strict=True):
        points = [(float(row.name), row.rate, *row.spread) for row in rows if row.case == case]
        x, rate, low, high = zip(*points, strict=True)
        ax.fill_between(x, low, high, alpha=0.25, linewidth=0)
        ax.plot(x, rate, marker="o")
        ax.set(xscale="log", yscale="log", title=case.split(",")[0], xticks=x, xticklabels=[f"{v:g}" for v in x])
        ax.minorticks_off()
        ax.set_ylim(min(low) / 2, max(high) * 2)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("frames per second")
    figure.savefig(PLOT, dpi=120)
