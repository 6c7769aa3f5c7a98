"""Checkpoints of the paper's published code (2018), turned into models of ours.

A checkpoint holds whole pickled modules; only their numbers are taken, by the names that the code gave its layers.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import numpy as np
import torch

from stochvid.command_options import takes
from stochvid.core.errors import InputError
from stochvid.core.files import check_free, replacing_folder
from stochvid.core.untrusted import shown
from stochvid.interop.options import ImportOptions
from stochvid.interop.torch_files import Numbers, read_torch_file
from stochvid.interop.unpickling import Inert, StoredTensor
from stochvid.model_configs import SVGConfig
from stochvid.models.layers import in_format
from stochvid.models.pretrained import MODEL_CONFIG, unusable
from stochvid.models.svg import SVG

PARTS = ("encoder", "decoder", "frame_predictor", "posterior")  # and `prior`, in SVG-LP alone
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
CONVOLUTION = ("weight", "bias")
OPTIONS = {
    "image_size": "image_width", "channels": "channels", "g_dim": "g_dim", "z_dim": "z_dim", "rnn_size": "rnn_size",
    "predictor_layers": "predictor_rnn_layers", "posterior_layers": "posterior_rnn_layers", "context": "n_past",
    "horizon": "n_future", "beta": "beta",
}  # fmt: skip  # our names of what their `opt` holds
MOST_HELD = 20_000  # modules, tensors and other things in the modules of a checkpoint: honest ones have some 500
MOST_NAME = 100  # letters of a layer's name
DEEPEST = 8  # module within module: 5 in the published code


@takes(ImportOptions)
def import_official(options: ImportOptions) -> SVG:
    """Turns a checkpoint of the published code into the folder of a model, and says how to draw with it.

    Args:
        options: `ImportOptions`, or their fields: the checkpoint, the folder, and whether a model there is replaced.

    Returns:
        The model, in eval mode.

    Raises:
        InputError: as of `read_official`; or the folder holds something.
    """
    checkpoint, out = options.checkpoint, Path(options.out)
    check_free(out, MODEL_CONFIG, options.overwrite)
    model = read_official(checkpoint)
    with replacing_folder(out) as folder:
        model.save_pretrained(folder)
    print(f"{checkpoint} → {out}: {model.summary}")
    clips, how = "moving-mnist:1", ""
    if model.config.batch_statistics:
        clips, how = "moving-mnist:1 moving-mnist:2", " --batch-statistics"
        print("Its published futures were drawn with the batch-norm statistics of all clips: give two clips or more.")
    print("Name clips of the kind that it was trained on, videos or folders of frames, instead of moving-mnist.")
    print(f"Draw futures with: stochvid predict {quote(str(out))} {clips}{how}")
    return model


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
        InputError: the file is missing, broken, names what it should not, is no such checkpoint, or holds weights that
            no model works with.
    """
    held, numbers = read_torch_file(path)
    where = repr(str(path))
    _check_parts(held, where)
    parts = (*PARTS, *(["prior"] if isinstance(held.get("prior"), Inert) else []))
    tensors = _tensors({part: held[part] for part in parts}, where)
    config = _config(held["opt"].state, held["encoder"].path, tensors, "prior" in parts, where)
    with torch.device("meta"):  # shapes alone: an 'opt' that does not fit the weights shall take no memory
        model = SVG(config)
        weights = _weights(model, tensors, numbers, where)
    if found := unusable(weights):
        raise InputError(
            f"{where}: {found}. Its training diverged, or the file is damaged: take an earlier checkpoint."
        )
    for name, counted in model.state_dict().items():  # batches, which old versions do not count
        weights.setdefault(name, torch.zeros(counted.shape, dtype=counted.dtype))
    model.load_state_dict(weights, assign=True)
    return in_format(model, torch.channels_last).eval()


def _check_parts(held: Any, where: str) -> None:
    """Checks that a file holds the modules of the published code and its options."""
    what, fix = (
        f"{where} is not a checkpoint of the published SVG code: ",
        "Give the .pth file that its training wrote.",
    )
    if isinstance(held, Inert):
        raise InputError(f"{what}it is {held}, not modules and options by name. {fix}")
    if not isinstance(held, dict):
        raise InputError(f"{what}it holds something of type {type(held).__name__}, not modules by name. {fix}")
    if any(isinstance(value, StoredTensor) for value in held.values()):
        first = next(name for name, value in held.items() if isinstance(value, StoredTensor))
        raise InputError(
            f"{what}it has no 'opt' and is a state dict, tensors without their modules (the first is {shown(first)}). "
            f"{fix}"
        )
    if not isinstance(held.get("opt"), Inert):
        raise InputError(f"{what}it has no 'opt', but {', '.join(map(shown, list(held)[:4])) or 'nothing'}. {fix}")
    for name in PARTS:
        if isinstance(held.get(name), dict):
            raise InputError(f"{what}its {name!r} is a state dict, not the module itself. {fix}")
        if not isinstance(held.get(name), Inert):
            raise InputError(f"{what}it has no module {name!r}. {fix}")


def _tensors(parts: dict[str, Inert], where: str) -> dict[str, StoredTensor]:
    """Every parameter and buffer of pickled modules, by its dotted name."""
    found, visited = {}, 0
    waiting = [(f"{name}.", module, 1) for name, module in parts.items()]
    while waiting:
        prefix, module, depth = waiting.pop()
        held = [module.state.get(kind) for kind in ("_parameters", "_buffers", "_modules")]
        for items in held:
            for name, thing in items.items() if isinstance(items, dict) else ():
                visited += 1
                if visited > MOST_HELD or depth > DEEPEST:
                    raise InputError(
                        f"{where} holds too many modules: more than {MOST_HELD:,} things in them, or one within "
                        f"another more than {DEEPEST} times. The published code has no such model."
                    )
                if not isinstance(name, str) or len(name) > MOST_NAME:
                    raise InputError(
                        f"{where} has a layer of the name {shown(name)}, which the published code does not have."
                    )
                if isinstance(thing, StoredTensor):
                    found[f"{prefix}{name}"] = thing
                elif isinstance(thing, Inert) and items is held[2]:
                    waiting.append((f"{prefix}{name}.", thing, depth + 1))
    return found


def _config(
    opt: dict[str, Any], encoder: str, tensors: dict[str, StoredTensor], learned: bool, where: str
) -> SVGConfig:
    def option(name: str, default: Any = None) -> Any:
        if name not in opt and default is None:
            raise InputError(f"{where}: its 'opt' has no {name!r}.")
        return opt.get(name, default)

    backbones: tuple[Literal["dcgan", "vgg"], ...] = ("dcgan", "vgg")
    backbone = next((name for name in backbones if f"models.{name}_" in encoder), None)
    first = tensors.get("encoder.c1.main.0.weight") or tensors.get("encoder.c1.0.main.0.weight")
    if backbone is None or first is None or not first.size:
        raise InputError(
            f"{where}: its encoder is {shown(encoder)}, expected that of models.dcgan_64, vgg_64 or their _128."
        )
    previous = option("last_frame_skip", False)
    if type(previous) is not bool:
        raise InputError(f"{where}: last_frame_skip of its 'opt' must be true or false, got {shown(previous)}.")
    try:
        return SVGConfig(
            **{ours: option(theirs) for ours, theirs in OPTIONS.items()},
            prior_layers=option("prior_rnn_layers", 1),
            backbone=backbone,
            base_channels=first.size[0],
            prior="learned" if learned else "fixed",
            future_skip="previous" if previous else "second_last",
            context_latent="sample" if learned else "mean",
            batch_statistics=learned,
        )
    except InputError as error:
        theirs = OPTIONS | {"prior_layers": "prior_rnn_layers", "base_channels": "the encoder's width"}
        said = re.sub(r"\bmodel\.(\w+)", lambda name: f"{theirs.get(name[1], name[1])} of its 'opt'", str(error))
        raise InputError(f"{where}: {said.removeprefix(f'{where}: ')}") from None


def _weights(model: SVG, tensors: dict[str, StoredTensor], numbers: Numbers, where: str) -> dict[str, torch.Tensor]:
    """Our state dict from their tensors: joined weights are split, everything is checked and used up."""
    weights: dict[str, torch.Tensor] = {}
    left = dict(tensors)
    wanted = model.state_dict()
    axis = 0 if isinstance(model.decoder.stages[0].d, torch.nn.ConvTranspose2d) else 1  # of the input channels
    for theirs, ours in _names(model):
        if theirs not in left:
            raise InputError(f"{where} has no {theirs!r}, which a {model.config.backbone} of its 'opt' needs.")
        tensor, expected = left.pop(theirs), [*wanted[ours[0]].shape]
        if len(ours) == 2:
            expected[axis] *= 2
        if list(tensor.size) != expected:
            raise InputError(
                f"{where}: {theirs!r} has shape {shown(tensor.size)}, which does not fit its 'opt': {tuple(expected)}."
            )
        values = torch.from_numpy(numbers(tensor).astype(np.float32, copy=False))
        weights |= dict(zip(ours, values.chunk(len(ours), axis) if len(ours) == 2 else [values], strict=True))
    stray = [name for name in left if not name.endswith("num_batches_tracked") and ".hidden" not in name]
    if stray:
        raise InputError(
            f"{where} has {shown(stray[0])}, which has no place in a {model.config.backbone} of its 'opt'."
        )
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
    for i, joint in enumerate(model.decoder.stages):
        name, ours = f"decoder.upc{i + 2}", f"decoder.stages.{i}"
        last = i == stages - 1
        joined = name if last and not vgg else f"{name}.{'0.' if vgg else ''}main"
        yield f"{joined}.0.weight", [f"{ours}.d.weight", f"{ours}.skip.weight"]
        yield f"{joined}.0.bias", [f"{ours}.bias"]
        if len(joint.then):
            yield from layer(f"{joined}.1", f"{ours}.then.0", BATCH_NORM)
        if vgg and last:
            yield from layer(f"{name}.1", f"{ours}.then.2", CONVOLUTION)
        elif vgg:
            for j in range(1, 1 + (len(joint.then) - 2) // 3):
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
