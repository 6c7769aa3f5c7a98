"""Scores of the samples of clips, as they are drawn: only a piece of the samples is ever in memory.

Axes: `B` clips, `S` samples, `T` predicted frames, `C H W` image.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stochvid.evaluation.metrics.frames import as_float, mse, ssim
from stochvid.evaluation.metrics.fvd import I3D
from stochvid.evaluation.metrics.lpips import LPIPS
from stochvid.evaluation.metrics.samples import crps, diversity, gradient_energy, ranks
from stochvid.evaluation.protocols import HIGHER_IS_BETTER, METRICS, Protocol

ENSEMBLE = 100  # diversity and calibration look at so many samples, at most, together
HIGHEST_PSNR = 100.0  # dB; equal frames have infinitely many, which no mean survives


@dataclass
class Judges:
    """What scores samples.

    Attributes:
        protocol: whose metrics.
        lpips: or None.
        i3d: for FVD, or None.
    """

    protocol: Protocol
    lpips: LPIPS | None = None
    i3d: I3D | None = None


class ClipScores:
    """Scores of one clip, sample after sample.

    Args:
        judges: what scores.
        context: (K, C, H, W) uint8.
        truth: (T, C, H, W) uint8.
        fvd_sample: number of the sample whose video FVD looks at.
    """

    def __init__(self, judges: Judges, context: Tensor, truth: Tensor, fvd_sample: int):
        self.judges, self.context, self.truth, self.fvd_sample = judges, context, truth, fvd_sample
        self._curves: dict[str, list[Tensor]] = {}  # (S', T) each
        self._ensemble: list[Tensor] = []
        self._drawn, self._not_finite, self._features = 0, [], None

    def add(self, samples: Tensor) -> None:
        """Scores the next samples, (S', T, C, H, W) float in [0, 1]."""
        finite = samples.isfinite().flatten(1).all(1)
        self._not_finite += [self._drawn + int(i) for i in torch.nonzero(~finite)]
        truth, protocol = as_float(self.truth), self.judges.protocol
        error = mse(samples[None], truth[None])[0]
        curves = {
            "psnr": (-10 * torch.log10(error)).clamp(max=HIGHEST_PSNR).mean(-1),
            "ssim": ssim(
                samples[None],
                truth[None],
                window=protocol.window,
                sample_covariance=protocol.sample_covariance,
                data_range=protocol.data_range,
            )[0].mean(-1),
            "mse": error.mean(-1),
            "gradient": gradient_energy(samples),
            "equal": (error == 0).float().mean(-1),
        }
        if self.judges.lpips is not None:
            curves["lpips"] = self.judges.lpips(samples[None], truth[None])[0]
        for name, curve in curves.items():
            self._curves.setdefault(name, []).append(curve.where(finite[:, None], torch.nan).cpu())
        room = ENSEMBLE - sum(map(len, self._ensemble))
        if room > 0:
            self._ensemble.append(samples[finite][:room])
        place = self.fvd_sample - self._drawn
        if self.judges.i3d is not None and 0 <= place < len(samples) and finite[place]:
            made = (samples[place] * 255).round().to(torch.uint8)
            videos = torch.stack([torch.cat([self.context, future]) for future in (self.truth, made)])
            self._features = self.judges.i3d(videos)
        self._drawn += len(samples)

    def record(self) -> dict:
        """Everything that is kept of the clip, as plain values for JSON; no metrics if no sample was finite."""
        record = {"not_finite": self._not_finite}
        if len(self._not_finite) == self._drawn:
            return record
        curves = {name: torch.cat(parts).double().numpy() for name, parts in self._curves.items()}
        means = {name: curve.mean(1) for name, curve in curves.items()}
        names = [name for name in METRICS if name in curves]
        for name in names:
            better = name if self.judges.protocol.best_by == "each" else "ssim"
            sign = 1 if HIGHER_IS_BETTER[better] else -1
            best = int(np.nanargmax(sign * means[better]))
            worst = int(np.nanargmin(sign * means[better]))
            record[name] = {
                "best_sample": best, "best": curves[name][best].tolist(),
                "worst_sample": worst, "worst": curves[name][worst].tolist(),
                "mean": np.nanmean(curves[name], axis=0).tolist(),
            }  # fmt: skip
        truth, ensemble = as_float(self.truth), torch.cat(self._ensemble)
        histogram, alike = ranks(ensemble, truth)
        record |= {
            "equal": float(np.nanmean(curves["equal"])),
            "mse": np.nanmean(curves["mse"], axis=0).tolist(),
            "gradient": np.nanmean(curves["gradient"], axis=0).tolist(),
            "true_gradient": gradient_energy(truth).double().tolist(),
            "diversity": diversity(ensemble).double().tolist(),
            "crps": crps(ensemble, truth).double().tolist(),
            "ranks": histogram.tolist(),
            "alike": int(alike),
        }
        if self._features is not None:
            of_truth, of_sample = self._features.tolist()
            record["fvd"] = {"sample": self.fvd_sample, "truth": of_truth, "prediction": of_sample}
        return record
