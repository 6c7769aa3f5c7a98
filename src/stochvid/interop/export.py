"""Models for other programs: two graphs, as ONNX files or as programs of `torch.export`, and what there is to know.

Axes: `B` clips, `N` rows of a rollout (clips × samples), `K` context frames.
"""

import dataclasses
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stochvid.command_options import takes
from stochvid.core.clips import ACTIONS, Clips, tracks_between
from stochvid.core.errors import InputError
from stochvid.core.files import check_free, replacing_folder
from stochvid.interop.graphs import ACTION, NEXT, Graph, graphs_of
from stochvid.interop.options import SUFFIXES, ExportOptions
from stochvid.models.base import VideoModel
from stochvid.models.noise import latent_noise

ABOUT = "export.json"
FORMAT_VERSION = 1
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch-export": ()}
NOTED = ("format_version", "stochvid", "torch", "context", "image_range", "config")  # in the ONNX files themselves
OPSET = 18
TOLERANCE = 1e-4
CHECKED_STEPS = 3
Tensors = dict[str, Tensor]
Run = Callable[[Tensors], Tensors]


class Exported(NamedTuple):
    """What `export_model` wrote.

    Attributes:
        summary: what kind of model it is, in a line.
        sizes: of the files, in bytes, by their names.
        difference: the largest between what the graphs and the model draw, relative to values above 1.
    """

    summary: str
    sizes: dict[str, int]
    difference: float


@takes(ExportOptions)
def export_model(options: ExportOptions) -> Exported:
    """Writes a model as two graphs, `context` and `step`, and `export.json` beside them.

    The graphs are run before the folder appears, and must draw what the model draws.

    Args:
        options: `ExportOptions`, or their fields: the model, the folder, the format, and others by name.

    Returns:
        What was written.

    Raises:
        InputError: a model, format, number or folder that does not work out, a missing package, or graphs that draw
            something else.
    """
    o, out, format = options, Path(options.out), options.format
    check_free(out, ABOUT, o.overwrite)
    _check_packages(format)
    loaded = VideoModel.from_pretrained(o.model)
    frames = loaded.check_context(loaded.config.context if o.context is None else o.context, "--context")
    first, step = graphs_of(loaded)
    with replacing_folder(out) as folder, torch.no_grad(), _quiet():
        about = _describe(loaded, format, frames)
        state = _write(first, first.example(frames), folder, about)
        _write(step, step.example(state), folder, about)
        runs = {name: _open(folder / graph["file"]) for name, graph in about["graphs"].items()}
        difference = _largest_difference(loaded.for_inference(), runs, about)
        if not difference <= TOLERANCE:  # nan is no match either
            raise InputError(
                f"the exported graphs draw frames that differ from the model's by {difference:.1e}, more than "
                f"{TOLERANCE:.0e}: nothing was written. Export with other versions of torch and onnxruntime."
            )
        about["largest_difference"] = difference
        (folder / ABOUT).write_text(
            json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="backslashreplace"
        )
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    print(f"{o.model} → {out}: {loaded.summary}, as {format}")
    for name, size in sizes.items():
        print(f"  {name:14}{size / 1e6:8.2f} MB")
    print(f"Run on random clips, the graphs differ from the model by {difference:.1e} at most.")
    print("A loop that needs neither stochvid nor (with ONNX) torch is in docs/export.md.")
    return Exported(loaded.summary, sizes, difference)


def _check_packages(format: str) -> None:
    for name in NEEDED[format]:
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(
                f"--format {format} needs the package {name}, which does not load here ({error}). Install it: "
                "pip install 'stochvid[export]'; or take --format torch-export."
            ) from None


# ------------------------------------------------------------------------------------------------------ description


def _describe(model: VideoModel, format: str, context: int) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "format": format,
        "stochvid": version("stochvid"),
        "torch": torch.__version__,
        "summary": model.summary,
        "context": context,
        "latent_shape": [*model.latent_shape],
        "image_range": [0.0, 1.0],
        "config": dataclasses.asdict(model.config),
        "graphs": {},
    }


def _signature(graph: Graph, format: str, inputs: Tensors, outputs: Tensors) -> dict[str, Any]:
    def listed(tensors: Tensors) -> list[dict[str, Any]]:
        return [
            {"name": name, "shape": [graph.rows, *x.shape[1:]], "dtype": str(x.dtype).removeprefix("torch.")}
            for name, x in tensors.items()
        ]

    return {"file": graph.name + SUFFIXES[format], "inputs": listed(inputs), "outputs": listed(outputs)}


# ----------------------------------------------------------------------------------------------- writing and reading


def _write(graph: Graph, inputs: Tensors, folder: Path, about: dict[str, Any]) -> Tensors:
    """Writes a graph and enters it in `about`; what it gives for the inputs that it is traced with comes back."""
    outputs = graph(inputs)
    entry = about["graphs"][graph.name] = _signature(graph, about["format"], inputs, outputs)
    rows = torch.export.Dim(graph.rows)
    shapes = {name: {0: rows} for name in inputs}
    program = torch.export.export(graph, (inputs,), dynamic_shapes=(shapes,), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names the folders of this machine
    if about["format"] == "torch-export":
        torch.export.save(program, folder / entry["file"])
    else:
        _write_onnx(graph, program, folder / entry["file"], about)
    return outputs


def _write_onnx(graph: Graph, program: torch.export.ExportedProgram, path: Path, about: dict[str, Any]) -> None:
    """One file with the weights in it, without the exporter's notes."""
    import onnx
    from onnxscript import optimizer

    signature = about["graphs"][graph.name]
    inputs, outputs = ([x["name"] for x in signature[side]] for side in ("inputs", "outputs"))
    made = torch.onnx.export(
        program, (), dynamo=True, opset_version=OPSET, verbose=False, input_names=inputs, output_names=outputs
    )
    assert made is not None  # a program in memory
    # torch lists the gates of an LSTM in another order than ONNX: have its weights put right here, not at every load
    largest = max(x.numel() for x in graph.parameters())
    optimizer.optimize(made.model, input_size_limit=largest, output_size_limit=largest)
    proto = made.model_proto
    proto.graph.name = f"stochvid_{graph.name}"
    for part in (*proto.graph.node, *proto.graph.initializer, *proto.graph.input, *proto.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    proto.graph.ClearField("value_info")  # shapes in between, in symbols of the exporter's
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = graph.rows
    notes = {f"stochvid.{name}": about[name] for name in NOTED}
    notes = {name: x if isinstance(x, str) else json.dumps(x) for name, x in notes.items()}
    onnx.helper.set_model_props(proto, notes)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _open(path: Path) -> Run:
    """A written graph, ready to be run as its users will."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Tensors) -> Tensors:
        found = session.run(names, {name: x.numpy() for name, x in inputs.items()})
        return {name: torch.from_numpy(x) for name, x in zip(names, found, strict=True)}

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what torch's exporters say to their own developers from the user."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    with warnings.catch_warnings():
        for said in ("The tensor attributes? .* assigned during export", r"`isinstance\(treespec, LeafSpec\)`"):
            warnings.filterwarnings("ignore", said)
        try:
            logger.setLevel(logging.ERROR)  # it warns that torchvision is not there
            yield
        finally:
            logger.setLevel(level)


# ---------------------------------------------------------------------------------------------------------- checking


def _largest_difference(model: VideoModel, runs: dict[str, Run], about: dict[str, Any]) -> float:
    """The largest difference between graphs and model in the frames and priors of short rollouts.

    The batches have other sizes than those that the graphs were made with. Values above 1 count relatively.
    """
    c, known = model.config, about["context"] - 1
    generator = torch.Generator().manual_seed(1)
    worst = torch.zeros(())
    for clips, samples in ((1, 1), (3, 2)):
        frames = torch.rand(clips, known + 1, c.channels, c.image_size, c.image_size, generator=generator)
        noise = latent_noise(0, range(clips), samples, known + CHECKED_STEPS, model.latent_shape)
        told = {
            name: torch.randn(clips, known + 1 + CHECKED_STEPS, *shape, generator=generator)
            for name, shape in c.tracks.items()
        }
        state = model.observe(
            Clips(frames, tracks_between(told, 0, known + 1)), noise[:, :, :known], decode=False
        ).state
        future = tracks_between(told, known + 1)
        drawn = model.imagine(state, CHECKED_STEPS, noise[:, :, known:], future, go_on=False)
        wanted = {"frame": drawn.frames, "prior_mean": drawn.prior.mean, "prior_std": drawn.prior.std}
        rows = {name: x.repeat_interleave(samples, 0) for name, x in told.items()}
        found = _roll(runs, about, frames.repeat_interleave(samples, 0), noise.flatten(0, 1), rows, known)
        for name, x in found.items():
            exact = wanted[name].flatten(0, 1)
            worst = torch.maximum(worst, ((x - exact).abs() / exact.abs().clamp(min=1)).max())
    return worst.item()


def _roll(
    runs: dict[str, Run], about: dict[str, Any], frames: Tensor, noise: Tensor, told: Tensors, known: int
) -> Tensors:
    """What the graphs draw, (N, T, …), as the documentation has it."""

    def run(graph: str, values: Tensors) -> Tensors:
        return runs[graph]({x["name"]: values[x["name"]] for x in about["graphs"][graph]["inputs"]})

    given = tracks_between(told, 0, known + 1)
    state = run("context", {"frames": frames, "noise": noise[:, :known]} | given)
    drawn = []
    for t in range(known, noise.shape[1]):
        action = {ACTION: told[ACTIONS][:, t + 1]} if ACTIONS in told else {}
        after = run("step", state | {"noise": noise[:, t]} | action)
        state |= {name.removeprefix(NEXT): x for name, x in after.items() if name.startswith(NEXT)}
        drawn.append({name: x for name, x in after.items() if not name.startswith(NEXT)})
    return {name: torch.stack([step[name] for step in drawn], dim=1) for name in drawn[0]}
