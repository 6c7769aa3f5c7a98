"""What a ConvLSTM is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from stochvid.config_checks import bounded, require
from stochvid.model_configs.base import LAYERS, WIDTH, ModelConfig

PAPER = "https://arxiv.org/abs/1506.04214"


@dataclass
class ConvLSTMConfig(ModelConfig, home="stochvid.models.convlstm:ConvLSTMForecaster"):
    """A ConvLSTM encoder and forecaster (Shi et al. 2015), and how it was trained to be used.

    Args:
        family: convlstm.
        image_size: height and width of the frames in pixels, a power of two from 32 to 256.
        channels: image channels (1 grey, 3 RGB).
        context: frames K that the model is given.
        horizon: future frames that it is trained to predict.
        patch: height of the square of pixels that become the channels of a cell (4 in the paper).
        widths: channels of each ConvLSTM layer, the lowest first; one layer or more (128, 64, 64 in the paper).
        kernel: height of the convolutions' kernels (5 in the paper).
        reconstruction: error of the frames: bce, the cross-entropy (the paper), or mse.
    """

    family: Literal["convlstm"] = "convlstm"
    patch: int = bounded(4, one_of=(1, 2, 4, 8, 16))
    widths: Sequence[int] = field(default_factory=lambda: [128, 64, 64])
    kernel: int = bounded(5, one_of=(1, 3, 5, 7))
    reconstruction: Literal["bce", "mse"] = "bce"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.widths = list(self.widths)
        least, most = WIDTH.values()
        right = all(type(width) is int and least <= width <= most for width in self.widths)
        count = LAYERS["least"] <= len(self.widths) <= LAYERS["most"]
        expected = f"from {LAYERS['least']} to {LAYERS['most']} whole numbers from {least} to {most:,}"
        require(right and count, "model.widths", self.widths, expected)

    @property
    def least_context(self) -> int:
        """Two: of one frame nobody knows where it goes."""
        return 2

    @property
    def cells(self) -> int:
        """Cells a side of the states."""
        return self.image_size // self.patch

    @property
    def error(self) -> str:
        """As `reconstruction`."""
        return self.reconstruction

    @property
    def term_weights(self) -> dict[str, float]:
        """The error of the predicted frames."""
        return {self.error: 1.0}

    @property
    def weighs_changes(self) -> bool:
        """Yes."""
        return True

    @property
    def kind(self) -> str:
        """As its paper calls it."""
        return "ConvLSTM"

    @property
    def description(self) -> str:
        """With the paper."""
        return (
            "the encoder and forecaster of Shi et al., [*Convolutional LSTM Network: A Machine Learning Approach for "
            f"Precipitation Nowcasting*]({PAPER}) (NIPS 2015), which has no latents and one future"
        )

    @property
    def network(self) -> str:
        """Its layers."""
        return f"layers of {'-'.join(map(str, self.widths))} at {self.cells}×{self.cells}, {self.kernel}×{self.kernel}"
