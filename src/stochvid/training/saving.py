"""When a run is saved: checkpoints, the best model, and a clean stop where a signal asks for one."""

import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from stochvid.config import TrainConfig, as_steps
from stochvid.core.devices import machine
from stochvid.core.signals import StopSignals
from stochvid.training.datamodule import data_of
from stochvid.training.module import training_of
from stochvid.training.run_log import RunLog
from stochvid.training.runs import Run


class Checkpoints(Callback):
    """Writes checkpoints, keeps the newest few and the best, and ends training after a step when a signal asked for it.

    The checkpoint of a step that is validated is written after the validation, whose outcome it then holds.
    """

    def __init__(self, config: TrainConfig, run: Run, log: RunLog, signals: StopSignals):
        self.config, self.run, self.run_log, self.signals = config, run, log, signals
        t = config.trainer
        self.every, self.keep = as_steps(t.checkpoint_every, t.max_steps), t.keep_checkpoints
        self.validate_every = as_steps(t.validate_every, t.max_steps)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the signals back from Lightning, which would end a step without a checkpoint; notes a later end."""
        self.signals.take_over()
        if trainer.is_global_zero:
            self.run.record(self.config)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves when it is time, or when somebody asked to stop."""
        step = trainer.global_step
        validates = step % self.validate_every == 0
        if trainer.strategy.reduce_boolean_decision(self.signals.received is not None, all=False):
            self.run.stopped_by = self.signals.received or signal.SIGTERM
            trainer.should_stop = True
            if not validates:
                trainer.limit_val_batches = 0  # else Lightning validates before it stops, and time may be short
        if self._is_due(trainer) and not validates:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the best model, and the checkpoint of this step."""
        best = self.run_log.best[0] == trainer.global_step
        if best and trainer.is_global_zero:
            model = training_of(pl_module).final
            self.run.save_model(model, machine(pl_module.device), data_of(trainer).preprocessing, name="best")
        if trainer.state.fn == TrainerFn.FITTING and (best or self._is_due(trainer)):
            self._save(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        return self.run.stopped_by is not None or step % self.every == 0 or step == trainer.max_steps

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.run.checkpoint_at(trainer.global_step))
        if trainer.is_global_zero:
            best = self.run.checkpoint_at(self.run_log.best[0])
            for old in self.run.checkpoints()[: -self.keep]:
                if old != best:
                    old.unlink()
