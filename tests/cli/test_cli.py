"""The command line as a person uses it: the real entry point, real files, and what it says when something is wrong."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import imageio.v3 as iio
import numpy as np
import pytest
import yaml

from commands import STOCHVID, in_terminal
from runs import SIZES
from stochvid import SVG, load_config
from stochvid.cli.commands import main
from stochvid.config import shipped_configs
from stochvid.media.video import write_mp4
from tiny import save_model

MODEL_FILES = ("README.md", "config.json", "model.safetensors", "training.yaml")


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    folder = tmp_path_factory.mktemp("trained") / "run"
    words = [*STOCHVID, "train", *SIZES, "--trainer.max_steps", "6", "--trainer.rollout_clips", "1"]
    words += ["--out", str(folder)]
    return folder, subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)


def test_training_leaves_a_run_folder_and_says_where(trained):
    folder, done = trained
    assert done.returncode == 0, done.stderr
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith("tensorboard")} == {
        ".lock", "config.yaml", "metrics.csv", "checkpoints/step-00000004.ckpt", "checkpoints/step-00000006.ckpt",
        *(f"{model}/{name}" for model in ("model", "best") for name in MODEL_FILES),
        "model/health.json",
        "samples/step-00000000.gif", "samples/step-00000000.png",
        "samples/step-00000004.gif", "samples/step-00000004.png",
        "samples/step-00000006.gif", "samples/step-00000006.png",
    }  # fmt: skip
    assert any(name.startswith("tensorboard/events") for name in found)
    assert f"stochvid predict {folder}" in done.stdout
    assert SVG.from_pretrained(folder).config == load_config(folder / "config.yaml").model


def test_training_prints_the_resolved_config_and_its_progress_and_nothing_else(trained):
    folder, done = trained
    config = (folder / "config.yaml").read_text()
    assert done.stdout.startswith(config)
    assert "precision: auto" not in config
    assert len(done.stdout.removeprefix(config).strip().splitlines()) == 3
    lines = done.stderr.splitlines()  # where there is no terminal, the progress bar is a line now and then
    steps = [line for line in lines if not line.startswith("note: ")]  # of a model that has learned nothing
    shown = ["step 1/6", "step 2/6", "step 4/6", "step 4", "step 6/6", "step 6"]
    assert [line.split(":")[0] for line in steps] == shown, done.stderr
    assert lines[0].endswith(" left")
    assert all(word in steps[-2] for word in ("loss", "MSE", "KL", "nats", "clips/s"))
    assert all(word in steps[-1] for word in ("best of 8", "copy-last", "CRPS", "diversity", "sharpness"))
    assert len(lines) > len(steps)


def test_a_terminal_gets_a_progress_bar(tmp_path):
    last = in_terminal(["train", *SIZES, "--trainer.max_steps", "4", "--out", str(tmp_path / "run")])
    assert "4/4 [" in last
    assert all(word in last for word in ("loss", "MSE", "KL", "nats", "clips/s"))


def test_tensorboard_has_curves_strips_and_animations(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained[0] / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/mse", "train/kl", "train/lr", "val/loss"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("val/loss")] == [4, 6]
    assert set(tags["images"]) == {"samples", "futures"}
    assert events.Images("futures")[0].encoded_image_string.startswith(b"GIF8")


@pytest.fixture
def model(tmp_path) -> Path:
    return save_model(tmp_path / "model")


def test_prediction_writes_every_picture_and_array(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(trained[0]), "moving-mnist:3", "--samples", "3", "--horizon", "7"]) == 0
    folder = tmp_path / "predictions" / "moving-mnist-3"
    names = ["futures.gif", "futures.mp4", "futures.npz", "maps.gif", "maps.png", "strip.png", "uncertainty.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert len(iio.imread(folder / "futures.gif")) == 10
    with av.open(str(folder / "futures.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 10
    arrays = np.load(folder / "futures.npz")
    shapes = {name: arrays[name].shape for name in arrays.files}
    assert shapes == {
        "context": (3, 1, 32, 32), "truth": (7, 1, 32, 32), "futures": (3, 7, 1, 32, 32), "bounces": (10,),
        "prior_std": (3, 7, 2), "prior_mean": (3, 7, 2), "latents": (3, 7, 2), "seed": (), "temperature": (),
        "futures_std": (7, 32, 32), "boxes": (10, 1, 4), "digit_bounces": (10, 1),
    }  # fmt: skip
    assert arrays["futures"].dtype == np.uint8
    assert "10 frames of 32×32 grey" in capsys.readouterr().out


def test_every_kind_of_clip_is_predicted_and_its_conversion_said(model, tmp_path, capsys):
    frames = np.random.default_rng(0).integers(0, 256, (6, 24, 40, 3), dtype=np.uint8)
    np.save(tmp_path / "array.npy", frames)
    np.savez(tmp_path / "zip.npz", frames=frames[..., 0])
    iio.imwrite(tmp_path / "moving.gif", frames, loop=0)
    iio.imwrite(tmp_path / "film.mp4", frames, plugin="pyav", codec="libx264", fps=12)
    (tmp_path / "stills").mkdir()
    for t, frame in enumerate(frames):
        iio.imwrite(tmp_path / "stills" / f"{t}.png", frame)
    names = ["array.npy", "zip.npz", "moving.gif", "film.mp4", "stills"]
    out = tmp_path / "out"
    clips = [str(tmp_path / name) for name in names]
    assert main(["predict", str(model), *clips, "--samples", "1", "--fit", "crop", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "array.npy: 6 frames of 40×24 RGB → 6 frames of 32×32 grey, crop" in said
    assert "film.mp4: 6 frames of 40×24 RGB, 12 fps → " in said
    assert sorted(path.name for path in out.iterdir()) == ["array", "film", "moving", "stills", "zip"]
    assert all((out / name / "futures.npz").is_file() for name in ("array", "film", "moving", "stills", "zip"))


@pytest.mark.parametrize(("start", "first", "frames"), [("0", 0, 5), ("4", 4, 5), ("-3", 7, 3), ("-5", 5, 5)])
def test_the_first_frame_to_give_may_be_any(model, tmp_path, start, first, frames):
    np.save(tmp_path / "clip.npy", np.arange(0, 100, 10, dtype=np.uint8)[:, None, None].repeat(32, 1).repeat(32, 2))
    words = ["--context", "3", "--horizon", "2", "--samples", "1", "--out", str(tmp_path / "out")]
    assert main(["predict", str(model), str(tmp_path / "clip.npy"), "--start", start, *words]) == 0
    futures = np.load(tmp_path / "out" / "clip" / "futures.npz")
    assert (len(futures["context"]), len(futures["truth"])) == (3, frames - 3)
    seen = np.concatenate([futures["context"], futures["truth"]])[:, 0, 0, 0]
    assert seen.tolist() == list(range(10 * first, 10 * (first + frames), 10))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("10", "ends before frame 10. Use a smaller --start"),
        ("8", "has 2 frame(s) from --start 8 on, but the model is given 3. Use a longer clip or --context 2"),
        ("-2", "has 2 frame(s) from --start -2 on"),
        ("9" * 20, "--start must be from -1,000,000,000 to 1,000,000,000"),
    ],
)
def test_a_start_without_enough_frames_is_said(model, tmp_path, capsys, start, message):
    np.save(tmp_path / "clip.npy", np.zeros((10, 32, 32), np.uint8))
    words = ["--context", "3", "--start", start, "--out", str(tmp_path / "out")]
    assert main(["predict", str(model), str(tmp_path / "clip.npy"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_memory_that_does_not_suffice_is_said(capsys, monkeypatch):
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError("other")):
        monkeypatch.setattr("stochvid.inference.demo.demo", lambda _, error=error: (_ for _ in ()).throw(error))
        if str(error) == "other":
            with pytest.raises(RuntimeError, match="other"):
                main(["demo"])
        else:
            assert main(["demo"]) == 2
            assert "out of memory. Use smaller numbers" in capsys.readouterr().err


def test_clips_of_one_name_get_folders_of_their_own(model, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "clip.npy", np.zeros((3, 32, 32), np.uint8))
    clips = [str(tmp_path / name / "clip.npy") for name in "abc"]
    assert main(["predict", str(model), *clips, "--samples", "1", "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip", "clip-2", "clip-3"]


def test_a_later_clip_does_not_take_the_name_of_a_numbered_one(model, tmp_path):
    names = ["a/shot-1", "b/shot-1", "a/shot-2"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", np.zeros((3, 32, 32), np.uint8))
    clips = [str(tmp_path / f"{name}.npy") for name in names]
    assert main(["predict", str(model), *clips, "--samples", "1", "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["shot-1", "shot-1-2", "shot-2"]


def test_only_an_earlier_result_is_ever_replaced(model, tmp_path, capsys):
    (tmp_path / "frames").mkdir()
    for t in range(3):
        iio.imwrite(tmp_path / "frames" / f"{t}.png", np.zeros((8, 8), np.uint8))
    words = ["predict", str(model), str(tmp_path / "frames"), "--out", str(tmp_path), "--overwrite"]
    assert main(words) == 2
    assert "is not an earlier result" in capsys.readouterr().err
    assert len(list((tmp_path / "frames").iterdir())) == 3


@pytest.mark.parametrize(("fps", "duration"), [(0.2, 1000), (240, 30)])
def test_slow_and_fast_clips_become_animations(model, tmp_path, fps, duration):
    write_mp4(tmp_path / "a.mp4", np.zeros((5, 32, 32, 3), np.uint8), fps)
    assert main(["predict", str(model), str(tmp_path / "a.mp4"), "--samples", "1", "--out", str(tmp_path / "out")]) == 0
    assert iio.immeta(tmp_path / "out" / "a" / "futures.gif")["duration"] == pytest.approx(duration, abs=10)


def test_the_same_seed_draws_the_same_futures(model, tmp_path):
    def futures(out: str, *more: str) -> np.ndarray:
        assert (
            main(["predict", str(model), "moving-mnist:1", "--samples", "1", "--out", str(tmp_path / out), *more]) == 0
        )
        return np.load(tmp_path / out / "moving-mnist-1" / "futures.npz")["prior_mean"]

    first = futures("a", "--seed", "4")
    assert np.array_equal(first, futures("b", "--seed", "4"))
    assert not np.array_equal(first, futures("c", "--seed", "5"))


def test_earlier_results_are_kept_unless_asked(model, tmp_path, capsys):
    words = ["predict", str(model), "moving-mnist:1", "--samples", "1", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    before = (tmp_path / "out" / "moving-mnist-1" / "futures.npz").stat().st_mtime_ns
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "holds results already" in said
    assert "--overwrite" in said
    assert (tmp_path / "out" / "moving-mnist-1" / "futures.npz").stat().st_mtime_ns == before
    assert main([*words, "--overwrite"]) == 0


# -------------------------------------------------------------------------------------------------- stop and go on


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_stops_cleanly_with_a_checkpoint_to_continue_from(tmp_path, number, code):
    folder = tmp_path / "run"
    words = [
        "train",
        *SIZES,
        "--trainer.max_steps",
        "100000",
        "--trainer.validate_every",
        "100000",
        "--out",
        str(folder),
    ]
    process = subprocess.Popen([*STOCHVID, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert f"stochvid train --resume {folder}" in out
    assert "Traceback" not in err
    (*_, last) = sorted(folder.glob("checkpoints/*"))
    step = int(last.stem.removeprefix("step-"))
    assert (folder / "model" / "model.safetensors").is_file()
    resumed = yaml.safe_load((folder / "config.yaml").read_text())
    resumed["trainer"]["max_steps"] = step + 2
    (folder / "config.yaml").write_text(yaml.safe_dump(resumed))  # as if so few steps had been asked for
    assert main(["train", "--resume", str(folder)]) == 0
    assert (folder / "checkpoints" / f"step-{step + 2:08d}.ckpt").is_file()


def test_a_second_signal_is_not_waited_for():
    """What training does with signals, by itself; the next test is of the whole command."""
    code = (
        "import os, signal\n"
        "from stochvid.core.signals import Interrupted, StopSignals\n"
        "with StopSignals() as signals:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    assert signals.received == signal.SIGINT\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except Interrupted as stop:\n"
        "        print(stop.number.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "SIGTERM\n"
    assert "SIGINT: stopping after this step, with a checkpoint; again: now." in done.stderr


@pytest.mark.slow
def test_a_second_signal_stops_at_once(tmp_path):
    folder = tmp_path / "run"
    words = ["train", *SIZES, "--data.batch_size", "4000", "--trainer.max_steps", "100", "--out", str(folder)]
    process = subprocess.Popen([*STOCHVID, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder / "tensorboard").exists() and process.poll() is None:
        time.sleep(0.1)
    for _ in range(2):  # a step takes seconds
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped by SIGINT within a step" in err
    assert "Traceback" not in err


def test_resume_auto_begins_again_what_was_killed_before_its_first_checkpoint(tmp_path):
    words = ["train", *SIZES, "--out", str(tmp_path / "run"), "--resume", "auto", "--trainer.max_steps", "2"]
    assert main(words) == 0
    for name in ("checkpoints", "model"):
        shutil.rmtree(tmp_path / "run" / name)
    assert main(words) == 0
    assert (tmp_path / "run" / "model" / "config.json").is_file()


def test_resume_auto_starts_and_then_continues(tmp_path):
    words = ["train", *SIZES, "--out", str(tmp_path / "run"), "--resume", "auto", "--trainer.max_steps"]
    assert main([*words, "2"]) == 0
    assert main([*words, "4"]) == 0
    lines = (tmp_path / "run" / "metrics.csv").read_text()
    assert main([*words, "4"]) == 0  # nothing left to do
    assert (tmp_path / "run" / "metrics.csv").read_text() == lines
    names = [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert names == ["step-00000002.ckpt", "step-00000004.ckpt"]


# ------------------------------------------------------------------------------------------------- names and help


def test_help_needs_no_heavy_import():
    code = (
        "import sys; from stochvid.cli.commands import main\n"
        "for words in (['--help'], ['train', '--help'], ['predict', '--help']):\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        "print([n for n in ('torch', 'lightning', 'numpy', 'av', 'matplotlib', 'sklearn') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "laptop" in done.stdout
    assert "--optim.clip_norm" in done.stdout
    assert "moving-mnist:SEED" in done.stdout


def printed(capsys, *words: str) -> dict:
    assert main(["train", *words, "--print_config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_a_shipped_name_is_the_file_of_that_name(capsys):
    for name, path in shipped_configs().items():
        config = printed(capsys, "--config", name)
        assert config == yaml.safe_load(load_config(path).to_yaml())


def test_help_is_shown_whatever_stands_beside_it(capsys):
    with pytest.raises(SystemExit) as done:
        main(["train", "--config", "laptop", "--help"])
    assert done.value.code == 0
    assert "--optim.lr" in capsys.readouterr().out


def test_numbers_in_yaml_may_be_written_in_either_way(tmp_path):
    (tmp_path / "mine.yaml").write_text("optim:\n  lr: 2e-3\n")
    assert load_config(tmp_path / "mine.yaml").optim.lr == 0.002


def test_an_override_wins_wherever_it_stands(capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text("optim:\n  lr: 0.1\n")
    for words in (["--optim.lr", "0.5", "--config", "laptop"], ["--config=laptop", "--optim.lr=0.5"]):
        assert printed(capsys, *words)["optim"]["lr"] == 0.5
    both = printed(capsys, "--config", "laptop", "--config", str(tmp_path / "mine.yaml"))
    assert (both["optim"]["lr"], both["model"]["image_size"]) == (0.1, 32)
    assert printed(capsys, "--optim.clip_norm", "null", "--config", "laptop")["optim"]["clip_norm"] is None


WRONG = {
    "a command": (["trian"], "there is no command 'trian'. Did you mean train?"),
    "a config name": (["train", "--config", "smmist-lp"], "no config is called 'smmist-lp'. Did you mean smmnist-lp"),
    "a config file": (["train", "--config", "no/such.yaml"], "config 'no/such.yaml' does not exist"),
    "a field": (["train", "--model.zdim", "3"], "train has no option '--model.zdim'. Did you mean --model.z_dim"),
    "a group": (["train", "--modle.z_dim", "3"], "train has no option '--modle.z_dim'. Did you mean --model.z_dim"),
    "an option": (["predict", "m", "c", "--sample", "3"], "predict has no option '--sample'. Did you mean --samples"),
    "a value's type": (["train", "--model.z_dim", "many"], "--model.z_dim: expected a whole number, got many."),
    "a value's range": (["train", "--model.z_dim", "0"], "model.z_dim must be from 1 to 4,096, got 0."),
    "a choice": (["train", "--model.prior", "learnt"], "--model.prior"),
    "a missing value": (["train", "--config"], "--config needs a value"),
    "two starts": (["train", "--resume", "x", "--init", "y"], "--init starts a new run"),
    "a seed": (["train", "--trainer.seed", "-1"], "trainer.seed must be from 0 to 4,294,967,295, got -1."),
    "a name too long": (["predict", "MODEL", "x" * 300], "File name too long"),
    "nothing to train": (["train"], "train needs a config: --config laptop"),
    "a config without its option": (["train", "laptop"], "as an option: --config laptop."),
    "no run to resume": (["train", "--resume", "nowhere"], "there is no run in 'nowhere'"),
    "a missing MNIST folder": (
        ["train", "--config", "smmnist-lp", "--data.mnist", "nowhere", "--out", "run"],
        "MNIST folder 'nowhere' has no train-images-idx3-ubyte",
    ),
    "no MNIST folder": (["train", "--config", "smmnist-lp", "--out", "run"], "--data.mnist PATH"),
    "a missing model": (["predict", "nowhere", "moving-mnist:1"], "model 'nowhere' is neither a folder here nor"),
    "a command in capitals": (["Predict", "m", "c"], "there is no command 'Predict'. Did you mean predict?"),
    "a shipped model": (["predict", "two_digits", "moving-mnist:1"], "can be reached. Did you mean two-digits?"),
    "a config with underscores": (["train", "--config", "SMMNIST_LP"], "Did you mean smmnist-lp?"),
    "another config without its option": (["train", "own_videos"], "as an option: --config own-videos."),
    "a baseline": (["evaluate", "copy_last"], "no model or baseline 'copy_last'. Did you mean copy-last?"),
    "a field with dashes": (["train", "--data.batch-size", "3"], "Did you mean --data.batch_size?"),
    "a field with dashes, without its group": (["train", "--batch-size", "3"], "Did you mean --data.batch_size?"),
    "an option with underscores": (["predict", "m", "c", "--batch_statistics"], "Did you mean --batch-statistics?"),
    "made clips": (["predict", "MODEL", "moving_mnist:3"], "Did you mean moving-mnist:3?"),
    "a made source": (["prepare", "moving_mnist", "x"], "Did you mean moving-mnist?"),
    "a group without a field": (
        ["train", "--data", "data/a"],
        "--data alone takes all of its fields, as a YAML file, got 'data/a'. For one of them: --data.store VALUE.",
    ),
    "an array to evaluate on": (
        ["evaluate", "MODEL", "--data", "short.npy"],
        "Prepare it first: stochvid prepare short.npy data/short --size 32 --channels 1 --split test. Then --data "
        "data/short names it.",
    ),
    "a folder to evaluate on": (["uncertainty", "MODEL", "--data", "."], "Prepare it first: stochvid prepare . data/"),
    "an array to train on": (
        ["train", "--data.store", "short.npy"],
        "'short.npy' is not a store (no index.json there). Prepare it first: stochvid prepare short.npy data/short "
        "--size 64 --channels 3. Then train with --data.store data/short.",
    ),
    "a missing clip": (["predict", "MODEL", "nowhere.mp4"], "clip 'nowhere.mp4' does not exist"),
    "no clip": (
        ["predict", "MODEL"],
        "predict needs a model and then what to see: stochvid predict one-digit moving-mnist:7",
    ),
    "a clip for a model": (["predict", __file__, "moving-mnist:1"], "is a file. The model comes first"),
    "a field without its group": (
        ["train", "--lr", "1e-3"],
        "no option '--lr'. Did you mean --optim.lr or --adversarial.lr?",
    ),
    "an optional number": (["train", "--optim.ema", "many"], "--optim.ema: expected a number, got many."),
    "a choice in a group": (
        ["train", "--model.prior", "wide"],
        "--model.prior: expected one of 'learned', 'fixed', 'none', got wide",
    ),
    "MNIST for built-in digits": (["train", "--config", "laptop", "--data.mnist", "x"], "but the digits are builtin"),
    "a clip too short": (["predict", "MODEL", "short.npy"], "has 2 frame(s), but the model is given 3."),
    "a clip of other channels": (["predict", "MODEL", "wide.npy"], "has shape (5, 20, 20, 7)"),
    "a seed that is none": (["predict", "MODEL", "moving-mnist:x"], "must be moving-mnist:SEED"),
    "a horizon": (["predict", "MODEL", "moving-mnist:1", "--horizon", "0"], "--horizon must be at least 1, got 0."),
    "samples": (["predict", "MODEL", "moving-mnist:1", "--samples", "0"], "--samples must be at least 1, got 0."),
    "a context": (["predict", "MODEL", "moving-mnist:1", "--context", "0"], "--context must be at least 1, got 0."),
    "a device": (["predict", "MODEL", "moving-mnist:1", "--device", "tpu"], "--device"),
    "an output that is a file": (
        ["predict", "MODEL", "moving-mnist:1", "--out", "short.npy"],
        "cannot write to folder",
    ),
    "a run in a file": (["train", *SIZES, "--out", "short.npy"], "cannot write to folder 'short.npy'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_words_are_answered_in_a_line_or_two(what, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("short.npy", np.zeros((2, 32, 32), np.uint8))
    np.save("wide.npy", np.zeros((5, 20, 20, 7), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    words, message = WRONG[what]
    assert main([str(model) if word == "MODEL" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("stochvid: ")
    assert message in error
    assert len(error.strip().splitlines()) <= 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model:\n  zdim: 3\n", "group 'model', has an unknown field 'zdim'. Did you mean z_dim"),
        ("modell:\n  z_dim: 3\n", "unknown group 'modell'. Did you mean model"),
        ("model: 3\n", "group 'model', must hold fields and values, got 3"),
        ("- 1\n", "must hold the groups model, data, optim, trainer"),
        ("model: {z_dim: [}\n", "is not valid YAML"),
        ("model:\n  z_dim: x\n", "model.z_dim: expected a whole number, got x."),
        ("", "must hold the groups"),
    ],
)
def test_a_wrong_config_file_is_answered_with_its_fault(text, message, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["train", "--config", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_output_that_cannot_be_written_leaves_nothing(model, tmp_path, capsys):
    """A limit on the size of files stands for the disk that fills up while the animation is written."""
    out, (before, most) = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 10, most))
    try:
        code = main(["predict", str(model), "moving-mnist:1", "--out", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    assert code == 2
    assert "File too large" in capsys.readouterr().err
    assert list(out.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_two_processes_stop_cleanly_too(tmp_path, number, code):
    folder, env = tmp_path / "run", os.environ | {"OMP_NUM_THREADS": "1"}
    words = ["train", *SIZES, "--trainer.devices", "2", "--trainer.max_steps", "100000", "--out", str(folder)]
    process = subprocess.Popen([*STOCHVID, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    while not list(folder.glob("checkpoints/*")) and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out.count("stochvid train --resume") == 1
    assert (folder / "model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_two_processes_train_together_and_continue(tmp_path):
    """DDP on one machine: the batch is divided, one process writes."""
    folder = tmp_path / "run"
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [*STOCHVID, "train", *SIZES, "--trainer.devices", "2", "--out", str(folder), "--resume", "auto"]
    for steps in ("6", "8"):
        done = subprocess.run(
            [*words, "--trainer.max_steps", steps], capture_output=True, text=True, env=env, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("parameters;") == 1
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["2", "train"], ["4", "train"], ["4", "val"], ["6", "train"], ["6", "val"], ["8", "train"], ["8", "val"],
    ]  # fmt: skip
    assert SVG.from_pretrained(folder).config.image_size == 32
