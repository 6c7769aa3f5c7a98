"""What was done, as the recurrent parts of a model read it: beside the features of the frame in which it was done.

Axes: `T` steps, `N` rows, `A` components of an action, `G` features, which are (G,) or (G, h, w).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.core.shapes import Float, Frames

FAR = 0.25  # of the range that actions had in training: what lies further outside is unlike them


class ActionInput(nn.Module):
    """Joins actions to features: standardised by what they were in training, which travels with the weights.

    Of features that are maps, every cell gets the action (Villegas et al. 2019), and where it lies (Liu et al. 2018,
    CoordConv), so that an action that names a place can be compared to it.

    Args:
        size: components A of an action.
        cells: cells a side of the features; 0: they are vectors.

    Attributes:
        channels: how many it joins.
        mean: of the actions in training, (A,), as are the others.
        std: their standard deviation; 1 where they never changed.
        low: the least of them.
        high: the largest; equal to `low` where neither is known.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, size: int, cells: int = 0):
        super().__init__()
        self.size, self.cells = size, cells
        self.channels = size + (2 if cells else 0)
        for name, value in (("mean", 0.0), ("std", 1.0), ("low", 0.0), ("high", 0.0)):
            self.register_buffer(name, torch.full((size,), value))

    def learn(self, statistics: Mapping[str, Any]) -> None:
        """Takes over what a store says of its actions: `mean`, `std`, `min` and `max` of each component.

        Actions of several frames that were passed over, joined, have those of one frame each.
        """
        for name, told in (("mean", "mean"), ("std", "std"), ("low", "min"), ("high", "max")):
            values = torch.as_tensor(statistics[told], dtype=torch.float64).flatten()
            getattr(self, name).copy_(values.repeat(self.size // len(values)))
        self.std[self.std < 1e-6 * (1 + self.mean.abs())] = 1

    def given(self, tracks: Mapping[str, Tensor] | None, steps: int) -> Float[Tensor, "N steps A"]:
        """The actions that led to the last `steps` frames, standardised.

        Args:
            tracks: of the frames, (N, ≥ steps, A).
            steps: how many.

        Raises:
            InputError: there are none.
        """
        actions = (tracks or {}).get(ACTIONS)
        if actions is None:
            raise InputError(
                f"the model is driven by actions, and there are none: give a track {ACTIONS!r} of {self.size} "
                "component(s), what led to each frame."
            )
        return (actions[:, actions.shape[1] - steps :].to(self.mean) - self.mean) / self.std

    def forward(
        self, features: Float[Tensor, "T N G *cells"], actions: Float[Tensor, "T N A"]
    ) -> Float[Tensor, "T N _ *cells"]:
        """Features of the frames before, and the standardised actions after them → both, joined."""
        joined = [features, actions.to(features.dtype)]
        if self.cells:
            joined[1] = joined[1][..., None, None].expand(*actions.shape, self.cells, self.cells)
            line = torch.linspace(-1, 1, self.cells, dtype=features.dtype, device=features.device)
            joined += [
                axis.expand(*features.shape[:2], 1, self.cells, self.cells) for axis in (line[:, None], line[None, :])
            ]
        return torch.cat(joined, 2)

    def unlike(self, actions: Tensor) -> str:
        """What to say of actions (…, A) that lie far outside of those in training; "" of others."""
        if torch.equal(self.low, self.high):
            return ""
        values, room = actions.flatten(0, -2).to(self.low), FAR * (self.high - self.low)
        for i in range(self.size):
            least, most = values[:, i].min().item(), values[:, i].max().item()
            if least < self.low[i] - room[i] or most > self.high[i] + room[i]:
                return (
                    f"component {i + 1} of the actions goes from {least:.4g} to {most:.4g}; in training it was within "
                    f"{self.low[i].item():.4g} and {self.high[i].item():.4g}, and futures of other actions mean little"
                )
        return ""


def with_actions(
    tracks: Mapping[str, Tensor], future: Float[Tensor, "B horizon A"], context: Frames[Tensor, "B K C H W"]
) -> dict[str, Tensor]:
    """Tracks of given frames (B, ≥ K, …), with what leads to those to come; nothing led to a single given frame."""
    known = tracks.get(ACTIONS)
    if known is None and context.shape[1] == 1:
        known = torch.zeros_like(future[:, :1])
    if known is None or known.shape[2:] != future.shape[2:] or len(known) != len(future):
        return dict(tracks)  # what is wrong is said where tracks are checked
    joined = torch.cat([known[:, : context.shape[1]].to(future), future], 1)
    return {**tracks, ACTIONS: joined}


def some_of(actions: Tensor | None, first: int, count: int) -> Tensor | None:
    """The actions of some samples, where each has its own, (B, S, …)."""
    return actions if actions is None or actions.shape[1] == 1 else actions[:, first : first + count]
