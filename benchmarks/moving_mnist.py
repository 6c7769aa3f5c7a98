"""The Moving MNIST generator against the published per-frame loop, one core, digits decoded."""

import time

import numpy as np

from benchmarks.moving_mnist_loop import published_clip
from benchmarks.race import Row, take_turns
from stochvid.data.digits import load_digits, resize_digits
from stochvid.data.moving_mnist import MovingMNIST

LENGTH, BATCH = 15, 100


def moving_mnist(options) -> list[Row]:
    """Clips of 15 frames with two digits, uint8; the loop makes float32 frames one at a time, as that of 2018 does."""
    source = "mnist" if options.mnist else "builtin"
    digits = resize_digits(load_digits(source, "train", options.mnist), 32)
    floats, random = (digits / 255).astype(np.float32), np.random.RandomState(0)
    loop_clips, batches = (20, 1) if options.tiny else (1000, 10)

    def loop() -> float:
        begun = time.perf_counter()
        for _ in range(loop_clips):
            published_clip(floats, random)
        return time.perf_counter() - begun

    def ours(variant: str) -> float:
        clips = MovingMNIST(digits, LENGTH, variant=variant)
        begun = time.perf_counter()
        for first in range(0, batches * BATCH, BATCH):
            clips.__getitems__(range(first, first + BATCH))
        return time.perf_counter() - begun

    contenders = {"published loop": (loop, loop_clips)}
    for variant in ("svg2018", "srvp2020"):
        contenders[variant] = ((lambda variant=variant: ours(variant)), batches * BATCH)
    return take_turns(f"Moving MNIST, digits: {source}", "clips/s", contenders, options.rounds)
