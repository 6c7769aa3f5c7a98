"""What a metric is given: samples of one clip's future, beside what really happened.

Axes: `S` samples, `T` predicted frames, `K` context frames, `C H W` image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from stochvid.core.shapes import Float, UInt8
from stochvid.evaluation.metrics.frames import mse
from stochvid.evaluation.protocols import Protocol


@dataclass(frozen=True)
class Forecast:
    """Samples of one clip's future, and the truth.

    Attributes:
        samples: (S, T, C, H, W) float32 in [0, 1].
        truth: (T, C, H, W) float32 in [0, 1].
        context: the frames before, (K, C, H, W) uint8.
        protocol: whose definitions of the metrics count.
        networks: of the metrics that need one, by the metric's name.
        tracks: what is known of the frames of context and truth, (K + T, …) each, by name.
    """

    samples: Float[Tensor, "S T C H W"]
    truth: Float[Tensor, "T C H W"]
    context: UInt8[Tensor, "K C H W"]
    protocol: Protocol
    networks: Mapping[str, Any]
    tracks: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def squared_error(self) -> Float[Tensor, "S T C"]:
        """Mean squared error of each sample, frame and channel, (S, T, C) float32: several metrics start from it."""
        return mse(self.samples[None], self.truth[None])[0]

    @property
    def known(self) -> Float[Tensor, "frames C H W"]:
        """Context and truth, (K + T, C, H, W) float32 in [0, 1]."""
        return torch.cat([self.context.to(self.truth) / 255, self.truth])

    def videos(self) -> UInt8[Tensor, "N frames C H W"]:
        """The true video and those of the samples, context in front, as bytes: (1 + S, K + T, C, H, W) uint8."""
        futures = torch.cat([self.truth[None], self.samples])
        made = (futures * 255).round().to(torch.uint8)
        return torch.cat([self.context.expand(len(made), *self.context.shape), made], dim=1)
