"""What each choice that papers leave open does to a number, on one model.

    python -m benchmarks.pitfalls MODEL [--clips 64] [--samples 100]

The starting point is srvp2020; each line changes one thing. docs/evaluation.md has the last result.
"""

import argparse

import numpy as np
import torch
from skimage.metrics import structural_similarity

from stochvid import SVG, load_config
from stochvid.config import TRAINING
from stochvid.evaluation.held_out import find_test_clips
from stochvid.evaluation.metrics.frames import mse, ssim
from stochvid.models.pretrained import find_model

TINT = torch.tensor([1.0, 0.6, 0.3]).view(3, 1, 1)  # makes colour of grey frames, where channels matter


def decibels(error: torch.Tensor) -> torch.Tensor:
    return (-10 * torch.log10(error)).clamp(max=100)


def best(values: torch.Tensor) -> float:
    """Mean over clips of the best sample: (N, S, …) → a number."""
    return values.flatten(2).mean(2).amax(1).mean().item()


def with_borders(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """SSIM whose mean takes in the border, where windows look at mirrored pixels: (N, S, T)."""
    x, y = prediction.double().numpy(), truth.double().numpy()
    result = torch.empty(prediction.shape[:3])
    for n, s, t in np.ndindex(*result.shape):
        _, full = structural_similarity(
            y[n, t, 0], x[n, s, t, 0], data_range=1.0, gaussian_weights=True, use_sample_covariance=False, full=True
        )
        result[n, s, t] = full.mean()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    for name, default in (("clips", 64), ("samples", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    o = parser.parse_args()

    model, config = SVG.from_pretrained(o.model), load_config(find_model(o.model) / TRAINING)
    known, horizon = config.model.context, 2 * config.model.horizon
    clips = find_test_clips(None, config, None).open(known + horizon).read(range(o.clips))["frames"]
    clips = torch.from_numpy(clips).float() / 255
    truth = clips[:, known:]
    futures = torch.cat([model.predict(clip[None, :known], horizon, o.samples).frames for clip in clips])
    error, similar = mse(futures, truth), ssim(futures, truth)  # (N, S, T, C)
    psnr = decibels(error)
    by_ssim = similar.mean((2, 3)).argmax(1)
    rows = torch.arange(o.clips)
    few = futures[rows, by_ssim][:, None]  # the one sample that has the best SSIM

    def line(what: str, psnr_value: float | None, ssim_value: float | None) -> None:
        cells = [f"{what:70}"]
        for value, start, digits in ((psnr_value, best(psnr), 2), (ssim_value, best(similar), 4)):
            cells.append(f"{'':>18}" if value is None else f"{value:8.{digits}f} ({value - start:+.{digits}f})")
        print("  ".join(cells), flush=True)

    print(f"{o.model}: {o.clips} clips, {known} → {horizon} frames, best of {o.samples}; PSNR, SSIM (change)")
    line("srvp2020", best(psnr), best(similar))
    for data_range in (2.0, 255.0):
        line(f"SSIM with data_range {data_range:g}", None, best(ssim(futures, truth, data_range=data_range)))
    line("SSIM, 7×7 uniform window", None, best(ssim(futures, truth, window="uniform")))
    line(
        "SSIM, 7×7 uniform window, sample covariance",
        None,
        best(ssim(futures, truth, window="uniform", sample_covariance=True)),
    )
    line(
        "SSIM as svg2018: that, and data_range 2",
        None,
        best(ssim(futures, truth, window="uniform", sample_covariance=True, data_range=2.0)),
    )
    border = with_borders(few, truth) - ssim(few, truth)[..., 0]
    line("SSIM with borders (the sample with the best SSIM)", None, best(similar) + border.mean().item())
    line("the sample with the best SSIM counts in both", psnr[rows, by_ssim].mean().item(), best(similar))
    line(
        "each frame's best sample (an oracle that no paper allows)",
        *(v.mean(3).amax(1).mean().item() for v in (psnr, similar)),
    )
    line("one sample", best(psnr[:, :1]), best(similar[:, :1]))
    line("best of 10", best(psnr[:, :10]), best(similar[:, :10]))
    line("mean of all samples' scores", psnr.mean().item(), similar.mean().item())
    mean_frame = futures.mean(1, keepdim=True)
    line(
        "the mean of all samples as the prediction",
        best(decibels(mse(mean_frame, truth))),
        best(ssim(mean_frame, truth)),
    )
    line("PSNR of the MSE of all frames of a sample together", decibels(error.mean((2, 3))).amax(1).mean().item(), None)
    as_bytes = (futures * 255).round() / 255
    line("predictions saved as 8 bits", best(decibels(mse(as_bytes, truth))), best(ssim(as_bytes, truth)))
    all_psnr = torch.cat([torch.full_like(psnr[:, :, :1], 100.0).expand(-1, -1, known, -1), psnr], dim=2)
    all_ssim = torch.cat([torch.ones_like(similar[:, :, :1]).expand(-1, -1, known, -1), similar], dim=2)
    line(f"with the {known} given frames, copied, in the mean (100 dB, SSIM 1)", best(all_psnr), best(all_ssim))
    half = horizon // 2
    line(f"only the first {half} predicted frames", best(psnr[:, :, :half]), best(similar[:, :, :half]))
    coloured = mse(few.expand(-1, -1, -1, 3, -1, -1) * TINT, truth.expand(-1, -1, 3, -1, -1) * TINT)
    pooled, apart = decibels(coloured.mean(3)).mean().item(), decibels(coloured).mean().item()
    print(f"in colour (tint 1, 0.6, 0.3): PSNR {apart:.2f} a mean over channels, {pooled:.2f} of all channels together")


if __name__ == "__main__":
    main()
