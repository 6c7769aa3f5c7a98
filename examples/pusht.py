"""A world model of PushT: record it, train with actions and without, and plan in the real environment by imagining.

    pip install 'stochvid[gym]' gym-pusht
    python examples/pusht.py OUT                 everything, about an hour and a half of two cores
    python examples/pusht.py OUT --only plan --tasks reach --model pusht     with the shipped model, half an hour
    python examples/pusht.py OUT --only plan     with what is there already

What is there already is not made again. Two tasks, each told by a picture alone:

reach: the pusher is to come to where the picture shows it; reached is within 20 of the 512 units of a side.
push: the block is to come to where the picture shows it; what counts is how much of the goal it covers at the end.

Who acts: a planner that imagines with the model; the same planner with the last frame for a model, which cannot tell
one plan from another; what the data were recorded with; nobody (the pusher is told to stay).
"""

import argparse
import json
import math
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import stochvid
from pusht_policy import policy
from stochvid.cli import main as stochvid_command
from stochvid.core.clips import ACTIONS, Clips
from stochvid.core.memory import keep_freed_memory
from stochvid.media.pictures import FuturesPicture
from stochvid.planning import CEM, ImageGoal, Planner
from stochvid.planning.costs import as_goal
from stochvid.prepare.environments import make_environment

ENV, MAKE = "gym_pusht/PushT-v0", "obs_type=pixels_agent_pos"
WHO = ("planner", "blind planner", "as recorded", "nobody")
REACHED, FAR, CLEAR, FIRST_SEED = 20, 150, 110, 1_000_000  # units; seeds beyond those that were recorded
STEPS = {"reach": 20, "push": 40}
HORIZON, LASTS = {"reach": 1, "push": 3}, {"reach": 6, "push": 4}  # actions of a plan, and steps of each
BLOCK = (119, 136, 153)  # its colour
GOAL = np.array([256, 256, np.pi / 4])  # where the environment wants the block
Act = Callable[[np.ndarray], np.ndarray]


def run(*words: str) -> None:
    """A command of stochvid, printed as one would type it."""
    print(f"\n$ {shlex.join(['stochvid', *words])}", flush=True)
    if code := stochvid_command([*words]):
        raise SystemExit(code)


class World:
    """The environment, told where things are."""

    def __init__(self) -> None:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        self.env = make_environment(ENV, {"obs_type": "pixels_agent_pos", "max_episode_steps": 10_000})

    def begin(self, seed: int) -> np.ndarray:
        """A fresh episode; gives its first picture."""
        observation, _ = self.env.reset(seed=seed)
        return observation["pixels"]

    def show(self, agent: np.ndarray, block: np.ndarray) -> np.ndarray:
        """The picture of a pusher and a block (x, y, angle) that are somewhere; the episode ends by it."""
        inside = self.env.unwrapped
        self.env.reset(seed=0)
        inside.agent.position = [*map(float, agent)]
        # the angle first: it turns the block about its middle, which is not where its position is. The environment's
        # own reset_to_state does it the other way round, as its old data need it, and shows the block elsewhere.
        inside.block.angle = float(block[2])
        inside.block.position = [*map(float, block[:2])]
        for body in (inside.agent, inside.block):
            inside.space.reindex_shapes_for_body(body)  # or it is drawn where it was
        return inside.get_obs()["pixels"]

    @property
    def agent(self) -> np.ndarray:
        """Where the pusher is."""
        return np.array(self.env.unwrapped.agent.position)

    @property
    def block(self) -> np.ndarray:
        """Where the block is: x, y, angle."""
        inside = self.env.unwrapped.block
        return np.array([*inside.position, inside.angle])

    def coverage(self) -> float:
        """How much of the goal the block covers."""
        return float(self.env.unwrapped._get_coverage())

    def step(self, action: np.ndarray) -> np.ndarray:
        """Acts; gives the picture after it."""
        return self.env.step(np.clip(action, 0, 512).astype(np.float32))[0]["pixels"]


def goal_of(world: World, task: str, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The picture of what is wanted in an episode, and where the pusher should come to."""
    world.begin(seed)
    agent, block, random = world.agent, world.block, np.random.default_rng(seed)
    if task == "push":
        return world.show(agent, GOAL), None
    while True:
        place = random.uniform(50, 462, 2)
        if np.hypot(*(place - agent)) > FAR and np.hypot(*(place - block[:2])) > CLEAR:
            return world.show(place, block), place


def explain(out: Path, store: Path, models: dict[str, Path]) -> dict[str, dict[str, float]]:
    """What actions explain: KL and the prior's σ of held-out clips, given their true past, with them and without.

    A frame in which the block moves is one that the pusher's place alone does not tell of. Writes `sigma.png`.
    """
    import matplotlib.pyplot as plt
    from sklearn.metrics import roc_auc_score

    held_out = stochvid.Store(store)
    clips = [held_out.clip("test", n) for n in range(len(held_out.splits["test"].names))]
    batch = Clips.of_batch({name: np.stack([clip[name] for clip in clips]) for name in ("frames", ACTIONS)})
    pushed = np.stack([block_moves(clip["frames"]) for clip in clips])  # (B, T − 1)
    found, lines = {}, {}
    for name, folder in models.items():
        model = stochvid.load(folder).for_inference()
        with torch.inference_mode():
            told = model.observe(batch, decode=False)
        known = model.config.context - 1
        sigma = told.prior.std.flatten(2).mean(2)[:, known:].numpy()
        nats = told.posterior.divergence(told.prior).flatten(2).sum(2)[:, known:].numpy()
        lines[name] = sigma
        at = pushed[:, known:]
        found[name] = {
            "KL, nats a step": float(nats.mean()),
            "KL where the block is pushed": float(nats[at].mean()),
            "KL elsewhere": float(nats[~at].mean()),
            "σ": float(sigma.mean()),
            "σ where the block is pushed": float(sigma[at].mean()),
            "σ elsewhere": float(sigma[~at].mean()),
            "AUROC of σ for a push": float(roc_auc_score(at.ravel(), sigma.ravel())),
        }
    shown = int(np.argsort(pushed.sum(1))[len(pushed) // 2])  # a clip with some pushes, neither many nor few
    figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
    steps = np.arange(pushed.shape[1] - len(lines[name][0]), pushed.shape[1]) + 2
    for label, sigma in lines.items():
        axes.plot(steps, sigma[shown], label=label)
    for frame in np.flatnonzero(pushed[shown]) + 2:
        axes.axvspan(frame - 0.5, frame + 0.5, color="0.85", lw=0, zorder=0)
    axes.set(xlabel="frame (grey: the block is pushed)", ylabel="σ of the prior", xlim=(steps[0], steps[-1]))
    axes.legend(frameon=False)
    figure.savefig(out / "sigma.png", dpi=150)
    plt.close(figure)
    (out / "sigma.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
    return found


def block_moves(frames: np.ndarray) -> np.ndarray:
    """Whether the block moves between frames (T, 3, H, W) uint8, (T − 1,): the share of its pixels that change."""
    grey = np.abs(frames.astype(int) - np.array(BLOCK)[:, None, None]).max(1) < 40
    return (grey[1:] ^ grey[:-1]).sum((1, 2)) > 0.3 * grey[1:].sum((1, 2))


class Blind:
    """A planner for which nothing ever changes: all plans cost the same to it, and it takes the first."""

    def __init__(self, planner: Planner):
        self.planner, self.generator = planner, torch.Generator().manual_seed(0)

    def act(self, frame: np.ndarray) -> np.ndarray:
        """What to do."""
        p = self.planner
        mean, std = (x[None].expand(p.horizon, -1) for x in (p.known.mean, p.known.std))
        zeros = lambda plans: torch.zeros(len(plans))  # noqa: E731
        return p.solver.solve(zeros, mean, std, p.low, p.high, self.generator).actions[0].numpy()


def actor(who: str, world: World, model: str | Path, task: str, goal: np.ndarray, solver: CEM, seed: int) -> Act:
    """Somebody who acts in an episode that has begun."""
    if who == "nobody":
        place = world.agent
        return lambda frame: place
    if who == "as recorded":
        act, random = policy(), np.random.default_rng(seed)
        return lambda frame: act(None, world.env, random)
    network = stochvid.load(model)
    cost, again = ImageGoal(as_goal(network, goal)), {"reach": 1, "push": 2}[task]
    planner = Planner(
        network, cost, solver, horizon=HORIZON[task], action_block=LASTS[task], receding_horizon=again, seed=seed
    )
    return (planner if who == "planner" else Blind(planner)).act


def plan(out: Path, model: str | Path, task: str, who: str, trials: int, solver: CEM) -> dict:
    """Episodes of one task by one of them; gives what came out."""
    kept = out / "plans" / f"{task}-{who.replace(' ', '-')}.json"
    found = json.loads(kept.read_text()) if kept.exists() else {"trials": []}
    world = World()
    for number in range(len(found["trials"]), trials):
        seed = FIRST_SEED + number
        goal, place = goal_of(world, task, seed)
        frame = world.begin(seed)
        act = actor(who, world, model, task, goal, solver, seed)
        frames, actions, seconds, covered = [frame], [], 0.0, [world.coverage()]
        for _ in range(STEPS[task]):
            begun = time.perf_counter()
            actions.append(np.clip(act(frame), 0, 512).astype(np.float32))
            seconds += time.perf_counter() - begun
            frame = world.step(actions[-1])
            frames.append(frame)
            covered.append(world.coverage())
        distance = None if place is None else float(np.hypot(*(world.agent - place)))
        told = {"seed": seed, "distance": distance, "coverage": covered[-1], "before": covered[0]}
        found["trials"].append(told | {"seconds": seconds / STEPS[task]})
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found, indent=1))
        print(f"{task}, {who}, {number + 1} of {trials}: {told}", flush=True)
        if who == "planner" and number < 3:
            imagined(out / "plans" / f"{task}-{number}.gif", model, np.stack(frames), np.stack(actions))
    return found


def imagined(path: Path, model: str | Path, frames: np.ndarray, actions: np.ndarray) -> None:
    """A GIF of an episode beside what the model imagines of it, from its first frames and what was done."""
    network = stochvid.load(model)
    clip = stochvid.Clip("pusht", frames)
    real = stochvid.fit_frames(clip, network.config.image_size, network.config.channels)
    known = network.config.context
    led = torch.from_numpy(np.concatenate([np.zeros_like(actions[:1]), actions]))[None]
    drawn = network.predict(Clips(torch.from_numpy(real[None, :known]), {ACTIONS: led}), len(real) - known, 2).frames[0]
    futures = (drawn * 255).round().to(torch.uint8).numpy()
    FuturesPicture(real[:known], futures, real[known:], "real and imagined").write_gif(path)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson 1927)."""
    z, p = 1.96, successes / trials
    middle, room = p + z * z / (2 * trials), z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2))
    return max(0.0, (middle - room) / (1 + z * z / trials)), min(1.0, (middle + room) / (1 + z * z / trials))


def table(results: dict[str, dict[str, dict]]) -> str:
    """What came out, as Markdown."""
    lines = ["| task | who | reached | 95 % | coverage at the end | 95 % | ms a decision |", "|---" * 7 + "|"]
    for task, by in results.items():
        for who, found in by.items():
            trials = found["trials"]
            n, covered = len(trials), np.array([t["coverage"] for t in trials])
            room = 1.96 * covered.std(ddof=1) / math.sqrt(n) if n > 1 else math.nan
            cells = ["–", "–"]
            if task == "reach":
                hits = sum(t["distance"] <= REACHED for t in trials)
                low, high = wilson(hits, n)
                cells = [f"{hits} of {n}", f"{low:.0%} to {high:.0%}"]
            milliseconds = 1000 * float(np.mean([t["seconds"] for t in trials]))
            cells += [f"{covered.mean():.3f}", f"{covered.mean() - room:.3f} to {covered.mean() + room:.3f}"]
            lines.append(f"| {task} | {who} | {' | '.join(cells)} | {milliseconds:.0f} |")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> dict:
    """Does what the words ask for; gives what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of everything that is made")
    parser.add_argument("--only", nargs="+", choices=("record", "train", "plan"), default=["record", "train", "plan"])
    parser.add_argument("--episodes", type=int, default=400, help="to record (default: 400)")
    parser.add_argument("--steps", type=int, default=2400, help="of training (default: 2400)")
    parser.add_argument("--trials", type=int, default=30, help="of each task, by each who acts (default: 30)")
    parser.add_argument("--model", help="to plan with, as pusht, the shipped one (default: OUT/with-actions)")
    parser.add_argument("--tasks", nargs="+", choices=[*STEPS], default=[*STEPS])
    parser.add_argument("--plans", type=int, default=64, help="that are imagined in each of 4 rounds (default: 64)")
    parser.epilog = "Everything else is for stochvid train, as --threads 1."
    o, more_words = parser.parse_known_args(words)
    keep_freed_memory()
    o.out.mkdir(parents=True, exist_ok=True)
    store, model, without = (o.out / name for name in ("store", "with-actions", "without"))
    if "record" in o.only:
        own = str(Path(__file__).parent / "pusht_policy.py")
        asked = ["--episodes", str(o.episodes), "--steps", "60", "--make", MAKE, "--policy", own]
        run("prepare", f"gym:{ENV}", str(store), *asked)
    if "train" in o.only:
        for folder, more in ((model, ["--model.action_dim", "2"]), (without, [])):
            steps = ["--trainer.max_steps", str(o.steps), "--trainer.validate_every", str(max(1, o.steps // 6))]
            if (folder / "checkpoints").exists():
                run("train", "--resume", str(folder))
            else:
                run("train", "--data.store", str(store), "--out", str(folder), *more, *steps, *more_words)
            if not (o.out / f"evaluation-{folder.name}").exists():
                run("evaluate", str(folder), "--out", str(o.out / f"evaluation-{folder.name}"), "--samples", "20")
        for name, numbers in explain(o.out, store, {"with actions": model, "without": without}).items():
            print(f"{name}: " + ", ".join(f"{what} {value:.3g}" for what, value in numbers.items()), flush=True)
    if "plan" not in o.only:
        return {}
    solver = CEM(num_samples=o.plans, n_steps=4, topk=max(2, o.plans // 8))
    results = {
        task: {who: plan(o.out, o.model or model, task, who, o.trials, solver) for who in WHO} for task in o.tasks
    }
    text = table(results)
    (o.out / "plans" / "table.md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}")
    return results


if __name__ == "__main__":
    main()
