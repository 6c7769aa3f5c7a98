"""Every setting of stochvid, as dataclasses that check themselves. Nothing here imports torch.

`TrainConfig` has four groups (`model`, `data`, `optim`, `trainer`); a YAML file holds the same four, and any field is
`--group.field` on the command line. `ModelConfig` travels with the weights, as `config.json`.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from stochvid.config_checks import check_types, require
from stochvid.core.errors import InputError, nearest
from stochvid.core.untrusted import MOST_YAML, parse_yaml, read_text, shown

TRAINING = "training.yaml"  # beside a model's weights: the config of the run that trained it
IMAGE_SIZES = (32, 64, 128, 256)
CLIPS = "clips.json"  # likewise: rate, stride and crop of the store that it was trained on


@dataclass
class ModelConfig:
    """What an SVG model is, and how it was trained to be used.

    Args:
        image_size: height and width of the frames in pixels, a power of two from 32 to 256.
        channels: image channels (1 grey, 3 RGB).
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
        context: frames K that the model is given.
        horizon: future frames that it is trained to predict.
        beta: weight β of the KL term.
    """

    image_size: int = 64
    channels: int = 1
    backbone: Literal["dcgan", "vgg"] = "dcgan"
    base_channels: int = 64
    g_dim: int = 128
    z_dim: int = 10
    rnn_size: int = 256
    predictor_layers: int = 2
    posterior_layers: int = 1
    prior_layers: int = 1
    prior: Literal["learned", "fixed", "none"] = "learned"
    future_skip: Literal["last", "second_last", "previous"] = "last"
    context_latent: Literal["sample", "mean"] = "sample"
    batch_statistics: bool = False
    context: int = 5
    horizon: int = 10
    beta: float = 1e-4

    def __post_init__(self) -> None:
        check_types(self, "model")
        require(self.image_size in IMAGE_SIZES, "model.image_size", self.image_size, "32, 64, 128 or 256")
        for name in (
            "channels", "base_channels", "g_dim", "z_dim", "rnn_size", "predictor_layers", "posterior_layers",
            "prior_layers", "context", "horizon",
        ):  # fmt: skip
            require(getattr(self, name) >= 1, f"model.{name}", getattr(self, name), "at least 1")
        require(self.beta >= 0, "model.beta", self.beta, "at least 0")
        if self.future_skip == "second_last":
            require(self.context >= 2, "model.context", self.context, "at least 2 with future_skip second_last")

    @property
    def frames(self) -> int:
        """Frames of a training clip: context + horizon."""
        return self.context + self.horizon


@dataclass
class DataConfig:
    """Clips of a prepared store, or Stochastic Moving MNIST, made as it is read, in the model's size and channels.

    Args:
        store: folder that `stochvid prepare` made (null: Moving MNIST).
        stride: of a store's clips, take every so many-th frame.
        flip: mirror clips of a store left to right, each with probability ½.
        variant: motion rules: svg2018 (Denton & Fergus 2018) or srvp2020 (Franceschi et al. 2020).
        deterministic: mirror the velocity at walls instead of drawing a new one.
        digits: builtin (ships with scikit-learn, no download), mnist, or both, half of each.
        mnist: folder of MNIST's IDX files (plain or .gz), for digits mnist and both.
        num_digits: digits in a clip.
        digit_size: height and width of a digit in pixels (null: 32 at 64 px for svg2018 and 28 for srvp2020, in
            proportion at other sizes).
        max_speed: largest velocity component, pixels per frame (4 in both published variants).
        batch_size: clips of one optimisation step, over all processes together.
        workers: loader processes per training process (null: none on CPU, up to 8 on a GPU).
        val_clips: held-out clips for validation.
    """

    store: str | None = None
    stride: int = 1
    flip: bool = False
    variant: Literal["svg2018", "srvp2020"] = "svg2018"
    deterministic: bool = False
    digits: Literal["builtin", "mnist", "both"] = "builtin"
    mnist: str | None = None
    num_digits: int = 2
    digit_size: int | None = None
    max_speed: int = 4
    batch_size: int = 100
    workers: int | None = None
    val_clips: int = 100

    def __post_init__(self) -> None:
        check_types(self, "data")
        for name in ("stride", "num_digits", "max_speed", "batch_size", "val_clips"):
            require(getattr(self, name) >= 1, f"data.{name}", getattr(self, name), "at least 1")
        if self.mnist is not None and self.digits == "builtin" and self.store is None:
            raise InputError(
                f"there is a folder for MNIST, {shown(self.mnist)}, but the digits are builtin. Take --data.digits "
                "mnist or both, or leave the folder out."
            )
        require((self.digit_size or 1) >= 1, "data.digit_size", self.digit_size, "at least 1 or null")
        require((self.workers or 0) >= 0, "data.workers", self.workers, "at least 0 or null")


@dataclass
class OptimConfig:
    """Adam and what surrounds it. Warm-up, decay, clipping and EMA are off in the paper.

    Args:
        lr: learning rate.
        beta1: Adam's β₁.
        beta2: Adam's β₂.
        warmup_steps: steps over which the learning rate rises linearly from 0.
        decay: how the learning rate falls to 0 at the last step: none or cosine.
        decay_start: fraction of the steps after which the decay begins.
        clip_norm: largest norm of the whole gradient (null: no clipping).
        ema: decay of an exponential moving average of the weights, less in the first steps, which is then validated and
            saved (null: none).
    """

    lr: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    warmup_steps: int = 0
    decay: Literal["none", "cosine"] = "none"
    decay_start: float = 0.5
    clip_norm: float | None = None
    ema: float | None = None

    def __post_init__(self) -> None:
        check_types(self, "optim")
        require(self.lr > 0, "optim.lr", self.lr, "above 0")
        for name in ("beta1", "beta2", "decay_start"):
            require(0 <= getattr(self, name) < 1, f"optim.{name}", getattr(self, name), "in [0, 1)")
        require(self.warmup_steps >= 0, "optim.warmup_steps", self.warmup_steps, "at least 0")
        if self.clip_norm is not None:
            require(self.clip_norm > 0, "optim.clip_norm", self.clip_norm, "above 0 or null")
        if self.ema is not None:
            require(0 < self.ema < 1, "optim.ema", self.ema, "between 0 and 1, or null")


@dataclass
class TrainerConfig:
    """How long, where and how visibly to train.

    Args:
        max_steps: optimisation steps (the paper: 300 epochs of 600).
        seed: seed of weights, data and latents.
        device: auto, cpu or cuda.
        devices: processes (GPUs) per machine.
        num_nodes: machines; start with torchrun or SLURM.
        precision: fp32, bf16 (mixed), or auto: bf16 where the hardware computes it, fp32 elsewhere.
        sync_batch_norm: batch-norm takes its statistics over all processes together (GPUs only).
        compile: compile the loss with torch.compile; it takes a minute, and makes nothing faster on a CPU.
        recompute: keep fewer activations and compute them again for the gradients: a quarter less memory (in bf16 a
            seventh), and slower.
        log_every: steps between lines of metrics.csv.
        validate_every: steps between validations, with sample strips and GIFs.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the newest checkpoints to keep, beside that of the best validation.
        sample_clips: held-out clips drawn into samples/ at every validation (0: none).
    """

    max_steps: int = 180_000
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    sync_batch_norm: bool = False
    compile: bool = False
    recompute: bool = False
    log_every: int = 50
    validate_every: int = 600
    checkpoint_every: int = 600
    keep_checkpoints: int = 2
    sample_clips: int = 4

    def __post_init__(self) -> None:
        check_types(self, "trainer")
        for name in (
            "max_steps", "devices", "num_nodes", "log_every", "validate_every", "checkpoint_every",
            "keep_checkpoints",
        ):  # fmt: skip
            require(getattr(self, name) >= 1, f"trainer.{name}", getattr(self, name), "at least 1")
        require(0 <= self.seed < 1 << 32, "trainer.seed", self.seed, "from 0 to 4294967295")
        require(not (self.recompute and self.compile), "trainer.recompute", True, "false where trainer.compile is true")
        require(self.sample_clips >= 0, "trainer.sample_clips", self.sample_clips, "at least 0")


@dataclass
class TrainConfig:
    """The four groups of a training run.

    Args:
        model: what is trained.
        data: what it is trained on.
        optim: how its weights move.
        trainer: how long and where.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        processes = self.processes
        for name in ("batch_size", "val_clips"):
            value = getattr(self.data, name)
            require(value >= processes, f"data.{name}", value, f"at least the {processes} processes")
        multiple = self.data.batch_size % processes == 0
        require(multiple, "data.batch_size", self.data.batch_size, f"a multiple of the {processes} processes")

    @property
    def processes(self) -> int:
        """Training processes on all machines together."""
        return self.trainer.devices * self.trainer.num_nodes

    def to_yaml(self) -> str:
        """The config as YAML, every field named."""
        return yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)


GROUPS: dict[str, type] = {spec.name: spec.type for spec in dataclasses.fields(TrainConfig)}


def from_dict(kind: type, values: Any, where: str) -> Any:
    """Builds one config dataclass from a plain mapping.

    Args:
        kind: the dataclass.
        values: mapping of field names to values.
        where: what the mapping is, for messages.

    Raises:
        InputError: `values` is no mapping, names an unknown field, or holds a bad value.
    """
    _check_names(kind, values, where)
    return kind(**values)


def _check_names(kind: type, values: Any, where: str) -> None:
    if not isinstance(values, dict):
        raise InputError(f"{where} must hold fields and values, got {shown(values)}.")
    known = [spec.name for spec in dataclasses.fields(kind)]
    for name in values:
        if name not in known:
            raise InputError(f"{where} has an unknown field {shown(name)}. {_nearest(name, known)}")


def _nearest(name: Any, known: Iterable[str]) -> str:
    return nearest(name[:80] if isinstance(name, str) else "", known)


def read_yaml(path: str | Path) -> dict:
    """Reads a YAML file of the four groups and checks their names and their fields' names.

    Raises:
        InputError: the file is missing, is not YAML, or names an unknown group or field.
    """
    path = Path(path)
    try:
        values = parse_yaml(read_text(path, MOST_YAML))
    except OSError as error:
        raise InputError(f"config {str(path)!r} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"config {str(path)!r} is not valid YAML: {error!s:.400}") from None
    if not isinstance(values, dict):
        raise InputError(f"config {str(path)!r} must hold the groups {', '.join(GROUPS)}, got {shown(values)}.")
    for group, fields in values.items():
        if group not in GROUPS:
            raise InputError(f"config {str(path)!r} has an unknown group {shown(group)}. {_nearest(group, GROUPS)}")
        _check_names(GROUPS[group], fields, f"config {str(path)!r}, group {group!r},")
    return values


def load_config(path: str | Path) -> TrainConfig:
    """Reads a YAML file of the four groups; fields that it leaves out have their defaults.

    Raises:
        InputError: as `read_yaml`, or a bad value.
    """
    return TrainConfig(**{group: GROUPS[group](**fields) for group, fields in read_yaml(path).items()})


def shipped_configs() -> dict[str, Path]:
    """The configs that come with stochvid, by name."""
    folder = Path(str(resources.files("stochvid") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def shipped_models() -> dict[str, Path]:
    """The folders of the models that come with stochvid, by name; that of the demo and of the page first."""
    folder = Path(str(resources.files("stochvid") / "weights"))
    return {name: folder / name for name in ("two-digits", "one-digit")}


def config_path(name: str) -> Path:
    """The file of a shipped config, or `name` itself where it is a YAML file.

    Raises:
        InputError: `name` is neither.
    """
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    if Path(name).suffix in (".yaml", ".yml") or Path(name).is_file():
        if not Path(name).is_file():
            raise InputError(f"config {name!r} does not exist. Shipped configs: {', '.join(shipped)}.")
        return Path(name)
    raise InputError(f"no config is called {name!r}. {nearest(name, shipped)} A YAML file works too.")
