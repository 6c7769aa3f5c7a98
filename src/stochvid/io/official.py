"""Checkpoints of the paper's published code (2018), turned into models of ours.

A checkpoint holds whole pickled modules; only their numbers are taken, by the names that the code gave its layers.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stochvid.config import ModelConfig
from stochvid.errors import InputError
from stochvid.io.torch_files import read_torch_file
from stochvid.io.unpickling import Inert, StoredTensor
from stochvid.models.svg import SVG

PARTS = ("encoder", "decoder", "frame_predictor", "posterior")  # and `prior`, in SVG-LP alone
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
CONVOLUTION = ("weight", "bias")


def read_official(path: str | Path) -> SVG:
    """Reads a checkpoint of the published code, without executing anything in it.

    The config records what that code does otherwise than the paper: the future's skips come from the last frame but one
    of the context, the context's latents are the posterior's mean in SVG-FP, and SVG-LP draws its futures with the
    batch-norm statistics of the batch.

    Args:
        path: of the checkpoint.

    Returns:
        The model, in eval mode.

    Raises:
        InputError: the file is missing, broken, names what it should not, or is no such checkpoint.
    """
    held, numbers = read_torch_file(path)
    where = repr(str(path))
    if not isinstance(held, dict) or not isinstance(held.get("opt"), Inert):
        raise InputError(f"{where} is not a checkpoint of the published SVG code: it has no 'opt'.")
    for name in PARTS:
        if not isinstance(held.get(name), Inert):
            raise InputError(f"{where} is not a checkpoint of the published SVG code: it has no module {name!r}.")
    parts = (
        "encoder",
        "decoder",
        "frame_predictor",
        "posterior",
        *(["prior"] if isinstance(held.get("prior"), Inert) else []),
    )
    tensors = {f"{part}.{name}": tensor for part in parts for name, tensor in _tensors(held[part])}
    config = _config(held["opt"].state, held["encoder"].path, tensors, "prior" in parts, where)
    with torch.device("meta"):  # shapes alone: an 'opt' that does not fit the weights shall take no memory
        weights = _weights(SVG(config), tensors, numbers, where)
    model = SVG(config)
    model.load_state_dict(model.state_dict() | weights)  # not in weights: counts of batches, which old versions lack
    return model.eval()


def _tensors(module: Inert, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, StoredTensor]]:
    """Every parameter and buffer of a pickled module, by its dotted name."""
    held = [module.state.get(kind) for kind in ("_parameters", "_buffers", "_modules")]
    parameters, buffers, modules = (part if isinstance(part, dict) else {} for part in held)
    for name, tensor in [*parameters.items(), *buffers.items()]:
        if isinstance(tensor, StoredTensor):
            yield f"{prefix}{name}", tensor
    for name, child in modules.items():
        if isinstance(child, Inert) and depth < 8:
            yield from _tensors(child, f"{prefix}{name}.", depth + 1)


def _config(
    opt: dict[str, Any], encoder: str, tensors: dict[str, StoredTensor], learned: bool, where: str
) -> ModelConfig:
    def option(name: str, default: Any = None) -> Any:
        if name not in opt and default is None:
            raise InputError(f"{where}: its 'opt' has no {name!r}.")
        return opt.get(name, default)

    backbone = next((name for name in ("dcgan", "vgg") if f"models.{name}_" in encoder), None)
    first = tensors.get("encoder.c1.main.0.weight") or tensors.get("encoder.c1.0.main.0.weight")
    if backbone is None or first is None or not first.size:
        raise InputError(
            f"{where}: its encoder is {encoder!r}, expected that of models.dcgan_64, vgg_64 or their _128."
        )
    return ModelConfig(
        image_size=option("image_width"),
        channels=option("channels"),
        backbone=backbone,
        base_channels=first.size[0],
        g_dim=option("g_dim"),
        z_dim=option("z_dim"),
        rnn_size=option("rnn_size"),
        predictor_layers=option("predictor_rnn_layers"),
        posterior_layers=option("posterior_rnn_layers"),
        prior_layers=option("prior_rnn_layers", 1),
        prior="learned" if learned else "fixed",
        future_skip="previous" if option("last_frame_skip", False) else "second_last",
        context_latent="sample" if learned else "mean",
        context=option("n_past"),
        horizon=option("n_future"),
        beta=option("beta"),
        batch_statistics=learned,
    )


def _weights(
    model: SVG, tensors: dict[str, StoredTensor], numbers: Callable[[StoredTensor], np.ndarray], where: str
) -> dict[str, torch.Tensor]:
    """Our state dict from their tensors: joined weights are split, everything is checked and used up."""
    weights, left = {}, dict(tensors)
    wanted = model.state_dict()
    for theirs, ours in _names(model):
        if theirs not in left:
            raise InputError(f"{where} has no {theirs!r}, which a {model.config.backbone} of its 'opt' needs.")
        values = torch.from_numpy(numbers(left.pop(theirs)))
        halves = [values]
        if len(ours) == 2:
            axis = 0 if isinstance(model.decoder.stages[0].d, torch.nn.ConvTranspose2d) else 1  # of the input channels
            halves = list(values.chunk(2, axis)) if values.ndim == 4 else [values]
        shapes = [tuple(half.shape) for half in halves]
        expected = [tuple(wanted[name].shape) for name in ours]
        if shapes != expected:
            raise InputError(f"{where}: {theirs!r} has shape {tuple(values.shape)}, which does not fit its 'opt'.")
        for name, half in zip(ours, halves, strict=True):
            weights[name] = half.to(wanted[name].dtype)
    stray = [name for name in left if not name.endswith("num_batches_tracked") and ".hidden" not in name]
    if stray:
        raise InputError(f"{where} has {stray[0]!r}, which has no place in a {model.config.backbone} of its 'opt'.")
    return weights


def _names(model: SVG) -> Iterator[tuple[str, list[str]]]:
    """Their name of every tensor, and ours, or the two of ours that a joined weight becomes."""
    stages = len(model.encoder.stages)
    vgg = model.config.backbone == "vgg"

    def layer(theirs: str, ours: str, fields: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
        for field in fields:
            yield f"{theirs}.{field}", [f"{ours}.{field}"]

    def block(theirs: str, ours: str, place: int) -> Iterator[tuple[str, list[str]]]:
        """A convolution and its batch-norm, at places of a sequence of ours."""
        yield from layer(f"{theirs}.0", f"{ours}.{place}", CONVOLUTION)
        yield from layer(f"{theirs}.1", f"{ours}.{place + 1}", BATCH_NORM)

    for i, stage in enumerate(model.encoder.stages):
        for j in range(len(stage) // 3):  # convolution, batch-norm, LeakyReLU
            yield from block(f"encoder.c{i + 1}.{f'{j}.' if vgg else ''}main", f"encoder.stages.{i}", 3 * j)
    yield from block(f"encoder.c{stages + 1}", "encoder.head", 0)

    yield from block("decoder.upc1", "decoder.head", 0)
    for i, stage in enumerate(model.decoder.stages):
        name, ours = f"decoder.upc{i + 2}", f"decoder.stages.{i}"
        last = i == stages - 1
        joined = name if last and not vgg else f"{name}.{'0.' if vgg else ''}main"
        yield f"{joined}.0.weight", [f"{ours}.d.weight", f"{ours}.skip.weight"]
        yield f"{joined}.0.bias", [f"{ours}.bias"]
        if len(stage.then):
            yield from layer(f"{joined}.1", f"{ours}.then.0", BATCH_NORM)
        if vgg and last:
            yield from layer(f"{name}.1", f"{ours}.then.2", CONVOLUTION)
        elif vgg:
            for j in range(1, 1 + (len(stage.then) - 2) // 3):
                yield from block(f"{name}.{j}.main", f"{ours}.then", 3 * j - 1)

    heads = {"output.0": "head", "mu_net": "mean", "logvar_net": "log_var"}
    for theirs, ours in (("frame_predictor", "predictor"), ("posterior", "posterior"), ("prior", "prior")):
        part = getattr(model, ours)
        if part is None:
            continue
        yield from layer(f"{theirs}.embed", f"{ours}.embed", CONVOLUTION)
        for i in range(part.lstm.num_layers):
            for field in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                yield f"{theirs}.lstm.{i}.{field}", [f"{ours}.lstm.{field}_l{i}"]
        for name, mine in heads.items():
            if hasattr(part, mine):
                yield from layer(f"{theirs}.{name}", f"{ours}.{mine}", CONVOLUTION)
