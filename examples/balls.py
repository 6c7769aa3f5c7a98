"""Simulates a ball in a box, with a bumper in the middle that kicks it in a random direction, and renders videos of it.

    python examples/balls.py data/ball-videos --count 200

Walls reflect the ball as a mirror does light, so its way is certain up to the bumper; where the bumper sends it, nobody
can know. Lengths are in widths of the box, times in frames; x goes right, y goes down, the box is [0, 1]².
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stochvid.core.philox import Streams
from stochvid.media.video import write_mp4

BALL, BUMPER = 0.11, 0.15  # radii
SPEED = 0.065  # a frame
SPREAD = np.deg2rad(70)  # the largest angle between a kick and the straight way out
FPS = 15
SIDE = 96  # pixels of a video
BACKGROUND, BALL_COLOUR, BUMPER_COLOUR = (24, 27, 36), (245, 158, 66), (86, 98, 122)


@dataclass
class Flight:
    """Where a ball was.

    Attributes:
        places: of its centre, (T, 2), x and y.
        kicks: (T,) bool, frames that are the first whose place depends on a newly drawn direction.
    """

    places: np.ndarray
    kicks: np.ndarray


def simulate(seed: int, number: int, frames: int, turn_at: int | None = None) -> Flight:
    """A flight that is a function of its arguments alone.

    Args:
        seed: of a set of flights.
        number: of the flight in the set.
        frames: T.
        turn_at: frame, from 1, up to which all is as it was, and in which the ball has turned a right angle, with
            nothing near that could have turned it; None: never. Up to there a flight is the same with and without.
    """
    random = Streams(seed, "balls").at(number)
    while True:  # a start that does not touch the bumper
        place = random.uniform(BALL, 1 - BALL, size=2)
        if np.hypot(*(place - 0.5)) > BALL + BUMPER:
            break
    angle = random.uniform(0, 2 * np.pi)
    velocity = SPEED * np.array([np.cos(angle), np.sin(angle)])
    places, kicks = np.empty((frames, 2)), np.zeros(frames, dtype=bool)
    for t in range(frames):
        places[t] = place
        if turn_at is not None and t + 2 == turn_at:  # the step from here leads to that frame
            velocity = np.array([-velocity[1], velocity[0]])
        place, velocity = _off_walls(place + velocity, velocity)
        outward = place - 0.5
        distance = np.hypot(*outward)
        if distance < BALL + BUMPER:
            outward /= distance
            place = 0.5 + (BALL + BUMPER) * outward
            angle = np.arctan2(outward[1], outward[0]) + random.uniform(-SPREAD, SPREAD)
            velocity = SPEED * np.array([np.cos(angle), np.sin(angle)])
            kicks[t + 2 : t + 3] = True  # the next frame shows the contact, the one after it the way out
    return Flight(places, kicks)


def _off_walls(place: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place and velocity, mirrored at the walls that were crossed."""
    low, high = place < BALL, place > 1 - BALL
    place = np.where(low, 2 * BALL - place, np.where(high, 2 * (1 - BALL) - place, place))
    return place, np.where(low | high, -velocity, velocity)


def render(places: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Draws the ball (T, 2) and the bumper, with soft edges: (T, side, side, 3) uint8."""
    pixels = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(pixels, pixels)

    def disc(centre: np.ndarray, radius: float) -> np.ndarray:
        distance = np.hypot(x - centre[..., 0, None, None], y - centre[..., 1, None, None])
        return np.clip((radius - distance) * side + 0.5, 0, 1)[..., None]

    bumper, ball = disc(np.array([0.5, 0.5]), BUMPER), disc(places, BALL)
    scene = bumper * BUMPER_COLOUR + (1 - bumper) * BACKGROUND
    return np.round(ball * BALL_COLOUR + (1 - ball) * scene).astype(np.uint8)


def find_ball(frames: np.ndarray) -> np.ndarray:
    """Where the ball is, by its colour: the mean place of what is redder than blue.

    Args:
        frames: (..., 3, H, W), uint8 or float.

    Returns:
        (..., 2), x and y; the middle where there is no ball.
    """
    frames = frames.astype(np.float64) / (255 if frames.dtype == np.uint8 else 1)
    weight = np.clip(frames[..., 0, :, :] - frames[..., 2, :, :] - 0.1, 0, None)
    middles = (np.arange(frames.shape[-1]) + 0.5) / frames.shape[-1]
    total = weight.sum((-1, -2)) + 1e-6
    x, y = (weight.sum(-2) * middles).sum(-1), (weight.sum(-1) * middles).sum(-1)
    return np.stack([x + 0.5e-6, y + 0.5e-6], axis=-1) / total[..., None]


def write_videos(out: Path, count: int, frames: int, seed: int) -> list[Path]:
    """Writes `ball-000.mp4` and so on into a folder, made if missing."""
    out.mkdir(parents=True, exist_ok=True)
    flights = (simulate(seed, number, frames) for number in range(count))
    return [write_mp4(out / f"ball-{n:03d}.mp4", render(flight.places), FPS) for n, flight in enumerate(flights)]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the videos")
    parser.add_argument("--count", type=int, default=200, help="videos (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=60, help="frames of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other flights (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="12 videos of 30 frames, to try it")
    options = parser.parse_args(words)
    count, frames = (12, 30) if options.quick else (options.count, options.frames)
    paths = write_videos(options.out, count, frames, options.seed)
    print(f"{options.out}: {len(paths)} videos of {frames} frames, {SIDE}×{SIDE}, {FPS} frames/s")


if __name__ == "__main__":
    main()
