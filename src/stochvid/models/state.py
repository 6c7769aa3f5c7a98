"""What goes into the model's verbs, and comes out of them.

Axes: `B` clips, `S` samples, `T` time, `C H W` image, `G` features, `Z` latents.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from stochvid.models.recurrent import Gaussian, LSTMState


class State(NamedTuple):
    """Everything that carries from one frame to the next. Rows: B clips, or B · S once samples differ.

    Attributes:
        posterior: LSTM state of the posterior (None without latents). `imagine` passes it on unchanged.
        prior: LSTM state of the learned prior (None without one).
        predictor: LSTM state of the frame predictor.
        features: h of the last frame, (rows, G).
        skips: encoder skips of the last frame, finest first.
        future_skips: encoder skips that the future uses when the last frame ends the context.
    """

    posterior: LSTMState | None
    prior: LSTMState | None
    predictor: LSTMState
    features: Tensor
    skips: list[Tensor]
    future_skips: list[Tensor]


class Observation(NamedTuple):
    """What `observe` saw. T' = T − 1 steps, or T when it continued from a state.

    Attributes:
        frames: reconstructions x̂ of the observed frames, (B, S, T', C, H, W) in (0, 1), or None if not decoded.
        posterior: q(z_t | x_≤t), (B, T', Z), None without latents.
        prior: p(z_t | x_<t), (B, T', Z), None without latents.
        state: to go on from.
    """

    frames: Tensor | None
    posterior: Gaussian | None
    prior: Gaussian | None
    state: State


class Imagination(NamedTuple):
    """What `imagine` drew.

    Attributes:
        frames: (B, S, horizon, C, H, W) in (0, 1).
        prior: the prior at every step, (B, S, horizon, Z); Z is 0 without latents.
        state: to go on from; None unless asked for.
    """

    frames: Tensor
    prior: Gaussian
    state: State | None


class Loss(NamedTuple):
    """The negative β-ELBO and its parts.

    Attributes:
        total: Σ_t MSE + β Σ_t KL over the steps t = 2…T (paper, eq. 3), a scalar to minimise.
        mse: mean squared error per step (mean over batch and pixels).
        kl: KL(q ‖ p) in nats per step (sum over Z, mean over the batch).
    """

    total: Tensor
    mse: Tensor
    kl: Tensor


@dataclass
class Prediction:
    """Futures of B clips, and how uncertain the prior was at every step.

    Attributes:
        frames: (B, S, horizon, C, H, W), float in (0, 1).
        prior_mean: μ_ψ, (B, S, horizon, Z); Z is 0 without latents.
        prior_std: σ_ψ, (B, S, horizon, Z): low while the motion is predictable (paper, fig. 3).
        latents: z, what was drawn from it, (B, S, horizon, Z).
    """

    frames: Tensor
    prior_mean: Tensor
    prior_std: Tensor
    latents: Tensor
