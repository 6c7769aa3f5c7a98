"""What the configs of all families share.

A family is a subclass of `ModelConfig` that names the class of its models. `config.json`, beside a model's weights,
holds the fields of one; where it names no family, it is from before there were several: `svg`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, Literal

from stochvid.config_checks import bounded, check_fields, require
from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError

IMAGE_SIZES = (32, 64, 128, 256)
FIRST_FAMILY = "svg"  # that of a config which names none

# A config from elsewhere shall not ask for a model that no memory holds.
WIDTH = {"least": 1, "most": 4096}
LAYERS = {"least": 1, "most": 64}


KL = "kl"  # the term of a loss that is what latents carry
TERMS = {
    "mse": ("MSE", ""),
    "l1": ("L1", ""),
    "bce": ("BCE", " nats"),
    "kl": ("KL", " nats"),
    "gradient_difference": ("gradient difference", ""),
    "fourier_amplitude": ("Fourier amplitude", ""),
    "fourier_correlation": ("Fourier correlation", ""),
}  # how people know the terms of a loss, and in what unit


def term_text(name: str, value: float) -> str:
    """A term of a loss, for people."""
    label, unit = TERMS.get(name, (name, ""))
    return f"{label} {value:.4g}{unit}"


def families_with(field: str) -> list[str]:
    """The families whose configs have a field, the first family before all others."""
    found = [family for family, kind in ModelConfig.families.items() if field in kind.__dataclass_fields__]
    return sorted(found, key=lambda family: family != FIRST_FAMILY)


def family_text(families: Sequence[str]) -> str:
    """Families, for people: "the family a", "the families a, b and c"."""
    *others, last = families
    return f"the families {', '.join(others)} and {last}" if others else f"the family {last}"


@dataclass
class ModelConfig(ABC):
    """What all families share: build that of one, such as `SVGConfig`.

    Args:
        family: of the model.
        image_size: height and width of the frames in pixels, a power of two from 32 to 256.
        channels: image channels (1 grey, 3 RGB).
        context: frames K that the model is given.
        horizon: future frames that it is trained to predict.
    """

    families: ClassVar[dict[str, type["ModelConfig"]]] = {}
    home: ClassVar[str]

    family: str = ""
    image_size: int = bounded(64, one_of=IMAGE_SIZES)
    channels: int = bounded(1, **WIDTH)
    context: int = bounded(5, least=1)
    horizon: int = bounded(10, least=1)

    def __init_subclass__(cls, home: str | None = None) -> None:
        """Makes a family known.

        Args:
            home: module and class of its models, as in `stochvid.models.svg:SVG`; None: of what families share.
        """
        if home is not None:
            cls.home = home
            ModelConfig.families[cls.family] = cls

    def __post_init__(self) -> None:
        check_fields(self, "model")
        least = self.least_context
        require(self.context >= least, "model.context", self.context, f"at least {least} with these settings")

    @property
    def frames(self) -> int:
        """Frames of a training clip: context + horizon."""
        return self.context + self.horizon

    @property
    def least_context(self) -> int:
        """The fewest frames that a model can be given."""
        return 1

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of the latents of a step; () for a deterministic model."""
        return ()

    @property
    def samples_context(self) -> bool:
        """Whether the latents of given frames are drawn from the posterior, for prediction; else they are its mean."""
        return True

    @property
    def tracks(self) -> dict[str, tuple[int, ...]]:
        """The tracks that it needs of every frame, by name, and the shape of a frame's value in each.

        Tracks of other names reach a model, too, where clips have them.
        """
        return {}

    def check_tracks(self, shapes: Mapping[str, tuple[int, ...]], what: str) -> None:
        """Checks that clips have the tracks that it needs.

        Args:
            shapes: of a frame's value, of each track that the clips have.
            what: what people call the clips.

        Raises:
            InputError: they lack one, or it is of another shape.
        """
        for name, shape in self.tracks.items():
            if name not in shapes:
                has = f"only {', '.join(shapes)}" if shapes else "no tracks at all"
                raise InputError(
                    f"{what} has no track {name!r}, which the model ({self.kind}) needs of every frame: it has {has}. "
                    "Take clips of a store that has it."
                )
            if tuple(shapes[name]) != tuple(shape):
                fix = f"--model.action_dim {shapes[name][0]}" if name == ACTIONS else "--model.* that fit it"
                raise InputError(
                    f"track {name!r} of {what} has values of shape {tuple(shapes[name])}, the model takes "
                    f"{tuple(shape)}. Give {fix}, or other clips."
                )

    @property
    def error(self) -> str:
        """How frames that it makes differ from the true ones, for its loss: a name of `models/errors.py`."""
        return "mse"

    @property
    @abstractmethod
    def term_weights(self) -> dict[str, float]:
        """The terms of the family's loss, and what each counts: its `error`, and `kl` where it has latents."""

    @property
    def prior_kind(self) -> Literal["learned", "fixed", "none"]:
        """Where the future's latents come from: a network, N(0, I), or nowhere, in a deterministic model."""
        return "none"

    @property
    def feeds_back(self) -> bool:
        """Whether it can be trained on its own frames."""
        return False

    @property
    def composes(self) -> bool:
        """Whether frames are composed of what is known of them, rather than drawn whole."""
        return False

    @property
    def weighs_changes(self) -> bool:
        """Whether its error can count pixels more that changed since the frame before."""
        return False

    @property
    def kind(self) -> str:
        """What kind of model it is, in a word or two, for tables."""
        return self.family

    @property
    def description(self) -> str:
        """What kind of model it is and where it comes from, as Markdown, for cards: "the … of …"."""
        return f"a model of the family {self.family}"

    @property
    def network(self) -> str:
        """What it is built of, in a few words."""
        return type(self).model_class().__name__

    @classmethod
    def model_class(cls) -> type:
        """The class of the family's models. Loads torch."""
        module, _, name = cls.home.partition(":")
        return getattr(import_module(module), name)
