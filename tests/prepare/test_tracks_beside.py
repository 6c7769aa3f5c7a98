"""Actions and states that lie beside frames: in arrays of one file, in tables beside videos, in BAIR's records."""

import numpy as np
import pytest

from made_data import write_bair
from stochvid import Store
from stochvid.cli import main
from tiny import movie

RANDOM = np.random.default_rng(0)
FRAMES = RANDOM.integers(0, 256, (3, 12, 32, 32, 3), dtype=np.uint8)
ACTIONS, STATES = RANDOM.normal(size=(3, 12, 2)), RANDOM.normal(size=(3, 12, 5))


def prepare(source, out, *words, code=0):
    given = ["prepare", str(source), str(out), "--size", "32", "--workers", "0", "--split", "train", *words]
    assert main(given) == code
    return None if code else Store(out)


def raw(store, name):
    return np.load(store.path / f"train.{name}.npy")


def write_hdf5(path, **arrays):
    import h5py

    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


@pytest.mark.parametrize("suffix", ["npz", "h5"])
@pytest.mark.parametrize("last", [12, 11])
def test_arrays_beside_the_frames_of_many_clips_are_their_tracks(tmp_path, suffix, last):
    write = np.savez if suffix == "npz" else write_hdf5
    write(tmp_path / f"a.{suffix}", frames=FRAMES, actions=ACTIONS[:, :last], state=STATES)
    store = prepare(tmp_path / f"a.{suffix}", tmp_path / "s")
    assert {name: str(track) for name, track in store.tracks.items()} == {
        "actions": "float32 (2)",
        "state": "float32 (5)",
    }
    found = raw(store, "actions").reshape(3, 12, 2)
    np.testing.assert_allclose(found[:, :last], ACTIONS[:, :last], rtol=1e-6)
    assert last == 12 or np.array_equal(found[:, 11], found[:, 10])  # it leads to no frame
    np.testing.assert_allclose(raw(store, "state").reshape(3, 12, 5), STATES, rtol=1e-6)
    np.testing.assert_allclose(store.clip("train", 1)["actions"][1:], ACTIONS[1, :-1], rtol=1e-6)


def test_a_file_for_each_clip_and_names_of_ones_own(tmp_path, capsys):
    (tmp_path / "v").mkdir()
    for i in range(3):
        np.savez(tmp_path / "v" / f"{i}.npz", frames=FRAMES[i], torque=ACTIONS[i, :, 0], other=np.zeros(3))
    assert prepare(tmp_path / "v", tmp_path / "none").tracks == {}
    store = prepare(tmp_path / "v", tmp_path / "s", "--actions", "torque")
    assert str(store.tracks["actions"]) == "float32 (1)"
    np.testing.assert_allclose(raw(store, "actions").reshape(3, 12), ACTIONS[..., 0], rtol=1e-6)
    prepare(tmp_path / "v", tmp_path / "x", "--actions", "nothing", code=2)
    assert "has nothing that is called 'nothing'" in capsys.readouterr().err
    prepare(tmp_path / "v", tmp_path / "x", "--actions", "other", code=2)
    assert "'other' has shape (3,); expected (T, A), numbers for each of 12 frames" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_a_track_is_left_and_said_unless_asked_for(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", frames=FRAMES[0], actions=np.array(["left"] * 12), state=np.zeros((4, 4, 4, 4)))
    assert prepare(tmp_path / "a.npz", tmp_path / "s").tracks == {}
    told = capsys.readouterr().out
    assert "actions is not taken: array 'actions'" in told
    assert "state is not taken" in told
    prepare(tmp_path / "a.npz", tmp_path / "x", "--actions", "actions", code=2)
    assert "expected numbers" in capsys.readouterr().err


def test_a_clip_without_what_the_first_one_has_is_named(tmp_path, capsys):
    (tmp_path / "v").mkdir()
    for i in range(3):
        more = {} if i == 1 else {"actions": ACTIONS[i, : 12 if i == 0 else 7]}
        np.savez(tmp_path / "v" / f"{i}.npz", frames=FRAMES[i], **more)
    prepare(tmp_path / "v", tmp_path / "x", code=2)
    assert "1.npz' has no 'actions', which others beside it have" in capsys.readouterr().err
    store = prepare(tmp_path / "v", tmp_path / "x", "--skip-bad")
    assert store.splits["train"].names == ["0.npz"]
    assert "2.npz': 'actions' is (7, 2) for 12 frames" in " ".join(store.about["left_out"])


# ------------------------------------------------------------------------------------------------------------- tables


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for i in range(2):
        movie(folder / f"{i}.mp4", frames=12)
        rows = np.column_stack([np.arange(12), ACTIONS[i], STATES[i]])
        header = "time,action_x,action_y," + ",".join(f"state_{n}" for n in range(5))
        np.savetxt(folder / f"{i}.csv", rows, delimiter=",", header=header, comments="")
    return folder


def test_a_table_beside_each_video_tells_what_was_done(videos, tmp_path, capsys):
    store = prepare(videos, tmp_path / "s")
    assert "the table beside each video tells actions (2), state (5)" in capsys.readouterr().out
    assert str(store.tracks["actions"]) == "float32 (2): action_x, action_y"
    np.testing.assert_allclose(raw(store, "actions").reshape(2, 12, 2), ACTIONS[:2], rtol=1e-6)
    np.testing.assert_allclose(raw(store, "state").reshape(2, 12, 5), STATES[:2], rtol=1e-6)
    chosen = prepare(videos, tmp_path / "c", "--actions", "state_0, time")
    np.testing.assert_allclose(raw(chosen, "actions")[:12, 1], np.arange(12))
    np.testing.assert_allclose(raw(chosen, "actions")[:12, 0], STATES[0, :, 0], rtol=1e-6)


def test_a_table_without_names_is_what_was_done(videos, tmp_path):
    for i in range(2):
        np.savetxt(videos / f"{i}.csv", ACTIONS[i], delimiter=",")
    store = prepare(videos, tmp_path / "s")
    np.testing.assert_allclose(raw(store, "actions").reshape(2, 12, 2), ACTIONS[:2], rtol=1e-6)


def spoil(table):
    names, *rows = table.read_text().splitlines()
    table.write_text("\n".join([names, *(",".join(["nan"] * 8) for _ in rows)]))


@pytest.mark.parametrize(
    ("change", "words", "told"),
    [
        (lambda f: (f / "1.csv").unlink(), (), "1.csv' cannot be read"),
        (lambda f: (f / "1.csv").write_text("action_x,action_y\n1,2\n"), (), "is (1, 2) for 12 frames"),
        (lambda f: (f / "1.csv").write_text("time\n" + "1\n" * 12), (), "which others beside it have"),
        (lambda f: (f / "0.csv").write_text("a,b\n1,x\n"), (), "should hold numbers alone"),
        (lambda f: (f / "0.csv").write_text("a,b\n1\n"), (), "rows of one length"),
        (lambda f: spoil(f / "1.csv"), (), "no finite number in frame 0"),
        (lambda f: None, ("--actions", "torque"), "has no column 'torque', only time, action_x"),
        (
            lambda f: (f / "0.csv").unlink(),
            ("--actions", "torque"),
            "columns of a table beside each video",
        ),
        (lambda f: None, ("--actions", "time", "--fps", "5"), "--fps takes other frames"),
    ],
)
def test_tables_that_do_not_fit_are_named(videos, tmp_path, capsys, change, words, told):
    change(videos)
    prepare(videos, tmp_path / "x", *words, code=2)
    assert told in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


# --------------------------------------------------------------------------------------------------------------- BAIR


def test_bairs_records_tell_what_was_done_and_where_the_gripper_was(tmp_path):
    write_bair(tmp_path)
    assert main(["prepare", str(tmp_path / "softmotion30_44k"), str(tmp_path / "s"), "--workers", "0"]) == 0
    store = Store(tmp_path / "s")
    assert {name: str(track) for name, track in store.tracks.items()} == {
        "actions": "float32 (4)",
        "state": "float32 (3)",
    }
    done = np.load(store.path / "test.actions.npy").reshape(2, 30, 4)
    assert np.array_equal(done[:, :, 0], np.repeat([[100], [101]], 30, 1))
    assert np.array_equal(done[0, :, 1], np.arange(30))
    np.testing.assert_allclose(np.load(store.path / "train.state.npy")[:30, 0], 0.1 * np.arange(30), rtol=1e-6)
