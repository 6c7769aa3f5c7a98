"""SVG′ against the paper's literal loop, and what a prediction may and may not depend on."""

import itertools
import json
import math

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from oracle import OracleSVG, copy_weights, gradients_equal
from runs import goes_on_exactly
from stochvid import SVG, InputError, SVGPrime, SVGPrimeConfig, TrainConfig
from stochvid.cli import main
from stochvid.config import LossConfig
from stochvid.evaluation.uncertainty import _in_boxes
from stochvid.models.noise import content_ids
from tiny import BACKBONES, PRIORS, SKIPS, close, elbo, make_clips, make_model, narrow, narrow_prime, noise_for
from toy_family import BlurConfig

RULES = (*SKIPS, "mean")
COMBINATIONS = [
    *({"future_skip": rule} for rule in RULES),
    {"prior": "fixed", "backbone": "dcgan", "future_skip": "second_last"},
    {"prior": "none", "backbone": "dcgan", "future_skip": "previous"},
    *({"latent_size": q, "future_skip": "mean"} for q in (1, 4)),
    *({"norm": "group", "backbone": b, "channels": 3, "base_channels": 16} for b in BACKBONES),
    {"map_size": 4, "reconstruction": "mse"},
    {"image_size": 64, "map_size": 16, "latent_size": 8, "context": 1, "horizon": 2},
    {"predictor_layers": 1, "posterior_layers": 2, "prior_layers": 2},
    {"output": "composed"},
    {
        "output": "composed",
        "future_skip": "mean",
        "backbone": "dcgan",
        "norm": "group",
        "base_channels": 16,
        "channels": 3,
    },
    {"output": "composed", "prior": "none", "future_skip": "previous", "context": 1},
]


EVERY = [
    {"prior": p, "backbone": b, "future_skip": s} for p, b, s in itertools.product(PRIORS, BACKBONES, RULES)
]  # fmt: skip
TRIED = [*COMBINATIONS, *(pytest.param(changes, marks=pytest.mark.slow) for changes in EVERY)]


def said(combination: dict) -> str:
    return "-".join(str(value) for value in combination.values())


def with_oracle(changes: dict) -> tuple[SVGPrime, OracleSVG]:
    model = make_model(narrow_prime(**changes))
    return model, copy_weights(model, OracleSVG(model.config).double().eval())


@pytest.mark.parametrize("changes", TRIED, ids=said)
def test_loss_and_every_gradient_equal_the_literal_loop(changes):
    model, oracle = with_oracle(changes)
    clips = make_clips(model.config, model.config.frames)
    noise = noise_for(model, range(2), 1, model.config.frames - 1)

    loss = elbo(model, clips, noise)
    expected = oracle.loss(clips, noise[:, 0])
    torch.testing.assert_close(loss["loss"], expected, rtol=1e-10, atol=0)
    assert model.config.prior == "none" or loss["kl"] > 1e-3
    loss["loss"].backward()
    expected.backward()
    gradients_equal(model, oracle)


def test_where_frames_are_composed_latents_begin_sure():
    stds, spreads = {}, {}
    for output in ("composed", "decoded"):
        torch.manual_seed(0)
        model = SVGPrime(narrow_prime(output=output, rnn_size=16, base_channels=8, g_dim=8, channels=3))
        with torch.no_grad():
            posterior = model.observe(make_clips(model.config, 6, batch=4).float()).posterior
        stds[output], spreads[output] = posterior.std.mean().item(), posterior.mean.std(0).mean().item()
    assert stds["composed"] == pytest.approx(math.exp(-2), rel=0.2)
    assert stds["decoded"] == pytest.approx(1, rel=0.2)
    assert spreads["composed"] == pytest.approx(10 * spreads["decoded"], rel=0.5)


FED_BACK = [
    *({"future_skip": rule} for rule in RULES),
    {"prior": "fixed", "latent_size": 1, "backbone": "dcgan"},
    {"prior": "none", "future_skip": "previous"},
    {"context": 1, "future_skip": "mean"},
    {"output": "composed"},
    {"output": "composed", "future_skip": "previous", "context": 1},
    {"family": "svg", "future_skip": "previous"},
    {"family": "svg", "prior": "fixed", "backbone": "dcgan"},
]


@pytest.mark.parametrize("changes", FED_BACK, ids=said)
def test_loss_and_gradients_with_frames_fed_back_equal_the_literal_loop(changes):
    changes = dict(changes)
    model = make_model((narrow if changes.pop("family", "") == "svg" else narrow_prime)(**changes))
    oracle = copy_weights(model, OracleSVG(model.config).double().eval())
    clips = make_clips(model.config, model.config.frames)
    noise = noise_for(model, range(2), 1, model.config.frames - 1)

    terms = model.terms(clips, noise, feed_back=True)
    weights, steps = model.config.term_weights, model.config.frames - 1
    loss = steps * sum(weights[name] * term for name, term in terms.items())
    expected = oracle.loss(clips, noise[:, 0], feed_back=True)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    assert not torch.isclose(loss, elbo(model, clips, noise)["loss"], rtol=1e-6)
    loss.backward()
    expected.backward()
    gradients_equal(model, oracle)


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize("error", ["mse", "l1"])
def test_what_moves_in_a_clip_can_count_more(error, fed):
    model, oracle = with_oracle({"output": "composed", "reconstruction": error})
    clips = make_clips(model.config, model.config.frames)
    clips[:, 1:, :, 8:] = clips[:, :1, :, 8:]  # most of it stays as it is
    clips[0, 3, 0, 20, 5] += 13 / 255 * (1 if clips[0, 3, 0, 20, 5] < 0.5 else -1)  # just enough
    clips[0, 3, 0, 21, 5] += 12 / 255 * (1 if clips[0, 3, 0, 21, 5] < 0.5 else -1)  # just not
    noise = noise_for(model, range(2), 1, model.config.frames - 1)

    terms = model.terms(clips, noise, feed_back=fed, change_weight=torch.tensor(7.0))
    weights, steps = model.config.term_weights, model.config.frames - 1
    loss = steps * sum(weights[name] * term for name, term in terms.items())
    torch.testing.assert_close(loss, oracle.loss(clips, noise[:, 0], fed, 7.0), rtol=1e-10, atol=0)
    assert terms[error] > 1.5 * model.terms(clips, noise, feed_back=fed)[error]


@pytest.mark.parametrize("changes", TRIED, ids=said)
def test_rollout_equals_the_literal_loop(changes):
    model, oracle = with_oracle(changes)
    given = model.config.context
    context, horizon, samples = make_clips(model.config, given), 4, 2
    noise = noise_for(model, content_ids(context), samples, given - 1 + horizon, seed=7)

    prediction = model.predict(context, horizon, samples, seed=7)
    with torch.no_grad():
        frames, mean, std = oracle.rollout(context, horizon, noise)
    torch.testing.assert_close(prediction.frames, frames, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(prediction.prior_mean, mean, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(prediction.prior_std, std, rtol=1e-9, atol=1e-12)
    assert torch.equal(frames[:, 0], frames[:, 1]) == (model.config.prior == "none")


def test_the_papers_size_has_the_published_number_of_weights():
    """82.9 million at M = K = 1 (DESIGN section 9)."""
    with torch.device("meta"):
        weights = sum(p.numel() for p in SVGPrime(SVGPrimeConfig()).parameters())
    assert round(weights / 1e6, 1) == 82.9


# ---------------------------------------------------------------------------------------------------- distributions


def test_kl_is_summed_over_all_latents_of_a_step():
    model = make_model(narrow_prime())
    clips = make_clips(model.config, 6)
    seen = model.observe(clips)
    q = torch.distributions.Normal(seen.posterior.mean, seen.posterior.std)
    p = torch.distributions.Normal(seen.prior.mean, seen.prior.std)
    expected = torch.distributions.kl_divergence(q, p).sum((-3, -2, -1)).mean()
    close(elbo(model, clips, noise_for(model, range(2), 1, 5))["kl"], expected)


def test_bf16_copies_draw_nearly_the_same():
    model = make_model(narrow_prime(norm="group")).float()
    context = make_clips(model.config, 3).float()
    exact, fast = (model.for_inference(dtype).predict(context, 3, 2).frames for dtype in (None, torch.bfloat16))
    assert fast.dtype == torch.float32
    assert (fast - exact).abs().mean() < 0.02
    assert not torch.equal(fast, exact)


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"map_size": 16}, "model.map_size must be at most 8 at 32 pixels, got 16"),
        ({"map_size": 6}, "model.map_size must be 4, 8, 16 or 32, got 6"),
        ({"latent_size": 16}, "model.latent_size must be at most the map_size, 8, got 16"),
        ({"latent_size": 3}, "model.latent_size must be 1, 2, 4, 8, 16 or 32 or null, got 3"),
        ({"future_skip": "second_last", "context": 1}, "model.context must be at least 2"),
        ({"reconstruction": "l2"}, "model.reconstruction must be one of 'mse', 'l1'"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        narrow_prime(**changes)


def test_batch_statistics_are_refused():
    with pytest.raises(InputError, match="statistics of the batch are for models of the family 'svg' alone"):
        make_model(narrow_prime()).for_inference(batch_statistics=True)


def test_a_model_of_the_other_family_is_refused(tmp_path):
    make_model(narrow_prime()).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="of the family 'svg-prime', not SVG"):
        SVG.from_pretrained(tmp_path)


# -------------------------------------------------------------------------------------------------------- every command


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of few steps, the last of them with frames fed back."""
    folder = tmp_path_factory.mktemp("runs") / "prime"
    sizes = ["image_size=32", "base_channels=4", "g_dim=6", "z_dim=2", "rnn_size=6", "context=2", "horizon=3"]
    words = [f"--model.{size}" for size in [*sizes, "latent_size=4", "future_skip=mean", "norm=group"]]
    words += ["--data.num_digits=1", "--data.digit_size=16", "--data.batch_size=2", "--data.val_clips=2"]
    words += ["--loss.feed_back=0.5", "--loss.kl_warmup_steps=2", "--optim.ema=0.9", "--trainer.max_steps=4"]
    words += ["--trainer.validate_every=2", "--trainer.checkpoint_every=2", "--trainer.log_every=1"]
    assert main(["train", "--config", "laptop", "--model.family", "svg-prime", *words, "--out", str(folder)]) == 0
    return folder


def test_a_run_that_feeds_frames_back_resumes_exactly(trained, tmp_path):
    assert goes_on_exactly(trained, tmp_path / "again", last=4)


def test_predict_surprise_and_uncertainty_say_where(trained, tmp_path):
    assert main(["predict", str(trained), "moving-mnist:1", "--samples", "3", "--out", str(tmp_path / "p")]) == 0
    drawn = np.load(tmp_path / "p" / "moving-mnist-1" / "futures.npz")
    assert drawn["prior_std"].shape == (3, 6, 2, 4, 4)
    assert drawn["futures_std"].shape == (6, 32, 32)
    expected = (drawn["futures"] / 255).std(0).mean(1)
    np.testing.assert_allclose(drawn["futures_std"], expected, atol=1e-3)
    assert len(iio.imread(tmp_path / "p" / "moving-mnist-1" / "maps.gif")) == 8

    assert main(["surprise", str(trained), "moving-mnist:1", "--out", str(tmp_path / "s"), "--length", "12"]) == 0
    maps, table = np.load(tmp_path / "s" / "maps.npz"), np.genfromtxt(tmp_path / "s" / "surprise.csv", delimiter=",")
    assert maps["frame"].tolist() == list(range(2, 13))
    np.testing.assert_allclose(maps["kl_map"].sum((1, 2)), table[1:, 2], rtol=1e-4, atol=1e-6)
    assert len(iio.imread(tmp_path / "s" / "maps.gif")) == 12

    words = ["--clips", "20", "--length", "10", "--out", str(tmp_path / "u")]
    assert main(["uncertainty", str(trained), *words]) == 0
    results = json.loads((tmp_path / "u" / "uncertainty.json").read_text())
    assert results["each_digit"]["frames"] == 20 * 8
    assert 0 <= results["each_digit"]["auroc"] <= 1


def test_a_mean_over_boxes_weighs_cells_by_what_is_covered():
    cells = np.arange(16.0).reshape(1, 1, 4, 4)  # cells of 8 pixels
    boxes = np.array([[[[0, 0, 8, 8], [0, 4, 8, 8], [8, 8, 16, 16]]]])
    assert _in_boxes(cells, boxes, 32)[0, 0].tolist() == [0, 0.5, (5 + 6 + 9 + 10) / 4]


def test_weights_of_the_other_family_are_no_start(trained, tmp_path, capsys):
    assert main(["train", "--config", "laptop", "--init", str(trained), "--out", str(tmp_path / "r")]) == 2
    assert "is of the family 'svg-prime', the model to train of 'svg'" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_an_option_of_the_other_family_is_named(tmp_path, capsys):
    assert main(["train", "--config", "laptop", "--model.map_size", "8", "--out", str(tmp_path / "r")]) == 2
    assert "It is of the family svg-prime: add --model.family svg-prime" in capsys.readouterr().err


def test_frames_are_fed_back_only_to_families_that_can():
    with pytest.raises(InputError, match=r"loss\.feed_back must be null for models of the family 'blur', got 0.5"):
        TrainConfig(model=BlurConfig(), loss=LossConfig(feed_back=0.5))
