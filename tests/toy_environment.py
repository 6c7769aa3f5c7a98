"""An environment for tests: a bright square that goes where it is told, at once; it can be made to go wrong."""

from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

SIDE = 32


class Dot(gymnasium.Env):
    """The square's corner is the action, (x, y) in [0, 24]; or of `moves=True` one of four steps."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(self, render_mode=None, pixels="observed", moves=False, wrong="", ends=0):
        self.render_mode, self.pixels, self.moves, self.wrong, self.ends = render_mode, pixels, moves, wrong, ends
        self.action_space = spaces.Discrete(4, start=2) if moves else spaces.Box(0, 24, (2,), np.float32)
        if wrong == "actions":
            self.action_space = spaces.MultiBinary(3)
        picture = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        if pixels == "observed":
            self.observation_space = picture
        elif pixels in ("rendered", "nowhere"):
            self.observation_space = spaces.Box(0, 24, (2,), np.float32)
        else:
            self.observation_space = spaces.Dict({"place": spaces.Box(0, 24, (2,)), "front": picture, "wrist": picture})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.integers(0, 24, 2), 0
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        if self.wrong == "step" and self.steps == 3:
            raise RuntimeError("the motor is on fire")
        if self.moves:
            assert 2 <= action < 6
            self.place = np.clip(self.place + [(1, 0), (-1, 0), (0, 1), (0, -1)][action - 2], 0, 24)
        else:
            self.place = np.asarray(action).astype(int)
        return self._observe(), float(self.place[0]), self.ends == self.steps, False, {}

    def render(self):
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        x, y = self.place
        picture[y : y + 8, x : x + 8] = (255, 128, 0)
        return picture

    def _observe(self):
        if self.pixels == "observed":
            return self.render()
        if self.pixels in ("rendered", "nowhere"):
            return self.place.astype(np.float32)
        return {"place": self.place.astype(np.float32), "front": self.render(), "wrist": 255 - self.render()}


for name, options in (("Dot", {"max_episode_steps": 12}), ("Endless", {})):
    gymnasium.register(f"toy_environment/{name}-v0", entry_point=Dot, **options)
