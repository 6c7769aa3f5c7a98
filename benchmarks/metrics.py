"""SSIM and PSNR against a loop of scikit-image over frames, as most evaluation scripts have it.

Frames of 64×64 with one channel; both in one process, round after round. The ceiling is how fast the predictions can
be read from memory at all: a sum over them.
"""

import time
from collections.abc import Callable

import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.race import Row, finish, take_turns
from stochvid.core.memory import keep_freed_memory
from stochvid.evaluation.metrics.frames import psnr, ssim

FRAMES = 20
WINDOWS = {
    "7×7 uniform": ({"window": "uniform", "sample_covariance": True}, {"win_size": 7}),
    "11×11 Gaussian": (
        {"window": "gaussian"}, {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    ),
}  # fmt: skip


def metrics(options) -> list[Row]:
    """SSIM and PSNR of 4 clips × 50 samples × 20 frames, against the loop; both keep freed memory."""
    keep_freed_memory()  # as the commands do, for both
    clips, samples = (1, 2) if options.tiny else (4, 50)
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(clips, FRAMES, 1, 64, 64, generator=generator)
    noise = 0.1 * torch.randn(clips, samples, FRAMES, 1, 64, 64, generator=generator)
    prediction = (truth[:, None] + noise).clamp(0, 1)
    y, x = truth.numpy(), prediction.numpy()
    truth, prediction = truth.to(options.device), prediction.to(options.device)
    few = max(1, samples // 5)

    def loop(window: dict) -> list[float]:
        scores = []
        for s in range(few):
            for t in range(FRAMES):
                scores.append(structural_similarity(y[0, t, 0], x[0, s, t, 0], data_range=1.0, **window))
                peak_signal_noise_ratio(y[0, t, 0], x[0, s, t, 0], data_range=1.0)
        return scores

    def ours(window: dict) -> torch.Tensor:
        psnr(prediction, truth)
        return ssim(prediction, truth, **window)

    rows = []
    for name, (our_window, their_window) in WINDOWS.items():
        error = (ours(our_window)[0, :few].flatten().cpu() - torch.tensor(loop(their_window))).abs().max()
        if error > 1e-5:
            raise SystemExit(f"benchmark: SSIM with {name} is off by {error:.3g}.")
        total = clips * samples * FRAMES
        contenders = {
            "scikit-image, frame by frame": (_seconds(loop, their_window, "cpu"), few * FRAMES),
            "stochvid": (_seconds(ours, our_window, options.device), total),
            "reading the frames": (_seconds(lambda _: prediction.sum(), None, options.device), total),
        }
        case = (
            f"SSIM {name} and PSNR, {torch.get_num_threads()} thread(s)"
            if options.device == "cpu"
            else f"SSIM {name} and PSNR"
        )
        rows += take_turns(case, "frames/s", contenders, options.rounds)
    return rows


def _seconds(function: Callable, argument: dict | None, device: str) -> Callable[[], float]:
    def run() -> float:
        begun = time.perf_counter()
        function(argument)
        finish(device)
        return time.perf_counter() - begun

    return run
