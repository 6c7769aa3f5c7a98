"""What there is to know of a trained model before it is trusted: measured on held-out clips, kept beside its weights.

`doctor` says what it means.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from stochvid.config import HEALTH
from stochvid.core.clips import Clips
from stochvid.core.errors import InputError
from stochvid.core.untrusted import read_json, shown
from stochvid.data.motion import Motion
from stochvid.evaluation.rollouts import RolloutScores
from stochvid.models.base import VideoModel

CLIPS, SAMPLES = 16, 8  # of which futures are drawn, and how many of each
GIVEN = 64  # clips whose given frames are looked at
ACTIVE = 0.01  # nats a step, from which on a latent counts as used


@dataclass(frozen=True)
class Given:
    """How a model takes the given frames of a clip.

    Attributes:
        kl: KL(q ‖ p) of them in nats, a mean over the steps.
        error: mean squared error of their reconstruction, of values in [0, 1].
    """

    kl: float
    error: float


@dataclass(frozen=True)
class Health:
    """Of held-out clips.

    Attributes:
        rollouts: of futures, twice as far as in training where clips are long enough.
        clips: how many clips those are.
        samples: futures of each clip.
        horizon: predicted frames.
        nats: KL(q ‖ p) of a step, summed over the latents, along true frames; 0 of a deterministic model.
        active: latents with more than `ACTIVE` nats a step.
        latents: how many there are.
        motion: what moves in them.
        given: how it takes the given frames of each of them.
    """

    rollouts: RolloutScores
    clips: int
    samples: int
    horizon: int
    nats: float
    active: int
    latents: int
    motion: Motion
    given: list[Given]

    @classmethod
    @torch.inference_mode()
    def of(cls, model: VideoModel, clips: Clips) -> Self:
        """Measures a model.

        Args:
            model: of any family.
            clips: B clips of given frames and those to predict, uint8, on the model's device.
        """
        known, frames = model.config.context, clips.frames
        drawn = clips._replace(
            frames=frames[:CLIPS], tracks={name: track[:CLIPS] for name, track in clips.tracks.items()}
        )
        fast = model if model.frozen else model.for_inference()
        seen = fast.observe(drawn, context=known, decode=False)
        nats = torch.zeros(1)
        if seen.posterior is not None and seen.prior is not None:
            nats = seen.posterior.divergence(seen.prior).double().mean((0, 1)).flatten().cpu()
        return cls(
            RolloutScores.of(fast, drawn, known, SAMPLES),
            len(drawn.frames),
            SAMPLES,
            frames.shape[1] - known,
            nats.sum().item(),
            int((nats > ACTIVE).sum()),
            math.prod(model.latent_shape) if model.stochastic else 0,
            Motion.of(frames.cpu().numpy()),
            [given_of(fast, clips.between(0, known), i) for i in range(len(frames))],
        )

    def to_json(self) -> str:
        """For `HEALTH`."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """What a model's folder says; None: nothing.

        Raises:
            InputError: it makes no sense.
        """
        path = folder / HEALTH
        if not path.is_file():
            return None
        try:
            values = read_json(path)
            rollouts = RolloutScores(**_numbers(values.pop("rollouts")))
            motion = Motion(**_numbers(values.pop("motion")))
            given = [Given(**_numbers(clip)) for clip in values.pop("given")]
            return cls(rollouts=rollouts, motion=motion, given=given, **_numbers(values))
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise InputError(
                f"{str(path)!r} is not as it should be: {error!s:.100}. Delete it; stochvid doctor writes it again."
            ) from None


def given_of(model: VideoModel, clips: Clips, number: int = 0) -> Given:
    """How a model takes the given frames of one of these clips; zeros of a single frame."""
    known, one = clips.frames.shape[1], slice(number, number + 1)
    clip = Clips(clips.frames[one], {name: track[one] for name, track in clips.tracks.items()}).between(0, known)
    if known < 2:
        return Given(0.0, 0.0)
    with torch.inference_mode():
        seen = model.observe(clip)
        assert seen.frames is not None
        error = (seen.frames[:, 0].float() - model.as_input(clip.frames[:, 1:]).float()).square().mean().item()
        kl = 0.0
        if seen.posterior is not None and seen.prior is not None:
            kl = seen.posterior.divergence(seen.prior).flatten(2).sum(2).mean().item()
    return Given(kl, error)


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    if any(type(value) not in (int, float) for value in values.values()):
        raise ValueError(shown(values))
    return values
