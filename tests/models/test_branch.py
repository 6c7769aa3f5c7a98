"""Temperature and branches of a prediction, against the paper's loop and against `observe` and `imagine`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from oracle import OracleSVG, copy_weights
from stochvid import SVG, Branch, InputError
from stochvid.cli import main
from stochvid.models.noise import content_ids, latent_noise, rollout_noise
from tiny import PRIORS, SKIPS, close, make_clips, make_model, narrow

LATENTS = [prior for prior in PRIORS if prior != "none"]


@pytest.fixture(params=LATENTS)
def model(request):
    return make_model(narrow(prior=request.param))


def test_temperature_1_and_no_branch_are_the_noise_of_before():
    noise = latent_noise(5, [1, 2], 3, 6, (4,), first_sample=2)
    assert torch.equal(rollout_noise(5, [1, 2], 3, 2, 4, (4,), first_sample=2), noise)


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("prior", LATENTS)
def test_a_branch_under_a_temperature_equals_the_literal_loop(prior, skip):
    config = narrow(prior=prior, future_skip=skip)
    model = make_model(config)
    oracle = copy_weights(model, OracleSVG(config).double().eval())
    context, ids = make_clips(config, 3), content_ids(make_clips(config, 3))
    followed = latent_noise(7, ids, 1, 2 + 2, (config.z_dim,), first_sample=1)
    followed[:, :, 2:] *= 0.5
    noise = latent_noise(9, ids, 2, 2 + 4, (config.z_dim,), depth=1)
    noise[:, :, 2:] *= 1.5
    noise[:, :, :4] = followed

    drawn = model.predict(context, 4, 2, seed=9, temperature=1.5, branch=Branch(7, 1, 2, temperature=0.5))
    with torch.no_grad():
        frames, mean, std = oracle.rollout(context, 4, noise.double())
    torch.testing.assert_close(drawn.frames, frames, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(drawn.prior_mean, mean, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(drawn.prior_std, std, rtol=1e-9, atol=1e-12)


def test_latents_are_the_priors_mean_and_spread_with_the_noise_of_the_future(model):
    context = make_clips(model.config, 3)
    drawn = model.predict(context, 4, 2, seed=3)
    noise = latent_noise(3, content_ids(context), 2, 6, (model.z_dim,))[:, :, 2:].double()
    close(drawn.latents, drawn.prior_mean + drawn.prior_std * noise)


def test_a_branch_begins_as_the_future_it_follows_and_then_parts(model):
    context = make_clips(model.config, 3)
    parent = model.predict(context, 5, 4, seed=1)
    branches = model.predict(context, 5, 4, seed=1, branch=Branch(1, 2, 3))
    for values, followed in ((branches.frames, parent.frames), (branches.latents, parent.latents)):
        close(values[:, :, :3], followed[:, 2:3, :3].expand_as(values[:, :, :3]))
        assert torch.equal(values[:, :, :3], values[:, :1, :3].expand_as(values[:, :, :3]))  # it is drawn once
        parted = [values[0, s, 3] for s in range(4)] + [followed[0, s, 3] for s in range(4)]
        assert all(not torch.equal(a, b) for i, a in enumerate(parted) for b in parted[:i])


def test_a_branch_of_a_branch_follows_it_back_to_the_root(model):
    context = make_clips(model.config, 3)
    first = Branch(1, 0, 2)
    children = model.predict(context, 6, 2, seed=4, branch=first)
    grandchildren = model.predict(context, 6, 2, seed=4, branch=Branch(4, 1, 4, parent=first))
    close(grandchildren.frames[:, 0, :4], children.frames[:, 1, :4])
    close(grandchildren.frames[:, 0, :2], model.predict(context, 2, 2, seed=1).frames[:, 0])
    earlier = model.predict(context, 6, 2, seed=4, branch=Branch(4, 1, 1, parent=first))  # before it had parted
    close(earlier.frames[:, 0, :1], children.frames[:, 1, :1])


def test_a_branch_keeps_the_temperature_of_what_it_follows(model):
    context = make_clips(model.config, 3)
    wild = model.predict(context, 4, 2, temperature=1.7)
    calm = model.predict(context, 4, 2, temperature=0.0, branch=Branch(0, 1, 2, temperature=1.7))
    close(calm.frames[:, 0, :2], wild.frames[:, 1, :2])
    close(calm.latents[:, :, 2:], calm.prior_mean[:, :, 2:])


def test_temperature_0_takes_the_priors_mean(model):
    context = make_clips(model.config, 3)
    drawn = model.predict(context, 4, 2, temperature=0.0)
    assert torch.equal(drawn.latents, drawn.prior_mean)
    noise = latent_noise(0, content_ids(context), 2, 6, (model.z_dim,)).double()
    noise[:, :, 2:] = 0
    with torch.no_grad():
        state = model.observe(context, noise[:, :, :2], decode=False).state
        close(drawn.frames, model.imagine(state, 4, noise[:, :, 2:]).frames)


def test_branches_do_not_change_with_batch_mates_chunking_samples_or_a_longer_horizon(model):
    context, branch = make_clips(model.config, 3, batch=3), Branch(2, 3, 2, parent=Branch(2, 1, 1))
    options = {"seed": 2, "branch": branch, "temperature": 0.8}
    whole = model.predict(context, 5, 4, **options)
    close(model.predict(context[1:2], 5, 4, **options).frames[0], whole.frames[1])
    close(model.predict(context, 5, 4, chunk=3, **options).latents, whole.latents)
    close(model.predict(context, 5, 2, first_sample=2, **options).frames, whole.frames[:, 2:])
    for horizon in (1, 3):
        close(model.predict(context, horizon, 4, **options).frames, whole.frames[:, :, :horizon])


def test_a_model_without_latents_has_one_future_whatever_is_followed():
    model = make_model(narrow(prior="none"))
    context = make_clips(model.config, 3)
    drawn = model.predict(context, 3, 2, temperature=0.3, branch=Branch(0, 1, 2))
    assert torch.equal(drawn.frames, model.predict(context, 3, 2).frames)
    assert drawn.latents.shape == (2, 2, 3, 0)


@pytest.mark.parametrize("temperature", [-0.1, float("inf"), float("nan")])
def test_a_temperature_that_makes_no_sense_is_refused(temperature):
    with pytest.raises(InputError, match="temperature must be 0 or more, got"):
        SVG(narrow()).predict(torch.zeros(1, 3, 1, 32, 32), 1, temperature=temperature)


@pytest.mark.parametrize(
    ("change", "message"), [({"sample": -1}, "sample.*got -1"), ({"frames": -2}, "frames.*got -2")]
)
def test_a_branch_that_follows_nothing_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(Branch(0, 0, 1), **change)


def test_the_command_takes_a_temperature_and_writes_the_latents(tmp_path):
    torch.manual_seed(0)
    SVG(narrow()).save_pretrained(tmp_path / "model")
    words = ["predict", str(tmp_path / "model"), "moving-mnist:1", "--temperature", "0", "--out", str(tmp_path / "out")]
    assert main([*words, "--samples", "2"]) == 0
    with np.load(tmp_path / "out" / "moving-mnist-1" / "futures.npz") as arrays:
        assert np.array_equal(arrays["latents"], arrays["prior_mean"])
        assert arrays["temperature"] == 0
