"""What an untaught robot does in PushT: a goal for eight steps, half of them anywhere, half of them near the block.

    stochvid prepare gym:gym_pusht/PushT-v0 pusht --make obs_type=pixels_agent_pos --policy examples/pusht_policy.py

An action is a place that the pusher is drawn to; here it is on the way to the goal, 60 of the 512 units away at most.
"""

import numpy as np

GOAL_LASTS, FARTHEST, NEAR = 8, 60, 40  # steps; units


def policy():
    """A policy for one episode: act(observation, env, random) → action, (2,) in [0, 512]."""
    steps, goal = 0, np.zeros(2)

    def act(observation, env, random):
        nonlocal steps, goal
        inside = env.unwrapped
        if steps % GOAL_LASTS == 0:
            near = np.array(inside.block.position) + random.normal(0, NEAR, 2)
            goal = random.uniform(0, 512, 2) if random.random() < 0.5 else near
        steps += 1
        way = goal - np.array(inside.agent.position)
        reach = min(1.0, FARTHEST / max(float(np.hypot(*way)), 1e-6))
        return np.clip(inside.agent.position + way * reach, 0, 512).astype(np.float32)

    return act
