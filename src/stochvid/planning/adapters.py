"""Models for the planners of others."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stochvid.core.clips import ACTIONS, Clips
from stochvid.core.errors import InputError
from stochvid.core.shapes import Float
from stochvid.models.base import VideoModel
from stochvid.models.noise import latent_noise
from stochvid.models.svg_base import SVGBase
from stochvid.planning.costs import ImageGoal
from stochvid.planning.planner import imagined_costs


class Costable(torch.nn.Module):
    """A model as the solvers of stable-worldmodel take it (its protocol `Costable`, version 0.1): `get_cost`.

    Args:
        model: that is driven by actions.
        samples: futures that are imagined of each plan.
        standardised: whether plans are in standard deviations from the mean of training, as its solvers draw them and
            its policies undo; else in the units of the training data.
        seed: of the futures' latents.
        goal: further arguments of `ImageGoal`.

    Raises:
        InputError: the model is not driven by actions.
    """

    def __init__(self, model: VideoModel, samples: int = 1, standardised: bool = True, seed: int = 0, **goal: Any):
        super().__init__()
        if not isinstance(model, SVGBase) or model.actions is None:
            raise InputError(f"the model ({model.config.kind}) is not driven by actions: plans cost nothing with it.")
        self.model = model if model.frozen else model.for_inference()
        self.known, self.samples, self.standardised, self.seed = model.actions, samples, standardised, seed
        self.goal = goal

    @torch.inference_mode()
    def get_cost(
        self, info_dict: Mapping[str, Any], action_candidates: Float[Tensor, "B N T A"]
    ) -> Float[Tensor, "B N"]:
        """What plans cost, in each of B environments.

        Args:
            info_dict: `pixels`, the last frames of each, and `goal`, the picture of what is wanted as its last frame:
                (B, N, K, C, H, W), uint8 or float in [0, 1], the same for all N plans, of any size; and, if K is above
                1, `action` (B, N, K, A), what was done after each frame, as plans are given.
            action_candidates: the plans: one action for each frame to come, or several, one after another, in each step
                (an `action_block` above 1 of stable-worldmodel).

        Raises:
            InputError: something is missing, or is of another shape.
        """
        for name in ("pixels", "goal"):
            if not isinstance(info_dict.get(name), Tensor) or info_dict[name].ndim != 6:
                raise InputError(f"info_dict needs {name!r}, a tensor (B, N, K, C, H, W).")
        each = self.known.mean.numel()
        if action_candidates.ndim != 4 or action_candidates.shape[-1] % each:
            shape = tuple(action_candidates.shape)
            raise InputError(
                f"plans must be (B, N, T, A) with {each} number(s) for an action, or a multiple, got {shape}."
            )
        action_candidates = action_candidates.unflatten(-1, (-1, each)).flatten(2, 3)
        pixels, goals = self._fitted(info_dict["pixels"][:, 0]), self._fitted(info_dict["goal"][:, 0, -1:])[:, 0]
        known, horizon = pixels.shape[1], action_candidates.shape[2]
        plans = self._in_units(action_candidates)
        led = plans.new_zeros(len(pixels), known, plans.shape[-1])
        if known > 1:
            done = info_dict.get("action")
            if not isinstance(done, Tensor) or done.ndim != 4 or done.shape[2] < known - 1:
                raise InputError(
                    f"info_dict needs 'action', a tensor (B, N, {known}, A): what was done after each frame."
                )
            led[:, 1:] = self._in_units(done[:, 0, : known - 1])
        noise = latent_noise(self.seed, [known], self.samples, horizon, self.model.latent_shape).to(plans.device)
        found = []
        for i in range(len(pixels)):
            state = self.model.observe(Clips(pixels[i : i + 1], {ACTIONS: led[i : i + 1]}), decode=False).state
            cost = ImageGoal(goals[i], **self.goal)
            found.append(imagined_costs(self.model, state, plans[i], noise, cost))
        return torch.stack(found)

    criterion = get_cost

    def _in_units(self, actions: Tensor) -> Tensor:
        return actions * self.known.std + self.known.mean if self.standardised else actions.to(self.known.mean)

    def _fitted(self, frames: Float[Tensor, "B K C H W"]) -> Float[Tensor, "B K c h w"]:
        """Frames in the model's size and channels, float in [0, 1]."""
        config = self.model.config
        frames = self.model.as_input(frames)
        if frames.shape[2] != config.channels:
            if config.channels != 1:
                raise InputError(f"the model takes {config.channels} channels, the frames have {frames.shape[2]}.")
            frames = frames.mean(2, keepdim=True)
        if frames.shape[-2:] == (config.image_size, config.image_size):
            return frames
        flat = F.interpolate(frames.flatten(0, 1), (config.image_size, config.image_size), mode="area")
        return flat.unflatten(0, frames.shape[:2])
