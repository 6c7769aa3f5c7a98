"""Training from beginning to end: a run folder, a Trainer and its callbacks, and what is found out at the end."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import distributed

from stochvid.config import TrainConfig, as_steps
from stochvid.core.devices import check_compiler, machine, pick_precision, prefer_speed
from stochvid.core.errors import InputError
from stochvid.core.signals import Interrupted, StopSignals
from stochvid.data.places import at_hand, remembered, remembered_model
from stochvid.evaluation.findings import findings
from stochvid.training.checkpoint import AtomicCheckpointIO
from stochvid.training.datamodule import ClipData
from stochvid.training.module import Training, make_objective
from stochvid.training.objectives import Diverged, Objective
from stochvid.training.rollouts import Rollouts, health_of
from stochvid.training.run_log import RunLog
from stochvid.training.runs import METRICS, Run, read_metrics
from stochvid.training.samples import Samples
from stochvid.training.saving import Checkpoints

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"fp32": "32-true", "bf16": "bf16-mixed"}


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    init: str | Path | None = None,
    overwrite: bool = False,
    objective: Objective | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Trains a model and leaves it, with everything about it, in a run folder.

    Args:
        config: what to train, on what, and how.
        out: the run folder; `stochvid.training.runs` says what is in it.
        resume: continue the run that is in `out`, to `config.trainer.max_steps`.
        init: a trained model to start from (fine-tuning).
        overwrite: replace another run in `out`.
        objective: what to minimise; None: as the config says.
        callbacks: of Lightning, called after stochvid's own.

    Returns:
        The run. `run.stopped_by` is the signal that ended it early, or None.

    Raises:
        InputError: settings, data, folders or a checkpoint that do not work out (nothing of an earlier run was changed
            then), or a disk that is full.
        Diverged: the loss became NaN or infinite; the last checkpoint is from before that.
        Interrupted: a second signal did not wait for the end of the step.
    """
    config, init = at_hand(config, Path(out), resume), remembered_model(init)
    device = torch.device("cuda" if config.trainer.device != "cpu" and torch.cuda.is_available() else "cpu")
    config.trainer.precision = pick_precision(config.trainer.precision, device)
    if config.trainer.compile:
        check_compiler(device, "--trainer.compile")
    prefer_speed(device)
    with _quiet_lightning(), StopSignals() as signals, Run(out) as run:
        seed_everything(config.trainer.seed, verbose=False)
        data, rollouts = ClipData(config), Rollouts(config)
        log = RunLog(config, run, rollouts)
        changing = data.changing() if config.loss.change_weight == "auto" else None
        module = Training(config, init, objective or make_objective(config, changing), data.tracks)
        own = [rollouts, log, Samples(config, run, log), Checkpoints(config, run, log, signals)]
        trainer = make_trainer(config, run, [*own, *callbacks])
        config.data = remembered(config.data)  # for what is written; messages so far name what was given
        run.main = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # Lightning sets it
        check = partial(module.check_checkpoint, data=data.digest)
        if run.main:
            run.open_again(config, check) if resume else run.open_new(config, overwrite=overwrite, init=init)
            print(config.to_yaml())
            print(data.describe())
            print(f"{module.describe()}; run folder {run.folder}", flush=True)
            if run.step and run.step < config.trainer.max_steps:
                print(f"goes on at step {run.step} of {config.trainer.max_steps}", flush=True)
        elif resume:
            run.find_checkpoint(check)
        diverged = None
        try:
            trainer.fit(module, datamodule=data, ckpt_path=run.checkpoint, weights_only=True)
            if log.validated < trainer.global_step and not run.stopped_by:
                trainer.validate(module, datamodule=data, verbose=False)
        except Diverged as error:  # in all processes at once
            diverged = error
        except SystemExit:  # Lightning's answer to a signal
            if run.stopped_by is None:
                raise Interrupted(signals.received or signal.SIGTERM) from None
        finally:
            log.close()
        if run.main and diverged is None:
            _finish(run, module, data, machine(device))
        if distributed.is_initialized():  # a process that just ends can take the others down with it
            distributed.barrier()
            distributed.destroy_process_group()
        if run.main and diverged is not None:  # it speaks for all
            raise diverged
    return run


def _finish(run: Run, module: Training, data: ClipData, trained_on: str) -> None:
    """Saves the model with what is known of its health, and says what is wrong with it."""
    health, found = health_of(module.final, module.config), []
    if health is not None:
        found = findings(health, module.config, read_metrics(run.folder / METRICS), str(run.folder))
    told, texts = health.to_json() if health else None, [finding.text for finding in found]
    run.save_model(module.final, trained_on, data.preprocessing, told, texts)
    for finding in found:
        print(f"note: {finding}", file=sys.stderr)


def make_trainer(config: TrainConfig, run: Run, callbacks: list[Callback]) -> Trainer:
    """A Lightning Trainer for CPU, GPU or several machines, as the config says.

    Raises:
        InputError: the devices are not there, or the processes are not as many as were started.
    """
    t = config.trainer
    on_gpu = t.device != "cpu" and torch.cuda.is_available()
    if t.sync_batch_norm and not on_gpu:
        raise InputError(
            "trainer.sync_batch_norm needs GPUs: torch synchronises batch-norm between no others. Leave it out."
        )
    if t.device == "cuda" and not torch.cuda.is_available():
        raise InputError("trainer.device is 'cuda', but torch finds no CUDA GPU here. Use --trainer.device auto.")
    started, wanted = int(os.environ.get("WORLD_SIZE", 0)), t.devices * t.num_nodes
    if started not in (0, wanted):
        raise InputError(
            f"{started} processes were started, but --trainer.devices {t.devices} × --trainer.num_nodes {t.num_nodes} "
            f"asks for {wanted}. Make them equal."
        )
    try:
        return Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=t.devices,
            num_nodes=t.num_nodes,
            precision=PRECISIONS[t.precision],
            max_steps=t.max_steps,
            max_epochs=-1,
            val_check_interval=as_steps(t.validate_every, t.max_steps),
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            sync_batchnorm=t.sync_batch_norm,
            use_distributed_sampler=False,
            default_root_dir=run.folder,
        )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise InputError(f"trainer: {error}") from None


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keeps Lightning from printing tips, device lists and advice that a user of stochvid can do nothing about."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
