"""What an untaught robot does in PushT: one goal after another, some anywhere, most near the block, some where it is.

    stochvid prepare gym:gym_pusht/PushT-v0 pusht --make obs_type=pixels_agent_pos --policy examples/pusht_policy.py

An action is a place that the pusher is drawn to, the faster the further away it is. Here it lies on the way to the
goal, at most so far as this goal's haste says, and a goal lasts for one step to fifteen: a model that is to plan, or to
be played with, should have seen what is slow and what is fast, what lasts and what does not, and rest.
"""

import numpy as np

LASTS, HASTE = (1, 15), (20, 300)  # steps; of PushT's 512 units
ANYWHERE, REST, NEAR = 0.35, 0.1, 40  # shares of the goals; how near the block the others are, units


def policy():
    """A policy for one episode: act(observation, env, random) → action, (2,) in [0, 512]."""
    left, goal, haste = 0, np.zeros(2), 0.0

    def act(observation, env, random):
        nonlocal left, goal, haste
        here, block = (np.array(body.position) for body in (env.unwrapped.agent, env.unwrapped.block))
        if left == 0:
            left, haste, kind = random.integers(*LASTS, endpoint=True), random.uniform(*HASTE), random.random()
            anywhere, near = random.uniform(0, 512, 2), block + random.normal(0, NEAR, 2)
            goal = anywhere if kind < ANYWHERE else here if kind < ANYWHERE + REST else near
        left -= 1
        way = goal - here
        reach = min(1.0, haste / max(float(np.hypot(*way)), 1e-6))
        return np.clip(here + way * reach, 0, 512).astype(np.float32)

    return act
