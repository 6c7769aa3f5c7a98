"""Trains a model of videos that nobody here made, by the recipe for own videos, and writes a page of what came out.

    python examples/real_videos.py real                       all whose packages are installed
    python examples/real_videos.py real --only pusht pong     pip install gym-pusht ale-py

pusht: a robot's pusher and its block (gym-pusht), moved at random. pong: Atari's Pong (ale-py), likewise. vtest: people
who cross a street, from above, as Debian's package opencv-doc brings them. balls: those of the tutorial. Nothing is
fetched. Every source becomes clips below OUT/NAME/clips; what is run from there on is printed, to be run by hand.
"""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

import balls
import stochvid
from stochvid.cli import main as stochvid_command
from stochvid.evaluation.metrics.samples import gradient_energy

CONTEXT, HORIZON, SAMPLES, LONG = 5, 20, 20, 50
VTEST = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
GOAL_LASTS, FARTHEST = 8, 60  # steps; of PushT's 512 units, in a step
BLUE = np.array([65, 105, 225])  # of PushT's pusher


@dataclass(frozen=True)
class Source:
    """Where clips come from.

    Attributes:
        write: writes so many clips, as arrays or videos, into a folder.
        clips: how many.
        needs: what has to be installed.
        train: further words for `stochvid train`.
    """

    write: Callable[[Path, int], None]
    clips: int
    needs: str = ""
    train: tuple[str, ...] = ()


def write_pusht(folder: Path, count: int) -> None:
    """Episodes of 60 frames: every 8 steps a new goal, half of them anywhere, half near the block."""
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    import gym_pusht  # noqa: F401  (it makes the environment known)
    import gymnasium

    world = gymnasium.make(
        "gym_pusht/PushT-v0", obs_type="pixels", observation_width=64, observation_height=64, max_episode_steps=1000
    )
    for number in range(count):
        random, frames, goal = np.random.default_rng(number), [], np.zeros(2)
        world.reset(seed=number)
        inside = world.unwrapped
        for step in range(60):
            if step % GOAL_LASTS == 0:
                near = np.array(inside.block.position) + random.normal(0, 40, 2)
                goal = random.uniform(0, 512, 2) if random.random() < 0.5 else near
            way = goal - np.array(inside.agent.position)
            action = inside.agent.position + way * min(1.0, FARTHEST / max(float(np.hypot(*way)), 1e-6))
            frames.append(world.step(np.clip(action, 0, 512).astype(np.float32))[0])
        np.save(folder / f"episode-{number:03d}.npy", np.stack(frames))


def write_pong(folder: Path, count: int) -> None:
    """Pieces of 100 frames of games by random actions, each held for six frames; the field alone."""
    import ale_py
    import gymnasium

    gymnasium.register_envs(ale_py)
    world = gymnasium.make("ALE/Pong-v5", frameskip=2, repeat_action_probability=0.0)
    for number in range(count):
        random, frames, action = np.random.default_rng(number), [], 0
        world.reset(seed=number)
        for _ in range(60 + random.integers(60)):
            world.step(int(random.integers(6)))
        for step in range(100):
            action = int(random.integers(6)) if step % 6 == 0 else action
            frames.append(world.step(action)[0][34:194])
        np.save(folder / f"game-{number:03d}.npy", np.stack(frames))


def write_vtest(folder: Path, count: int) -> None:
    """Pieces of 60 frames, one after another; the last ones are held out, so that they are later than all others."""
    if not VTEST.is_file():
        raise ModuleNotFoundError(str(VTEST))
    frames = stochvid.read_clip(VTEST).frames
    for number, first in enumerate(range(0, min(len(frames), 60 * count) - 59, 60)):
        np.save(folder / f"piece-{number:03d}.npy", frames[first : first + 60])


def write_balls(folder: Path, count: int) -> None:
    """Those of the tutorial."""
    balls.write_videos(folder, count, 60, 0)


SOURCES = {
    "pusht": Source(write_pusht, 100, "pip install gym-pusht"),
    "pong": Source(write_pong, 40, "pip install ale-py gymnasium"),
    "vtest": Source(write_vtest, 13, "apt-get install opencv-doc", ("--model.reconstruction", "l1")),
    "balls": Source(write_balls, 200),
}


def run(*words: str) -> None:
    """A command of stochvid, printed as one would type it.

    Raises:
        SystemExit: it failed.
    """
    print(f"\n$ {shlex.join(['stochvid', *words])}", flush=True)
    if code := stochvid_command(list(words)):
        raise SystemExit(code)


def carry_out(name: str, source: Source, out: Path, steps: int | None, clips: int | None) -> dict:
    """Makes clips, trains, evaluates, and gives what came out."""
    folder, store, model = (out / name / part for part in ("clips", "store", "run"))
    folder.mkdir(parents=True)
    source.write(folder, clips or source.clips)
    made = sorted(path.name for path in folder.iterdir())
    held_out = max(1, min(10, len(made) // 5))
    split = ",".join([*(f"test={clip}" for clip in made[-held_out:]), "train=*"])
    run("prepare", str(folder), str(store), "--split", split)
    begun, words = time.monotonic(), [*source.train]
    if steps is not None:
        words += ["--trainer.max_steps", str(steps)]
    run("train", "--data.store", str(store), "--out", str(model), *words)
    minutes = (time.monotonic() - begun) / 60
    asked = ["--data", str(store), "--context", str(CONTEXT), "--horizon", str(HORIZON)]
    scores = {}
    for forecaster in (str(model), "copy-last"):
        results = out / name / f"evaluation-{Path(forecaster).name}"
        run("evaluate", forecaster, "--out", str(results), *asked, "--samples", str(SAMPLES))
        scores[Path(forecaster).name] = json.loads((results / "results.json").read_text())
    run("predict", str(model), f"{store}:0", f"{store}:1", "--samples", "5", "--out", str(out / name / "futures"))
    run("doctor", str(model))
    return {"minutes": minutes} | measures(scores["run"], scores["copy-last"], model, store, name)


def measures(ours: dict, still: dict, model: Path, store: Path, name: str) -> dict:
    """The numbers of the table."""
    health = json.loads((model / "model" / "health.json").read_text())
    ours_samples, still_samples = ours["samples"], still["samples"]
    found = {
        "nats": health["nats"],
        "diversity": ours_samples["diversity"]["mean"] / ours_samples["mse"]["mean"],
        "crps": ours_samples["crps"]["mean"] / still_samples["crps"]["mean"],
        "best": ours["metrics"]["psnr"]["best"]["mean"],
        "gain": ours["metrics"]["psnr"]["best"]["mean"] - still["metrics"]["psnr"]["best"]["mean"],
        "sharpness": ours_samples["sharpness"]["mean"],
    }
    network, held_out = stochvid.load(model), stochvid.Store(store)
    numbers = range(len(held_out.splits["test"].names))
    frames = torch.from_numpy(np.stack([held_out.clip("test", n)["frames"][:CONTEXT] for n in numbers]))
    drawn = network.predict(frames, LONG, 4).frames
    found["after 50"] = (gradient_energy(drawn[:, :, -1]).mean() / gradient_energy(frames[:, -1:] / 255).mean()).item()
    if name == "pusht":
        found["one dot"] = float(np.mean([one_dot(frame) for frame in drawn[:, :, HORIZON - 1].flatten(0, 1).numpy()]))
    return found


def one_dot(frame: np.ndarray) -> bool:
    """Whether a frame of PushT, (3, H, W) in [0, 1], has its pusher once, and sharp: 4 to 24 blue pixels."""
    far = np.abs(frame * 255 - BLUE[:, None, None]).max(0)
    areas, count = ndimage.label(far < 60, structure=np.ones((3, 3)))  # the block is 72 away from it
    sizes = np.bincount(areas.ravel())[1:]
    return bool(count == 1 and 4 <= sizes[0] <= 24)


COLUMNS = {
    "minutes": ("minutes of training", ".1f"), "nats": ("nats a step", ".2f"),
    "diversity": ("diversity / error", ".0%"), "crps": ("CRPS / copy-last's", ".2f"),
    "best": (f"best of {SAMPLES}, dB", ".2f"), "gain": ("above copy-last, dB", "+.2f"),
    "sharpness": ("sharpness", ".2f"), "after 50": ("sharpness after 50 frames", ".2f"),
    "one dot": ("one sharp dot", ".0%"),
}  # fmt: skip


def write_page(out: Path, results: dict[str, dict]) -> Path:
    """A page with the numbers, and strips to look at."""
    head = "".join(f"<th>{escape(label)}</th>" for label, _ in COLUMNS.values())
    rows, strips = "", ""
    for name, found in results.items():
        cells = "".join(
            f"<td>{format(found[key], form) if key in found else '–'}</td>" for key, (_, form) in COLUMNS.items()
        )
        rows += f"<tr><th>{escape(name)}</th>{cells}</tr>\n"
        for picture in sorted((out / name / "futures").glob("*/strip.png")):
            strips += f'<h2>{escape(name)}</h2><img src="{escape(picture.relative_to(out).as_posix())}">\n'
    page = out / "index.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><title>Real videos</title><style>body{font:16px sans-serif;margin:2em}"
        "td,th{padding:.3em .8em;text-align:right}img{max-width:100%}</style><h1>Real videos</h1>"
        f"<p>{CONTEXT} → {HORIZON} frames of held-out clips, {SAMPLES} samples.</p>"
        f"<table><tr><th></th>{head}</tr>\n{rows}</table>\n{strips}",
        encoding="utf-8",
    )
    return page


def main(words: list[str] | None = None) -> dict[str, dict]:
    """Does what the words ask for; gives the numbers of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of everything that is made; it must not exist")
    parser.add_argument("--only", nargs="+", choices=SOURCES, default=[*SOURCES], help="default: all")
    parser.add_argument("--steps", type=int, help="of training (default: the recipe's)")
    parser.add_argument("--clips", type=int, help="default: as many as there should be")
    options = parser.parse_args(words)
    if options.out.exists():
        parser.error(f"{options.out} is there already: give another folder.")
    results = {}
    for name in options.only:
        source = SOURCES[name]
        try:
            results[name] = carry_out(name, source, options.out, options.steps, options.clips)
        except ModuleNotFoundError as error:
            print(f"{name} is left out ({error}): {source.needs}", file=sys.stderr)
            continue
        (options.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    if results:
        print(f"\n{write_page(options.out, results)}")
    return results


if __name__ == "__main__":
    main()
