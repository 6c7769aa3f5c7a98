"""Episodes of environments as stores: what is recorded, that it can be recorded again, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from stochvid import Store
from stochvid.cli import main

DOT = "gym:toy_environment/Dot-v0"


def record(out: Path, *words, env: str = DOT, code: int = 0) -> Store | None:
    assert main(["prepare", env, str(out), "--size", "32", "--workers", "0", *words]) == code
    return None if code else Store(out)


def raw(store: Store, split: str, name: str) -> np.ndarray:
    return np.load(store.path / f"{split}.{name}.npy")


def places(frames: np.ndarray) -> np.ndarray:
    """Where the square is in frames (T, C, H, W): x and y of its corner."""
    red = frames[:, 0] > 127
    return np.stack([red.any(1).argmax(1), red.any(2).argmax(1)], 1)


def test_an_action_stands_at_the_frame_after_which_it_was_done(tmp_path):
    store = record(tmp_path / "s", "--episodes", "4", "--split", "train=0.5,test=0.5", "--seed", "7")
    assert {name: str(track) for name, track in store.tracks.items()} == {
        "actions": "float32 (2)", "rewards": "float32",
    }  # fmt: skip
    assert sorted(store.splits["train"].names + store.splits["test"].names) == [f"seed-{n:06}" for n in (7, 8, 9, 10)]
    assert store.splits["train"].fps == [5, 5]
    for number in range(2):
        clip = store.clip("test", number)
        done = raw(store, "test", "actions")[number * 12 :][:12]
        assert clip["frames"].shape == (12, 3, 32, 32)
        assert np.array_equal(places(clip["frames"])[1:], done[:-1].astype(int))  # the next frame comes of it
        assert np.array_equal(clip["actions"][1:], done[:-1])  # and whoever reads clips gets what led to a frame
        assert np.array_equal(clip["rewards"][1:], done[:-1, 0].astype(int))
    assert store.tracks["actions"].statistics["max"][0] <= 24


def test_episodes_are_a_function_of_their_seeds_whoever_plays_them(tmp_path):
    one = record(tmp_path / "a", "--episodes", "5")
    assert main(["prepare", DOT, str(tmp_path / "b"), "--size", "32", "--workers", "2", "--episodes", "5"]) == 0
    other = Store(tmp_path / "b")
    for split in one.splits:
        assert one.splits[split].sha256 == other.splits[split].sha256
        assert np.array_equal(raw(one, split, "actions"), raw(other, split, "actions"))
    again = record(tmp_path / "c", "--episodes", "5", "--seed", "1")
    assert np.array_equal(raw(again, "train", "actions")[:12], raw(one, "train", "actions")[12:24])
    frames = one.clip("train", 0)["frames"]
    assert not np.array_equal(frames, one.clip("train", 1)["frames"])


def test_pixels_come_from_where_they_are(tmp_path, capsys):
    observed = record(tmp_path / "o", "--episodes", "2")
    rendered = record(tmp_path / "r", "--episodes", "2", "--make", "pixels=rendered")
    assert np.array_equal(observed.clip("train", 0)["frames"], rendered.clip("train", 0)["frames"])
    assert str(rendered.tracks["state"]) == "float32 (2): observation[0], observation[1]"
    several = ("--episodes", "2", "--make", "pixels=several")
    record(tmp_path / "n", *several, code=2)
    assert "observes several pictures: --key front or wrist" in capsys.readouterr().err
    record(tmp_path / "n", *several, "--key", "back", code=2)
    assert "--key 'back' is no picture" in capsys.readouterr().err
    assert not (tmp_path / "n").exists()
    wrist = record(tmp_path / "w", *several, "--key", "wrist")
    assert np.array_equal(wrist.clip("train", 0)["frames"], 255 - observed.clip("train", 0)["frames"])
    assert str(wrist.tracks["state"]) == "float32 (2): place[0], place[1]"
    assert np.array_equal(wrist.clip("train", 0)["state"].astype(int), places(observed.clip("train", 0)["frames"]))


def test_one_of_a_few_actions_is_kept_as_ones_and_zeros(tmp_path):
    store = record(tmp_path / "s", "--episodes", "3", "--make", "moves=true")
    done = raw(store, "train", "actions")
    assert str(store.tracks["actions"]) == "float32 (4): 2, 3, 4, 5"
    assert np.array_equal(done.sum(1), np.ones(len(done)))
    assert len(set(done.argmax(1))) > 1


def test_actions_that_last_and_policies_of_ones_own(tmp_path):
    held = raw(record(tmp_path / "h", "--episodes", "2", "--hold", "4"), "train", "actions")
    assert np.array_equal(held[0::4], held[3::4])
    assert not np.array_equal(held[0], held[4])
    policy = tmp_path / "policy.py"
    policy.write_text(
        "import numpy as np\n"
        "def policy():\n"
        "    count = 0\n"
        "    def act(observation, env, random):\n"
        "        nonlocal count\n"
        "        count += 1\n"
        "        return np.float32([count, random.integers(24)])\n"
        "    return act\n"
    )
    done = raw(record(tmp_path / "p", "--episodes", "2", "--policy", str(policy)), "train", "actions")
    assert done[:12, 0].tolist() == list(range(1, 13))


def test_an_episode_is_as_long_as_it_is(tmp_path):
    assert record(tmp_path / "s", "--episodes", "2", "--make", "ends=5").splits["train"].lengths == [5]
    assert record(tmp_path / "t", "--episodes", "2", "--steps", "7").splits["train"].lengths == [7]
    endless = record(tmp_path / "e", "--episodes", "2", env="gym:toy_environment/Endless-v0")
    assert endless.splits["train"].lengths == [100]


def test_the_same_command_finds_its_store_and_another_does_not_touch_it(tmp_path, capsys):
    record(tmp_path / "s", "--episodes", "2")
    capsys.readouterr()
    record(tmp_path / "s", "--episodes", "2")
    assert "prepared already; nothing to do" in capsys.readouterr().out
    record(tmp_path / "s", "--episodes", "2", "--hold", "2", code=2)
    assert "--overwrite" in capsys.readouterr().err
    index = json.loads((tmp_path / "s" / "index.json").read_text())
    assert index["source"] == DOT


POLICIES = {
    "nothing.py": "",
    "broken.py": "def policy(:",
    "raises.py": "raise OSError('no')",
    "no-act.py": "def policy():\n    return lambda observation, env, random: [1, 2, 3]",
}


@pytest.mark.parametrize(
    ("env", "words", "told"),
    [
        ("gym:toy_environment/Dott-v0", (), "there is no environment 'toy_environment/Dott-v0'. Did you mean"),
        ("gym:nowhere_at_all/X-v0", (), "pip install nowhere-at-all"),
        ("gym:Nothing-v9", (), "there is no environment 'Nothing-v9'"),
        ("gym:", (), "there is no environment ''"),
        (DOT, ("--make", "pixels=nowhere,render_mode=null"), "gives no pixels"),
        (DOT, ("--make", "colour=red"), "cannot be made with {'colour': 'red'}"),
        (DOT, ("--make", "red"), "--make must be NAME=VALUE,…"),
        (DOT, ("--make", "colour=["), "--make: the value of colour is none of YAML"),
        (DOT, ("--make", "wrong=actions"), "is acted in by MultiBinary"),
        (DOT, ("--make", "wrong=step"), "the motor is on fire"),
        (DOT, ("--policy", "missing.py"), "there is no file 'missing.py'"),
        (DOT, ("--policy", "nothing.py"), "has no function 'policy'"),
        (DOT, ("--policy", "broken.py"), "does not run"),
        (DOT, ("--policy", "raises.py"), "no"),
        (DOT, ("--policy", "no-act.py"), "cannot be played"),
        (DOT, ("--episodes", "0"), "--episodes must be"),
        (DOT, ("--make", "ends=1"), "a clip needs two"),
        (DOT, ("--fps", "3"), "--fps is for a source on disk, not for gym:ENV"),
        (DOT, ("--length", "3"), "--steps"),
        (DOT, ("--channels", "2"), "--channels must be 1"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_nothing_is_left(tmp_path, monkeypatch, capsys, env, words, told):
    monkeypatch.chdir(tmp_path)
    for name, text in POLICIES.items():
        Path(name).write_text(text)
    record(tmp_path / "s", "--episodes", "2", *words, env=env, code=2)
    assert told in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_the_real_one(tmp_path):
    pytest.importorskip("gym_pusht")  # `make test-slow` installs it
    words = ["--make", "obs_type=pixels_agent_pos", "--policy", "examples/pusht_policy.py", "--steps", "20"]
    store = record(tmp_path / "s", "--episodes", "2", *words, env="gym:gym_pusht/PushT-v0")
    clip = store.clip("train", 0)
    assert str(store.tracks["state"]) == "float32 (2): agent_pos[0], agent_pos[1]"
    moved = np.diff(clip["state"], axis=0)
    way = clip["actions"][1:] - clip["state"][:-1]  # what led to a frame drew the pusher that way
    assert (np.sum(moved * way, 1) > 0).mean() > 0.8
