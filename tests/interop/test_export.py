"""Exported graphs draw what the model draws, without it."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import stochvid.interop.export
from commands import STOCHVID
from paths import ROOT
from stochvid import InputError, SVGPrime
from stochvid.cli import main
from stochvid.interop.export import export_model
from stochvid.models.base import VideoModel
from stochvid.models.noise import content_ids, latent_noise
from tiny import BACKBONES, PRIORS, SKIPS, make_clips, narrow, narrow_convlstm, narrow_prime, narrow_sprites

pytestmark = pytest.mark.unchecked  # sizes are symbols while a graph is traced

CLIPS, SAMPLES, HORIZON = 3, 4, 20
KINDS = [  # every prior with every rule for skips, and each backbone with all of either
    (prior, BACKBONES[(i + j) % 2], skip) for i, prior in enumerate(PRIORS) for j, skip in enumerate(SKIPS)
]
DOCS = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
ALONE = "import sys\nassert not {'stochvid', 'torch'} & set(sys.modules), 'the graphs should run without them'\n"

# what people do who have onnxruntime and numpy, and nothing of ours: clips and noise in, frames and prior out
ROLLOUT = """
import sys
import numpy as np
import onnxruntime

folder, horizon = sys.argv[1], int(sys.argv[2])
graphs = {name: onnxruntime.InferenceSession(f"{folder}/{name}.onnx") for name in ("context", "step")}
given = dict(np.load(f"{folder}/given.npz"))


def run(name, values):
    outputs = [x.name for x in graphs[name].get_outputs()]
    inputs = {x.name: values[x.name] for x in graphs[name].get_inputs()}
    return dict(zip(outputs, graphs[name].run(outputs, inputs)))


known = given["frames"].shape[1] - 1
state = run("context", {"frames": given["frames"], "noise": given["noise"][:, :known]})
state = {name: np.repeat(x, given["repeat"], axis=0) for name, x in state.items()}
steps = []
for t in range(horizon):
    after = run("step", state | {"noise": given["future"][:, t]})
    state |= {name[5:]: x for name, x in after.items() if name.startswith("next_")}
    steps.append({name: x for name, x in after.items() if not name.startswith("next_")})
np.savez(f"{folder}/drawn.npz", **{name: np.stack([step[name] for step in steps], 1) for name in steps[0]})
"""


def lively(config) -> VideoModel:
    """A model whose frames depend on everything, but not wildly: float32 rounding stays rounding."""
    gain = 2 if config.family == "sprites" else 6  # that jump about by half a frame are chaos
    torch.manual_seed(0)
    model = config.model_class()(config).eval()
    with torch.no_grad():
        for name, x in model.state_dict().items():
            if name.endswith("running_var"):
                x.uniform_(0.5, 2.0)
            elif x.ndim > 1:
                x.normal_(0, ((2 if x.ndim == 4 else gain) / x[0].numel()) ** 0.5)
            elif x.is_floating_point():
                x.add_(torch.randn_like(x) * 0.1)
    return model


def given(model: VideoModel) -> dict:
    """Clips with the noise that `predict` draws for them: a row for every sample, or for a clip where they begin
    to differ after the context."""
    config, known = model.config, model.config.context - 1
    clips = make_clips(config, config.context, batch=CLIPS).float()
    noise = latent_noise(5, content_ids(clips), SAMPLES, known + HORIZON, model.latent_shape).numpy()
    rows, future = np.concatenate(noise), np.concatenate(noise[:, :, known:])
    frames, repeat = clips.numpy().repeat(SAMPLES, 0), 1
    if not config.samples_context:
        frames, rows, repeat = clips.numpy(), 0 * noise[:, 0], SAMPLES
    return {
        "clips": clips,
        "frames": frames,
        "noise": rows,
        "future": future,
        "repeat": repeat,
    }


def check_equal(model: VideoModel, clips: torch.Tensor, drawn: dict) -> None:
    wanted = model.predict(clips, HORIZON, SAMPLES, seed=5)
    expected = {"frame": wanted.frames}
    if model.stochastic:
        expected |= {"prior_mean": wanted.prior_mean, "prior_std": wanted.prior_std}
    assert set(drawn) == set(expected)
    for name, x in expected.items():
        found = torch.as_tensor(np.asarray(drawn[name])).reshape(x.shape)
        torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    differing = wanted.frames[:, 0] - wanted.frames[:, 1] if model.stochastic else torch.ones(1)
    for seen in (wanted.frames[0, 0, 0].std(), wanted.frames[:, :, 0] - wanted.frames[:, :, -1], differing):
        assert seen.abs().max() > 0.01  # there is something to see, it moves, and samples differ


def check_onnx(model: VideoModel, folder: Path) -> None:
    inputs = given(model)
    clips = inputs.pop("clips")
    np.savez(folder / "given.npz", **inputs)
    words = [sys.executable, "-c", ROLLOUT + ALONE, str(folder), str(HORIZON)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with np.load(folder / "drawn.npz") as drawn:
        check_equal(model, clips, dict(drawn))


def check_torch(model: VideoModel, folder: Path) -> None:
    inputs = {name: torch.as_tensor(x) for name, x in given(model).items()}
    graphs = {name: torch.export.load(folder / f"{name}.pt2").module() for name in ("context", "step")}
    frames, known = inputs["frames"], model.config.context - 1
    latent = model.stochastic
    state = graphs["context"]({"frames": frames} | ({"noise": inputs["noise"][:, :known]} if latent and known else {}))
    state = {name: x.repeat_interleave(int(inputs["repeat"]), 0) for name, x in state.items()}
    steps = []
    for t in range(HORIZON):
        after = graphs["step"](({"noise": inputs["future"][:, t]} if latent else {}) | state)
        state |= {name[5:]: x for name, x in after.items() if name.startswith("next_")}
        steps.append({name: x for name, x in after.items() if not name.startswith("next_")})
    drawn = {name: torch.stack([step[name] for step in steps], 1) for name in steps[0]}
    check_equal(model, inputs["clips"], drawn)


@pytest.fixture(scope="module")
def model():
    return lively(narrow(future_skip="previous"))


@pytest.fixture(scope="module")
def other():
    """A model with other rules."""
    return lively(narrow(prior="fixed", context_latent="mean"))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """A model and its exported graphs, as a user makes them."""
    folder = tmp_path_factory.mktemp("export")
    model.save_pretrained(folder / "model")
    done = subprocess.run(
        [*STOCHVID, "export", "model", "exported"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (folder / "said").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def programs(other, tmp_path_factory):
    """The other model for torch, in place of an earlier export."""
    folder = tmp_path_factory.mktemp("programs")
    other.save_pretrained(folder / "model")
    out = folder / "exported"
    out.mkdir()
    (out / "export.json").write_text("{}")
    (out / "step.onnx").write_text("")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["export", str(folder / "model"), str(out), "--format", "torch-export", "--overwrite"]) == 0
    (folder / "said").write_text(said.getvalue())
    return out


# graphs for torch are made in seconds; those of ONNX are left to the slow tests
EITHER = pytest.mark.parametrize("format", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])


@pytest.fixture
def exported(request, format) -> Path:
    """The graphs of a format, with the model and what the command said beside them."""
    if format == "torch-export":
        return request.getfixturevalue("programs")
    return request.getfixturevalue("folder") / "exported"


# ------------------------------------------------------------------------------------------------ they draw the same


@pytest.mark.slow
def test_a_rollout_in_onnxruntime_alone_equals_predict(model, folder):
    check_onnx(model, folder / "exported")


@pytest.mark.slow
def test_any_number_of_clips_and_rows_can_be_given_and_none_depends_on_the_others(folder):
    about = json.loads((folder / "exported" / "export.json").read_text())
    rng = np.random.default_rng(0)
    for name in ("context", "step"):
        session = onnxruntime.InferenceSession(folder / "exported" / f"{name}.onnx")
        shapes = {x["name"]: x["shape"][1:] for x in about["graphs"][name]["inputs"]}
        inputs = {key: rng.random((5, *shape), dtype=np.float32) for key, shape in shapes.items()}
        five = session.run(None, inputs)
        for i in range(5):
            one = session.run(None, {key: x[i : i + 1] for key, x in inputs.items()})
            for a, b in zip(one, five, strict=True):
                np.testing.assert_allclose(a, b[i : i + 1], atol=1e-5)


def check(tmp_path: Path, format: str, context: int | None = None, make=narrow, **changes) -> None:
    model = lively(make(**changes))
    model.save_pretrained(tmp_path / "model")
    export_model(str(tmp_path / "model"), tmp_path / "out", format, context=context)
    if context is not None:
        model.config.context = context
    (check_onnx if format == "onnx" else check_torch)(model, tmp_path / "out")


def test_programs_of_torch_export_equal_predict(other, programs):
    check_torch(other, programs)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch-export"])
@pytest.mark.parametrize(("prior", "backbone", "skip"), KINDS)
def test_every_kind_of_model_can_be_exported(tmp_path, format, prior, backbone, skip):
    latent = "mean" if prior == "fixed" else "sample"
    check(tmp_path, format, prior=prior, backbone=backbone, future_skip=skip, context_latent=latent, channels=3)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch-export"])
@pytest.mark.parametrize(
    ("context", "changes"),
    [
        (1, {}),
        (1, {"prior": "fixed", "future_skip": "previous"}),
        (1, {"prior": "none"}),
        (5, {"future_skip": "second_last", "predictor_layers": 3, "prior_layers": 2, "posterior_layers": 2}),
        (2, {"image_size": 64, "backbone": "vgg", "future_skip": "second_last"}),
    ],
    ids=str,
)
def test_other_contexts_and_sizes_can_be_exported(tmp_path, format, context, changes):
    check(tmp_path, format, context=context, **changes)


@pytest.mark.parametrize(
    ("format", "changes"),
    [
        ("torch-export", {"future_skip": "mean", "latent_size": 4}),
        ("torch-export", {"output": "composed", "future_skip": "previous"}),
        pytest.param("onnx", {"output": "composed", "future_skip": "last"}, marks=pytest.mark.slow),
        pytest.param("onnx", {"future_skip": "mean", "latent_size": 4}, marks=pytest.mark.slow),
        pytest.param("onnx", {"backbone": "dcgan", "norm": "group", "base_channels": 16}, marks=pytest.mark.slow),
        pytest.param("onnx", {"prior": "fixed", "context": 1, "future_skip": "mean"}, marks=pytest.mark.slow),
        pytest.param("onnx", {"prior": "none", "future_skip": "previous"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_family_with_maps_can_be_exported(tmp_path, format, changes):
    check(tmp_path, format, make=narrow_prime, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["torch-export", "onnx"])
@pytest.mark.parametrize("changes", [{"channels": 3, "sprites": 3}], ids=str)
def test_sprites_can_be_exported(tmp_path, format, changes):
    check(tmp_path, format, make=narrow_sprites, **changes)


@pytest.mark.parametrize("format", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_convlstms_can_be_exported(tmp_path, format):
    check(tmp_path, format, make=narrow_convlstm, channels=3, context=2)


# ------------------------------------------------------------------------------------------------- what is written


@EITHER
def test_the_command_says_what_it_wrote_and_how_far_it_is_from_the_model(exported, format):
    said = (exported.parent / "said").read_text()
    assert re.search(rf"model → .*exported: SVG-[LF]P, DCGAN, 32×32×1, 3 → 3 frames, .* as {format}\n", said)
    graphs = [path for path in exported.iterdir() if path.suffix in (".onnx", ".pt2")]
    assert len(graphs) == 2
    for path in graphs:
        assert re.search(rf"{path.name} +{path.stat().st_size / 1e6:.2f} MB", said)
    difference = float(re.search(r"differ from the model by (\S+) at most", said)[1])
    about = json.loads((exported / "export.json").read_text())
    assert difference == pytest.approx(about["largest_difference"], rel=0.1)
    assert difference < 1e-5


@pytest.mark.slow
def test_export_json_and_onnx_say_what_goes_in_and_comes_out(model, folder):
    about = json.loads((folder / "exported" / "export.json").read_text())
    assert about["config"] == json.loads((folder / "model" / "config.json").read_text())
    assert (about["format_version"], about["context"], about["image_range"]) == (1, 3, [0, 1])
    frames, noise = about["graphs"]["context"]["inputs"]
    assert frames == {"name": "frames", "shape": ["B", 3, 1, 32, 32], "dtype": "float32"}
    assert noise == {"name": "noise", "shape": ["B", 2, 3], "dtype": "float32"}
    for name, graph in about["graphs"].items():
        session = onnxruntime.InferenceSession(folder / "exported" / graph["file"])
        for found, said in ((session.get_inputs(), graph["inputs"]), (session.get_outputs(), graph["outputs"])):
            assert [(x.name, x.shape, x.type) for x in found] == [
                (x["name"], x["shape"], "tensor(float)") for x in said
            ]
        notes = session.get_modelmeta().custom_metadata_map
        assert json.loads(notes["stochvid.config"]) == about["config"]
        assert notes["stochvid.context"] == "3"
        assert session.get_modelmeta().graph_name == f"stochvid_{name}"
        described = [x["name"].removeprefix("next_") for x in graph["inputs"] + graph["outputs"]]
        assert all(f"`{re.sub(r'^skip_[0-9]+$', 'skip_SIZE', x)}`" in DOCS for x in described)


@pytest.mark.slow
def test_the_graphs_are_plain_and_each_holds_only_the_weights_that_it_uses(model, folder):
    convolutions = {"context": (4, 3), "step": (4, 4 + 3)}  # encoder; decoder's head and stages, and those of skips
    for name, counts in convolutions.items():
        graph = onnx.load(folder / "exported" / f"{name}.onnx").graph
        kinds = [node.op_type for node in graph.node]
        assert (kinds.count("Conv"), kinds.count("ConvTranspose")) == counts
        assert not {"ScatterND", "Loop", "If"} & set(kinds)
        used = {x for node in graph.node for x in node.input}
        assert {x.name for x in graph.initializer} <= used
    weights = sum(p.numel() for p in model.parameters()) * 4
    sizes = [path.stat().st_size for path in (folder / "exported").glob("*.onnx")]
    assert all(size < weights + 20_000 for size in sizes)


@EITHER
def test_files_do_not_name_the_folders_of_the_machine_that_made_them(exported):
    written = [path.read_bytes() for path in exported.iterdir()]
    for path in exported.glob("*.pt2"):
        with zipfile.ZipFile(path) as archive:
            written += [archive.read(name) for name in archive.namelist()]
    homes = [exported.parent, *(Path(package.__file__).parent for package in (stochvid, torch))]
    assert not any(str(home).encode() in data for home in homes for data in written)


# --------------------------------------------------------------------------------------------------------- the page


@EITHER
def test_the_examples_of_the_docs_run(exported, format, tmp_path):
    alone, with_torch = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
    clips = np.random.default_rng(0).integers(0, 256, (2, 7, 1, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "clips.npy", clips)
    shutil.copytree(exported, tmp_path / "exported")
    code = alone + ALONE if format == "onnx" else with_torch
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    futures = np.load(tmp_path / "futures.npy")
    assert (futures.shape, futures.dtype) == ((2, 4, 20, 1, 32, 32), np.uint8)
    assert (futures[:, 0] != futures[:, 1]).any()


# -------------------------------------------------------------------------------------------------------- bad input


def refused(capsys, tmp_path: Path, *words: str) -> str:
    """What a command says that is refused and leaves nothing."""
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", *words]) == 2
    assert sorted(tmp_path.rglob("*")) == before
    return capsys.readouterr().err


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lively(narrow(future_skip="second_last")).save_pretrained("model")
    assert "model 'missing' is neither a folder here" in refused(capsys, tmp_path, "missing", "out")
    said = refused(capsys, tmp_path, "model", "out", "--format", "tflite")
    assert "no export format 'tflite'. Valid names: onnx, torch-export." in said
    said = refused(capsys, tmp_path, "model", "out", "--context", "1")
    assert "--context must be at least 2 for a model of SVG-LP with these settings, got 1" in said
    assert "--context must be at least 2" in refused(capsys, tmp_path, "model", "out", "--context", "-3")
    with pytest.raises(InputError, match=r"no export format 'onxx'. Did you mean onnx"):
        export_model("model", "out", "onxx")


def test_an_earlier_export_is_replaced_only_when_asked_and_other_folders_never(capsys, tmp_path, programs):
    model = str(programs.parent / "model")
    assert "--overwrite" in refused(capsys, programs, model, str(programs))
    assert sorted(path.name for path in programs.iterdir()) == ["context.pt2", "export.json", "step.pt2"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("")
    assert "not an earlier result" in refused(capsys, tmp_path, model, str(tmp_path / "photos"), "--overwrite")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_before_any_work_is_done(capsys, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)  # its import fails then
    said = refused(capsys, tmp_path, "missing", str(tmp_path / "out"))  # not even the model was looked for
    assert f"needs the package {package}, which" in said
    assert "pip install 'stochvid[export]'" in said


def test_graphs_that_draw_something_else_do_not_appear(capsys, tmp_path):
    """Those of a model whose frames are no numbers, which equal nothing."""
    model = lively(narrow(prior="none"))
    with torch.no_grad():
        for weights in model.decoder.parameters():
            weights.mul_(1e30)
    model.save_pretrained(tmp_path / "model")
    words = [str(tmp_path / "model"), str(tmp_path / "out"), "--format", "torch-export", "--context", "1"]
    assert "nothing was written" in refused(capsys, tmp_path, *words)


@pytest.mark.parametrize("context", [1, 3])
def test_models_with_actions_take_them_as_inputs(tmp_path, context):
    torch.manual_seed(0)
    SVGPrime(narrow_prime(action_dim=2, output="composed")).save_pretrained(tmp_path / "m")
    found = export_model(tmp_path / "m", tmp_path / "out", format="torch-export", context=context)
    assert found.difference < 1e-4
    about = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    inputs = {name: {x["name"]: x["shape"] for x in graph["inputs"]} for name, graph in about["graphs"].items()}
    assert inputs["step"]["action"] == ["N", 2]
    assert inputs["context"].get("actions") == (["B", 3, 2] if context == 3 else None)  # nothing led to one frame
