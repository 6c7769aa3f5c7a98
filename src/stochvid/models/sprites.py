"""Sprites: what moves is cut out of the given frames once, and then only moved (Jojic & Frey 2001).

A network cuts K sprites, colours with an opacity, and a background out of the given frames, as they are in the first
of them. From then on each sprite is moved whole, by a kernel of displacements (as in CDNA, Finn et al. 2016,
arXiv 1605.07157) that its own latent decides, and the frame is composed of them. Since nothing is drawn anew, what a
sprite looks like cannot drift, and the latents (posterior and learned prior, as in SVG) carry motion alone.

Axes: those of `models/base.py`, and `K` sprites of a clip, `R` recurrent units, `D` displacements along an axis,
`N` rows × sprites.
"""

import itertools
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stochvid.core.clips import Clips
from stochvid.core.shapes import Float, Frames
from stochvid.model_configs import SpritesConfig
from stochvid.models.base import VideoModel
from stochvid.models.recurrent import Gaussian
from stochvid.models.state import Imagination, Observation, State

LEAST, MOST = -8.0, 4.0  # of a latent's log-variance
START = -4.0  # what is added to it, so that latents are told apart from the beginning
RELUCTANCE = 3.0  # to give a pixel what is not seen there in the first frame, as a logit
SLOPE = 0.1
TINY = 1e-6


@dataclass
class SpriteState(State):
    """Sprites where they are in the last frame. Rows: B clips, or B · S once samples differ.

    Attributes:
        opacity: of every sprite's pixels, in [0, 1], (rows, K, H, W).
        colour: of every sprite's pixels, times their opacity, (rows, K, C, H, W).
        background: what is behind all of them, (rows, C, H, W).
        memory: what every sprite's recurrent cell remembers of its motion, (rows, K, R).
        latent: of every sprite's last motion, zeros before the first, (rows, K, Z).
    """

    opacity: Float[Tensor, "rows K H W"]
    colour: Float[Tensor, "rows K C H W"]
    background: Float[Tensor, "rows C H W"]
    memory: Float[Tensor, "rows K R"]
    latent: Float[Tensor, "rows K Z"]


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, outputs))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(outputs // 4, outputs), nn.LeakyReLU(SLOPE)
    )


class Cutter(nn.Module):
    """A U-Net that sees all given frames and gives maps of the first one.

    Args:
        inputs: channels of all given frames together.
        outputs: channels of the maps.
        image_size: height and width.
        width: channels at full size, a multiple of 8; smaller maps have up to four times as many.
    """

    place: Tensor

    def __init__(self, inputs: int, outputs: int, image_size: int, width: int):
        super().__init__()
        levels = (image_size // 4).bit_length() - 1
        widths = [width * min(level + 1, 4) for level in range(levels + 1)]
        line = torch.linspace(-1, 1, image_size)
        self.register_buffer("place", torch.stack(torch.meshgrid(line, line, indexing="ij")), persistent=False)
        self.first = _convolution(inputs + 2, widths[0])
        self.down = nn.ModuleList(_convolution(a, b, 2) for a, b in itertools.pairwise(widths))
        cells = 16 * widths[-1]
        self.whole = _perceptron(cells, 4 * widths[-1], cells)  # sees the whole frame at once
        self.up = nn.ModuleList(_convolution(b + a, a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
        self.last = nn.Conv2d(widths[0] + inputs + 2, outputs, 3, 1, 1)

    def forward(self, x: Float[Tensor, "B inputs H W"]) -> Float[Tensor, "B outputs H W"]:
        """Frames of B clips, stacked → maps."""
        x = torch.cat([x, self.place.to(x).expand(x.shape[0], -1, -1, -1)], 1)
        maps = [self.first(x)]
        for stage in self.down:
            maps.append(stage(maps[-1]))
        h = maps.pop()
        h = h + self.whole(h.flatten(1)).view_as(h)
        for stage in self.up:
            h = stage(torch.cat([F.interpolate(h, scale_factor=2.0), maps.pop()], 1))
        return self.last(torch.cat([h, x], 1))


class Mover(nn.Module):
    """What one sprite does next: prior and posterior of its latent, its displacement, its memory.

    All sprites share it.

    Args:
        image_size: height and width.
        reach: largest displacement along an axis from frame to frame, in pixels.
        z_dim: size Z of a sprite's latent, at least 2.
        hidden: width of the recurrent cell and of all hidden layers.
    """

    bands: Tensor
    steps: Tensor

    def __init__(self, image_size: int, reach: int, z_dim: int, hidden: int):
        super().__init__()
        self.reach, self.z_dim, self.hidden = reach, z_dim, hidden
        sides = 2 * reach + 1
        self.see = nn.Sequential(nn.Linear(2 * image_size + 1, hidden), nn.LeakyReLU(SLOPE))
        self.prior = _perceptron(2 * hidden, hidden, 2 * z_dim)
        self.posterior = _perceptron(2 * hidden + sides**2, hidden, 2 * z_dim)
        self.displace = _perceptron(2 * hidden + z_dim, hidden, 2 * sides)
        self.cell = nn.GRUCell(hidden + z_dim, hidden)
        self.sharpness = nn.Parameter(torch.tensor(3.0))  # of the match, a logarithm
        self.width = nn.Parameter(torch.tensor(0.0))  # of the kernel, a logarithm
        self.register_buffer("steps", torch.linspace(-1, 1, sides), persistent=False)
        line = torch.arange(image_size)
        moved = line[:, None] - line + reach  # by how much a line goes to another, as an index
        bands = torch.stack([(moved == d).float() for d in range(sides)])
        self.register_buffer("bands", bands.flatten(1), persistent=False)

    def features(self, opacity: Float[Tensor, "N H W"]) -> Float[Tensor, "N R"]:
        """Where a sprite is, how wide and how large: its opacity summed over rows, over columns, over all."""
        size, mass = opacity.shape[-1], opacity.sum((1, 2))[:, None] + 1
        profile = torch.cat([opacity.sum(2), opacity.sum(1)], 1) * (size / 8) / mass
        return self.see(torch.cat([profile, mass * (20 / size**2)], 1))

    def match(
        self, opacity: Float[Tensor, "N H W"], colour: Float[Tensor, "N C H W"], frame: Float[Tensor, "N C H W"]
    ) -> Float[Tensor, "N DD"]:
        """How well each displacement (row by row) explains a frame: a softmax over mean squared differences.

        Of a sprite of opacity a and colour c: Σ a(p) · (c(p) − x(p + d))² / Σ a, for all d at once by Fourier
        transforms; what does not depend on d is left out.
        """
        size = opacity.shape[-1]
        padded = size + 2 * self.reach
        dtype = torch.promote_types(opacity.dtype, torch.float32)
        a, c, x = (torch.fft.rfft2(y.to(dtype), s=(padded, padded)) for y in (opacity, colour, frame))
        squares = torch.fft.rfft2(frame.to(dtype).square().sum(1), s=(padded, padded))
        differences = torch.fft.irfft2(a.conj() * squares - 2 * (c.conj() * x).sum(1), s=(padded, padded))
        near = torch.arange(-self.reach, self.reach + 1, device=opacity.device) % padded
        differences = differences[:, near][:, :, near].flatten(1)
        mean = differences / (opacity.to(dtype).sum((1, 2))[:, None] + 1)
        return torch.softmax(-mean * self.sharpness.exp(), 1).to(opacity.dtype)

    def prior_of(self, known: Float[Tensor, "N KK"], latent: Float[Tensor, "N Z"]) -> Gaussian:
        """Of the latent, given the last one: without what is learned, things move on as they did."""
        return self._gaussian(self.prior(known), latent)

    def posterior_of(self, known: Float[Tensor, "N KK"], match: Float[Tensor, "N DD"]) -> Gaussian:
        """Of the latent, given a match: without what is learned, its first two numbers are the mean displacement."""
        each = match.unflatten(1, (len(self.steps), -1))
        middle = torch.stack([each.sum(2) @ self.steps.to(match), each.sum(1) @ self.steps.to(match)], 1)
        return self._gaussian(self.posterior(torch.cat([known, match], 1)), F.pad(middle, (0, self.z_dim - 2)))

    @staticmethod
    def _gaussian(parts: Float[Tensor, "N ZZ"], about: Float[Tensor, "N Z"]) -> Gaussian:
        mean, log_var = parts.chunk(2, 1)
        return Gaussian(about + mean, (log_var + START).clamp(LEAST, MOST))

    def kernels(
        self, known: Float[Tensor, "N KK"], z: Float[Tensor, "N Z"]
    ) -> tuple[Float[Tensor, "N H H"], Float[Tensor, "N W W"]]:
        """How a sprite moves: which row each row comes from, and which column each column, as matrices.

        Without what is learned, by a bell around the displacement that the latent's first two numbers are.
        """
        bell = -(self.reach * self.width.exp() * (self.steps.to(z) - z[:, :2, None])).square()
        size = round(self.bands.shape[1] ** 0.5)
        logits = bell + self.displace(torch.cat([known, z], 1)).unflatten(1, (2, -1))
        rows, columns = logits.softmax(-1).unbind(1)
        bands = self.bands.to(rows)
        return (rows @ bands).view(-1, size, size), (columns @ bands).view(-1, size, size).transpose(1, 2)


class Sprites(VideoModel[SpriteState]):
    """K sprites, each with a latent of its own in every step.

    Args:
        config: what to build; it travels with the weights.
    """

    config: SpritesConfig

    def __init__(self, config: SpritesConfig):
        super().__init__(config)
        c = config
        self.cutter = Cutter(
            c.context * c.channels, (c.sprites + 1) * (3 + c.channels) - 1, c.image_size, c.base_channels
        )
        self.mover = Mover(c.image_size, c.reach, c.z_dim, c.rnn_size)

    @property
    def row_bytes(self) -> int:
        """About how much memory a sample takes while it is rolled: sprites before and after a step."""
        c = self.config
        return 4 * c.image_size**2 * (3 * c.sprites * (1 + c.channels) + 2 * c.channels)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.mover.sharpness.dtype

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
        cut out of them. Posterior and prior depend on the latents before: those of the first sample are returned.
        """
        frames = self.as_input(Clips.of(clips).frames)
        batch, samples = frames.shape[0], 1 if noise is None else noise.shape[1]
        if state is None:
            state, frames = self.cut(frames), frames[:, 1:]
        steps = frames.shape[1]
        drawn = None if noise is None else noise.flatten(0, 1)
        shown, posterior, prior, places, state = self._moved(
            state.repeat(batch * samples), steps, drawn, frames.repeat_interleave(samples, 0)
        )

        def of_clips(x: Tensor) -> Tensor:
            return x.unflatten(0, (batch, samples))

        posterior, prior = (Gaussian(*(of_clips(part)[:, 0] for part in x)) for x in (posterior, prior))
        places = of_clips(places)[:, 0]
        shares = places + TINY  # of a sprite that has left the frame, everywhere alike
        shares = shares / shares.sum((-1, -2), keepdim=True)
        kl_map = _over_places(posterior.divergence(prior).sum(-1), shares)
        return Observation(of_clips(shown), posterior, prior, state, _over_places(prior.std.mean(-1), places), kl_map)

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
        drawn = noise.flatten(0, 1).to(self.dtype)
        shown, _, prior, places, state = self._moved(state.repeat(batch * samples), horizon, drawn)

        def of_clips(x: Tensor) -> Tensor:
            return x.unflatten(0, (batch, samples))

        std_map = of_clips(_over_places(prior.std.mean(-1), places))
        return Imagination(of_clips(shown), Gaussian(*map(of_clips, prior)), state, std_map)

    def terms(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B 1 steps *latent"],
        feed_back: bool = False,
    ) -> dict[str, Float[Tensor, ""]]:
        """As `VideoModel.terms`, of the β-ELBO (SVG paper, eq. 3) of a rollout: the model never reads true frames back.

        Returns:
            `mse`, the mean squared error per pixel, that of the first frame included; and `kl`, KL(q ‖ p) in nats,
            summed over the latents of a step.
        """
        frames = self.as_input(Clips.of(clips).frames)
        state = self.cut(frames)
        shown, posterior, prior, _, _ = self._moved(state, frames.shape[1] - 1, noise[:, 0], frames[:, 1:])
        made = torch.cat([self.compose(state)[:, None], shown], 1)
        return {"mse": (made.to(frames) - frames).square().mean(), "kl": posterior.kl(prior, 2).mean()}

    # ------------------------------------------------------------------------------------------------------- its parts

    def cut(self, frames: Float[Tensor, "B T C H W"]) -> SpriteState:
        """Sprites and background out of the first frames of clips, as they are in the first of them.

        Every colour is that of the first frame, or a new one, or between the two, and so in [0, 1].
        """
        c, seen = self.config, frames[:, : self.config.context]
        if seen.shape[1] < c.context:
            seen = torch.cat([seen, seen[:, -1:].expand(-1, c.context - seen.shape[1], -1, -1, -1)], 1)
        first = seen[:, 0]
        maps = self.cutter(seen.flatten(1, 2).to(self.cutter.last.weight.dtype)).to(first.dtype)
        each = c.sprites + 1
        shares, hidden, change, new = maps.split([each, c.sprites, each, each * c.channels], 1)
        change, new = torch.sigmoid(change - RELUCTANCE)[:, :, None], torch.sigmoid(new.unflatten(1, (-1, c.channels)))
        colours = torch.lerp(first[:, None], new, change)
        seen_of = shares.softmax(1)[:, 1:]  # each pixel that is seen is one sprite's or the background's
        opacity = seen_of + (1 - seen_of) * torch.sigmoid(hidden - RELUCTANCE)
        memory, latent = (first.new_zeros(first.shape[0], c.sprites, n) for n in (self.mover.hidden, c.z_dim))
        return SpriteState(opacity, colours[:, 1:] * opacity[:, :, None], colours[:, 0], memory, latent)

    def compose(self, state: SpriteState) -> Float[Tensor, "rows C H W"]:
        """The frame: each sprite over the background and over those before it."""
        frame = state.background
        for opacity, colour in zip(state.opacity.unbind(1), state.colour.unbind(1), strict=True):
            frame = colour + (1 - opacity[:, None]) * frame
        return frame

    def _moved(
        self,
        state: SpriteState,
        steps: int,
        noise: Float[Tensor, "rows steps K Z"] | None,
        true: Float[Tensor, "rows steps C H W"] | None = None,
    ) -> tuple[Tensor, Gaussian, Gaussian, Tensor, SpriteState]:
        """Moves sprites so many steps, by the prior's latents, or where true frames are given, by the posterior's.

        Returns:
            Frames (rows, steps, C, H, W), posterior (or again the prior) and prior (rows, steps, K, Z), opacity
            (rows, steps, K, H, W), and the state after the last step.
        """
        mover, k = self.mover, self.config.sprites
        with _in_full(state.memory.device):
            opacity, colour, memory, z = (
                x.flatten(0, 1) for x in (state.opacity, state.colour, state.memory, state.latent)
            )
            seen = mover.features(opacity)
            parts: list[tuple[Tensor, ...]] = []
            for t in range(steps):
                known = torch.cat([memory, seen], 1)
                prior = chosen = mover.prior_of(known, z)
                if true is not None:
                    match = mover.match(opacity, colour, true[:, t].repeat_interleave(k, 0))
                    chosen = mover.posterior_of(known, match)
                z = chosen.mean if noise is None else chosen.sample(noise[:, t].flatten(0, 1))
                rows, columns = mover.kernels(known, z)
                opacity, colour = rows @ opacity @ columns, rows[:, None] @ colour @ columns[:, None]
                memory, seen = mover.cell(torch.cat([seen, z], 1), memory), mover.features(opacity)
                opacities, colours, *motion = (x.unflatten(0, (-1, k)) for x in (opacity, colour, memory, z))
                state = SpriteState(opacities, colours, state.background, *motion)
                parts.append((self.compose(state), *(x.unflatten(0, (-1, k)) for x in (*chosen, *prior)), opacities))
        if parts:
            frames, *latents, places = (torch.stack(x, 1) for x in zip(*parts, strict=True))
        else:  # one frame alone: nothing has moved yet
            frames, places = state.background[:, None][:, :0], state.opacity[:, None][:, :0]
            latents = [state.memory.new_zeros(state.memory.shape[0], 0, *self.latent_shape)] * 4
        return frames, Gaussian(*latents[:2]), Gaussian(*latents[2:]), places, state

    def make_fast(self, dtype: torch.dtype | None, compile: bool, batch_statistics: bool) -> None:
        """Converts the network that cuts; what moves sprites keeps its dtype, so that they stay sharp."""
        super().make_fast(None, compile, batch_statistics)
        self.cutter.to(dtype or self.dtype)


def _over_places(values: Float[Tensor, "B T K"], places: Float[Tensor, "B T K H W"]) -> Float[Tensor, "B T H W"]:
    """A number of each sprite, where the sprite is."""
    return torch.einsum("btk,btkhw->bthw", values, places)


def _in_full(device: torch.device) -> AbstractContextManager:
    """Where nothing is computed in fewer bits than it has: sprites stay sharp, and there are Fourier transforms."""
    enabled = torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if enabled else nullcontext()  # exporters wrap what changes it
