"""A trained model with all that belongs to it: the one way in which commands and the page load one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from stochvid.config import TRAINING, TrainConfig, load_config
from stochvid.core.clips import ACTIONS, Clips
from stochvid.core.devices import pick_device
from stochvid.evaluation.findings import Finding, findings, unlike
from stochvid.evaluation.health import Health, given_of
from stochvid.media.clip import Fit
from stochvid.model_configs import ModelConfig
from stochvid.models.action_input import ActionInput
from stochvid.models.base import VideoModel
from stochvid.models.pretrained import WEIGHTS, find_model
from stochvid.training.runs import folder_name, read_preprocessing


@dataclass(frozen=True)
class Trained:
    """A trained model, how its clips were made, and how it was trained.

    Attributes:
        name: as it was asked for.
        folder: where it lies.
        network: its weights, in eval mode.
        device: of the network.
    """

    name: str
    folder: Path
    network: VideoModel
    device: torch.device

    @classmethod
    def open(cls, name: str | Path, device: str | torch.device = "auto") -> Self:
        """Loads a model of any family.

        Args:
            name: as `stochvid.load` takes it.
            device: auto, cpu or cuda; or one that was picked.

        Raises:
            InputError: there is no such model or device, or its files are broken or do not fit each other.
        """
        place = pick_device(device) if isinstance(device, str) else device
        folder = find_model(str(name))
        return cls(str(name), folder, VideoModel.from_pretrained(folder, device=place), place)

    @property
    def config(self) -> ModelConfig:
        """What it is."""
        return self.network.config

    @property
    def label(self) -> str:
        """What its results are called."""
        return folder_name(self.name)

    @cached_property
    def preprocessing(self) -> dict[str, Any]:
        """How its clips were made: `fps`, `stride`, `crop` and `range`, as `runs.read_preprocessing` says.

        Raises:
            InputError: what its folder says of them makes no sense.
        """
        return read_preprocessing(self.folder)

    @cached_property
    def training(self) -> TrainConfig | None:
        """The config of the run that trained it; None: its folder does not say.

        Raises:
            InputError: its `training.yaml` is broken.
        """
        path = self.folder / TRAINING
        return load_config(path) if path.is_file() else None

    @cached_property
    def health(self) -> Health | None:
        """What its futures of held-out clips are worth; None where nobody has measured it.

        Raises:
            InputError: what its folder says of it makes no sense.
        """
        return Health.read(self.folder)

    @property
    def findings(self) -> list[Finding]:
        """What is known to be wrong with it."""
        health = self.health
        return [] if health is None else findings(health, self.training, folder=self.name)

    def unlike(self, given: Clips, what: str) -> Finding | None:
        """Whether a clip is unlike those that it was trained on.

        Args:
            given: its given frames, of one clip.
            what: what people call it.
        """
        health = self.health
        return None if health is None else unlike(health, given_of(self.network, given), what)

    def unlike_actions(self, plans: Sequence[np.ndarray]) -> str:
        """What to say of plans, (…, A) each, whose actions lie far outside of those in training; "" of others."""
        known = getattr(self.network, ACTIONS, None)
        if not plans or not isinstance(known, ActionInput):
            return ""
        every = np.concatenate([plan.reshape(-1, plan.shape[-1]) for plan in plans])
        return known.unlike(torch.from_numpy(every).to(self.device))

    @property
    def fit(self) -> Fit:
        """How frames of another shape become square: as in training."""
        return "crop" if self.preprocessing["crop"] == "centre" else "squash"

    @property
    def knows_digits_alone(self) -> bool:
        """Whether it is known to have been trained on moving digits, and on nothing else."""
        return self.training is not None and self.training.data.store is None

    def sha256(self) -> str:
        """Identity of its weights: the checksum of their file."""
        with open(self.folder / WEIGHTS, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
