"""Own videos, from a folder to a model in one command; and what is said of folders that nothing can be learned from."""

from pathlib import Path

import numpy as np
import pytest

from made_data import moving, write_frames, write_video
from stochvid import Store, load_config
from stochvid.cli import main
from stochvid.cli.train import parse_train

SMALL = [
    *("--model.image_size", "32", "--model.base_channels", "16", "--model.g_dim", "8", "--model.rnn_size", "8"),
    *("--model.context", "2", "--model.horizon", "3", "--data.batch_size", "2", "--data.val_clips", "2"),
    *("--trainer.max_steps", "2", "--trainer.device", "cpu", "--trainer.sample_clips", "0"),
    *("--trainer.rollout_clips", "1"),
]


def videos(folder: Path, count: int = 12, length: int = 24) -> Path:
    """Squares that move, each from a place of its own."""
    for number in range(count):
        write_video(folder / f"v{number:02d}.mp4", moving(length, 3 * number), crf="1")
    return folder


def test_one_command_prepares_a_folder_and_trains_on_it_by_the_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    videos(tmp_path / "mine")
    assert main(["train", "--videos", "mine", *SMALL]) == 0
    said = capsys.readouterr()
    assert "Done. Draw futures with: stochvid predict runs/mine data/mine:0" in said.out
    assert Store("data/mine").size == 32
    config = load_config("runs/mine/config.yaml")
    assert (config.model.family, config.model.output, config.loss.change_weight) == ("svg-prime", "composed", "auto")
    assert main(["train", "--videos", "mine", *SMALL, "--overwrite"]) == 0  # the store is there already
    assert main(["predict", "runs/mine", "mine/v00.mp4", "--samples", "2", "--horizon", "4"]) == 0


def test_a_store_alone_is_trained_on_in_its_size_and_channels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_frames(Path("in") / f"{number}", moving(24))
    assert main(["prepare", "in", "data/grey", "--size", "32", "--channels", "1", "--workers", "0"]) == 0
    options = parse_train(["--data.store", "data/grey"])
    model = options.config.model
    assert (model.family, model.image_size, model.channels, options.out) == ("svg-prime", 32, 1, "runs/grey")
    options = parse_train(["--data.store", "data/grey", "--config", "laptop", "--model.channels", "3"])
    assert (options.config.model.family, options.config.model.channels) == ("svg", 3)  # what is asked for stays


def one_short_video(folder):
    write_video(folder / "one.mp4", moving(48))


def images_alike(folder):
    for number in range(12):
        write_frames(folder / f"{number:02d}", moving(1) * 24)


def black(folder):
    for number in range(12):
        write_frames(folder / f"{number:02d}", [np.zeros((32, 32, 3), np.uint8)] * 24)


def two_cameras(folder):
    for number in range(12):
        floor = np.full((20, 64, 3), 230 * (number % 2), np.uint8)
        write_frames(folder / f"{number:02d}", [np.vstack([frame[:28], floor]) for frame in moving(24, 3 * number)])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (one_short_video, "There are 1 clip(s) to train on in data/mine: it will learn them by heart."),
        (images_alike, "Hardly anything moves in the clips of data/mine: 0.00% of the pixels change"),
        (black, "The clips of data/mine show nothing: no two pixels differ by more than 0 of 255."),
        (two_cameras, "The clips of data/mine are of two scenes that have nothing in common, as from two cameras."),
    ],
)
def test_what_nothing_can_be_learned_from_is_said_before_training(tmp_path, monkeypatch, capsys, make, said):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "mine")
    assert main(["train", "--videos", "mine", *SMALL]) == 0
    error = capsys.readouterr().err
    assert f"note: {said}" in error
    assert error.index(said) < error.index("step 1/2")


def test_clips_that_are_too_short_are_refused_with_the_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    videos(tmp_path / "mine", length=10)
    assert main(["train", "--videos", "mine", *SMALL, "--model.horizon", "20"]) == 2
    assert "has no clip of 22 frames in 'train'; its longest has 10." in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.parametrize(("folder", "message"), [("nowhere", "nowhere"), ("empty", "empty")])
def test_a_folder_without_videos_is_named(tmp_path, monkeypatch, capsys, folder, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert main(["train", "--videos", folder, *SMALL]) == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()
    assert not Path("data").exists()
