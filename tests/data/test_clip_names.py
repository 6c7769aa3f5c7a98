"""What people call clips, how a model is opened with all that belongs to it, and how often a store's index is read."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from made_data import moving, write_frames
from runs import SIZES
from stochvid import SVG, InputError, SVGConfig, TrainConfig
from stochvid.data.clip_names import ClipName
from stochvid.inference.trained import Trained
from stochvid.prepare.preparation import prepare

COUNTED = """
import sys
opened = []
def note(event, words):
    if event == "open" and str(words[0]).endswith("index.json"):
        opened.append(words[0])
sys.addaudithook(note)
from stochvid.cli import main
code = main(sys.argv[1:])
print("OPENED", len(opened))
sys.exit(code)
"""


@pytest.fixture
def store(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        write_frames(tmp_path / "in" / f"{number}", moving(12))
    prepare("in", "data/held", size=32, channels=1, split="train=0.5,test=0.5", workers=0)
    return "data/held"


@pytest.mark.parametrize(
    ("text", "kind", "place", "part", "label"),
    [
        ("moving-mnist:3", "made", "moving-mnist", "3", "moving-mnist-3"),
        ("data/held:1", "stored", "data/held", "1", "held-1"),
        ("data/held", "stored", "data/held", "", "held"),
        ("data/held:test", "stored", "data/held", "test", "held-test"),
        ("data/held:", "stored", "data/held", "", "held-"),
        ("nowhere/a.mp4", "file", "nowhere/a.mp4", "", "a"),
        ("moving-mnist", "file", "moving-mnist", "", "moving-mnist"),
        ("a.npz:frames", "file", "a.npz:frames", "", "a"),
    ],
)
def test_a_clip_is_digits_or_of_a_store_or_a_file(store, text, kind, place, part, label):
    name = ClipName.parse(text)
    assert (name.text, name.kind, name.place, name.part, name.label) == (text, kind, place, part, label)


@pytest.mark.parametrize("text", ["moving-mnist:x", "moving-mnist:", "moving-mnist:-1", "moving_mnist:3"])
def test_a_name_that_means_no_clip_is_answered_with_one_that_does(text):
    with pytest.raises(InputError, match="moving-mnist:3"):
        ClipName.parse(text)


def test_a_file_may_have_the_name_of_what_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("moving_mnist:3").write_bytes(b"")
    assert ClipName.parse("moving_mnist:3").kind == "file"


def opened(*words: str) -> int:
    """How often a command opens the index of a store."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split("OPENED")[-1])


@pytest.mark.slow
def test_a_training_and_a_prediction_read_the_index_of_their_store_once(store):
    sizes = [word for word in SIZES if word not in ("--data.num_digits", "1")]
    assert opened("train", *sizes, "--data.store", store, "--trainer.max_steps", "2", "--out", "run") == 1
    assert opened("predict", "run", f"{store}:0", f"{store}:1", "--samples", "1", "--out", "p") == 1


@pytest.mark.slow
def test_surprise_and_an_evaluation_read_the_index_once_too(store):
    SVG(SVGConfig(image_size=32, base_channels=2, g_dim=6, z_dim=2, rnn_size=6, context=3)).save_pretrained("run")
    assert opened("surprise", "run", f"{store}:0", "--out", "s") == 1
    assert (
        opened("evaluate", "run", "--data", store, "--samples", "1", "--clips", "1", "--horizon", "2", "--out", "e")
        == 1
    )


def test_an_index_that_has_changed_is_read_again(store):
    first = ClipName.parse(store).store()
    prepare("in", store, size=64, channels=1, split="train=0.5,test=0.5", workers=0, overwrite=True)
    again = ClipName.parse(store).store()
    assert (first.size, again.size) == (32, 64)
    assert np.array_equal(again.array("train").shape[1:], (1, 64, 64))


def test_a_model_is_opened_with_how_its_clips_were_made_and_its_training(tmp_path):
    config = SVGConfig(image_size=32, base_channels=2, g_dim=6, z_dim=2, rnn_size=6, context=3, horizon=2)
    SVG(config).save_pretrained(tmp_path / "run" / "model")
    plain = Trained.open(tmp_path / "run", "cpu")
    assert (plain.label, plain.config, plain.training, plain.fit) == ("run", config, None, "squash")
    assert not plain.knows_digits_alone  # it does not say
    (tmp_path / "run" / "model" / "training.yaml").write_text(TrainConfig(model=config).to_yaml())
    (tmp_path / "run" / "model" / "clips.json").write_text('{"fps": 10, "crop": "centre"}')
    told = Trained.open(tmp_path / "run", "cpu")
    assert told.training == TrainConfig(model=config)
    assert told.knows_digits_alone
    assert (told.fit, told.preprocessing["fps"], told.preprocessing["stride"]) == ("crop", 10, 1)
    assert not told.network.training


def test_a_broken_training_yaml_is_said_when_it_is_asked_for(tmp_path):
    config = SVGConfig(image_size=32, base_channels=2, g_dim=6, z_dim=2, rnn_size=6, context=3, horizon=2)
    SVG(config).save_pretrained(tmp_path / "m")
    (tmp_path / "m" / "training.yaml").write_text("- 1\n")
    trained = Trained.open(tmp_path / "m", "cpu")
    with pytest.raises(InputError, match="must hold the groups"):
        _ = trained.training
