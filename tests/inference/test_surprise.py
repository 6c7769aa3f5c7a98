"""`stochvid surprise`: a planted event, long videos, and the command."""

import csv

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from made_data import moving, write_frames, write_video
from stochvid import SVG, DataConfig, InputError, MovingMNIST, SVGConfig, load_config
from stochvid.cli import main
from stochvid.config import shipped_models
from stochvid.inference.surprise import SHOWN, STRIP, Filmstrip, _peaks, surprise
from tiny import save_digit_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_digit_model(tmp_path_factory.mktemp("models") / "lp")


def test_a_digit_that_teleports_is_found(tmp_path, capsys):
    """By the shipped model, which has seen a digit move and bounce for an hour."""
    config = load_config(shipped_models()["one-digit"] / "training.yaml")
    motion, found = MovingMNIST.from_config(config.data, config.model, "test", 40, seed=7), 0
    for number, clip in enumerate(motion.__getitems__(range(6))["frames"]):
        clip[20:] = np.roll(clip[20:], 16, axis=-1)  # from frame 21 on, half a picture away
        np.save(tmp_path / "clip.npy", clip)
        out = tmp_path / f"{number}"
        assert main(["surprise", "one-digit", str(tmp_path / "clip.npy"), "--out", str(out)]) == 0
        with open(out / "surprise.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert max(rows[4:], key=lambda row: float(row["mse"]))["frame"] == "21"
        marked = {int(row["frame"]): float(row["kl"]) for row in rows if row["peak"] == "1"}
        found += 21 in marked and marked[21] >= sorted(marked.values())[-2:][0]
        said = capsys.readouterr().out
        assert ("frame 21: " in said) == (21 in marked)
    assert found >= 4


def test_the_pieces_of_a_long_video_give_what_all_of_it_at_once_gives(model, tmp_path):
    clip = MovingMNIST.from_config(
        DataConfig(num_digits=1), SVGConfig(image_size=32), "test", 150, seed=1
    )[0]["frames"]  # fmt: skip
    np.save(tmp_path / "clip.npy", clip)
    series = surprise(model, str(tmp_path / "clip.npy"), tmp_path / "out", smooth=0)
    with torch.inference_mode():
        seen = SVG.from_pretrained(model).observe(torch.from_numpy(clip)[None])
    np.testing.assert_allclose(series["kl"], seen.posterior.kl(seen.prior)[0], rtol=1e-3, atol=1e-5)
    error = (seen.frames[0, 0] - torch.from_numpy(clip[1:]) / 255).square().mean((1, 2, 3))
    np.testing.assert_allclose(series["mse"], error, rtol=1e-4)
    np.testing.assert_array_equal(series["kl_smooth"], series["kl"])
    np.testing.assert_array_equal(series["frame"], np.arange(2, 151))


def test_few_frames_are_kept_however_long_a_video_is():
    filmstrip = Filmstrip()
    for number in range(1, 20_001):
        filmstrip.add(number, np.full((1, 2, 2), number % 256, np.uint8), 100.0 if number == 12_345 else number % 97)
    numbers = [number for number, _ in filmstrip.strip.kept]
    assert STRIP < len(numbers) <= 2 * STRIP
    assert len(set(np.diff(numbers))) == 1
    assert len(filmstrip._highest) <= 8 * SHOWN
    assert [number for number, _ in filmstrip.frames([12_345, 7])] == [12_345]


def test_peaks_stand_out_and_are_not_among_the_first_frames():
    kl = np.random.default_rng(0).random(100)
    kl[[1, 40, 99]] = 50.0
    assert _peaks(kl, context=5).tolist() == [40, 99]
    assert _peaks(np.full(30, 2.0), context=5).tolist() == []


def test_a_video_is_told_in_seconds_and_a_prior_may_be_fixed(tmp_path):
    video = write_video(tmp_path / "v.mp4", moving(40), rate=20)
    out = tmp_path / "out"
    series = surprise(save_digit_model(tmp_path / "fp", prior="fixed"), str(video), out, length=30)
    assert len(series["kl"]) == 29
    assert series["seconds"][[0, -1]] == pytest.approx([0.05, 1.45])
    assert (series["kl"] > 0).all()
    lines = (out / "surprise.csv").read_text().splitlines()
    assert lines[0] == "frame,seconds,kl,kl_smooth,mse,mse_smooth,peak"
    assert lines[1].startswith("2,0.050,")
    assert iio.imread(out / "surprise.png").std() > 10


@pytest.mark.parametrize("source", ["moving-mnist:3", "frames"])
def test_other_clips_work_as_in_predict(model, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    write_frames(tmp_path / "frames", moving(12))
    assert main(["surprise", model, source, "--length", "10"]) == 0
    lines = (tmp_path / "surprise" / source.replace(":", "-") / "surprise.csv").read_text().splitlines()
    assert len(lines) == 10
    assert lines[1].split(",")[1] == ""  # nobody says how fast it is


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.mp4"], "clip 'nothing.mp4' does not exist"),
        (["one.npy"], "has a single frame"),
        (["moving-mnist:1", "--smooth", "-1"], "--smooth must be at least 0"),
        (["moving-mnist:1", "--length", "1"], "--length must be at least 2"),
        (["moving-mnist:x"], "must be moving-mnist:SEED"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(model, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "one.npy", np.zeros((1, 32, 32), np.uint8))
    assert main(["surprise", model, *words, "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_deterministic_baseline_has_no_kl(tmp_path):
    with pytest.raises(InputError, match="has no latents"):
        surprise(save_digit_model(tmp_path / "det", prior="none"), "moving-mnist:1", tmp_path / "out")
