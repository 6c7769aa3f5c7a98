"""Episodes of an environment of Gymnasium, played while they are recorded: `stochvid prepare gym:ENV`.

A clip is an episode. At each frame stands what was done *after* it, as in other data sets of robots; the frame after
the last action is left out. Episode n is a function of the seed, n and the policy alone, so that it can be played by
any process, and again.
"""

import hashlib
import importlib
import os
import runpy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.command_options import takes
from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError, nearest
from stochvid.data.splits import SplitRule
from stochvid.data.store import Store
from stochvid.data.tracks import Track
from stochvid.prepare.beside import STATE
from stochvid.prepare.options import GYM, EnvironmentOptions
from stochvid.prepare.preparation import make_store
from stochvid.prepare.source import Event, Item, Options, Source, SourceFile, Walk

REWARDS = "rewards"
MOST_STATE = 4096  # numbers of an observation: larger ones are no state
STEPS = 100  # of an episode, where neither its environment nor anybody else says
HOMES = {"ALE": "ale_py"}  # packages that make the environments of a namespace known, where these differ in name
Policy = Callable[[Any, Any, np.random.Generator], Any]


@takes(EnvironmentOptions)
def prepare_environment(options: EnvironmentOptions) -> Store:
    """Records episodes of an environment as a store: frames, `actions`, `rewards`, and `state` where it tells one.

    Args:
        options: `EnvironmentOptions`, or their fields: the environment, the folder of the store, and others by name.

    Returns:
        The store.

    Raises:
        InputError: there is no such environment, it has no pixels or no actions that a model can read, or an option,
            the policy or the disk does not work out.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window
    reader = Episodes(options)
    return make_store(reader, Path(options.out), options, SplitRule(options.split), options.workers)


class Episodes(Source):
    """So many episodes of an environment, each of which counts as a file.

    Args:
        asked: what `stochvid prepare gym:ENV` was asked for.
    """

    format = "gym"

    def __init__(self, asked: EnvironmentOptions):
        super().__init__(Path(str(asked.source)), Walk(), Options())
        self.asked, self.first = asked, asked.seed or 0
        self.name_of_env = str(asked.source).removeprefix(GYM)

    @classmethod
    def recognises(cls, root: Path, tree: Walk) -> bool:
        """It is asked for by name."""
        return False

    def find(self) -> list[Path]:
        """The episodes, by their seeds."""
        env = self._make()
        try:
            observation, _ = _quietly(env.reset, seed=self.first)
            frame = self._frame(env, observation)
            self.channels = 3 if frame.shape[2] != 1 else 1
            self.shape = frame.shape
            self.tracks = {
                ACTIONS: Track(
                    "float32", (_action_size(env.action_space, self.name_of_env),), _names(env.action_space)
                ),
                REWARDS: Track("float32"),
            }
            if (state := _state(observation)) is not None:
                self.tracks[STATE] = Track("float32", (len(state[0]),), state[1])
            limit = env.spec.max_episode_steps if env.spec else None
            self.steps = self.asked.steps or limit or STEPS
            fps = env.metadata.get("render_fps")
            self.fps = float(fps) if isinstance(fps, int | float) and 0 < fps < 1e6 else None
            self._policy(env)
        finally:
            env.close()
        seeds = range(self.first, self.first + self.asked.episodes)
        return [Path(f"seed-{seed:06}") for seed in seeds]

    def probe(self, path: Path) -> SourceFile:
        """An episode, as long as it may become."""
        height, width, _ = self.shape
        return SourceFile(path, (Item(path.name, self.steps),), (width, height), self.channels or 3, self.fps)

    def keyed(self, task: SourceFile) -> SourceFile:
        """With what it depends on."""
        a = self.asked
        policy = "random" if a.policy == "random" else hashlib.sha256(Path(a.policy).read_bytes()).hexdigest()
        told = repr((self.name_of_env, a.make, policy, a.hold, self.steps, a.key))
        return replace(task, key=(task.path.name, hashlib.sha256(told.encode()).hexdigest()[:16]))

    def read(self, task: SourceFile) -> Iterator[Event]:
        """Plays the episode."""
        seed = int(task.path.name.removeprefix("seed-"))
        random = np.random.default_rng(seed)
        env = self._make()
        told: dict[str, list[Any]] = {name: [] for name in self.tracks}
        try:
            observation, _ = _quietly(env.reset, seed=seed)
            env.action_space.seed(seed)
            act, reward = self._policy(env), 0.0
            for _ in range(self.steps):
                yield 0, self._frame(env, observation)
                action = act(observation, env, random)
                if STATE in told:
                    state = _state(observation)
                    assert state is not None
                    told[STATE].append(state[0])
                told[REWARDS].append(reward)
                told[ACTIONS].append(_numbers(env.action_space, action))
                observation, reward, terminated, truncated, _ = _quietly(env.step, action)
                if terminated or truncated:
                    break
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"episode {task.path.name} of {self.name_of_env} cannot be played: {error!r:.300}."
            ) from None
        finally:
            env.close()
        yield (
            0,
            {
                name: np.asarray(values, self.tracks[name].dtype).reshape(-1, *self.tracks[name].shape)
                for name, values in told.items()
            },
        )

    # -------------------------------------------------------------------------------------------------------- private

    def _make(self) -> Any:
        return make_environment(self.name_of_env, self.asked.arguments)

    def _frame(self, env: Any, observation: Any) -> np.ndarray:
        """The picture of a moment, (H, W, 1 or 3) uint8: that which the environment observes, or else renders."""
        key = self.asked.key
        if isinstance(observation, dict):
            pictures = [name for name, value in observation.items() if _is_picture(value)]
            if key is not None and key not in pictures:
                raise InputError(
                    f"--key {key!r} is no picture that {self.name_of_env} observes: {', '.join(pictures) or 'none'}."
                )
            if key is None and len(pictures) > 1:
                raise InputError(f"{self.name_of_env} observes several pictures: --key {' or '.join(pictures)}.")
            if pictures:
                return _as_frame(observation[key or pictures[0]])
        elif _is_picture(observation):
            return _as_frame(observation)
        if env.render_mode == "rgb_array":
            rendered = _quietly(env.render)
            if _is_picture(rendered):
                return _as_frame(rendered)
        raise InputError(
            f"{self.name_of_env} gives no pixels: it neither observes pictures nor renders any as 'rgb_array'. See "
            "whether it takes an argument for that, as in --make obs_type=pixels."
        )

    def _policy(self, env: Any) -> Policy:
        if self.asked.policy == "random":
            return _held(lambda observation, env, random: env.action_space.sample(), self.asked.hold)
        path = Path(self.asked.policy)
        try:
            found = runpy.run_path(str(path))
        except OSError as error:
            raise InputError(f"--policy {str(path)!r} cannot be read: {error.strerror}.") from None
        except Exception as error:
            raise InputError(f"--policy {str(path)!r} does not run: {error!r:.300}.") from None
        made = found.get("policy")
        if not callable(made):
            raise InputError(
                f"--policy {str(path)!r} has no function 'policy'. It should have one that makes what acts in an "
                "episode: policy() → act(observation, env, random) → action."
            )
        return _held(made(), self.asked.hold)


def make_environment(name: str, arguments: dict[str, Any]) -> Any:
    """An environment of Gymnasium, ready to be reset, that renders pictures if it can.

    Args:
        name: its ID, as `gym_pusht/PushT-v0`. The package of its namespace is imported, so that it is known.
        arguments: for its making.

    Raises:
        InputError: Gymnasium or the environment is not installed, or it cannot be made so.
    """
    try:
        import gymnasium
    except ImportError:
        raise InputError("environments need Gymnasium: pip install 'stochvid[gym]'.") from None
    space, _, _ = name.rpartition("/")
    if space and name not in gymnasium.registry:
        home = HOMES.get(space, space)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                package = importlib.import_module(home)
            if name not in gymnasium.registry:
                gymnasium.register_envs(package)
        except ImportError as error:
            raise InputError(
                f"environment {name!r} needs the package {home!r}, which cannot be imported ({error}): pip install "
                f"{home.replace('_', '-')}."
            ) from None
    if name not in gymnasium.registry:
        known = [key for key in gymnasium.registry if key.startswith(f"{space}/" if space else "")]
        raise InputError(f"there is no environment {name!r}. {nearest(name, known)}")
    modes = {"render_mode": "rgb_array"} if "render_mode" not in arguments else {}
    try:
        return _quietly(gymnasium.make, name, **(modes | arguments))
    except Exception as error:
        raise InputError(f"environment {name!r} cannot be made with {arguments or 'nothing'}: {error!s:.300}") from None


def _quietly(function: Callable, *words: Any, **options: Any) -> Any:
    """Calls an environment, whose warnings are for its makers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*words, **options)


def _held(act: Policy, steps: int) -> Policy:
    """A policy each of whose actions lasts so many steps."""
    last: Any = None
    count = 0

    def held(observation: Any, env: Any, random: np.random.Generator) -> Any:
        nonlocal last, count
        if count % steps == 0:
            last = act(observation, env, random)
        count += 1
        return last

    return held


def _is_picture(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint8
        and (value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3)))
        and min(value.shape[:2]) >= 8
    )


def _as_frame(value: np.ndarray) -> np.ndarray:
    return value[:, :, None] if value.ndim == 2 else value


def _action_size(space: Any, name: str) -> int:
    from gymnasium.spaces import Box, Discrete

    if isinstance(space, Box):
        return int(np.prod(space.shape))
    if isinstance(space, Discrete):
        return int(space.n)
    raise InputError(f"{name} is acted in by {type(space).__name__}; models read lists of numbers or one of a few.")


def _names(space: Any) -> list[str] | None:
    """Of the components of an action, where they are one of a few."""
    from gymnasium.spaces import Discrete

    return [str(i + int(space.start)) for i in range(int(space.n))] if isinstance(space, Discrete) else None


def _numbers(space: Any, action: Any) -> np.ndarray:
    """An action as models read it, (A,): itself, or which of a few it was, as ones and zeros."""
    from gymnasium.spaces import Discrete

    if isinstance(space, Discrete):
        return np.eye(int(space.n), dtype=np.float32)[int(action) - int(space.start)]
    return np.asarray(action, np.float32).ravel()


def _state(observation: Any) -> tuple[np.ndarray, list[str]] | None:
    """Everything that is observed in numbers, (N,), and what they are called; None: nothing is."""
    if not isinstance(observation, dict):
        observation = {"observation": observation}
    values, names = [], []
    for name, value in observation.items():
        known = isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size <= MOST_STATE
        if known and not _is_picture(value):
            flat = value.ravel().astype(np.float32)
            values.append(flat)
            names += [name] if len(flat) == 1 else [f"{name}[{i}]" for i in range(len(flat))]
    return (np.concatenate(values), names) if values else None
