"""What a model's futures of held-out clips are worth, in a few numbers, beside those of frames that just stay.

Small enough to be computed while a model trains; the metrics are those of `stochvid evaluate`.
"""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from stochvid.core.clips import Clips
from stochvid.evaluation.metrics.registry import HIGHEST_PSNR
from stochvid.evaluation.metrics.samples import crps, diversity, gradient_energy
from stochvid.models.base import VideoModel


@dataclass(frozen=True)
class RolloutScores:
    """Means over clips and predicted frames. PSNR in dB, everything else of values in [0, 1].

    Attributes:
        psnr_best: PSNR of the sample with the best PSNR.
        psnr: mean PSNR of all samples.
        psnr_copy: that of the last given frame, which just stays.
        psnr_mean: that of the mean of the given frames.
        crps: continuous ranked probability score; lower is better.
        crps_copy: that of the last given frame: its mean absolute error.
        crps_mean: that of the mean of the given frames.
        diversity: mean squared error between two samples, divided by that of a sample to the truth: 1 if calibrated.
        sharpness: gradient energy of the samples, divided by that of the truth: 1 as sharp, below blurred.
        sharpness_first: of the first predicted frame alone.
        sharpness_last: of the last one.
    """

    psnr_best: float
    psnr: float
    psnr_copy: float
    psnr_mean: float
    crps: float
    crps_copy: float
    crps_mean: float
    diversity: float
    sharpness: float
    sharpness_first: float
    sharpness_last: float

    @classmethod
    def of(cls, model: VideoModel, clips: Clips, known: int, samples: int, seed: int = 0) -> Self:
        """Draws futures of clips, one clip at a time, and scores them.

        Args:
            model: of any family.
            clips: B clips of `known` frames and those to predict, uint8, on the model's device.
            known: frames to give.
            samples: futures of each clip.
            seed: of the futures.
        """
        fast = model if model.frozen else model.for_inference()
        horizon = clips.frames.shape[1] - known
        per_clip = []
        for i in range(len(clips.frames)):
            clip = clips._replace(
                frames=clips.frames[i : i + 1, :known], tracks={n: x[i : i + 1] for n, x in clips.tracks.items()}
            )
            frames = clips.frames[i].float() / 255
            drawn = fast.predict(clip, horizon, samples, seed).frames[0].float()
            per_clip.append(_scores(drawn, frames[known:], frames[:known]))
        totals = {name: torch.stack([scores[name] for scores in per_clip]).double().mean(0) for name in per_clip[0]}
        gradients, true_gradients = totals["gradient"], totals["true_gradient"].clamp(min=1e-12)
        first, last = (gradients / true_gradients)[[0, -1]].tolist()
        return cls(
            **{spec.name: totals[spec.name].item() for spec in fields(cls) if spec.name in totals},
            diversity=(totals["differing"] / totals["error"].clamp(min=1e-12)).item(),
            sharpness=(gradients.mean() / true_gradients.mean()).item(),
            sharpness_first=first,
            sharpness_last=last,
        )

    def line(self, samples: int) -> str:
        """For people."""
        return (
            f"best of {samples} {self.psnr_best:.2f} dB, mean {self.psnr:.2f} (copy-last {self.psnr_copy:.2f}); CRPS "
            f"{self.crps:.4g} (copy-last {self.crps_copy:.4g}); diversity {self.diversity:.0%} of the error, sharpness "
            f"{self.sharpness:.2f}"
        )


def _scores(drawn: Tensor, truth: Tensor, given: Tensor) -> dict[str, Tensor]:
    """Of samples (S, T, C, H, W) of one clip, its truth (T, C, H, W) and its given frames (K, C, H, W)."""
    errors = (drawn - truth).square().mean((-1, -2, -3))
    psnr = _psnr(errors).mean(1)
    scores = {
        "psnr_best": psnr.max(),
        "psnr": psnr.mean(),
        "crps": crps(drawn, truth).mean(),
        "differing": diversity(drawn).mean(),
        "error": errors.mean(),
        "gradient": gradient_energy(drawn).mean(0),
        "true_gradient": gradient_energy(truth),
    }
    for name, still in (("copy", given[-1]), ("mean", given.mean(0))):
        difference = still - truth
        scores[f"psnr_{name}"] = _psnr(difference.square().mean((-1, -2, -3))).mean()
        scores[f"crps_{name}"] = difference.abs().mean()
    return scores


def _psnr(errors: Tensor) -> Tensor:
    return (-10 * errors.clamp(min=1e-12).log10()).clamp(max=HIGHEST_PSNR)
