"""What a model is, as one dataclass for each family. Nothing here imports torch."""

from stochvid.model_configs.base import (
    FIRST_FAMILY,
    IMAGE_SIZES,
    KL,
    ModelConfig,
    families_with,
    family_text,
    term_text,
)
from stochvid.model_configs.convlstm import ConvLSTMConfig
from stochvid.model_configs.sprites import SpritesConfig
from stochvid.model_configs.svg import PAPER, LatentConfig, SVGConfig, SVGPrimeConfig

__all__ = [
    "FIRST_FAMILY",
    "IMAGE_SIZES",
    "KL",
    "PAPER",
    "ConvLSTMConfig",
    "LatentConfig",
    "ModelConfig",
    "SVGConfig",
    "SVGPrimeConfig",
    "SpritesConfig",
    "families_with",
    "family_text",
    "term_text",
]
