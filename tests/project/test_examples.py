"""The examples run, and show what they claim to show."""

import json

import numpy as np
import pytest
import torch

import balls
import comparison
import own_videos
import planning
import real_videos
import surprise_detection
from paths import ROOT
from stochvid import SVG, Store, load_config, read_clip

CONFIG = ROOT / "examples" / "balls.yaml"


@pytest.fixture(autouse=True)
def one_thread():
    """Steps of so few pixels spend their time waiting for a second thread, on a busy machine many times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def untrained(folder):
    config = load_config(CONFIG).model
    config.base_channels = 2
    SVG(config).save_pretrained(folder)
    return SVG.from_pretrained(folder).for_inference()


def test_a_ball_goes_evenly_but_where_it_touches_something():
    flight = balls.simulate(seed=0, number=3, frames=200)
    steps = np.diff(flight.places, axis=0)
    turns = np.abs(np.diff(steps, axis=0)).sum(1) > 1e-9
    distance = np.hypot(*(flight.places - 0.5).T) - balls.BALL - balls.BUMPER
    to_wall = (0.5 - np.abs(flight.places - 0.5)).min(1) - balls.BALL
    near = np.minimum(distance, to_wall) < balls.SPEED
    assert not turns[~near[1:-1] & ~near[2:]].any()
    assert distance.min() > -1e-9
    assert to_wall.min() > -1e-9


def test_only_frames_marked_as_kicks_depend_on_a_new_direction(monkeypatch):
    flight = balls.simulate(seed=0, number=3, frames=60)
    first = int(np.flatnonzero(flight.kicks)[0])
    monkeypatch.setattr(balls, "SPREAD", 0.0)
    other = balls.simulate(seed=0, number=3, frames=60)
    np.testing.assert_array_equal(flight.places[:first], other.places[:first])
    assert not np.allclose(flight.places[first], other.places[first])


def test_an_edited_flight_is_the_same_up_to_its_turn():
    flight, edited = (balls.simulate(0, 5, 40, turn_at=turn) for turn in (None, 20))
    np.testing.assert_array_equal(flight.places[:19], edited.places[:19])
    assert not np.allclose(flight.places[19], edited.places[19])


def test_the_ball_is_found_where_it_is():
    places = balls.simulate(0, 1, 30).places
    np.testing.assert_allclose(balls.find_ball(balls.render(places).transpose(0, 3, 1, 2)), places, atol=0.01)


def test_videos_show_the_flights(tmp_path):
    balls.main([str(tmp_path), "--quick"])
    assert len(list(tmp_path.iterdir())) == 12
    clip = read_clip(tmp_path / "ball-003.mp4")
    assert clip.frames.shape == (30, 96, 96, 3)
    assert clip.fps == balls.FPS
    places = balls.simulate(seed=0, number=3, frames=30).places
    np.testing.assert_allclose(balls.find_ball(clip.frames.transpose(0, 3, 1, 2)), places, atol=0.02)


def test_own_videos_go_from_simulation_to_scores(tmp_path, capsys):
    own_videos.main(["--quick", "--root", str(tmp_path)])
    assert len(Store(tmp_path / "data" / "balls").splits["train"].names) == 11
    assert (tmp_path / "futures" / "balls-0" / "futures.gif").is_file()
    assert (tmp_path / "evaluations" / "balls" / "results.json").is_file()
    assert capsys.readouterr().out.count("\n$ ") == 5


def test_the_tutorial_has_the_commands_of_own_videos():
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for line in own_videos.commands(own_videos.Path(), quick=False):
        for default in (
            f" --config {CONFIG}",
            " --data.store data/balls",
            " --out runs/balls",
            " --out evaluations/balls",
        ):
            line = line.replace(default, " --config examples/balls.yaml" if "config" in default else "")
        assert f"    {line}\n" in text, line


def test_turns_are_where_they_are_said_to_be_and_far_from_everything(tmp_path):
    for path, flight, turn in surprise_detection.edited_videos(tmp_path, 4, 40):
        number = int(path.stem.removeprefix("turn-"))
        as_usual = balls.simulate(surprise_detection.SEED, number, 40)
        first = int(np.flatnonzero((flight.places != as_usual.places).any(1))[0]) + 1
        assert first == turn
        before, after = np.diff(flight.places, axis=0)[turn - 3 : turn - 1]
        assert before @ after == pytest.approx(0, abs=1e-9)
        assert not flight.kicks[turn - 5 : turn].any()


def test_the_turn_is_found_where_a_measure_peaks(tmp_path, capsys):
    untrained(tmp_path / "model")
    found = surprise_detection.main([str(tmp_path / "model"), "--quick", "--out", str(tmp_path / "out")])
    assert len(found) == 2
    table = np.genfromtxt(next((tmp_path / "out").glob("turn-*/surprise.csv")), delimiter=",", names=True)
    settled = table[table["frame"] > 10]
    assert found[0]["mse highest"] == settled["frame"][settled["mse"].argmax()]
    assert found[0]["kl turn"] == pytest.approx(table["kl"][table["frame"] == found[0]["turn"]][0], rel=1e-4)
    assert surprise_detection.hits([{"turn": 20, "kl highest": 21}, {"turn": 20, "kl highest": 18}], "kl") == 1
    assert f"Of 2 turns, the highest KL finds {surprise_detection.hits(found, 'kl')}" in capsys.readouterr().out


def test_the_planner_chooses_the_place_with_the_best_mean_score():
    futures = balls.render(np.array([[0.2, 0.5], [0.8, 0.5], [0.75, 0.3]])).transpose(0, 3, 1, 2)[:, None] / 255
    plan = planning.choose(futures, np.linspace(0, 1, 11), planning.catch)
    assert plan.scores.shape == (11, 3)
    assert plan.scores.mean(1).max() == pytest.approx(2 / 3)
    assert plan.scores[plan.chosen].mean() == plan.scores.mean(1).max()
    assert plan.places[plan.chosen] == pytest.approx(0.8)
    away = planning.choose(futures, np.linspace(0, 1, 11), planning.dodge)
    assert away.scores[away.chosen].mean() == 1


def test_the_planner_keeps_to_the_score_of_the_user_and_the_pace_of_the_net(tmp_path):
    model = untrained(tmp_path)
    frames = planning.as_seen(0, model.config.image_size)
    net, plans = planning.play(model, frames, lambda future, place: place, samples=2)
    assert len(plans) == planning.DEADLINE - model.config.context
    most = 0.5 + planning.STEP * len(plans)
    assert most - np.diff(planning.PLACES)[0] < net <= most + 1e-9
    for plan in plans:
        assert plan.chosen == plan.scores.mean(1).argmax()


def test_planning_compares_its_ways_and_draws_a_game(tmp_path):
    untrained(tmp_path / "model")
    results = planning.main([str(tmp_path / "model"), "--quick", "--picture", str(tmp_path / "game.png")])
    assert len(results) == 4
    assert all(0 <= mean <= 1 for mean in results.values())
    assert (tmp_path / "game.png").stat().st_size > 1000


@pytest.mark.slow
def test_in_full_the_planner_beats_standing_still_and_the_turns_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    own_videos.main(["--root", str(tmp_path)])
    run = str(tmp_path / "runs" / "balls")
    found = surprise_detection.main([run, "--out", str(tmp_path / "surprise")])
    for measure in ("kl", "mse"):  # two trainings found 14 and 19, and 18 and 17
        assert surprise_detection.hits(found, measure) >= 12
    kl = {place: np.nanmean([video[f"kl {place}"] for video in found]) for place in ("turn", "kicks", "rest")}
    assert kl["turn"] > kl["kicks"] > 5 * kl["rest"]
    results = planning.main([run])
    assert results["plan with 24 futures"] > results["plan with the last frame"] > results["stay in the middle"]


def test_a_sharp_pusher_is_found_and_a_cloud_is_none():
    frame = np.full((3, 64, 64), 1.0)
    frame[:, 40:50, 20:30] = np.array([119, 136, 153])[:, None, None] / 255  # the block
    assert not real_videos.one_dot(frame)
    frame[:, 10:13, 5:8] = real_videos.BLUE[:, None, None] / 255
    assert real_videos.one_dot(frame)
    two = frame.copy()
    two[:, 30:33, 50:53] = real_videos.BLUE[:, None, None] / 255
    assert not real_videos.one_dot(two)
    cloud = 0.5 + 0.5 * frame
    assert not real_videos.one_dot(cloud)


@pytest.mark.slow
def test_real_videos_in_short_make_a_page_of_numbers_and_strips(tmp_path, capfd):
    out = tmp_path / "real"
    words = ["--only", "balls", "vtest", "--steps", "2", "--clips", "10"]
    results = real_videos.main([str(out), *words])
    if "vtest" not in results:
        assert "vtest is left out" in capfd.readouterr().err
    found = results["balls"]
    assert {"minutes", "nats", "diversity", "crps", "best", "gain", "sharpness", "after 50"} == set(found)
    assert np.isfinite(list(found.values())).all()
    page = (out / "index.html").read_text()
    assert page.count("<img") >= 2
    assert all((out / picture.split('"')[0]).is_file() for picture in page.split('src="')[1:])


@pytest.mark.slow
def test_methods_are_compared_at_equal_steps_and_at_equal_time_and_nothing_is_done_twice(tmp_path, monkeypatch, capfd):
    for name, value in {"SAMPLES": 3, "CLIPS": 2}.items():
        monkeypatch.setattr(comparison, name, value)
    words = ["--steps", "2", "--minutes", "0.001", "--threads", "1", "--only", "copy-last", "gan"]
    monkeypatch.setattr("sys.argv", ["comparison.py", str(tmp_path / "out"), *words])
    comparison.main()
    first = capfd.readouterr().out
    assert first.count("$ stochvid train") == 2  # to the steps, and on to the minutes
    assert first.count("$ stochvid evaluate") == 3
    table = (tmp_path / "out" / "table.md").read_text()
    for words in (
        "**at equal steps**",
        "**at equal time**",
        "| the last frame stays |",
        "| adversarial, noise alone | 2 |",
    ):
        assert words in table
    assert (tmp_path / "out" / "why.png").read_bytes().startswith(b"\x89PNG")
    comparison.main()
    assert "$ stochvid" not in capfd.readouterr().out
    assert (tmp_path / "out" / "table.md").read_text() == table


@pytest.mark.slow
def test_pusht_in_short_is_recorded_learned_and_planned_in(tmp_path, monkeypatch, capfd):
    pytest.importorskip("gym_pusht")  # `make test-slow` installs it
    import pusht

    out = tmp_path / "pusht"
    monkeypatch.setattr(pusht, "STEPS", {"reach": 6, "push": 6})
    narrow = ("--model.base_channels", "4", "--model.g_dim", "8", "--model.rnn_size", "8", "--data.batch_size", "2")
    words = [str(out), "--episodes", "10", "--steps", "2", "--trials", "2", "--plans", "4"]
    results = pusht.main([*words, *narrow, "--data.val_clips", "2", "--threads", "1"])
    assert {task: list(by) for task, by in results.items()} == {task: [*pusht.WHO] for task in ("reach", "push")}
    told = json.loads((out / "sigma.json").read_text(encoding="utf-8"))
    assert set(told) == {"with actions", "without"}
    assert (out / "sigma.png").is_file()
    for by in results.values():
        for who, found in by.items():
            assert len(found["trials"]) == 2
            assert all(0 <= trial["coverage"] <= 1 for trial in found["trials"])
            assert who != "nobody" or all(abs(t["coverage"] - t["before"]) < 1e-6 for t in found["trials"])
    assert (out / "plans" / "table.md").read_text().count("\n") == 2 + 8
    capfd.readouterr()
    again = pusht.main([str(out), "--only", "plan", "--trials", "2"])
    assert again == results
    assert "of 2: " not in capfd.readouterr().out  # nothing is done twice


@pytest.mark.slow
def test_a_picture_shows_things_where_they_are_asked_for_and_the_shipped_model_reaches_its_place():
    pytest.importorskip("gym_pusht")
    import pusht

    seed, world = pusht.FIRST_SEED + 4, pusht.World()
    seen = world.begin(seed)
    agent, block = world.agent, world.block
    assert np.array_equal(world.show(agent, block), seen)
    world.show(agent, pusht.GOAL)
    assert world.coverage() == pytest.approx(1)
    goal, place = pusht.goal_of(world, "reach", seed)
    frame = world.begin(seed)
    assert np.hypot(*(world.agent - place)) > pusht.FAR
    act = pusht.actor("planner", world, "pusht", "reach", goal, pusht.CEM(num_samples=48, n_steps=4, topk=6), seed)
    for _ in range(10):
        frame = world.step(act(frame))
    assert np.hypot(*(world.agent - place)) <= pusht.REACHED


def test_a_rates_interval_is_that_of_wilson():
    from scipy.stats import binomtest

    import pusht

    for hits, trials in ((0, 30), (24, 30), (30, 30), (1, 2)):
        exact = binomtest(hits, trials).proportion_ci(method="wilson")
        assert pusht.wilson(hits, trials) == pytest.approx((exact.low, exact.high), abs=1e-4)
