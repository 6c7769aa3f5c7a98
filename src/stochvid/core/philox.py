"""Random streams that depend on what they are for, never on when or where they are drawn.

Every random number of stochvid (digits, bounces, latents) comes from NumPy's counter-based Philox generator,
addressed by (seed, purpose, item, lane). Nothing reads or changes a global random state, so an item is the same
whatever the worker, the batch, the order or the restart.
"""

from collections.abc import Sequence
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


def shuffled(index: int, count: int, keys: Sequence[int]) -> int:
    """Where an index goes in a random permutation of 0 … count − 1, without having the others in memory.

    A Feistel network (Luby & Rackoff 1988) permutes the numbers of an even count of bits; walking on until it lands
    below `count` permutes just these (Black & Rogaway 2002).

    Args:
        index: in 0 … count − 1.
        count: at least 1.
        keys: one 64-bit word for each of four rounds or more; other keys, another permutation.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right ^ key) & mask)
        index = left << half | right
        if index < count:
            return index


def _mixed(word: int) -> int:
    """A 64-bit word, each bit of which depends on all bits of another (SplitMix64, Steele et al. 2014)."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _MASK
    return word ^ word >> 31
