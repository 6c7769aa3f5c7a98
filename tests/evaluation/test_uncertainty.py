"""`stochvid uncertainty`: the measure on constructed σ, and the command."""

import json

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from paths import MNIST, needs_mnist
from stochvid import SVG, InputError
from stochvid.cli import main
from stochvid.evaluation.held_out import find_test_clips
from stochvid.evaluation.uncertainty import _measure, _weighted_auroc, uncertainty
from stochvid.prepare.moving_mnist_sets import prepare_moving_mnist
from tiny import made_store, save_digit_model


def made(noise: float, clips: int = 60, steps: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """σ that is 1 at bounces and 0 elsewhere, with noise; bounces at random."""
    random = np.random.default_rng(0)
    bounces = random.random((clips, steps)) < 0.2
    return bounces[:, 1:] + noise * random.standard_normal((clips, steps - 1)), bounces


def test_a_prior_that_knows_the_bounces_has_auroc_one():
    results = _measure(*made(0.0), context=3, seed=0, name="bounces")
    for which in ("every_frame", "without_the_frame_after"):
        assert results[which]["auroc"] == 1
        assert results[which]["auroc_ci95"] == [1, 1]
    assert [step["mean"] for step in results["aligned"]] == [0] * 5 + [1] + [0] * 5


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    sigma, bounces = made(1.5, clips=600)
    results = _measure(sigma, bounces, context=3, seed=0, name="bounces")
    sigma, bounces = sigma[:, 2:], bounces[:, 3:]  # the frames after the context
    pairs = sigma[bounces][:, None] > sigma[~bounces][None]
    assert results["every_frame"]["auroc"] == pytest.approx(pairs.mean())
    low, high = results["every_frame"]["auroc_ci95"]
    assert low < pairs.mean() < high
    # by DeLong et al. (1988), for independent frames, as these are
    error = np.sqrt(pairs.mean(1).var(ddof=1) / len(pairs) + pairs.mean(0).var(ddof=1) / pairs.shape[1])
    assert (high - low) / 3.92 == pytest.approx(error, rel=0.15)


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_auroc_equals_that_of_scikit_learn(ties):
    random = np.random.default_rng(0)
    label, score = random.random(500) < 0.2, random.standard_normal(500)
    score = score.round(1) if ties else score
    auroc = _weighted_auroc(label, score)
    for _ in range(20):
        weight = random.integers(4, size=500)  # some frames are left out
        assert auroc(weight) == pytest.approx(roc_auc_score(label, score, sample_weight=weight), rel=1e-12)
    assert np.isnan(auroc(label.astype(int)))


def test_the_frame_after_a_bounce_is_left_out_unless_it_is_one():
    bounces = np.zeros((3, 9), dtype=bool)
    bounces[:, [2, 5, 6]] = True  # the last frame of the context; and two in a row
    sigma = np.where(bounces, 1.0, 0.0)
    sigma[:, [3, 7]] = 2.0  # the frames after
    results = _measure(sigma[:, 1:], bounces, context=3, seed=0, name="bounces")
    assert results["every_frame"]["frames"] == 18
    assert results["every_frame"]["auroc"] == pytest.approx(0.5)  # above two of four
    assert results["without_the_frame_after"]["auroc"] == 1
    assert results["without_the_frame_after"]["frames"] == 12
    assert {step["offset"]: step["mean"] for step in results["aligned"]}[1] == 2.0


@pytest.mark.parametrize("share", [0, 1])
def test_nothing_to_tell_apart_is_an_error(share):
    bounces = np.full((4, 9), bool(share))
    with pytest.raises(InputError, match="nothing to tell apart"):
        _measure(bounces[:, 1:] + 0.0, bounces, context=3, seed=0, name="bounces")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_digit_model(tmp_path_factory.mktemp("models") / "lp")


def test_the_command_measures_the_prior_on_the_clips_of_its_training(model, tmp_path, capsys):
    words = ["uncertainty", model, "--clips", "30", "--length", "12", "--out", str(tmp_path / "u")]
    assert main(words) == 0
    assert "AUROC" in capsys.readouterr().out
    results = json.loads((tmp_path / "u" / "uncertainty.json").read_text())
    assert results["clips"] == 30
    assert results["every_frame"]["frames"] == 30 * (12 - 3)  # the frames after the context
    # σ and bounces, from the model itself
    batch = find_test_clips(model, None, None).open(12).read(range(30))
    with torch.no_grad():
        sigma = SVG.from_pretrained(model).observe(torch.from_numpy(batch["frames"])).prior.std.mean(-1)
    shifted, bounces = sigma[:, 2:].double().numpy(), batch["bounces"][:, 3:]  # step k makes frame k + 2
    pairs = shifted[bounces][:, None] - shifted[~bounces][None]
    assert results["every_frame"]["auroc"] == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2, abs=1e-4)
    assert iio.imread(tmp_path / "u" / "uncertainty.png").std() > 10
    assert main(words) == 2
    assert "holds results already" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_a_store_of_made_clips_knows_its_bounces(model, tmp_path):
    store = prepare_moving_mnist(tmp_path / "s", num_digits=1, size=32, clips=20, length=12)
    assert uncertainty(model, tmp_path / "u", data=str(store.path), length=12)["clips"] == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips": 1}, "--clips must be at least 2, got 1"),
        ({"length": 4}, "--length must be more than the context of 3"),
        ({"data": "smmnist-lp"}, "frames of 64 pixels a side, the model takes 32"),
    ],
)
def test_bad_numbers_are_named(model, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        uncertainty(model, tmp_path / "u", **options)
    assert not (tmp_path / "u").exists()


def test_clips_without_known_bounces_are_refused(model, tmp_path):
    store = made_store(tmp_path / "s", [16, 16])  # which says nothing of bounces
    with pytest.raises(InputError, match="something unpredictable happens"):
        uncertainty(model, tmp_path / "u", data=str(store.path), length=8)


def test_deterministic_motion_has_nothing_to_measure(model, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("model: {image_size: 32}\ndata: {deterministic: true, num_digits: 1, digit_size: 16}\n")
    with pytest.raises(InputError, match="the motion is deterministic: every bounce is certain"):
        uncertainty(model, tmp_path / "u", data=str(config), clips=20)
    store = prepare_moving_mnist(tmp_path / "s", deterministic=True, num_digits=1, size=32, clips=4, length=12)
    with pytest.raises(InputError, match="the motion is deterministic"):
        uncertainty(model, tmp_path / "u", data=str(store.path), length=12)


@pytest.mark.parametrize(("prior", "why"), [("fixed", r"prior is N\(0, I\)"), ("none", "no latents and no prior")])
def test_models_without_a_learned_prior_say_why_there_is_nothing_to_measure(tmp_path, prior, why):
    with pytest.raises(InputError, match=why):
        uncertainty(save_digit_model(tmp_path / "m", prior=prior), tmp_path / "u")
    assert not (tmp_path / "u").exists()


@needs_mnist
def test_the_folder_of_mnist_can_be_given(tmp_path):
    torch.manual_seed(0)
    model = save_digit_model(tmp_path / "m")
    config = tmp_path / "config.yaml"
    config.write_text("model: {image_size: 32}\ndata: {digits: mnist, mnist: /nowhere}\n")
    with pytest.raises(InputError, match="nowhere"):
        uncertainty(model, tmp_path / "u", data=str(config), clips=10)
    assert uncertainty(model, tmp_path / "u", data=str(config), clips=10, mnist=str(MNIST))["clips"] == 10
