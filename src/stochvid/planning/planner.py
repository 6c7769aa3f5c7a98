"""A planner: it watches what happens, imagines what would happen if …, and does what costs least.

Axes: `N` plans, `S` futures of each, `T` steps, `A` components of an action.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stochvid.command_options import Precision
from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.core.memory import rollout_bytes
from stochvid.core.shapes import Float
from stochvid.inference.live import Live
from stochvid.models.base import VideoModel
from stochvid.models.noise import latent_noise
from stochvid.models.state import State
from stochvid.models.svg_base import SVGBase
from stochvid.planning.costs import Cost
from stochvid.planning.solvers import CEM, Plan, Solver


class Planner:
    """Receding-horizon control by imagined futures: `action = planner.act(frame)`, again and again.

    Args:
        model: with actions: a run, a model, or its name, as of `stochvid.load`; or a loaded model.
        cost: of futures: frames (N, S, T, C, H, W) in [0, 1] → (N, S), as `ImageGoal`.
        solver: who looks for plans.
        horizon: actions of a plan.
        action_block: steps that each of them lasts, so that a plan is of T = horizon · action_block steps. Fewer
            actions are sooner found, and those that last are what most data have.
        samples: futures S that are imagined of each plan; all plans have the same latents' noise.
        receding_horizon: steps of a plan that are done before the next one is made.
        warm_start: try the rest of the last plan beside those that are drawn; else what was done last, held.
        low: least value of each component of an action; None: as in training.
        high: largest value likewise.
        risk: what the standard deviation of the cost over a plan's futures counts, beside its mean: above 0 it plans
            with care, below it gambles.
        uncertainty: what the prior's σ along a plan counts, in units of the cost: above 0 it stays where it knows what
            comes, below it seeks what it does not know.
        seed: of plans and latents.
        device: auto, cpu or cuda, for a model that is loaded here.
        precision: auto, fp32 or bf16, of encoder and decoder; auto is bf16 where the hardware computes it.

    Attributes:
        network: the model.
        plan: the last one made; None before.

    Raises:
        InputError: the model is not driven by actions, or a number does not work out.
    """

    def __init__(
        self,
        model: str | Path | VideoModel,
        cost: Cost,
        solver: Solver | None = None,
        *,
        horizon: int = 8,
        action_block: int = 1,
        samples: int = 1,
        receding_horizon: int = 1,
        warm_start: bool = True,
        low: Float[Tensor, " A"] | None = None,
        high: Float[Tensor, " A"] | None = None,
        risk: float = 0.0,
        uncertainty: float = 0.0,
        seed: int = 0,
        device: str = "auto",
        precision: Precision = "auto",
    ):
        self.live = Live(model, device=device, context=1, precision=precision)
        network = self.network = self.live.network
        if not isinstance(network, SVGBase) or network.actions is None:
            raise InputError(
                f"the model ({network.config.kind}) is not driven by actions, so that nothing can be planned with it. "
                "Take one that was trained with --model.action_dim."
            )
        self.known = network.actions
        numbers = {"horizon": horizon, "action_block": action_block, "samples": samples}
        for name, value in (numbers | {"receding_horizon": receding_horizon}).items():
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        steps = horizon * action_block
        if receding_horizon > steps:
            raise InputError(f"receding_horizon must be at most the steps of a plan, {steps}, got {receding_horizon}.")
        self.cost, self.solver = cost, solver or CEM()
        self.horizon, self.action_block, self.samples = horizon, action_block, samples
        self.receding_horizon = receding_horizon
        self.warm_start, self.risk, self.uncertainty, self.seed = warm_start, risk, uncertainty, seed
        self.low = (self.known.low if low is None else low).to(self.live.device)
        self.high = (self.known.high if high is None else high).to(self.live.device)
        self.reset()

    def reset(self) -> None:
        """Forgets what it saw and did: the next frame is the first."""
        self.live.reset()
        self.plan: Plan | None = None
        self._todo: list[Tensor] = []
        self._last: Tensor | None = None
        self._generator = torch.Generator().manual_seed(self.seed)

    def act(self, frame: np.ndarray) -> np.ndarray:
        """What to do now.

        Args:
            frame: the picture of this moment, (H, W) or (H, W, C) uint8 of any size.

        Returns:
            An action, (A,) float32. It is taken to be done: the next frame is what comes of it.
        """
        self.live.see(frame, None if self._last is None else self._last.cpu().numpy())
        if not self._todo:
            self.plan = self.make_plan()
            self._todo = list(self.plan.actions[: self.receding_horizon])
        self._last = self._todo.pop(0)
        return self._last.float().cpu().numpy()

    def make_plan(self) -> Plan:
        """The plan of least cost from here on.

        Raises:
            InputError: no frame was seen.
        """
        state = self.live.state
        if state is None:
            raise InputError("nothing was seen yet. Give the first frame with act.")
        mean, std = (of[None].expand(self.horizon, -1) for of in (self.known.mean, self.known.std))
        begun = None if self._last is None else self._last[None].expand(self.horizon, -1)
        if self.warm_start and self.plan is not None:
            done = self.plan.actions[-1].expand(self.receding_horizon, -1)
            rest = torch.cat([self.plan.actions[self.receding_horizon :], done])
            begun = rest.unflatten(0, (self.horizon, self.action_block)).mean(1)
        shape, steps = self.network.latent_shape, self.horizon * self.action_block
        noise = latent_noise(self.seed, [self.live.frames], self.samples, steps, shape).to(self.live.device)

        def costs(plans: Tensor) -> Tensor:
            plans = plans.repeat_interleave(self.action_block, 1)
            return imagined_costs(self.network, state, plans, noise, self.cost, self.risk, self.uncertainty)

        plan = self.solver.solve(costs, mean, std, self.low, self.high, self._generator, begun)
        return replace(plan, actions=plan.actions.repeat_interleave(self.action_block, 0))


@torch.inference_mode()
def imagined_costs(
    network: VideoModel,
    state: State,
    plans: Float[Tensor, "N T A"],
    noise: Float[Tensor, "1 S T *latent"],
    cost: Callable[[Tensor], Tensor],
    risk: float = 0.0,
    uncertainty: float = 0.0,
) -> Float[Tensor, " N"]:
    """What plans are expected to cost: all of them times all futures are one rollout, as far as memory goes.

    Args:
        network: driven by actions, as `for_inference` makes it.
        state: of one clip, from which they begin.
        plans: to imagine.
        noise: of the futures' latents, the same for every plan.
        cost: of frames (N, S, T, C, H, W) in [0, 1], (N, S).
        risk: as of `Planner`.
        uncertainty: likewise.
    """
    horizon, samples = plans.shape[1], noise.shape[1]
    pixels = 3 * 4 * horizon * network.config.channels * network.config.image_size**2
    at_once = max(1, rollout_bytes(plans.device) // (samples * (network.row_bytes + pixels)))
    found = []
    for some in plans.split(at_once):
        rows = noise.expand(len(some), *noise.shape[1:]).flatten(0, 1)[None]
        tracks = {ACTIONS: some.repeat_interleave(samples, 0)}
        drawn = network.imagine(state, horizon, rows, tracks, go_on=False)
        values = cost(drawn.frames[0].float().unflatten(0, (-1, samples)))
        total = values.mean(1)
        if risk and samples > 1:
            total = total + risk * values.std(1)
        if uncertainty and network.stochastic:
            sigma = drawn.prior.std[0].float().unflatten(0, (-1, samples))
            total = total + uncertainty * sigma.flatten(1).mean(1)
        found.append(total)
    return torch.cat(found)
