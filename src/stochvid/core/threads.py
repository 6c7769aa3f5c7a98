"""How many threads torch computes with on a CPU: on a machine that is busy, fewer are faster, and many times so."""

import os
import sys
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

ROUNDS = 5
GAIN = 1.1  # by so much fewer threads have to be faster
SET_OUTSIDE = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def use_threads(threads: int | None) -> None:
    """Computes with so many threads from now on; None: with as many as so far."""
    if threads is not None:
        torch.set_num_threads(threads)


def fastest_threads(device: str = "auto", measure: Callable[[list[int]], dict[int, float]] | None = None) -> int | None:
    """How many threads are fastest here and now, by a short measurement; fewer than torch would take are told of.

    Args:
        device: of the work that is to come.
        measure: seconds of the same work with so many threads each; None: of a small network.

    Returns:
        The number. None where there is nothing to choose: on a GPU, with one thread, or with a number that the
        environment sets.
    """
    most, on_gpu = torch.get_num_threads(), device != "cpu" and torch.cuda.is_available()
    if most == 1 or on_gpu or any(os.environ.get(name) for name in SET_OUTSIDE):
        return None
    seconds = (measure or _measure)(candidates(most))
    use_threads(most)
    chosen = fastest(seconds)
    if chosen < most:
        print(
            f"note: computes with {chosen} of {most} threads: this machine is busy, and a test took {most} threads "
            f"{seconds[most] / seconds[chosen]:.1f} times as long (--threads N takes N)",
            file=sys.stderr,
            flush=True,
        )
    return chosen


def candidates(most: int) -> list[int]:
    """What is worth a try: all, halves of that, and one."""
    return sorted({max(most >> i, 1) for i in range(most.bit_length())}, reverse=True)


def fastest(seconds: dict[int, float]) -> int:
    """The number of threads that wins: the largest, unless another is clearly faster."""
    best = most = max(seconds)
    for threads in sorted(seconds, reverse=True):
        if seconds[threads] * GAIN < seconds[most] and seconds[threads] < seconds[best]:
            best = threads
    return best


def _measure(numbers: list[int]) -> dict[int, float]:
    """Seconds of a small network's step with so many threads, turn by turn, so that all see the same load."""
    frames, weights = torch.ones(4, 16, 64, 64), torch.ones(16, 16, 3, 3)
    seconds = dict.fromkeys(numbers, 0.0)
    for turn in range(ROUNDS + 1):
        for threads in numbers:
            torch.set_num_threads(threads)
            begun = time.perf_counter()
            for _ in range(4):
                frames = torch.tanh(F.conv2d(frames, weights, padding=1))
            if turn:  # the first wakes the threads
                seconds[threads] += time.perf_counter() - begun
    return seconds
