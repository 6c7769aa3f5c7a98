"""What the shipped `laptop` config learns, trained from the command line. Minutes; `make test-slow` runs it."""

import json
import subprocess

import numpy as np
import pytest

from commands import STOCHVID
from stochvid import MovingMNIST, load_config
from stochvid.config import shipped_configs
from stochvid.evaluation.results import read_results
from stochvid.inference.surprise import surprise

pytestmark = pytest.mark.slow


def run(*words):
    done = subprocess.run([*STOCHVID, *map(str, words)], capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("laptop") / "run"
    run("train", "--config", "laptop", "--out", folder)
    return folder


def test_its_prior_is_uncertain_where_the_motion_is_random(trained, tmp_path):
    run("uncertainty", trained, "--out", tmp_path / "u")
    results = json.loads((tmp_path / "u" / "uncertainty.json").read_text())
    assert results["every_frame"]["auroc_ci95"][0] > 0.95
    means = {step["offset"]: step["mean"] for step in results["aligned"]}
    assert max(means, key=means.get) == 0


def test_its_best_samples_beat_both_floors_and_its_samples_are_sharp(trained, tmp_path):
    scores = {}
    for name in (trained, "copy-last", "mean-of-context"):
        run("evaluate", name, "--data", "laptop", "--clips", 64, "--out", tmp_path / "e", "--overwrite")
        scores[name] = read_results(tmp_path / "e")
    best = {name: scores[name]["metrics"]["ssim"]["best"]["mean"] for name in scores}
    assert best[trained] > 0.15 + max(best["copy-last"], best["mean-of-context"])
    assert 0.7 < scores[trained]["samples"]["sharpness"]["mean"] < 1.3
    assert scores[trained]["samples"]["crps"]["mean"] < 0.7 * scores["copy-last"]["samples"]["crps"]["mean"]


def test_it_finds_a_digit_that_is_mirrored_in_mid_flight(trained, tmp_path):
    """In most clips; in which, depends on the processor, in bf16 or not (8 of 12 with an Intel Xeon in bf16)."""
    config = load_config(shipped_configs()["laptop"])
    clips = MovingMNIST.from_config(config.data, config.model, "test", 120, seed=11)
    found = 0
    for number in range(12):
        frames = clips[number]["frames"].copy()
        frames[70:] = frames[70:, ..., ::-1]
        np.save(tmp_path / "clip.npy", frames)
        series = surprise(trained, str(tmp_path / "clip.npy"), out=tmp_path / "s", overwrite=True)
        highest = 4 + int(np.argmax(series["kl"][4:]))
        found += bool(series["frame"][highest] == 71 and series["peak"][highest])
    assert found >= 6
