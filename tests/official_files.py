"""Checkpoints as the published code of 2018 writes them, made from their description: modules of its names and layout.

Nothing here is that code: classes have its names because the names are in its files. The old attribute layout of
PyTorch 0.3 and 0.4 (no counters in batch-norm, a backend in every module) is put in before saving.
"""

import argparse
import sys
import types
import warnings
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn


def _class(module: str, name: str) -> type:
    kind = type(name, (nn.Module,), {"__module__": module})
    sys.modules.setdefault(module, types.ModuleType(module))
    setattr(sys.modules[module], name, kind)
    return kind


@contextmanager
def published_modules(size: int):
    """The classes of the published code, importable (for pickle) within the block."""
    before = set(sys.modules)
    sys.modules["models"] = types.ModuleType("models")
    names = {
        f"models.dcgan_{size}": ("encoder", "decoder", "dcgan_conv", "dcgan_upconv"),
        f"models.vgg_{size}": ("encoder", "decoder", "vgg_layer"),
        "models.lstm": ("lstm", "gaussian_lstm"),
        "torch.nn.backends": (),
        "torch.nn.backends.thnn": (),
    }
    made = {}
    for module, classes in names.items():
        sys.modules.setdefault(module, types.ModuleType(module))
        made |= {f"{module.split('.')[-1].split('_')[0]}.{name}": _class(module, name) for name in classes}

    def backend():
        return None

    backend.__module__, backend.__qualname__ = "torch.nn.backends.thnn", "_get_thnn_function_backend"
    sys.modules["torch.nn.backends.thnn"]._get_thnn_function_backend = backend
    try:
        yield made
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]


def _main(kind: type, conv: nn.Module) -> nn.Module:
    layer = kind()
    layer.main = nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.LeakyReLU(0.2))
    return layer


def _with(kind: type, **children: nn.Module) -> nn.Module:
    module = kind()
    for name, child in children.items():
        setattr(module, name, child)
    return module


def _dcgan(made: dict, c, widths: list[int]):
    down, up, n = made["dcgan.dcgan_conv"], made["dcgan.dcgan_upconv"], len(widths)
    encoder = {
        f"c{i + 1}": _main(down, nn.Conv2d(a, b, 4, 2, 1))
        for i, (a, b) in enumerate(zip([c.channels, *widths[:-1]], widths, strict=True))
    }
    encoder[f"c{n + 1}"] = nn.Sequential(nn.Conv2d(widths[-1], c.g_dim, 4, 1, 0), nn.BatchNorm2d(c.g_dim), nn.Tanh())
    top = nn.ConvTranspose2d(c.g_dim, widths[-1], 4, 1, 0)
    decoder = {"upc1": nn.Sequential(top, nn.BatchNorm2d(widths[-1]), nn.LeakyReLU(0.2))}
    for j, i in enumerate(range(n - 1, 0, -1)):
        decoder[f"upc{j + 2}"] = _main(up, nn.ConvTranspose2d(2 * widths[i], widths[i - 1], 4, 2, 1))
    decoder[f"upc{n + 1}"] = nn.Sequential(nn.ConvTranspose2d(2 * widths[0], c.channels, 4, 2, 1), nn.Sigmoid())
    return _with(made["dcgan.encoder"], **encoder), _with(made["dcgan.decoder"], **decoder)


def _vgg(made: dict, c, widths: list[int]):
    n, depths = len(widths), [2, 2, 3, 3, 3]

    def layers(sizes: list[int]) -> list[nn.Module]:
        return [_main(made["vgg.vgg_layer"], nn.Conv2d(a, b, 3, 1, 1)) for a, b in pairwise(sizes)]

    encoder = {
        f"c{i + 1}": nn.Sequential(*layers([a] + [b] * depths[i]))
        for i, (a, b) in enumerate(zip([c.channels, *widths[:-1]], widths, strict=True))
    }
    encoder[f"c{n + 1}"] = nn.Sequential(nn.Conv2d(widths[-1], c.g_dim, 4, 1, 0), nn.BatchNorm2d(c.g_dim), nn.Tanh())
    encoder["mp"] = nn.MaxPool2d(kernel_size=2, stride=2, padding=0)
    top = nn.ConvTranspose2d(c.g_dim, widths[-1], 4, 1, 0)
    decoder = {"upc1": nn.Sequential(top, nn.BatchNorm2d(widths[-1]), nn.LeakyReLU(0.2))}
    for j, i in enumerate(range(n - 1, 0, -1)):
        decoder[f"upc{j + 2}"] = nn.Sequential(
            *layers([2 * widths[i]] + [widths[i]] * (depths[i] - 1) + [widths[i - 1]])
        )
    last = nn.ConvTranspose2d(widths[0], c.channels, 3, 1, 1)
    decoder[f"upc{n + 1}"] = nn.Sequential(*layers([2 * widths[0], widths[0]]), last, nn.Sigmoid())
    decoder["up"] = nn.UpsamplingNearest2d(scale_factor=2)
    return _with(made["vgg.encoder"], **encoder), _with(made["vgg.decoder"], **decoder)


def _recurrent(kind: type, c, n_in: int, layers: int, **heads: nn.Module) -> nn.Module:
    cells = nn.ModuleList([nn.LSTMCell(c.rnn_size, c.rnn_size) for _ in range(layers)])
    module = _with(kind, embed=nn.Linear(n_in, c.rnn_size), lstm=cells, **heads)
    module.batch_size = 100
    module.hidden = [(torch.ones(100, c.rnn_size), torch.ones(100, c.rnn_size)) for _ in range(layers)]
    return module


def make_checkpoint(made: dict, c, last_frame_skip: bool = False) -> dict:
    """What the published training script saves, with weights far from trivial; `c` is a `SVGConfig` of sizes."""
    widths = [min(c.base_channels * 2**i, c.base_channels * 8) for i in range(c.image_size.bit_length() - 3)]
    encoder, decoder = (_dcgan if c.backbone == "dcgan" else _vgg)(made, c, widths)
    out = nn.Sequential(nn.Linear(c.rnn_size, c.g_dim), nn.Tanh())
    held = {"encoder": encoder, "decoder": decoder}
    held["frame_predictor"] = _recurrent(made["lstm.lstm"], c, c.g_dim + c.z_dim, c.predictor_layers, output=out)
    for name, layers in (("posterior", c.posterior_layers), ("prior", c.prior_layers)):
        if name == "prior" and c.prior != "learned":
            continue
        heads = {head: nn.Linear(c.rnn_size, c.z_dim) for head in ("mu_net", "logvar_net")}
        held[name] = _recurrent(made["lstm.gaussian_lstm"], c, c.g_dim, layers, **heads)
    for part in held.values():
        for name, value in [*part.named_parameters(), *part.named_buffers()]:
            if value.is_floating_point():
                value.data.copy_(
                    torch.rand_like(value) + 0.5 if name.endswith("var") else torch.randn_like(value) * 0.1
                )
    held["opt"] = argparse.Namespace(
        g_dim=c.g_dim, z_dim=c.z_dim, rnn_size=c.rnn_size, n_past=c.context, n_future=c.horizon, channels=c.channels,
        image_width=c.image_size, model=c.backbone, beta=c.beta, last_frame_skip=last_frame_skip,
        predictor_rnn_layers=c.predictor_layers, posterior_rnn_layers=c.posterior_layers,
        prior_rnn_layers=c.prior_layers, dataset="smmnist", batch_size=100, optimizer=torch.optim.Adam, lr=0.002,
    )  # fmt: skip
    return held


def save_checkpoint(held: dict, path, old: bool) -> None:
    """Writes it, in the old stream or as a zip archive; the old one with the attributes of PyTorch 0.4."""
    if old:
        backend = sys.modules["torch.nn.backends.thnn"]._get_thnn_function_backend
        for part in held.values():
            for module in part.modules() if isinstance(part, nn.Module) else []:
                module._backend = backend
                module._buffers.pop("num_batches_tracked", None)
                for name in [
                    name for name in vars(module) if name.startswith(("_non_persistent", "_is_full_backward"))
                ]:
                    vars(module).pop(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Couldn't retrieve source code")
        torch.save(held, path, _use_new_zipfile_serialization=not old)
