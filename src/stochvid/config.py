"""Every setting of stochvid, as dataclasses that check themselves. Nothing here imports torch.

`TrainConfig` has six groups (`model`, `data`, `optim`, `trainer`, `loss`, `adversarial`); a YAML file holds the same,
and any field is `--group.field` on the command line. `ModelConfig` travels with the weights, as `config.json`.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_type_hints

import yaml

from stochvid.config_checks import bounded, check_fields, check_steps, require
from stochvid.core.errors import InputError, nearest
from stochvid.core.untrusted import MOST_YAML, parse_yaml, read_text, shown
from stochvid.model_configs import FIRST_FAMILY, KL, ModelConfig, SVGConfig, families_with, family_text

RUN_CONFIG = "config.yaml"  # of a run, in its folder
TRAINING = "training.yaml"  # beside a model's weights: the config of the run that trained it
CLIPS = "clips.json"  # likewise: rate, stride and crop of the store that it was trained on
HEALTH = "health.json"  # likewise: what its futures of held-out clips are worth
HELD_OUT = "held-out"  # likewise, in a folder of its own: a small store of clips to show it with
MOVING_MNIST = "moving-mnist"  # what people call clips that are made as they are read
ERRORS = ("mse", "l1", "bce", "gradient_difference", "fourier_amplitude", "fourier_correlation")  # that a loss may add
LEAST_FRAMES = 3  # of a clip that a discriminator reads: its kernel


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
    stride: int = bounded(1, least=1)
    flip: bool = False
    variant: Literal["svg2018", "srvp2020"] = "svg2018"
    deterministic: bool = False
    digits: Literal["builtin", "mnist", "both"] = "builtin"
    mnist: str | None = None
    num_digits: int = bounded(2, least=1, most=4096)
    digit_size: int | None = bounded(None, least=1, most=4096)
    max_speed: int = bounded(4, least=1, most=4096)
    batch_size: int = bounded(100, least=1)
    workers: int | None = bounded(None, least=0, most=1000)
    val_clips: int = bounded(100, least=1)

    def __post_init__(self) -> None:
        check_fields(self, "data")
        if self.mnist is not None and self.digits == "builtin" and self.store is None:
            raise InputError(
                f"there is a folder for MNIST, {shown(self.mnist)}, but the digits are builtin. Take --data.digits "
                "mnist or both, or leave the folder out."
            )


@dataclass
class OptimConfig:
    """Adam and what surrounds it. Warm-up, decay, clipping and EMA are off in the paper.

    Args:
        lr: learning rate.
        beta1: Adam's β₁.
        beta2: Adam's β₂.
        warmup_steps: steps over which the learning rate rises linearly from 0; below 1: a fraction of all steps.
        decay: how the learning rate falls to 0 at the last step: none or cosine.
        decay_start: fraction of the steps after which the decay begins.
        clip_norm: largest norm of the whole gradient (null: no clipping).
        ema: decay of an exponential moving average of the weights, less in the first steps, which is then validated and
            saved (null: none).
    """

    lr: float = bounded(2e-3, above=0)
    beta1: float = bounded(0.9, least=0, below=1)
    beta2: float = bounded(0.999, least=0, below=1)
    warmup_steps: int | float = bounded(0, least=0)
    decay: Literal["none", "cosine"] = "none"
    decay_start: float = bounded(0.5, least=0, below=1)
    clip_norm: float | None = bounded(None, above=0)
    ema: float | None = bounded(None, above=0, below=1)

    def __post_init__(self) -> None:
        check_fields(self, "optim")
        check_steps(self.warmup_steps, "optim.warmup_steps")


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
        validate_every: steps between validations, with sample strips and GIFs; below 1: a fraction of all steps.
        checkpoint_every: steps between checkpoints, likewise.
        keep_checkpoints: how many of the newest checkpoints to keep, beside that of the best validation.
        sample_clips: held-out clips drawn into samples/ at the start, after a minute and at every validation (0: none).
        rollout_clips: held-out clips of which a few futures are drawn at every validation, and scored; `best/` is then
            the best by their CRPS (0: none; `best/` is the best by its loss).
        patience: validations that are no better than the best one, after which training ends (null: it never does).
        logger: where to log beside metrics.csv and TensorBoard: wandb (Weights & Biases) or mlflow; each has to be
            installed (null: nowhere else).
    """

    max_steps: int = bounded(180_000, least=1)
    seed: int = bounded(0, least=0, most=(1 << 32) - 1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = bounded(1, least=1)
    num_nodes: int = bounded(1, least=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    sync_batch_norm: bool = False
    compile: bool = False
    recompute: bool = False
    log_every: int = bounded(50, least=1)
    validate_every: int | float = bounded(600, above=0)
    checkpoint_every: int | float = bounded(600, above=0)
    keep_checkpoints: int = bounded(2, least=1)
    sample_clips: int = bounded(4, least=0, most=1000)
    rollout_clips: int = bounded(8, least=0, most=1000)
    patience: int | None = bounded(None, least=1)
    logger: Literal["wandb", "mlflow"] | None = None

    def __post_init__(self) -> None:
        check_fields(self, "trainer")
        for name in ("validate_every", "checkpoint_every"):
            check_steps(getattr(self, name), f"trainer.{name}")
        require(not (self.recompute and self.compile), "trainer.recompute", True, "false where trainer.compile is true")


@dataclass
class LossConfig:
    """What is minimised, beside the model's own weights of its terms. SVG's paper does none of this.

    Args:
        reconstruction: weight of the model's own error of frames (0: the errors below in its place).
        mse: weight of the mean squared error beside it, per pixel.
        l1: likewise, of the mean absolute error.
        bce: likewise, of the cross-entropy in nats.
        gradient_difference: likewise, of the error of steps from pixel to pixel, which keeps edges sharp (Mathieu et
            al. 2016).
        fourier_amplitude: likewise, of the amplitudes of the frames' Fourier transforms (Yan et al. 2024: FACL is this
            and the next one).
        fourier_correlation: likewise, of what the frames' Fourier transforms lack in correlation.
        kl_warmup_steps: steps over which the weight of the KL term rises linearly from 0; below 1: a fraction of all
            steps.
        kl_limit: nats a step that latents may carry: above, β grows from `model.beta` until they carry no more; below,
            it falls back, at most to `model.beta` (null: β stays).
        feed_back: fraction of the steps after which the model reads its own frames in place of the true ones that
            follow the context, as it will when it predicts; latents stay those of the posterior (null: never). If it
            ever does, it does in all validations.
        change_weight: what a pixel that changed since the frame before counts more than another at first, so that small
            things that move are not lost in the mean (null: nothing); auto: as much as makes all of them together count
            as much as the others, by the training clips, at most 50. It falls to a tenth until 80 % of the steps:
            a model that is not sure where something goes would else rather draw it too often.
    """

    reconstruction: float = bounded(1.0, least=0)
    mse: float = bounded(0.0, least=0)
    l1: float = bounded(0.0, least=0)
    bce: float = bounded(0.0, least=0)
    gradient_difference: float = bounded(0.0, least=0)
    fourier_amplitude: float = bounded(0.0, least=0)
    fourier_correlation: float = bounded(0.0, least=0)
    kl_warmup_steps: int | float = bounded(0, least=0)
    kl_limit: float | None = bounded(None, above=0)
    feed_back: float | None = bounded(None, least=0, most=1)
    change_weight: float | Literal["auto"] | None = bounded(None, least=0, most=1000)

    def __post_init__(self) -> None:
        check_fields(self, "loss")
        check_steps(self.kl_warmup_steps, "loss.kl_warmup_steps")

    @property
    def others(self) -> dict[str, float]:
        """The weights of errors beside the model's own."""
        weights = {name: getattr(self, name) for name in ERRORS}
        return {name: weight for name, weight in weights.items() if weight}


@dataclass
class AdversarialConfig:
    """A discriminator, which learns to tell futures under the prior from true ones, and which the model is to deceive.

    It is a 3-D convolutional network with spectral normalisation, which reads whole clips, given frames and all. Each
    step draws a future of every clip for it, one frame after another, which makes a step about three times as long.

    Args:
        weight: of what it says of such futures (null: there is no discriminator).
        loss: hinge (Lim & Ye 2017) or least_squares (Mao et al. 2017).
        start: fraction of the steps after which it begins.
        lr: learning rate of its Adam, whose β₁ is 0.5.
        steps: its steps in one of the model's, each with other futures.
        channels: of its first layer; each layer has twice those before it, at most eight times.
        alone: train without the VAE: the model's own error is that of the futures under the prior, too, and there is no
            KL, so that latents are only noise.
    """

    weight: float | None = bounded(None, above=0)
    loss: Literal["hinge", "least_squares"] = "hinge"
    start: float = bounded(0.0, least=0, below=1)
    lr: float = bounded(2e-4, above=0)
    steps: int = bounded(1, least=1, most=100)
    channels: int = bounded(32, least=1, most=4096)
    alone: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "adversarial")
        require(self.weight is not None or not self.alone, "adversarial.alone", True, "false without a weight")


@dataclass
class TrainConfig:
    """The six groups of a training run.

    Args:
        model: what is trained.
        data: what it is trained on.
        optim: how its weights move.
        trainer: how long and where.
        loss: what is minimised, beside what the model says.
        adversarial: a discriminator beside it.
    """

    model: ModelConfig = field(default_factory=SVGConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)

    def __post_init__(self) -> None:
        model = self.model
        can = self.loss.feed_back is None or model.feeds_back
        require(can, "loss.feed_back", self.loss.feed_back, f"null for models of the family {model.family!r}")
        can = self.loss.change_weight is None or model.weighs_changes
        require(can, "loss.change_weight", self.loss.change_weight, f"null for models of the family {model.family!r}")
        can = self.loss.kl_limit is None or (bool(model.latent_shape) and model.term_weights.get(KL, 0) > 0)
        require(can, "loss.kl_limit", self.loss.kl_limit, "null for a model without latents, or with a β of 0")
        self._check_adversarial()
        processes = self.processes
        for name in ("batch_size", "val_clips"):
            value = getattr(self.data, name)
            require(value >= processes, f"data.{name}", value, f"at least the {processes} processes")
        multiple = self.data.batch_size % processes == 0
        require(multiple, "data.batch_size", self.data.batch_size, f"a multiple of the {processes} processes")

    def _check_adversarial(self) -> None:
        model, loss, adversarial = self.model, self.loss, self.adversarial
        if adversarial.weight is None:
            something = loss.reconstruction or loss.others or (model.latent_shape and model.term_weights.get(KL, 0))
            require(bool(something), "loss.reconstruction", 0, "above 0 where nothing else is minimised")
            return
        require(not self.trainer.compile, "trainer.compile", True, "false where adversarial.weight is given")
        frames = f"{LEAST_FRAMES} or more, as long as the discriminator's kernel"
        require(model.frames >= LEAST_FRAMES, "model.context + model.horizon", model.frames, frames)
        if adversarial.alone:
            for name in ("kl_limit", "feed_back"):
                value = getattr(loss, name)
                require(value is None, f"loss.{name}", value, "null where adversarial.alone is true")

    @property
    def processes(self) -> int:
        """Training processes on all machines together."""
        return self.trainer.devices * self.trainer.num_nodes

    def to_yaml(self) -> str:
        """The config as YAML, every field named."""
        return yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)


def as_steps(number: int | float, max_steps: int) -> int:
    """A number of steps as a config has it: below 1 it is a fraction of all steps, of which it then is at least one."""
    return max(1, round(number * max_steps)) if 0 < number < 1 else int(number)


GROUPS = tuple(spec.name for spec in dataclasses.fields(TrainConfig))


def group_types(family: str) -> dict[str, type]:
    """The dataclass of each group, for a family of models.

    Raises:
        InputError: there is no such family.
    """
    groups = get_type_hints(TrainConfig)
    return {spec.name: groups[spec.name] for spec in dataclasses.fields(TrainConfig)} | {"model": model_config(family)}


def model_config(family: Any) -> type[ModelConfig]:
    """The config of a family of models.

    Raises:
        InputError: there is no such family.
    """
    if not isinstance(family, str) or family not in ModelConfig.families:
        raise InputError(f"there is no family of models {shown(family)}. {_nearest(family, ModelConfig.families)}")
    return ModelConfig.families[family]


def model_from_dict(values: Any, where: str) -> ModelConfig:
    """Builds a model's config from a plain mapping, whatever its family.

    Args:
        values: mapping of field names to values; `family` names the family (none: svg, the first there was).
        where: what the mapping is, for messages.

    Raises:
        InputError: `values` is no mapping, names an unknown family or field, or holds a bad value.
    """
    family = values.get("family", FIRST_FAMILY) if isinstance(values, dict) else FIRST_FAMILY
    return from_dict(model_config(family), values, where)


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
    known = _fields(kind)
    for name in values:
        if name in known:
            continue
        others = families_with(name)
        if issubclass(kind, ModelConfig) and others:
            raise InputError(
                f"{where} has the field {name!r} of {family_text(others)}, but the model is of the family "
                f"{kind.family!r}. Leave it out, or choose another family."
            )
        raise InputError(f"{where} has an unknown field {shown(name)}. {_nearest(name, known)}")


def _fields(kind: type) -> list[str]:
    return [spec.name for spec in dataclasses.fields(kind)]


def _nearest(name: Any, known: Iterable[str]) -> str:
    return nearest(name[:80] if isinstance(name, str) else "", known)


def read_yaml(path: str | Path, family: str | None = None) -> dict:
    """Reads a YAML file of the groups and checks their names and their fields' names.

    Args:
        path: of the file.
        family: of the model that the fields are for; None: what the file says, else svg.

    Raises:
        InputError: the file is missing, is not YAML, or names an unknown group, family or field.
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
    types = group_types(family or family_of(values) or FIRST_FAMILY)
    for group, fields in values.items():
        if group not in GROUPS:
            raise InputError(f"config {str(path)!r} has an unknown group {shown(group)}. {_nearest(group, GROUPS)}")
        _check_names(types[group], fields, f"config {str(path)!r}, group {group!r},")
    return values


def family_of(values: dict) -> Any:
    """The family of models that the values of a config name, or None."""
    model = values.get("model")
    return model.get("family") if isinstance(model, dict) else None


def load_config(path: str | Path) -> TrainConfig:
    """Reads a YAML file of the groups; fields that it leaves out have their defaults.

    Raises:
        InputError: as `read_yaml`, or a bad value.
    """
    values = read_yaml(path)
    types = group_types(family_of(values) or FIRST_FAMILY)
    return TrainConfig(**{group: kind(**values.get(group, {})) for group, kind in types.items()})


def shipped_configs() -> dict[str, Path]:
    """The configs that come with stochvid, by name."""
    folder = Path(str(resources.files("stochvid") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def shipped_models() -> dict[str, Path]:
    """The folders of the models that come with stochvid, by name; that of the demo and of the page first."""
    folder = Path(str(resources.files("stochvid") / "weights"))
    return {name: folder / name for name in ("two-digits", "one-digit", "pusht")}


def shipped_clips() -> dict[str, Path]:
    """The stores of held-out clips that lie beside those of the shipped models whose clips are not made, by name."""
    clips = {name: folder / HELD_OUT for name, folder in shipped_models().items()}
    return {name: store for name, store in clips.items() if store.is_dir()}


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
