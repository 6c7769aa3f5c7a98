"""A family of models that is driven by a track, `actions`: a frame is as bright as the action before it says."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stochvid.config_checks import bounded
from stochvid.model_configs import ModelConfig
from stochvid.models.base import VideoModel
from stochvid.models.recurrent import Gaussian
from stochvid.models.state import Fit, Imagination, Observation, State, repeat_rows


@dataclass
class DrivenConfig(ModelConfig, home="toy_driven:Driven"):
    """A light with a dial.

    Args:
        family: driven.
        action_size: components of an action.
    """

    family: Literal["driven"] = "driven"
    action_size: int = bounded(2, least=1, most=100)

    @property
    def tracks(self) -> dict[str, tuple[int, ...]]:
        return {"actions": (self.action_size,)}

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (1,)

    @property
    def prior_kind(self) -> Literal["learned"]:
        return "learned"

    @property
    def term_weights(self) -> dict[str, float]:
        return {"mse": 1.0, "kl": 1e-4}


@dataclass
class DrivenState(State):
    seen: Tensor  # how many frames, (rows,)


class Driven(VideoModel):
    """x̂_t = sigmoid(W a_t + z_t), a_t what led to frame t; posterior and prior are N(0, σ²) of learned σ."""

    def __init__(self, config: DrivenConfig):
        super().__init__(config)
        self.dial = nn.Linear(config.action_size, 1)
        self.log_var = nn.Parameter(torch.full((2,), -8.0))

    def observe(self, clips, noise=None, state=None, context=None, decode=True) -> Observation:
        actions = clips.tracks["actions"].to(self.dtype)
        before = actions if state is not None else actions[:, 1:]
        zeros = before.new_zeros(*before.shape[:2], 1)
        posterior, prior = (Gaussian(zeros, zeros + log_var) for log_var in self.log_var)
        z = zeros[:, None] if noise is None else posterior.std[:, None] * noise.to(zeros)
        seen = torch.full((len(actions),), float(actions.shape[1])) + (0 if state is None else state.seen)
        return Observation(self._frames(before[:, None], z), posterior, prior, DrivenState(seen))

    def imagine(self, state, horizon, noise=None, tracks=None, go_on=True) -> Imagination:
        batch, samples = noise.shape[:2]
        actions = repeat_rows(tracks["actions"], batch * samples).to(noise)
        prior = Gaussian(torch.zeros_like(noise), torch.zeros_like(noise) + self.log_var[1])
        frames = self._frames(actions.unflatten(0, (batch, samples)), prior.sample(noise))
        return Imagination(frames, prior, DrivenState(repeat_rows(state.seen, batch * samples) + horizon))

    def fit(self, clips, noise) -> Fit:
        seen = self.observe(clips, noise)
        return Fit(seen.frames[:, 0], seen.posterior.kl(seen.prior).mean())

    def _frames(self, actions: Tensor, z: Tensor) -> Tensor:
        """Actions (B, S, T, A) and latents (B, S, T, 1) → frames (B, S, T, C, H, W)."""
        c = self.config
        bright = torch.sigmoid(self.dial(actions) + z)
        return bright[..., None, None].expand(*bright.shape[:3], c.channels, c.image_size, c.image_size)
