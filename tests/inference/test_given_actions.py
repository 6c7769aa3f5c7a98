"""`predict --actions`: what people say is done reaches the model, and what does not fit is said."""

import numpy as np
import pytest
import torch

import stochvid
from stochvid.cli import main
from stochvid.core.clips import ACTIONS, Clips
from stochvid.data.tracks import Track
from stochvid.prepare.store_writer import StoreWriter
from tiny import make_model, narrow, narrow_prime

STATISTICS = {"mean": [0.0, 0.0], "std": [1.0, 1.0], "min": [-2.0, -2.0], "max": [2.0, 2.0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models with actions and without, a store with actions, and a clip that tells of none."""
    folder = tmp_path_factory.mktemp("given")
    for name, config in (("driven", narrow_prime(action_dim=2)), ("plain", narrow())):
        model = make_model(config).float()
        model.learn({ACTIONS: Track("float32", (2,), statistics=STATISTICS)})
        model.save_pretrained(folder / name)
    random = np.random.default_rng(0)
    (folder / "store").mkdir()
    with StoreWriter(folder / "store", 32, 1, {ACTIONS: Track("float32", (2,))}) as writer:
        frames = random.integers(0, 256, (20, 1, 32, 32), np.uint8)
        writer.add("test", "one", frames, 20, tracks={ACTIONS: random.normal(size=(20, 2)).astype(np.float32)})
        writer.finish({"plan": {"format": "made"}})
    np.save(folder / "clip.npy", frames)
    return folder


def predict(folder, out, *words, clip="store:0", model="driven", code=0):
    given = ["predict", str(folder / model), str(folder / clip), "--out", str(out), "--horizon", "4", "--samples", "2"]
    assert main([*given, *map(str, words)]) == code
    return None if code else np.load(next(out.glob("*/futures.npz")))


def expected(folder, plan, past=None):
    """Futures of the store's clip under a plan, (S or 1, 4, 2), as the library draws them."""
    clip = stochvid.Store(folder / "store").clip("test", 0, 3)
    past = clip[ACTIONS] if past is None else past
    given = Clips(torch.from_numpy(clip["frames"])[None], {ACTIONS: torch.as_tensor(past)[None]})
    drawn = stochvid.load(folder / "driven").predict(given, 4, 2, actions=torch.as_tensor(plan)[None])
    return (drawn.frames[0] * 255).round().to(torch.uint8).numpy()


def near(found, wanted):
    assert np.abs(found["futures"].astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("kind", ["csv", "names", "npy"])
def test_a_plan_in_a_file_leads_to_the_frames_to_come(folder, tmp_path, kind):
    plan = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    path = tmp_path / ("plan.npy" if kind == "npy" else "plan.csv")
    if kind == "npy":
        np.save(path, plan)
    else:
        np.savetxt(path, plan, delimiter=",", header="x,y" if kind == "names" else "", comments="")
    found = predict(folder, tmp_path / "p", "--actions", path)
    near(found, expected(folder, plan[None]))
    assert found["truth"].shape == (0, 1, 32, 32)  # what happened came of something else
    clip = stochvid.Store(folder / "store").clip("test", 0, 3)
    np.testing.assert_allclose(found[ACTIONS], np.concatenate([clip[ACTIONS], plan]), rtol=1e-6)


def test_every_future_may_have_a_plan_of_its_own(folder, tmp_path):
    plans = np.random.default_rng(2).normal(size=(2, 4, 2)).astype(np.float32)
    np.save(tmp_path / "plans.npy", plans)
    found = predict(folder, tmp_path / "p", "--actions", tmp_path / "plans.npy")
    near(found, expected(folder, plans))
    assert found[ACTIONS].shape == (2, 7, 2)


def test_to_hold_is_to_go_on_as_before_and_zero_is_zero(folder, tmp_path):
    last = stochvid.Store(folder / "store").clip("test", 0, 3)[ACTIONS][-1]
    near(predict(folder, tmp_path / "h", "--actions", "hold"), expected(folder, np.tile(last, (1, 4, 1))))
    near(predict(folder, tmp_path / "z", "--actions", "zero"), expected(folder, np.zeros((1, 4, 2), np.float32)))


def test_of_a_clip_that_does_not_say_a_file_tells_of_the_given_frames_too(folder, tmp_path):
    rows = np.random.default_rng(3).normal(size=(6, 2)).astype(np.float32)  # 3 given frames, 4 to come
    np.save(tmp_path / "rows.npy", rows)
    found = predict(folder, tmp_path / "p", "--actions", tmp_path / "rows.npy", clip="clip.npy")
    past = np.concatenate([np.zeros((1, 2), np.float32), rows[:2]])
    near(found, expected(folder, rows[None, 2:], past))


def test_actions_far_from_those_in_training_are_noted(folder, tmp_path, capsys):
    for value, noted in ((1.9, False), (70.0, True)):
        np.save(tmp_path / "plan.npy", np.full((4, 2), value))
        predict(folder, tmp_path / f"{value}", "--actions", tmp_path / "plan.npy")
        assert ("component 1 of the actions goes from 70 to 70" in capsys.readouterr().out) == noted


def put(name, content):
    return lambda folder: (
        np.save(folder / name, content) if name.endswith("npy") else (folder / name).write_text(content)
    )


@pytest.mark.parametrize(
    ("make", "words", "told"),
    [
        (None, {"model": "plain", "actions": "hold"}, "SVG-LP) is not driven by actions. Leave out --actions"),
        (None, {"actions": "missing.csv"}, "neither hold nor zero, nor a file that can be read"),
        (None, {"actions": "hold", "clip": "clip.npy"}, "hold. Give a file of actions, with a row for each of the 6"),
        (None, {"clip": "clip.npy"}, "clip.npy' has no track 'actions', which the model (SVG′) needs"),
        (put("a.npy", np.zeros((3, 2))), {}, "have 3 row(s); expected 4, one for each frame to predict, or 6"),
        (put("a.npy", np.zeros((4, 2))), {"clip": "clip.npy"}, "does not say what led to its given frames"),
        (put("a.npy", np.zeros((4, 3))), {}, "The actions have 3 component(s), the model takes 2"),
        (put("a.npy", np.zeros((5, 4, 2))), {}, "of 5 futures, but 2 are asked for (--samples)"),
        (put("a.npy", np.zeros(4)), {}, "expected numbers (T, A)"),
        (put("a.npy", np.full((4, 2), np.nan)), {}, "no finite number in row 1"),
        (put("a.npy", np.array([{}], dtype=object)), {}, "is not as it should be"),
        (put("a.csv", "1,2\n3\n"), {}, "should hold numbers alone"),
        (put("a.csv", ""), {}, "rows of one length, got 0"),
        (put("a.csv", "a,b\n1,x\n"), {}, "should hold numbers alone"),
        (put("a.csv", "\0"), {}, "a.csv"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_is_written(folder, tmp_path, capsys, make, words, told):
    words = dict(words)
    if make is not None:
        make(tmp_path)
        words["actions"] = tmp_path / ("a.npy" if (tmp_path / "a.npy").exists() else "a.csv")
    asked = ["--actions", words.pop("actions")] if "actions" in words else []
    predict(folder, tmp_path / "p", *asked, **words, code=2)
    assert told in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
