"""What is wrong with a source is said in a line that names it; with --skip-bad, the rest of it is still usable."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from commands import STOCHVID
from made_data import (
    bair_example,
    example,
    moving,
    record,
    square,
    stored,
    write_bair,
    write_frames,
    write_kth,
    write_lerobot,
    write_video,
)
from stochvid import InputError
from stochvid.prepare.preparation import prepare

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
    words = [
        *STOCHVID,
        "prepare",
        str(tmp_path / "in"),
        str(tmp_path / os.fsdecode(b"\xe9")),
        "--workers",
        str(workers),
    ]
    for encoding in ("ascii:strict", "utf-8:strict"):
        env = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(words, capture_output=True, env=env, check=False)
        assert done.returncode == 0, done.stderr


def test_links_in_circles_are_not_followed(tmp_path, capsys):
    write_frames(tmp_path / "in" / "a", moving(3))
    write_frames(tmp_path / "elsewhere", moving(4))
    os.symlink(tmp_path / "in", tmp_path / "in" / "a" / "again")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "b")  # not in a circle: followed
    store = prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert {name: len(clip) for name, clip in stored(store).items()} == {"a": 3, "b": 4}
    assert "a/again' links to a folder that is taken already" in capsys.readouterr().out


def test_many_links_are_walked_in_no_time(tmp_path):
    """30 folders with two links each to the next one: 2³⁰ ways, 30 folders."""
    for number in range(30):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        for name in "ab":
            os.symlink(f"../{number + 1}", tmp_path / "in" / str(number) / name)
    write_frames(tmp_path / "in" / "29" / "clip", moving(5))
    assert list(stored(prepare(tmp_path / "in", tmp_path / "out", split="train", workers=0))) == ["29/clip"]


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
    elif kind == "unknown codec.mp4":
        write_video(path, moving(8))
        path.write_bytes(path.read_bytes().replace(b"avc1", b"nope").replace(b"avcC", b"nope"))
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
    "unknown codec.mp4": "is of a codec that is not known here",
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
            write_video(root / name / f"{name}.mp4", moving(8))
        os.chmod(folder, 0o777)
        locked = root / "b" / "b.mp4" if kind == "file" else root / "b"
        os.chmod(locked, 0)
        with nobody():
            with pytest.raises(InputError) as caught:
                prepare(root, Path(folder) / "out", workers=0)
            assert f"'{locked}' cannot be read: Permission denied" in str(caught.value)
            store = prepare(root, Path(folder) / "out", workers=0, skip_bad=True)
        os.chmod(locked, 0o755)
        assert list(stored(store)) == ["a/a.mp4"]


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
    elif kind == "boast.npy":
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (10**10, 4, 32, 32)}
            )
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
    "nan.npy": "has NaN in frame 1: 1,024 of 1,024 values",
    "bright.npy": r"float values outside \[0, 1\] .*--range LOW HIGH",
    "flat.npy": r"has shape \(4, 32\); expected \(T, H, W\)",
    "seven channels.npy": r"has shape \(2, 4, 32, 32, 7\)",
    "no frames.npy": "has no frames",
    "boast.npy": "its header promises 40,960,000,000,128 bytes, it has 128",
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
    refused(
        tmp_path,
        "a.npy#2",
        "has NaN in frame 4: 1 of 1,024 values, the first in row 5, column 6",
        ["a.npy#0", "a.npy#1", "a.npy#3"],
        size=32,
    )


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
        "no message": "is not a tf.train.Example",
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
        ({"codebase_version": "v1.6"}, "is of LeRobot version v1.6; versions 2 and 3 are read"),
        ({"codebase_version": "v2.1"}, "episodes.jsonl' cannot be read: No such file"),
        ({"fps": 0}, "has no usable 'fps'"),
        ({"features": {"action": {"dtype": "float32"}}}, "has no videos"),
        ({"video_path": "../../{video_key}.mp4"}, "points outside of the dataset"),
        ({"video_path": "videos/{video_key}/nothing.mp4"}, "nothing.mp4' cannot be read: No such file"),
        (None, "is not JSON"),
    ],
)
def test_a_broken_lerobot_dataset_is_refused(tmp_path, change, message):
    root = write_lerobot(tmp_path / "L")
    path = root / "meta" / "info.json"
    path.write_text("{" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        prepare(root, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("{", "does not say how long the episodes are"),
        ('{"episode_index": 0}', "does not say how long the episodes are: 'length'"),
        ('{"episode_index": -1, "length": 3}', "an episode is"),
        ('{"episode_index": 0, "length": 0}', "has no frames, or no times"),
        ('{"episode_index": 0, "length": 1e400}', "an episode is"),
        ("[" * 100_000, "does not say how long the episodes are"),
        ('{"episode_index": 0, "length": 4}\n' * 2, "episode 0 is there twice"),
    ],
)
def test_broken_episodes_of_lerobot_version_2_are_refused(tmp_path, lines, told):
    root = write_lerobot(tmp_path / "L", (4, 5), version=2)
    (root / "meta" / "episodes.jsonl").write_text(lines)
    with pytest.raises(InputError, match=told):
        prepare(root, tmp_path / "out", workers=0)


def test_lerobot_episodes_without_their_places_are_refused(tmp_path):
    root = write_lerobot(tmp_path / "L")
    (root / "meta" / "episodes" / "chunk-000" / "file-000.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InputError, match="does not say where the episodes are"):
        prepare(root, tmp_path / "out", workers=0)


@pytest.mark.parametrize(
    "change",
    [
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"fps": 10**400},
        {"fps": -20},
        {"video_path": "videos/\0.mp4"},
        {"video_path": "/etc/{video_key}"},
        {"video_path": "{chunk_index:099999999999d}"},
        {"splits": {"train": "0:" + "9" * 5000}},
        {"features": []},
    ],
)
def test_hostile_lerobot_metadata_is_refused(tmp_path, change):
    root = write_lerobot(tmp_path / "L")
    path = root / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    if "splits" in change:  # no range of episodes, and so no split
        assert "held-out" not in prepare(root, tmp_path / "out", workers=0).splits
        return
    with pytest.raises(InputError) as caught:
        prepare(root, tmp_path / "out", workers=0)
    assert str(root) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_range_of_validation_episodes_is_not_trained_on(tmp_path):
    root = write_lerobot(tmp_path / "L", splits={"train": "0:2", "validation": "2:4"})
    store = prepare(root, tmp_path / "out", workers=0)
    assert store.splits["val"].names == ["episode_000002", "episode_000003"]
    assert len(store.splits["train"].names) == 2


def test_kth_ranges_that_are_of_no_use_are_named(tmp_path, capsys):
    root = write_kth(tmp_path / "KTH", people=(1, 2, 3), actions=("boxing",), scenes=(1,))
    text = "person01_boxing_d1 frames 500-600\nPerson02_boxing_d1_uncomp: 1-20, 5-5, 3-99999999999999\n"
    (root / "00sequences.txt").write_text(text)
    with pytest.raises(InputError, match=r"ranges of person01_boxing_d1 in 00sequences\.txt"):
        prepare(root, tmp_path / "out", workers=0)
    store = prepare(root, tmp_path / "out", workers=0, skip_bad=True)
    assert {n: len(c) for n, c in stored(store).items()} == {"person02_boxing_d1#1": 20, "person03_boxing_d1": 60}
    assert "1 video(s) have no line in 00sequences.txt and are whole clips" in capsys.readouterr().out


def test_faults_before_the_clips_that_are_wanted_are_told(tmp_path):
    write_bair(tmp_path / "in")
    path = tmp_path / "in" / "softmotion30_44k" / "train" / "traj_0_to_2.tfrecords"
    path.write_bytes(path.read_bytes()[:400_000])  # one record and a piece
    split = "train=*#1,val=*#2,test=*test*"
    with pytest.raises(InputError, match="cut short"):
        prepare(tmp_path / "in", tmp_path / "out", split=split, workers=0)
    store = prepare(tmp_path / "in", tmp_path / "out", split=split, workers=0, skip_bad=True)
    assert "cut short" in store.about["left_out"][0]


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
    "size": ({"size": 0}, "--size must be 32, 64, 128 or 256, which models take, got 0"),
    "a size that no model takes": ({"size": 48}, "--size must be 32, 64, 128 or 256, which models take, got 48"),
    "channels": ({"channels": 2}, r"--channels must be 1 \(grey\) or 3 \(RGB\), got 2"),
    "fps": ({"fps": -1.0}, "--fps must be from 0.001 to 1000, got -1"),
    "workers": ({"workers": -1}, "--workers must be from 0 to 1000, got -1"),
    "length": ({"length": 10}, "--length is for kth"),
    "srvp": ({"split": "srvp-test"}, "--split srvp-test is for kth"),
    "split name": (
        {"split": "training"},
        "'training=1' is neither NAME=FRACTION nor NAME=PATTERN, with NAME one of train",
    ),
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
