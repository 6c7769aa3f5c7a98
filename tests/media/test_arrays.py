"""Arrays are read in the order of their axes, in values of any kind, from .npy, .npz and HDF5 files."""

import json

import numpy as np
import pytest

from made_data import stored
from stochvid import InputError, read_clip
from stochvid.data.stored_clips import StoredClips
from stochvid.media.axes import recognise_axes
from stochvid.prepare import prepare

RANDOM = np.random.default_rng(0)
CLIP = RANDOM.integers(0, 256, (7, 3, 24, 32), dtype=np.uint8)  # T, C, H, W
GREY = CLIP[:, 0]
UNITS = RANDOM.normal(size=(5, 24, 32)).astype(np.float32)  # (T, H, W), of no unit known here


# --------------------------------------------------------------------------------------------------------------- axes


@pytest.mark.parametrize("axes", ["THWC", "TCHW", "CTHW", "HWTC", "WHCT"])
def test_a_clip_may_have_its_axes_in_any_order(tmp_path, axes):
    np.save(tmp_path / "a.npy", CLIP.transpose(["TCHW".index(axis) for axis in axes]))
    recognised = axes in ("THWC", "TCHW", "CTHW")
    clip = read_clip(tmp_path / "a.npy", axes=None if recognised else axes.lower())
    assert np.array_equal(clip.frames, CLIP.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((20, 10_000, 64, 64), "TNHW"), ((5, 30, 64, 64), "NTHW"), ((3, 30, 64, 64), "CTHW"),
        ((1, 30, 64, 64), "CTHW"), ((30, 3, 64, 64), "TCHW"), ((9, 3, 30, 64, 64), "NCTHW"),
        ((9, 30, 3, 64, 64), "NTCHW"), ((9, 30, 64, 64, 3), "NTHWC"), ((64, 64, 3), "HWC"), ((64, 64), "HW"),
        ((30, 64, 64), "THW"), ((2, 2, 2, 2, 2, 2), None),
    ],
)  # fmt: skip
def test_axes_are_recognised_by_the_shape(shape, axes):
    assert recognise_axes(shape) == axes


def test_the_published_test_set_of_moving_mnist_has_time_first(tmp_path, capsys):
    clips = RANDOM.integers(0, 256, (20, 6, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "mnist_test_seq.npy", clips)
    store = prepare(tmp_path / "mnist_test_seq.npy", tmp_path / "out", size=32, split="test", workers=0)
    assert store.splits["test"].lengths == [20] * 6
    assert np.array_equal(store.clip("test", 4)["frames"][:, 0], clips[:, 4])
    assert "axes TNHW, 6 clip(s) of 20 frames" in capsys.readouterr().out


def test_sets_of_clips_with_channels_before_time_are_read(tmp_path):
    clips = RANDOM.integers(0, 256, (4, 3, 6, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "a.npy", clips)
    store = prepare(tmp_path / "a.npy", tmp_path / "out", size=32, split="test", workers=0)
    assert np.array_equal(store.clip("test", 2)["frames"], clips[2].transpose(1, 0, 2, 3))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((64, 64, 3), r"has shape \(64, 64, 3\); expected .* It looks like one frame \(H, W, C\)"),
        ((64, 64), r"It looks like one frame \(H, W\)"),
        ((100, 5, 64), r"as THW, its frames would have 64×5 pixels. Say what its axes are with --axes"),
        ((5, 20, 64, 64), r"As NTHW it holds 5 clips: say what the axes are with --axes, or prepare it"),
    ],
)
def test_what_is_no_clip_by_its_shape_is_refused(tmp_path, shape, message):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match=message):
        read_clip(tmp_path / "a.npy")


@pytest.mark.parametrize("axes", ["", "HW T", "TT", "THX", "NHW", "T"])
def test_axes_that_are_none_are_refused(tmp_path, axes):
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(InputError, match="--axes"):
        read_clip(tmp_path / "a.npy", axes=axes)


# ----------------------------------------------------------------------------------------------- one array for a frame


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 1), (24, 32, 3)])
def test_a_folder_of_one_array_for_each_frame_is_a_clip(tmp_path, shape):
    for number in range(12):
        (tmp_path / "in" / "one").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "in" / "one" / f"{number}.npy", np.full(shape, number, np.uint8))
    clip = read_clip(tmp_path / "in" / "one")
    assert (clip.name, clip.frames[:, 0, 0, 0].tolist()) == ("one", list(range(12)))
    (made,) = stored(prepare(tmp_path / "in", tmp_path / "out", size=32, split="test", workers=0)).values()
    assert made[:, 0, 0, 0].tolist() == list(range(12))


def test_frames_of_a_folder_must_be_alike(tmp_path):
    for number, side in enumerate((24, 24, 25, 24)):
        np.save(tmp_path / f"{number}.npy", np.zeros((side, 32), np.uint8))
    with pytest.raises(InputError, match=r"must be alike: '0.npy' is \(24, 32, 1\), .*2.npy' is \(25, 32, 1\)"):
        read_clip(tmp_path)


def test_arrays_with_three_planes_are_asked_about(tmp_path):
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.full((3, 24, 32), number, np.uint8))
    with pytest.raises(InputError, match=r"one frame each, channels first \(--axes CHW\), or 3 grey frames each"):
        read_clip(tmp_path)
    assert read_clip(tmp_path, axes="CHW").frames.shape == (4, 24, 32, 3)


# ------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("kind", ["<u2", ">u2", "i2", "i4", "u8", "f2", "f4", ">f8"])
def test_values_of_any_kind_are_scaled_by_a_range(tmp_path, kind):
    values = RANDOM.integers(0, 1000, (5, 24, 32)).astype(kind)
    np.save(tmp_path / "a.npy", np.asfortranarray(values))
    expected = np.round(np.clip((values.astype(float) - 100) / 800, 0, 1) * 255)
    assert np.array_equal(read_clip(tmp_path / "a.npy", range=(100, 900)).frames[..., 0], expected)
    with pytest.raises(InputError, match=r"--range LOW HIGH, or --range auto"):
        read_clip(tmp_path / "a.npy")


def test_the_range_of_all_is_found(tmp_path):
    np.save(tmp_path / "a.npy", UNITS)
    frames = read_clip(tmp_path / "a.npy", range="auto").frames
    low, high = UNITS.min(), UNITS.max()
    assert np.abs(frames[..., 0] - (UNITS - low) / (high - low) * 255).max() <= 0.51


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinite values")])
@pytest.mark.parametrize("range", [None, (0, 1), "auto"])
def test_what_is_no_number_is_called_so_and_where_it_is(tmp_path, value, name, range):
    values = RANDOM.random((5, 24, 32))
    values[2, 3, 4] = value
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=f"has {name} in frame 3: 1 of 768 values, the first in row 4, column 5"):
        read_clip(tmp_path / "a.npy", range=range)


@pytest.mark.parametrize("range", [(1, 1), (2, 1), (0, np.inf), (0, np.nan), (1, 2, 3), "most", 5, "0"])
def test_a_range_that_is_none_is_refused(tmp_path, range):
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(InputError, match="--range must"):
        read_clip(tmp_path / "a.npy", range=range)


def test_an_array_of_several_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", left=GREY, right=255 - GREY)
    assert np.array_equal(read_clip(f"{tmp_path / 'a.npz'}:right").frames[..., 0], 255 - GREY)
    with pytest.raises(InputError, match=r"has no array 'middle'; it holds left, right"):
        read_clip(f"{tmp_path / 'a.npz'}:middle")
    for source, key in ((tmp_path / "a.npz", "left"), (f"{tmp_path / 'a.npz'}:left", None)):
        store = prepare(source, tmp_path / f"out-{key}", key=key, size=32, split="test", workers=0)
        assert store.splits["test"].lengths == [7]


# ------------------------------------------------------------------------------------------- it goes on after training


def test_the_range_of_a_store_travels_with_what_is_trained_on_it(tmp_path, capsys):
    from stochvid.inference.sources import open_source
    from stochvid.training.runs import read_preprocessing

    np.save(tmp_path / "a.npy", UNITS)
    store = prepare(tmp_path / "a.npy", tmp_path / "out", size=32, range=(-2, 3), split="train", workers=0)
    seen = StoredClips(store, "train", 3).preprocessing()
    assert seen["range"] == [-2, 3]
    (tmp_path / "clips.json").write_text(json.dumps(seen))
    assert read_preprocessing(tmp_path)["range"] == (-2, 3)
    expected = np.round(np.clip((UNITS + 2) / 5, 0, 1) * 255)
    asked = (str(tmp_path / "a.npy"), tmp_path, None, 2, None, None, 1)
    frames = open_source(*asked, trained=(-2.0, 3.0)).read().frames
    assert np.abs(frames[..., 0] - expected).max() <= 1
    assert "values -2 to 3 become black to white, as in training" in capsys.readouterr().out
    np.save(tmp_path / "a.npy", GREY)
    assert np.array_equal(open_source(*asked, trained=(-2.0, 3.0)).read().frames[..., 0], GREY)
    assert "these have 8 bits and stay as they are" in capsys.readouterr().out


@pytest.mark.parametrize("value", ['"auto"', "[1]", "[2, 1]", '["a", "b"]', "[0, 1e999]", "{}", "true"])
def test_a_range_of_training_that_makes_no_sense_is_refused(tmp_path, value):
    from stochvid.training.runs import read_preprocessing

    (tmp_path / "clips.json").write_text(f'{{"range": {value}}}')
    with pytest.raises(InputError, match=r"clips.json' is not as it should be"):
        read_preprocessing(tmp_path)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--range", "0", "4095", "out"], ["--range=0,4095", "out"]),
        (["--range", "-1", "1"], ["--range=-1,1"]),
        (["--range=-1e3", "1"], ["--range=-1e3,1"]),
        (["--range", "auto", "clip"], ["--range=auto", "clip"]),
        (["--range=0,5"], ["--range=0,5"]),
    ],
)
def test_a_range_is_two_words_on_the_command_line(words, value):
    from stochvid.cli.options import join_range

    assert join_range(["predict", *words]) == ["predict", *value]


@pytest.mark.parametrize("words", [["--range"], ["--range", "0"], ["--range", "a.npy", "0"], ["--range", "0", "--fps"]])
def test_a_range_of_other_words_is_refused(words):
    from stochvid.cli.options import join_range

    with pytest.raises(InputError, match="--range must be two numbers, as --range 0 4095, or auto; got"):
        join_range(words)


# --------------------------------------------------------------------------------------------------------------- packed


@pytest.mark.parametrize(
    ("name", "command"),
    [("walking.zip", "unzip walking.zip -d walking"), ("k.tar.gz", "tar -xf k.tar.gz"), ("k.7z", "7z x k.7z")],
)
def test_what_is_packed_is_to_be_unpacked_first(tmp_path, name, command):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"PK\3\4 whatever")
    for source in (tmp_path / "in", tmp_path / "in" / name):
        with pytest.raises(InputError, match=f"archive.*npack it first.*{command}"):
            prepare(source, tmp_path / "out", workers=0)
    with pytest.raises(InputError, match=f"is an archive. Unpack it first: {command}"):
        read_clip(tmp_path / "in" / name)
