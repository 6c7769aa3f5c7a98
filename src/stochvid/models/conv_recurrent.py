"""The recurrent parts of SVG′: as those of `recurrent.py`, with maps for vectors and convolutions for matrices.

Everything that reads inputs alone runs over all steps at once, so that a step convolves the hidden state and no more.

Axes: `T` steps, `B` clips, `S` samples, `N` rows (clips or clips × samples), `G` channels of features, `Z` of latents,
`h × w` cells, of latents `q × q`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stochvid.core.shapes import Float
from stochvid.models.backbones import Stages
from stochvid.models.recurrent import Gaussian, LSTMState

SURE_MEAN, SURE_LOG_VAR = 10.0, -4.0  # σ = 0.14, and means that differ by more than that


def _conv3(in_channels: int, out_channels: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


def over_steps(conv: nn.Conv2d, x: Float[Tensor, "T N C h w"]) -> Float[Tensor, "T N _ h w"]:
    """A convolution of all steps' maps, in the dtype of its weights."""
    return conv(x.flatten(0, 1).to(conv.weight.dtype)).unflatten(0, x.shape[:2])


class ConvLSTM(nn.Module):
    """ConvLSTM layers without peepholes, over a whole sequence at once (Shi et al. 2015; Villegas et al. 2019).

    Args:
        hidden: channels of the input and of every layer.
        layers: how many.
    """

    inputs: Stages[nn.Conv2d]
    hidden: Stages[nn.Conv2d]

    def __init__(self, hidden: int, layers: int):
        super().__init__()
        self.size = hidden
        self.inputs = Stages(_conv3(hidden, 4 * hidden) for _ in range(layers))
        self.hidden = Stages(_conv3(hidden, 4 * hidden, bias=False) for _ in range(layers))

    def forward(
        self, x: Float[Tensor, "T N H h w"], state: LSTMState | None, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "T N H h w"], LSTMState]:
        """Steps through x (T, N, H, h, w) from `state` (None: zeros): outputs likewise, and the new state.

        Args:
            x: inputs.
            state: hidden and cell state, (N, layers, H, h, w) each.
            dtype: of the states and the outputs.
        """
        if not len(x):  # one context frame: nothing to read yet
            zeros = x.new_zeros(x.shape[1], len(self.inputs), *x.shape[2:], dtype=dtype)
            return x.to(dtype), state or (zeros, zeros)
        hiddens, cells = [], []
        for i, (read, keep) in enumerate(zip(self.inputs, self.hidden, strict=True)):
            start = state and (state[0][:, i], state[1][:, i])
            outputs, states = conv_lstm(over_steps(read, x).unbind(0), keep, start, dtype)
            x = torch.stack(outputs)
            hiddens.append(outputs[-1])
            cells.append(states[-1])
        return x, (torch.stack(hiddens, 1), torch.stack(cells, 1))


def conv_lstm(
    read: Sequence[Float[Tensor, "N _ h w"] | None],
    keep: nn.Conv2d,
    start: tuple[Float[Tensor, "N H h w"], Float[Tensor, "N H h w"]] | None,
    dtype: torch.dtype,
    peepholes: Float[Tensor, "3 H 1 1"] | None = None,
) -> tuple[list[Float[Tensor, "N H h w"]], list[Float[Tensor, "N H h w"]]]:
    """A ConvLSTM layer whose inputs are convolved already: hidden and cell states of all steps.

    Args:
        read: convolved inputs of each step, for the gates i, f, g, o; None of a layer without inputs.
        keep: convolves the hidden state, likewise.
        start: hidden and cell state before the first step; None: zeros.
        dtype: of the states.
        peepholes: by how much the cell state reaches the gates i, f and o, of each channel.
    """
    (hidden, cell), hiddens, cells = start or (None, None), [], []
    for gates in read:
        if hidden is not None:  # else it is zero
            kept = keep(hidden.to(keep.weight.dtype))
            gates = kept if gates is None else gates + kept
        assert gates is not None
        i, f, g, o = gates.to(dtype).chunk(4, 1)
        if cell is not None and peepholes is not None:
            i, f = i + peepholes[0] * cell, f + peepholes[1] * cell
        written = torch.sigmoid(i) * torch.tanh(g)
        cell = written if cell is None else torch.sigmoid(f) * cell + written
        if peepholes is not None:
            o = o + peepholes[2] * cell
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        hiddens.append(hidden)
        cells.append(cell)
    return hiddens, cells


class ConvRecurrent(nn.Module):
    """3×3 embedding → ConvLSTM layers.

    Args:
        in_channels: of the input.
        hidden: channels of the embedding and of every layer.
        layers: ConvLSTM layers.
    """

    head_name: str

    def __init__(self, in_channels: int, hidden: int, layers: int):
        super().__init__()
        self.embed = _conv3(in_channels, hidden)
        self.lstm = ConvLSTM(hidden, layers)

    @property
    def dtype(self) -> torch.dtype:
        """Of the states: that of the head, which keeps its own when the rest is made faster."""
        return getattr(self, self.head_name).weight.dtype

    def make_fast(self, dtype: torch.dtype) -> None:
        """Has everything but the head computed in another dtype."""
        for name, part in self.named_children():
            if name in ("embed", "embed_latent", "lstm"):
                part.to(dtype)


class ConvFramePredictor(ConvRecurrent):
    """Reads [h_{t-1}, z_t], and gives the features g_t ∈ (−1, 1) of the next frame.

    The embedding of the joined channels is held as its two halves: samples share that of h.
    """

    head_name = "head"

    def __init__(self, in_channels: int, g_dim: int, z_dim: int, hidden: int, layers: int):
        super().__init__(in_channels, hidden, layers)
        self.embed_latent = _conv3(z_dim, hidden, bias=False) if z_dim else None
        self.head = _conv3(hidden, g_dim)

    def forward(
        self, h: Float[Tensor, "T B _ h w"], z: Float[Tensor, "T B S Z q q"] | None, state: LSTMState | None = None
    ) -> tuple[Float[Tensor, "T B S G h w"], LSTMState]:
        """h_{t-1} and what is joined to it, and z_t, if any → g_t (T, B, S, G, h, w) and the new state."""
        x = over_steps(self.embed, h)[:, :, None]
        if z is not None:
            assert self.embed_latent is not None
            rows, tiled = z.flatten(1, 2), h.shape[-1] // z.shape[-1]
            if tiled > 1:
                rows = rows.repeat_interleave(tiled, -1).repeat_interleave(tiled, -2)
            x = x + over_steps(self.embed_latent, rows).unflatten(1, z.shape[1:3])
        y, state = self.lstm(x.flatten(1, 2), state, self.dtype)
        return torch.tanh(over_steps(self.head, y)).unflatten(1, x.shape[1:3]), state


class GaussianConvLSTM(ConvRecurrent):
    """Reads features, and gives a Gaussian over z_t: posterior and learned prior.

    Args:
        in_channels: of the features, and what is joined to them.
        z_dim: channels of the latents.
        hidden: as `ConvRecurrent`.
        layers: likewise.
        pool: height of the square of cells that share latents.
    """

    head_name = "mean"

    def __init__(self, in_channels: int, z_dim: int, hidden: int, layers: int, pool: int = 1):
        super().__init__(in_channels, hidden, layers)
        self.pool = pool
        self.mean, self.log_var = _conv3(hidden, z_dim), _conv3(hidden, z_dim)

    def begin_sure(self) -> None:
        """Has latents say much from the first step on, and nearly without noise: else few learn to listen to them."""
        assert self.log_var.bias is not None
        with torch.no_grad():
            self.mean.weight.mul_(SURE_MEAN)
            self.log_var.bias.fill_(SURE_LOG_VAR)

    def forward(self, h: Float[Tensor, "T N _ h w"], state: LSTMState | None = None) -> tuple[Gaussian, LSTMState]:
        """h (T, N, …, h, w) → Gaussian over (T, N, Z, q, q), at least float32 under autocast, and the new state."""
        y, state = self.lstm(over_steps(self.embed, h), state, self.dtype)
        if self.pool > 1:
            y = F.avg_pool2d(y.flatten(0, 1), self.pool).unflatten(0, y.shape[:2])
        mean, log_var = over_steps(self.mean, y), over_steps(self.log_var, y)
        dtype = torch.promote_types(mean.dtype, torch.float32)
        return Gaussian(mean.to(dtype), log_var.to(dtype)), state
