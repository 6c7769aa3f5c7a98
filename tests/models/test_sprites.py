"""Sprites against the literal loop, what they may be, and every command with them."""

import dataclasses
import json

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from runs import goes_on_exactly
from sprites_oracle import OracleSprites, shifted
from stochvid import InputError
from stochvid.cli import main
from stochvid.core.clips import DRAWN
from stochvid.data.moving_mnist import digit_tracks
from stochvid.models.noise import content_ids
from tiny import close, make_clips, make_model, narrow_sprites, noise_for

COMBINATIONS = [
    {},
    {"sprites": 1, "channels": 3},
    {"sprites": 3, "reach": 1},
    {"reach": 6, "context": 2, "horizon": 2},
    {"context": 1, "horizon": 3},
    pytest.param({"image_size": 64, "reach": 4, "context": 2, "horizon": 2}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("changes", COMBINATIONS, ids=str)
def test_loss_and_every_gradient_equal_the_literal_loop(changes):
    model = make_model(narrow_sprites(**changes))
    clips = make_clips(model.config, model.config.frames)
    noise = noise_for(model, range(2), 1, model.config.frames - 1)

    for trains in (False, True):
        terms = model.train(trains).terms(clips, noise)
        mse, kl = OracleSprites(model).terms(clips, noise[:, 0], trains)
        torch.testing.assert_close(terms["mse"], mse, rtol=1e-10, atol=0)
        torch.testing.assert_close(terms["kl"], kl, rtol=1e-8, atol=0)
    assert kl > 1e-3
    fast = torch.autograd.grad(terms["mse"] + 0.1 * terms["kl"], list(model.parameters()))
    wanted = torch.autograd.grad(mse + 0.1 * kl, list(model.parameters()))
    for name, a, b in zip(dict(model.named_parameters()), fast, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9 * b.abs().max().item(), msg=lambda m, n=name: f"{n}: {m}")
        assert b.abs().max() > 0, name


@pytest.mark.parametrize("changes", COMBINATIONS, ids=str)
def test_rollout_equals_the_literal_loop(changes):
    model = make_model(narrow_sprites(**changes))
    known, horizon, samples = model.config.context - 1, 3, 2
    context = make_clips(model.config, known + 1)
    noise = noise_for(model, content_ids(context), samples, known + horizon, seed=7)
    noise[:, :, :known] = 0  # given frames take the posterior's mean

    drawn = model.predict(context, horizon, samples, seed=7)
    oracle = OracleSprites(model)
    for i in range(2):
        for s in range(samples):
            with torch.no_grad():
                frames, _, priors = oracle.clip(context[i], noise[i, s])
            torch.testing.assert_close(drawn.frames[i, s], frames[known + 1 :], rtol=1e-9, atol=1e-12)
            for t, (mean, log_var) in enumerate(priors[known:]):
                torch.testing.assert_close(drawn.prior_mean[i, s, t], mean, rtol=1e-9, atol=1e-12)
                torch.testing.assert_close(drawn.prior_std[i, s, t], (log_var / 2).exp(), rtol=1e-9, atol=1e-12)
    assert not torch.equal(drawn.frames[:, 0], drawn.frames[:, 1])


def test_sprites_are_cut_out_of_the_first_or_the_last_given_frame_whichever_explains_more():
    model = make_model(narrow_sprites())
    clips = torch.cat([make_clips(model.config, 4), make_clips(model.config, 4).flip(1)])
    with torch.no_grad():
        state, first = model.cut(clips), model.segment(clips)
        oracle, turned = OracleSprites(model), []
        for i, clip in enumerate(clips):
            (opacities, _, background), places = oracle.better_cut(clip)
            torch.testing.assert_close(state.opacity[i], torch.stack(opacities), rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(state.background[i], background, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(state.place[i], torch.stack(places), rtol=1e-9, atol=1e-12)
            turned.append(not torch.equal(state.opacity[i], first.opacity[i]))
    assert {True, False} == set(turned)


def test_a_sprite_is_matched_where_it_went_and_can_be_shown_there():
    """By hand: a block that moves two down and one to the left."""
    model = make_model(narrow_sprites(sprites=1, reach=3))
    opacity, dynamics, reach = torch.zeros(1, 32, 32).double(), model.dynamics, 3
    opacity[0, 10:15, 8:14] = 1
    there = shifted(opacity, 2, -1)
    with torch.no_grad():
        dynamics.sharpness.fill_(4.0)
        match = dynamics.match(opacity, opacity[:, None] * 0.7, there[:, None] * 0.7)
        dynamics.posterior[2].weight.zero_()
        dynamics.posterior[2].bias.zero_()
        drawn = dynamics.posterior_of(torch.zeros(1, 12).double(), match).mean
        rows, columns = dynamics.kernels(reach * drawn, 0.0)
    assert divmod(match.argmax().item(), 2 * reach + 1) == (2 + reach, -1 + reach)
    torch.testing.assert_close(drawn * reach, torch.tensor([[2.0, -1.0]]).double(), rtol=0, atol=0.05)
    torch.testing.assert_close(rows @ opacity @ columns, there, rtol=0, atol=0.05)


def test_motion_is_seen_around_every_pixel_that_moves():
    """By hand: two blocks, one that moves three down, one that moves two to the left and one up."""
    clips = torch.zeros(1, 3, 1, 32, 32).double()
    for t in range(3):
        clips[0, t, 0, 4 + 3 * t : 10 + 3 * t, 4:11] = 1
        clips[0, t, 0, 24 - t : 29 - t, 20 - 2 * t : 27 - 2 * t] = 0.8
    with torch.no_grad():
        seen = make_model(narrow_sprites(reach=4)).motion(clips)[0]
    for maps in (seen[:3], seen[3:]):
        for place, displacement in (((5, 5), (3, 0)), ((27, 25), (-1, -2))):
            torch.testing.assert_close(maps[:2, *place] * 4, torch.tensor(displacement).double(), rtol=0, atol=0.1)
            assert maps[2, *place] > 0.8
    assert seen[2, 20, 5] < 0.3  # nothing is there, and nothing is known


def test_what_left_the_frame_comes_back_as_sharp_as_it_was():
    model = make_model(narrow_sprites())
    state = model.segment(make_clips(model.config, 3))
    outside = dataclasses.replace(state, place=state.place + 70)
    assert model.show(outside).opacity.abs().max() < 1e-6
    back = dataclasses.replace(outside, place=outside.place - 70)
    close(model.show(back).opacity, model.show(state).opacity)
    torch.testing.assert_close(model.show(back).opacity, state.opacity, rtol=0, atol=0.01)


def test_sprites_are_softer_in_training_but_never_without_end():
    model = make_model(narrow_sprites())
    clips = make_clips(model.config, 3)
    noise = noise_for(model, range(2), 1, 2)

    def error(doubt, trains):
        with torch.no_grad():
            model.dynamics.doubt.fill_(doubt)
            return model.train(trains).terms(clips, noise)["mse"]

    assert torch.equal(error(0.0, False), error(-9.0, False))
    assert error(0.0, True) != error(-4.0, True) != error(0.0, False)
    assert torch.equal(error(-4.0, True), error(-9.0, True))


def test_maps_of_kl_add_up_and_maps_of_sigma_lie_where_sprites_are():
    model = make_model(narrow_sprites())
    clips = make_clips(model.config, 6)
    seen = model.observe(clips)
    close(seen.kl_map.sum((-1, -2)), seen.posterior.kl(seen.prior, 2))
    assert seen.std_map.shape == seen.kl_map.shape == (2, 5, 32, 32)
    assert model.observe(clips, decode=False).frames is None
    drawn = model.predict(clips[:, :3], 4, 2)
    assert drawn.std_map.shape == (2, 2, 4, 32, 32)
    highest = drawn.prior_std.mean(-1).sum(-1)
    assert (drawn.std_map.amax((-1, -2)) <= highest + 1e-9).all()


def test_frames_stay_within_bounds_whatever_the_weights():
    model = make_model(narrow_sprites(channels=3), seed=3)
    with torch.no_grad():
        for x in model.dynamics.prior.parameters():
            x *= 20
    drawn = model.predict(make_clips(model.config, 3), 12, 2)
    assert drawn.frames.min() >= -1e-9
    assert drawn.frames.max() <= 1 + 1e-9
    assert drawn.prior_mean.abs().max() == 2  # of what `reach` is: no rollout runs away


def test_bf16_copies_draw_nearly_the_same():
    model = make_model(narrow_sprites()).float()
    context = make_clips(model.config, 3).float()
    exact, fast = (model.for_inference(dtype).predict(context, 3, 2).frames for dtype in (None, torch.bfloat16))
    assert fast.dtype == torch.float32
    assert (fast - exact).abs().mean() < 0.02
    assert not torch.equal(fast, exact)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reach": 9}, "model.reach must be at most 8 at 32 pixels, got 9"),
        ({"base_channels": 12}, "model.base_channels must be a multiple of 8, got 12"),
        ({"sprites": 0}, "model.sprites must be from 1 to 64, got 0"),
        ({"sprites": 65}, "model.sprites must be from 1 to 64, got 65"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        narrow_sprites(**changes)


@pytest.mark.parametrize("changes", [{"compile": True}, {"batch_statistics": True}])
def test_what_it_cannot_do_is_said(changes):
    with pytest.raises(InputError, match=f"family 'sprites' do not know {next(iter(changes))}"):
        make_model(narrow_sprites()).for_inference(**changes)


# -------------------------------------------------------------------------------------------------------- every command


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of few steps."""
    folder = tmp_path_factory.mktemp("runs") / "sprites"
    words = [f"--model.{x}" for x in ("image_size=32", "base_channels=8", "rnn_size=6", "context=2", "horizon=3")]
    words += ["--data.num_digits=1", "--data.digit_size=16", "--data.batch_size=2", "--data.val_clips=2"]
    words += ["--loss.kl_warmup_steps=2", "--optim.ema=0.9", "--trainer.max_steps=4", "--trainer.log_every=1"]
    words += ["--trainer.validate_every=2", "--trainer.checkpoint_every=2", "--data.digits=builtin"]
    assert main(["train", "--config", "sprites", *words, "--out", str(folder)]) == 0
    return folder


def test_a_run_resumes_exactly(trained, tmp_path):
    assert goes_on_exactly(trained, tmp_path / "again", last=4)


def test_predict_surprise_uncertainty_and_evaluate_take_it(trained, tmp_path):
    assert main(["predict", str(trained), "moving-mnist:1", "--samples", "3", "--out", str(tmp_path / "p")]) == 0
    drawn = np.load(tmp_path / "p" / "moving-mnist-1" / "futures.npz")
    assert drawn["prior_std"].shape == (3, 6, 2, 2)
    assert drawn["std_map"].shape == (3, 6, 32, 32)
    assert set(drawn.files) == {*DRAWN, *digit_tracks(1)}  # so that no track may be called like one of them
    assert len(iio.imread(tmp_path / "p" / "moving-mnist-1" / "maps.gif")) == 8

    assert main(["surprise", str(trained), "moving-mnist:1", "--out", str(tmp_path / "s"), "--length", "40"]) == 0
    maps, table = np.load(tmp_path / "s" / "maps.npz"), np.genfromtxt(tmp_path / "s" / "surprise.csv", delimiter=",")
    assert maps["frame"].tolist() == list(range(2, 41))
    np.testing.assert_allclose(maps["kl_map"].sum((1, 2)), table[1:, 2], rtol=1e-4, atol=1e-6)

    words = ["--clips", "20", "--length", "10", "--out", str(tmp_path / "u")]
    assert main(["uncertainty", str(trained), *words]) == 0
    assert json.loads((tmp_path / "u" / "uncertainty.json").read_text())["each_digit"]["frames"] == 20 * 8
    words = ["--clips", "2", "--samples", "2", "--out", str(tmp_path / "e.json")]
    assert main(["evaluate", str(trained), *words]) == 0
