"""A family of models in 60 lines, as CONTRIBUTING.md tells: the next frame is a blur of the last, plus noise."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stochvid.config_checks import bounded
from stochvid.core.clips import Clips
from stochvid.model_configs import ModelConfig
from stochvid.models.base import VideoModel
from stochvid.models.recurrent import Gaussian
from stochvid.models.state import Fit, Imagination, Observation, State, repeat_rows


@dataclass
class BlurConfig(ModelConfig, home="toy_family:Blur"):
    """A blur.

    Args:
        family: blur.
        reach: pixels that it reaches.
    """

    family: Literal["blur"] = "blur"
    reach: int = bounded(1, least=1, most=8)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (1, 2, 2)

    @property
    def prior_kind(self) -> Literal["learned"]:
        return "learned"

    @property
    def error(self) -> str:
        return "l1"

    @property
    def term_weights(self) -> dict[str, float]:
        return {"l1": 1.0, "kl": 0.01}


@dataclass
class BlurState(State):
    last: Tensor  # (rows, C, H, W)


class Blur(VideoModel):
    """x̂_t = conv(x_{t−1}) + z_t, with z_t a coarse map; posterior and prior are N(0, σ²) of learned σ."""

    def __init__(self, config: BlurConfig):
        super().__init__(config)
        c = config
        self.conv = nn.Conv2d(c.channels, c.channels, 2 * c.reach + 1, padding=c.reach)
        self.log_var = nn.Parameter(torch.zeros(2))

    def observe(self, clips, noise=None, state=None, context=None, decode=True) -> Observation:
        frames = self.as_input(Clips.of(clips).frames)
        if state is not None:
            frames = torch.cat([state.last[:, None], frames], 1)
        zeros = frames.new_zeros(len(frames), frames.shape[1] - 1, *self.latent_shape)
        posterior, prior = (Gaussian(zeros, zeros + log_var) for log_var in self.log_var)
        z = zeros[:, None] if noise is None else posterior.std[:, None] * noise.to(zeros)
        before = frames[:, :-1].flatten(0, 1)
        images = torch.stack([self._step(before, z[:, s].flatten(0, 1)) for s in range(z.shape[1])])
        images = images.unflatten(1, zeros.shape[:2]).transpose(0, 1) if decode else None
        return Observation(images, posterior, prior, BlurState(frames[:, -1]))

    def imagine(self, state, horizon, noise=None, tracks=None, go_on=True) -> Imagination:
        batch, samples = noise.shape[:2]
        last, images = repeat_rows(state.last, batch * samples), []
        for t in range(horizon):
            last = self._step(last, (0.5 * self.log_var[1]).exp() * noise[:, :, t].flatten(0, 1).to(last))
            images.append(last)
        zeros = torch.zeros_like(noise)
        prior = Gaussian(zeros, zeros + self.log_var[1])
        return Imagination(torch.stack(images, 1).unflatten(0, (batch, samples)), prior, BlurState(last))

    def fit(self, clips, noise) -> Fit:
        seen = self.observe(clips, noise)
        return Fit(seen.frames[:, 0], seen.posterior.kl(seen.prior, 3).mean())

    def _step(self, last: Tensor, z: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(last) + nn.functional.interpolate(z, last.shape[-1]))
