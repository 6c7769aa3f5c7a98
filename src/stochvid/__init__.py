"""stochvid: draw many sharp, different, plausible futures of a video, and say how uncertain each step is.

Stochastic video generation with a learned prior (Denton & Fergus, ICML 2018), as a library and a command line.
The public names below load what they need when they are first used.
"""

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stochvid.models.base import VideoModel

__version__ = version("stochvid")

_HOMES = {
    "Branch": "stochvid.models.noise",
    "Clip": "stochvid.media.clip",
    "DataConfig": "stochvid.config",
    "InputError": "stochvid.core.errors",
    "ModelConfig": "stochvid.model_configs",
    "MovingMNIST": "stochvid.data.moving_mnist",
    "OptimConfig": "stochvid.config",
    "Prediction": "stochvid.models.state",
    "SVG": "stochvid.models.svg",
    "SVGConfig": "stochvid.model_configs",
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
