"""SSIM and PSNR against a loop of scikit-image over frames, as most evaluation scripts have it.

    python -m benchmarks.metrics [--clips 4] [--samples 50] [--rounds 7] [--threads N]

Frames of 64×64 with one channel; both in one process, round after round. The ceiling is how fast the predictions can
be read from memory at all: a sum over them.
"""

import argparse
import statistics
import time

import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from stochvid.memory import keep_freed_memory
from stochvid.metrics.frames import psnr, ssim

FRAMES = 20
WINDOWS = {
    "7×7 uniform": ({"window": "uniform", "sample_covariance": True}, {"win_size": 7}),
    "11×11 Gaussian": (
        {"window": "gaussian"}, {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("clips", 4), ("samples", 50), ("rounds", 7), ("threads", torch.get_num_threads())):
        parser.add_argument(f"--{name}", type=int, default=default)
    o = parser.parse_args()
    keep_freed_memory()  # as the commands do, for both
    torch.set_num_threads(o.threads)

    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(o.clips, FRAMES, 1, 64, 64, generator=generator)
    noise = 0.1 * torch.randn(o.clips, o.samples, FRAMES, 1, 64, 64, generator=generator)
    prediction = (truth[:, None] + noise).clamp(0, 1)
    y, x = truth.numpy(), prediction.numpy()
    few = max(1, o.samples // 5)

    def loop(options: dict) -> float:
        begun = time.perf_counter()
        for s in range(few):
            for t in range(FRAMES):
                structural_similarity(y[0, t, 0], x[0, s, t, 0], data_range=1.0, **options)
                peak_signal_noise_ratio(y[0, t, 0], x[0, s, t, 0], data_range=1.0)
        return few * FRAMES / (time.perf_counter() - begun)

    def ours(options: dict) -> float:
        begun = time.perf_counter()
        ssim(prediction, truth, **options)
        psnr(prediction, truth)
        return prediction[..., 0, 0].numel() / (time.perf_counter() - begun)

    def reading() -> float:
        begun = time.perf_counter()
        prediction.sum()
        return prediction[..., 0, 0].numel() / (time.perf_counter() - begun)

    for name, (our_options, their_options) in WINDOWS.items():
        loop(their_options), ours(our_options), reading()
        rounds = [(loop(their_options), ours(our_options), reading()) for _ in range(o.rounds)]
        theirs, mine, ceiling = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratios = sorted(b / a for a, b, _ in rounds)
        print(
            f"{name}, {torch.get_num_threads()} thread(s): loop {theirs:,.0f} frames/s, stochvid {mine:,.0f}, "
            f"{statistics.median(ratios):.1f}× ({ratios[0]:.1f} to {ratios[-1]:.1f}); reading alone {ceiling:,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
