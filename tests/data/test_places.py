"""A run knows where its data are, from any folder, and after they moved."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stochvid import SVG, DataConfig, InputError, SVGConfig, TrainConfig, TrainerConfig, load_config
from stochvid.cli import main
from stochvid.data.digits import MNIST_FILES
from stochvid.data.places import find_data, remembered_model
from stochvid.models.pretrained import _without_folders
from stochvid.prepare.preparation import prepare
from stochvid.training.train import train

MODEL = SVGConfig(image_size=32, base_channels=2, g_dim=6, z_dim=2, rnn_size=6, context=2, horizon=2)
EVALUATE = ["--clips", "1", "--samples", "1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a store and a run that was trained on it by a relative path."""
    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    try:
        np.save("clips.npy", np.random.default_rng(0).integers(0, 256, (6, 20, 32, 32), dtype=np.uint8))
        prepare("clips.npy", "data/a", size=32, workers=0)
        train(config("data/a"), "runs/a")
    finally:
        os.chdir(before)
    return folder


def config(store: str, steps: int = 2) -> TrainConfig:
    data = DataConfig(store=store, batch_size=2, val_clips=2)
    trainer = TrainerConfig(max_steps=steps, device="cpu", sample_clips=0, log_every=1)
    return TrainConfig(MODEL, data, trainer=trainer)


@pytest.fixture
def moved(made, tmp_path, monkeypatch) -> Path:
    """The folder, elsewhere, and we in yet another one."""
    shutil.copytree(made, tmp_path / "moved")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "moved"


def rewrite(run: Path, store: str) -> None:
    """Makes a run name its store in another way."""
    for path in (run / "config.yaml", run / "model" / "training.yaml"):
        text = load_config(path)
        path.write_text(replace(text, data=replace(text.data, store=store)).to_yaml(), encoding="utf-8")


def test_a_run_remembers_its_store_by_its_absolute_path(made, tmp_path, monkeypatch, capsys):
    for name in ("config.yaml", "model/training.yaml"):
        assert load_config(made / "runs" / "a" / name).data.store == str(made / "data" / "a")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(made / "runs" / "a"), *EVALUATE, "--out", "out"]) == 0
    assert "note:" not in capsys.readouterr().err


def test_a_run_that_moved_with_its_store_finds_it(made, moved, capsys):
    gone = str(made / "gone" / "data" / "a")  # as if it had been there
    rewrite(moved / "runs" / "a", gone)
    assert main(["evaluate", str(moved / "runs" / "a"), *EVALUATE, "--out", "out"]) == 0
    assert f"note: {gone!r} was not found; taking {str(moved / 'data' / 'a')!r}" in capsys.readouterr().err
    assert main(["train", "--resume", str(moved / "runs" / "a"), "--trainer.max_steps", "3"]) == 0
    said = capsys.readouterr()
    assert "goes on at step 2 of 3\n" in said.out
    assert load_config(moved / "runs" / "a" / "config.yaml").data.store == str(moved / "data" / "a")


def test_an_old_run_with_a_relative_path_is_understood_from_its_own_folder(moved):
    rewrite(moved / "runs" / "a", "data/a")
    assert main(["evaluate", str(moved / "runs" / "a"), *EVALUATE, "--out", "out"]) == 0
    assert main(["train", "--resume", str(moved / "runs" / "a"), "--trainer.max_steps", "3"]) == 0


def test_a_relative_path_is_first_what_it_says_from_here(moved):
    shutil.copytree(moved / "data", "data")
    rewrite(moved / "runs" / "a", "data/a")
    found = find_data(load_config(moved / "runs" / "a" / "config.yaml").data, moved / "runs" / "a", "")
    assert found.store == "data/a"


COMMANDS = {
    "evaluate": (["evaluate", "RUN"], "Say where it is now: --data STORE."),
    "uncertainty": (["uncertainty", "RUN"], "Say where it is now: --data STORE."),
    "baseline": (["evaluate", "copy-last", "--data", "RUN"], "Say where it is now: --data STORE."),
    "resume": (
        ["train", "--resume", "RUN", "--trainer.max_steps", "3"],
        "Say where it is now: stochvid train --resume RUN --data.store STORE.",
    ),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_a_store_that_is_gone_is_said_to_have_been_there(made, moved, capsys, what):
    shutil.rmtree(moved / "data")
    gone, run = str(made / "gone" / "data" / "a"), str(moved / "runs" / "a")
    rewrite(moved / "runs" / "a", gone)
    words, fix = COMMANDS[what]
    assert main([word.replace("RUN", run) for word in words]) == 2
    said = capsys.readouterr().err
    assert f"names the store {gone!r}, which is not there any more." in said
    assert fix.replace("RUN", run) in said
    assert list(Path.cwd().iterdir()) == []


def test_a_run_goes_on_with_a_store_in_a_new_place(moved):
    (moved / "data" / "a").rename(moved / "elsewhere")
    rewrite(moved / "runs" / "a", "/gone")
    words = ["train", "--resume", str(moved / "runs" / "a"), "--trainer.max_steps", "3"]
    assert main([*words, "--data.store", str(moved / "elsewhere")]) == 0
    assert load_config(moved / "runs" / "a" / "config.yaml").data.store == str(moved / "elsewhere")


def test_mnist_that_moved_is_found(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / f"{MNIST_FILES['test']}.gz").write_bytes(b"")
    data = DataConfig(digits="mnist", mnist="/gone/mnist")
    assert find_data(data, tmp_path / "runs" / "a", "").mnist == str(tmp_path / "mnist")
    assert find_data(replace(data, mnist="/gone/other"), tmp_path / "runs" / "a", "").mnist == "/gone/other"


def test_a_model_to_start_from_is_remembered_by_its_place_or_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    assert remembered_model("one") == str(tmp_path / "one")
    assert remembered_model("two-digits") == "two-digits"
    assert remembered_model("owner/name") == "owner/name"


def test_what_is_published_names_no_folder(made):
    model = SVG.from_pretrained(made / "runs" / "a")
    assert str(made) not in model.documents["README.md"]
    text = "# started from --init /elsewhere/x\n" + model.documents["training.yaml"]
    assert "store: a\n" in _without_folders(text)
    assert "/" not in _without_folders(text)
    with pytest.raises(InputError, match="is not a config"):
        _without_folders("data: 3\n")
