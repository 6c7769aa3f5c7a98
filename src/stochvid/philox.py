"""Random streams that depend on what they are for, never on when or where they are drawn.

Every random number of stochvid (digits, bounces, latents) comes from NumPy's counter-based Philox generator,
addressed by (seed, purpose, item, lane). Nothing reads or changes a global random state, so an item is the same
whatever the worker, the batch, the order or the restart.
"""

from zlib import crc32

import numpy as np

_MASK = (1 << 64) - 1


class Streams:
    """Independent random streams under one seed and purpose, one for every (item, lane).

    Args:
        seed: any integer; only its low 64 bits count.
        purpose: what the numbers are for. Streams of different purposes are independent.
    """

    def __init__(self, seed: int, purpose: str):
        self._bits = np.random.Philox(key=np.array([seed & _MASK, crc32(purpose.encode())], dtype=np.uint64))
        self._generator = np.random.Generator(self._bits)
        self._state = self._bits.state  # a template: moving one generator costs a fifth of making a new one

    def at(self, item: int, lane: int = 0) -> np.random.Generator:
        """The generator at the start of stream (item, lane). It is valid until the next call."""
        self._state["state"]["counter"][:] = (0, 0, lane & _MASK, item & _MASK)
        self._bits.state = self._state
        return self._generator

    def raw(self, items: np.ndarray, count: int) -> np.ndarray:
        """The first `count` random words of lane 0 of each item: (len(items), count), uint32 values in uint64."""
        words = np.empty((len(items), count), dtype=np.uint64)
        for row, item in zip(words, items, strict=True):
            row[:] = self.at(int(item)).bit_generator.random_raw(count)
        return words >> np.uint64(32)


def uniform_integers(words: np.ndarray, low: int | np.ndarray, high: int | np.ndarray) -> np.ndarray:
    """Integers uniform on low … high (both included) from 32-bit words: int64, bias below (high − low) / 2³².

    Args:
        words: random words of `Streams.raw`, uint64 holding 32 bits, any shape.
        low: smallest value, broadcast against `words`.
        high: largest value, broadcast against `words`.
    """
    span = np.asarray(high - np.asarray(low) + 1, dtype=np.uint64)
    return ((words * span) >> np.uint64(32)).astype(np.int64) + low
