"""The adversarial objective: a discriminator tells futures from true clips, and the model learns to deceive it.

It is for models of any family, beside their own loss or alone (`config.AdversarialConfig`).
"""

import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from stochvid.config import AdversarialConfig, TrainConfig
from stochvid.core.clips import Clips, tracks_between
from stochvid.model_configs import KL
from stochvid.models.base import VideoModel
from stochvid.models.discriminator import VideoDiscriminator
from stochvid.models.errors import change_weights, errors
from stochvid.training.objectives import LOSS, Diverged, WeightedTerms, average_gradients

ADVERSARIAL, DISCRIMINATOR = "adversarial", "discriminator"
BETA_1 = 0.5
WON, GONE = 1e-3, 1e-12  # a discriminator's loss, and a pixel's gradient, below which nothing is learned any more
PATIENCE = 500  # steps in a row without anything to learn


class Adversarial(WeightedTerms):
    """A model's terms, and what a discriminator says of its futures under the prior.

    Args:
        config: of the run.
        weights: as of `WeightedTerms`.
        change_weight: likewise.
    """

    lost: Tensor
    last: Tensor

    def __init__(self, config: TrainConfig, weights: dict[str, float], change_weight: float | None = None):
        self.adversarial: AdversarialConfig = config.adversarial
        if self.adversarial.alone:
            weights = {name: weight for name, weight in weights.items() if name != KL}
        super().__init__(weights, config.loss, config.trainer.max_steps, change_weight)
        self.columns = (*self.columns, ADVERSARIAL, DISCRIMINATOR)
        self.begins = self.adversarial.start * config.trainer.max_steps
        c = config.model
        self.discriminator = VideoDiscriminator(c.channels, c.image_size, self.adversarial.channels)
        betas = (BETA_1, 0.999)
        self.adam = Adam(self.discriminator.parameters(), lr=self.adversarial.lr, betas=betas)
        self.register_buffer("lost", torch.zeros(2))  # steps in a row in which either side learned nothing
        self.register_buffer("last", torch.zeros(()))  # loss of the discriminator in its last step
        self.active = False
        self.made: Tensor | None = None  # the last step's futures, with what was given before them
        self.noise: Tensor | None = None  # and what they were drawn with
        self.gradient = torch.zeros(())  # of what was said of them, the largest of a pixel

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """As `Objective.optimizers`."""
        return {DISCRIMINATOR: self.adam}

    def before_step(self, step: int) -> None:
        """As `Objective.before_step`."""
        super().before_step(step)
        self.active = step >= self.begins

    def forward(self, model: VideoModel, clips: Clips, noise: Tensor) -> dict[str, Tensor]:
        """As `Objective.forward`."""
        frames, steps = model.as_input(clips.frames), clips.frames.shape[1] - 1
        made = rollout(model, clips, noise) if self.active or self.adversarial.alone else None
        if self.adversarial.alone:
            assert made is not None
            weight = change_weights(frames, made.shape[1], self.change)
            future = frames[:, model.config.context :]
            terms = self.weighed(errors(tuple(self.weights), made, future, weight=weight), steps)
        else:
            terms = super().forward(model, clips, noise)
        said = found = frames.new_zeros(())
        if self.active:
            assert made is not None
            given = frames[:, : model.config.context]
            made = torch.cat([given, made.to(given.dtype)], 1)
            read = made.view_as(made)  # of its own, so that its gradient is that of what is said alone
            with self.discriminator.at_rest(), self.discriminator.normalised():
                score = self.discriminator(read).to(frames.dtype)
                said = -score.mean() if self.adversarial.loss == "hinge" else (score - 1).square().mean()
                if not self.training:
                    found = self._loss(self.discriminator(frames).to(frames.dtype), score)
            if self.training:
                found = self.last
                read.register_hook(self._note)
                self.made, self.noise = made.detach(), noise
            assert self.adversarial.weight is not None
            terms[LOSS] = terms[LOSS] + steps * self.adversarial.weight * said
        return terms | {ADVERSARIAL: said, DISCRIMINATOR: found.to(said)}

    def after_step(self, model: VideoModel, clips: Clips) -> None:
        """Steps of the discriminator.

        Raises:
            Diverged: one of the two has had nothing to learn for long.
        """
        super().after_step(model, clips)
        if self.made is None or self.noise is None:
            return
        frames = model.as_input(clips.frames)
        for i in range(self.adversarial.steps):
            made = self.made
            if i:  # other futures
                with torch.no_grad():
                    future = rollout(model, clips, self.noise.roll(i, 0))
                    made = torch.cat([frames[:, : model.config.context], future.to(frames.dtype)], 1)
            self.adam.zero_grad()
            with self.discriminator.normalised():
                loss = self._loss(*(self.discriminator(x).to(x.dtype) for x in (frames, made)))
            loss.backward()
            average_gradients(self.discriminator.parameters())
            self.adam.step()
        self.made = None
        self._check(loss.detach().float())

    def _loss(self, true: Tensor, made: Tensor) -> Tensor:
        """The discriminator's, of its scores."""
        if self.adversarial.loss == "hinge":
            return F.relu(1 - true).mean() + F.relu(1 + made).mean()
        return (true - 1).square().mean() + made.square().mean()

    def _note(self, gradient: Tensor) -> None:
        self.gradient = gradient.detach().abs().amax().float()

    def _check(self, loss: Tensor) -> None:
        """Notes whether either side still learns, in all processes together."""
        now = torch.stack([loss, self.gradient])
        if distributed.is_initialized():
            distributed.all_reduce(now)
            now /= distributed.get_world_size()
        self.last = now[0]
        self.lost = (self.lost + 1) * (now < now.new_tensor([WON, GONE]))
        won, gone = (self.lost >= PATIENCE).tolist()
        if won:
            raise Diverged(
                f"the discriminator has won: its loss was below {WON:g} for {PATIENCE} steps, so that nothing is left "
                "to learn. Start again with a lower --adversarial.lr, fewer --adversarial.channels or a larger "
                "--adversarial.weight; the checkpoints of this run are from before."
            )
        if gone:
            raise Diverged(
                f"the model gets no gradient from the discriminator: it was 0 for {PATIENCE} steps. Start again with a "
                "lower --optim.lr or --adversarial.lr; the checkpoints of this run are from before."
            )


def rollout(model: VideoModel, clips: Clips, noise: Tensor) -> Tensor:
    """A future of each clip under the prior, as `VideoModel.predict` draws it, with gradients.

    Args:
        model: in training or not.
        clips: B clips of T frames, the first `config.context` of which are given.
        noise: (B, 1, T − 1, *latent_shape).

    Returns:
        (B, T − context, C, H, W).
    """
    known, frames = model.config.context, clips.frames.shape[1]
    sampled = noise[:, :, : known - 1] if model.config.samples_context else None
    state = model.observe(clips.between(0, known), sampled, decode=False).state
    tracks = tracks_between(clips.tracks, known, frames)
    return model.imagine(state, frames - known, noise[:, :, known - 1 :], tracks, go_on=False).frames[:, 0]
