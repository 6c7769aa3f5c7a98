"""What an SVG and an SVG′ are."""

from dataclasses import dataclass
from typing import Literal

from stochvid.config_checks import bounded, require
from stochvid.core.clips import ACTIONS
from stochvid.model_configs.base import LAYERS, WIDTH, ModelConfig

PAPER = "https://arxiv.org/abs/1802.07687"
ACTION_DIM = {"least": 0, "most": 4096}
PRIME_PAPER = "https://arxiv.org/abs/1911.01655"


class LatentConfig(ModelConfig):
    """What SVG and SVG′ share: a prior, a rule for the skips, latents of given frames, an error and a β.

    Each has the fields of these names; they stand there, where their order and their meaning are told.
    """

    backbone: Literal["dcgan", "vgg"]
    base_channels: int
    prior: Literal["learned", "fixed", "none"]
    future_skip: str
    context_latent: Literal["sample", "mean"]
    action_dim: int
    beta: float

    @property
    def tracks(self) -> dict[str, tuple[int, ...]]:
        """Actions, where it is driven by them."""
        return {ACTIONS: (self.action_dim,)} if self.action_dim else {}

    @property
    def least_context(self) -> int:
        """Two where the future takes the skips of the last frame but one."""
        return 2 if self.future_skip == "second_last" else 1

    @property
    def new_skips(self) -> bool:
        """Whether generated frames give skips, too."""
        return self.future_skip in ("previous", "mean")

    @property
    def samples_context(self) -> bool:
        """As `context_latent`."""
        return self.context_latent == "sample"

    @property
    def term_weights(self) -> dict[str, float]:
        """The negative β-ELBO (SVG paper, eq. 3)."""
        return {self.error: 1.0, "kl": self.beta}

    @property
    def feeds_back(self) -> bool:
        """With the posterior's latents."""
        return True

    @property
    def weighs_changes(self) -> bool:
        """Yes."""
        return True

    @property
    def prior_kind(self) -> Literal["learned", "fixed", "none"]:
        """As `prior`."""
        return self.prior


@dataclass
class SVGConfig(LatentConfig, home="stochvid.models.svg:SVG"):
    """An SVG model (Denton & Fergus 2018), and how it was trained to be used.

    Args:
        family: svg.
        image_size: height and width of the frames in pixels, a power of two from 32 to 256.
        channels: image channels (1 grey, 3 RGB).
        context: frames K that the model is given.
        horizon: future frames that it is trained to predict.
        backbone: encoder and decoder family.
        base_channels: channels of the first convolution stage (64 in the paper).
        g_dim: size G of the frame features.
        z_dim: size Z of the latent (unused when prior is none).
        rnn_size: width of all LSTMs.
        predictor_layers: LSTM layers of the frame predictor.
        posterior_layers: LSTM layers of the posterior.
        prior_layers: LSTM layers of the learned prior.
        prior: learned (SVG-LP), fixed (SVG-FP, N(0, I)), or none (the deterministic baseline, no latent).
        future_skip: whose encoder skips the future uses: last = the last context frame (the paper), second_last = the
            frame before it (the authors' code), previous = always the frame before, generated ones included.
        context_latent: latents during the context come from the posterior: a sample (LP) or its mean (FP).
        batch_statistics: whether the code that these weights come from draws futures with the batch-norm statistics of
            the batch (SVG-LP of 2018, imported); --batch-statistics does likewise.
        action_dim: components of the action that led to each frame, which posterior, prior and predictor read; 0: none.
        beta: weight β of the KL term.
    """

    family: Literal["svg"] = "svg"
    backbone: Literal["dcgan", "vgg"] = "dcgan"
    base_channels: int = bounded(64, **WIDTH)
    g_dim: int = bounded(128, **WIDTH)
    z_dim: int = bounded(10, **WIDTH)
    rnn_size: int = bounded(256, **WIDTH)
    predictor_layers: int = bounded(2, **LAYERS)
    posterior_layers: int = bounded(1, **LAYERS)
    prior_layers: int = bounded(1, **LAYERS)
    prior: Literal["learned", "fixed", "none"] = "learned"
    future_skip: Literal["last", "second_last", "previous"] = "last"
    context_latent: Literal["sample", "mean"] = "sample"
    batch_statistics: bool = False
    action_dim: int = bounded(0, **ACTION_DIM)
    beta: float = bounded(1e-4, least=0)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(Z,), or () for the deterministic baseline."""
        return () if self.prior == "none" else (self.z_dim,)

    @property
    def kind(self) -> str:
        """As the paper calls it."""
        return {"learned": "SVG-LP", "fixed": "SVG-FP", "none": "SVG without latents"}[self.prior]

    @property
    def description(self) -> str:
        """With the paper."""
        kinds = {"learned": "the model with a learned prior (SVG-LP)", "fixed": "the model with a fixed prior (SVG-FP)"}
        kind = kinds.get(self.prior, "the deterministic baseline")
        return f"{kind} of Denton & Fergus, [*Stochastic Video Generation with a Learned Prior*]({PAPER}) (ICML 2018)"

    @property
    def network(self) -> str:
        """Its backbone, features, latents and LSTMs."""
        return f"{self.backbone.upper()}: G {self.g_dim}, Z {self.z_dim}, LSTMs of {self.rnn_size}"


@dataclass
class SVGPrimeConfig(LatentConfig, home="stochvid.models.svg_prime:SVGPrime"):
    """An SVG′ model (Villegas et al. 2019), and how it was trained to be used.

    Args:
        family: svg-prime.
        image_size: height and width of the frames in pixels, a power of two from 32 to 256.
        channels: image channels (1 grey, 3 RGB).
        context: frames K that the model is given.
        horizon: future frames that it is trained to predict.
        backbone: encoder and decoder family.
        base_channels: channels of the first convolution stage (64 · K in the paper).
        norm: normalisation in encoder and decoder: batch (the paper), or group, which sees each frame alone.
        map_size: cells a side of features, states and latents: at most a quarter of the image size.
        g_dim: channels of the features.
        z_dim: channels of the latents (unused when prior is none).
        latent_size: cells a side of the latents (null: map_size); those of fewer cells are tiled.
        rnn_size: channels of all ConvLSTMs (512 · M in the paper).
        predictor_layers: ConvLSTM layers of the frame predictor.
        posterior_layers: ConvLSTM layers of the posterior.
        prior_layers: ConvLSTM layers of the learned prior.
        prior: learned, fixed (N(0, I)), or none (deterministic, no latent).
        future_skip: whose encoder skips the future uses: last = the last context frame (the paper), second_last = the
            frame before it, previous = always the frame before, generated ones included, mean = the mean of all frames
            before, generated ones included.
        context_latent: latents during the context come from the posterior: a sample or its mean.
        output: what a frame is: decoded (the paper), or composed, by a softmax of masks, of the decoded image, the
            frame before with its pixels moved by a flow, and the last given frame, so that only what appears is drawn.
        reconstruction: error of the frames: mse, or l1 (the paper).
        action_dim: components of the action that led to each frame, which posterior, prior and predictor read in every
            cell, with where the cell lies; 0: none.
        beta: weight β of the KL term.
    """

    family: Literal["svg-prime"] = "svg-prime"
    backbone: Literal["dcgan", "vgg"] = "vgg"
    base_channels: int = bounded(64, **WIDTH)
    norm: Literal["batch", "group"] = "batch"
    map_size: int = bounded(8, one_of=(4, 8, 16, 32))
    g_dim: int = bounded(128, **WIDTH)
    z_dim: int = bounded(10, **WIDTH)
    latent_size: int | None = bounded(None, one_of=(1, 2, 4, 8, 16, 32))
    rnn_size: int = bounded(512, **WIDTH)
    predictor_layers: int = bounded(2, **LAYERS)
    posterior_layers: int = bounded(1, **LAYERS)
    prior_layers: int = bounded(1, **LAYERS)
    prior: Literal["learned", "fixed", "none"] = "learned"
    future_skip: Literal["last", "second_last", "previous", "mean"] = "last"
    context_latent: Literal["sample", "mean"] = "sample"
    output: Literal["decoded", "composed"] = "decoded"
    reconstruction: Literal["mse", "l1"] = "l1"
    action_dim: int = bounded(0, **ACTION_DIM)
    beta: float = bounded(1e-4, least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.image_size // 4
        require(self.map_size <= most, "model.map_size", self.map_size, f"at most {most} at {self.image_size} pixels")
        fits = self.latent_cells <= self.map_size
        require(fits, "model.latent_size", self.latent_size, f"at most the map_size, {self.map_size}")

    @property
    def latent_cells(self) -> int:
        """Cells a side of the latents."""
        return self.latent_size or self.map_size

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(Z, q, q), or () for a deterministic model."""
        return () if self.prior == "none" else (self.z_dim, self.latent_cells, self.latent_cells)

    @property
    def composes(self) -> bool:
        """As `output`."""
        return self.output == "composed"

    @property
    def error(self) -> str:
        """As `reconstruction`."""
        return self.reconstruction

    @property
    def kind(self) -> str:
        """As SVG's, with a prime."""
        return {"learned": "SVG′", "fixed": "SVG′ with a fixed prior", "none": "SVG′ without latents"}[self.prior]

    @property
    def description(self) -> str:
        """With the paper."""
        kinds = {"learned": "", "fixed": ", with a fixed prior", "none": ", without latents"}
        return (
            "the model SVG′ of Villegas et al., [*High Fidelity Video Prediction with Large Stochastic Recurrent "
            f"Neural Networks*]({PRIME_PAPER}) (NeurIPS 2019){kinds[self.prior]}"
        )

    @property
    def network(self) -> str:
        """Its backbone, features, latents and ConvLSTMs."""
        cells, latents = f"{self.map_size}×{self.map_size}", f"{self.latent_cells}×{self.latent_cells}"
        return (
            f"{self.backbone.upper()} to {cells}: G {self.g_dim}, Z {self.z_dim} × {latents}, "
            f"ConvLSTMs of {self.rnn_size}"
        )
