"""What is wrong with a model, or with what it is trained on, in sentences with numbers, and what to try next.

Where nothing is wrong, nothing is said. Imports no torch.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stochvid.config import RUN_CONFIG, TRAINING, TrainConfig
from stochvid.data.motion import Motion

if TYPE_CHECKING:
    from stochvid.evaluation.health import Given, Health

UNUSED = 0.05  # nats a step, below which latents say nothing
ALIKE = 0.2  # of the error that futures differ by
EXPLODING = 2.0  # times the truth's sharpness in the last frame
SOFT = 0.5  # of it
OVERFITTED = 1.25  # times the best held-out loss
FEW_CHANGES = 2e-4  # of the pixels: less than one of 64 × 64
SMALL = 8.0  # pixels
BLACK = 8  # of 255
FEW_CLIPS = 10
UNLIKE, USUAL = 3.0, 0.95  # times what so many of the held-out clips have at most


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        name: of its kind.
        text: what, with the number.
        fix: what to try next.
    """

    name: str
    text: str
    fix: str

    def __str__(self) -> str:
        return f"{self.text} {self.fix}"


def findings(
    health: "Health", training: TrainConfig | None, rows: Sequence[dict[str, str]] = (), folder: str = "RUN"
) -> list[Finding]:
    """What is wrong with a model; `data_findings` is what is wrong with its clips.

    Args:
        health: of it.
        training: the run that it comes from, if that is known.
        rows: of that run's `metrics.csv`.
        folder: of the run or model, as its user calls it.
    """
    scores, found = health.rollouts, []
    again = _Again(folder, training)
    if health.latents and health.nats < UNUSED:
        found.append(
            Finding(
                "latents-unused",
                f"Its latents are unused: {health.nats:.2g} nats a step, {health.active} of {health.latents} say "
                "anything, so that all futures are one.",
                f"{again.cheaper('them')}: {again.awake()}",
            )
        )
    elif health.latents and scores.diversity < ALIKE:
        found.append(
            Finding(
                "alike",
                f"Its futures are alike: they differ by {scores.diversity:.0%} of their error, where 100% would be "
                "calibrated.",
                f"{again.cheaper('the latents')}: {again.awake()}",
            )
        )
    if scores.crps >= scores.crps_copy:
        found.append(
            Finding(
                "below-copy-last",
                f"Its futures are worth less than the last given frame, which just stays: CRPS {scores.crps:.3g}, "
                f"that of copy-last {scores.crps_copy:.3g} (lower is better).",
                f"Train it for longer, or by the recipe for own videos: {again.better()}",
            )
        )
    if scores.sharpness_last > EXPLODING * max(1.0, scores.sharpness_first):
        found.append(
            Finding(
                "exploding",
                f"Its futures run away: their sharpness goes from {scores.sharpness_first:.2g} to "
                f"{scores.sharpness_last:.2g} of the truth's in {health.horizon} frames.",
                f"Let it read its own frames while it trains: {again.steady()}",
            )
        )
    elif scores.sharpness_last < SOFT:
        found.append(
            Finding(
                "soft",
                f"Its futures are soft: the last of {health.horizon} frames has {scores.sharpness_last:.2f} of the "
                "truth's sharpness.",
                f"Train it for longer: {again.longer()}",
            )
        )
    if (overfitting := _overfitting(rows)) is not None:
        best, last, step = overfitting
        found.append(
            Finding(
                "overfitted",
                f"It has learned its clips by heart: the held-out loss was {best:.3g} at step {step:,} and is "
                f"{last:.3g} now.",
                f"Use {folder}/best, or give it more clips, or --data.flip true where left and right are alike.",
            )
        )
    return found


def data_findings(motion: Motion, store: str | None, clips: int | None) -> list[Finding]:
    """What is wrong with clips to train on.

    Args:
        motion: of them.
        store: where they are; None: they are made as they are read.
        clips: how many there are to train on; None: these are the held-out ones, of which few may be of any scenes.
    """
    if store is None:
        return []
    found = []
    if motion.contrast < BLACK:
        return [
            Finding(
                "black",
                f"The clips of {store} show nothing: no two pixels differ by more than {motion.contrast} of 255.",
                "Look at what was prepared, and prepare again: --range LOW HIGH says which values are black and white.",
            )
        ]
    if motion.changing < FEW_CHANGES:
        found.append(
            Finding(
                "still",
                f"Hardly anything moves in the clips of {store}: {motion.changing:.2%} of the pixels change from frame "
                "to frame.",
                "Take frames that are farther apart: --data.stride 4, or prepare again with a lower --fps.",
            )
        )
    elif motion.moving < SMALL:
        found.append(
            Finding(
                "small",
                f"What moves in the clips of {store} is small: half of it is in pieces of {motion.moving:g} pixels or "
                "fewer.",
                "Keep more of them: prepare again with a larger --size, or --crop centre.",
            )
        )
    if motion.scenes > 1 and clips is not None:
        found.append(
            Finding(
                "scenes",
                f"The clips of {store} are of two scenes that have nothing in common, as from two cameras.",
                "Train a model of each: prepare them one by one.",
            )
        )
    if clips is not None and clips < FEW_CLIPS:
        found.append(
            Finding(
                "few",
                f"There are {clips} clip(s) to train on in {store}: it will learn them by heart.",
                "Record more, or cut long videos into pieces of some seconds before you prepare them.",
            )
        )
    return found


def unlike(health: "Health", given: "Given", what: str) -> Finding | None:
    """Whether a clip is unlike all that a model knows.

    Args:
        health: of the model.
        given: how it takes the given frames of the clip.
        what: what people call the clip.
    """
    for name, value, known in (
        ("error", given.error, [clip.error for clip in health.given]),
        ("surprise", given.kl, [clip.kl for clip in health.given]),
    ):
        usual = _quantile(known, USUAL)
        if usual > 0 and value > UNLIKE * usual:
            number = f"{value:.3g}" if name == "error" else f"{value:.3g} nats"
            return Finding(
                "unlike",
                f"{what} is unlike the clips that this model was trained on: the {name} of its given frames is "
                f"{number}, of {USUAL:.0%} of the held-out clips at most {usual:.3g}.",
                "Its futures, and its uncertainty, mean little here.",
            )
    return None


def _quantile(values: Sequence[float], share: float) -> float:
    """The value that so many of the values do not exceed; 0 of none."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else 0.0


class _Again:
    """Commands that go on from a model, or begin again with other settings.

    Args:
        folder: of the run or model.
        training: its settings, if they are known.
    """

    def __init__(self, folder: str, training: TrainConfig | None):
        self.folder, self.training = folder, training
        self.is_run = (Path(folder) / RUN_CONFIG).is_file()

    def __call__(self, *settings: str) -> str:
        """Trains anew, with some settings changed."""
        config = f"{self.folder}/{RUN_CONFIG if self.is_run else TRAINING}"
        return shlex.join(["stochvid", "train", "--config", config, *settings, "--out", "NEW"])

    def cheaper(self, latents: str) -> str:
        """What is to be tried so that latents are used."""
        alone = self.training is not None and self.training.adversarial.alone
        return "Nothing but a discriminator wants them used. Train with the VAE" if alone else f"Make {latents} cheaper"

    def awake(self) -> str:
        """With cheaper latents, and what changes weighed."""
        settings = []
        if self.training is not None and self.training.adversarial.alone:  # without a KL there is nothing to pay less
            return self("--adversarial.alone", "false")
        if self.training is not None:
            model, loss = self.training.model, self.training.loss
            settings = ["--model.beta", f"{getattr(model, 'beta', 1e-4) / 10:.2g}"]
            if model.weighs_changes and loss.change_weight is None:
                settings += ["--loss.change_weight", "auto"]
        return self(*settings or ["--model.beta", "1e-5"])

    def steady(self) -> str:
        """With its own frames fed back, or with smaller steps."""
        if self.training is None or not self.training.model.feeds_back:
            return self("--optim.lr", "3e-4")
        fed = self.training.loss.feed_back
        return self("--loss.feed_back", "0.4" if fed is None or fed > 0.4 else "0.1")

    def longer(self) -> str:
        """Twice as long."""
        if self.training is None or not self.is_run:
            return self("--init", self.folder)
        steps = str(2 * self.training.trainer.max_steps)
        return shlex.join(["stochvid", "train", "--resume", self.folder, "--trainer.max_steps", steps])

    def better(self) -> str:
        """By the recipe for own videos, if it was trained on some without it."""
        training = self.training
        if training is not None and training.data.store and not training.model.composes:
            return shlex.join(["stochvid", "train", "--data.store", training.data.store])
        return self.longer()


def _overfitting(rows: Sequence[dict[str, str]]) -> tuple[float, float, int] | None:
    """Best and last held-out loss, and the step of the best, if it has become much worse since."""
    losses = [(float(row["loss"]), int(row["step"])) for row in rows if row["split"] == "val"]
    if len(losses) < 3:
        return None
    (best, step), (last, _) = min(losses), losses[-1]
    return (best, last, step) if last > OVERFITTED * best else None
