"""The recurrent parts of SVG: state goes in and comes out, the modules hold weights only.

Axes: `T` steps, `B` clips, `S` samples, `N` rows (clips or clips × samples), `G` features, `Z` latents.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stochvid.core.shapes import Float

LSTMState = tuple[Float[Tensor, "_ _ _ *map"], Float[Tensor, "_ _ _ *map"]]
"""Hidden and cell state of an LSTM, each (N, layers, hidden), or (N, layers, hidden, h, w) of a ConvLSTM."""


class Gaussian(NamedTuple):
    """A diagonal Gaussian over latents, N(mean, exp(log_var)); both tensors have one shape, (…, Z)."""

    mean: Float[Tensor, "... Z"]
    log_var: Float[Tensor, "... Z"]

    @property
    def std(self) -> Float[Tensor, "... Z"]:
        """Standard deviation σ, (…, Z)."""
        return torch.exp(0.5 * self.log_var)

    def sample(self, noise: Float[Tensor, "... Z"]) -> Float[Tensor, "... Z"]:
        """The reparametrised draw μ + σ · noise, for noise ~ N(0, I) of a shape that broadcasts."""
        return self.mean + self.std * noise

    def transpose(self, dim0: int, dim1: int) -> "Gaussian":
        """The same with two axes swapped."""
        return Gaussian(self.mean.transpose(dim0, dim1), self.log_var.transpose(dim0, dim1))

    def divergence(self, other: "Gaussian") -> Float[Tensor, "... Z"]:
        """KL(self ‖ other) in nats of each latent, (…, Z)."""
        ratio = torch.exp(self.log_var - other.log_var)
        distance = (self.mean - other.mean).square() * torch.exp(-other.log_var)
        return 0.5 * (other.log_var - self.log_var + ratio + distance - 1)

    def kl(self, other: "Gaussian", axes: int = 1) -> Float[Tensor, "..."]:
        """KL(self ‖ other) in nats, summed over the last `axes` axes, those of the latents of a step: (…)."""
        return self.divergence(other).flatten(-axes).sum(-1)


class Recurrent(nn.Module):
    """Linear embedding → LSTM layers, over a whole sequence at once.

    Args:
        in_features: width of the input.
        hidden: width of the embedding and of every LSTM layer.
        layers: number of LSTM layers.
    """

    def __init__(self, in_features: int, hidden: int, layers: int):
        super().__init__()
        self.embed = nn.Linear(in_features, hidden)
        self.lstm = nn.LSTM(hidden, hidden, layers)

    def run(self, x: Float[Tensor, "T N _"], state: LSTMState | None) -> tuple[Float[Tensor, "T N hidden"], LSTMState]:
        """Steps through x (T, N, in_features) from `state` (None: zeros): outputs (T, N, hidden) and new state."""
        if x.shape[0] == 0:  # one context frame: nothing to read yet, and nn.LSTM refuses empty sequences
            shape = x.shape[1], self.lstm.num_layers, self.lstm.hidden_size
            return x.new_zeros(0, x.shape[1], self.lstm.hidden_size), state or (x.new_zeros(shape), x.new_zeros(shape))
        y, (hidden, cell) = self.lstm(self.embed(x), state and _layers_first(state))
        return y, (hidden.transpose(0, 1), cell.transpose(0, 1))


def _layers_first(state: LSTMState) -> LSTMState:
    """As nn.LSTM takes it, in one piece."""
    hidden, cell = state
    return hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()


class FramePredictor(Recurrent):
    """The LSTM that reads [h_{t-1}, z_t] and gives the features g_t ∈ (−1, 1)^G of the next frame (paper, fig. 2)."""

    def __init__(self, in_features: int, out_features: int, hidden: int, layers: int):
        super().__init__(in_features, hidden, layers)
        self.head = nn.Linear(hidden, out_features)

    def forward(
        self, h: Float[Tensor, "T B _"], z: Float[Tensor, "T B S _"] | None, state: LSTMState | None = None
    ) -> tuple[Float[Tensor, "T B S G"], LSTMState]:
        """h_{t-1} (T, B, G), and z_t (T, B, S, Z) of a model with latents → g_t (T, B, S, G) and the new state."""
        x = h[:, :, None]
        if z is not None:
            x = torch.cat([x.expand(-1, -1, z.shape[2], -1), z.to(h.dtype)], dim=-1)
        y, state = self.run(x.flatten(1, 2), state)
        return torch.tanh(self.head(y)).unflatten(1, x.shape[1:3]), state


class GaussianLSTM(Recurrent):
    """The LSTM that reads features and gives a Gaussian over z_t: posterior and learned prior (paper, sec. 3)."""

    def __init__(self, in_features: int, z_dim: int, hidden: int, layers: int):
        super().__init__(in_features, hidden, layers)
        self.mean = nn.Linear(hidden, z_dim)
        self.log_var = nn.Linear(hidden, z_dim)

    def forward(self, x: Float[Tensor, "T N _"], state: LSTMState | None = None) -> tuple[Gaussian, LSTMState]:
        """x (T, N, in_features) → Gaussian over (T, N, Z), at least float32 under autocast, and the new state."""
        y, state = self.run(x, state)
        mean, log_var = self.mean(y), self.log_var(y)
        dtype = torch.promote_types(mean.dtype, torch.float32)
        return Gaussian(mean.to(dtype), log_var.to(dtype)), state
