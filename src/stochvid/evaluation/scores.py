"""Scores of the samples of clips, as they are drawn: only a piece of the samples is ever in memory.

Axes: `S` samples, `T` predicted frames, `K` context, `C H W` image.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from stochvid.evaluation.metrics.forecast import Forecast
from stochvid.evaluation.metrics.frames import as_float
from stochvid.evaluation.metrics.registry import METRICS, Kind, Metric, of_kind
from stochvid.evaluation.protocols import Protocol

ENSEMBLE = 100  # metrics of all samples together look at so many, at most


@dataclass(frozen=True)
class Scorer:
    """What scores samples: the metrics, as a protocol defines them, of which there are networks.

    Attributes:
        protocol: whose definitions count.
        networks: of the metrics that need one, by the metric's name.
        tracks: names of those that clips have.
    """

    protocol: Protocol
    networks: Mapping[str, Any] = field(default_factory=dict)
    tracks: Collection[str] = ()

    @classmethod
    def load(
        cls, protocol: Protocol, weights: Mapping[str, Any], device: torch.device, tracks: Collection[str] = ()
    ) -> Self:
        """Loads the networks of which weights are given.

        Args:
            protocol: whose definitions count.
            weights: a file or folder for each metric that needs one, by the metric's name; None: leave it out.
            device: where they are to run.
            tracks: names of those that clips have.

        Raises:
            InputError: weights are missing, broken, or of another network.
        """
        loaders = {metric.name: metric.load for metric in METRICS.values() if metric.load}
        return cls(protocol, {name: loaders[name](path, device) for name, path in weights.items() if path}, tracks)

    @property
    def metrics(self) -> list[Metric]:
        """Those that can be computed."""
        return [
            metric
            for metric in METRICS.values()
            if (metric.load is None or metric.name in self.networks)
            and (metric.track is None or metric.track in self.tracks)
        ]

    def identities(self) -> dict[str, str | None]:
        """The identity of the network of each metric that needs one; None: it is left out."""
        needed = [metric.name for metric in METRICS.values() if metric.load]
        return {name: self.networks[name].identity if name in self.networks else None for name in needed}

    def selecting(self, metric: Metric) -> Metric:
        """The metric by which the best sample is chosen for a metric."""
        return metric if self.protocol.best_by == "each" else METRICS[self.protocol.best_by]


class ClipScores:
    """Scores of one clip, sample after sample.

    Args:
        scorer: what scores.
        context: (K, C, H, W) uint8.
        truth: (T, C, H, W) uint8.
        shown: number of the sample that the metrics of kind clips look at.
        tracks: what is known of the frames, (K + T, …) each, by name.
    """

    def __init__(
        self, scorer: Scorer, context: Tensor, truth: Tensor, shown: int, tracks: Mapping[str, Tensor] | None = None
    ):
        self.scorer, self.context, self.truth, self.shown = scorer, context, truth, shown
        self.tracks = tracks or {}
        self._frames: dict[str, list[Tensor]] = {}  # (S', T) each
        self._ensemble: list[Tensor] = []
        self._drawn = 0
        self._not_finite: list[int] = []
        self._features: dict[str, dict[str, Any]] = {}

    def add(self, samples: Tensor) -> None:
        """Scores the next samples, (S', T, C, H, W) float in [0, 1]."""
        finite = samples.isfinite().flatten(1).all(1)
        self._not_finite += [self._drawn + int(i) for i in torch.nonzero(~finite)]
        forecast = self._forecast(samples)
        values = {"equal": (forecast.squared_error == 0).float().mean(-1)}
        for metric in self._metrics("frame", "average"):
            values |= metric.values(forecast)
        for name, value in values.items():
            self._frames.setdefault(name, []).append(value.where(finite[:, None], torch.nan).cpu())
        room = ENSEMBLE - sum(map(len, self._ensemble))
        if room > 0:
            self._ensemble.append(samples[finite][:room])
        place = self.shown - self._drawn
        if 0 <= place < len(samples) and finite[place]:
            for metric in self._metrics("clips"):
                of_truth, of_sample = metric.function(self._forecast(samples[place : place + 1])).tolist()
                features = {"sample": self.shown, "truth": of_truth, "prediction": of_sample}
                self._features[metric.name] = features
        self._drawn += len(samples)

    def record(self) -> dict:
        """Everything that is kept of the clip, as plain values for JSON; no metrics if no sample was finite."""
        record: dict[str, Any] = {"not_finite": self._not_finite}
        if len(self._not_finite) == self._drawn:
            return record
        frames = {name: torch.cat(parts).double().numpy() for name, parts in self._frames.items()}
        record["equal"] = float(np.nanmean(frames["equal"]))
        for metric in self._metrics("frame"):
            record[metric.name] = self._extremes(metric, frames)
        for metric in self._metrics("average"):
            record |= {name: np.nanmean(frames[name], axis=0).tolist() for name in metric.kept}
        ensemble = self._forecast(torch.cat(self._ensemble))
        for metric in self._metrics("samples"):
            record |= {name: _plain(value) for name, value in metric.values(ensemble).items()}
        return record | self._features

    def _extremes(self, metric: Metric, frames: dict[str, np.ndarray]) -> dict[str, Any]:
        """Values over time of the best, the worst and the mean sample; frames (S, T) of each metric."""
        by = self.scorer.selecting(metric)
        quality = frames[by.name].mean(1) * (1 if by.higher_is_better else -1)
        best, worst, values = int(np.nanargmax(quality)), int(np.nanargmin(quality)), frames[metric.name]
        return {
            "best_sample": best, "best": values[best].tolist(),
            "worst_sample": worst, "worst": values[worst].tolist(),
            "mean": np.nanmean(values, axis=0).tolist(),
        }  # fmt: skip

    def _metrics(self, *kinds: Kind) -> list[Metric]:
        return of_kind(*kinds, among=self.scorer.metrics)

    def _forecast(self, samples: Tensor) -> Forecast:
        return Forecast(
            samples, as_float(self.truth), self.context, self.scorer.protocol, self.scorer.networks, self.tracks
        )


def _plain(values: Tensor) -> Any:
    return (values.double() if values.is_floating_point() else values).tolist()
