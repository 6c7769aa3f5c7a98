"""Models that are driven by actions: against the literal loop, and what futures may and may not depend on."""

import pytest
import torch

from oracle import OracleSVG, copy_weights, gradients_equal
from stochvid import SVG, InputError, SVGPrime
from stochvid.core.clips import ACTIONS, Clips
from stochvid.data.tracks import Track
from stochvid.models.noise import latent_noise
from tiny import make_clips, make_model, narrow, narrow_prime, noise_for

KINDS = [
    (narrow, {}),
    (narrow, {"prior": "fixed", "context_latent": "mean", "backbone": "vgg"}),
    (narrow, {"prior": "none", "future_skip": "previous"}),
    (narrow_prime, {}),
    (narrow_prime, {"latent_size": 1, "future_skip": "mean", "map_size": 4}),
    (narrow_prime, {"output": "composed", "norm": "group", "base_channels": 16}),
    (narrow_prime, {"prior": "none", "context": 1}),
]

TOLD = {"mean": 20.0, "std": 3.0, "min": 10.0, "max": 30.0}


def driven(kind, changes, action_dim: int = 2):
    """A model in float64 whose actions had mean 20 and standard deviation 3, and the oracle of its weights."""
    model = make_model(kind(action_dim=action_dim, **changes))
    model.learn({ACTIONS: Track("float64", (action_dim,), statistics={n: [v] * action_dim for n, v in TOLD.items()})})
    return model, copy_weights(model, OracleSVG(model.config).double().eval())


def make_actions(*shape: int, seed: int = 3) -> torch.Tensor:
    return 20 + 3 * torch.randn(*shape, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clips_of(model, length: int, actions: int | None = None) -> Clips:
    frames = make_clips(model.config, length)
    return Clips(frames, {ACTIONS: make_actions(2, actions or length)})


@pytest.mark.parametrize(("kind", "changes"), KINDS)
@pytest.mark.parametrize("feed_back", [False, True])
def test_loss_and_every_gradient_equal_the_literal_loop(kind, changes, feed_back):
    model, oracle = driven(kind, changes)
    clips = clips_of(model, model.config.frames)
    noise = noise_for(model, range(2), 1, model.config.frames - 1)
    weights = model.config.term_weights
    terms = model.terms(clips, noise, feed_back=feed_back)
    loss = (model.config.frames - 1) * sum(weights[name] * term for name, term in terms.items())
    expected = oracle.loss(clips.frames, noise[:, 0], feed_back, actions=clips.tracks[ACTIONS])
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    loss.backward()
    expected.backward()
    gradients_equal(model, oracle)


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_futures_under_actions_of_their_own_equal_the_literal_loop(kind, changes):
    model, oracle = driven(kind, changes)
    known, horizon, samples = model.config.context, 4, 3
    given, future = clips_of(model, known), make_actions(2, samples, horizon, seed=5)
    drawn = model.predict(given, horizon, samples, seed=2, clip_ids=[7, 8], actions=future)
    noise = latent_noise(2, [7, 8], samples, known - 1 + horizon, model.latent_shape).double()
    told = torch.cat([given.tracks[ACTIONS][:, None].expand(-1, samples, -1, -1), future], 2)
    frames, mean, std = oracle.rollout(given.frames, horizon, noise, told)
    torch.testing.assert_close(drawn.frames, frames, rtol=0, atol=1e-9)
    if model.stochastic:
        torch.testing.assert_close(drawn.prior_mean, mean, rtol=0, atol=1e-9)
        torch.testing.assert_close(drawn.prior_std, std, rtol=0, atol=1e-9)
    parts = [model.predict(given, horizon, samples, seed=2, clip_ids=[7, 8], actions=future, chunk=c) for c in (1, 2)]
    for part in parts:
        torch.testing.assert_close(part.frames, drawn.frames, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("kind", "changes"), KINDS[:1] + KINDS[3:5])
def test_an_action_is_what_led_to_its_frame_and_none_comes_too_early_or_too_late(kind, changes):
    model, _ = driven(kind, changes)
    known, horizon = model.config.context, 5
    given, future = clips_of(model, known), make_actions(2, 1, horizon, seed=5)
    drawn = model.predict(given, horizon, clip_ids=[1, 2], actions=future).frames
    for t in range(horizon):
        other = future.clone()
        other[:, :, t] += 3
        changed = model.predict(given, horizon, clip_ids=[1, 2], actions=other).frames != drawn
        assert not changed[:, :, :t].any()
        assert changed[:, :, t].any(-1).any(-1).any()
    other = given.tracks[ACTIONS].clone()
    other[:, 0] += 3  # nothing led to the first frame
    same = model.predict(given._replace(tracks={ACTIONS: other}), horizon, clip_ids=[1, 2], actions=future).frames
    assert torch.equal(same, drawn)
    other[:, 1] += 3
    assert (
        model.predict(given._replace(tracks={ACTIONS: other}), horizon, clip_ids=[1, 2], actions=future).frames != drawn
    ).any()


@pytest.mark.parametrize("kind", [narrow, narrow_prime])
def test_one_plan_for_all_samples_is_that_plan_for_each_and_is_what_a_track_says(kind):
    model, _ = driven(kind, {})
    given, future = clips_of(model, 3), make_actions(2, 1, 4, seed=5)
    drawn = model.predict(given, 4, 3, clip_ids=[1, 2], actions=future).frames
    each = model.predict(given, 4, 3, clip_ids=[1, 2], actions=future.expand(-1, 3, -1, -1)).frames
    torch.testing.assert_close(each, drawn, rtol=0, atol=1e-12)
    told = given._replace(tracks={ACTIONS: torch.cat([given.tracks[ACTIONS], future[:, 0]], 1)})
    torch.testing.assert_close(model.predict(told, 4, 3, clip_ids=[1, 2]).frames, drawn, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [narrow, narrow_prime])
def test_seen_in_two_pieces_is_as_seen_in_one(kind):
    model, _ = driven(kind, {"future_skip": "previous"})
    clips = clips_of(model, 7)
    with torch.no_grad():
        whole = model.observe(clips)
        first = model.observe(clips.between(0, 4))
        then = model.observe(clips.between(4), state=first.state)
        torch.testing.assert_close(torch.cat([first.frames, then.frames], 2), whole.frames, rtol=0, atol=1e-10)
        torch.testing.assert_close(then.prior.mean, whole.prior.mean[:, 3:], rtol=0, atol=1e-10)


def test_without_latents_futures_differ_by_their_actions_alone():
    model, _ = driven(narrow, {"prior": "none"})
    given, future = clips_of(model, 3), make_actions(2, 3, 4, seed=5)
    drawn = model.predict(given, 4, 3, actions=future).frames
    assert (drawn[:, 0] != drawn[:, 1]).any()
    alone = model.predict(given, 4, 1, actions=future[:, 2:]).frames
    torch.testing.assert_close(alone[:, 0], drawn[:, 2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [narrow, narrow_prime])
def test_statistics_travel_with_the_weights(kind, tmp_path):
    model, _ = driven(kind, {})
    model.float().save_pretrained(tmp_path / "m")
    again = type(model).from_pretrained(tmp_path / "m")
    assert torch.equal(again.actions.mean, torch.full((2,), 20.0))
    assert torch.equal(again.actions.std, torch.full((2,), 3.0))
    assert again.actions.unlike(torch.tensor([[15.0, 25.0]])) == ""
    assert "component 2 of the actions goes from 70 to 70; in training it was within 10 and 30" in again.actions.unlike(
        torch.tensor([[15.0, 70.0]])
    )


def test_actions_that_never_change_are_no_division_by_zero():
    model = SVG(narrow(action_dim=4))
    told = {"mean": [1.0, 5.0], "std": [0.0, 2.0], "min": [1.0, 0.0], "max": [1.0, 9.0]}
    model.learn({ACTIONS: Track("float32", (2,), statistics=told)})  # two frames passed over: joined
    assert model.actions.std.tolist() == [1.0, 2.0, 1.0, 2.0]
    assert model.actions.high.tolist() == [1.0, 9.0, 1.0, 9.0]


def test_a_model_without_actions_has_the_weights_that_it_had():
    for kind, family in ((narrow, SVG), (narrow_prime, SVGPrime)):
        assert not [name for name in family(kind()).state_dict() if name.startswith("actions")]


@pytest.mark.parametrize(
    ("changes", "actions", "told"),
    [
        ({}, torch.zeros(2, 1, 4, 2), "SVG-LP. is not driven by actions"),
        ({"action_dim": 2}, torch.zeros(2, 1, 3, 2), r"must be a tensor \(2, 3 or 1, 4, 2\).*got \(2, 1, 3, 2\)"),
        ({"action_dim": 2}, torch.zeros(2, 2, 4, 2), r"got \(2, 2, 4, 2\)"),
        ({"action_dim": 3}, torch.zeros(2, 1, 4, 2), r"4, 3\)"),
        ({"action_dim": 2}, torch.full((2, 1, 4, 2), float("nan")), "must be finite"),
    ],
)
def test_actions_that_do_not_fit_are_refused(changes, actions, told):
    model = make_model(narrow(**changes))
    given = Clips(make_clips(model.config, 3), {ACTIONS: make_actions(2, 3)})
    with pytest.raises(InputError, match=told):
        model.predict(given, 4, 3, actions=actions)


def test_a_model_with_actions_refuses_clips_without():
    model = make_model(narrow(action_dim=2))
    frames = make_clips(model.config, 3)
    for actions in (None, torch.zeros(2, 1, 4, 2)):
        with pytest.raises(InputError, match=r"no track 'actions', which the model .SVG-LP. needs"):
            model.predict(frames, 4, actions=actions)
    with pytest.raises(InputError, match="driven by actions, and there are none"):
        model.observe(frames)
    first = frames[:, :1]
    assert model.predict(first, 4, actions=torch.zeros(2, 1, 4, 2)).frames.shape[2] == 4  # nothing led to one frame
