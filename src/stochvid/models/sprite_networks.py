"""The two networks of sprites: what cuts them out of the given frames, and what moves one of them.

Axes: those of `models/sprites.py`: `R` recurrent units, `D` displacements along an axis, `N` rows × sprites.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stochvid.core.shapes import Float
from stochvid.models.recurrent import Gaussian

LEAST, MOST = -8.0, 4.0  # of a latent's log-variance
START = -4.0  # what is added to it, so that latents are told apart from the beginning
FARTHEST = 2.0  # of a latent's mean, as a multiple of the reach, so that no rollout runs away
SLOPE = 0.1
TINY = 1e-3
FARTHEST_SEEN = 4  # that motion is looked for along an axis, in pixels of frames that were made small enough for it
WINDOW = 3  # what has to match there, in blocks of 2 × 2 of these pixels
MOTION = 6  # maps that tell of it
LEAST_VARIANCE = 0.07  # of a bell that is no wider than a pixel
LEAST_DOUBT = -4.0  # with less, a sprite that is pixels off would not learn where to go, and gradients explode


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, outputs))


def _device_of_constants() -> torch.device:
    """Where new tensors go; of a model that has shapes alone the CPU, for torch would first load its compiler."""
    usual = torch.get_default_device()
    return torch.device("cpu") if usual.type == "meta" else usual


def _is_exporting() -> bool:
    return getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(outputs // 4, outputs), nn.LeakyReLU(SLOPE)
    )


class UNet(nn.Module):
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
        line = torch.linspace(-1, 1, image_size, device=_device_of_constants())
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


class Motion(nn.Module):
    """Where what is at a pixel of the first frame goes, by what is around it: no weights but one.

    Every displacement is looked at in the frame after, and, as a motion that goes on, in all given frames: squares of
    what differs, summed over a window, make a softmax, whose mean is the displacement. Frames are made smaller first,
    so that `reach` is at most 4 pixels.

    Args:
        reach: farthest that a sprite goes along an axis from frame to frame, in pixels.
    """

    steps: Tensor

    def __init__(self, reach: int):
        super().__init__()
        self.factor = 1 << (-(-reach // FARTHEST_SEEN) - 1).bit_length()
        self.reach = -(-reach // self.factor)
        self.sharpness = nn.Parameter(torch.tensor(4.0))  # of the match, a logarithm
        steps = torch.arange(-float(self.reach), self.reach + 1, device=_device_of_constants())
        self.register_buffer("steps", steps, persistent=False)

    def forward(self, frames: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B M H W"]:
        """Two given frames or more → by the second, and by all: displacements down and right, and how sure they are."""
        batch, given, channels = frames.shape[:3]
        small = F.avg_pool2d(frames.flatten(1, 2), self.factor).unflatten(1, (given, channels))
        first, errors = small[:, 0, :, None], []
        for t in range(1, given):
            moved = F.unfold(small[:, t], 2 * self.reach + 1, dilation=t, padding=t * self.reach)
            squares = (moved.view(batch, channels, -1, *small.shape[-2:]) - first).square().sum(1)
            errors.append(F.avg_pool2d(squares, 2))
        maps = [self._expected(errors[0]), self._expected(sum(errors[1:], errors[0]) / len(errors))]
        return F.interpolate(torch.cat(maps, 1), scale_factor=2.0 * self.factor)

    def _expected(self, errors: Float[Tensor, "B DD h w"]) -> Float[Tensor, "B 3 h2 w2"]:
        errors = F.avg_pool2d(errors, WINDOW, 1, WINDOW // 2)
        match = torch.softmax(-errors * self.sharpness.exp(), 1)
        each = match.unflatten(1, (len(self.steps), -1))
        down, right = (torch.einsum("bdhw,d->bhw", each.sum(over), self.steps.to(match)) for over in (2, 1))
        return torch.stack([down / self.reach, right / self.reach, match.square().sum(1)], 1)


class Dynamics(nn.Module):
    """What one sprite does next: prior and posterior of its latent, and its recurrent cell.

    All sprites share it. A latent is a displacement along both axes, as parts of `reach`.

    Args:
        image_size: height and width.
        reach: farthest that a sprite is looked for along an axis from frame to frame, in pixels.
        hidden: width of the recurrent cell and of all hidden layers.
    """

    moved: Tensor
    steps: Tensor
    line: Tensor
    taps: Tensor

    def __init__(self, image_size: int, reach: int, hidden: int):
        super().__init__()
        self.reach, self.hidden = reach, hidden
        sides = 2 * reach + 1
        known = 2 * hidden + 4
        self.see = nn.Sequential(nn.Linear(2 * image_size + 1, hidden), nn.LeakyReLU(SLOPE))
        self.prior = _perceptron(known, hidden, 4)
        self.posterior = _perceptron(known + sides**2, hidden, 4)
        self.cell = nn.GRUCell(hidden + 2, hidden)
        self.sharpness = nn.Parameter(torch.tensor(3.0))  # of the match, a logarithm
        self.doubt = nn.Parameter(torch.tensor(-0.7))  # see `added_variance`, a logarithm; it falls in training
        device = _device_of_constants()
        self.register_buffer("steps", torch.arange(-float(reach), reach + 1, device=device), persistent=False)
        line = torch.arange(float(image_size), device=device)
        self.register_buffer("line", line - line.mean(), persistent=False)
        self.register_buffer("moved", line[:, None] - line, persistent=False)  # by how much a line goes to another
        self.register_buffer("taps", torch.arange(-float(image_size), image_size + 1, device=device), persistent=False)

    def features(self, opacity: Float[Tensor, "N H W"]) -> Float[Tensor, "N R"]:
        """Where a sprite is, how wide and how large: its opacity summed over rows, over columns, over all."""
        size, mass = opacity.shape[-1], opacity.sum((1, 2))[:, None] + 1
        profile = torch.cat([opacity.sum(2), opacity.sum(1)], 1) * (size / 8) / mass
        return self.see(torch.cat([profile, mass * (20 / size**2)], 1))

    def centre(self, opacity: Float[Tensor, "N H W"]) -> Float[Tensor, "N 2"]:
        """Of what a sprite weighs, from the middle of the frame, in pixels: down and right. Of nothing: the middle."""
        rows, columns, mass = opacity.sum(2), opacity.sum(1), opacity.sum((1, 2))
        return torch.stack([rows @ self.line, columns @ self.line], 1) / (mass + TINY)[:, None]

    def match(
        self, opacity: Float[Tensor, "N H W"], colour: Float[Tensor, "N C H W"], frame: Float[Tensor, "N C H W"]
    ) -> Float[Tensor, "N DD"]:
        """How well each displacement (row by row) explains a frame: a softmax over a cost volume of squares.

        Of a sprite of opacity a and colour c: Σ a(p) · (c(p) − x(p + d))² / Σ a, for all d at once by Fourier
        transforms; what does not depend on d is left out.
        """
        size = opacity.shape[-1]
        padded = size + 2 * self.reach
        if _is_exporting():
            padded = 1 << (padded - 1).bit_length()  # onnxruntime transforms other sizes far less exactly
        dtype = torch.promote_types(opacity.dtype, torch.float32)
        a, c, x = (torch.fft.rfft2(y.to(dtype), s=(padded, padded)) for y in (opacity, colour, frame))
        squares = torch.fft.rfft2(frame.to(dtype).square().sum(1), s=(padded, padded))
        differences = torch.fft.irfft2(a.conj() * squares - 2 * (c.conj() * x).sum(1), s=(padded, padded))
        near = torch.arange(-self.reach, self.reach + 1, device=opacity.device) % padded
        differences = differences[:, near][:, :, near].flatten(1)
        mean = differences / (opacity.to(dtype).sum((1, 2))[:, None] + 1)
        return torch.softmax(-mean * self.sharpness.exp(), 1).to(opacity.dtype)

    def prior_of(self, known: Float[Tensor, "N KK"], latent: Float[Tensor, "N 2"]) -> Gaussian:
        """Of the latent, given the last one: without what is learned, things move on as they did."""
        return self._gaussian(self.prior(known), latent)

    def posterior_of(self, known: Float[Tensor, "N KK"], match: Float[Tensor, "N DD"]) -> Gaussian:
        """Of the latent, given a match: without what is learned, the mean displacement."""
        each = match.unflatten(1, (len(self.steps), -1))
        displacement = torch.stack([each.sum(2) @ self.steps.to(match), each.sum(1) @ self.steps.to(match)], 1)
        return self._gaussian(self.posterior(torch.cat([known, match], 1)), displacement / self.reach)

    @staticmethod
    def _gaussian(parts: Float[Tensor, "N 4"], about: Float[Tensor, "N 2"]) -> Gaussian:
        mean, log_var = parts.chunk(2, 1)
        return Gaussian((about + mean).clamp(-FARTHEST, FARTHEST), (log_var + START).clamp(LEAST, MOST))

    def added_variance(self) -> Float[Tensor, ""]:
        """Of a place, in pixels², that each step adds while the model trains: as much as it wants, and a little."""
        return self.doubt.clamp(LEAST_DOUBT).exp()

    def kernels(
        self, place: Float[Tensor, "N 2"], variance: Tensor | float
    ) -> tuple[Float[Tensor, "N H H"], Float[Tensor, "N W W"]]:
        """How a sprite is shown at a place, in pixels from where it was cut out: a bell around it for each axis.

        The matrices say which row each row comes from, and which column each column. A bell's sum over all whole
        numbers near by is 1.
        """
        scale = -0.5 / (LEAST_VARIANCE + variance)
        beside = place - place.round()
        least = beside.square()  # of the nearest whole number, so that nothing is divided by nothing
        total = (((self.taps - beside[..., None]).square() - least[..., None]) * scale).exp().sum(-1)
        bell = (self.moved - place[..., None, None]).square() - least[..., None, None]
        bell = (bell * scale).exp() / total[..., None, None]
        rows, columns = bell.unbind(1)
        return rows, columns.transpose(1, 2)
