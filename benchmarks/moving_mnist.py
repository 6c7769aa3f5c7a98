"""Clips per second of the Moving MNIST generator against the published per-frame loop, one core, digits decoded.

python -m benchmarks.moving_mnist [--mnist FOLDER] [--rounds 7]
"""

import argparse
import statistics
import time

import numpy as np

from benchmarks.moving_mnist_loop import published_clip
from stochvid.data.digits import load_digits, resize_digits
from stochvid.data.moving_mnist import MovingMNIST


def rate(function, clips: int) -> float:
    start = time.perf_counter()
    function()
    return clips / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="folder of MNIST's IDX files (default: the built-in digits)")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    digits = resize_digits(load_digits("mnist" if options.mnist else "builtin", "train", options.mnist), 32)
    floats, random = (digits / 255).astype(np.float32), np.random.RandomState(0)
    loop_clips, batches, batch = 1_000, 10, 100

    def loop():
        for _ in range(loop_clips):
            published_clip(floats, random)

    def ours(variant):
        source = MovingMNIST(digits, 15, variant=variant)
        for first in range(0, batches * batch, batch):
            source.__getitems__(range(first, first + batch))

    rows = {"svg2018": [], "srvp2020": []}
    baseline = []
    for _ in range(options.rounds):  # interleaved, so that a noisy neighbour slows all alike
        baseline.append(rate(loop, loop_clips))
        for variant, rates in rows.items():
            rates.append(rate(lambda v=variant: ours(v), batches * batch))
    print(f"published loop      {statistics.median(baseline):8,.0f} clips/s")
    for variant, rates in rows.items():
        ratios = sorted(a / b for a, b in zip(rates, baseline, strict=True))
        print(
            f"stochvid {variant:<10} {statistics.median(rates):8,.0f} clips/s   "
            f"{statistics.median(ratios):.2f}× ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
