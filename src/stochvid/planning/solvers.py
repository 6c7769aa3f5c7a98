"""Who looks for the actions of least cost: random shooting, the cross-entropy method, and MPPI.

All of them draw plans, have them costed all at once, and draw again near the good ones. Their terms are those of
stable-worldmodel's solvers: `num_samples` plans in each of `n_steps` rounds, of which `topk` are kept.

Axes: `N` plans, `T` steps, `A` components of an action.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stochvid.config_checks import bounded, check_fields
from stochvid.core.shapes import Float

Costs = Callable[[Float[Tensor, "N T A"]], Float[Tensor, " N"]]


@dataclass(frozen=True)
class Plan:
    """What was found.

    Attributes:
        actions: (T, A).
        cost: what they are expected to cost.
        rounds: the least cost that each round found.
    """

    actions: Float[Tensor, "T A"]
    cost: float
    rounds: list[float]


@dataclass
class Solver(ABC):
    """Looks for actions. A subclass says how plans are drawn anew.

    Args:
        num_samples: plans that are drawn in a round.
        n_steps: rounds.
        topk: best plans of a round that the next one is drawn near.
        var_scale: how far plans reach at first, in standard deviations of the actions in training.
        keep: share of the mean and spread of the round before that is kept.
    """

    num_samples: int = bounded(64, least=2)
    n_steps: int = bounded(5, least=1)
    topk: int = bounded(8, least=1)
    var_scale: float = bounded(1.0, above=0)
    keep: float = bounded(0.1, least=0, below=1)

    def __post_init__(self) -> None:
        check_fields(self, "solver")

    def solve(
        self,
        costs: Costs,
        mean: Float[Tensor, "T A"],
        std: Float[Tensor, "T A"],
        low: Float[Tensor, " A"],
        high: Float[Tensor, " A"],
        generator: torch.Generator,
        known: Float[Tensor, "T A"] | None = None,
    ) -> Plan:
        """Looks for the plan of least cost.

        Args:
            costs: of plans (N, T, A), (N,).
            mean: where to begin, which is a plan itself.
            std: how far around it, times `var_scale`.
            low: least value of each component.
            high: largest value likewise.
            generator: of the plans.
            known: a plan that may be good, to be tried beside those that are drawn.

        Returns:
            The best plan of all that were drawn.
        """
        std = self.var_scale * std
        best, least, rounds = (mean if known is None else known).clamp(low, high), float("inf"), []
        for _ in range(self.n_steps):
            noise = torch.randn(self.num_samples, *mean.shape, generator=generator, dtype=mean.dtype)
            plans = (mean + std * noise.to(mean.device)).clamp(low, high)
            plans[0] = mean.clamp(low, high)
            plans[1] = best
            values = costs(plans)
            kept = values.topk(min(self.topk, len(values)), largest=False)
            if kept.values[0].item() < least:
                best, least = plans[kept.indices[0]], kept.values[0].item()
            rounds.append(kept.values[0].item())
            new_mean, new_std = self.draw_near(plans[kept.indices], kept.values, mean, std)
            mean, std = (self.keep * old + (1 - self.keep) * new for old, new in ((mean, new_mean), (std, new_std)))
        return Plan(best, least, rounds)

    @abstractmethod
    def draw_near(
        self,
        plans: Float[Tensor, "K T A"],
        costs: Float[Tensor, " K"],
        mean: Float[Tensor, "T A"],
        std: Float[Tensor, "T A"],
    ) -> tuple[Float[Tensor, "T A"], Float[Tensor, "T A"]]:
        """Mean and spread of the next round, from the best plans of this one, the best first."""


@dataclass
class CEM(Solver):
    """The cross-entropy method: the next round has the mean and the spread of the best plans (Rubinstein 1999)."""

    def draw_near(self, plans: Tensor, costs: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """As `Solver.draw_near`."""
        return plans.mean(0), plans.std(0, correction=0)


@dataclass
class MPPI(Solver):
    """Model-predictive path integral control: the best plans count by exp(−cost / temperature) (Williams et al. 2017).

    Args:
        num_samples: as of `Solver`, as are those that follow.
        n_steps: rounds.
        topk: best plans of a round.
        var_scale: how far plans reach at first.
        keep: of the round before.
        temperature: of the weights, in spreads of the best plans' costs: lower, the better count more.
    """

    temperature: float = bounded(0.5, above=0)

    def draw_near(self, plans: Tensor, costs: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """As `Solver.draw_near`."""
        spread = costs.std(correction=0).clamp(min=torch.finfo(costs.dtype).tiny)
        weights = torch.softmax(-(costs - costs[0]) / (self.temperature * spread), 0)[:, None, None]
        new = (weights * plans).sum(0)
        return new, ((weights * (plans - new).square()).sum(0)).sqrt()


@dataclass
class RandomShooting(Solver):
    """Every round is drawn alike, and the best plan of all is taken."""

    def draw_near(self, plans: Tensor, costs: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """As `Solver.draw_near`."""
        return mean, std
