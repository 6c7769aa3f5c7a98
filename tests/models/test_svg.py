"""The fast model against the paper's literal loop, and what a prediction may and may not depend on."""

import itertools
import math

import pytest
import torch

from oracle import OracleSVG, copy_weights, gradients_equal
from stochvid import SVG, InputError, SVGConfig
from stochvid.models.noise import content_ids, latent_noise
from tiny import BACKBONES, PRIORS, SKIPS, close, elbo, make_clips, make_model, narrow

COMBINATIONS = list(itertools.product(PRIORS, BACKBONES, SKIPS, (1, 3)))


@pytest.mark.parametrize(("prior", "backbone", "skip", "channels"), COMBINATIONS)
def test_loss_and_every_gradient_equal_the_literal_loop(prior, backbone, skip, channels):
    config = narrow(prior=prior, backbone=backbone, future_skip=skip, channels=channels)
    model = make_model(config)
    oracle = copy_weights(model, OracleSVG(config).double().eval())
    clips = make_clips(config, config.frames)
    noise = latent_noise(0, range(2), 1, config.frames - 1, (config.z_dim,)).double()

    loss = elbo(model, clips, noise[..., : model.z_dim])
    expected = oracle.loss(clips, noise[:, 0])
    torch.testing.assert_close(loss["loss"], expected, rtol=1e-10, atol=0)
    loss["loss"].backward()
    expected.backward()
    gradients_equal(model, oracle)


@pytest.mark.parametrize(("prior", "backbone", "skip", "channels"), COMBINATIONS)
def test_rollout_equals_the_literal_loop(prior, backbone, skip, channels):
    config = narrow(prior=prior, backbone=backbone, future_skip=skip, channels=channels)
    model = make_model(config)
    oracle = copy_weights(model, OracleSVG(config).double().eval())
    context, horizon, samples = make_clips(config, 3), 4, 2
    ids = content_ids(context)
    noise = latent_noise(7, ids, samples, 2 + horizon, (model.z_dim,)).double()

    prediction = model.predict(context, horizon, samples, seed=7)
    with torch.no_grad():
        frames, mean, std = oracle.rollout(context, horizon, noise)
    torch.testing.assert_close(prediction.frames, frames, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(prediction.prior_mean, mean, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(prediction.prior_std, std, rtol=1e-9, atol=1e-12)
    if prior != "none":
        assert not torch.equal(frames[:, 0], frames[:, 1])


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("size", [64, 128])
def test_larger_sizes_equal_the_literal_loop(backbone, size):
    config = narrow(backbone=backbone, image_size=size, base_channels=1, context=2, horizon=2)
    model = make_model(config)
    oracle = copy_weights(model, OracleSVG(config).double().eval())
    clips = make_clips(config, 4, batch=1)
    noise = latent_noise(0, [0], 1, 3, (config.z_dim,)).double()
    torch.testing.assert_close(elbo(model, clips, noise)["loss"], oracle.loss(clips, noise[:, 0]), rtol=1e-10, atol=0)


def test_context_latents_may_be_the_posterior_mean():
    config = narrow(context_latent="mean")
    model = make_model(config)
    oracle = copy_weights(model, OracleSVG(config).double().eval())
    context = make_clips(config, 3)
    noise = latent_noise(0, content_ids(context), 2, 5, (3,)).double()
    with torch.no_grad():
        frames, _, _ = oracle.rollout(context, 3, noise)
    torch.testing.assert_close(model.predict(context, 3, 2).frames, frames, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("size", "stages"), [(32, 3), (64, 4), (128, 5), (256, 6)])
def test_every_size_has_the_published_stages_and_gives_frames_back(backbone, size, stages):
    model = SVG(narrow(backbone=backbone, image_size=size, channels=4, base_channels=2)).eval()
    frames = torch.rand(2, 4, size, size)
    h, skips, _ = model.encoder(frames)
    assert h.shape == (2, 6)
    assert [skip.shape[1] for skip in skips] == [2, 4, 8, 16, 16, 16][:stages]
    assert model.decoder(h[None, :, None], model.decoder.hoist(skips)).shape == (1, 2, 1, 4, size, size)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_paper_sizes_have_the_parameters_of_the_published_layers(backbone, part):
    """Counted from the layer lists of the paper's code at 64 px (weights + biases + batch-norm)."""
    model = SVG(SVGConfig(backbone=backbone))
    assert sum(p.numel() for p in getattr(model, part).parameters()) == _count_by_hand(backbone, part)


def _count_by_hand(backbone: str, part: str) -> int:
    def conv(i, o, k, norm=True):
        return i * o * k * k + o + (2 * o if norm else 0)

    if backbone == "dcgan" and part == "encoder":
        return conv(1, 64, 4) + conv(64, 128, 4) + conv(128, 256, 4) + conv(256, 512, 4) + conv(512, 128, 4)
    if backbone == "dcgan":
        return conv(128, 512, 4) + conv(1024, 256, 4) + conv(512, 128, 4) + conv(256, 64, 4) + conv(128, 1, 4, False)
    if part == "encoder":
        pairs = [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
        pairs += [(256, 512), (512, 512), (512, 512)]
        return sum(conv(i, o, 3) for i, o in pairs) + conv(512, 128, 4)
    pairs = [
        (1024, 512),
        (512, 512),
        (512, 256),
        (512, 256),
        (256, 256),
        (256, 128),
        (256, 128),
        (128, 64),
        (128, 64),
    ]
    return conv(128, 512, 4) + sum(conv(i, o, 3) for i, o in pairs) + conv(64, 1, 3, False)


# ---------------------------------------------------------------------------------------------------- distributions


def test_fixed_prior_is_standard_normal_in_loss_and_rollout():
    model = make_model(narrow(prior="fixed"))
    prediction = model.predict(make_clips(model.config, 3), 4, 3)
    assert torch.all(prediction.prior_mean == 0)
    assert torch.all(prediction.prior_std == 1)
    seen = model.observe(make_clips(model.config, 4))
    standard = torch.distributions.Normal(torch.zeros(3).double(), torch.ones(3).double())
    posterior = torch.distributions.Normal(seen.posterior.mean, seen.posterior.std)
    close(seen.posterior.kl(seen.prior), torch.distributions.kl_divergence(posterior, standard).sum(-1))


def test_kl_equals_torch_distributions():
    model = make_model(narrow())
    clips = make_clips(model.config, 6)
    seen = model.observe(clips)
    q = torch.distributions.Normal(seen.posterior.mean, seen.posterior.std)
    p = torch.distributions.Normal(seen.prior.mean, seen.prior.std)
    expected = torch.distributions.kl_divergence(q, p).sum(-1)
    close(seen.posterior.kl(seen.prior), expected)
    noise = latent_noise(0, range(2), 1, 5, (3,)).double()
    close(elbo(model, clips, noise)["kl"], expected.mean())
    assert expected.min() > 0


def test_latent_noise_is_standard_normal_and_differs_between_clips_and_samples():
    noise = latent_noise(3, range(20), 10, 50, (8,)).double()
    assert abs(noise.mean()) < 4 / noise.numel() ** 0.5
    assert abs(noise.var() - 1) < 4 * (2 / noise.numel()) ** 0.5
    assert len(torch.unique(noise[:, :, 0, 0])) == 200
    close(latent_noise(3, [7], 1, 20, (8,), first_sample=4), noise[7:8, 4:5, :20].float())


def test_without_latents_all_futures_are_one():
    model = make_model(narrow(prior="none"))
    prediction = model.predict(make_clips(model.config, 3), 3, 4)
    assert prediction.frames.shape[:3] == (2, 4, 3)
    assert prediction.prior_std.shape == (2, 4, 3, 0)
    assert torch.equal(prediction.frames[:, 0], prediction.frames[:, 3])


# ------------------------------------------------------------------------------------------------------------ manners


def test_predict_gives_every_module_its_mode_back_and_leaves_the_statistics():
    model = make_model(narrow())
    model.train()
    model.encoder.head.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.predict(make_clips(model.config, 3), 2)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_bytes_and_floats_give_the_same_future():
    model = make_model(narrow())
    pixels = torch.randint(0, 256, (2, 3, 1, 32, 32), dtype=torch.uint8)
    close(model.predict(pixels, 2, 2).frames, model.predict(pixels.double() / 255, 2, 2).frames)


def test_one_context_frame_is_enough():
    model = make_model(narrow(context=1))
    assert model.predict(make_clips(model.config, 1), 3, 2).frames.shape == (2, 2, 3, 1, 32, 32)


def test_training_mode_batch_norm_sees_all_frames_at_once():
    model = SVG(narrow()).train()
    clips = torch.rand(2, 6, 1, 32, 32)
    first = model.encoder.stages[0][0]
    seen = []
    first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[0]))
    elbo(model, clips, torch.zeros(2, 1, 5, 3))
    assert seen == [12]


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((1, 3, 3, 32, 32), {}, r"context must be \(B, K, 1, 32, 32\), got \(1, 3, 3, 32, 32\)"),
        ((1, 3, 1, 64, 64), {}, r"got \(1, 3, 1, 64, 64\)"),
        ((3, 1, 32, 32), {}, "context must be"),
        ((1, 0, 1, 32, 32), {}, "number of context frames must be at least 1, got 0"),
        ((1, 3, 1, 32, 32), {"dtype": torch.int64}, r"must be uint8, or float in \[0, 1\], got torch.int64"),
        ((1, 3, 1, 32, 32), {"horizon": 0}, "horizon must be at least 1, got 0"),
        ((1, 3, 1, 32, 32), {"samples": 0}, "samples must be at least 1, got 0"),
    ],
)
@pytest.mark.unchecked
def test_wrong_inputs_are_named(shape, arguments, message):
    options = {"horizon": 1} | arguments
    context = torch.zeros(shape, dtype=options.pop("dtype", torch.float32))
    with pytest.raises(InputError, match=message):
        SVG(narrow()).predict(context, **options)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1, 1), (0, math.nan)])
@pytest.mark.unchecked
def test_frames_of_another_range_are_refused(low, high):
    context = torch.zeros(1, 3, 1, 32, 32)
    context[0, 0, 0, 0, :2] = torch.tensor([low, high])
    with pytest.raises(InputError, match=r"context must be in \[0, 1\], got "):
        SVG(narrow()).predict(context, 1)
    with pytest.raises(InputError, match=r"frames must be uint8, or float in \[0, 1\], got torch\.int64"):
        SVG(narrow()).observe(context.to(torch.int64))


@pytest.mark.parametrize("samples", [1, 2, 6])
def test_noise_of_other_samples_than_the_state_is_refused(samples):
    model = make_model(narrow())
    state = model.observe(
        make_clips(model.config, 3), latent_noise(0, range(2), 4, 2, (model.z_dim,)), decode=False
    ).state
    noise = latent_noise(1, range(2), samples, 3, (model.z_dim,))
    with pytest.raises(InputError, match=rf"the state has 8 rows, .* {2 * samples}, clips × samples"):
        model.imagine(state, 3, noise)


def test_second_last_skip_needs_two_context_frames():
    with pytest.raises(InputError, match="at least 2 for a model of SVG-LP with these settings, got 1"):
        SVG(narrow(future_skip="second_last")).predict(torch.zeros(1, 1, 1, 32, 32), 1)
