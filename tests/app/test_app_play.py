"""A world to act in on the page: its moments are those of the library, and what does not fit is said."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from served import Served
from stochvid import InputError, Store
from stochvid.app import playing
from stochvid.app.actions import Actions, with_sentences
from stochvid.app.chosen_clips import DIGITS, UPLOAD
from stochvid.app.page import default_settings
from stochvid.app.playing import Playground, can_be_played
from stochvid.app.studio import Studio
from stochvid.core.clips import ACTIONS, Clips
from stochvid.models.noise import latent_noise
from tiny import save_driven, save_model

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_driven(tmp_path_factory.mktemp("play"))


@pytest.fixture(scope="module")
def studio(folder):
    return Studio.open(str(folder), "cpu")


@pytest.fixture
def world(studio):
    return Playground(studio)


def test_a_line_of_steps_is_one_future_of_the_library(world, studio):
    moment, plan = world.begin(1, 3), [[0.1, 0.9], [0.1, 0.9], [1.0, 0.0]]
    clip = Store(studio.store.path).clip("test", 1, 3)
    assert (moment.number, moment.parent, moment.sigma) == (3, None, None)
    assert np.array_equal(np.concatenate([moment.given, moment.frame[None]]), clip["frames"])
    assert np.allclose(moment.action, clip[ACTIONS][-1])
    batch = {"frames": clip["frames"][None], ACTIONS: clip[ACTIONS][None]}
    network = studio.network
    with torch.inference_mode():
        state = network.observe(Clips.of_batch(batch), decode=False).state
        noise = [latent_noise(3, [number], 1, 1, network.latent_shape) for number in (3, 4, 5)]
        drawn = network.imagine(state, 3, torch.cat(noise, 2), {ACTIONS: torch.tensor([plan])})
    for t, action in enumerate(plan):
        moment = world.step(moment.id, action)
        assert moment.number == 4 + t
        assert np.abs(moment.frame.astype(int) - (drawn.frames[0, 0, t] * 255).round().byte().numpy()).max() <= 1
        assert moment.sigma == pytest.approx(drawn.prior.std[0, 0, t].mean().item(), rel=1e-4)
        assert np.allclose(moment.std_map, drawn.std_map[0, 0, t], rtol=1e-4)


def test_branches_part_by_what_is_done_and_share_their_luck(world):
    first = world.begin(0, 0)
    left, again, right = (world.step(first.id, [x, 0.5]) for x in (0.0, 0.0, 1.0))
    assert np.array_equal(left.frame, again.frame)
    assert not np.array_equal(left.frame, right.frame)
    assert not np.array_equal(world.step(world.begin(0, 1).id, [0.0, 0.5]).frame, left.frame)  # other luck


def test_actions_stay_within_those_of_training(world):
    first = world.begin(0, 0)
    assert world.step(first.id, [-5, 7.5]).action == [0.0, 1.0]
    assert np.array_equal(world.step(first.id, [-5, 7.5]).frame, world.step(first.id, [0, 1]).frame)


def test_a_gif_shows_both_lines_and_the_given_frames(world):
    first = world.begin(0, 0)
    short, long = world.step(first.id, [0, 0]), first
    for _ in range(4):
        long = world.step(long.id, [1, 1])
    both, alone = (Image.open(io.BytesIO(world.gif(ends))) for ends in ([long.id, short.id], [long.id]))
    assert both.n_frames == alone.n_frames == 3 + 4
    assert both.width > alone.width


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda w: w.begin(-1, 0), "number of the clip must be a whole number"),
        (lambda w: w.begin(0, None), "seed must be a whole number"),
        (lambda w: w.step("nothing", [0, 0]), "no longer on the server"),
        (lambda w: w.step(["a"], [0, 0]), "no longer on the server"),
        (lambda w: w.step(w.begin(0, 0).id, [0]), "a list of 2 number(s)"),
        (lambda w: w.step(w.begin(0, 0).id, "no"), "a list of 2 number(s)"),
        (lambda w: w.step(w.begin(0, 0).id, [True, 0]), "a list of 2 number(s)"),
        (lambda w: w.step(w.begin(0, 0).id, [float("nan"), 0]), "finite"),
        (lambda w: w.gif([]), "1 to 2 moments"),
        (lambda w: w.gif([w.begin(0, 0).id]), "Nothing was done yet"),
        (lambda w: w.gif([{}]), "no longer on the server"),
    ],
)
def test_what_does_not_fit_is_said(world, ask, told):
    with pytest.raises(InputError, match=told.replace("(", r"\(").replace(")", r"\)")):
        ask(world)


def test_old_moments_are_dropped_and_a_line_ends(world, monkeypatch):
    monkeypatch.setattr(playing, "MOST_STEPS", 3)
    monkeypatch.setattr(playing, "KEPT_BYTES", 0)
    first = moment = world.begin(0, 0)
    assert world.most == 6
    for _ in range(3):
        moment = world.step(moment.id, [0, 0])
    with pytest.raises(InputError, match="A line ends after 3 steps"):
        world.step(moment.id, [0, 0])
    for _ in range(6):
        world.begin(0, 0)
    with pytest.raises(InputError, match="no longer on the server"):
        world.step(first.id, [0, 0])


def test_a_stride_repeats_what_is_done(tmp_path):
    world = Playground(Studio.open(str(save_driven(tmp_path, stride=2)), "cpu"))
    assert len(world.controls) == 2
    moment = world.step(world.begin(0, 0).id, [0.25, 1.0])
    assert moment.action == [0.25, 1.0]


def test_choices_are_known_by_their_statistics(tmp_path, world):
    choices = Playground(Studio.open(str(save_driven(tmp_path, names=["left", "right"])), "cpu"))
    assert (choices.choice, [control.name for control in choices.controls]) == (True, ["left", "right"])
    (tmp_path / "b").mkdir()
    places = Playground(Studio.open(str(save_driven(tmp_path / "b", mean=0.9)), "cpu"))
    assert not places.choice


def test_a_model_without_latents_can_be_played_too(tmp_path):
    world = Playground(Studio.open(str(save_driven(tmp_path, prior="none")), "cpu"))
    assert world.step(world.begin(0, 0).id, [0, 1]).sigma is None


def test_only_models_with_actions_have_a_world(tmp_path, studio):
    plain = Studio.open(str(save_model(tmp_path / "tiny")), "cpu")
    assert can_be_played(studio)
    assert not can_be_played(plain)
    with pytest.raises(InputError, match="not driven by actions"):
        Playground(plain)


# ---------------------------------------------------------------------------------------- futures of what one says


def last(steps):
    *_, (view, shown, said) = with_sentences(steps)
    return view, shown, said


def test_futures_follow_what_is_said_and_so_do_their_branches(studio):
    visits, numbers = Actions(studio), (3, 6, 4, 0, 1.0)
    shown = {word: last(visits.draw(DIGITS, 0, None, None, *numbers, word))[1] for word in ("recorded", "hold", "zero")}
    clip = studio.store.clip("test", 0, 9)
    given = Clips(torch.from_numpy(clip["frames"][None, :3]), {ACTIONS: torch.from_numpy(clip[ACTIONS][None, :3])})
    for word, rows in (
        ("recorded", clip[ACTIONS][3:]),
        ("hold", clip[ACTIONS][2:3].repeat(6, 0)),
        ("zero", [[0, 0]] * 6),
    ):
        plan = torch.tensor(np.array(rows, np.float32))[None, None]
        drawn = studio.network.predict(given, 6, 4, 0, chunk=4, actions=plan)
        assert torch.equal(shown[word].prediction.frames, (drawn.frames * 255).round().byte())
    assert len(shown["recorded"].job.truth) == 6
    assert len(shown["hold"].job.truth) == 0  # what happened came of other actions
    _, branch, _ = last(visits.branch(shown["hold"], 1, 5, 8, 4, 0, 1.0))
    assert branch.settings.actions == "hold"
    assert torch.equal(
        branch.prediction.frames[0, :, :2], shown["hold"].prediction.frames[0, 1:2, :2].expand(4, -1, -1, -1, -1)
    )


def test_rows_of_a_program_are_taken_and_others_refused(studio):
    visits, numbers = Actions(studio), (3, 4, 4, 0, 1.0)
    _, shown, _ = last(visits.draw(DIGITS, 0, None, None, *numbers, [[0.5, 0.5]] * 4))
    assert shown.job.plan.shape == (1, 4, 2)
    for rows, told in (
        ([[1, 2]], "1 row(s)"),
        ([[1]] * 4, "1 component"),
        ([["a", 1]] * 4, "rows of"),
        ([1, 2], "rows of"),
    ):
        assert told in last(visits.draw(DIGITS, 0, None, None, *numbers, rows))[2]


def test_an_uploaded_clip_can_be_driven_where_it_does_not_say_what_was_done(studio, tmp_path):
    np.save(tmp_path / "clip.npy", np.random.default_rng(0).integers(0, 256, (12, 32, 32), np.uint8))
    visits, clip = Actions(studio), str(tmp_path / "clip.npy")
    assert last(visits.draw(UPLOAD, 0, clip, None, 3, 4, 4, 0, 1.0, "zero"))[1] is not None
    assert "to hold" in last(visits.draw(UPLOAD, 0, clip, None, 3, 4, 4, 0, 1.0, "hold"))[2]
    assert "no track" in last(visits.draw(UPLOAD, 0, clip, None, 3, 4, 4, 0, 1.0, "recorded"))[2]


def test_a_model_without_actions_refuses_them(tmp_path):
    visits = Actions(Studio.open(str(save_model(tmp_path / "tiny")), "cpu"))
    assert "not driven by actions" in last(visits.draw(DIGITS, 0, None, None, 3, 4, 4, 0, 1.0, "hold"))[2]


def test_the_example_is_no_longer_than_what_is_known(studio):
    assert default_settings(studio).horizon == min(2 * studio.network.config.horizon, 20 - 3)


# ------------------------------------------------------------------------------------------------------ over the wire


def test_the_calls_of_the_world(folder):
    served = Served(folder)

    def ask(verb, **call):
        code, _, text = served.get(f"/play/{verb}", json.dumps(call).encode(), **JSON)
        return code, json.loads(text)

    try:
        code, first = ask("begin", clip=0, seed=0)
        assert (code, first["number"], len(first["given"])) == (200, 3, 2)
        code, second = ask("step", moment=first["moment"], action=[0.5, 0.5])
        assert (code, second["number"]) == (200, 4)
        assert second["sigma"] > 0
        assert second["picture"].startswith("data:image/png;base64,")
        request = json.dumps({"ends": [second["moment"]]}).encode()
        code, headers, _ = served.get_bytes("/play/gif", request, **JSON)
        assert (code, headers["content-type"]) == (200, "image/gif")
        for verb, call, told in (
            ("step", {"moment": "x", "action": [0, 0]}, "no longer on the server"),
            ("step", {}, "An action must be a list"),
            ("begin", {"clip": "0", "seed": 0}, "whole number"),
            ("gif", {"ends": "x"}, "must be a list"),
        ):
            code, answer = ask(verb, **call)
            assert (code, told in answer["detail"]) == (400, True)
        assert served.get("/play/begin", b"[1]", **JSON)[0] == 400
        assert served.get("/play/begin", b"\xff", **JSON)[0] == 400
        assert served.get("/play/other", b"{}", **JSON)[0] == 404
        assert served.get("/play/begin", b"{}", Origin="http://elsewhere.example", **JSON)[0] == 403
        body = json.dumps({"data": [None, 0, [], 3, 4, 2, 0, 1, [], "zero"]}).encode()
        assert served.get("/gradio_api/call/futures", body, **JSON)[0] == 200
    finally:
        assert served.stop() == 130
    assert "Traceback" not in served.said
