"""Fréchet video distance (Unterthiner et al. 2018), on the features of an I3D network that the user has.

The network is a TorchScript file, as `i3d_torchscript.pt`, the conversion of the original that most papers now use.
"""

import hashlib
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stochvid.core.errors import InputError
from stochvid.core.shapes import Float, UInt8
from stochvid.core.untrusted import check_archive, check_directory

TOUCHES_FILES = re.compile(rb"\b(save|from_file|load_tensor)\b")  # all of torch's operators that take a file's name
LEAST_CLIPS = 256  # below, the estimate says more about the number of clips than about the model
LEAST_FRAMES = 10  # I3D halves time three times, and then averages over two


class I3D:
    """Features of videos.

    Args:
        path: the TorchScript file; its network takes (N, 3, T, H, W) float in [0, 255] and the options `rescale`,
            `resize` and `return_features`, and gives (N, features).
        device: where to run it.

    Attributes:
        identity: SHA-256 of the file.

    Raises:
        InputError: there is no such file, or it holds no such network.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu"):
        self.path, self.device = Path(path), device
        if not self.path.is_file():
            raise InputError(
                f"FVD weights: there is no file {str(path)!r}. Give the TorchScript I3D, i3d_torchscript.pt."
            )
        try:
            _check_script(self.path)
            with warnings.catch_warnings():  # torch deprecates the format that everybody's I3D comes in
                warnings.simplefilter("ignore", DeprecationWarning)
                self._network = torch.jit.load(self.path, map_location=device).eval()
        except Exception as error:  # torch's reader raises nearly anything
            first = str(error).strip().split("\n")[0]
            raise InputError(
                f"FVD weights: {str(path)!r} is not a TorchScript file ({first:.100}). Give i3d_torchscript.pt."
            ) from None
        with open(self.path, "rb") as file:
            self.identity = hashlib.file_digest(file, "sha256").hexdigest()

    @torch.inference_mode()
    def __call__(self, videos: UInt8[Tensor, "N T C H W"]) -> Float[np.ndarray, "N D"]:
        """Features of videos (N, T, C, H, W) uint8 with 1 or 3 channels: (N, features) float32.

        Raises:
            InputError: too few frames, other channels, or the network is another one.
        """
        if videos.shape[1] < LEAST_FRAMES or videos.shape[2] not in (1, 3):
            raise InputError(
                f"FVD needs at least {LEAST_FRAMES} frames of 1 or 3 channels, context included; got {videos.shape[1]} "
                f"of {videos.shape[2]}."
            )
        x = videos.to(self.device).float().expand(-1, -1, 3, -1, -1).transpose(1, 2).contiguous()
        try:
            features = self._network(x, rescale=True, resize=True, return_features=True)
            if features.ndim != 2 or len(features) != len(videos) or not features.isfinite().all():
                raise RuntimeError(f"it gave {tuple(features.shape)} for {len(videos)} videos, or values not finite")
        except Exception as error:  # of a program that is another one
            first = str(error).strip().split("\n")[0]
            raise InputError(
                f"FVD weights: {str(self.path)!r} is another network ({first:.150}). Give i3d_torchscript.pt, which "
                "takes (N, 3, T, H, W) and rescale, resize and return_features."
            ) from None
        return features.float().cpu().numpy()


def _check_script(path: Path) -> None:
    """Checks that a TorchScript file asks for no absurd memory, and that its program touches no files.

    TorchScript is a language of its own that can only compute, but for a few operators.

    Raises:
        ValueError: it does.
    """
    check_directory(path)
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)
        if changed := archive.testzip():
            raise ValueError(f"the checksum of {changed!r:.60} is wrong")
        for entry in archive.infolist():
            if "/code/" in entry.filename and (found := TOUCHES_FILES.search(archive.read(entry))):
                raise ValueError(f"its program calls {found[0].decode('ascii', 'replace')!r}, which touches files")


def frechet_distance_of_clips(truths: Sequence[Sequence[float]], samples: Sequence[Sequence[float]]) -> dict[str, Any]:
    """FVD of clips' features, (N, D) each: `value`, None of fewer than two clips, and a `warning` if N is small."""
    result: dict[str, Any] = {
        "value": frechet_distance(np.array(truths), np.array(samples)) if len(truths) > 1 else None
    }
    if len(truths) < LEAST_CLIPS:
        result["warning"] = f"FVD of {len(truths)} clips is far from that of many; use {LEAST_CLIPS} or more."
    return result


def frechet_distance(a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "M D"]) -> float:
    """Fréchet distance of two Gaussians fitted to features: |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½).

    Dowson and Landau (1982), eq. 16. The trace of the root is the sum of the roots of the eigenvalues of Σ_a Σ_b, which
    are the squared singular values of A Bᵀ for Σ_a = AᵀA, Σ_b = BᵀB: no matrix root, and nothing complex, is needed.

    Args:
        a: (N, D), N ≥ 2.
        b: (M, D), M ≥ 2.

    Returns:
        The squared distance, as FID and FVD report it.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    centred = [np.linalg.qr(x, mode="r") if len(x) > x.shape[1] else x for x in centred]  # of the same covariance
    between = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    spread = sum(np.square(x).sum() for x in centred)
    return float(np.square(a.mean(0) - b.mean(0)).sum() + spread - 2 * between)
