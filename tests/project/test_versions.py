"""What earlier versions made goes on working: models and their futures under a seed, stores, runs."""

import csv
import shutil

import numpy as np
import pytest
import torch

import stochvid
from paths import EARLIER
from stochvid import SVG, Branch, Store
from stochvid.cli import main
from stochvid.models.noise import latent_noise, rollout_noise

MADE = EARLIER / "version-0.1"


def test_a_model_that_names_no_family_is_an_svg():
    model = stochvid.load(MADE / "run")
    assert type(model) is SVG
    assert (model.config.family, model.latent_shape) == ("svg", (2,))
    assert type(SVG.from_pretrained(MADE / "run" / "model")) is SVG


def test_noise_is_bit_for_bit_what_it_was():
    np.testing.assert_array_equal(latent_noise(3, [123456789], 2, 5, (4,)), np.load(MADE / "noise.npy"))
    branched = rollout_noise(3, [7], 2, 2, 4, (3,), temperature=0.5, branch=Branch(1, 1, 2))
    np.testing.assert_array_equal(branched, np.load(MADE / "branch-noise.npy"))


def test_a_future_under_a_seed_is_what_it_was():
    with np.load(MADE / "futures.npz") as made:
        was = dict(made)
    drawn = stochvid.load(MADE / "run").predict(torch.from_numpy(was["context"][None]), 4, 2, seed=int(was["seed"]))
    for name in ("prior_mean", "prior_std", "latents"):  # machines round in ways of their own
        np.testing.assert_allclose(getattr(drawn, name)[0], was[name], rtol=1e-4, atol=1e-5)
    frames = (drawn.frames[0] * 255).round().numpy()
    assert np.abs(frames - was["futures"]).max() <= 1


def test_a_store_is_whole_and_its_clips_are_predicted(tmp_path):
    Store(MADE / "store").verify()
    assert main(["predict", str(MADE / "run"), f"{MADE / 'store'}:0", "--samples", "2", "--out", str(tmp_path)]) == 0


def test_surprise_is_what_it_was(tmp_path):
    assert main(["surprise", str(MADE / "run"), f"{MADE / 'store'}:0", "--out", str(tmp_path / "out")]) == 0
    with open(MADE / "surprise.csv", newline="") as old, open(tmp_path / "out" / "surprise.csv", newline="") as new:
        for was, now in zip(csv.DictReader(old), csv.DictReader(new), strict=True):
            assert float(now["kl"]) == pytest.approx(float(was["kl"]), rel=1e-3, abs=1e-5)


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    shutil.copytree(MADE / "run", tmp_path / "run")
    words = ["train", "--resume", tmp_path / "run", "--data.store", MADE / "store", "--trainer.max_steps", 302]
    assert main([*map(str, words), "--trainer.log_every", "1"]) == 0
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["split"] == "train"] == [100, 200, 300, 301, 302]
    assert all(float(row["mse"]) > 0 for row in rows)
