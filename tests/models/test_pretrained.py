"""A model folder holds the model, the whole model, and is believed in nothing else."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from stochvid import SVG, InputError, SVGConfig

SMALL = {"image_size": 32, "base_channels": 2, "g_dim": 4, "z_dim": 2, "rnn_size": 4}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    SVG(SVGConfig(**SMALL)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("prior", ["learned", "fixed", "none"])
@pytest.mark.parametrize("backbone", ["dcgan", "vgg"])
def test_a_loaded_model_predicts_what_the_saved_one_did(tmp_path, prior, backbone):
    model = SVG(SVGConfig(**SMALL, prior=prior, backbone=backbone, future_skip="previous")).eval()
    model.save_pretrained(tmp_path / "m")
    loaded = SVG.from_pretrained(tmp_path / "m")
    assert loaded.config == model.config
    assert not loaded.training
    context = torch.rand(1, 3, 1, 32, 32)
    assert torch.equal(loaded.predict(context, 2, 2).frames, model.predict(context, 2, 2).frames)


def test_the_folder_holds_three_files_and_no_pickle(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_run_folder_stands_for_its_model(folder):
    assert SVG.from_pretrained(folder.parent).config == SVGConfig(**SMALL)


@pytest.mark.parametrize("name", ["./nowhere", "nowhere", "/no/such/folder", "a/b/c"])
def test_a_missing_folder_is_said_to_be_missing(name):
    with pytest.raises(InputError, match="neither a folder here nor a repository"):
        SVG.from_pretrained(name)


def test_an_unreachable_repository_is_said_to_be_unreachable(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="'owner/name' is neither a folder here nor a repository"):
        SVG.from_pretrained("owner/name", local_files_only=True, cache_dir=tmp_path)


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z_dimm": 3}, "unknown field 'z_dimm'. Did you mean z_dim"),
        ({"z_dim": 3}, "does not belong to the config.json beside it: .* instead of"),
        ({"backbone": "vgg"}, "does not belong to the config.json"),
        ({"backbone": "resnet"}, "model.backbone must be one of 'dcgan', 'vgg', got 'resnet'"),
        ({"prior": "fixed"}, "has no place"),
        ({"image_size": 48}, "model.image_size must be 32, 64, 128 or 256, got 48"),
        ({"g_dim": "4"}, "model.g_dim must be of type int, got '4'"),
        ({"beta": None}, "model.beta must be of type float, got None"),
    ],
)
def test_a_config_of_another_model_is_refused(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(InputError, match=message):
        SVG.from_pretrained(folder)


def test_a_run_without_a_model_says_how_to_get_one(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match=r"has no model yet\. Let it end: stochvid train --resume"):
        SVG.from_pretrained(tmp_path)


def test_broken_files_are_named(folder):
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    save_file({k: v for k, v in weights.items() if k != name}, folder / "model.safetensors")
    with pytest.raises(InputError, match=f"'{name}' is missing"):
        SVG.from_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        SVG.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        SVG.from_pretrained(folder)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        SVG.from_pretrained(folder)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(InputError, match=r"must hold fields and values, got \[1\]"):
        SVG.from_pretrained(folder)


def test_saving_where_one_cannot_write_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to folder"):
        SVG(SVGConfig(**SMALL)).save_pretrained(tmp_path / "file" / "model")


@pytest.mark.parametrize(
    ("name", "value"), [("encoder.head.0.weight", float("nan")), ("encoder.head.1.running_var", -1.0)]
)
def test_a_model_that_can_draw_nothing_is_refused(tmp_path, name, value):
    model = SVG(SVGConfig(**SMALL))
    model.state_dict()[name].fill_(value)
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=rf"safetensors': {name!r} holds .*, so nothing can be drawn with it"):
        SVG.from_pretrained(tmp_path)
