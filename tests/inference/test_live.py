"""A model that watches frame by frame: as if it had seen all of them at once, whatever its family."""

import numpy as np
import pytest
import torch

from stochvid import InputError, Live, load
from stochvid.models.noise import rollout_noise
from tiny import close, make_model, narrow, narrow_convlstm, narrow_prime, narrow_sprites

FRAMES = 9
FAMILIES = [
    narrow(),
    narrow(prior="fixed", future_skip="previous", channels=3),
    narrow(prior="none"),
    narrow_prime(future_skip="mean"),
    narrow_sprites(),
    narrow_convlstm(),
]
each_family = pytest.mark.parametrize(
    "config", FAMILIES, ids=lambda config: f"{config.family}-{config.channels}-{getattr(config, 'prior', '')}"
)


def frames_for(model):
    shape = (FRAMES, model.config.image_size, model.config.image_size, model.config.channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def as_clip(frames):
    return torch.from_numpy(frames.transpose(0, 3, 1, 2)[None])


@each_family
def test_it_tells_what_observing_all_at_once_tells(config):
    model = make_model(config)
    frames, live = frames_for(model), Live(model)
    told = [live.see(frame) for frame in frames]
    seen = model.for_inference().observe(as_clip(frames))
    assert told[: config.context] == [None] * config.context
    if not model.stochastic:
        assert told == [None] * FRAMES
        return
    kl = seen.posterior.divergence(seen.prior)[0].flatten(1).sum(-1)
    for number in range(config.context + 1, FRAMES + 1):
        one, step = told[number - 1], number - 2  # the first frame has no step
        assert one.frame == number
        assert one.kl == pytest.approx(kl[step].item(), rel=1e-6, abs=1e-9)
        assert one.std == pytest.approx(seen.prior.std[0, step].mean().item(), rel=1e-6)
        error = (seen.frames[0, 0, step] - as_clip(frames)[0, number - 1] / 255).square().mean()
        assert one.mse == pytest.approx(error.item(), rel=1e-5)
        if seen.kl_map is not None:
            close(torch.from_numpy(one.kl_map), seen.kl_map[0, step].float())


@each_family
def test_its_futures_are_those_after_all_frames(config):
    model = make_model(config)
    frames, live = frames_for(model), Live(model)
    for frame in frames:
        live.see(frame)
    drawn = live.futures(horizon=3, samples=2, seed=5)
    fast = model.for_inference()
    state = fast.observe(as_clip(frames)).state
    noise = rollout_noise(5, [FRAMES], 2, 0, 3, model.latent_shape)
    close(drawn.frames, fast.imagine(state, 3, noise).frames)
    assert drawn.frames.shape[:3] == (1, 2, 3)
    assert torch.equal(live.futures(horizon=3, samples=2, seed=5).frames, drawn.frames)  # nothing was moved on
    live.see(frames[0])
    assert not torch.equal(live.futures(horizon=3, samples=2, seed=5).frames, drawn.frames)


def test_frames_of_any_size_and_kind_are_taken():
    live, shown = Live("one-digit", device="cpu"), []
    rng = np.random.default_rng(1)
    for kind in ("uint8", "float", "bool", "colour", "wide"):
        live.reset()
        size = (48, 64) if kind == "wide" else (32, 32)
        for _ in range(6):
            frame = rng.random((*size, 3) if kind == "colour" else size)
            frame = {"float": frame, "bool": frame > 0.5}.get(kind, (frame * 255).astype(np.uint8))
            told = live.see(frame)
        shown.append(told.kl)
        assert told.frame == 6
        assert live.futures(4, 3).frames.shape == (1, 3, 4, 1, 32, 32)
    assert np.isfinite(shown).all()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((2, 2, 2, 2)), r"a frame has shape \(2, 2, 2, 2\); expected \(H, W\) or \(H, W, C\)"),
        (np.full((8, 8), np.nan), "NaN"),
        (np.full((8, 8), 300), "int64 values"),
        (np.zeros((8, 8, 7), np.uint8), "frames of 7 channel"),
    ],
)
def test_what_is_no_frame_is_said_and_nothing_forgotten(frame, message):
    live = Live(load("one-digit"))
    live.see(np.zeros((32, 32)))
    with pytest.raises(InputError, match=message):
        live.see(frame)
    assert live.frames == 1


def test_futures_need_the_context():
    live = Live(load("one-digit"))
    live.see(np.zeros((32, 32)))
    with pytest.raises(InputError, match="futures need 5 frames, and 1 came so far"):
        live.futures()


@each_family
def test_futures_from_a_state_do_not_depend_on_how_many_are_drawn_at_once(config):
    model = make_model(config).for_inference()
    state = model.observe(as_clip(frames_for(model))).state
    drawn, pieces = (model.predict_from(state, 3, 5, seed=2, chunk=chunk) for chunk in (None, 2))
    assert drawn.frames.shape[:3] == (1, 5, 3)
    for name in ("frames", "prior_mean", "prior_std", "latents"):
        close(getattr(pieces, name), getattr(drawn, name))
