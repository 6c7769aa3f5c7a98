"""Plans with futures: moves a net so that the ball is above it, or is not, at a moment that is still to come.

    python examples/planning.py runs/balls

The bumper sends the ball anywhere, so there is no one future to plan for. In every frame the planner draws futures of
what it has seen, asks a score of the user what each place of the net would be worth in each, goes towards the place
with the best mean, and looks again. `catch` and `dodge` are two such scores; another is a function of as many lines.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from balls import BALL, find_ball, render, simulate
from stochvid import SVG

SEED = 2  # other flights than those of the training
DEADLINE = 20  # the frame that counts, from 1
REACH = 0.12  # half the width of the net
STEP = 0.02  # how far the net goes in a frame
PLACES = np.linspace(BALL, 1 - BALL, 17)

Score = Callable[[np.ndarray, float], float]
"""What a future (T, C, H, W) in [0, 1] is worth if the net is at a place, a number in [0, 1], in its last frame."""


def catch(future: np.ndarray, place: float) -> float:
    """1 where the ball is above the net in the end, else 0."""
    return float(abs(find_ball(future[-1])[0] - place) <= REACH)


def dodge(future: np.ndarray, place: float) -> float:
    """1 where no part of the ball is above the net in the end, else 0."""
    return float(abs(find_ball(future[-1])[0] - place) > REACH + BALL)


SCORES: dict[str, Score] = {"catch": catch, "dodge": dodge}


@dataclass
class Plan:
    """A choice, and what it rests on.

    Attributes:
        futures: (S, T, C, H, W) in [0, 1].
        places: the A places there are to choose from.
        scores: of every place in every future, (A, S).
        chosen: index of the place with the best mean score, the middle one of equals.
    """

    futures: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    chosen: int


def draw_futures(model: SVG, seen: np.ndarray, horizon: int, samples: int) -> np.ndarray:
    """Futures (S, T, C, H, W) in [0, 1] of frames (K, C, H, W) uint8."""
    return model.predict(torch.from_numpy(seen)[None], horizon, samples).frames[0].float().numpy()


def choose(futures: np.ndarray, places: np.ndarray, score: Score) -> Plan:
    """Scores every place in every future, and chooses the one that is worth most on average."""
    scores = np.array([[score(future, place) for future in futures] for place in places])
    means = scores.mean(axis=1)
    best = np.flatnonzero(means > means.max() - 1e-9)
    return Plan(futures, places, scores, int(best[len(best) // 2]))


def play(model: SVG, frames: np.ndarray, score: Score, samples: int) -> tuple[float, list[Plan]]:
    """Moves the net through a video (T, C, H, W) uint8 up to the deadline.

    Args:
        model: of such videos.
        frames: the video; the planner sees of it what is past.
        score: what is wanted.
        samples: futures of each plan; 0: the last frame is taken for the future.

    Returns:
        The last place of the net, and the plans on the way.
    """
    net, plans = 0.5, []
    for known in range(model.config.context, DEADLINE):
        left = DEADLINE - known
        seen = frames[known - model.config.context : known]
        futures = draw_futures(model, seen, left, samples) if samples else seen[None, -1:] / 255
        within = [place for place in PLACES if abs(place - net) <= left * STEP]
        plans.append(choose(futures, np.unique([*within, net]), score))
        aim = plans[-1].places[plans[-1].chosen]
        net += float(np.clip(aim - net, -STEP, STEP))
    return net, plans


def as_seen(number: int, size: int) -> np.ndarray:
    """A new flight up to the deadline, as the model takes it: (T, 3, H, W) uint8."""
    from stochvid.media.clip import Clip, fit_frames

    return fit_frames(Clip("flight", render(simulate(SEED, number, DEADLINE).places)), size, 3)


def compare(model: SVG, score: Score, episodes: int, samples: int) -> dict[str, float]:
    """Mean score of each way to move the net, over the same flights; judged by the true last frame."""
    ways = {f"plan with {samples} futures": samples, "plan with one future": 1, "plan with the last frame": 0}
    earned: dict[str, list[float]] = {name: [] for name in [*ways, "stay in the middle"]}
    for number in range(episodes):
        frames = as_seen(number, model.config.image_size)
        places = {name: play(model, frames, score, drawn)[0] for name, drawn in ways.items()}
        for name, values in earned.items():
            values.append(score(frames[-1:] / 255, places.get(name, 0.5)))
    return {name: float(np.mean(values)) for name, values in earned.items()}


def draw_game(path: Path, model: SVG, number: int, score: Score, samples: int) -> None:
    """A picture of one game: what is seen, where the futures go, and what each place of the net is worth."""
    from matplotlib.figure import Figure

    frames = as_seen(number, model.config.image_size)
    net, plans = play(model, frames, score, samples)
    moments = [0, 4, 8, 12]
    figure = Figure(figsize=(10, 3.7), layout="constrained", dpi=120)
    axes = figure.subplots(2, len(moments), height_ratios=[3, 1], sharex=True)
    for moment, (above, below) in zip(moments, axes.T, strict=True):
        step, known = plans[moment], moment + model.config.context
        above.imshow(frames[known - 1].transpose(1, 2, 0), extent=(0, 1, 1, 0))
        for track in find_ball(step.futures):
            above.plot(track[:, 0], track[:, 1], color="white", lw=0.7, alpha=0.45)
            above.plot(*track[-1], "o", color="white", ms=3, alpha=0.7)
        above.plot(*find_ball(frames[-1]), "x", color="#4abe79", ms=8, mew=2)
        above.set_title(f"frame {known}, {DEADLINE - known} to go", fontsize=9, loc="left")
        above.set_axis_off()
        aim = step.places[step.chosen]
        below.bar(step.places, step.scores.mean(axis=1), width=0.04, color="#c3c9d4")
        below.bar([aim], [step.scores[step.chosen].mean()], width=0.04, color="#f59e42")
        below.set(xlim=(0, 1), ylim=(0, 1.05), yticks=[0, 1])
        below.spines[["top", "right"]].set_visible(False)
        below.tick_params(labelsize=8)
    axes[1, 0].set_ylabel("mean score", fontsize=8)
    figure.supxlabel(
        "white: the ball in each future; green: where it really was in the end; orange: the place that was chosen",
        fontsize=8,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f"{path}: in the end the net is at {net:.2f}, the ball at {find_ball(frames[-1])[0]:.2f}")


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a model of the videos of balls.py, such as runs/balls")
    parser.add_argument("--score", choices=SCORES, default="catch", help="what is wanted (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=40, help="flights (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=24, help="futures of each plan (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="draw a game into this PNG")
    parser.add_argument("--flight", type=int, default=0, help="the one to draw (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one flight and 4 futures, to try it")
    options = parser.parse_args(words)
    episodes, samples = (1, 4) if options.quick else (options.episodes, options.samples)
    model, score = SVG.from_pretrained(options.model).for_inference(), SCORES[options.score]
    if options.picture:
        draw_game(options.picture, model, options.flight, score, samples)
    results = compare(model, score, episodes, samples)
    print(f"Mean score of {options.score} over {episodes} flight(s), {DEADLINE} frames each:")
    for name, mean in results.items():
        print(f"  {name:26}{mean:.3f}")
    return results


if __name__ == "__main__":
    main()
