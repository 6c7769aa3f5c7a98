"""What a future may and may not depend on, in every family."""

import itertools

import pytest
import torch

from tiny import (
    PRIORS,
    SKIPS,
    close,
    make_clips,
    make_model,
    narrow,
    narrow_convlstm,
    narrow_prime,
    narrow_sprites,
    noise_for,
)

KINDS = [
    *((narrow, {"prior": prior, "future_skip": skip}) for prior, skip in itertools.product(PRIORS, SKIPS)),
    *((narrow_prime, {"future_skip": skip, "latent_size": 4}) for skip in (*SKIPS, "mean")),
    (narrow_prime, {"prior": "fixed", "future_skip": "mean", "latent_size": 4}),
    (narrow_prime, {"prior": "none", "future_skip": "last"}),
    (narrow_prime, {"output": "composed", "future_skip": "last"}),
    (narrow_sprites, {}),
    (narrow_convlstm, {}),
]


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(map(str, (kind[0].__name__, *kind[1].values()))))
def model(request):
    make, changes = request.param
    return make_model(make(**changes))


def test_a_future_does_not_change_with_batch_mates(model):
    context = make_clips(model.config, 3, batch=3)
    together = model.predict(context, 4, 2)
    for i in (0, 2):
        close(model.predict(context[i : i + 1], 4, 2).frames[0], together.frames[i])
    close(model.predict(context.flip(0), 4, 2).frames.flip(0), together.frames)


def test_a_future_does_not_change_with_chunking_or_the_number_of_samples(model):
    context = make_clips(model.config, 3)
    five = model.predict(context, 3, 5)
    close(model.predict(context, 3, 5, chunk=2).frames, five.frames)
    close(model.predict(context, 3, 5, chunk=2).prior_std, five.prior_std)
    close(model.predict(context, 3, 2).frames, five.frames[:, :2])


def test_a_longer_horizon_begins_with_the_shorter_one(model):
    context = make_clips(model.config, 3)
    long, short = model.predict(context, 6, 2), model.predict(context, 3, 2)
    close(short.frames, long.frames[:, :, :3])
    close(short.prior_mean, long.prior_mean[:, :, :3])


def test_same_seed_same_future_and_another_seed_another(model):
    context = make_clips(model.config, 3)
    assert torch.equal(model.predict(context, 3, 2, seed=5).frames, model.predict(context, 3, 2, seed=5).frames)
    differs = not torch.equal(model.predict(context, 3, 2, seed=5).frames, model.predict(context, 3, 2, seed=6).frames)
    assert differs == model.stochastic


def test_observing_in_pieces_equals_observing_at_once(model):
    clips = make_clips(model.config, 9)
    noise, future = noise_for(model, range(2), 2, 8), noise_for(model, range(2), 2, 3, seed=1)
    with torch.no_grad():
        whole = model.observe(clips, noise)
        state, parts = None, []
        alone = 3 if model.config.family == "sprites" else 1  # sprites are cut out of the context, all at once
        for first, last in ((0, alone), (alone, 4), (4, 9)):
            drawn = noise[:, :, max(0, first - 1) : last - 1]
            seen = model.observe(clips[:, first:last], drawn, state=state)
            state = seen.state
            parts.append(seen.frames)
        close(torch.cat([part for part in parts if part.shape[2]], 2), whole.frames)
        close(model.imagine(state, 3, future).frames, model.imagine(whole.state, 3, future).frames)


def test_imagining_in_pieces_equals_imagining_at_once(model):
    clips = make_clips(model.config, 3)
    noise = noise_for(model, range(2), 2, 6)
    with torch.no_grad():
        state = model.observe(clips, decode=False).state
        whole = model.imagine(state, 6, noise)
        first = model.imagine(state, 2, noise[:, :, :2])
        second = model.imagine(first.state, 4, noise[:, :, 2:])
    close(torch.cat([first.frames, second.frames], 2), whole.frames)
