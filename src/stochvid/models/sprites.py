"""Sprites: what moves is cut out of the given frames once, and then only moved (Jojic & Frey 2001).

A U-Net cuts K sprites, colours with an opacity, and a background out of the given frames, as they are in the first
of them, or in the last. From then on each sprite is only shown at other places, and the frame is composed of them.
Where it goes is the sum of its latents, which are displacements (posterior and learned prior, as in SVG). Since nothing
is drawn anew, and nothing moved twice, what a sprite looks like can neither drift nor blur.

Axes: those of `models/base.py`, and `K` sprites of a clip, `R` recurrent units. A latent, and a place, is two numbers:
down and right.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from stochvid.core.clips import Clips
from stochvid.core.shapes import Float, Frames
from stochvid.model_configs import SpritesConfig
from stochvid.models.base import VideoModel
from stochvid.models.recurrent import Gaussian
from stochvid.models.sprite_networks import MOTION, Dynamics, Motion, UNet
from stochvid.models.state import Fit, Imagination, Observation, State

RELUCTANCE = 3.0  # to give a pixel what is not seen there in the first frame, as a logit
TINY = 1e-6


@dataclass
class SpriteState(State):
    """Sprites as they were cut out, and where they are in the last frame. Rows: B clips, or B · S once samples differ.

    Attributes:
        opacity: of every sprite's pixels, in [0, 1], (rows, K, H, W).
        colour: of every sprite's pixels, times their opacity, (rows, K, C, H, W).
        background: what is behind all of them, (rows, C, H, W).
        place: of every sprite, in pixels from where it was cut out, (rows, K, 2).
        memory: what every sprite's recurrent cell remembers of its motion, (rows, K, R).
        latent: of every sprite's last motion, as parts of `reach`, zeros before the first, (rows, K, 2).
    """

    opacity: Float[Tensor, "rows K H W"]
    colour: Float[Tensor, "rows K C H W"]
    background: Float[Tensor, "rows C H W"]
    place: Float[Tensor, "rows K 2"]
    memory: Float[Tensor, "rows K R"]
    latent: Float[Tensor, "rows K 2"]


class Shown(NamedTuple):
    """Sprites where they are.

    Attributes:
        opacity: of every sprite's pixels, in [0, 1], (rows, K, H, W).
        colour: of every sprite's pixels, times their opacity, (rows, K, C, H, W).
    """

    opacity: Float[Tensor, "rows K H W"]
    colour: Float[Tensor, "rows K C H W"]


class Step(NamedTuple):
    """What a step did.

    Attributes:
        state: after it.
        shown: its sprites.
        posterior: of the latents, (rows, K, 2); where no true frame was given, the prior again.
        prior: likewise.
    """

    state: SpriteState
    shown: Shown
    posterior: Gaussian
    prior: Gaussian


class Sprites(VideoModel[SpriteState]):
    """K sprites, each with a latent of its own in every step.

    Args:
        config: what to build; it travels with the weights.
    """

    config: SpritesConfig

    def __init__(self, config: SpritesConfig):
        super().__init__(config)
        c = config
        self.motion = Motion(c.reach) if c.context > 1 else None
        maps = MOTION if self.motion else 0
        self.segmenter = UNet(
            c.context * c.channels + maps, (c.sprites + 1) * (3 + c.channels) - 1, c.image_size, c.base_channels
        )
        self.dynamics = Dynamics(c.image_size, c.reach, c.rnn_size)

    @property
    def row_bytes(self) -> int:
        """About how much memory a sample takes while it is rolled: sprites before and after a step."""
        c = self.config
        return 4 * c.image_size**2 * (3 * c.sprites * (1 + c.channels) + 2 * c.sprites + 2 * c.channels)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.dynamics.sharpness.dtype

    # -------------------------------------------------------------------------------------------------- the two verbs

    def observe(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B S steps *latent"] | None = None,
        state: SpriteState | None = None,
        context: int | None = None,
        decode: bool = True,
    ) -> Observation[SpriteState]:
        """As `VideoModel.observe`, but what comes after the context tells how sprites move, never what they look like.

        The first frames, as many as the model was trained to be given or fewer, are seen together when the sprites are
        cut out of them (`cut`). Posterior and prior depend on the latents before: those of the first sample are
        returned.
        """
        frames = self.as_input(Clips.of(clips).frames)
        samples = 1 if noise is None else noise.shape[1]
        if state is None:
            state, frames = self.cut(frames), frames[:, 1:]
        state = state.repeat(frames.shape[0] * samples)
        drawn, true = None if noise is None else noise.flatten(0, 1), frames.repeat_interleave(samples, 0)
        shown, posteriors, priors, std_maps, kl_maps = [], [], [], [], []
        for step in self._steps(state, true.shape[1], drawn, true):
            state = step.state
            if decode:
                shown.append(self.compose(state, step.shown))
            posteriors.append(step.posterior)
            priors.append(step.prior)
            std_maps.append(_std_map(step))
            kl_maps.append(_kl_map(step))
        cell = state.background[:, 0]
        return Observation(
            _over_time(shown, state.background).unflatten(0, (-1, samples)) if decode else None,
            Gaussian(*(x[::samples] for x in _gaussians(posteriors, state))),
            Gaussian(*(x[::samples] for x in _gaussians(priors, state))),
            state,
            *(_over_time(maps, cell)[::samples] for maps in (std_maps, kl_maps)),
        )

    def imagine(
        self,
        state: SpriteState,
        horizon: int,
        noise: Float[Tensor, "B S {horizon} *latent"] | None = None,
        tracks: Mapping[str, Tensor] | None = None,
        go_on: bool = True,
    ) -> Imagination[SpriteState]:
        """As `VideoModel.imagine`. No frame is read back: the sprites are the state."""
        assert noise is not None
        batch, samples = noise.shape[:2]
        state = state.repeat(batch * samples)
        shown, priors, std_maps = [], [], []
        for step in self._steps(state, horizon, noise.flatten(0, 1).to(self.dtype)):
            state = step.state
            shown.append(self.compose(state, step.shown))
            priors.append(step.prior)
            std_maps.append(_std_map(step))
        frames, std_map, mean, log_var = (
            x.unflatten(0, (batch, samples))
            for x in (torch.stack(shown, 1), torch.stack(std_maps, 1), *_gaussians(priors, state))
        )
        return Imagination(frames, Gaussian(mean, log_var), state, std_map)

    def fit(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B 1 steps *latent"],
        feed_back: bool = False,
    ) -> Fit:
        """As `VideoModel.fit`, for the β-ELBO (SVG paper, eq. 3) of a rollout: it never reads true frames back.

        It makes all frames, the first included. While it trains, places are less certain with every step, and sprites
        are shown softer, so that one that is pixels off learns where to go.
        """
        frames = self.as_input(Clips.of(clips).frames)
        state = self.segment(frames)
        made, posteriors, priors = [self.compose(state, self.show(state))], [], []
        added = self.dynamics.added_variance() if self.training else None
        for step in self._steps(state, frames.shape[1] - 1, noise[:, 0], frames[:, 1:], added):
            made.append(self.compose(step.state, step.shown))
            posteriors.append(step.posterior)
            priors.append(step.prior)
        nats = _gaussians(posteriors, state).kl(_gaussians(priors, state), 2)
        return Fit(torch.stack(made, 1), nats.mean())

    # ------------------------------------------------------------------------------------------------------- its parts

    def cut(self, frames: Float[Tensor, "B T C H W"]) -> SpriteState:
        """Sprites as they are in the first frame, cut out of it or out of the last given one: what explains more.

        Sprites that lie over each other in the one may be apart in the other. Those of the last one are cut out of the
        given frames in reverse, and followed back to the first.
        """
        seen = frames[:, : self.config.context]
        first = self.segment(seen)
        if seen.shape[1] == 1:
            return first
        last = self.segment(seen.flip(1))
        error, _ = self._follow(first, seen)
        error_back, places = self._follow(last, seen.flip(1))
        better = error_back < error

        def better_of(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(better.view(-1, *[1] * (a.ndim - 1)), b, a)

        return replace(
            first,
            opacity=better_of(first.opacity, last.opacity),
            colour=better_of(first.colour, last.colour),
            background=better_of(first.background, last.background),
            place=better_of(first.place, places),
        )

    def segment(self, frames: Float[Tensor, "B T C H W"]) -> SpriteState:
        """Sprites and background out of the first frames of clips, as they are in the first of them.

        Every colour is that of the first frame, or a new one, or between the two, and so in [0, 1].
        """
        c, seen = self.config, frames[:, : self.config.context]
        if seen.shape[1] < c.context:
            seen = torch.cat([seen, seen[:, -1:].expand(-1, c.context - seen.shape[1], -1, -1, -1)], 1)
        first = seen[:, 0]
        told = seen.flatten(1, 2)
        if self.motion is not None:
            told = torch.cat([told, self.motion(seen)], 1)
        maps = self.segmenter(told.to(self.segmenter.last.weight.dtype)).to(first.dtype)
        each = c.sprites + 1
        shares, hidden, change, new = maps.split([each, c.sprites, each, each * c.channels], 1)
        change, new = torch.sigmoid(change - RELUCTANCE)[:, :, None], torch.sigmoid(new.unflatten(1, (-1, c.channels)))
        colours = torch.lerp(first[:, None], new, change)
        visible = shares.softmax(1)[:, 1:]  # each pixel that is seen is one sprite's or the background's
        opacity = visible + (1 - visible) * torch.sigmoid(hidden - RELUCTANCE)
        zeros = (first.new_zeros(first.shape[0], c.sprites, n) for n in (2, self.dynamics.hidden, 2))
        return SpriteState(opacity, colours[:, 1:] * opacity[:, :, None], colours[:, 0], *zeros)

    def show(self, state: SpriteState, variance: Tensor | float = 0.0) -> Shown:
        """Every sprite where it is, or within a variance of there, in pixels²."""
        k = self.config.sprites
        with _in_full(state.place.device):
            kernels = self.dynamics.kernels(state.place.flatten(0, 1), variance)
            rows, columns = (x.unflatten(0, (-1, k)) for x in kernels)
            return Shown(rows @ state.opacity @ columns, rows[:, :, None] @ state.colour @ columns[:, :, None])

    def compose(self, state: SpriteState, shown: Shown) -> Float[Tensor, "rows C H W"]:
        """The frame: each sprite over the background and over those before it."""
        frame = state.background
        for opacity, colour in zip(shown.opacity.unbind(1), shown.colour.unbind(1), strict=True):
            frame = colour + (1 - opacity[:, None]) * frame
        return frame

    def _follow(
        self, state: SpriteState, frames: Float[Tensor, "B T C H W"]
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, "B K 2"]]:
        """Mean squared error of frames under the posterior's mean, and where the sprites are in the last of them."""
        error = (self.compose(state, self.show(state)) - frames[:, 0]).square().mean((1, 2, 3))
        for t, step in enumerate(self._steps(state, frames.shape[1] - 1, None, frames[:, 1:]), 1):
            state = step.state
            error = error + (self.compose(state, step.shown) - frames[:, t]).square().mean((1, 2, 3))
        return error / frames.shape[1], state.place

    def _steps(
        self,
        state: SpriteState,
        steps: int,
        noise: Float[Tensor, "rows steps K 2"] | None,
        true: Float[Tensor, "rows steps C H W"] | None = None,
        added: Float[Tensor, ""] | None = None,
    ) -> Iterator[Step]:
        """So many steps, by the prior's latents, or where true frames are given, by the posterior's.

        `added`: variance of places that each step adds, in pixels².
        """
        shown = self.show(state) if steps else None
        for t in range(steps):
            assert shown is not None
            drawn, frame = (None if x is None else x[:, t] for x in (noise, true))
            step = self._step(state, shown, drawn, frame, 0.0 if added is None else (t + 1) * added)
            state, shown = step.state, step.shown
            yield step

    def _step(
        self,
        state: SpriteState,
        shown: Shown,
        noise: Float[Tensor, "rows K 2"] | None,
        true: Float[Tensor, "rows C H W"] | None,
        variance: Tensor | float,
    ) -> Step:
        """Moves every sprite; without noise, by the mean of its latent."""
        dynamics, k = self.dynamics, self.config.sprites

        def of_rows(x: Tensor) -> Tensor:
            return x.unflatten(0, (-1, k))

        with _in_full(state.memory.device):
            opacity, colour, memory, latent = (
                x.flatten(0, 1) for x in (shown.opacity, shown.colour, state.memory, state.latent)
            )
            seen = dynamics.features(opacity)
            centre = dynamics.centre(state.opacity.flatten(0, 1)) + state.place.flatten(0, 1)
            known = torch.cat([memory, seen, latent, centre / dynamics.reach], 1)
            prior = posterior = dynamics.prior_of(known, latent)
            if true is not None:
                match = dynamics.match(opacity, colour, true.repeat_interleave(k, 0))
                posterior = dynamics.posterior_of(known, match)
            z = posterior.mean if noise is None else posterior.sample(noise.flatten(0, 1))
            memory = dynamics.cell(torch.cat([seen, z], 1), memory)
        latent = of_rows(z)
        after = replace(
            state,
            place=state.place + self.config.reach * latent,
            memory=of_rows(memory),
            latent=latent,
        )
        return Step(
            after, self.show(after, variance), Gaussian(*map(of_rows, posterior)), Gaussian(*map(of_rows, prior))
        )

    def make_fast(self, dtype: torch.dtype | None, compile: bool, batch_statistics: bool) -> None:
        """Converts the network that cuts; what moves sprites keeps its dtype, so that they stay sharp."""
        super().make_fast(None, compile, batch_statistics)
        self.segmenter.to(dtype or self.dtype)


def _over_time(parts: list[Tensor], one: Float[Tensor, "rows ..."]) -> Float[Tensor, "rows T ..."]:
    """What came out of the steps; where there were none, of no steps of what has the shape of `one`."""
    return torch.stack(parts, 1) if parts else one[:, None][:, :0]


def _gaussians(parts: list[Gaussian], state: SpriteState) -> Gaussian:
    """Those of all steps, (rows, T, K, 2)."""
    return Gaussian(*(_over_time([part[i] for part in parts], state.latent) for i in (0, 1)))


def _std_map(step: Step) -> Float[Tensor, "rows H W"]:
    """σ of the prior, a mean over a sprite's latents, where the sprite is."""
    return torch.einsum("nk,nkhw->nhw", step.prior.std.mean(-1), step.shown.opacity)


def _kl_map(step: Step) -> Float[Tensor, "rows H W"]:
    """KL(q ‖ p) of each sprite, shared out over where it is; of one that has left the frame, everywhere alike."""
    shares = step.shown.opacity + TINY
    shares = shares / shares.sum((-1, -2), keepdim=True)
    return torch.einsum("nk,nkhw->nhw", step.posterior.kl(step.prior), shares)


def _in_full(device: torch.device) -> AbstractContextManager:
    """Where nothing is computed in fewer bits than it has: sprites stay sharp, and there are Fourier transforms."""
    enabled = torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if enabled else nullcontext()  # exporters wrap what changes it
