"""LPIPS v0.1 on AlexNet features (Zhang et al. 2018), from weight files that the user has. Needs no torchvision.

The two files are the ones that everybody uses: torchvision's AlexNet (`alexnet-owt-7be5be79.pth`) and the linear heads
of the official repository (`lpips/weights/v0.1/alex.pth`). They are loaded without unpickling code.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stochvid.core.errors import InputError
from stochvid.core.shapes import Float, Frames
from stochvid.evaluation.metrics.frames import as_float
from stochvid.interop.torch_files import read_torch_file
from stochvid.interop.unpickling import StoredTensor

WIDTHS = (64, 192, 384, 256, 256)
SUFFIXES = (".pth", ".pt", ".safetensors")
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the official scaling layer, for values in [−1, 1]
FRAMES_AT_ONCE = 64
LEAST_SIDE = 32  # below, nothing is left for the deeper layers
WHERE = "Give a folder with torchvision's AlexNet (alexnet-owt-7be5be79.pth) and the heads of LPIPS v0.1 (alex.pth)"


class LPIPS(nn.Module):
    """Perceptual distance of frames: differences of unit-normalised features, weighted by linear heads, over space.

    Zhang et al. (2018), equation 1, summed over the five stages of AlexNet.

    Attributes:
        identity: SHA-256 of the weights.
    """

    identity = ""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(  # names and places as in torchvision's AlexNet
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(),
            nn.MaxPool2d(3, stride=2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(),
            nn.MaxPool2d(3, stride=2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.mean: Tensor
        self.std: Tensor
        self.heads = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in WIDTHS)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    @classmethod
    def from_folder(cls, folder: str | Path) -> "LPIPS":
        """Loads AlexNet's convolutions and the five heads.

        Args:
            folder: holds the two files, under any names with the suffix .pth, .pt or .safetensors.

        Raises:
            InputError: a file is missing, broken, or of another network.
        """
        folder, model = Path(folder), cls()
        if not folder.is_dir():
            raise InputError(f"LPIPS weights: {str(folder)!r} is not a folder. {WHERE}.")
        files, unread = {}, []
        for path in sorted(folder.iterdir()):
            if path.suffix in SUFFIXES:
                try:
                    files[path] = _load(path)
                except InputError as error:  # another file than the two, perhaps
                    unread.append(str(error))
        wanted = {
            "AlexNet": {f"features.{name}": tensor for name, tensor in model.features.state_dict().items()},
            "the LPIPS heads": {f"lin{i}.model.1.weight": head for i, head in enumerate(model.heads)},
        }
        for what, expected in wanted.items():
            found = next((path for path, weights in files.items() if expected.keys() <= weights.keys()), None)
            if found is None:
                held = [
                    f"{path.name} has {', '.join(list(w)[:2]) or 'nothing'}, …" for path, w in files.items()
                ] + unread
                raise InputError(
                    f"LPIPS weights: no file in {str(folder)!r} holds {what} ({', '.join(list(expected)[:2])}, …): "
                    f"{'; '.join(held) or 'there is no .pth, .pt or .safetensors file'}. {WHERE}."
                )
            for name, tensor in expected.items():
                given = files[found][name]
                if given.shape != tensor.shape:
                    raise InputError(
                        f"LPIPS weights: {str(found)!r} is of another network: {name} is {tuple(given.shape)} instead "
                        f"of {tuple(tensor.shape)}. {WHERE}."
                    )
                if not given.isfinite().all():
                    raise InputError(f"LPIPS weights: {name} in {str(found)!r} has values that are not finite.")
                tensor.copy_(given)
        weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
        model.identity = hashlib.sha256(weights).hexdigest()
        return model.eval()

    @torch.inference_mode()
    def forward(
        self, prediction: Frames[Tensor, "B S T C H W"], truth: Frames[Tensor, "B T C H W"]
    ) -> Float[Tensor, "B S T"]:
        """LPIPS of each frame.

        Args:
            prediction: (B, S, T, C, H, W), float in [0, 1] or uint8; one channel is shown as grey.
            truth: (B, T, C, H, W), likewise.

        Returns:
            (B, S, T) float32, 0 for equal frames.

        Raises:
            InputError: neither 1 nor 3 channels, or frames below 32 pixels.
        """
        if truth.shape[-3] not in (1, 3) or min(truth.shape[-2:]) < LEAST_SIDE:
            height, width = truth.shape[-2:]
            raise InputError(
                f"LPIPS takes frames of 1 or 3 channels and at least {LEAST_SIDE} pixels a side, got {truth.shape[-3]} "
                f"channels of {height}×{width}."
            )
        samples = prediction.shape[1]
        result = prediction.new_empty(prediction.shape[:3], dtype=torch.float32)
        for clip in range(len(truth)):
            for start in range(0, truth.shape[1], FRAMES_AT_ONCE):
                some = slice(start, start + FRAMES_AT_ONCE)
                of_truth = self._features(truth[clip, some])
                for sample in range(samples):
                    of_sample = self._features(prediction[clip, sample, some])
                    result[clip, sample, some] = sum(
                        ((a - b).square() * head).sum(1).mean((-1, -2))
                        for a, b, head in zip(of_sample, of_truth, self.heads, strict=True)
                    )
        return result

    def _features(self, frames: Frames[Tensor, "N C H W"]) -> list[Float[Tensor, "N _ _ _"]]:
        """Unit-normalised outputs of the five stages for frames (n, C, H, W)."""
        x = (2 * as_float(frames).expand(-1, 3, -1, -1) - 1 - self.mean) / self.std
        stages = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                stages.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return stages


def _load(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict; nothing but tensors is ever unpickled."""
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            loaded, numbers = read_torch_file(path)
            if isinstance(loaded, dict):
                tensors = {name: value for name, value in loaded.items() if isinstance(value, StoredTensor)}
                loaded = {name: torch.from_numpy(numbers(tensor)) for name, tensor in tensors.items()}
    except Exception as error:  # readers raise nearly anything on broken files
        first = str(error).strip().split("\n")[0]
        raise InputError(f"{path.name} cannot be read as weights ({first:.160})") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{path.name} holds a {type(loaded).__name__}, not a state dict")
    return {str(name): tensor.float() for name, tensor in loaded.items() if isinstance(tensor, Tensor)}
