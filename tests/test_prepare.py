"""Every kind of source becomes a store that holds exactly its frames, however the work was interrupted."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from made_data import KTH_ACTIONS, square, write_bair, write_frames, write_kth, write_lerobot, write_video
from PIL import Image

from conftest import STOCHVID
from stochvid import InputError
from stochvid.cli import FORMATS, main
from stochvid.data.store import Store
from stochvid.prepare import SOURCES, prepare


def stored(store: Store) -> dict[str, np.ndarray]:
    """The clips (T, C, H, W) by name, of all splits."""
    return {
        name: store.clip(split, number)["frames"]
        for split, index in store.splits.items()
        for number, name in enumerate(index.names)
    }


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def moving(length: int, start: int = 0, **size) -> list[np.ndarray]:
    return [square(start + t, **size) for t in range(length)]


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
    with pytest.raises(InputError, match=r"a.mkv' has a variable frame rate: frames last 100 to 400 ms. Give --fps"):
        prepare(path, tmp_path / "out", size=32, workers=0)
    store = prepare(path, tmp_path / "out", size=32, fps=10, split="train", workers=0)
    brightness = store.array("train").mean(axis=(1, 2, 3))
    assert np.round((brightness - 20) / 20).tolist() == [0, 1, 2, 2, 2, 2, 3, 4]


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
    from stochvid.data.kth import srvp_clips

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


def test_lerobot_splits_and_cameras(tmp_path):
    cameras = ("observation.images.top", "observation.images.wrist")
    root = write_lerobot(tmp_path / "L", cameras=cameras, splits={"train": "0:3", "test": "3:4"})
    with pytest.raises(InputError, match=r"it has 2\): --camera observation.images.top or observation.images.wrist"):
        prepare(root, tmp_path / "out", workers=0)
    store = prepare(root, tmp_path / "out", camera=cameras[1], workers=0)
    assert store.splits["test"].names == ["episode_000003"]
    assert len(store.splits["train"].names) == 3


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


def test_a_single_video_is_cut_in_time(tmp_path):
    frames = [np.full((32, 32, 3), 5 * t, np.uint8) for t in range(40)]
    write_frames(tmp_path / "in", frames)
    store = prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0)
    assert (store.array("train")[:, 0, 0, 0] // 5).tolist() == list(range(36))
    assert (store.array("test")[:, 0, 0, 0] // 5).tolist() == list(range(36, 40))


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
    with pytest.raises(InputError, match="exists and is no store"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0, overwrite=True)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def many_videos(folder: Path, count: int = 25) -> Path:
    path = write_video(folder / "000.mp4", moving(100))
    for number in range(1, count):
        shutil.copy(path, folder / f"{number:03}.mp4")
    return folder


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
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
        assert "The same command goes on from here" in err
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


# ---------------------------------------------------------------------------------------------------------- the disk


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    write_frames(tmp_path / "in", moving(5))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(InputError, match=r"has 1.0 MiB free, but 64.1 MiB are needed. Make room"):
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


# --------------------------------------------------------------------------------------------------------- bad inputs


NAMES = [
    "a b.mp4",
    "ünïcödé ☂.mp4",
    "-dash.mp4",
    "--help.mp4",
    "50%d.mp4",
    "a:b.mp4",
    "http:x.mp4",
    "a'\"b.mp4",
    "#1[2].mp4",
]


@pytest.mark.parametrize("workers", [0, 1])
def test_odd_names_are_names(tmp_path, workers, monkeypatch):
    path = write_video(tmp_path / "first.mp4", moving(4))
    (tmp_path / "in").mkdir()
    names = [*NAMES, os.fsdecode(b"caf\xe9.mp4")]
    for name in names:
        shutil.copy(path, tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path / "in")  # so that names alone are paths
    store = prepare(".", tmp_path / "out", size=32, split="train", workers=workers)
    assert sorted(store.splits["train"].names) == sorted(names)
    assert prepare("-dash.mp4", tmp_path / "b", size=32, split="train", workers=workers).splits["train"].frames == 4
    assert main(["prepare", str(tmp_path / "in"), str(tmp_path / "c"), "--size", "32", "--workers", "0"]) == 0


def test_links_in_circles_are_not_followed(tmp_path, capsys):
    write_frames(tmp_path / "in" / "a", moving(3))
    os.symlink(tmp_path / "in", tmp_path / "in" / "a" / "again")
    os.symlink(tmp_path / "in" / "a", tmp_path / "in" / "b")  # not in a circle: followed
    store = prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert sorted(stored(store)) == ["a", "b"]
    assert "links to a folder that contains it" in capsys.readouterr().out


def bad_video(folder: Path, kind: str) -> Path:
    path = folder / kind
    if kind == "empty.mp4":
        path.write_bytes(b"")
    elif kind == "text.mp4":
        path.write_text("<html>not found</html>")
    elif kind == "cut.mp4":
        write_video(path, moving(30))
        path.write_bytes(path.read_bytes()[:-700])
    elif kind == "cut stream.mp4":
        noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8)
        write_video(path, list(noise), movflags="faststart")
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    elif kind in ("cut.avi", "cut.mkv"):
        write_video(path, moving(60), "mpeg4")
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    elif kind == "one frame.mp4":
        write_video(path, moving(1))
    elif kind == "changing size.ts":
        for width in (64, 80):
            write_video(folder / f"{width}.ts", moving(10, width=width))
        path.write_bytes(b"".join((folder / f"{width}.ts").read_bytes() for width in (64, 80)))
        (folder / "64.ts").unlink()
        (folder / "80.ts").unlink()
    elif kind == "variable.mkv":
        write_video(path, moving(5), times=[0, 40, 80, 400, 440])
    elif kind == "dangling.mp4":
        path.symlink_to("nowhere.mp4")
    elif kind == "circle.mp4":
        path.symlink_to("circle.mp4")
    elif kind == "pipe.mp4":
        os.mkfifo(path)
    elif kind == "list.ts":  # a playlist, whatever it is called
        write_video(folder.parent / "elsewhere.ts", moving(5))
        path.write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{folder.parent / 'elsewhere.ts'}\n#EXT-X-ENDLIST\n"
        )
    elif kind == "mixed stills":
        write_frames(path, [*moving(2), square(0, width=80)])
    elif kind == "broken still":
        write_frames(path, moving(3))
        (path / "frame2.png").write_bytes(b"\x89PNG nothing")
    return path


BAD_VIDEOS = {
    "empty.mp4": "cannot be decoded as video: Invalid data",
    "text.mp4": "cannot be decoded as video: Invalid data",
    "cut.mp4": "has no video stream|cannot be decoded as video",
    "cut stream.mp4": "is cut short: its header promises|cannot be decoded as video after",
    "cut.avi": "is cut short: its header promises 60 frames|cannot be decoded as video",
    "cut.mkv": "is cut short: its header promises 2.4 seconds",
    "one frame.mp4": "has one frame; a clip needs two",
    "changing size.ts": "changes its frame size at frame 11",
    "variable.mkv": "has a variable frame rate: frames last 40 to 320 ms",
    "dangling.mp4": "cannot be read: No such file",
    "circle.mp4": "cannot be read: Too many levels of symbolic links",
    "pipe.mp4": "is not a regular file",
    "list.ts": "cannot be decoded as video",
    "mixed stills": "frames of one clip must be alike",
    "broken still": "cannot be read as an image",
}


def refused(tmp_path: Path, kind: str, message: str, good: list[str], **options) -> None:
    """Refused with one clear message and nothing left, or left out with --skip-bad and the rest still usable."""
    with pytest.raises(InputError, match=message) as caught:
        prepare(tmp_path / "in", tmp_path / "out", workers=0, **options)
    assert kind in str(caught.value)
    assert "--skip-bad" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "out").exists()
    store = prepare(tmp_path / "in", tmp_path / "out", workers=0, skip_bad=True, **options)
    assert sorted(stored(store)) == good
    assert any(kind in fault for fault in store.about["left_out"])
    store.verify()
    assert not (tmp_path / "out.preparing").exists()


@pytest.mark.parametrize("kind", BAD_VIDEOS)
def test_a_bad_video_is_named_and_the_others_stay_usable(tmp_path, kind):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "good.mp4", moving(9))
    write_video(tmp_path / "in" / "more.mp4", moving(7))
    bad_video(tmp_path / "in", kind)
    refused(tmp_path, kind, BAD_VIDEOS[kind], ["good.mp4", "more.mp4"])


@contextlib.contextmanager
def nobody():
    """Another user, where the tests run as root, whom permissions do not stop."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_read_is_named(kind):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "in"
        for name in ("a", "b"):
            write_video(root / name / f"{name}.mp4", moving(4))
        os.chmod(folder, 0o777)
        locked = root / "b" / "b.mp4" if kind == "file" else root / "b"
        os.chmod(locked, 0)
        with pytest.raises(InputError) as caught, nobody():
            prepare(root, Path(folder) / "out", workers=0)
        assert f"'{locked}' cannot be read: Permission denied" in str(caught.value)
        os.chmod(locked, 0o755)


class Trap:
    """Unpickling it would leave a trace."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def bad_array(folder: Path, kind: str) -> None:
    path, good = folder / kind, np.zeros((2, 4, 32, 32), np.uint8)
    if kind == "objects.npy":
        np.save(path, np.array([Trap(folder / "trapped")], dtype=object))
    elif kind == "objects.npz":
        np.savez(path, frames=np.array([Trap(folder / "trapped")] * 2, dtype=object))
    elif kind == "int.npy":
        np.save(path, good.astype(np.int32))
    elif kind == "nan.npy":
        np.save(path, np.full((4, 32, 32), np.nan, np.float32))
    elif kind == "bright.npy":
        np.save(path, np.full((4, 32, 32), 200.0))
    elif kind == "flat.npy":
        np.save(path, np.zeros((4, 32), np.uint8))
    elif kind == "seven channels.npy":
        np.save(path, np.zeros((2, 4, 32, 32, 7), np.uint8))
    elif kind == "no frames.npy":
        np.save(path, np.zeros((2, 0, 32, 32), np.uint8))
    elif kind in ("cut.npy", "cut.npz"):
        (np.save if kind == "cut.npy" else np.savez)(path, good)
        path.write_bytes(path.read_bytes()[:-500])
    elif kind == "text.npz":
        path.write_text("no zip")
    elif kind == "two arrays.npz":
        np.savez(path, a=good, b=good)


BAD_ARRAYS = {
    "objects.npy": "holds Python objects; expected uint8, bool, or float",
    "objects.npz": "holds Python objects; expected uint8, bool, or float",
    "int.npy": "has dtype int32; expected uint8, bool, or float",
    "nan.npy": r"float values outside \[0, 1\]",
    "bright.npy": r"float values outside \[0, 1\]. Scale them, or save uint8",
    "flat.npy": r"has shape \(4, 32\); expected \(T, H, W\)",
    "seven channels.npy": r"has shape \(2, 4, 32, 32, 7\)",
    "no frames.npy": "has no frames",
    "cut.npy": "cannot be read as a NumPy array",
    "cut.npz": "cannot be read as a NumPy array",
    "text.npz": "cannot be read as a NumPy array",
    "two arrays.npz": "holds a, b; name one array 'frames'",
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_a_bad_array_is_named_and_the_others_stay_usable(tmp_path, kind):
    (tmp_path / "in").mkdir()
    for name in ("good.npy", "more.npy"):
        np.save(tmp_path / "in" / name, np.zeros((4, 32, 32), np.uint8))
    bad_array(tmp_path / "in", kind)
    refused(tmp_path, kind, BAD_ARRAYS[kind], ["good.npy", "more.npy"], size=32)
    assert not (tmp_path / "in" / "trapped").exists()


def test_one_bad_clip_of_an_array_does_not_take_the_others_with_it(tmp_path):
    clips = np.zeros((4, 5, 32, 32), np.float32)
    clips[2, 3, 4, 5] = np.nan
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", clips)
    refused(tmp_path, "a.npy#2", "float values outside", ["a.npy#0", "a.npy#1", "a.npy#3"], size=32)


def spoil(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x5A
    path.write_bytes(data)


def test_a_record_with_a_wrong_checksum_is_left_out_alone(tmp_path):
    write_bair(tmp_path / "in")
    path = tmp_path / "in" / "softmotion30_44k" / "train" / "traj_0_to_2.tfrecords"
    size = path.stat().st_size // 3
    spoil(path, size + 5000)
    where = f"record at byte {size:,} of .*traj_0_to_2.tfrecords' does not match its checksum"
    good = [f"softmotion30_44k/train/{path.name}#{n}" for n in (0, 2)]
    good += [f"softmotion30_44k/test/traj_0_to_1.tfrecords#{n}" for n in (0, 1)]
    refused(tmp_path, path.name, where, sorted(good))


def test_a_record_with_a_wrong_length_ends_its_file(tmp_path):
    write_bair(tmp_path / "in", train=4)
    path = tmp_path / "in" / "softmotion30_44k" / "train" / "traj_0_to_3.tfrecords"
    size = path.stat().st_size // 4
    spoil(path, 2 * size + 1)
    where = rf"record at byte {2 * size:,} of .*traj_0_to_3.tfrecords' has a length that does not match its checksum"
    good = [f"softmotion30_44k/train/{path.name}#{n}" for n in (0, 1)]
    good += [f"softmotion30_44k/test/traj_0_to_1.tfrecords#{n}" for n in (0, 1)]
    refused(tmp_path, path.name, where, sorted(good))


def test_a_truncated_record_file_is_named_with_the_offset(tmp_path):
    write_bair(tmp_path / "in")
    path = tmp_path / "in" / "softmotion30_44k" / "train" / "traj_0_to_2.tfrecords"
    size = path.stat().st_size // 3
    path.write_bytes(path.read_bytes()[: 2 * size + 777])
    where = rf"traj_0_to_2.tfrecords' is cut short: the record at byte {2 * size:,} goes on past its end"
    good = [f"softmotion30_44k/train/{path.name}#{n}" for n in (0, 1)]
    good += [f"softmotion30_44k/test/traj_0_to_1.tfrecords#{n}" for n in (0, 1)]
    refused(tmp_path, path.name, where, sorted(good))


@pytest.mark.parametrize("kind", ["few frames", "small frames", "no message"])
def test_a_record_of_something_else_is_named(tmp_path, kind):
    from made_data import bair_example, example, record

    write_bair(tmp_path / "in")
    path = tmp_path / "in" / "softmotion30_44k" / "train" / "traj_0_to_2.tfrecords"
    data = {
        "few frames": bair_example(0, frames=12)[0],
        "small frames": example({f"{t}/image_aux1/encoded": b"\1" * 300 for t in range(30)}),
        "no message": b"\x0b" * 400,
    }[kind]
    message = {
        "few frames": "has no feature '12/image_aux1/encoded'; BAIR's trajectories have 30 frames",
        "small frames": r"has 300 bytes in '0/image_aux1/encoded', expected 64×64×3 = 12,288",
        "no message": "is no tf.train.Example",
    }[kind]
    path.write_bytes(path.read_bytes() + record(data))
    good = [f"softmotion30_44k/train/{path.name}#{n}" for n in (0, 1, 2)]
    good += [f"softmotion30_44k/test/traj_0_to_1.tfrecords#{n}" for n in (0, 1)]
    refused(tmp_path, path.name, message, sorted(good))


def test_lerobot_episodes_that_are_not_in_their_video_are_named(tmp_path):
    write_lerobot(tmp_path / "in", (20, 31, 24, 40))
    video = tmp_path / "in" / "videos" / "observation.images.top" / "chunk-000" / "file-001.mp4"
    write_video(video, moving(50), rate=20)
    where = r"episode_000003 should have 40 frames, but 26 of .* lie between 1.2 and 3.2 s"
    refused(tmp_path, "episode_000003", where, ["episode_000000", "episode_000001", "episode_000002"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v2.1"}, "is of LeRobot version v2.1; version 3 is read"),
        ({"fps": 0}, "has no usable 'fps'"),
        ({"features": {"action": {"dtype": "float32"}}}, "has no videos"),
        ({"video_path": "../../{video_key}.mp4"}, "points outside of the dataset"),
        ({"video_path": "videos/{video_key}/nothing.mp4"}, "nothing.mp4' cannot be read: No such file"),
        (None, "is no JSON"),
    ],
)
def test_a_broken_lerobot_dataset_is_refused(tmp_path, change, message):
    import json

    root = write_lerobot(tmp_path / "L")
    path = root / "meta" / "info.json"
    path.write_text("{" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        prepare(root, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_lerobot_episodes_without_their_places_are_refused(tmp_path):
    root = write_lerobot(tmp_path / "L")
    (root / "meta" / "episodes" / "chunk-000" / "file-000.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InputError, match="does not say where the episodes are"):
        prepare(root, tmp_path / "out", workers=0)


def test_an_empty_list_of_kth_ranges_is_refused(tmp_path):
    root = write_kth(tmp_path / "KTH", people=(1,), actions=("boxing",))
    (root / "00sequences.txt").write_text("nothing of use\n")
    with pytest.raises(InputError, match=r"names no frames. Expected lines as 'person01_boxing_d1 frames 1-95"):
        prepare(root, tmp_path / "out", workers=0)


def test_the_srvp_test_set_without_all_videos_is_refused(tmp_path):
    root = write_kth(tmp_path / "KTH", people=(21,), actions=("boxing",))
    with pytest.raises(InputError, match=r"needs every video of people 21 to 25; person\d\d_\w+_d\d is missing"):
        prepare(root, tmp_path / "out", split="srvp-test", workers=0)


def test_two_clips_of_one_name_are_refused(tmp_path):
    write_kth(tmp_path / "KTH" / "a", people=(1,), actions=("boxing",), ranges=False)
    write_kth(tmp_path / "KTH" / "b", people=(1,), actions=("boxing",), ranges=False)
    with pytest.raises(InputError, match=r"two clips are called 'person01_boxing_d1': .*/a/.* and .*/b/"):
        prepare(tmp_path / "KTH", tmp_path / "out", workers=0)


WRONG = {
    "no option for it": ({"camera": "top"}, "--camera is for lerobot; the source is of the format videos"),
    "axes": ({"format": "arrays", "axes": "XYZ"}, "--axes must be one of THW"),
    "format": ({"format": "video"}, "there is no format 'video'. Did you mean videos"),
    "size": ({"size": 0}, "--size must be at least 1, got 0"),
    "channels": ({"channels": 2}, r"--channels must be 1 \(grey\) or 3 \(RGB\), got 2"),
    "fps": ({"fps": -1.0}, "--fps must be at least 0.001, got -1"),
    "workers": ({"workers": -1}, "--workers must be at least 0, got -1"),
    "length": ({"length": 10}, "--length is for kth"),
    "srvp": ({"split": "srvp-test"}, "--split srvp-test is for kth"),
    "split name": ({"split": "training"}, "'training=1' is no NAME=FRACTION"),
    "split sum": ({"split": "train=0.9,test=0.3"}, "the fractions add up to 1.2, not to 1"),
    "split twice": ({"split": "train=0.5,train=0.5"}, "train is named twice"),
    "split mixed": ({"split": "train=0.5,test=b*"}, "fractions and patterns are mixed"),
    "split of nothing": ({"split": "train=nothing*"}, "fits no clip. They are named as 'in'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_are_named(tmp_path, what):
    write_frames(tmp_path / "in", moving(3))
    options, message = WRONG[what]
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "in", tmp_path / "out", **{"workers": 0} | options)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("kind", ["missing", "empty", "useless"])
def test_a_source_without_clips_is_refused(tmp_path, kind):
    if kind != "missing":
        (tmp_path / "in").mkdir()
    if kind == "useless":
        (tmp_path / "in" / "notes.txt").write_text("no clips")
    with pytest.raises(InputError, match="cannot be read" if kind == "missing" else "nothing in .* known for clips"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)
