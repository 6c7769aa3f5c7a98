"""Stochastic Moving MNIST, made as it is read, in the two published variants and their deterministic forms.

`svg2018` is Denton & Fergus (2018), `srvp2020` Franceschi et al. (2020). A clip is a pure function of (seed, index).
All clips of a batch move together, one array operation per step; all frames are drawn together, one per digit.

Axes: `B` clips, `T` frames, `D` digits, `R` redraws; positions and velocities are (row, column), in pixels.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stochvid.config import DataConfig
from stochvid.core.errors import InputError
from stochvid.core.philox import Streams, uniform_integers
from stochvid.data.digits import Split, load_digits, resize_digits
from stochvid.data.tracks import Track
from stochvid.model_configs import ModelConfig

Variant = Literal["svg2018", "srvp2020"]

EPSILON = 1e-8


class Motion(NamedTuple):
    """Where digits are, and when they turned.

    Attributes:
        positions: (…, T, 2) int64, row and column of each digit's corner.
        bounces: (…, T) bool, true where this frame is the first whose position depends on a new velocity.
    """

    positions: np.ndarray
    bounces: np.ndarray


def digit_tracks(num_digits: int) -> dict[str, Track]:
    """What is known of every frame of so many digits: when any of them turned, when each did, and where they are."""
    names = [f"{side} {digit + 1}" for digit in range(num_digits) for side in ("top", "left", "height", "width")]
    return {
        "bounces": Track("bool"),
        "digit_bounces": Track("bool", (num_digits,)),
        "boxes": Track("int16", (num_digits, 4), names, ["px"] * len(names)),
    }


def values_of(motion: Motion, side: int) -> dict[str, np.ndarray]:
    """The tracks of `digit_tracks`, (B, T, …) each.

    Args:
        motion: of digits (B, D).
        side: of a digit, in pixels.
    """
    corners = motion.positions.swapaxes(1, 2)
    boxes = np.concatenate([corners, np.full_like(corners, side)], -1).astype(np.int16)
    each = motion.bounces.swapaxes(1, 2)
    return {"bounces": np.any(each, axis=-1), "digit_bounces": np.ascontiguousarray(each), "boxes": boxes}


Draw = Callable[[np.ndarray, int, int], np.ndarray]  # (which digits, low, high) → a new integer for each of them


class OutOfRedraws(Exception):
    """A trajectory turned more often than it was given random words for."""


class WordDraws:
    """Integers for new velocities from given random words: each digit uses up its own.

    Args:
        words: (M, R) of `Streams.raw`.
    """

    def __init__(self, words: np.ndarray):
        self.words, self._used = words, np.zeros(len(words), dtype=np.int64)

    def __call__(self, digits: np.ndarray, low: int, high: int) -> np.ndarray:
        """One integer in low … high (both included) for each of some digits (n,).

        Raises:
            OutOfRedraws: R was too small.
        """
        used = self._used[digits]
        if used.max() >= self.words.shape[1]:
            raise OutOfRedraws
        self._used[digits] += 1
        return uniform_integers(self.words[digits, used], low, high)


class MovingMNIST:
    """Clips of digits that bounce off the walls in random directions.

    Args:
        digits: (N, d, d) uint8, white on black, as large as they shall appear.
        length: frames T per clip.
        image_size: height and width of the frames, larger than d.
        channels: channels C, all alike.
        num_digits: digits in a clip.
        variant: the rules of motion.
        deterministic: mirror the velocity at walls, draw nothing.
        max_speed: largest velocity component, pixels per frame (4 in both published variants).
        seed: clips of different seeds are independent.
        split: so are clips of different splits.

    Raises:
        InputError: digits that do not fit into the frame, or a length, number of digits or speed below 1.
    """

    def __init__(
        self,
        digits: np.ndarray,
        length: int,
        *,
        image_size: int = 64,
        channels: int = 1,
        num_digits: int = 2,
        variant: Variant = "svg2018",
        deterministic: bool = False,
        max_speed: int = 4,
        seed: int = 0,
        split: Split = "train",
    ):
        if digits.shape[-1] >= image_size:
            raise InputError(f"digits of {digits.shape[-1]} px need larger frames than {image_size} px to move in.")
        for name, value in (("length", length), ("num_digits", num_digits), ("max_speed", max_speed)):
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        self.digits, self.length, self.image_size, self.channels = digits, length, image_size, channels
        self.num_digits, self.variant, self.deterministic = num_digits, variant, deterministic
        self.max_speed, self.split = max_speed, split
        self._streams = Streams(seed, f"moving-mnist {split}")
        self._room = image_size - digits.shape[-1]

    @classmethod
    def from_config(
        cls,
        data: DataConfig,
        model: ModelConfig,
        split: Split,
        length: int,
        seed: int,
        digits: np.ndarray | None = None,
    ) -> Self:
        """Clips as a config describes them.

        Args:
            data: digits and motion.
            model: frame size and channels.
            split: whose digits move, train or test.
            length: frames per clip.
            seed: of the clips.
            digits: (N, 28, 28) uint8 to move in place of the config's.
        """
        native = 32 if data.variant == "svg2018" else 28  # at 64 px, as published
        size = data.digit_size or max(1, native * model.image_size // 64)
        digits = load_digits(data.digits, split, data.mnist) if digits is None else digits
        return cls(
            resize_digits(digits, size),
            length,
            image_size=model.image_size,
            channels=model.channels,
            num_digits=data.num_digits,
            variant=data.variant,
            deterministic=data.deterministic,
            max_speed=data.max_speed,
            seed=seed,
            split=split,
        )

    def __str__(self) -> str:
        return f"{self.split}: Moving MNIST, {self.variant}, {len(self.digits):,} digits"

    @property
    def tracks(self) -> dict[str, Track]:
        """What is known of every frame, by name."""
        return digit_tracks(self.num_digits)

    def digest(self, tracks: Iterable[str] = ()) -> str:
        """Identity of the digits, and so of all that is known of their motion."""
        return blake2b(self.digits.tobytes(), digest_size=16).hexdigest()

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Clip `index` (any integer from 0): `frames` (T, C, H, W) uint8, the `tracks`, (T, …) each, and `index`."""
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        """A batch at once: `frames` (B, T, C, H, W) uint8, the `tracks`, (B, T, …) each, and `index` (B,) int64."""
        numbers = np.asarray(indices, dtype=np.int64)
        which, motion = self.trajectories(numbers)
        frames = draw_digits(self.digits[which], motion.positions, self.image_size)
        frames = np.repeat(frames[:, :, None], self.channels, axis=2) if self.channels > 1 else frames[:, :, None]
        return {"frames": frames, "index": numbers} | values_of(motion, self.digits.shape[-1])

    def trajectories(self, indices: np.ndarray) -> tuple[np.ndarray, Motion]:
        """Which digits the clips show (B, D), and their motion: positions (B, D, T, 2), bounces (B, D, T)."""
        redraws = 2 * self.length  # enough for svg2018 always, and for srvp2020 nearly always
        while True:
            which, start, velocity, words = self._random(indices, redraws)
            try:
                motion = MOTIONS[self.variant](
                    start, velocity, WordDraws(words), self.length, self._room, self.deterministic, self.max_speed
                )
            except OutOfRedraws:
                redraws *= 2  # a longer piece of the same streams: the clips stay what they are
                continue
            shape = (len(indices), self.num_digits)
            return which, Motion(
                motion.positions.reshape(*shape, self.length, 2), motion.bounces.reshape(*shape, self.length)
            )

    def _random(self, indices: np.ndarray, redraws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Digits (B, D), and per digit (M = B · D) start and velocity (M, 2) and words for R redraws (M, 2 · R)."""
        count = self.num_digits
        words = self._streams.raw(indices, count * (5 + 2 * redraws))
        first = words[:, : 5 * count].reshape(-1, count, 5)
        which = uniform_integers(first[..., 0], 0, len(self.digits) - 1)
        highest = self._room if self.variant == "srvp2020" else self._room - 1
        start = uniform_integers(first[..., 1:3], 0, highest).reshape(-1, 2)
        velocity = uniform_integers(first[..., 3:5], -self.max_speed, self.max_speed).reshape(-1, 2)
        later = words[:, 5 * count :].reshape(-1, redraws, count, 2).swapaxes(1, 2).reshape(-1, 2 * redraws)
        return which, start, velocity, later


def draw_digits(digits: np.ndarray, positions: np.ndarray, image_size: int) -> np.ndarray:
    """Adds digits to black frames, clipped at 255.

    Args:
        digits: (B, D, d, d) uint8.
        positions: (B, D, T, 2) integers, row and column of the digits' corners, inside the frame.
        image_size: height and width of the frames.

    Returns:
        (B, T, H, W) uint8.
    """
    batch, count, length = positions.shape[:3]
    side = digits.shape[-1]
    frames = np.zeros((batch, length, image_size, image_size), dtype=np.uint8)
    windows = sliding_window_view(frames, (side, side), axis=(2, 3), writeable=True)
    clip, time = np.arange(batch)[:, None], np.arange(length)
    for k in range(count):
        where = (clip, time, positions[:, k, :, 0], positions[:, k, :, 1])
        digit = digits[:, k, None]
        if k == 0:
            windows[where] = digit
        else:
            patch = windows[where]
            patch += np.minimum(digit, ~patch)  # ~patch = 255 − patch is the room that is left
            windows[where] = patch
    return frames


# ------------------------------------------------------------------------------------------------- rules of motion


def move_svg2018(
    start: np.ndarray,
    velocity: np.ndarray,
    draw: Draw,
    length: int,
    room: int,
    deterministic: bool,
    max_speed: int = 4,
) -> Motion:
    """The rules of Denton & Fergus (2018): a digit past a wall stops at it, and leaves it with a new velocity.

    Args:
        start: (M, 2) integers in 0 … room − 1.
        velocity: (M, 2) integers.
        draw: gives a new velocity at a turn: the component across the wall, then the one along it.
        length: frames T.
        room: image size − digit size.
        deterministic: mirror the component across the wall instead.
        max_speed: largest velocity component that is drawn.
    """
    position, velocity = start.copy(), velocity.copy()
    positions = np.empty((len(start), length, 2), dtype=np.int64)
    bounces = np.zeros((len(start), length + 1), dtype=bool)
    for t in range(length):
        for axis in (0, 1):  # rows first
            hit = np.flatnonzero((position[:, axis] < 0) | (position[:, axis] >= room))
            if not len(hit):
                continue
            low = position[hit, axis] < 0
            position[hit, axis] = np.where(low, 0, room - 1)
            if deterministic:
                velocity[hit, axis] *= -1
            else:
                speed = draw(hit, 1, max_speed)
                velocity[hit, axis] = np.where(low, speed, -speed)
                velocity[hit, 1 - axis] = draw(hit, -max_speed, max_speed)
            bounces[hit, t + 1] = True  # this frame still shows where the old velocity led
        positions[:, t] = position
        position += velocity
    return Motion(positions, bounces[:, :length])


def move_srvp2020(
    start: np.ndarray,
    velocity: np.ndarray,
    draw: Draw,
    length: int,
    room: int,
    deterministic: bool,
    max_speed: int = 4,
) -> Motion:
    """The rules of Franceschi et al. (2020): a digit is reflected within the step, with a new velocity.

    Arguments as `move_svg2018`, but starts lie in 0 … room; drawn are the row's, then the column's component.
    """
    position, velocity = start.astype(np.float64), velocity.astype(np.float64)
    positions = np.empty((len(start), length, 2), dtype=np.int64)
    bounces = np.zeros((len(start), length), dtype=bool)
    for t in range(length):
        while True:
            outside = np.flatnonzero(((position < -EPSILON) | (position > room + EPSILON)).any(axis=1))
            if not len(outside):
                break
            crossing, rest, low, high = _crossing(position[outside], velocity[outside], room)
            if deterministic:
                new = velocity[outside]
            else:
                new = np.stack([draw(outside, -max_speed, max_speed) for _ in "xy"], axis=1).astype(np.float64)
            new = np.where(low, np.abs(new), new)
            new = np.where(high, -np.abs(new), new)
            velocity[outside] = new
            position[outside] = crossing + rest[:, None] * new
            bounces[outside, t] = True
        positions[:, t] = np.rint(position)
        position += velocity
    return Motion(positions, bounces)


def _crossing(
    position: np.ndarray, velocity: np.ndarray, room: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where the lines of motion crossed the border.

    Returns:
        The crossings (M, 2), what is left of the step (M,), and which low and high walls were crossed (M, 2) each.
    """
    low, high = position < -EPSILON, position > room + EPSILON
    crossing = position.copy()
    with np.errstate(divide="ignore", invalid="ignore"):  # motion along one axis has no slope, and needs none
        slope = velocity[:, 1] / velocity[:, 0]
        intercept = position[:, 1] - slope * position[:, 0]
        for axis in (0, 1):
            other = 1 - axis
            straight = velocity[:, other] == 0
            for wall, violated in ((0.0, low), (float(room), high)):
                # to the last bit as published: positions that end on halves are rounded when they are drawn
                at = slope * wall + intercept if axis == 0 else (wall - intercept) / slope
                at = np.where(straight, position[:, other], at)
                violated[:, axis] &= straight | ((at >= -EPSILON) & (at <= room + EPSILON))
                kept = violated[:, axis]
                crossing[kept, axis] = wall
                crossing[kept, other] = at[kept]
        left = (position - crossing) / velocity
    return crossing, np.where(velocity[:, 0] != 0, left[:, 0], left[:, 1]), low, high


MOTIONS = {"svg2018": move_svg2018, "srvp2020": move_srvp2020}
