"""What an untaught robot does in PushT: a goal for eight steps, half of them anywhere, half of them near the block.

    stochvid prepare gym:gym_pusht/PushT-v0 pusht --make obs_type=pixels_agent_pos --policy examples/pusht_policy.py

An action is a place that the pusher is drawn to, the faster the further away it is. Here it lies on the way to the
goal, at most so far as this goal's haste says: models that are to plan should have seen what is slow and what is fast.
"""

import numpy as np

GOAL_LASTS, NEAR, HASTE = 8, 40, (20, 300)  # steps; of PushT's 512 units


def policy():
    """A policy for one episode: act(observation, env, random) → action, (2,) in [0, 512]."""
    steps, goal, haste = 0, np.zeros(2), 0.0

    def act(observation, env, random):
        nonlocal steps, goal, haste
        inside = env.unwrapped
        if steps % GOAL_LASTS == 0:
            near = np.array(inside.block.position) + random.normal(0, NEAR, 2)
            goal = random.uniform(0, 512, 2) if random.random() < 0.5 else near
            haste = random.uniform(*HASTE)
        steps += 1
        way = goal - np.array(inside.agent.position)
        reach = min(1.0, haste / max(float(np.hypot(*way)), 1e-6))
        return np.clip(inside.agent.position + way * reach, 0, 512).astype(np.float32)

    return act
