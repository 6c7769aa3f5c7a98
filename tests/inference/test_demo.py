"""The shipped models, and the demo that draws with them: small, whole, offline."""

import shutil
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from stochvid import SVG, Store, load, load_config
from stochvid.cli import main
from stochvid.config import HELD_OUT, shipped_clips, shipped_models
from stochvid.data.clip_names import ClipName
from stochvid.data.places import find_store
from stochvid.evaluation.held_out import find_clips_for
from stochvid.inference.sources import open_source
from stochvid.inference.trained import Trained
from stochvid.models.pretrained import find_model

MOST = {"two-digits": 12e6, "one-digit": 1e6, "pusht": 8e6}  # bytes

OFFLINE = """
import socket, sys
def refuse(*_):
    raise AssertionError("the demo talks to the network")
socket.socket.connect = refuse
from stochvid.cli import main
sys.exit(main(["demo", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_is_small_and_says_how_it_was_made(name):
    folder = shipped_models()[name]
    assert sum(path.stat().st_size for path in folder.rglob("*")) < MOST[name]
    card, config = ModelCard.load(folder / "README.md"), load_config(folder / "training.yaml")
    assert f"# {name}\n" in card.text
    assert card.data.eval_results
    assert config.data.mnist is None  # no folder of ours
    assert not Path(config.data.store or "").is_absolute()
    model = load(name)
    assert model.config == config.model
    assert model.dtype == torch.float32  # kept in halves, used whole


def test_shipped_models_load_without_the_compiler():
    """Which torch would take two seconds to import."""
    script = "import stochvid, sys; [stochvid.load(x) for x in sys.argv[1:]]; sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", script, *shipped_models()], check=True)


def test_a_shipped_model_of_both_digit_sets_needs_no_mnist():
    folder = shipped_models()["two-digits"]
    config = load_config(folder / "training.yaml")
    assert config.data.digits == "both"
    found = find_clips_for(Trained.open(folder, "cpu"), None, None)
    assert (found.source.digits, found.source.num_digits, found.source.variant) == ("builtin", 2, "srvp2020")
    clip = open_source("moving-mnist:4", folder, config.model, least=5, limit=6, fps=None, stride=1).read()
    assert clip.frames.shape == (6, 64, 64, 1)
    assert clip.frames.max() == 255


def test_results_in_a_folder_of_its_name_do_not_hide_a_shipped_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one-digit").mkdir()
    (tmp_path / "one-digit" / "results.json").write_text("{}")
    assert find_model("one-digit") == shipped_models()["one-digit"]
    SVG.from_pretrained("one-digit").save_pretrained("one-digit")
    assert find_model("one-digit").resolve() == tmp_path / "one-digit"


def test_the_demo_draws_different_futures_in_any_folder_without_a_network(tmp_path, monkeypatch, capsys):
    earlier = tmp_path / "demo" / "moving-mnist-4" / "futures.npz"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("of an earlier demo")  # its own results are renewed
    words = [sys.executable, "-c", OFFLINE, "--samples", "2"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    folders = sorted((tmp_path / "demo").iterdir())
    assert [folder.name for folder in folders] == ["moving-mnist-12", "moving-mnist-4", "moving-mnist-8"]
    names = ["futures.gif", "futures.mp4", "futures.npz", "maps.gif", "maps.png", "strip.png", "uncertainty.png"]
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == names
        futures = np.load(folder / "futures.npz")["futures"]
        assert futures.std(axis=0).max() > 50  # of 255: they part
        assert len(iio.imread(folder / "futures.gif")) == len(np.load(folder / "futures.npz")["context"]) + 20
    assert "Open demo/moving-mnist-4/futures.gif" in done.stdout
    assert "Next: stochvid predict" in done.stdout
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo" / "moving-mnist-8" / "futures.npz").unlink()
    assert main(["demo", "--samples", "1"]) == 2
    assert "moving-mnist-8' exists and is not an earlier result" in capsys.readouterr().err


def test_the_demo_of_a_driven_model_brings_its_own_clips(tmp_path):
    (tmp_path / "pusht").mkdir()  # a folder of its name hides nothing
    words = [sys.executable, "-c", OFFLINE, "pusht", "--samples", "2"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    folders = sorted((tmp_path / "demo").iterdir())
    assert [folder.name for folder in folders] == ["pusht-0", "pusht-3", "pusht-4"]
    assert "site-packages" not in done.stdout
    assert "weights" not in done.stdout
    for folder in folders:
        arrays = np.load(folder / "futures.npz")
        assert arrays["futures"].shape == (2, 20, 3, 64, 64)
        error = np.square(arrays["futures"].astype(float) - arrays["truth"]).mean()
        copied = np.square(arrays["context"][-1].astype(float) - arrays["truth"]).mean()
        assert error < 0.5 * copied
    assert "stochvid app pusht" in done.stdout


def test_clips_that_come_with_a_model_are_named_by_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "pusht", "pusht:8"]) == 2
    assert "'pusht:8' names no clip; the test split of that store has pusht:0 to pusht:7." in capsys.readouterr().err
    assert main(["demo", "push-t"]) == 2
    assert "no shipped model is called 'push-t'. Did you mean pusht?" in capsys.readouterr().err
    assert main(["evaluate", "pusht", "--clips", "2", "--samples", "2", "--horizon", "3", "--out", "results"]) == 0
    assert "test of pusht, 64×64, 24 clip(s) of 8 frames" in capsys.readouterr().out
    store = Store(shipped_clips()["pusht"])
    held = ClipName.parse("pusht:3")
    assert (held.kind, held.part, held.store().path) == ("stored", "3", store.path)
    own = tmp_path / "pusht"
    shutil.copytree(store.path, own)
    assert ClipName.parse("pusht:3").store().path.resolve() == own  # a store of one's own is nearer


def test_a_model_whose_store_is_elsewhere_shows_the_clips_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    near = shipped_models()["pusht"]
    assert find_store("data/pusht", near, "--data") == str(near / HELD_OUT)
    own = tmp_path / "data" / "pusht"
    shutil.copytree(near / HELD_OUT, own)
    assert find_store("data/pusht", near, "--data") == "data/pusht"
