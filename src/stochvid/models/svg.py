"""SVG: stochastic video generation with a learned, fixed or no prior (Denton & Fergus, ICML 2018).

Axes: those of `models/base.py`, and `G` features, `Z` latents.
"""

import torch
from torch import Tensor

from stochvid.core.shapes import Float
from stochvid.model_configs import SVGConfig
from stochvid.models.action_input import ActionInput
from stochvid.models.backbones import init_weights, vector_backbone
from stochvid.models.layers import in_format
from stochvid.models.recurrent import FramePredictor, GaussianLSTM
from stochvid.models.svg_base import SVGBase


class SVG(SVGBase):
    """The model of the paper (fig. 2): features and latents are vectors.

    Args:
        config: what to build; `SVG(config).config` travels with the weights.
    """

    config: SVGConfig

    def __init__(self, config: SVGConfig):
        super().__init__(config)
        c = config
        self.encoder, self.decoder = vector_backbone(c.backbone, c.image_size, c.channels, c.base_channels, c.g_dim)
        self.actions = ActionInput(c.action_dim) if c.action_dim else None
        known = c.g_dim + (self.actions.channels if self.actions else 0)
        self.predictor = FramePredictor(known + self.z_dim, c.g_dim, c.rnn_size, c.predictor_layers)
        self.posterior = self.prior = None
        if c.prior != "none":
            self.posterior = GaussianLSTM(known, c.z_dim, c.rnn_size, c.posterior_layers)
        if c.prior == "learned":
            self.prior = GaussianLSTM(known, c.z_dim, c.rnn_size, c.prior_layers)
        self.apply(init_weights)
        in_format(self, torch.channels_last)  # how convolutions are fastest, on CPUs as on GPUs

    @property
    def z_dim(self) -> int:
        """Size Z of the latents; 0 without."""
        return sum(self.latent_shape)

    # -------------------------------------------------------------------------------------------------------- private

    def _encode_steps(
        self, rows: Float[Tensor, "T B C H W"], first: int | None
    ) -> tuple[Float[Tensor, "N G"], list[Tensor], list[Tensor]]:
        """As `SVGBase._encode_steps`; with batch-norm statistics of the batch, a step at a time."""
        if not self.batchwise:
            return super()._encode_steps(rows, first)
        encoded = [self._encode(row) for row in rows]
        skips = [torch.cat(maps) for maps in zip(*(maps for _, maps, _ in encoded), strict=True)]
        return torch.cat([h for h, _, _ in encoded]), skips, [skip[:first] for skip in skips]

    def _decode_steps(self, g: Float[Tensor, "T B S G"], hoisted: list[Tensor]) -> Float[Tensor, "T B S C H W"]:
        """As `SVGBase._decode_steps`; likewise, and a sample of all clips at a time."""
        if not self.batchwise:
            return super()._decode_steps(g, hoisted)
        steps, clips, samples, _ = g.shape
        images = []
        for t in range(steps):
            own = [maps[min(t * clips, len(maps) - clips) :][:clips] for maps in hoisted]
            images += [self._decode(g[t : t + 1, :, s : s + 1], own) for s in range(samples)]
        return torch.cat(images).unflatten(0, (steps, samples)).squeeze(3).transpose(1, 2)
