"""What is trained: a model, its objective, its optimiser and its averaged weights, as Lightning takes them."""

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from stochvid.config import OptimConfig, TrainConfig, as_steps
from stochvid.core.errors import InputError
from stochvid.data.tracks import Track
from stochvid.models.base import VideoModel
from stochvid.training.adversarial import Adversarial
from stochvid.training.checkpoint import AtomicCheckpointIO, check_log
from stochvid.training.datamodule import data_of
from stochvid.training.objectives import LOSS, Diverged, Objective, WeightedTerms
from stochvid.training.runs import changed

MOST_CHANGE_WEIGHT = 50.0  # where hardly anything moves, what does is often noise


class Training(LightningModule):
    """The objective, the optimiser and the averaged weights around a model.

    Args:
        config: of the run.
        init: a trained model whose weights to start from.
        objective: what to minimise; None: as the config says.
        tracks: of the training clips, with their statistics; a model that is started from weights keeps its own.
    """

    def __init__(
        self,
        config: TrainConfig,
        init: str | Path | None = None,
        objective: Objective | None = None,
        tracks: Mapping[str, Track] | None = None,
    ):
        super().__init__()
        self.config = config
        self.model: VideoModel = config.model.model_class()(config.model)
        if init is not None:
            self._start_from(init)
        elif tracks is not None:
            self.model.learn(tracks)
        self.average = None
        if config.optim.ema is not None:
            average = partial(moving_average, decay=config.optim.ema)
            self.average = AveragedModel(self.model, avg_fn=average, use_buffers=True).requires_grad_(False)
        self.model.recompute(config.trainer.recompute)
        self.objective = objective or make_objective(config)
        own = [name for name, _ in self.named_parameters() if name.startswith("objective.")]
        self._ddp_params_and_buffers_to_ignore = own  # their gradients are the objective's affair
        self.compute = torch.compile(self.objective.forward) if config.trainer.compile else self.objective
        self.last: dict[str, Tensor] = {}

    @property
    def final(self) -> VideoModel:
        """The weights to validate, sample from and save: the averaged ones where there are such."""
        if self.average is None:
            return self.model
        averaged = self.average.module
        assert isinstance(averaged, VideoModel)
        return averaged

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        self.objective.before_step(self.global_step)
        self.last, self.clips = self.compute(self.model, batch["clips"], batch["noise"]), batch["clips"]
        return self.last[LOSS]

    def on_validation_start(self) -> None:
        """Validates what the last steps minimise, from the first validation on: `best/` is the best by that."""
        self.objective.before_step(self.config.trainer.max_steps)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Loss of held-out clips under fixed latents and the running batch-norm statistics."""
        return {"terms": self.objective(self.final, batch["clips"], batch["noise"]), "clips": len(batch["index"])}

    def configure_gradient_clipping(self, *_: Any, **options: Any) -> None:
        """Clips, and stops before a step that would spoil the weights."""
        limit = self.config.optim.clip_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if not torch.isfinite(norm + self.last[LOSS]):
            lower = "--optim.lr" if self.config.adversarial.weight is None else "--optim.lr or --adversarial.lr"
            raise Diverged(
                f"the loss is {self.last[LOSS].item():.4g} and its gradient {norm.item():.4g} at step "
                f"{self.global_step + 1}. Start again with a lower {lower} or with --optim.clip_norm 1; the "
                "checkpoints of this run are from before."
            )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Moves the weights, the objective's own, and the average: all before any callback sees the step as done."""
        super().optimizer_step(*args, **kwargs)
        with self.trainer.precision_plugin.train_step_context():
            self.objective.after_step(self.model, self.clips)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam, with the learning rate set every step."""
        o = self.config.optim
        adam = torch.optim.Adam(self.model.parameters(), lr=o.lr, betas=(o.beta1, o.beta2), fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            adam, lambda step: learning_rate_scale(step, o, self.config.trainer.max_steps)
        )
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Takes the learning rate from the schedule: a checkpoint holds that of its own run's end."""
        scale = learning_rate_scale(self.global_step, self.config.optim, self.config.trainer.max_steps)
        adam = self.optimizers(use_pl_optimizer=False)
        assert isinstance(adam, torch.optim.Optimizer)
        for group in adam.param_groups:
            group["lr"] = self.config.optim.lr * scale

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the run is, and what it is trained on."""
        checkpoint["config"], checkpoint["data"] = dataclasses.asdict(self.config), data_of(self.trainer).digest
        checkpoint["objective"] = {name: own.state_dict() for name, own in self.objective.optimizers.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up the optimisers of the objective."""
        for name, own in self.objective.optimizers.items():
            own.load_state_dict(checkpoint["objective"][name])

    def check_checkpoint(self, path: Path, data: str) -> None:
        """Checks that this run may continue from a checkpoint.

        Args:
            path: its file.
            data: digest of the training clips.

        Raises:
            InputError: it is damaged, of another run, or of other data.
        """
        checkpoint, what = AtomicCheckpointIO().load_checkpoint(path), f"checkpoint {str(path)!r}"
        try:
            checkpoint["config"]["trainer"].pop("max_steps", None)  # the run's config knows how far it goes
            difference = changed(checkpoint["config"], self.config)
            check_log(checkpoint["log"])
            lacking = set(self.objective.optimizers) - set(checkpoint.get("objective", {}))
        except (LookupError, AttributeError, TypeError, ValueError):
            raise InputError(f"{what} is damaged, or of another version of stochvid.") from None
        if difference or lacking:
            raise InputError(f"{what} is of another run: {difference or f'it lacks {min(lacking)}'}")
        if checkpoint["data"] != data:
            raise InputError(
                f"{what} was trained on other clips than --data.* names now. Give those of its run, or use its weights "
                "in a new run with --init."
            )
        self._check_fit(checkpoint["state_dict"], self.state_dict(), what, "It is of another version of stochvid.")

    def describe(self) -> str:
        """How large the model is, and what makes up a step, in a line."""
        weights = sum(p.numel() for p in self.model.parameters())
        batch, processes = self.config.data.batch_size, self.config.processes
        shared = f" = {processes} processes × {batch // processes}" if processes > 1 else ""
        return (
            f"{weights:,} parameters; {self.config.trainer.precision}; {batch} clips a step{shared}, "
            f"learning rate {self.config.optim.lr:g}"
        )

    def _start_from(self, init: str | Path) -> None:
        loaded, wanted = VideoModel.from_pretrained(init), self.config.model
        if loaded.config.family != wanted.family:
            raise InputError(
                f"--init {str(init)!r} is of the family {loaded.config.family!r}, the model to train of "
                f"{wanted.family!r}. Weights of one are no start for the other."
            )
        weights = loaded.state_dict()
        fix = "Give --model.* as in its config.json."
        self._check_fit(weights, self.model.state_dict(), f"--init {str(init)!r}", fix)
        self.model.load_state_dict(weights)

    @staticmethod
    def _check_fit(found: dict[str, Tensor], wanted: dict[str, Tensor], what: str, fix: str) -> None:
        for name in wanted | found:
            got, needed = (tuple(d[name].shape) if name in d else "nothing" for d in (found, wanted))
            if got != needed:
                raise InputError(
                    f"{what} does not fit the model to train: {name!r} should be {needed}, got {got}. {fix}"
                )


def make_objective(config: TrainConfig, changing: float | None = None) -> Objective:
    """The objective that a config asks for.

    Args:
        config: of the run.
        changing: share of the pixels that change from frame to frame, where `loss.change_weight` is `auto`.
    """
    weight = config.loss.change_weight
    if weight == "auto":
        assert changing is not None
        weight = min((1 - changing) / max(changing, 1e-9), MOST_CHANGE_WEIGHT)
    weights = dict(config.model.term_weights)
    weights[config.model.error] *= config.loss.reconstruction
    for name, more in config.loss.others.items():
        weights[name] = weights.get(name, 0.0) + more
    if config.adversarial.weight is None:
        return WeightedTerms(weights, config.loss, config.trainer.max_steps, weight)
    return Adversarial(config, weights, weight)


def training_of(module: LightningModule) -> Training:
    """What callbacks are handed by Lightning, by its own name."""
    assert isinstance(module, Training)
    return module


def moving_average(average: Tensor, new: Tensor, count: Tensor, decay: float) -> Tensor:
    """An exponential moving average that forgets its start: of `count` values it remembers the last tenth at most."""
    kept = ((1 + count).double() / (10 + count)).clamp(max=decay)  # stays on the device: reading it would wait for it
    return kept * average + (1 - kept) * new


def learning_rate_scale(step: int, optim: OptimConfig, max_steps: int) -> float:
    """What the learning rate is multiplied with at a step (counted from 0): linear warm-up, then cosine decay to 0."""
    scale = min(1.0, (step + 1) / (as_steps(optim.warmup_steps, max_steps) + 1))
    start = optim.decay_start * max_steps
    if optim.decay == "cosine" and step > start:
        scale *= 0.5 * (1 + math.cos(math.pi * min(1.0, (step - start) / (max_steps - start))))
    return scale
