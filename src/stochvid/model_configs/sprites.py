"""What a model of sprites is."""

from dataclasses import dataclass
from typing import Literal

from stochvid.config_checks import bounded, require
from stochvid.model_configs.base import WIDTH, ModelConfig


@dataclass
class SpritesConfig(ModelConfig, home="stochvid.models.sprites:Sprites"):
    """A model of sprites, and how it was trained to be used.

    Args:
        family: sprites.
        image_size: height and width of the frames in pixels, a power of two from 32 to 256.
        channels: image channels (1 grey, 3 RGB).
        context: frames K that the model is given, and cuts sprites out of.
        horizon: future frames that it is trained to predict.
        sprites: how many things move on their own, at most.
        reach: farthest that they are looked for from frame to frame along an axis, in pixels.
        base_channels: channels at full size of the network that cuts them out, a multiple of 8.
        rnn_size: width of the recurrent cell that a sprite's motion has.
        beta: weight β of the KL term.
    """

    family: Literal["sprites"] = "sprites"
    sprites: int = bounded(2, least=1, most=64)
    reach: int = bounded(4, least=1, most=64)
    base_channels: int = bounded(16, **WIDTH)
    rnn_size: int = bounded(128, **WIDTH)
    beta: float = bounded(5e-5, least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.image_size // 4
        require(self.reach <= most, "model.reach", self.reach, f"at most {most} at {self.image_size} pixels")
        require(self.base_channels % 8 == 0, "model.base_channels", self.base_channels, "a multiple of 8")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(sprites, 2): how far each moves down and right."""
        return self.sprites, 2

    @property
    def composes(self) -> bool:
        """Of sprites."""
        return True

    @property
    def samples_context(self) -> bool:
        """No: what was given is known."""
        return False

    @property
    def term_weights(self) -> dict[str, float]:
        """The negative β-ELBO."""
        return {self.error: 1.0, "kl": self.beta}

    @property
    def prior_kind(self) -> Literal["learned", "fixed", "none"]:
        """Learned, always."""
        return "learned"

    @property
    def kind(self) -> str:
        """By their number."""
        return f"{self.sprites} sprites" if self.sprites > 1 else "1 sprite"

    @property
    def description(self) -> str:
        """What it does."""
        return (
            "a model that cuts what moves out of the given frames and then only moves it, with a learned prior of its "
            "motion as in SVG"
        )

    @property
    def network(self) -> str:
        """Its U-Net and recurrent cell."""
        return f"U-Net of {self.base_channels}, GRU of {self.rnn_size}"
