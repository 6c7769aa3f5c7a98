"""Permutations without memory are permutations, and no order is likelier than another."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from stochvid.core.philox import shuffled
from stochvid.data.stored_clips import ROUNDS


def keys(number: int) -> list[int]:
    return np.random.default_rng(number).integers(0, 1 << 63, ROUNDS).tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 100, 1000, 4097])
def test_every_index_goes_somewhere_else(count):
    assert sorted(shuffled(index, count, keys(count)) for index in range(count)) == list(range(count))


def test_every_order_of_four_is_equally_likely():
    orders = Counter(tuple(shuffled(index, 4, keys(number)) for index in range(4)) for number in range(12_000))
    assert len(orders) == 24
    assert chisquare(list(orders.values())).pvalue > 1e-4


def test_neighbours_part_as_if_at_random():
    """In an order of 400, the distance of two places that follow each other is that of two random ones."""
    places = np.array([[shuffled(index, 400, keys(number)) for index in (0, 1)] for number in range(20_000)])
    distances = np.bincount(np.abs(places[:, 0] - places[:, 1]), minlength=400)[1:]
    expected = 2 * (400 - np.arange(1, 400)) / (400 * 399) * len(places)
    assert chisquare(distances.reshape(21, 19).sum(1), expected.reshape(21, 19).sum(1)).pvalue > 1e-4


def test_huge_counts_are_shuffled_too():
    found = {shuffled(index, 10**15, keys(0)) for index in range(1000)}
    assert len(found) == 1000
    assert max(found) > 5 * 10**14
