"""Directions after a bounce: of things whose way is drawn by hand, and of Moving MNIST's own digits."""

import numpy as np
import pytest
import torch

from stochvid.data.digits import load_digits, resize_digits
from stochvid.data.moving_mnist import MovingMNIST
from stochvid.evaluation.metrics.directions import LAG, LOST, NONE, SECTORS, directions, pooled
from stochvid.evaluation.metrics.identity import images_in

SIZE, SIDE, KNOWN, FUTURE, AT = 40, 8, 3, 8, 2  # the thing bounces at frame AT of the future
THING = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.2
WALLS = {"top": (1, 0), "left": (0, 1), "bottom": (-1, 0), "right": (0, -1)}


def film(start: tuple[int, int], before: tuple[int, int], after: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A thing that goes to `start` by the way `before` in each frame, and from there on by `after`: frames, corners."""
    corners = [
        np.array(start) + (t - KNOWN - AT + 1) * np.array(before if t < KNOWN + AT else after)
        for t in range(KNOWN + FUTURE)
    ]
    frames = torch.zeros(KNOWN + FUTURE, 1, SIZE, SIZE)
    for frame, (y, x) in zip(frames, corners, strict=True):
        frame[0, y : y + SIDE, x : x + SIDE] = THING
    return frames, torch.tensor(np.array(corners))


def found(wall: str, ways: list[tuple[int, int]]) -> tuple[list[float], float]:
    """Sectors of samples that go on by `ways`, the first of which is the true one."""
    down, right = WALLS[wall]
    middle = (SIZE - SIDE) // 2
    start = {1: 0, -1: SIZE - SIDE}
    corner = (start[down], middle) if down else (middle, start[right])
    films = [film(corner, (-down, -right), way) for way in ways]
    boxes = torch.cat([films[0][1], torch.full((KNOWN + FUTURE, 2), SIDE)], 1)[:, None]
    bounces = torch.zeros(KNOWN + FUTURE, 1, dtype=torch.bool)
    bounces[KNOWN + AT] = True
    samples = torch.stack([frames[KNOWN:] for frames, _ in films])
    images = images_in(films[0][0], boxes)
    torch.testing.assert_close(images[0], THING)
    made, true = directions(samples, images, boxes, bounces)
    return made[0].tolist(), true.item()


@pytest.mark.parametrize("wall", WALLS)
def test_ways_are_told_from_the_wall(wall):
    down, right = WALLS[wall]
    off, along = (
        np.array([down, right]),
        np.array([-right, down]),
    )  # `along` is the turn from the wall that atan2 counts
    ways = [off, off + along, along, off - along, -along, 2 * off + along]
    made, true = found(wall, [tuple(way) for way in ways])
    signs = {1: [0, 1, 2, SECTORS - 1, SECTORS - 2], -1: [0, SECTORS - 1, SECTORS - 2, 1, 2]}
    assert true == 0
    assert made[:5] in signs.values()
    assert made[5] in (1, SECTORS - 1)


def test_what_stands_still_or_is_no_longer_there_is_lost():
    frames, corners = film((0, 16), (-1, 0), (1, 1))
    boxes = torch.cat([corners, torch.full((KNOWN + FUTURE, 2), SIDE)], 1)[:, None]
    bounces = torch.zeros(KNOWN + FUTURE, 1, dtype=torch.bool)
    bounces[KNOWN + AT] = True
    still, gone = frames[KNOWN:].clone(), frames[KNOWN:].clone()
    still[AT + 1 :] = still[AT]
    gone[AT + LAG] = torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    made, true = directions(torch.stack([frames[KNOWN:], still, gone]), THING[None], boxes, bounces)
    assert made.tolist() == [[true.item(), LOST, LOST]]


@pytest.mark.parametrize("when", [[], [KNOWN], [KNOWN + FUTURE - LAG], [KNOWN + AT, KNOWN + AT + LAG], [0]], ids=str)
def test_bounces_that_cannot_be_followed_are_left_out(when):
    frames, corners = film((0, 16), (-1, 0), (1, 1))
    boxes = torch.cat([corners, torch.full((KNOWN + FUTURE, 2), SIDE)], 1)[:, None]
    bounces = torch.zeros(KNOWN + FUTURE, 1, dtype=torch.bool)
    bounces[when] = True
    made, true = directions(frames[None, KNOWN:], THING[None], boxes, bounces)
    assert (made.item(), true.item()) == (NONE, NONE)


def test_corners_are_left_out():
    frames, corners = film((0, 0), (-1, -1), (1, 2))
    boxes = torch.cat([corners, torch.full((KNOWN + FUTURE, 2), SIDE)], 1)[:, None]
    boxes[: KNOWN + AT, 0, :2] = 0
    bounces = torch.zeros(KNOWN + FUTURE, 1, dtype=torch.bool)
    bounces[KNOWN + AT] = True
    assert directions(frames[None, KNOWN:], THING[None], boxes, bounces)[1].item() == NONE


def test_all_clips_together_by_hand():
    made = [[[0.0, 0.0, 1.0, 1.0]], [[0.0] * 4, [float(NONE)] * 4], [[float(LOST), float(LOST), 1.0, 7.0]]]
    true = [[0.0], [1.0, float(NONE)], [0.0]]
    # chance takes sector 0 in two of three bounces, 1 in one; of each clip, half the sum of the differences
    each = [1 / 6 * 2 / 2, 1 / 3 * 2 / 2, (2 / 3 + 1 / 12 + 1 / 4 + 1 / 2) / 2]
    result = pooled(made, true)
    assert result["mean"] == pytest.approx(np.mean(each))
    assert result["distinct"] == pytest.approx((2 + 1 + 2) / 3)
    assert result["distinct_of_truth"] == pytest.approx(2 - (1 / 3) ** 4 - (2 / 3) ** 4)
    assert result["lost"] == pytest.approx(0.5 / 3)
    assert result["bounces"] == 3
    assert pooled([[[float(NONE)]]], [[float(NONE)]]) == {"mean": None, "ci95": None, "bounces": 0}


def test_digits_that_draw_their_ways_by_chance_are_as_near_to_chance_as_they_can_be():
    clips = MovingMNIST(resize_digits(load_digits("builtin", "test"), 20), 25, num_digits=1)
    made, true = [], []
    for number in range(60):
        clip = clips[number]
        frames = torch.from_numpy(clip["frames"]).float() / 255
        boxes, bounces = (torch.from_numpy(clip[name]) for name in ("boxes", "digit_bounces"))
        ways, truth = directions(frames[None, 5:], images_in(frames, boxes), boxes, bounces)
        assert torch.equal(ways[:, 0], truth)  # the truth as a sample is found where it is
        made.append(ways.tolist())
        true.append(truth.tolist())
    truths = [way for (way,) in true if way >= 0]
    assert len(truths) > 20
    drawn = np.random.default_rng(1).choice(truths, (60, 50))
    by_chance = pooled([[ways.tolist()] for ways in drawn], true)
    assert by_chance["mean"] == pytest.approx(by_chance["floor"], rel=0.15)
    assert by_chance["distinct"] == pytest.approx(by_chance["distinct_of_truth"], rel=0.05)
    one_way = pooled([[[0.0] * 50] for _ in drawn], true)
    assert one_way["distinct"] == 1
    assert one_way["mean"] == pytest.approx(1 - truths.count(0) / len(truths))
