"""The log of a run: metrics.csv, TensorBoard and other loggers, and what people see while it goes on."""

import csv
import dataclasses
import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from stochvid.config import TrainConfig, as_steps
from stochvid.core.files import replacing
from stochvid.core.progress import duration
from stochvid.evaluation.rollouts import RolloutScores
from stochvid.model_configs import term_text
from stochvid.training.checkpoint import FIRST_NAMES
from stochvid.training.module import training_of
from stochvid.training.objectives import LOSS
from stochvid.training.rollouts import Rollouts
from stochvid.training.runs import CRPS, FIRST_COLUMNS, LAST_COLUMNS, METRICS, Run, read_metrics

if TYPE_CHECKING:
    from stochvid.training.loggers import OtherLogger


class RunLog(Callback):
    """`metrics.csv`, TensorBoard and the progress bar, from the mean losses since the last line.

    The loss and its terms are per step of a clip (divided by T − 1). A checkpoint holds what was added up since
    the last line, so that the lines of a continued run are those of an uninterrupted one.

    Attributes:
        best: step of the best validation, and what it is the best by: the CRPS of rollouts, or else the loss.
        newest: the same of the last validation.
        validated: step of the last validation.
    """

    def __init__(self, config: TrainConfig, run: Run, rollouts: Rollouts):
        self.config, self.run, self.rollouts = config, run, rollouts
        self.best_by = CRPS if config.trainer.rollout_clips else LOSS
        self.steps_per_clip = config.model.frames - 1
        self.train = self.val = _Mean(())
        self.best, self.newest, self.validated = (0, math.inf), (0, math.inf), 0
        self.paused: float | None = None
        self.file: TextIO | None = None
        self.writer: SummaryWriter | None = None
        self.other: OtherLogger | None = None
        self.bar: tqdm | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the columns from the objective."""
        if self.train.names == ():
            columns = training_of(pl_module).objective.columns
            self.train, self.val = (_Mean((LOSS, *columns)) for _ in range(2))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the logs, now that a checkpoint was accepted, and starts the clock."""
        self._open(trainer)
        # the end of a run is validated after its last checkpoint was written, which does not know of it then
        self.best, self.validated = trainer.strategy.broadcast((self.best, self.validated))
        self.since, self.paused, self.timed, self.begun = time.perf_counter(), None, 0, False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Leaves validation and its pictures out of the time, and notes the learning rate of the step."""
        if self.paused is not None:
            self.since += time.perf_counter() - self.paused
            self.paused = None
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the step; writes a line every `log_every` steps, and shows how it begins."""
        last, count = training_of(pl_module).last, len(batch["index"])
        self.train.add(last, count, self.steps_per_clip)
        self.timed += count * trainer.world_size
        step = trainer.global_step
        if step % self.config.trainer.log_every == 0 or step == trainer.max_steps:
            row = self.train.reduced(trainer)
            row["clips_per_s"] = self.timed / (time.perf_counter() - self.since)
            row["lr"] = self.lr
            self._write(step, "train", row)
            self._show(step, row)
            self.since, self.timed = time.perf_counter(), 0
        elif not self.begun and self.file:
            self._show(step, self._first(last))
        self.begun = True
        if self.bar is not None:
            self.bar.update()

    def _first(self, last: dict[str, Tensor]) -> dict[str, float]:
        """What a line says, of the first step in this process alone: the others may still be at it."""
        terms = {name: last[name].item() for name in self.train.names}
        terms[LOSS] /= self.steps_per_clip
        return terms | {"clips_per_s": self.timed / (time.perf_counter() - self.since)}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self._open(trainer)
        self.paused = time.perf_counter()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Adds up the held-out losses."""
        self.val.add(outputs["terms"], outputs["clips"], self.steps_per_clip)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the line of a validation; ends training where it has not become better for long."""
        self.validated, row = trainer.global_step, self.val.reduced(trainer)
        if (scores := self.rollouts.scores) is not None:
            row |= dataclasses.asdict(scores)
            if self.file:
                self._say(f"step {self.validated}: {scores.line(Rollouts.FUTURES)}")
        self.newest = (self.validated, row[self.best_by])
        self.best = min(self.best, self.newest, key=lambda best: best[1])
        self._write(self.validated, "val", row)
        t = self.config.trainer
        waited = (self.validated - self.best[0]) // as_steps(t.validate_every, t.max_steps)
        if t.patience is not None and waited >= t.patience and trainer.state.fn == TrainerFn.FITTING:
            trainer.should_stop = True
            if self.file:
                self._say(f"stopped early: no validation was better than that of step {self.best[0]}; see best/")

    def _say(self, text: str) -> None:
        """A line for people, above the progress bar where there is one."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Puts the sums since the last line, of every process, into a checkpoint."""
        here = torch.cat([self.train.sums, self.train.sums.new_tensor([self.train.clips])])
        here = here.to(pl_module.device)  # sums that were just begun are not there yet, and NCCL gathers nothing else
        everywhere = trainer.strategy.all_gather(here).reshape(-1, len(here))
        checkpoint["log"] = {"names": self.train.names, "sums": everywhere.tolist()}
        checkpoint["log"] |= {"best": self.best, "best_by": self.best_by, "validated": self.validated}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Goes on from them; of other processes than there were, the first takes all."""
        log = checkpoint["log"]
        self.validated = log["validated"]
        if log.get("best_by", LOSS) == self.best_by:  # earlier versions, and other settings, knew the loss alone
            self.best = tuple(log["best"])
        sums = torch.tensor(log["sums"])
        if len(sums) != trainer.world_size:
            sums = torch.cat([sums.sum(0, keepdim=True), sums.new_zeros(trainer.world_size - 1, sums.shape[1])])
        *own, clips = sums[trainer.global_rank].tolist()
        known = dict(zip(log.get("names", FIRST_NAMES), own, strict=True))
        self.train.sums, self.train.clips = (
            torch.tensor([known.get(name, 0.0) for name in self.train.names]),
            int(clips),
        )

    def close(self) -> None:
        """Closes the logs."""
        for thing in (self.bar, self.writer, self.other, self.file):
            if thing is not None:
                thing.close()

    def _open(self, trainer: Trainer) -> None:
        """On resume, what was logged after the checkpoint is forgotten."""
        if self.file is not None or not trainer.is_global_zero:
            return
        step, path = self.run.step, self.run.folder / METRICS
        scores = [spec.name for spec in dataclasses.fields(RolloutScores)] if self.config.trainer.rollout_clips else []
        columns = (*FIRST_COLUMNS, *self.train.names[1:], *scores, *LAST_COLUMNS)
        ends = {"train": step, "val": step if trainer.max_steps > step else self.validated}  # else it comes again
        rows = read_metrics(path) if self.run.checkpoint else []
        kept = [row for row in rows if int(row["step"]) <= ends[row["split"]]]
        for row in kept:
            if row["split"] == "val" and int(row["step"]) > self.validated:
                self.validated = int(row["step"])
                if row.get(self.best_by):
                    found = self.validated, float(row[self.best_by])
                    self.best = min(self.best, found, key=lambda best: best[1])
        with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)
        self.file = open(path, "a", newline="", encoding="utf-8")  # noqa: SIM115  (closed by `close`)
        self.csv = csv.DictWriter(self.file, columns)
        self.writer = _open_tensorboard(self.run.folder / "tensorboard", step)
        if self.config.trainer.logger is not None:
            from stochvid.training.loggers import OtherLogger  # Lightning's loggers take a while

            self.other = OtherLogger(self.config, self.run.folder, step > 0)
        if sys.stderr.isatty():
            self.bar = tqdm(total=self.config.trainer.max_steps, initial=step, unit="step", dynamic_ncols=True)

    def _show(self, step: int, row: dict[str, float]) -> None:
        """The progress bar on a terminal, a line where the output is kept."""
        terms = [term_text(name, row[name]) for name in self.train.names]
        text = f"{', '.join(terms)}, {row['clips_per_s']:.3g} clips/s"
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
        elif self.file:
            left = (self.config.trainer.max_steps - step) * self.config.data.batch_size / max(row["clips_per_s"], 1e-9)
            print(
                f"step {step}/{self.config.trainer.max_steps}: {text}, {'' if self.begun else 'about '}"
                f"{duration(left)} left",
                file=sys.stderr,
                flush=True,
            )

    def _write(self, step: int, split: str, row: dict[str, float]) -> None:
        if not self.file:
            return
        shown = {name: f"{value:.6g}" for name, value in row.items()}
        self.csv.writerow({"step": step, "split": split, **shown})
        self.file.flush()
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(f"{split}/{name}", value, step)
        if self.other is not None:
            self.other.scalars({f"{split}/{name}": value for name, value in row.items()}, step)


class _Mean:
    """Means of named terms over clips, of this process and then of all; the first is the loss."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names
        self._begin()

    def _begin(self) -> None:
        self.sums, self.clips = torch.zeros(len(self.names)), 0

    def add(self, terms: dict[str, Tensor], clips: int, steps: int) -> None:
        loss, *others = (terms[name] for name in self.names)
        values = torch.stack([loss / steps, *others]).detach()
        self.sums = self.sums.to(values) + clips * values  # stays on the device: reading it would wait for it
        self.clips += clips

    def reduced(self, trainer: Trainer) -> dict[str, float]:
        """The means over all processes; starts anew."""
        here = torch.cat([self.sums, self.sums.new_tensor([self.clips])])
        *sums, clips = trainer.strategy.reduce(here, reduce_op="sum").tolist()
        self._begin()
        return {name: total / max(clips, 1) for name, total in zip(self.names, sums, strict=True)}


def _open_tensorboard(folder: Path, step: int) -> SummaryWriter | None:
    """A writer that forgets what came after a step; none where the folder has a name that TensorBoard cannot write."""
    try:
        known = str(folder).encode() == os.fsencode(folder)
    except UnicodeEncodeError:
        known = False
    if not known:
        print(f"note: TensorBoard cannot write to a folder of this name; {METRICS} has the numbers", file=sys.stderr)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
