"""Small models, clips and runs that tests share."""

from torch import Tensor

from stochvid.core.clips import Clips
from stochvid.models.base import VideoModel
from stochvid.training.objectives import WeightedTerms


def elbo(model: VideoModel, frames: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """The loss that a model is trained by, and its terms."""
    return WeightedTerms(model.config.term_weights)(model, Clips(frames), noise)
