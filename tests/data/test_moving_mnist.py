"""Moving MNIST against the plain loop, against the published bytes, and against its own rules."""

import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from benchmarks import moving_mnist_loop as loop
from paths import MNIST, needs_mnist
from stochvid import InputError, MovingMNIST
from stochvid.core.philox import uniform_integers
from stochvid.data.digits import load_digits, resize_digits
from stochvid.data.moving_mnist import MOTIONS, OutOfRedraws, WordDraws, draw_digits

VARIANTS = ("svg2018", "srvp2020")
BLOCK = np.full((1, 28, 28), 200, dtype=np.uint8)


def make(variant="svg2018", length=15, **options) -> MovingMNIST:
    return MovingMNIST(options.pop("digits", BLOCK), length, variant=variant, **options)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_trajectories_and_bounces_equal_the_plain_loop(variant, deterministic):
    random = np.random.default_rng(0)
    count, length, room = 400, 60, 20
    start = random.integers(0, room, (count, 2))
    velocity = random.integers(-4, 5, (count, 2))
    words = random.integers(0, 2**32, (count, 8 * length), dtype=np.uint64)
    motion = MOTIONS[variant](start, velocity, WordDraws(words), length, room, deterministic)
    for i in range(count):
        left = iter(words[i])
        positions, bounces = loop.POSITIONS[variant](
            tuple(start[i]),
            tuple(velocity[i]),
            lambda low, high, left=left: int(uniform_integers(next(left), low, high)),
            length,
            room,
            deterministic,
        )
        # a published draw of −4 … −1 and ours of 1 … 4, negated, are mirror images
        if variant == "svg2018" and not deterministic:
            positions, bounces = _svg2018_mirrored(start[i], velocity[i], words[i], length, room)
        assert motion.positions[i].tolist() == [list(p) for p in positions]
        assert motion.bounces[i].tolist() == bounces
    assert motion.bounces.any(axis=1).mean() > 0.9


def _svg2018_mirrored(start, velocity, words, length, room):
    left = iter(words)

    def draw(low, high):
        word = next(left)
        return -int(uniform_integers(word, 1, 4)) if (low, high) == (-4, -1) else int(uniform_integers(word, low, high))

    return loop.svg2018_positions(tuple(start), tuple(velocity), draw, length, room, False)


@pytest.mark.slow
@needs_mnist
@pytest.mark.parametrize(
    ("deterministic", "length", "expected"),
    [
        (False, 25, "8783c4a2df402a3ab7e01f9f8bd633131562dfe93a33f02d88d64e1481e2bf00"),
        (True, 100, "ca3b0a61364894a9b832c4094ce969e59550df5596ba90662e16ba9ed405f132"),
    ],
)
def test_the_plain_loop_is_the_public_srvp_test_set_to_the_byte(deterministic, length, expected):
    """The oracle of the trajectories is itself held against published data."""
    digits = load_digits("mnist", "test", MNIST)
    random = np.random.RandomState(42)
    order = iter(random.permutation(10_000))
    clips = np.empty((length, 5_000, 64, 64), dtype=np.uint8)
    for i in range(5_000):
        shown, trajectories = [], []
        for _ in range(2):
            shown.append(digits[next(order)])
            start = (random.randint(0, 37), random.randint(0, 37))
            velocity = (random.randint(-4, 5), random.randint(-4, 5))
            trajectories.append(
                loop.srvp2020_positions(
                    start, velocity, lambda a, b: random.randint(a, b + 1), length, 36, deterministic
                )[0]
            )
        clips[:, i] = loop.draw_clip(shown, trajectories, 64)
    assert hashlib.sha256(clips.tobytes()).hexdigest() == expected


def test_drawing_equals_the_plain_loop_and_saturates():
    random = np.random.default_rng(1)
    digits = random.integers(0, 256, (5, 3, 12, 12), dtype=np.uint8)
    positions = random.integers(0, 21, (5, 3, 7, 2))
    clips = draw_digits(digits, positions, 32)
    for clip, shown, where in zip(clips, digits, positions, strict=True):
        assert np.array_equal(clip, loop.draw_clip(list(shown), where.tolist(), 32))
    assert (clips == 255).mean() > 0.01


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_digit_leaves_the_frame(variant, deterministic):
    source = make(variant, 100, image_size=40, num_digits=3, deterministic=deterministic)
    _, motion = source.trajectories(np.arange(200))
    assert motion.positions.min() >= 0
    assert motion.positions.max() <= 40 - 28
    frames = source.__getitems__(range(20))["frames"]
    assert frames[:, :, 0].astype(bool).sum(axis=(2, 3)).min() >= 28 * 28


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_velocity_changes_only_where_bounces_says(variant):
    _, motion = make(variant, 60).trajectories(np.arange(500))
    steps = np.diff(motion.positions, axis=2)
    same = (steps[:, :, 1:] == steps[:, :, :-1]).all(axis=-1)
    if variant == "svg2018":
        # the frame in which a digit stops at the wall is not a bounce, the next one is
        stopped = motion.bounces[:, :, 3:]
        quiet = ~(motion.bounces[:, :, 2:-1] | motion.bounces[:, :, 1:-2] | stopped)
        assert same[:, :, :-1][quiet].all()
    else:
        # velocities are whole pixels, so steps repeat but for ties: 10.5 is drawn at 10, 13.5 at 14
        quiet = ~(motion.bounces[:, :, 2:] | motion.bounces[:, :, 1:-1])
        assert same[quiet].mean() > 0.9
        assert np.abs(steps[:, :, 1:] - steps[:, :, :-1])[quiet].max() <= 2
        assert same[np.cumsum(motion.bounces, axis=2)[:, :, 2:] == 0].all()
    assert quiet.mean() > 0.05
    assert motion.bounces.mean() > 0.02
    assert not motion.bounces[:, :, 0].any()


def test_a_mirrored_velocity_keeps_its_speed():
    for variant in VARIANTS:
        _, motion = make(variant, 40, deterministic=True).trajectories(np.arange(300))
        steps = np.abs(np.diff(motion.positions, axis=2))[:, :, :-1]
        # the step that ends at a wall is cut short (svg2018: the frame before a bounce) or folded (srvp2020)
        quiet = ~(motion.bounces[:, :, 1:-1] | motion.bounces[:, :, 2:])
        for i, k in itertools.product(range(300), range(2)):
            assert len({tuple(step) for step in steps[i, k][quiet[i, k]].tolist()}) <= 1


@pytest.mark.parametrize(("variant", "positions"), [("svg2018", 36), ("srvp2020", 37)])
def test_starts_speeds_and_digits_have_the_stated_distributions(variant, positions):
    source = make(variant, 2, digits=np.zeros((10, 28, 28), np.uint8))
    which, start, velocity, words = source._random(np.arange(10_000), 4)
    assert len(start) == 20_000
    for values, expected in (
        (which.ravel(), range(10)),
        (start[:, 0], range(positions)),
        (start[:, 1], range(positions)),
        (velocity[:, 0], range(-4, 5)),
        (velocity[:, 1], range(-4, 5)),
        (uniform_integers(words[:, 6], 1, 4), range(1, 5)),
        (start[:, 0] * 9 + velocity[:, 1], None),
    ):
        counts = Counter(values.tolist())
        if expected is not None:
            assert set(counts) == set(expected)
            assert chisquare(list(counts.values())).pvalue > 1e-4
    pairs = Counter(zip(velocity[:, 0].tolist(), velocity[:, 1].tolist(), strict=True))
    assert len(pairs) == 81
    assert chisquare(list(pairs.values())).pvalue > 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_clip_is_a_function_of_seed_and_index_alone(variant):
    source = make(variant, seed=3)
    batch = source.__getitems__([5, 0, 9])
    again = make(variant, seed=3)
    for row, index in enumerate([5, 0, 9]):
        alone = again[index]
        assert np.array_equal(alone["frames"], batch["frames"][row])
        assert np.array_equal(alone["bounces"], batch["bounces"][row])
    assert not np.array_equal(make(variant, seed=4)[5]["frames"], batch["frames"][0])
    assert not np.array_equal(make(variant, seed=3, split="test")[5]["frames"], batch["frames"][0])
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    source[1]
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_digit_is_faster_than_max_speed(variant):
    _, motion = make(variant, 60, max_speed=2).trajectories(np.arange(200))
    assert np.abs(np.diff(motion.positions, axis=2)).max() == 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_longer_clip_begins_with_the_shorter_one(variant):
    long, short = make(variant, 40)[11], make(variant, 12)[11]
    assert np.array_equal(long["frames"][:12], short["frames"])


def test_running_out_of_redraws_changes_nothing():
    source = make("srvp2020", 30, image_size=30)
    few, many = source._random(np.arange(50), 4), source._random(np.arange(50), 512)
    assert np.array_equal(few[3], many[3][:, :8])
    with pytest.raises(OutOfRedraws):
        MOTIONS["srvp2020"](*few[1:3], WordDraws(few[3]), 30, 2, False)
    _, motion = source.trajectories(np.arange(50))
    direct = MOTIONS["srvp2020"](*many[1:3], WordDraws(many[3]), 30, 2, False)
    assert np.array_equal(motion.positions.reshape(-1, 30, 2), direct.positions)


@pytest.mark.parametrize(("size", "side", "count", "channels"), [(32, 16, 1, 3), (64, 28, 4, 1), (128, 48, 2, 1)])
def test_any_frame_digit_and_channel_size(size, side, count, channels):
    digits = resize_digits(load_digits("builtin", "train")[:20], side)
    clip = make(digits=digits, length=4, image_size=size, num_digits=count, channels=channels)[0]
    assert clip["frames"].shape == (4, channels, size, size)
    assert clip["frames"].dtype == np.uint8
    assert clip["frames"].max() > 200
    assert (clip["frames"] == clip["frames"][:, :1]).all()


def test_digits_too_large_for_the_frame_are_refused():
    with pytest.raises(InputError, match="digits of 28 px need larger frames than 28 px"):
        make(image_size=28)


def test_builtin_digits_of_training_and_test_are_disjoint():
    train, test = load_digits("builtin", "train"), load_digits("builtin", "test")
    assert train.shape == (1500, 28, 28)
    assert test.shape == (297, 28, 28)
    assert train.dtype == np.uint8
    assert not {d.tobytes() for d in train} & {d.tobytes() for d in test}


@needs_mnist
def test_mnist_digits_of_training_and_test_are_disjoint():
    train, test = load_digits("mnist", "train", MNIST), load_digits("mnist", "test", MNIST)
    assert (len(train), len(test)) == (60_000, 10_000)
    assert not {d.tobytes() for d in train} & {d.tobytes() for d in test}
    both = load_digits("both", "test", MNIST)
    assert len(both) == 10_000 + 34 * 297  # half of each, nearly
