"""SVG′: SVG whose features, states and latents are maps (Villegas et al. 2019, arXiv 1911.01655).

Axes: those of `models/base.py`, and `G` channels of features on h × w cells, `Z` of latents on q × q.
"""

import torch

from stochvid.core.errors import InputError
from stochvid.model_configs import SVGPrimeConfig
from stochvid.models.action_input import ActionInput
from stochvid.models.backbones import NORMS, init_weights, map_backbone
from stochvid.models.composing import MORE
from stochvid.models.conv_recurrent import ConvFramePredictor, ConvRecurrent, GaussianConvLSTM
from stochvid.models.layers import in_format
from stochvid.models.svg_base import SVGBase


class SVGPrime(SVGBase):
    """Encoder and decoder as those of SVG, cut where maps have `map_size` cells a side; ConvLSTMs between them.

    Args:
        config: what to build; it travels with the weights.
    """

    config: SVGPrimeConfig

    def __init__(self, config: SVGPrimeConfig):
        super().__init__(config)
        c = config
        more = MORE if c.composes else 0
        self.encoder, self.decoder = map_backbone(
            c.backbone, c.image_size, c.channels, c.base_channels, c.g_dim, c.map_size, NORMS[c.norm], more
        )
        z_dim = c.latent_shape[0] if c.latent_shape else 0
        self.actions = ActionInput(c.action_dim, c.map_size) if c.action_dim else None
        known = c.g_dim + (self.actions.channels if self.actions else 0)
        self.predictor = ConvFramePredictor(known, c.g_dim, z_dim, c.rnn_size, c.predictor_layers)
        self.posterior = self.prior = None
        pool = c.map_size // c.latent_cells
        if c.prior != "none":
            self.posterior = GaussianConvLSTM(known, c.z_dim, c.rnn_size, c.posterior_layers, pool)
        if c.prior == "learned":
            self.prior = GaussianConvLSTM(known, c.z_dim, c.rnn_size, c.prior_layers, pool)
        for part in (self.encoder, self.decoder):
            part.apply(init_weights)  # narrow ConvLSTMs hand nothing on from N(0, 0.02): they keep torch's own start
        if c.composes and self.posterior is not None:
            self.posterior.begin_sure()
        in_format(self, torch.channels_last)

    def make_fast(self, dtype: torch.dtype | None, compile: bool, batch_statistics: bool) -> None:
        """As `SVGBase.make_fast`, of the convolutions of the recurrent parts, too; their states keep their dtype."""
        if batch_statistics:
            raise InputError(
                "batch-norm statistics of the batch are for models of the family 'svg' alone. Leave them out."
            )
        super().make_fast(dtype, compile, batch_statistics)
        if dtype is not None:
            for part in self.modules():
                if isinstance(part, ConvRecurrent):
                    part.make_fast(dtype)
