"""Clips for training and validation: batches that are a pure function of (seed, step), on any number of processes."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from stochvid.config import TrainConfig
from stochvid.core.clips import INDEX, Clips
from stochvid.data.motion import look_at
from stochvid.data.opening import VAL_SEED, open_clips
from stochvid.data.stored_clips import StoredClips
from stochvid.data.tracks import Track
from stochvid.models.noise import latent_noise


class ClipData(LightningDataModule):
    """Training clips from the trainer's step on, and fixed held-out clips for validation."""

    def __init__(self, config: TrainConfig):
        super().__init__()
        self.config = config
        length, seed = config.model.frames, config.trainer.seed
        self.train_clips = open_clips(config.data, config.model, "train", length, seed)
        self.val_clips = open_clips(config.data, config.model, "held out", length, VAL_SEED)

    def train_dataloader(self) -> DataLoader:
        """Batches of this process, from the step that the trainer has reached."""
        trainer, workers = self._running(), self._workers()
        steps = _Steps(
            trainer.global_step, trainer.max_steps, self._per_process(), trainer.global_rank, trainer.world_size
        )
        clips: Any = self.train_clips  # all that a loader asks of a `Dataset`, without torch
        return DataLoader(
            clips,
            batch_sampler=steps,
            collate_fn=self._collate(),
            num_workers=workers,
            worker_init_fn=_start_worker,
            pin_memory=trainer.strategy.root_device.type == "cuda",
            persistent_workers=workers > 0,
        )

    def val_dataloader(self) -> DataLoader:
        """The held-out clips of this process."""
        trainer = self._running()
        indices = range(trainer.global_rank, self.config.data.val_clips, trainer.world_size)
        size = self._per_process()
        batches = [list(indices[i : i + size]) for i in range(0, len(indices), size)]
        clips: Any = self.val_clips
        return DataLoader(clips, batch_sampler=batches, collate_fn=self._collate())

    def describe(self) -> str:
        """What is trained on, in a line."""
        return "; ".join(str(clips) for clips in (self.train_clips, self.val_clips))

    @property
    def tracks(self) -> dict[str, Track]:
        """What is known of every frame of the training clips."""
        return self.train_clips.tracks

    def changing(self) -> float:
        """Share of the pixels that change from frame to frame, in the first training clips."""
        return look_at(self.train_clips).changing

    @cached_property
    def digest(self) -> str:
        """Identity of what is trained on, wherever it lies."""
        return self.train_clips.digest(self.config.model.tracks)

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """How the clips of a store look at the world, as `StoredClips.preprocessing`; None of made clips."""
        return self.train_clips.preprocessing() if isinstance(self.train_clips, StoredClips) else None

    def _running(self) -> Trainer:
        assert self.trainer is not None
        return self.trainer

    def _per_process(self) -> int:
        return self.config.data.batch_size // self._running().world_size

    def _collate(self) -> Callable:
        model = self.config.model
        return partial(_add_noise, seed=self.config.trainer.seed, steps=model.frames - 1, shape=model.latent_shape)

    def _workers(self) -> int:
        if self.config.data.workers is not None:
            return self.config.data.workers
        on_gpu = self._running().strategy.root_device.type == "cuda"
        return min(8, (os.cpu_count() or 2) - 1) if on_gpu else 0


class _Steps:
    """Indices of every step's clips: step s of all processes together reads s · batch … (s + 1) · batch − 1.

    It has no length on purpose: Lightning would count epochs by it and restart them on resume.
    """

    def __init__(self, first: int, stop: int, batch: int, rank: int, world: int):
        self.first, self.stop, self.batch, self.rank, self.world = first, stop, batch, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.stop):
            start = (step * self.world + self.rank) * self.batch
            yield list(range(start, start + self.batch))


def _add_noise(batch: dict[str, np.ndarray], seed: int, steps: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """A batch of training: `clips`, their `index`, and the latents' `noise` (B, 1, T − 1, *shape), always the same."""
    noise = latent_noise(seed, batch[INDEX].tolist(), 1, steps, shape)
    return {"clips": Clips.of_batch(batch), INDEX: torch.from_numpy(batch[INDEX]), "noise": noise}


def data_of(trainer: Trainer) -> ClipData:
    """The clips that a trainer trains on."""
    data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it without a word
    assert isinstance(data, ClipData)
    return data


def _start_worker(_: int) -> None:
    """One thread each; Ctrl-C is for the trainer, which stops its workers itself."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
