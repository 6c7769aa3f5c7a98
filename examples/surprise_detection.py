"""Finds the frame in which something happened that cannot happen: a ball that turns in mid-air, without a bumper.

    python examples/surprise_detection.py runs/balls

Makes new videos in which the ball turns once by a right angle with nothing near it, and measures along each what
`stochvid surprise` does: KL(q ‖ p), the nats by which the posterior leaves the prior, and the reconstruction error,
what even the posterior cannot explain. The frames where they are highest are compared with the one of the turn.
"""

import argparse
from pathlib import Path

import numpy as np

from balls import BALL, BUMPER, FPS, SPEED, Flight, render, simulate
from stochvid.inference.surprise import surprise
from stochvid.media.video import write_mp4

SEED = 1  # other flights than those of the training
CLEAR = SPEED  # a step away from walls and bumper


def free_frame(flight: Flight, first: int) -> int | None:
    """The first frame from `first` on, counted from 1, which the ball reaches clear of everything."""
    to_wall = (0.5 - np.abs(flight.places - 0.5)).min(axis=1) - BALL
    to_bumper = np.hypot(*(flight.places - 0.5).T) - BALL - BUMPER
    clear = np.minimum(to_wall, to_bumper) > CLEAR
    for frame in range(first, len(clear) - 3):
        if clear[frame - 2 : frame].all() and not flight.kicks[frame - 5 : frame + 2].any():
            return frame
    return None


def edited_videos(out: Path, count: int, frames: int) -> list[tuple[Path, Flight, int]]:
    """Writes videos with an impossible turn: path, flight and the frame of the turn, counted from 1."""
    out.mkdir(parents=True, exist_ok=True)
    made, number = [], 0
    while len(made) < count:
        turn = free_frame(simulate(SEED, number, frames), first=15)
        if turn is not None:
            flight = simulate(SEED, number, frames, turn_at=turn)
            made.append((write_mp4(out / f"turn-{number:03d}.mp4", render(flight.places), FPS), flight, turn))
        number += 1
    return made


def detect(model: str, out: Path, count: int, frames: int) -> list[dict[str, float]]:
    """Of each video: where it turned; where KL (nats) and error (MSE) are highest, and how high they are where."""
    found = []
    for path, flight, turn in edited_videos(out / "videos", count, frames):
        series = surprise(model, str(path), out / path.stem, smooth=0, overwrite=True)
        frame, kicked = series["frame"], flight.kicks[1:]
        settled = frame > 10  # at first, the velocity is news
        rest = settled & ~kicked & (np.abs(frame - turn) > 2)
        video = {"turn": turn}
        for name in ("kl", "mse"):
            values = series[name]
            video[f"{name} highest"] = int(frame[settled][values[settled].argmax()])
            for place, chosen in (("turn", frame == turn), ("kicks", settled & kicked), ("rest", rest)):
                video[f"{name} {place}"] = float(values[chosen].mean()) if chosen.any() else float("nan")
        found.append(video)
    return found


def hits(found: list[dict[str, float]], name: str) -> int:
    """In how many videos `kl` or `mse` is highest where the ball turned, or in a frame beside it."""
    return sum(abs(video[f"{name} highest"] - video["turn"]) <= 1 for video in found)


def report(found: list[dict[str, float]]) -> None:
    print("\n turned  highest KL  highest error")
    for video in found:
        print(f"{video['turn']:7}{video['kl highest']:12}{video['mse highest']:15}")
    print(f"\nOf {len(found)} turns, the highest KL finds {hits(found, 'kl')}, the highest error {hits(found, 'mse')}.")
    for name, what in (("kl", "KL (nats)"), ("mse", "error (MSE)")):
        means = [np.nanmean([video[f"{name} {place}"] for video in found]) for place in ("turn", "kicks", "rest")]
        print("Mean {:11} {:8.4f} at the turn, {:8.4f} at kicks, {:8.4f} elsewhere".format(what, *means))


def main(words: list[str] | None = None) -> list[dict[str, float]]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a model of the videos of balls.py, such as runs/balls")
    parser.add_argument("--count", type=int, default=20, help="videos (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=60, help="frames of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("surprise"), help="folder (default: surprise)")
    parser.add_argument("--quick", action="store_true", help="two videos of 40 frames, to try it")
    options = parser.parse_args(words)
    count, frames = (2, 40) if options.quick else (options.count, options.frames)
    found = detect(options.model, options.out, count, frames)
    report(found)
    return found


if __name__ == "__main__":
    main()
