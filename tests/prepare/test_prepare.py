"""Every kind of source becomes a store that holds exactly its frames, however the work was interrupted."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from commands import STOCHVID, in_terminal
from made_data import (
    KTH_ACTIONS,
    content,
    moving,
    stored,
    write_bair,
    write_frames,
    write_kth,
    write_lerobot,
    write_video,
)
from stochvid import InputError
from stochvid.data.store import Store
from stochvid.prepare.options import FORMATS
from stochvid.prepare.preparation import SOURCES, prepare

# ------------------------------------------------------------------------------------------------------- the sources


def test_the_command_line_knows_every_source():
    assert set(FORMATS) == set(SOURCES)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "libx264"), (".avi", "mpeg4"), (".mkv", "libx264"), (".webm", "libvpx"), (".mov", "libx264")],
)
def test_a_video_is_stored_as_another_reader_decodes_it(tmp_path, suffix, codec):
    path = write_video(tmp_path / f"a{suffix}", moving(12), codec)
    (clip,) = stored(prepare(path, tmp_path / "out", size=32, split="train", workers=0)).values()
    decoded = iio.imread(path, plugin="pyav")
    resized = [Image.fromarray(frame).resize((32, 32), Image.Resampling.BILINEAR) for frame in decoded]
    assert np.array_equal(clip, np.stack(resized).transpose(0, 3, 1, 2))


def test_a_tree_of_everything_is_one_store(tmp_path):
    root = tmp_path / "my clips"
    write_video(root / "a.mp4", moving(8))
    write_video(root / "deep" / "er" / "a.mp4", moving(9))
    iio.imwrite(root / "b.gif", np.stack(moving(7)), duration=100, loop=0)
    write_frames(root / "stills", moving(11))
    (root / "notes.txt").write_text("not a clip")
    (root / ".hidden.mp4").write_text("not a clip either")
    (root / "stills" / "._frame1.png").write_text("as some systems leave it")
    os.mkfifo(root / "stills" / "frame99.png")
    store = prepare(root, tmp_path / "out", workers=0)
    clips = stored(store)
    assert {name: len(clip) for name, clip in clips.items()} == {
        "a.mp4": 8,
        "b.gif": 7,
        "deep/er/a.mp4": 9,
        "stills": 11,
    }
    assert {len(index.names) for index in store.splits.values()} == {1, 3}
    assert (store.size, store.channels) == (64, 3)
    store.verify()


def test_frames_of_a_folder_are_stored_in_natural_order_to_the_pixel(tmp_path):
    frames = [np.random.default_rng(t).integers(0, 256, (32, 32, 3), dtype=np.uint8) for t in range(12)]
    write_frames(tmp_path / "in", frames)
    (clip,) = stored(prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0)).values()
    assert np.array_equal(clip, np.stack(frames).transpose(0, 3, 1, 2))


def test_the_middle_square_or_the_squashed_frame(tmp_path):
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, :16] = 255  # the left quarter
    write_frames(tmp_path / "in", [frame] * 3)
    for crop, white in (("centre", 0), ("none", 8)):
        store = prepare(tmp_path / "in", tmp_path / crop, size=32, crop=crop, split="train", workers=0)
        assert (store.array("train")[0, 0, 16] > 128).sum() == white


def test_grey_stays_grey_and_may_be_asked_for(tmp_path):
    write_frames(tmp_path / "grey", [np.full((32, 32), 9, np.uint8)] * 3)
    write_frames(tmp_path / "red", [np.full((32, 32, 3), (255, 0, 0), np.uint8)] * 3)
    grey = prepare(tmp_path / "grey", tmp_path / "a", size=32, split="train", workers=0)
    assert (grey.channels, np.unique(grey.array("train")).tolist()) == (1, [9])
    red = prepare(tmp_path / "red", tmp_path / "b", size=32, channels=1, split="train", workers=0)
    assert (red.channels, np.unique(red.array("train")).tolist()) == (1, [76])  # ITU-R 601 luma


def test_mixed_sizes_and_colours_become_alike(tmp_path):
    write_frames(tmp_path / "in" / "a", moving(3))
    write_frames(tmp_path / "in" / "b", [np.full((90, 30), 7, np.uint8)] * 3)
    clips = stored(prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0))
    assert {clip.shape for clip in clips.values()} == {(3, 3, 32, 32)}
    assert (clips["b"] == 7).all()


def test_a_rate_is_kept_by_time(tmp_path):
    """20 frames/s at 5 frames/s: every fourth; at 40: every one twice."""
    frames = [np.full((32, 32, 3), 10 * t + 20, np.uint8) for t in range(20)]
    path = write_video(tmp_path / "a.mp4", frames, rate=20, crf="1")
    for fps, shown in ((5, list(range(0, 20, 4))), (40, [t for t in range(20) for _ in "ab"])):
        store = prepare(path, tmp_path / str(fps), size=32, fps=fps, split="train", workers=0)
        brightness = store.array("train").mean(axis=(1, 2, 3))
        assert np.round((brightness - 20) / 10).tolist() == shown
        assert store.splits["train"].fps == [fps]


def test_a_variable_rate_needs_one_to_be_named(tmp_path):
    frames = [np.full((32, 32, 3), 20 * t + 20, np.uint8) for t in range(5)]
    path = write_video(tmp_path / "a.mkv", frames, times=[0, 100, 200, 600, 700], crf="1")
    with pytest.raises(InputError, match=r"a\.mkv.* variable frame rate.* 100 to 400 ms.* --fps"):
        prepare(path, tmp_path / "out", size=32, workers=0)
    store = prepare(path, tmp_path / "out", size=32, fps=10, split="train", workers=0)
    brightness = store.array("train").mean(axis=(1, 2, 3))
    assert np.round((brightness - 20) / 20).tolist() == [0, 1, 2, 2, 2, 2, 3, 4]


def test_a_variable_rate_is_found_before_anything_is_decoded(tmp_path):
    """As far as the header lets one doubt it: here the mean rate is not the one that most frames have."""
    for name in ("a", "b", "c"):
        write_video(tmp_path / "in" / f"{name}.mp4", moving(30))
    times = [33 * t + (300 if t > 20 else 0) + (500 if t > 40 else 0) for t in range(60)]
    write_video(tmp_path / "in" / "z.mp4", moving(60), times=times)
    with pytest.raises(InputError, match=r"z.mp4' has a variable frame rate: frames last 33 to \d+ ms"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_times_that_jump_do_not_make_frames_without_end(tmp_path):
    path = write_video(tmp_path / "a.mkv", moving(4), times=[0, 40, 80, 80_000_000])
    with pytest.raises(InputError, match=r"a.mkv' stands still for 80000 s at 0.1 s: its times are broken"):
        prepare(path, tmp_path / "out", size=32, fps=25, workers=0)


def rotated(path: Path, quarters: int) -> None:
    """Writes a rotation into an MP4's header: the matrix of its track, which is the identity."""
    one, none = (65536).to_bytes(4, "big"), bytes(4)
    minus = (-65536).to_bytes(4, "big", signed=True)
    a, b, c, d = {1: (none, one, minus, none), 2: (minus, none, none, minus), 3: (none, minus, one, none)}[quarters]
    identity = one + none * 3 + one + none * 3 + (1 << 30).to_bytes(4, "big")
    turned = a + b + none + c + d + none + none * 2 + (1 << 30).to_bytes(4, "big")
    data = path.read_bytes()
    place = data.index(identity, data.index(b"tkhd"))
    path.write_bytes(data[:place] + turned + data[place + len(turned) :])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_rotated_video_is_stored_upright(tmp_path, quarters):
    """A quarter clockwise for each: the white top left corner goes round."""
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:16, :32] = 255
    path = write_video(tmp_path / "a.mp4", [frame] * 4, crf="1")
    rotated(path, quarters)
    store = prepare(path, tmp_path / "out", size=32, split="train", workers=0)
    picture = store.array("train")[0, 0] > 128
    white = [picture[:14, :14].all(), picture[:14, 18:].all(), picture[18:, 18:].all(), picture[18:, :14].all()]
    assert white == [quarter == quarters for quarter in range(4)]


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx264", "yuv420p10le"), ("ffv1", "gray"), ("ffv1", "gray10le"), ("ffv1", "yuv444p")]
)
def test_other_depths_and_colours_of_pixels_are_read(tmp_path, codec, pix_fmt):
    path = write_video(tmp_path / "a.mkv", [np.full((32, 32, 3), 100, np.uint8)] * 4, codec, pix_fmt=pix_fmt)
    store = prepare(path, tmp_path / "out", size=32, split="train", workers=0)
    assert store.channels == (1 if pix_fmt.startswith("gray") else 3)
    assert np.abs(store.array("train").astype(int) - 100).max() <= 16  # a grey format may hold studio levels


@pytest.mark.parametrize("axes", ["NTHW", "NTHWC", "NTCHW", "TNHW", "TNHWC", "TNCHW", "THW", "THWC", "TCHW"])
@pytest.mark.parametrize("kind", ["npy", "npz", "float"])
def test_arrays_are_stored_to_the_value_whatever_their_axes(tmp_path, axes, kind):
    sides = {"N": 6, "T": 5, "H": 32, "W": 32, "C": 3 if "C" in axes else 1}
    clips = np.random.default_rng(0).integers(0, 256, [sides[a] for a in "NTCHW"], dtype=np.uint8)
    clips = clips if "N" in axes else clips[:1]
    array = clips
    for place, axis in reversed(list(enumerate("NTCHW"))):
        if axis not in axes:
            array = array.take(0, axis=place)
    held = [axis for axis in "NTCHW" if axis in axes]
    array = array.transpose([held.index(axis) for axis in axes])
    if kind == "float":
        array = (array / 255).astype(np.float32)
    path = tmp_path / ("a.npy" if kind == "npy" else "a.npz")
    np.save(path, array) if kind == "npy" else np.savez(path, sequences=array)
    recognised = axes in ("THW", "THWC", "TCHW", "NTHW", "NTHWC", "NTCHW") if kind == "npy" else axes.startswith("TN")
    store = prepare(path, tmp_path / "out", size=32, axes=None if recognised else axes, split="test", workers=0)
    assert np.array_equal(store.array("test"), clips.reshape(-1, *clips.shape[2:]))
    assert store.splits["test"].names == ([f"{path.name}#{n}" for n in range(6)] if "N" in axes else [path.name])


def test_array_files_called_train_and_test_are_the_splits(tmp_path):
    for name, count in (("train", 4), ("test", 2)):
        np.save(tmp_path / f"{name}.npy", np.zeros((count, 5, 32, 32), np.uint8))
    store = prepare(tmp_path, tmp_path / "out", size=32, workers=0)
    assert {name: len(index.names) for name, index in store.splits.items()} == {"train": 4, "test": 2}


def brightness(clip: np.ndarray) -> list[int]:
    """Which frame of a made video each frame is, see `write_kth`."""
    return np.round((clip.mean(axis=(1, 2, 3)) - 20) / 3).astype(int).tolist()


def test_kth_clips_are_the_ranges_with_the_person_and_people_are_the_splits(tmp_path, capsys):
    store = prepare(write_kth(tmp_path / "KTH"), tmp_path / "out", workers=0)
    assert (store.size, store.channels) == (64, 1)
    assert {name: len(index.names) for name, index in store.splits.items()} == {"train": 16, "test": 8}
    assert all("person21" in name for name in store.splits["test"].names)
    clips = stored(store)
    assert brightness(clips["person01_boxing_d1#1"]) == list(range(0, 30))
    assert brightness(clips["person21_walking_d2#2"]) == list(range(34, 60))  # "35-64" of 60 frames
    assert store.splits["train"].fps[0] == 25
    assert "00sequences.txt" not in capsys.readouterr().out


def test_kth_without_the_list_of_ranges_says_what_changes(tmp_path, capsys):
    store = prepare(write_kth(tmp_path / "KTH", ranges=False), tmp_path / "out", workers=0)
    assert {name: len(index.names) for name, index in store.splits.items()} == {"train": 8, "test": 4}
    assert brightness(stored(store)["person02_boxing_d1"]) == list(range(60))
    assert "no 00sequences.txt here: every video is one whole clip" in capsys.readouterr().out


def test_the_srvp_test_set_of_kth_follows_its_published_draws(tmp_path):
    root = write_kth(tmp_path / "KTH", people=range(21, 26), actions=KTH_ACTIONS, scenes=range(1, 5), length=12)
    store = prepare(root, tmp_path / "out", size=32, split="srvp-test", length=4, workers=0)
    assert list(store.splits) == ["test"]
    assert store.splits["test"].lengths == [4] * 1000
    random, starts = np.random.RandomState(42), []
    for _ in range(1000):
        random.randint(6), random.randint(21, 26), random.randint(1, 5)
        starts.append(random.randint(12 - 4 + 1))
    for number in range(1000):
        assert brightness(store.clip("test", number)["frames"]) == list(range(starts[number], starts[number] + 4))


def test_the_srvp_test_set_takes_the_drawn_videos(tmp_path):
    """Videos differ in length here, so that only the right video allows the right draws after it."""
    from stochvid.prepare.kth import srvp_clips

    random, expected = np.random.RandomState(42), []
    lengths = {
        (a, p, s): 50 + 7 * i + p + s for i, a in enumerate(KTH_ACTIONS) for p in range(21, 26) for s in range(1, 5)
    }
    for _ in range(1000):
        video = (KTH_ACTIONS[random.randint(6)], random.randint(21, 26), random.randint(1, 5))
        expected.append((video, random.randint(lengths[video] - 40 + 1)))
    assert srvp_clips(lengths, 40) == expected


def test_bair_clips_are_the_shipped_bytes(tmp_path):
    made = write_bair(tmp_path / "BAIR")
    store = prepare(tmp_path / "BAIR", tmp_path / "out", workers=0)
    assert (store.size, store.channels) == (64, 3)
    for split, clips in made.items():
        assert np.array_equal(store.array(split), clips.reshape(-1, 64, 64, 3).transpose(0, 3, 1, 2))
    assert store.splits["train"].names[1] == "softmotion30_44k/train/traj_0_to_2.tfrecords#1"


def test_lerobot_episodes_are_cut_by_their_times(tmp_path):
    lengths = (20, 31, 24, 40)
    store = prepare(write_lerobot(tmp_path / "L", lengths), tmp_path / "out", workers=0)
    clips = stored(store)
    for episode, length in enumerate(lengths):
        clip = clips[f"episode_{episode:06}"]
        shown = clip.mean(axis=(1, 2, 3)) - 20 - 40 * episode
        assert np.abs(shown - np.arange(length)).max() < 1.5
    assert set(store.splits) == {"train", "test"}
    assert store.splits["train"].fps[0] == 20


def test_actions_and_states_of_lerobot_become_tracks(tmp_path, capsys):
    lengths = (20, 31, 24, 40)
    root = write_lerobot(tmp_path / "L", lengths)
    store = prepare(root, tmp_path / "out", workers=1)
    assert "track actions: float32 (6): a, b, c, d, e, f" in capsys.readouterr().out
    assert store.tracks["state"].names == ["height"]
    told = {}
    for split, index in store.splits.items():
        for number, name in enumerate(index.names):
            told[int(name[-6:])] = store.clip(split, number)
    for episode, length in enumerate(lengths):
        assert told[episode]["actions"][1:, :2].tolist() == [[episode, t] for t in range(length - 1)]  # what led to it
        assert told[episode]["state"].tolist() == [[100 * episode + t] for t in range(length)]
    np.testing.assert_allclose(
        store.tracks["state"].statistics["max"],
        max(told[int(n[-6:])]["state"].max() for n in store.splits["train"].names),
    )
    store.verify()


def test_at_another_rate_the_tracks_of_lerobot_are_those_of_the_frames_that_are_shown(tmp_path):
    for fps in (10, 7, 40):
        store = prepare(write_lerobot(tmp_path / f"L{fps}"), tmp_path / f"out{fps}", fps=fps, workers=0)
        for split, index in store.splits.items():
            for number, name in enumerate(index.names):
                clip, episode = store.clip(split, number), int(name[-6:])
                shown = clip["frames"].mean(axis=(1, 2, 3)) - 20 - 40 * episode
                assert np.abs(shown[:-1] - clip["actions"][1:, 1]).max() < 1.5  # done at the frame before


def test_lerobot_without_what_was_recorded_is_prepared_and_says_so(tmp_path, capsys):
    root = write_lerobot(tmp_path / "L", (20, 31), recorded=False)
    assert prepare(root, tmp_path / "out", workers=0).tracks == {}
    assert "actions and state are not taken: the dataset does not say" in capsys.readouterr().out
    root = write_lerobot(tmp_path / "M", (20, 31))
    (root / "data" / "chunk-000" / "file-000.parquet").unlink()
    assert prepare(root, tmp_path / "other", workers=0).tracks == {}
    assert "actions and state are not taken: there is no" in capsys.readouterr().out


def test_an_episode_whose_actions_are_broken_is_named(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    root = write_lerobot(tmp_path / "L", (20, 31, 24, 40))
    path = root / "data" / "chunk-000" / "file-001.parquet"  # of the last episode
    table = parquet.read_table(path)
    parquet.write_table(table.slice(0, 30), path)
    with pytest.raises(InputError, match="a row for each of the 40 frames of episode 3"):
        prepare(root, tmp_path / "out", workers=0)
    parquet.write_table(table.set_column(1, "observation.state", pa.array([float("nan")] * 40, pa.float32())), path)
    with pytest.raises(InputError, match=r"track 'state' of clip 'episode_000003'.*is no finite number"):
        prepare(root, tmp_path / "nan", workers=0)
    store = prepare(root, tmp_path / "skipped", workers=0, skip_bad=True)
    assert sum(len(index.names) for index in store.splits.values()) == 3
    store.verify()


def test_interrupted_work_goes_on_with_its_tracks_too(tmp_path, capsys):
    from pyarrow import parquet

    root = write_lerobot(tmp_path / "L")
    path = root / "data" / "chunk-000" / "file-001.parquet"  # of the second video
    table = parquet.read_table(path)
    parquet.write_table(table.slice(1), path)
    with pytest.raises(InputError, match="episode 3"):
        prepare(root, tmp_path / "out", workers=0)
    parquet.write_table(table, path)
    with open(tmp_path / "out.preparing" / "train.actions.npy", "ab") as file:
        file.write(b"what came after the last whole clip")
    store = prepare(root, tmp_path / "out", workers=0)
    assert "going on after 1 of 2 files" in capsys.readouterr().out
    fresh = prepare(root, tmp_path / "fresh", workers=0)
    assert store.splits == fresh.splits
    store.verify()


def test_one_clip_that_is_cut_for_several_splits_is_cut_with_its_tracks(tmp_path):
    store = prepare(write_lerobot(tmp_path / "L", (40,)), tmp_path / "out", split="train=0.75,test=0.25", workers=0)
    assert {name: index.lengths for name, index in store.splits.items()} == {"train": [30], "test": [10]}
    assert np.load(store.path / "test.actions.npy")[:, 1].tolist() == list(range(30, 40))


def test_a_lerobot_store_from_before_there_were_tracks_is_prepared_anew_only_if_asked(tmp_path, capsys):
    root = write_lerobot(tmp_path / "L", (20, 31))
    prepare(root, tmp_path / "out", workers=0)
    path = tmp_path / "out" / "index.json"
    index = json.loads(path.read_text()) | {"version": 1}
    index.pop("tracks")
    for split in index["splits"].values():
        split.pop("tracks")
        split["bounces"] = [None] * len(split["names"])
    path.write_text(json.dumps(index))
    assert prepare(root, tmp_path / "out", workers=0).tracks == {}
    assert "lacks actions, state; --overwrite prepares it anew" in capsys.readouterr().out
    assert set(prepare(root, tmp_path / "out", workers=0, overwrite=True).tracks) == {"actions", "state"}


def test_lerobot_splits_and_cameras(tmp_path):
    cameras = ("observation.images.top", "observation.images.wrist")
    root = write_lerobot(tmp_path / "L", cameras=cameras, splits={"train": "0:3", "test": "3:4"})
    with pytest.raises(InputError, match=r"it has 2\): --camera observation.images.top or observation.images.wrist"):
        prepare(root, tmp_path / "out", workers=0)
    store = prepare(root, tmp_path / "out", camera=cameras[1], workers=0)
    assert store.splits["test"].names == ["episode_000003"]
    assert len(store.splits["train"].names) == 3


@pytest.mark.parametrize("mark", [{"info": {"video.is_depth_map": True}}, {"video_info": {"video.is_depth_map": True}}])
def test_depth_maps_of_lerobot_are_named_and_not_taken(tmp_path, capsys, mark):
    cameras = ("observation.images.top", "observation.images.top_depth")
    root = write_lerobot(tmp_path / "L", (20, 31), cameras=cameras)
    info = json.loads((root / "meta" / "info.json").read_text())
    info["features"][cameras[1]] |= mark
    (root / "meta" / "info.json").write_text(json.dumps(info))
    prepare(root, tmp_path / "out", workers=0)  # the only camera of pictures
    assert "depth maps are not taken: observation.images.top_depth" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"camera 'observation.images.top_depth' of .* is a depth map"):
        prepare(root, tmp_path / "other", camera=cameras[1], workers=0)


@pytest.mark.parametrize("kind", ["video", "image"])
@pytest.mark.parametrize("version", [2, 3])
def test_lerobot_of_every_version_gives_the_same_clips(tmp_path, capsys, version, kind):
    lengths = (20, 31, 24)
    root = write_lerobot(tmp_path / "L", lengths, version=version, kind=kind)
    store = prepare(root, tmp_path / "out", workers=0)
    assert "not taken" not in capsys.readouterr().out
    assert {name: len(clip) for name, clip in stored(store).items()} == {
        f"episode_{e:06}": length for e, length in enumerate(lengths)
    }
    for split, index in store.splits.items():
        for number, name in enumerate(index.names):
            clip, e = store.clip(split, number), int(name[-1])
            ramp = 20 + 40 * e + np.arange(lengths[e])
            assert np.abs(clip["frames"].mean((1, 2, 3)) - ramp).max() < (3 if kind == "video" else 1e-3)
            np.testing.assert_array_equal(clip["state"][:, 0], 100 * e + np.arange(lengths[e]))
            np.testing.assert_array_equal(clip["actions"][1:, :2], [[e, t] for t in range(lengths[e] - 1)])
    slower = prepare(root, tmp_path / "slower", fps=10, workers=0)
    assert sorted(len(clip) for clip in stored(slower).values()) == [10, 12, 16]


@pytest.mark.parametrize(("version", "kind"), [(3, "video"), (2, "video"), (3, "image")])
def test_several_cameras_of_lerobot_become_channels(tmp_path, capsys, version, kind):
    cameras, lengths = ("observation.images.top", "observation.images.side", "observation.images.hand"), (20, 31, 24)
    root = write_lerobot(tmp_path / "L", lengths, cameras=cameras, version=version, kind=kind)
    store = prepare(root, tmp_path / "out", camera=f"{cameras[0]},{cameras[2]}", workers=0)
    assert store.channels == 6
    assert f"features that are not taken: {cameras[1]}" in capsys.readouterr().out
    for split, index in store.splits.items():
        for number, name in enumerate(index.names):
            frames, e = store.clip(split, number)["frames"], int(name[-1])
            ramp = 20 + 40 * e + np.arange(lengths[e])
            for first, more in ((0, 0), (3, 18)):
                assert np.abs(frames[:, first : first + 3].mean((1, 2, 3)) - ramp - more).max() < 3
    for asked in ("observation.images.top,nothing", "observation.images.top,observation.images.top", None):
        with pytest.raises(InputError, match=r"choose a camera of .*; or several, with commas between them"):
            prepare(root, tmp_path / "other", camera=asked, workers=0)


@pytest.mark.parametrize(
    ("frames", "told"), [(19, "do not have equally many frames"), ((20, 32, 32), "have frames of 32×32 and 64×48")]
)
def test_cameras_of_lerobot_that_show_other_things_are_named(tmp_path, frames, told):
    cameras = ("observation.images.top", "observation.images.side")
    root = write_lerobot(tmp_path / "L", (20, 31), cameras=cameras, version=2)
    shape = (frames, 48, 64) if isinstance(frames, int) else frames
    path = root / "videos" / "chunk-000" / cameras[1] / "episode_000000.mp4"
    write_video(path, list(np.zeros((*shape, 3), np.uint8)), rate=20)
    with pytest.raises(InputError, match=f"episode_000000: the cameras {', '.join(cameras)} {told}"):
        prepare(root, tmp_path / "out", camera=",".join(cameras), workers=0)
    store = prepare(root, tmp_path / "out", camera=",".join(cameras), skip_bad=True, workers=0)
    assert [name for index in store.splits.values() for name in index.names] == ["episode_000001"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([{"bytes": b"no picture", "path": None}], "cannot be read as an image"),
        ([{"bytes": None, "path": "elsewhere.png"}], "a row has no bytes of a picture in it"),
        ([{"bytes": b"II*\0" + b"0" * 40, "path": None}], "has pictures in TIFF"),
        ("turned", "row 0 of .* is frame 4 of episode 0, and should be frame 0 of episode 0"),
        ("short", "should have 5 frames, but 4"),
    ],
)
def test_broken_pictures_of_lerobot_are_named(tmp_path, values, told):
    import pyarrow as pa
    from pyarrow import parquet

    root = write_lerobot(tmp_path / "L", (5,), kind="image")
    path = root / "data" / "chunk-000" / "file-000.parquet"
    table = parquet.read_table(path)
    place = table.column_names.index("observation.images.top")
    if isinstance(values, list):
        table = table.set_column(place, "observation.images.top", pa.array(values * 5, table.schema.field(place).type))
    else:
        table = table.slice(0, 4) if values == "short" else table.take([4, 3, 2, 1, 0])
    parquet.write_table(table, path)
    with pytest.raises(InputError, match=told):
        prepare(root, tmp_path / "out", workers=0)


# ------------------------------------------------------------------------------------------------- splits and options


def test_folders_called_train_and_test_are_the_splits(tmp_path):
    for name in ("train/a", "train/b", "test/a"):
        write_frames(tmp_path / "in" / name, moving(3))
    store = prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert {name: index.names for name, index in store.splits.items()} == {
        "train": ["train/a", "train/b"],
        "test": ["test/a"],
    }


def test_a_split_by_patterns_and_by_fractions(tmp_path, capsys):
    for name in ("day1/a", "day1/b", "day2/a", "night/a"):
        write_frames(tmp_path / "in" / name, moving(3))
    store = prepare(tmp_path / "in", tmp_path / "a", split="train=day1/*,test=day2/*", workers=0)
    assert {name: len(index.names) for name, index in store.splits.items()} == {"train": 2, "test": 1}
    assert "1 clip(s) fit no pattern of --split" in capsys.readouterr().out
    store = prepare(tmp_path / "in", tmp_path / "b", split="train=0.5,val=0.25,test=0.25", workers=0)
    assert {name: len(index.names) for name, index in store.splits.items()} == {"train": 2, "val": 1, "test": 1}


def test_a_pattern_fits_folders_too_and_one_that_fits_nothing_is_named(tmp_path, capsys):
    for name in ("day1/a", "day1/b", "day2/a"):
        write_frames(tmp_path / "in" / name, moving(3))
    store = prepare(tmp_path / "in", tmp_path / "a", split="train=day1, test=day2/, val=day3", workers=0)
    assert {name: len(index.names) for name, index in store.splits.items()} == {"train": 2, "test": 1}
    assert "--split val=day3 fits no clip" in capsys.readouterr().out


def test_a_store_that_training_would_refuse_is_noted(tmp_path, capsys):
    for name in ("a", "b"):
        write_frames(tmp_path / "in" / name, moving(3))
    prepare(tmp_path / "in", tmp_path / "a", split="test=*", size=32, workers=0)
    said = capsys.readouterr().out
    assert "note: there is no train clip; training needs some" in said
    prepare(tmp_path / "in", tmp_path / "b", split="train=1.0", workers=0)
    assert "note: there is no val or test clip" in capsys.readouterr().out
    prepare(tmp_path / "in", tmp_path / "c", split="test", workers=0)
    assert "note:" not in capsys.readouterr().out


def test_what_was_prepared_with_faults_left_out_stays_prepared(tmp_path, capsys):
    for name in ("a", "b"):
        write_frames(tmp_path / "in" / name, moving(3))
    (tmp_path / "in" / "c.mp4").write_text("no video")
    prepare(tmp_path / "in", tmp_path / "out", workers=0, skip_bad=True)
    prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert "prepared already (1 fault(s) were left out); nothing to do" in capsys.readouterr().out


def test_the_end_of_a_short_video_is_long_enough_to_be_of_use(tmp_path):
    write_frames(tmp_path / "in", moving(90))
    store = prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0)
    assert {name: index.frames for name, index in store.splits.items()} == {"train": 60, "test": 30}


def test_what_is_transparent_is_black(tmp_path):
    frame = np.full((32, 32, 4), (200, 0, 0, 0), np.uint8)
    frame[:16] = (0, 200, 0, 255)
    write_frames(tmp_path / "in", [frame] * 2)
    store = prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0)
    assert store.array("train")[0, :, 20, 20].tolist() == [0, 0, 0]
    assert store.array("train")[0, :, 5, 5].tolist() == [0, 200, 0]


def test_only_a_single_clip_is_cut_in_time(tmp_path, capsys):
    write_frames(tmp_path / "in" / "loose", moving(20))
    write_frames(tmp_path / "in" / "train" / "a", moving(20))
    store = prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert store.splits["train"].names == ["train/a"]
    assert "1 clip(s) are in none of the splits that are shipped" in capsys.readouterr().out
    write_frames(tmp_path / "short", moving(3))
    with pytest.raises(InputError, match="the only clip has 3 frames, too few to be cut into train, test"):
        prepare(tmp_path / "short", tmp_path / "b", workers=0)


def test_arrays_in_folders_called_train_and_test_are_the_splits(tmp_path):
    for name in ("train/a", "train/b", "validation/a"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "in" / f"{name}.npy", np.zeros((5, 32, 32), np.uint8))
    store = prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0)
    assert {name: index.names for name, index in store.splits.items()} == {
        "train": ["train/a.npy", "train/b.npy"],
        "val": ["validation/a.npy"],
    }


def test_bair_in_its_own_folder_is_split_as_shipped(tmp_path, monkeypatch):
    write_bair(tmp_path / "in")
    monkeypatch.chdir(tmp_path / "in" / "softmotion30_44k" / "test")
    assert list(prepare(".", tmp_path / "out", workers=0).splits) == ["test"]


def test_arrays_beside_videos_must_be_told_apart(tmp_path):
    write_video(tmp_path / "in" / "a.mp4", moving(20))
    np.save(tmp_path / "in" / "features.npy", np.zeros((5, 32, 32), np.uint8))
    with pytest.raises(InputError, match=r"holds both arrays and videos or images. Say which: --format"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert prepare(tmp_path / "in", tmp_path / "out", format="videos", workers=0).splits["train"].frames == 14


def test_a_single_video_is_cut_in_time(tmp_path):
    frames = [np.full((32, 32, 3), 5 * t, np.uint8) for t in range(40)]
    write_frames(tmp_path / "in", frames)
    store = prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0)
    assert (store.array("train")[:, 0, 0, 0] // 5).tolist() == list(range(27))
    assert (store.array("test")[:, 0, 0, 0] // 5).tolist() == list(range(27, 40))


# ------------------------------------------------------------------------------------------- interrupted, and repeated


def test_workers_change_nothing(tmp_path):
    for number in range(7):
        write_video(tmp_path / "in" / f"{number}.mp4", moving(30 - 4 * number, start=number))
    alone = prepare(tmp_path / "in", tmp_path / "a", size=32, workers=0)
    together = prepare(tmp_path / "in", tmp_path / "b", size=32, workers=2)
    assert content(alone.path) == content(together.path)


def test_a_second_run_changes_nothing(tmp_path, capsys):
    write_frames(tmp_path / "in", moving(5))
    store = prepare(tmp_path / "in", tmp_path / "out", workers=0)
    before = {path: path.stat().st_mtime_ns for path in [store.path, *store.path.iterdir()]}
    prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert {path: path.stat().st_mtime_ns for path in [store.path, *store.path.iterdir()]} == before
    assert "prepared already; nothing to do" in capsys.readouterr().out


def test_another_store_is_replaced_only_if_asked(tmp_path):
    write_frames(tmp_path / "in", moving(5))
    prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0)
    with pytest.raises(InputError, match=r"holds another store .size 32, asked for 64.. Choose another folder"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert Store(tmp_path / "out").size == 32
    assert prepare(tmp_path / "in", tmp_path / "out", workers=0, overwrite=True).size == 64
    write_frames(tmp_path / "in", moving(6))
    with pytest.raises(InputError, match="the files of the source are others, or have changed"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_what_is_no_store_is_never_replaced(tmp_path):
    write_frames(tmp_path / "in", moving(5))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="exists and is not a store"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0, overwrite=True)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def many_videos(folder: Path, count: int = 25) -> Path:
    path = write_video(folder / "000.mp4", moving(100))
    for number in range(1, count):
        shutil.copy(path, folder / f"{number:03}.mp4")
    return folder


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_interrupted_work_goes_on_and_gives_the_same_store(tmp_path, number, code):
    words = [*STOCHVID, "prepare", str(many_videos(tmp_path / "in")), str(tmp_path / "out"), "--size", "32"]
    process = subprocess.Popen([*words, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "out.preparing" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.is_file() and journal.read_bytes().count(b"\n") >= 3) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert not (tmp_path / "out").exists()
    if number != signal.SIGKILL:
        assert "the same command again to continue" in err
        assert "Traceback" not in err
        assert not list((tmp_path / "out.preparing").glob("part-*"))
    done = subprocess.run([*words, "--workers", "1"], capture_output=True, text=True, timeout=120, check=True)
    assert "going on after" in done.stdout
    whole = prepare(tmp_path / "in", tmp_path / "whole", size=32, workers=0)
    assert content(tmp_path / "out") == content(whole.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "whole"]


def test_a_bad_clip_in_the_middle_keeps_what_is_done(tmp_path, capsys):
    for number in (1, 2, 4):
        write_video(tmp_path / "in" / f"{number}.avi", moving(10), "mpeg4")
    cut = write_video(tmp_path / "in" / "3.avi", moving(60), "mpeg4")
    cut.write_bytes(cut.read_bytes()[:-2000])
    with pytest.raises(
        InputError, match=r"3.avi' (is cut short|cannot be decoded).* run the same command with --skip-bad"
    ):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.preparing"]
    store = prepare(tmp_path / "in", tmp_path / "out", workers=0, skip_bad=True)
    assert "going on after 2 of 4 files" in capsys.readouterr().out
    assert sorted(stored(store)) == ["1.avi", "2.avi", "4.avi"]
    (left_out,) = store.about["left_out"]
    assert "3.avi" in left_out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_work_with_other_options_is_not_mixed_in(tmp_path):
    for number in (1, 2, 3):
        write_video(tmp_path / "in" / f"{number}.avi", moving(10), "mpeg4")
    (tmp_path / "in" / "9.avi").write_text("no video")
    with pytest.raises(InputError, match=r"9\.avi"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]  # found before anything was decoded
    short = write_video(tmp_path / "in" / "9.avi", moving(1), "mpeg4")
    with pytest.raises(InputError, match=r"has one frame; a clip needs two"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)
    short.unlink()
    with pytest.raises(InputError, match=r"unfinished work with other options .size 64, asked for 32"):
        prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0)
    assert prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0, overwrite=True).size == 32


def test_a_file_that_changed_meanwhile_is_decoded_again(tmp_path, capsys):
    for number in (1, 2, 3):
        write_frames(tmp_path / "in" / f"{number}", [np.full((32, 32), number, np.uint8)] * 4)
    write_frames(tmp_path / "in" / "4", moving(1))
    with pytest.raises(InputError, match="one frame"):
        prepare(tmp_path / "in", tmp_path / "out", size=32, channels=1, split="train", workers=0)
    write_frames(tmp_path / "in" / "2", [np.full((32, 32), 99, np.uint8)] * 4)
    store = prepare(tmp_path / "in", tmp_path / "out", size=32, channels=1, split="train", workers=0, skip_bad=True)
    assert "going on after 1 of 4 files" in capsys.readouterr().out
    assert store.array("train")[:, 0, 0, 0].tolist() == [1] * 4 + [99] * 4 + [3] * 4


def test_a_terminal_gets_a_progress_bar(tmp_path):
    write_video(tmp_path / "in" / "a.mp4", moving(400))
    last = in_terminal(["prepare", str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "1"])
    assert all(word in last for word in ("100%", "400/400", "frames/s", "2 clips", "<00:00")), last


def test_two_at_once_do_not_mix(tmp_path):
    words = [*STOCHVID, "prepare", str(many_videos(tmp_path / "in")), str(tmp_path / "out"), "--size", "32"]
    first = subprocess.Popen([*words, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "out.preparing" / "journal.jsonl"
    while not journal.is_file() and first.poll() is None:
        time.sleep(0.01)
    with pytest.raises(InputError, match=r"another process is preparing .*out' right now. Wait for it"):
        prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert content(tmp_path / "out") == content(prepare(tmp_path / "in", tmp_path / "b", size=32, workers=0).path)


def test_a_killed_worker_is_told_with_its_file(tmp_path):
    words = [*STOCHVID, "prepare", str(many_videos(tmp_path / "in")), str(tmp_path / "out"), "--workers", "1"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "out.preparing" / "journal.jsonl"
    while not journal.is_file() and process.poll() is None:
        time.sleep(0.01)
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            command = (status.parent / "cmdline").read_bytes()
            if f"PPid:\t{process.pid}\n" in status.read_text() and b"spawn_main" in command:
                os.kill(int(status.parent.name), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "a worker process was killed while it read one of" in err
    assert ".mp4'. Memory may have run out (use fewer --workers)" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_stop_while_one_store_replaces_another_loses_neither(tmp_path, monkeypatch, moment):
    write_frames(tmp_path / "in", moving(20))
    prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0)
    calls, original = [], os.replace

    def interrupted(source, target):
        if str(source).endswith((".preparing", "out")):
            calls.append(source)
            if len(calls) == moment:
                raise KeyboardInterrupt
        original(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        prepare(tmp_path / "in", tmp_path / "out", size=64, split="train", workers=0, overwrite=True)
    monkeypatch.undo()
    assert Store(tmp_path / "out").size == (64 if moment == 3 else 32)
    assert prepare(tmp_path / "in", tmp_path / "out", size=64, split="train", workers=0, overwrite=True).size == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_store_that_was_set_aside_by_a_killed_process_comes_back(tmp_path):
    write_frames(tmp_path / "in", moving(20))
    store = prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0)
    os.replace(store.path, tmp_path / "out.replaced")
    assert prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0).size == 32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_unfinished_work_that_lost_an_array_is_refused(tmp_path):
    for number in (1, 2):
        write_frames(tmp_path / "in" / f"{number}", moving(4))
    write_frames(tmp_path / "in" / "3", moving(1))
    with pytest.raises(InputError, match="one frame"):
        prepare(tmp_path / "in", tmp_path / "out", split="train", workers=0)
    (tmp_path / "out.preparing" / "train.npy").unlink()
    with pytest.raises(InputError, match="is shorter than the clips that it should hold"):
        prepare(tmp_path / "in", tmp_path / "out", split="train", workers=0, skip_bad=True)


def test_overwriting_repairs_a_damaged_store_and_leaves_a_whole_one(tmp_path, capsys):
    write_frames(tmp_path / "in", moving(20))
    store = prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0)
    whole = content(store.path)
    data = bytearray(whole["train.npy"])
    data[2000] ^= 1
    (store.path / "train.npy").write_bytes(data)
    prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0, overwrite=True)
    assert content(store.path) == whole
    prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0, overwrite=True)
    assert "prepared already" in capsys.readouterr().out


def test_interrupted_overwriting_goes_on_too(tmp_path, capsys):
    for number in (1, 2):
        write_frames(tmp_path / "in" / f"{number}", moving(4))
    write_frames(tmp_path / "in" / "3", moving(1))
    options = {"split": "train", "workers": 0, "overwrite": True}
    prepare(tmp_path / "in", tmp_path / "out", size=32, skip_bad=True, **options)
    with pytest.raises(InputError, match="one frame"):
        prepare(tmp_path / "in", tmp_path / "out", size=64, **options)
    assert prepare(tmp_path / "in", tmp_path / "out", size=64, skip_bad=True, **options).size == 64
    assert "going on after 2 of 3 files" in capsys.readouterr().out


def test_frames_that_changed_places_are_other_frames(tmp_path):
    write_frames(tmp_path / "in", moving(6))
    prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0)
    for old, new in (("frame1", "x"), ("frame2", "frame1"), ("x", "frame2")):
        os.replace(tmp_path / "in" / f"{old}.png", tmp_path / "in" / f"{new}.png")
    with pytest.raises(InputError, match="the files of the source are others, or have changed"):
        prepare(tmp_path / "in", tmp_path / "out", size=32, split="train", workers=0)


def test_when_every_clip_is_bad_nothing_is_left(tmp_path):
    for number in (1, 2):
        write_frames(tmp_path / "in" / f"{number}", moving(1))
    with pytest.raises(InputError, match=r"no clip could be read. The first of 2 faults: .*one frame"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0, skip_bad=True)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_empty_folder_may_become_the_store(tmp_path, monkeypatch):
    write_frames(tmp_path / "in", moving(20))
    (tmp_path / "here").mkdir()
    assert prepare(tmp_path / "in", tmp_path / "here", size=32, workers=0).size == 32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "in"]
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="cannot be the folder that you are in"):
        prepare("../in", ".", size=32, workers=0)


# ---------------------------------------------------------------------------------------------------------- the disk


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    write_frames(tmp_path / "in", moving(5))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(InputError, match=r"has 1.0 MiB free, but 64.1 MiB are needed while it is made. Make room"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_disk_that_fills_up_in_the_middle_loses_nothing(tmp_path, workers):
    """A limit on the size of files stands for the full disk: the third video does not fit any more."""
    for number in range(4):
        write_frames(tmp_path / "in" / str(number), moving(60))
    words = [
        *STOCHVID,
        "prepare",
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        "--split",
        "train",
        "--workers",
        workers,
    ]
    limited = f"import resource, sys, os; resource.setrlimit(resource.RLIMIT_FSIZE, ({2_000_000}, {2_000_000}));"
    code = limited + "os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(["python3", "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "File too large. Make room there and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert "going on after 2 of 4 files" in done.stdout
    assert content(tmp_path / "out") == content(prepare(tmp_path / "in", tmp_path / "b", split="train", workers=0).path)
