"""A training step and sampling against the paper's literal loop (tests/oracle.py), fp32, interleaved in one process.

    python -m benchmarks.literal_loop [--batch 16] [--clips 8] [--samples 20] [--rounds 3]

DCGAN-64 at the paper's widths, 5 + 10 frames to train and 5 + 20 to sample. The loop encodes frames where it meets
them and draws one sample after the other, as the paper's code does.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from oracle import OracleSVG, copy_weights
from stochvid import SVG, ModelConfig
from stochvid.models.noise import latent_noise

HORIZON = 20


def seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def training_step(model, loss):
    """One step of Adam on a given loss."""
    adam = torch.optim.Adam(model.parameters(), lr=2e-3)

    def step():
        adam.zero_grad()
        loss().backward()
        adam.step()

    return step


def report(name: str, unit: str, work: float, ours: list[float], loops: list[float]) -> None:
    ratios = sorted(loop / fast for loop, fast in zip(loops, ours, strict=True))
    print(
        f"{name}: loop {work / statistics.median(loops):.3g} {unit}, "
        f"stochvid {work / statistics.median(ours):.3g} {unit}, "
        f"{statistics.median(ratios):.2f}× ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("batch", 16), ("clips", 8), ("samples", 20), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    o = parser.parse_args()

    torch.manual_seed(0)
    config = ModelConfig()
    model = SVG(config)
    oracle = copy_weights(model, OracleSVG(config))
    clips = torch.rand(o.batch, config.frames, 1, 64, 64)
    noise = latent_noise(0, range(o.batch), 1, config.frames - 1, config.z_dim)
    fast = training_step(model, lambda: model.loss(clips, noise).total)
    slow = training_step(oracle, lambda: oracle.loss(clips, noise[:, 0]))
    fast(), slow()
    ours, loops = [], []
    for _ in range(o.rounds):
        loops.append(seconds(slow))
        ours.append(seconds(fast))
    report(f"training step, {o.batch} clips of {config.frames} frames", "clips/s", o.batch, ours, loops)

    model.eval(), oracle.eval()
    context = torch.rand(o.clips, config.context, 1, 64, 64)
    noise = latent_noise(0, range(o.clips), o.samples, config.context - 1 + HORIZON, config.z_dim)
    ours, loops = [], []
    with torch.inference_mode():
        model.predict(context, 2, 2), oracle.rollout(context, 2, noise[:, :2])
        for _ in range(o.rounds):
            loops.append(seconds(lambda: oracle.rollout(context, HORIZON, noise)))
            ours.append(seconds(lambda: model.predict(context, HORIZON, o.samples)))
    frames = o.clips * o.samples * HORIZON
    report(f"sampling, {o.clips} clips × {o.samples} futures × {HORIZON} frames", "frames/s", frames, ours, loops)


if __name__ == "__main__":
    main()
