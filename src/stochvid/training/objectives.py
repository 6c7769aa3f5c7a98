"""What training minimises: the named terms of a model become one loss, and the columns of `metrics.csv`.

A loss of another kind is a subclass of `Objective`; `CONTRIBUTING.md` says how to add one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from stochvid.config import LossConfig, as_steps
from stochvid.core.clips import Clips
from stochvid.model_configs import KL
from stochvid.models.base import VideoModel

LOSS, BETA = "loss", "beta"
PACE, MOST_DEAR = 0.05, 9.0  # of how dear latents become, as a logarithm: for a step, and in all
CHANGE_ENDS, LEAST_CHANGE = 0.8, 0.1  # of all steps, until which it falls, and to what share: then small things stay


class Diverged(RuntimeError):
    """Training leads nowhere: a loss or its gradient is no longer a number, or a discriminator has won for good."""


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
        weights: of every term that is minimised, by name: those of the model, and errors beside them.
        loss: how the weight of `kl` rises, and when frames are fed back.
        max_steps: of the training.
        change_weight: what pixels that changed since the frame before count more than others, at first.
    """

    warmth: Tensor
    change: Tensor | None
    dearer: Tensor | None

    def __init__(
        self,
        weights: dict[str, float],
        loss: LossConfig | None = None,
        max_steps: int = 1,
        change_weight: float | None = None,
    ):
        super().__init__()
        self.weights, self.columns = weights, tuple(weights)
        self.loss, self.max_steps = loss or LossConfig(), max_steps
        dearer = None
        if self.loss.kl_limit is not None:
            self.columns, dearer = (*weights, BETA), torch.zeros(())
        self.register_buffer("dearer", dearer)  # logarithm of what the weight of `kl` is multiplied with
        self.last_kl = torch.zeros(())
        self.register_buffer("warmth", torch.ones(()), persistent=False)  # share of the weight of `kl`
        self.most_change, change = change_weight or 0.0, None if change_weight is None else torch.zeros(())
        self.register_buffer("change", change, persistent=False)  # what is left of the weight of changes
        self.feed_back = False

    def before_step(self, step: int) -> None:
        """As `Objective.before_step`."""
        if steps := as_steps(self.loss.kl_warmup_steps, self.max_steps):
            self.warmth.fill_(min(1.0, (step + 1) / steps))
        if self.change is not None:
            self.change.fill_(self.most_change * max(LEAST_CHANGE, 1 - step / (CHANGE_ENDS * self.max_steps)))
        self.feed_back = self.loss.feed_back is not None and step >= self.loss.feed_back * self.max_steps

    def forward(self, model: VideoModel, clips: Clips, noise: Tensor) -> dict[str, Tensor]:
        """As `Objective.forward`."""
        options: dict[str, Any] = {"feed_back": True} if self.feed_back else {}
        if self.change is not None:
            options["change_weight"] = self.change
        others = [name for name in self.weights if name not in model.config.term_weights]
        return self.weighed(model.terms(clips, noise, **options, also=others), clips.frames.shape[1] - 1)

    def weighed(self, terms: dict[str, Tensor], steps: int) -> dict[str, Tensor]:
        """The loss that terms make, and the terms; `steps`: of a clip."""
        assert set(terms) == set(self.weights), (sorted(terms), sorted(self.weights))
        weighted = {name: weight * terms[name] for name, weight in self.weights.items()}
        if self.loss.kl_warmup_steps and KL in weighted:
            weighted[KL] = self.warmth * weighted[KL]
        if self.dearer is not None:
            self.last_kl = terms[KL].detach()
            weighted[KL] = self.dearer.exp() * weighted[KL]
            terms = terms | {BETA: self.weights[KL] * self.dearer.exp()}
        first, *rest = weighted.values()
        return {LOSS: steps * sum(rest, start=first)} | terms

    def after_step(self, model: VideoModel, clips: Clips) -> None:
        """Makes latents dearer where they carry too much, and cheaper again where they carry less."""
        limit = self.loss.kl_limit
        if self.dearer is None or limit is None:
            return
        kl = self.last_kl.float()
        if distributed.is_initialized():
            distributed.all_reduce(kl)
            kl = kl / distributed.get_world_size()
        self.dearer += PACE * ((kl - limit) / limit).clamp(-1, 1)
        self.dearer.clamp_(0, MOST_DEAR)


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
