"""What training minimises: the named terms of a model become one loss, and the columns of `metrics.csv`.

A loss of another kind is a subclass of `Objective`; `CONTRIBUTING.md` says how to add one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from stochvid.config import LossConfig, TrainConfig, as_steps
from stochvid.core.clips import Clips
from stochvid.models.base import VideoModel

LOSS = "loss"
MOST_CHANGE_WEIGHT = 50.0  # where hardly anything moves, what does is often noise


class Objective(nn.Module, ABC):
    """A loss, which may have networks and optimisers of its own, such as a discriminator's.

    Parameters of its own are saved in checkpoints with it, and so are its `optimizers`. Their gradients are its own
    affair: between processes, `average_gradients` averages them.

    Attributes:
        columns: what it is made of, as `metrics.csv` and TensorBoard name it.
    """

    columns: tuple[str, ...]

    @abstractmethod
    def forward(self, model: VideoModel, clips: Clips, noise: Tensor) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            model: that is trained.
            clips: B clips of T frames.
            noise: (B, 1, T − 1, *latent_shape).

        Returns:
            `loss`, the scalar to minimise, a sum over the T − 1 steps; and a scalar for each of `columns`, per step.
        """

    def before_step(self, step: int) -> None:
        """What changes as training goes on. Before a validation it is called with the steps of the whole run.

        Args:
            step: optimisation steps done so far.
        """

    def after_step(self, model: VideoModel, clips: Clips) -> None:
        """What happens after each step of the model's optimiser, such as a step of a discriminator."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """Optimisers of its own, by name; their states are saved in checkpoints and restored from them."""
        return {}


class WeightedTerms(Objective):
    """A weighted sum of a model's terms: of SVG's, the negative β-ELBO (Denton & Fergus 2018, eq. 3).

    Args:
        weights: of every term that the model has, by name.
        loss: how the weight of `kl` rises, and when frames are fed back.
        max_steps: of the training.
        change_weight: what pixels that changed since the frame before count more than others.
    """

    warmth: Tensor

    def __init__(
        self,
        weights: dict[str, float],
        loss: LossConfig | None = None,
        max_steps: int = 1,
        change_weight: float | None = None,
    ):
        super().__init__()
        self.options = {} if change_weight is None else {"change_weight": change_weight}
        self.weights, self.columns = weights, tuple(weights)
        self.loss, self.max_steps = loss or LossConfig(), max_steps
        self.register_buffer("warmth", torch.ones(()), persistent=False)  # share of the weight of `kl`
        self.feed_back = False

    def before_step(self, step: int) -> None:
        """As `Objective.before_step`."""
        if steps := as_steps(self.loss.kl_warmup_steps, self.max_steps):
            self.warmth.fill_(min(1.0, (step + 1) / steps))
        self.feed_back = self.loss.feed_back is not None and step >= self.loss.feed_back * self.max_steps

    def forward(self, model: VideoModel, clips: Clips, noise: Tensor) -> dict[str, Tensor]:
        """As `Objective.forward`."""
        options: dict[str, Any] = self.options | ({"feed_back": True} if self.feed_back else {})
        terms = model.terms(clips, noise, **options)
        assert set(terms) == set(self.weights), (sorted(terms), sorted(self.weights))
        steps = clips.frames.shape[1] - 1
        weighted = {name: weight * terms[name] for name, weight in self.weights.items()}
        if self.loss.kl_warmup_steps and "kl" in weighted:
            weighted["kl"] = self.warmth * weighted["kl"]
        first, *others = weighted.values()
        return {LOSS: steps * sum(others, start=first)} | terms


def make_objective(config: TrainConfig, changing: float | None = None) -> Objective:
    """The objective that a config asks for.

    Args:
        config: of the run.
        changing: share of the pixels that change from frame to frame, where `loss.change_weight` is `auto`.
    """
    weight = config.loss.change_weight
    if weight == "auto":
        assert changing is not None
        weight = min((1 - changing) / max(changing, 1e-9), MOST_CHANGE_WEIGHT)
    return WeightedTerms(config.model.term_weights, config.loss, config.trainer.max_steps, weight)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Averages gradients over all training processes, in one message; with one process, does nothing."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients or not distributed.is_initialized():
        return
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(joined)
    joined /= distributed.get_world_size()
    for gradient, mean in zip(gradients, joined.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
