"""Networks of LPIPS and FVD in the layout of the files that people have, with random weights."""

import numpy as np
import torch

SHAPES = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
WIDTHS = (64, 192, 384, 256, 256)


def alexnet() -> dict[str, torch.Tensor]:
    """The layout of torchvision's file, its classifier included."""
    g = torch.Generator().manual_seed(0)
    weights = {}
    for place, shape in SHAPES.items():
        weights[f"features.{place}.weight"] = torch.randn(shape, generator=g) * (2 / np.prod(shape[1:])) ** 0.5
        weights[f"features.{place}.bias"] = 0.1 * torch.randn(shape[0], generator=g)
    return weights | {"classifier.1.weight": torch.zeros(8, 8)}


def heads() -> dict[str, torch.Tensor]:
    """The layout of the official file of the heads."""
    g = torch.Generator().manual_seed(1)
    return {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1, generator=g) for i, width in enumerate(WIDTHS)}


class Network(torch.nn.Module):
    """Takes and gives what the usual I3D file does: mean and spread of the pixels, over space, of the first frames."""

    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = True):
        if rescale:
            x = 2 * x / 255 - 1
        return torch.cat([x[:, :, :8].mean(dim=(3, 4)).flatten(1), x[:, :, :8].std(dim=(3, 4)).flatten(1)], dim=1)
