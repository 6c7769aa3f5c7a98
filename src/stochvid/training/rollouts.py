"""What a model in training is worth when it predicts: futures of held-out clips, scored at every validation."""

from lightning.pytorch import Callback, LightningModule, Trainer

from stochvid.config import TrainConfig
from stochvid.core.clips import Clips
from stochvid.core.errors import InputError
from stochvid.data.opening import VAL_SEED, open_clips
from stochvid.evaluation.health import GIVEN, Health
from stochvid.evaluation.rollouts import RolloutScores
from stochvid.models.base import VideoModel
from stochvid.training.module import training_of


def held_out_clips(config: TrainConfig, count: int) -> Clips | None:
    """Held-out clips to draw futures of, twice as far as in training where they are long enough; none if none."""
    if not count:
        return None
    length = config.model.context + 2 * config.model.horizon  # that digits stay digits is what one wants to see
    try:
        source = open_clips(config.data, config.model, "held out", length, VAL_SEED)
    except InputError:  # a store of short clips
        source = open_clips(config.data, config.model, "held out", config.model.frames, VAL_SEED)
    return Clips.of_batch(source.__getitems__(range(count)))


class Rollouts(Callback):
    """Draws futures of a few held-out clips at every validation, and scores them.

    Attributes:
        scores: of the last validation; in every process.
    """

    FUTURES = 8

    def __init__(self, config: TrainConfig):
        self.config = config
        self.scores: RolloutScores | None = None
        self.clips = held_out_clips(config, config.trainer.rollout_clips)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws and scores them in the main process."""
        if self.clips is None:
            return
        scores = None
        if trainer.is_global_zero:
            model, clips = training_of(pl_module).final, self.clips.to(pl_module.device)
            scores = RolloutScores.of(model, clips, self.config.model.context, self.FUTURES)
        self.scores = trainer.strategy.broadcast(scores)


def health_of(model: VideoModel, config: TrainConfig) -> Health | None:
    """What futures of held-out clips are worth; None where the config draws none."""
    if not config.trainer.rollout_clips:
        return None
    clips = held_out_clips(config, GIVEN)
    return None if clips is None else Health.of(model, clips.to(next(model.parameters()).device))
