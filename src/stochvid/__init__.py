"""stochvid: draw many sharp, different, plausible futures of a video, and say how uncertain each step is.

Stochastic video generation with a learned prior (Denton & Fergus, ICML 2018), as a library and a command line.
The public names below load what they need when they are first used.
"""

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors, which do not run `__getattr__`
    from stochvid.config import DataConfig as DataConfig
    from stochvid.config import OptimConfig as OptimConfig
    from stochvid.config import TrainConfig as TrainConfig
    from stochvid.config import TrainerConfig as TrainerConfig
    from stochvid.config import load_config as load_config
    from stochvid.core.clips import Clips as Clips
    from stochvid.core.errors import InputError as InputError
    from stochvid.data.moving_mnist import MovingMNIST as MovingMNIST
    from stochvid.data.store import Store as Store
    from stochvid.inference.live import Live as Live
    from stochvid.media.clip import Clip as Clip
    from stochvid.media.clip import fit_frames as fit_frames
    from stochvid.media.clip import read_clip as read_clip
    from stochvid.model_configs import ConvLSTMConfig as ConvLSTMConfig
    from stochvid.model_configs import ModelConfig as ModelConfig
    from stochvid.model_configs import SpritesConfig as SpritesConfig
    from stochvid.model_configs import SVGConfig as SVGConfig
    from stochvid.model_configs import SVGPrimeConfig as SVGPrimeConfig
    from stochvid.models.base import VideoModel as VideoModel
    from stochvid.models.convlstm import ConvLSTMForecaster as ConvLSTMForecaster
    from stochvid.models.noise import Branch as Branch
    from stochvid.models.sprites import Sprites as Sprites
    from stochvid.models.state import Prediction as Prediction
    from stochvid.models.svg import SVG as SVG
    from stochvid.models.svg_prime import SVGPrime as SVGPrime

__version__ = version("stochvid")

_HOMES = {
    "Branch": "stochvid.models.noise",
    "Clip": "stochvid.media.clip",
    "Clips": "stochvid.core.clips",
    "ConvLSTMConfig": "stochvid.model_configs",
    "ConvLSTMForecaster": "stochvid.models.convlstm",
    "DataConfig": "stochvid.config",
    "InputError": "stochvid.core.errors",
    "Live": "stochvid.inference.live",
    "ModelConfig": "stochvid.model_configs",
    "MovingMNIST": "stochvid.data.moving_mnist",
    "OptimConfig": "stochvid.config",
    "Prediction": "stochvid.models.state",
    "SVG": "stochvid.models.svg",
    "SVGConfig": "stochvid.model_configs",
    "SVGPrime": "stochvid.models.svg_prime",
    "SVGPrimeConfig": "stochvid.model_configs",
    "Sprites": "stochvid.models.sprites",
    "SpritesConfig": "stochvid.model_configs",
    "Store": "stochvid.data.store",
    "TrainConfig": "stochvid.config",
    "TrainerConfig": "stochvid.config",
    "VideoModel": "stochvid.models.base",
    "fit_frames": "stochvid.media.clip",
    "load_config": "stochvid.config",
    "read_clip": "stochvid.media.clip",
}

__all__ = ["__version__", "load", *_HOMES]


def load(model: str | Path, *, device: str = "cpu", **hub_options: Any) -> "VideoModel":
    """Loads a model of any family, in eval mode.

    Args:
        model: folder of a model, folder of a finished run, a shipped model (one of
            `stochvid.config.shipped_models`), or a repository `owner/name` of the Hugging Face Hub.
        device: where to put it.
        hub_options: options of `huggingface_hub.snapshot_download`, such as `revision`.

    Raises:
        InputError: there is no such model, or its config and weights are broken or do not fit each other.
    """
    from stochvid.models.base import VideoModel

    return VideoModel.from_pretrained(model, device=device, **hub_options)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stochvid' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
