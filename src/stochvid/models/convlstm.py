"""ConvLSTM: an encoder that reads the given frames, and a forecaster that goes on from its states (Shi et al. 2015).

It has no latents, so all of its futures are one. The forecaster reads no frame, neither a true one nor its own: layer
by layer, everything but the hidden state's convolution runs over all steps at once.

Axes: those of `models/base.py`; `N` rows, and `h × w` cells, each of which holds the pixels of a patch as channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stochvid.core.clips import Clips
from stochvid.core.shapes import Float, Frames
from stochvid.model_configs.convlstm import ConvLSTMConfig
from stochvid.models.backbones import Stages
from stochvid.models.base import VideoModel
from stochvid.models.conv_recurrent import conv_lstm, over_steps
from stochvid.models.layers import in_format
from stochvid.models.recurrent import Gaussian
from stochvid.models.state import Fit, Imagination, Observation, State

LayerState = tuple[Tensor, Tensor]  # hidden and cell state of a layer, (N, H, h, w) each


@dataclass
class ConvLSTMState(State):
    """Everything that carries from one frame to the next.

    Attributes:
        encoder: after the last frame that was observed, of each layer, the lowest first.
        forecaster: after the last frame that was predicted, likewise; None before the first.
    """

    encoder: list[LayerState]
    forecaster: list[LayerState] | None = None


class PeepholeConvLSTM(nn.Module):
    """A ConvLSTM layer, with one weight for each channel by which the cell state reaches a gate (eq. 3).

    The published numbers of weights are those of such peepholes, not of one for each cell.

    Args:
        in_channels: of its input; 0: it has none.
        width: channels of hidden and cell state.
        kernel: height of the kernels.
    """

    def __init__(self, in_channels: int, width: int, kernel: int):
        super().__init__()
        pad = kernel // 2
        self.input = nn.Conv2d(in_channels, 4 * width, kernel, padding=pad) if in_channels else None
        self.hidden = nn.Conv2d(width, 4 * width, kernel, padding=pad, bias=not in_channels)
        self.peepholes = nn.Parameter(torch.zeros(3, width, 1, 1))  # of input, forget and output gate

    def forward(
        self, x: Float[Tensor, "T N C h w"] | None, steps: int, start: LayerState | None
    ) -> tuple[Float[Tensor, "T N H h w"], Float[Tensor, "T N H h w"]]:
        """Hidden and cell states of all steps, from `start` (None: zeros) on.

        Args:
            x: inputs of all steps; None where it has none.
            steps: how many.
            start: hidden and cell state before the first.
        """
        read = [None] * steps if x is None or self.input is None else over_steps(self.input, x).unbind(0)
        hidden, cells = conv_lstm(read, self.hidden, start, self.peepholes.dtype, self.peepholes)
        return torch.stack(hidden), torch.stack(cells)


class ConvLSTMForecaster(VideoModel[ConvLSTMState]):
    """Encoder and forecaster of as many layers each, and a 1×1 convolution of all the forecaster's hidden states.

    Args:
        config: what to build; it travels with the weights.
    """

    config: ConvLSTMConfig
    encoder: Stages[PeepholeConvLSTM]
    forecaster: Stages[PeepholeConvLSTM]

    def __init__(self, config: ConvLSTMConfig):
        super().__init__(config)
        c = config
        pixels = c.channels * c.patch**2
        below = c.widths[:-1]
        self.encoder, self.forecaster = (
            Stages(PeepholeConvLSTM(i, width, c.kernel) for i, width in zip((lowest, *below), c.widths, strict=True))
            for lowest in (pixels, 0)
        )
        self.head = nn.Conv2d(sum(c.widths), pixels, 1)
        in_format(self, torch.channels_last)

    @property
    def row_bytes(self) -> int:
        """About how much memory a sample takes while it is rolled: gates and states of all layers."""
        return 4 * 8 * sum(self.config.widths) * self.config.cells**2

    @property
    def dtype(self) -> torch.dtype:
        """Of the states."""
        return next(part.peepholes.dtype for part in self.modules() if isinstance(part, PeepholeConvLSTM))

    def make_fast(self, dtype: torch.dtype | None, compile: bool, batch_statistics: bool) -> None:
        """As `VideoModel.make_fast`, of the convolutions alone: the states keep their dtype."""
        super().make_fast(None, compile, batch_statistics)
        for part in self.modules():
            if isinstance(part, nn.Conv2d) and dtype is not None:
                part.to(dtype)

    # -------------------------------------------------------------------------------------------------- the two verbs

    def observe(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B S steps *latent"] | None = None,
        state: ConvLSTMState | None = None,
        context: int | None = None,
        decode: bool = True,
    ) -> Observation[ConvLSTMState]:
        """As `VideoModel.observe`; what it reconstructs is the forecaster's first frame, after each frame but the last.

        `noise` and `context` change nothing.
        """
        frames = self.as_input(Clips.of(clips).frames)
        start = None if state is None else state.encoder
        states, images = self._encoded(frames, start), None
        if decode:
            before = []  # each frame, of every layer
            for i, (hidden, cell) in enumerate(states):
                if start is not None:
                    hidden, cell = torch.cat([start[i][0][None], hidden]), torch.cat([start[i][1][None], cell])
                before.append((hidden[:-1].flatten(0, 1), cell[:-1].flatten(0, 1)))
            steps = frames.shape[1] - (start is None)
            images = torch.sigmoid(self._forecast(before, 1)[0][0]).unflatten(0, (steps, len(frames)))
            images = images.transpose(0, 1)[:, None]
        after = [(hidden[-1], cell[-1]) for hidden, cell in states]
        return Observation(images, None, None, ConvLSTMState(after))

    def imagine(
        self,
        state: ConvLSTMState,
        horizon: int,
        noise: Float[Tensor, "B S {horizon} *latent"] | None = None,
        tracks: Mapping[str, Tensor] | None = None,
        go_on: bool = True,
    ) -> Imagination[ConvLSTMState]:
        """As `VideoModel.imagine`."""
        known = state.encoder[0][0].shape[0]
        batch, samples = (known, 1) if noise is None else noise.shape[:2]
        state = state.repeat(batch * samples)
        logits, states = self._forecast(state.forecaster or state.encoder, horizon)
        images = torch.sigmoid(logits).transpose(0, 1).unflatten(0, (batch, samples))
        none = images.new_zeros(batch, samples, horizon, 0)
        return Imagination(images, Gaussian(none, none), ConvLSTMState(state.encoder, states))

    # --------------------------------------------------------------------------------------------------------- the loss

    def fit(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B 1 steps *latent"] | None = None,
        feed_back: bool = False,
    ) -> Fit:
        """As `VideoModel.fit`: it makes the frames after the context alone, from what it was given."""
        frames, known = self.as_input(Clips.of(clips).frames), self.config.context
        states = [(hidden[-1], cell[-1]) for hidden, cell in self._encoded(frames[:, :known], None)]
        logits = self._forecast(states, frames.shape[1] - known)[0].transpose(0, 1).to(frames.dtype)
        return Fit(torch.sigmoid(logits), logits=logits)

    # -------------------------------------------------------------------------------------------------------- private

    def _encoded(
        self, frames: Float[Tensor, "B T C H W"], start: list[LayerState] | None
    ) -> list[tuple[Float[Tensor, "T B _ h w"], Float[Tensor, "T B _ h w"]]]:
        """Frames → hidden and cell states after each of them, of every layer."""
        x, states = F.pixel_unshuffle(frames.transpose(0, 1), self.config.patch), []
        for i, layer in enumerate(self.encoder):
            states.append(layer(x, len(x), start and start[i]))
            x = states[-1][0]
        return states

    def _forecast(self, start: list[LayerState], steps: int) -> tuple[Float[Tensor, "T N C H W"], list[LayerState]]:
        """States → logits of the frames after, and the states after the last of them."""
        x, hidden, after = None, [], []
        for layer, before in zip(self.forecaster, start, strict=True):
            x, cells = layer(x, steps, before)
            hidden.append(x)
            after.append((x[-1], cells[-1]))
        logits = over_steps(self.head, torch.cat(hidden, 2))
        return F.pixel_shuffle(logits.to(self.dtype), self.config.patch), after
