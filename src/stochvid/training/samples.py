"""Pictures of what a model in training draws."""

import time
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter

from stochvid.config import TrainConfig
from stochvid.media.pictures import FuturesPicture
from stochvid.media.video import to_bytes, write_png
from stochvid.training.module import training_of
from stochvid.training.rollouts import held_out_clips
from stochvid.training.run_log import RunLog
from stochvid.training.runs import Run


class Samples(Callback):
    """Futures of a few held-out clips: a strip and a GIF in `samples/`, and in TensorBoard.

    They are drawn before the first step, after a minute and at every validation.
    """

    FUTURES = 4
    SOON = 60.0  # seconds

    def __init__(self, config: TrainConfig, run: Run, log: RunLog):
        self.config, self.run, self.run_log = config, run, log  # `log` is taken by Lightning
        self.clips = held_out_clips(config, config.trainer.sample_clips)
        self.begun: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws what it begins with."""
        if trainer.global_step == 0:
            self.begun = time.monotonic()
            self._draw(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draws after a minute, once."""
        if self.begun is not None and time.monotonic() - self.begun > self.SOON:
            self.begun = None
            self._draw(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws."""
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.clips is None or not trainer.is_global_zero:
            return
        known, horizon = self.config.model.context, 2 * self.config.model.horizon
        clips, frames = self.clips.to(pl_module.device), self.clips.frames
        if self.config.model.tracks:
            horizon = min(horizon, frames.shape[1] - known)  # as far as its tracks are known
        futures = training_of(pl_module).final.predict(
            clips._replace(frames=clips.frames[:, :known]), horizon, self.FUTURES
        )
        drawn = to_bytes(futures.frames)
        folder, name = self.run.folder / "samples", f"step-{trainer.global_step:08d}"
        folder.mkdir(exist_ok=True)
        pictures = [
            FuturesPicture(clip[:known], samples, truth=clip[known:])
            for clip, samples in zip(to_bytes(frames), drawn, strict=True)
        ]
        strip = np.concatenate([picture.strip(tile=64) for picture in pictures])
        write_png(folder / f"{name}.png", strip)
        gif = pictures[0].write_gif(folder / f"{name}.gif")
        if (writer := self.run_log.writer) is not None:
            writer.add_image("samples", strip, trainer.global_step, dataformats="HWC")
            _add_gif(writer, "futures", gif, trainer.global_step)
        if (other := self.run_log.other) is not None:
            other.picture("samples", folder / f"{name}.png", trainer.global_step)


def _add_gif(writer: SummaryWriter, tag: str, gif: Path, step: int) -> None:
    """An animated GIF as a TensorBoard image: `add_video` would need another video library."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    props = iio.improps(gif)
    image = Summary.Image(
        height=props.shape[1], width=props.shape[2], colorspace=3, encoded_image_string=gif.read_bytes()
    )
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)
