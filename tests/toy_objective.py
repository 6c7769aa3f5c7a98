"""A loss with a network and an optimiser of its own, as CONTRIBUTING.md tells: a critic of brightness."""

import torch
from torch import Tensor, nn

from stochvid.training.objectives import LOSS, WeightedTerms, average_gradients


class Critic(WeightedTerms):
    """The model's terms, and what a critic says of the clips' mean frame; it learns to say ½ of true ones."""

    def __init__(self, weights: dict[str, float]):
        super().__init__(weights)
        self.columns = (*weights, "critic")
        self.net = nn.Linear(32, 1)
        self.adam = torch.optim.Adam(self.net.parameters(), lr=1e-2)

    @property
    def optimizers(self):
        return {"critic": self.adam}

    def forward(self, model, clips, noise) -> dict[str, Tensor]:
        seen = model.observe(clips, noise, context=model.config.context)
        critic = self.net(seen.frames.mean((0, 1, 2, 3, 4)).float()).square().mean()
        terms = super().forward(model, clips, noise)
        return terms | {LOSS: terms[LOSS] + 0.1 * critic, "critic": critic}

    def after_step(self, model, clips) -> None:
        true = model.as_input(clips.frames).mean((1, 2, 3)).float()  # (B, 32)
        self.adam.zero_grad()
        (self.net(true) - 0.5).square().mean().backward()
        average_gradients(self.net.parameters())
        self.adam.step()
