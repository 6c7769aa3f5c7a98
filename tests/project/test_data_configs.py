"""From data on disk to a trained model: every config that needs a store, on made data in the real formats."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from made_data import moving, write_bair, write_frames, write_kth, write_lerobot, write_video
from paths import MNIST, needs_mnist
from stochvid import InputError, load_config
from stochvid.cli import main
from stochvid.config import shipped_configs
from stochvid.data.opening import open_clips
from stochvid.data.store import Store
from stochvid.prepare.moving_mnist_sets import PUBLISHED, prepare_moving_mnist, sequences_sha256
from stochvid.prepare.preparation import prepare

SHORT = [
    *("--data.batch_size", "2", "--data.val_clips", "2", "--trainer.sample_clips", "1", "--trainer.max_steps", "2"),
    *("--trainer.rollout_clips", "0"),
    *("--trainer.device", "cpu"),
]
NARROW = [*("--model.base_channels", "2", "--model.g_dim", "6", "--model.rnn_size", "6", "--model.z_dim", "2"), *SHORT]
NARROW_CONVLSTM = ["--model.widths", "[2, 2]", *SHORT]


def mp4_tree(root):
    for number in range(3):
        write_video(root / f"camera {number % 2}" / f"{number}.mp4", moving(20, start=number))
    return root


SOURCES = {
    "kth-fp": (write_kth, []),
    "kth-lp": (write_kth, []),
    "kth-128": (write_kth, ["--size", "128"]),
    "kth-convlstm": (write_kth, []),
    "bair-lp": (lambda root: (write_bair(root), root)[1], []),
    "bair-lp-actions": (lambda root: (write_bair(root), root)[1], []),
    "own-videos": (mp4_tree, []),
    "own-videos-gpu": (mp4_tree, []),
    "own-videos-adversarial": (mp4_tree, []),
    "own-videos, LeRobot": (write_lerobot, []),
}


ALIKE = (
    "kth-lp",
    "kth-128",
    "bair-lp-actions",
    "own-videos-gpu",
    "own-videos-adversarial",
)  # another with another prior, size or loss


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in SOURCES]
)
def test_a_config_trains_on_its_data_in_two_commands(tmp_path, monkeypatch, capsys, name):
    """The commands stand in the config's head; its store is where they put it."""
    make, options = SOURCES[name]
    config = name.split(",")[0]
    source = make(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    store = load_config(shipped_configs()[config]).data.store
    head = shipped_configs()[config].read_text()
    assert f"{store}{' ' + ' '.join(options) if options else ''}\n" in head or f"{store}  " in head
    assert main(["prepare", str(source), store, *options, "--workers", "0"]) == 0
    assert main(["train", "--config", config, *(NARROW_CONVLSTM if "convlstm" in config else NARROW)]) == 0
    said = capsys.readouterr().out
    assert f"clip(s) of {store}" in said
    assert f"stochvid predict runs/{config} {store}:0" in said
    assert main(["predict", f"runs/{config}", f"{store}:0", "--samples", "1", "--horizon", "3"]) == 0
    futures = np.load(f"predictions/{store.split('/')[1]}-0/futures.npz")
    clip = Store(store).clip("test", 0)["frames"]
    known = load_config(shipped_configs()[config]).model.context
    assert np.array_equal(futures["context"], clip[:known])
    assert np.array_equal(futures["truth"], clip[known : known + 3])


def test_every_config_with_a_store_is_tried_here():
    stores = {name for name, path in shipped_configs().items() if load_config(path).data.store}
    assert stores == {name.split(",")[0] for name in SOURCES} | {"pusht"}


@pytest.mark.slow
def test_the_config_of_pusht_trains_on_what_it_records(tmp_path, monkeypatch):
    pytest.importorskip("gym_pusht")  # `make test-slow` installs it
    policy = str(Path("examples/pusht_policy.py").resolve())
    monkeypatch.chdir(tmp_path)
    asked = ["--episodes", "6", "--steps", "30", "--make", "obs_type=pixels_agent_pos", "--policy", policy]
    assert main(["prepare", "gym:gym_pusht/PushT-v0", "data/pusht", *asked, "--workers", "0"]) == 0
    assert main(["train", "--config", "pusht", *NARROW]) == 0
    for actions in ([], ["--actions", "hold"]):
        words = ["--samples", "1", "--horizon", "3", "--out", f"p{len(actions)}"]
        assert main(["predict", "runs/pusht", "data/pusht:0", *words, *actions]) == 0


PAPER = {  # Denton & Fergus 2018, DESIGN section 1
    "kth-fp": {
        "image_size": 64,
        "channels": 1,
        "z_dim": 24,
        "beta": 1e-6,
        "context": 10,
        "prior": "fixed",
        "context_latent": "mean",
    },
    "kth-lp": {"image_size": 64, "channels": 1, "z_dim": 24, "beta": 1e-6, "context": 10, "prior": "learned"},
    "kth-128": {
        "image_size": 128,
        "channels": 1,
        "z_dim": 24,
        "beta": 1e-6,
        "context": 10,
        "prior": "fixed",
        "context_latent": "mean",
    },
    "bair-lp": {"image_size": 64, "channels": 3, "z_dim": 64, "beta": 1e-4, "context": 2, "prior": "learned"},
}


@pytest.mark.parametrize("name", PAPER)
def test_the_configs_hold_the_values_of_the_paper(name):
    config = load_config(shipped_configs()[name])
    wanted = PAPER[name] | {"backbone": "vgg", "base_channels": 64, "g_dim": 128, "horizon": 10, "rnn_size": 256}
    wanted |= {"predictor_layers": 2, "posterior_layers": 1, "prior_layers": 1, "future_skip": "last"}
    assert {field: getattr(config.model, field) for field in wanted} == wanted
    assert config.optim.lr == (2e-3 if name == "bair-lp" else 8e-4)
    assert (config.optim.beta1, config.data.batch_size, config.trainer.max_steps) == (0.9, 100, 180_000)


def test_flip_and_stride_reach_the_training_clips_only(tmp_path):
    write_frames(tmp_path / "in", moving(60))
    prepare(tmp_path / "in", tmp_path / "s", size=32, split="train=0.5,test=0.5", workers=0)
    config = load_config(shipped_configs()["laptop"])
    config.data.store, config.data.flip, config.data.stride, config.model.channels = str(tmp_path / "s"), True, 2, 3
    train, held = (open_clips(config.data, config.model, part, 5, 0) for part in ("train", "held out"))
    assert (train.split, train.flip, train.stride) == ("train", True, 2)
    assert (held.split, held.flip, held.stride) == ("test", False, 2)


WRONG = {
    "no store": (
        ["--data.store", "nowhere"],
        "there is no store in 'nowhere' (no index.json there). Make one: stochvid",
    ),
    "another size": (
        ["--model.image_size", "128"],
        "has frames of 64 px, the model takes 128 px. Prepare it with --size",
    ),
    "other channels": (["--model.channels", "3"], "has frames of 1 channel(s), the model takes 3 channel(s)"),
    "too long": (["--model.horizon", "100"], "has no clip of 110 frames in 'train'; its longest has 30"),
    "a stride": (["--data.stride", "0"], "data.stride must be at least 1, got 0"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_store_that_does_not_fit_is_answered_with_the_fix(tmp_path, monkeypatch, capsys, what):
    monkeypatch.chdir(tmp_path)
    prepare(write_kth(tmp_path / "KTH"), "data/kth64", workers=0)
    words, message = WRONG[what]
    assert main(["train", "--config", "kth-fp", *NARROW, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_clips_of_a_store_are_named_to_predict(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prepare(write_kth(tmp_path / "KTH"), "data/kth64", workers=0)
    assert main(["train", "--config", "kth-lp", *NARROW]) == 0
    capsys.readouterr()
    assert main(["predict", "runs/kth-lp", "data/kth64"]) == 2
    assert "data/kth64:0 to data/kth64:7" in capsys.readouterr().err
    assert main(["predict", "runs/kth-lp", "data/kth64:8"]) == 2
    assert "the test split of that store has data/kth64:0 to data/kth64:7." in capsys.readouterr().err


def test_prediction_sees_clips_as_the_model_was_trained_to(tmp_path, monkeypatch, capsys):
    """Rate, stride and crop of the store are the model's; frame t of the video is about as bright as 6 t."""
    monkeypatch.chdir(tmp_path)
    frames = [np.full((48, 80, 3), 6 * t, np.uint8) for t in range(40)]
    for t, frame in enumerate(frames):
        frame[:, :16] = frame[:, 64:] = 255 - 6 * t  # what the middle square leaves out
    for name in ("a", "b", "c"):
        write_video(tmp_path / "in" / f"{name}.mp4", frames, rate=40, crf="1")
    prepare("in", "data/s", size=32, channels=1, fps=20, crop="centre", workers=0)
    words = ["train", "--config", "own-videos", *NARROW, "--data.store", "data/s", "--data.stride", "2"]
    size = ["--model.image_size", "32", "--model.channels", "1", "--model.context", "3", "--model.horizon", "2"]
    assert main([*words, *size, "--out", "run"]) == 0
    looked = {"fps": 10, "stride": 2, "crop": "centre", "range": None}
    assert json.loads(Path("run/model/clips.json").read_text()) == looked
    capsys.readouterr()
    assert main(["predict", "run", "data/s:0", "in/a.mp4", "--samples", "1", "--horizon", "4"]) == 0
    said = capsys.readouterr().out
    assert "data/s:0: test clip '" in said
    assert ".mp4', one frame in 2" in said
    assert "in/a.mp4: 7 frames of 80×48 RGB, 10 fps → 7 frames of 32×32 grey, 10 fps, crop" in said
    for name in ("s-0", "a"):
        futures = np.load(f"predictions/{name}/futures.npz")
        shown = np.concatenate([futures["context"], futures["truth"]]).mean(axis=(1, 2, 3))
        assert np.abs(shown - 24 * np.arange(7)).max() < 3, shown  # every fourth frame of the video
    assert main(["predict", "run", "in/a.mp4", "--fps", "40", "--fit", "squash", "--out", "other"]) == 0
    assert "10 frames" not in (said := capsys.readouterr().out)
    assert "40 fps, squash" in said
    Path("run/model/clips.json").write_text('{"stride": "many"}')
    assert main(["predict", "run", "in/a.mp4", "--out", "third"]) == 2
    assert "clips.json' is not as it should be" in capsys.readouterr().err


def test_a_stride_without_a_rate_holds_for_every_other_clip_of_arrays_and_frames(tmp_path, monkeypatch, capsys):
    """A store of arrays has no rate that could say how fast its training was."""
    monkeypatch.chdir(tmp_path)
    frames = np.arange(0, 120, 3, dtype=np.uint8)[:, None, None].repeat(32, 1).repeat(32, 2)
    for name in ("a", "b", "c"):
        (tmp_path / "in").mkdir(exist_ok=True)
        np.save(tmp_path / "in" / f"{name}.npy", frames)
    prepare("in", "data/s", size=32, workers=0)
    size = ["--model.image_size", "32", "--model.channels", "1", "--model.context", "3", "--model.horizon", "2"]
    words = ["train", "--config", "own-videos", *NARROW, "--data.store", "data/s", "--data.stride", "3", *size]
    assert main([*words, "--out", "run"]) == 0
    write_video(tmp_path / "a.mp4", list(frames[..., None].repeat(3, -1)), rate=40, crf="1")
    capsys.readouterr()
    assert main(["predict", "run", "in/a.npy", "a.mp4", "--samples", "1", "--horizon", "4", "--out", "p"]) == 0
    said = capsys.readouterr().out
    assert "in/a.npy: one frame in 3, as in training" in said
    assert "a.mp4: 7 frames of 32×32 RGB, 13.3333 fps" in said
    for name in ("a", "a-2"):
        futures = np.load(f"p/{name}/futures.npz")
        shown = np.concatenate([futures["context"], futures["truth"]]).mean(axis=(1, 2, 3))
        assert np.abs(shown - 9 * np.arange(7)).max() < 3, shown
    assert main(["predict", "run", "a.mp4", "--fps", "40", "--samples", "1", "--horizon", "4", "--out", "q"]) == 0
    assert "a.mp4: 7 frames of 32×32 RGB, 40 fps" in capsys.readouterr().out


def test_a_clip_of_a_store_that_is_too_short_names_a_longer_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, length in (("test/a", 4), ("test/b", 30), ("train/a", 30)):
        write_frames(tmp_path / "in" / name, moving(length))
    prepare("in", "data/videos", size=64, workers=0)
    assert main(["train", "--config", "own-videos", *NARROW]) == 0
    assert "stochvid predict runs/own-videos data/videos:1" in capsys.readouterr().out
    assert main(["predict", "runs/own-videos", "data/videos:0"]) == 2
    assert (
        "(test/a) has 4 frames, too few for the 5 that the model is given. Take data/videos:1."
        in capsys.readouterr().err
    )


def test_resuming_what_is_finished_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--config", "laptop", *NARROW, "--out", "run"]) == 0
    assert main(["train", "--resume", "run"]) == 0
    assert "It was at step 2 already. A larger --trainer.max_steps continues it." in capsys.readouterr().out


# -------------------------------------------------------------------------------------------------------- Moving MNIST


@needs_mnist
@pytest.mark.slow
@pytest.mark.parametrize("deterministic", [False, True])
def test_the_published_test_sets_are_made_to_the_byte(tmp_path, capsys, deterministic):
    words = ["prepare", "moving-mnist", str(tmp_path / "s"), "--variant", "srvp2020", "--split", "test"]
    words += ["--mnist", str(MNIST), *(["--deterministic"] if deterministic else [])]
    assert main(words) == 0
    expected, length = PUBLISHED[deterministic]
    assert expected in capsys.readouterr().out
    store = Store(tmp_path / "s")
    assert store.splits["test"].lengths == [length] * 5000
    assert sequences_sha256(store.array("test"), length) == expected
    item = store.clip("test", 17)
    assert item["bounces"].shape == (length,)
    assert item["bounces"].any()
    before = (tmp_path / "s" / "index.json").stat().st_mtime_ns
    assert main(words) == 0
    assert (tmp_path / "s" / "index.json").stat().st_mtime_ns == before


def test_the_layout_of_the_published_files_is_time_first():
    import hashlib

    sequences = np.random.default_rng(0).integers(0, 256, (5, 7, 8, 8), dtype=np.uint8)  # (T, N, H, W)
    array = np.ascontiguousarray(sequences.transpose(1, 0, 2, 3)).reshape(35, 1, 8, 8)
    assert sequences_sha256(array, 5) == hashlib.sha256(sequences.tobytes()).hexdigest()


def test_a_set_of_any_size_is_what_the_generator_makes(tmp_path):
    from stochvid import MovingMNIST
    from stochvid.config import DataConfig
    from stochvid.model_configs import SVGConfig

    options = {"clips": 130, "length": 12, "seed": 5, "size": 32, "num_digits": 1, "channels": 3}
    store = prepare_moving_mnist(tmp_path / "s", **options)
    source = MovingMNIST.from_config(DataConfig(num_digits=1), SVGConfig(image_size=32, channels=3), "test", 12, 5)
    for number in (0, 99, 100, 129):
        item, made = store.clip("test", number), source[number]
        assert np.array_equal(item["frames"], made["frames"])
        assert np.array_equal(item["bounces"], made["bounces"])
    longer = prepare_moving_mnist(tmp_path / "b", **options | {"clips": 140})
    assert np.array_equal(longer.array("test")[: 130 * 12], store.array("test"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variant", "srvp2020"], "is made of MNIST's test digits: --mnist PATH"),
        (["--variant", "srvp2020", "--mnist", "nowhere"], "MNIST folder 'nowhere' has no t10k-images-idx3-ubyte"),
        (["--clips", "0"], "--clips must be at least 1, got 0"),
        (["--size", "0"], "--size must be 32, 64, 128 or 256, which models take, got 0"),
        (["--fps", "0"], "--fps is for a source on disk, not for moving-mnist"),
        (["--fps", "3"], "--fps is for a source on disk, not for moving-mnist"),
        (["--split", "val"], "--split of moving-mnist must be train or test, got 'val'"),
        (["--size", "100"], "--size must be 32, 64, 128 or 256, which models take, got 100"),
        (["--skip-bad"], "--skip-bad is for a source on disk"),
    ],
)
def test_wrong_options_for_moving_mnist_are_named(tmp_path, capsys, words, message):
    assert main(["prepare", "moving-mnist", str(tmp_path / "s"), *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_yaml_for_own_videos_says_what_each_line_is_for():
    text = shipped_configs()["own-videos"].read_text()
    lines = [line for line in text.splitlines() if line.startswith("  ") and ":" in line]
    assert sum("#" in line for line in lines) >= len(lines) / 2
    assert yaml.safe_load(text)["data"]["store"] == "data/videos"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepare"], "prepare needs a source and a folder for the store"),
        (["prepare", "--verify", "x", "--size", "3"], "--verify takes a store and nothing else, got size, too"),
        (["prepare", "--verify", "nowhere"], "there is no store in 'nowhere'"),
        (["prepare", ".", "x", "--seed", "0"], "--seed is for moving-mnist and gym:ENV, not for a source on disk"),
        (["prepare", ".", "x", "--variant", "svg2018"], "--variant is for moving-mnist, not for a source on disk"),
        (
            ["prepare", "a.mp4", "b.mp4", "c.mp4", "x"],
            "prepare takes one source and one folder for the store",
        ),
        (["prepare", ".", "x", "--skipbad"], "prepare has no option '--skipbad'. Did you mean --skip-bad"),
    ],
)
def test_wrong_words_for_prepare_are_answered(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="exists and is not a store"):
        prepare_moving_mnist(tmp_path / "model", clips=2)
