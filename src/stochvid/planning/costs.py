"""What futures cost: how far their frames are from a goal. Any function of frames will do as well.

A cost takes frames (N, S, T, C, H, W) in [0, 1], N plans with S futures of T frames each, and gives (N, S).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from stochvid.core.errors import InputError
from stochvid.core.shapes import Float
from stochvid.media.clip import Fit, fit_frame
from stochvid.models.base import VideoModel
from stochvid.models.svg_base import SVGBase

Cost = Callable[[Tensor], Tensor]
REACH = 3.0  # of a Gaussian's kernel, in σ


def as_goal(model: VideoModel, image: np.ndarray, fit: Fit = "squash") -> Float[Tensor, "C H W"]:
    """A picture of what is wanted, as the model's frames are: (C, H, W) in [0, 1].

    Args:
        model: that is to plan for it.
        image: (H, W) or (H, W, C) uint8 of any size.
        fit: how it becomes square: as the frames that the planner sees (`Planner.live.fit`).

    Raises:
        InputError: it is no such picture.
    """
    config, image = model.config, np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise InputError(f"a goal must be a picture, (H, W) or (H, W, C) uint8, got {image.dtype} {image.shape}.")
    fitted = fit_frame(image if image.ndim == 3 else image[..., None], config.image_size, config.channels, fit)
    return torch.from_numpy(fitted.copy()).to(next(model.parameters()).device).float() / 255


class ImageGoal:
    """Mean squared difference from a picture, of frames and picture blurred by each of some widths, summed up.

    Unblurred, a small thing that is near its place costs as much as one that is far from it; blurred, the nearer one
    costs less.

    Args:
        goal: (C, H, W) in [0, 1], as `as_goal` gives it.
        blurs: σ of the blurs, in pixels; 0: none.
        path: what the frames before the last cost, all together, where the last one costs 1.
    """

    def __init__(self, goal: Float[Tensor, "C H W"], blurs: Sequence[float] = (0, 2, 4, 8, 16), path: float = 1.0):
        self.goal, self.blurs, self.path = goal, tuple(blurs), path
        self.lenses = {sigma: blurring(goal.shape[-1], sigma).to(goal) for sigma in self.blurs if sigma}

    def __call__(self, frames: Float[Tensor, "N S T C H W"]) -> Float[Tensor, "N S"]:
        """What futures cost."""
        differences = frames - self.goal
        costs = differences.new_zeros(frames.shape[:3])
        for sigma in self.blurs:
            lens = self.lenses.get(sigma)
            seen = differences if lens is None else lens @ differences @ lens.T
            # a small thing that is blurred differs by 1/σ² of what it did: each width counts alike
            costs += seen.square().mean((-1, -2, -3)) * max(sigma, 1.0) ** 2
        return along(costs, self.path)


class FeatureGoal:
    """Mean squared difference from a picture in the model's own features h.

    Args:
        model: SVG or SVG′.
        goal: (C, H, W) in [0, 1], as `as_goal` gives it.
        path: as of `ImageGoal`.
    """

    def __init__(self, model: VideoModel, goal: Float[Tensor, "C H W"], path: float = 1.0):
        if not isinstance(model, SVGBase):
            raise InputError(f"models of the family {model.config.family!r} have no features. Take ImageGoal.")
        self.model, self.path = model, path
        with torch.no_grad():
            self.goal = model._features(model.as_input(goal[None, None])[0])

    @torch.no_grad()
    def __call__(self, frames: Float[Tensor, "N S T C H W"]) -> Float[Tensor, "N S"]:
        """What futures cost."""
        features = self.model._features(frames.flatten(0, 2).to(self.model.dtype))
        difference = (features - self.goal).square().flatten(1).mean(1)
        return along(difference.unflatten(0, frames.shape[:3]), self.path)


def along(costs: Float[Tensor, "N S T"], path: float) -> Float[Tensor, "N S"]:
    """The last frame's cost, and a share of the mean of those before."""
    before = costs[..., :-1].mean(-1) if costs.shape[-1] > 1 else costs.new_zeros(costs.shape[:-1])
    return costs[..., -1] + path * before


def blurring(size: int, sigma: float) -> Float[Tensor, "n {size}"]:
    """Blurs a line of pixels by a Gaussian, mirrored at its ends, and takes the mean of each ⌊σ⌋ of them.

    So every pixel counts alike, wherever it lies; and what is left out can hardly be seen under such a blur.
    """
    reach = int(REACH * sigma + 0.5)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    lens = torch.zeros(size, size)
    for shift, weight in zip(range(-reach, reach + 1), line / line.sum(), strict=True):
        place = (torch.arange(size) + shift) % (2 * size)
        lens[torch.arange(size), torch.minimum(place, 2 * size - 1 - place)] += weight
    side = max(1, int(sigma))
    return lens[: size // side * side].unflatten(0, (-1, side)).mean(1) if size >= side else lens.mean(0, keepdim=True)
