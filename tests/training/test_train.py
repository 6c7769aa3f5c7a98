"""Training learns, resumes exactly, refuses what does not fit, and stops when it must."""

import functools
import math
import re
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from runs import rows, same_weights, tiny
from stochvid import SVG, InputError, OptimConfig, SVGConfig, TrainerConfig, load_config
from stochvid.config import as_steps, shipped_configs
from stochvid.data.digits import MNIST_FILES
from stochvid.training.checkpoint import AtomicCheckpointIO
from stochvid.training.module import Diverged, learning_rate_scale, moving_average
from stochvid.training.objectives import LOSS, WeightedTerms
from stochvid.training.rollouts import Rollouts
from stochvid.training.run_log import RunLog
from stochvid.training.runs import Run, folder_name
from stochvid.training.train import train


@pytest.fixture(scope="module")
def run_of(tmp_path_factory) -> Callable[[int], Path]:
    """Runs of so many steps that nothing happened to, each trained once; what changes one takes a copy."""

    @functools.cache
    def made(steps: int) -> Path:
        folder = tmp_path_factory.mktemp(f"of-{steps}") / "run"
        train(tiny(steps), folder)
        return folder

    return made


def test_a_tiny_model_learns(tmp_path):
    """100 steps bring the held-out loss below a tenth of where it started."""
    config = tiny(
        100,
        model={"base_channels": 8, "g_dim": 32, "rnn_size": 32},
        data={"batch_size": 8, "val_clips": 32},
        optim={"lr": 1e-2},
        trainer={"validate_every": 1, "checkpoint_every": 100, "log_every": 50, "sample_clips": 0},
    )
    config.trainer.max_steps, first = 1, tmp_path / "first"
    train(config, first)
    config.trainer.max_steps, config.trainer.validate_every = 100, 100
    train(config, tmp_path / "run")
    start, end = float(rows(first, "val")[0]["loss"]), float(rows(tmp_path / "run", "val")[-1]["loss"])
    assert end < 0.1 * start, (start, end)


@pytest.mark.parametrize("optim", [{}, {"ema": 0.9, "warmup_steps": 3, "clip_norm": 0.5}], ids=["plain", "ema"])
def test_a_resumed_run_equals_an_uninterrupted_one(run_of, tmp_path, optim):
    if optim:
        train(tiny(7, optim=optim), tmp_path / "whole")
        train(tiny(4, optim=optim), tmp_path / "parts")
    else:
        for steps, name in ((7, "whole"), (4, "parts")):
            shutil.copytree(run_of(steps), tmp_path / name)
    train(tiny(7, optim=optim), tmp_path / "parts", resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    for split in ("train", "val"):
        whole, parts = rows(tmp_path / "whole", split), rows(tmp_path / "parts", split)
        for row in whole + parts:
            row.pop("clips_per_s")
        assert whole == parts
    assert [row["step"] for row in rows(tmp_path / "parts", "train")] == list("1234567")


def test_recomputing_activations_trains_the_same_weights(run_of, tmp_path):
    train(tiny(4, trainer={"recompute": True}), tmp_path / "recomputed")
    assert same_weights(run_of(4), tmp_path / "recomputed")
    with pytest.raises(InputError, match=r"trainer\.recompute must be false where trainer\.compile is true"):
        TrainerConfig(recompute=True, compile=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch, as it compiles
@pytest.mark.unchecked
def test_compiled_training_has_the_same_losses(tmp_path):
    train(tiny(3), tmp_path / "plain")
    train(tiny(3, trainer={"compile": True}), tmp_path / "compiled")
    losses = [[float(row["loss"]) for row in rows(tmp_path / name, "train")] for name in ("plain", "compiled")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_loader_processes_change_nothing(run_of, tmp_path):
    train(tiny(4), tmp_path / "again")
    assert same_weights(run_of(4), tmp_path / "again")
    train(tiny(4, data={"workers": 2}), tmp_path / "workers")
    assert same_weights(run_of(4), tmp_path / "workers")


@pytest.mark.parametrize("killed", ["before the last validation", "before the model was written"])
def test_a_run_killed_after_its_last_step_ends_as_it_should(run_of, tmp_path, killed):
    shutil.copytree(run_of(7), tmp_path / "run")
    whole, model = rows(tmp_path / "run", "val"), tmp_path / "run" / "model"
    shutil.copytree(model, tmp_path / "copy" / "model")
    assert [row["step"] for row in whole] == ["4", "7"]
    shutil.rmtree(model)
    if killed == "before the last validation":
        path = tmp_path / "run" / "metrics.csv"
        path.write_text("".join(path.read_text().splitlines(True)[:-1]))
    train(tiny(7), tmp_path / "run", resume=True)
    assert rows(tmp_path / "run", "val") == whole
    assert same_weights(tmp_path / "run", tmp_path / "copy")


def test_what_was_logged_after_the_checkpoint_is_forgotten_on_resume(run_of, tmp_path):
    shutil.copytree(run_of(7), tmp_path / "run")
    run = Run(tmp_path / "run")
    run.checkpoints()[-1].unlink()  # as if it had been killed before step 7 was saved
    train(tiny(8), tmp_path / "run", resume=True)
    assert [row["step"] for row in rows(tmp_path / "run", "train")] == list("12345678")


def test_the_validation_at_a_runs_end_is_kept_when_the_run_goes_on(tmp_path):
    train(tiny(6, optim={"lr": 1e-2}), tmp_path / "run")
    ended = rows(tmp_path / "run", "val")
    train(tiny(8, optim={"lr": 1e-2}), tmp_path / "run", resume=True)
    whole = rows(tmp_path / "run", "val")
    assert [row["step"] for row in whole] == ["4", "6", "8"]
    assert whole[:2] == ended
    log = AtomicCheckpointIO().load_checkpoint(Run(tmp_path / "run").checkpoints()[-1])["log"]
    assert log["best"][0] == int(min(whole, key=lambda row: float(row["loss"]))["step"])


def test_a_changed_setting_is_refused_by_name(run_of, tmp_path):
    shutil.copytree(run_of(2), tmp_path / "run")
    with pytest.raises(InputError, match=r"--data\.batch_size is 4 in the run, but 8 was given"):
        train(tiny(4, data={"batch_size": 8}), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match=r"--trainer\.max_steps is 2 in the run, but 1 was given"):
        train(tiny(1), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="no run to continue"):
        train(tiny(4), tmp_path / "elsewhere", resume=True)
    assert not (tmp_path / "elsewhere").exists()


def test_another_run_is_not_overwritten_unless_asked(run_of, tmp_path):
    shutil.copytree(run_of(2), tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"already holds config\.yaml"):
        train(tiny(2, seed=1), tmp_path / "run")
    train(tiny(3, seed=1), tmp_path / "run", overwrite=True)
    assert load_config(tmp_path / "run" / "config.yaml").trainer.seed == 1
    assert [row["step"] for row in rows(tmp_path / "run", "train")] == list("123")
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_what_is_no_run_is_not_overwritten_even_if_asked(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not a run of stochvid .* not overwritten"):
        train(tiny(2), tmp_path, overwrite=True)
    assert (tmp_path / "model" / "thesis.txt").read_text() == "mine"


def test_a_run_is_not_touched_before_everything_was_checked(run_of, tmp_path):
    shutil.copytree(run_of(2), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    with pytest.raises(InputError, match="need the folder of its IDX files"):
        train(tiny(2, data={"digits": "mnist"}), tmp_path / "run", overwrite=True)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="finds no CUDA GPU"):
            train(tiny(2, trainer={"device": "cuda"}), tmp_path / "run", overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_sync_batch_norm_without_gpus_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"trainer\.sync_batch_norm needs GPUs"):
        train(tiny(2, trainer={"sync_batch_norm": True}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_processes_that_do_not_match_the_config_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match=r"4 processes were started, but --trainer\.devices 2 .* asks for 2"):
        train(tiny(2, trainer={"devices": 2}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fine_tuning_starts_from_the_given_weights(run_of, tmp_path):
    first = run_of(2)
    train(tiny(1, optim={"lr": 1e-12}, seed=5), tmp_path / "second", init=first)
    one, two = (load_file(run / "model" / "model.safetensors") for run in (first, tmp_path / "second"))
    assert all(torch.allclose(one[name], two[name]) for name in one if one[name].ndim > 1)
    with pytest.raises(InputError, match=r"--init .* does not fit the model to train: .* Give --model"):
        train(tiny(1, model={"z_dim": 3}), tmp_path / "third", init=first)
    assert not (tmp_path / "third").exists()


def test_averaged_weights_are_what_is_saved(run_of, tmp_path):
    plain = run_of(4)
    train(tiny(4, optim={"ema": 0.5}), tmp_path / "averaged")
    assert rows(plain, "train")[-1]["loss"] == rows(tmp_path / "averaged", "train")[-1]["loss"]
    assert not same_weights(plain, tmp_path / "averaged")


def test_the_average_forgets_where_the_weights_began():
    """Of values 0, 1, 2, … the average is a tenth or so behind; a constant decay would still hold to the first ones."""
    average = torch.zeros(())
    for count in range(1, 300):
        average = moving_average(average, torch.tensor(float(count)), torch.tensor(count), 0.9999)
    assert 0.85 * 300 < average < 0.95 * 300
    assert moving_average(torch.zeros(()), torch.ones(()), torch.tensor(10**9), 0.999) == pytest.approx(0.001)


def test_a_longer_run_takes_its_learning_rate_from_the_longer_schedule(tmp_path):
    decay = {"lr": 1e-3, "decay": "cosine"}
    train(tiny(4, optim=decay), tmp_path / "run")
    train(tiny(8, optim=decay), tmp_path / "run", resume=True)
    rates = [float(row["lr"]) for row in rows(tmp_path / "run", "train")]
    expected = [1e-3 * learning_rate_scale(step, OptimConfig(**decay), 8) for step in range(8)]
    assert rates[4:] == pytest.approx(expected[4:], rel=1e-4)


def test_the_start_of_a_fine_tuned_run_is_recorded_and_stays(run_of, tmp_path):
    first = run_of(2)
    train(tiny(2), tmp_path / "second", init=first)
    train(tiny(4), tmp_path / "second", resume=True)
    text = (tmp_path / "second" / "config.yaml").read_text()
    assert text.startswith(f"# started from --init {first}\n")
    assert load_config(tmp_path / "second" / "config.yaml").trainer.max_steps == 4


class Spoiled(WeightedTerms):
    """The loss, times a number that says in which call it is spoiled, and how: `by(training, calls so far)`."""

    def __init__(self, by: Callable[[bool, int], float]):
        super().__init__(tiny().model.term_weights)
        self.by, self.calls = by, 0

    def forward(self, model, clips, noise):
        self.calls += model.training
        terms = super().forward(model, clips, noise)
        return terms | {LOSS: terms[LOSS] * self.by(model.training, self.calls)}


def test_a_nan_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    spoiled = Spoiled(lambda training, calls: math.nan if calls == 4 else 1)
    with pytest.raises(Diverged, match=r"the loss is nan .* at step 4\. Start again with a lower --optim\.lr"):
        train(tiny(6), tmp_path / "run", objective=spoiled)
    (checkpoint,) = Run(tmp_path / "run").checkpoints()
    assert checkpoint.name == "step-00000002.ckpt"
    weights = AtomicCheckpointIO().load_checkpoint(checkpoint)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_a_validation_that_overflows_neither_stops_a_run_nor_keeps_it_from_going_on(tmp_path):
    each = {"validate_every": 1}
    overflowing = Spoiled(lambda training, calls: 1 if training else math.inf)
    train(tiny(1, trainer=each), tmp_path / "run", objective=overflowing)
    train(tiny(3, trainer=each), tmp_path / "run", resume=True)
    assert rows(tmp_path / "run", "val")[0]["loss"] == "inf"
    card = (tmp_path / "run" / "best" / "README.md").read_text()
    assert re.search(r"held-out clips \| MSE \d", card), card
    train(tiny(4, trainer=each), tmp_path / "run", resume=True)


def test_sums_for_a_checkpoint_are_gathered_on_the_device_of_the_model(tmp_path):
    """NCCL gathers nothing else; a meta tensor stands in for one on a GPU."""
    gathered = []
    strategy = SimpleNamespace(all_gather=lambda tensor: gathered.append(tensor.device) or torch.zeros(2, 4))
    log = RunLog(tiny(), Run(tmp_path), Rollouts(tiny()))
    log.on_save_checkpoint(SimpleNamespace(strategy=strategy), SimpleNamespace(device=torch.device("meta")), {})
    assert gathered == [torch.device("meta")]


def test_results_are_called_after_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(tiny(1), "runs/mine")
    assert [folder_name(f"runs/mine{name}") for name in ("", "/model", "/best")] == ["mine", "mine", "mine-best"]
    assert [folder_name(name) for name in ("owner/best", "best", "one-digit")] == ["best", "best", "one-digit"]


def test_too_large_a_learning_rate_diverges_with_advice(tmp_path):
    with pytest.raises(Diverged, match=r"lower --optim\.lr"):
        train(tiny(6, optim={"lr": 1e30}), tmp_path / "run")


def test_only_the_newest_checkpoints_stay_and_the_best(tmp_path):
    """At a learning rate that spoils the model, the first validation is the best."""
    train(tiny(4, optim={"lr": 0.3}, trainer={"validate_every": 1, "keep_checkpoints": 1}), tmp_path / "run")
    losses = [float(row["loss"]) for row in rows(tmp_path / "run", "val")]
    best = losses.index(min(losses)) + 1
    assert best < 4
    names = [path.name for path in Run(tmp_path / "run").checkpoints()]
    assert names == [f"step-{best:08d}.ckpt", "step-00000004.ckpt"]
    train(tiny(best, optim={"lr": 0.3}, trainer={"validate_every": 1}), tmp_path / "short")
    one, two = (load_file(tmp_path / path / "model.safetensors") for path in ("run/best", "short/model"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert SVG.from_pretrained(tmp_path / "run" / "best").config == tiny().model


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def with_an_object(path: Path) -> None:
    torch.save({"state_dict": Path("object")}, path)


def of_something_else(path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, path)


def of_another_run(path: Path) -> None:
    train(tiny(1, optim={"lr": 1e-4}), path.parents[2] / "other")
    path.write_bytes(Run(path.parents[2] / "other").checkpoint_at(1).read_bytes())


def of_other_weights(path: Path) -> None:
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["model.encoder.stages.0.0.weight"] = torch.zeros(3)
    torch.save(checkpoint, path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damaged, "is damaged, or holds more than tensors and plain values"),
        (with_an_object, "is damaged, or holds more than tensors and plain values"),
        (of_something_else, "is not a checkpoint of a training run: it has no 'state_dict'"),
        (of_another_run, r"is of another run: --optim\.lr is 0\.0001 in the run, but 0\.002 was given"),
        (of_other_weights, r"does not fit .* should be \(2, 1, 4, 4\), got \(3,\)\. It is of another version"),
    ],
)
def test_a_bad_checkpoint_is_refused_with_the_reason_and_the_one_before_continued(
    run_of, tmp_path, capsys, spoil, reason
):
    shutil.copytree(run_of(7), tmp_path / "run")
    run = Run(tmp_path / "run")
    assert [path.name for path in run.checkpoints()[-2:]] == ["step-00000006.ckpt", "step-00000007.ckpt"]
    spoil(run.checkpoint_at(7))
    capsys.readouterr()
    train(tiny(9), tmp_path / "run", resume=True)
    assert re.search(rf"step-00000007\.ckpt' {reason}.* Continuing from step-00000006\.ckpt", capsys.readouterr().err)
    assert same_weights(run_of(9), tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "step-00000007.ckpt.refused").is_file()


def test_without_any_good_checkpoint_nothing_is_touched(run_of, tmp_path):
    shutil.copytree(run_of(7), tmp_path / "run")
    for path in Run(tmp_path / "run").checkpoints():
        damaged(path)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"no checkpoint to continue from: .*step-00000007\.ckpt' is damaged"):
        train(tiny(9), tmp_path / "run", resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_what_a_killed_process_left_is_cleared_away(run_of, tmp_path):
    shutil.copytree(run_of(2), tmp_path / "run")
    run, mine = tmp_path / "run", tmp_path / "run" / ".my.notes"
    mine.write_text("mine")
    leftovers = [run / "checkpoints/.step-00000004.123.ckpt", run / "samples/.a.5.gif", run / ".metrics.77.csv"]
    for path in leftovers:
        path.write_bytes(b"half")
    Path(tempfile.mkdtemp(prefix=".new-", dir=run), "config.json").write_text("half")
    train(tiny(4), tmp_path / "run", resume=True)
    assert sorted(run.rglob(".*")) == [run / ".lock", mine]


def test_two_processes_do_not_train_in_one_folder(run_of, tmp_path):
    shutil.copytree(run_of(2), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != ".lock"}
    with FileLock(tmp_path / "run" / ".lock"):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match="another process is training in"):
                train(tiny(4), tmp_path / "run", **options)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    train(tiny(4), tmp_path / "run", resume=True)


def test_how_a_run_is_carried_out_may_change_on_resume(run_of, tmp_path):
    shutil.copytree(run_of(4), tmp_path / "run")
    other = {"log_every": 2, "validate_every": 3, "checkpoint_every": 1, "keep_checkpoints": 1, "sample_clips": 0}
    train(tiny(9, trainer=other), tmp_path / "run", resume=True)
    assert same_weights(run_of(9), tmp_path / "run")
    assert load_config(tmp_path / "run" / "config.yaml").trainer.log_every == 2


def test_digits_may_move_but_not_change(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    for name, digits in (("here", images), ("there", images), ("others", images[::-1])):
        (tmp_path / name).mkdir()
        for file in MNIST_FILES.values():
            header = struct.pack(">4I", 0x0803, *digits.shape)
            (tmp_path / name / file).write_bytes(header + digits.tobytes())
    data = {"digits": "mnist", "mnist": str(tmp_path / "here")}
    train(tiny(2, data=data), tmp_path / "run")
    train(tiny(4, data=data | {"mnist": str(tmp_path / "there")}), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="was trained on other clips than --data"):
        train(tiny(6, data=data | {"mnist": str(tmp_path / "others")}), tmp_path / "run", resume=True)


@pytest.mark.parametrize("prior", ["fixed", "none"])
def test_the_other_priors_train_too(tmp_path, prior):
    train(tiny(2, model={"prior": prior}), tmp_path / "run")
    assert (float(rows(tmp_path / "run", "train")[-1]["kl"]) == 0) == (prior == "none")


def test_colour_and_vgg_train_too(tmp_path):
    train(tiny(2, model={"channels": 3, "backbone": "vgg"}), tmp_path / "run")
    assert rows(tmp_path / "run", "val")


def test_learning_rate_warms_up_and_decays_only_when_asked():
    plain = OptimConfig()
    assert {learning_rate_scale(step, plain, 100) for step in range(100)} == {1.0}
    both = OptimConfig(warmup_steps=9, decay="cosine", decay_start=0.5)
    scales = [learning_rate_scale(step, both, 100) for step in range(101)]
    assert scales[0] == pytest.approx(0.1)
    assert scales[9:51] == [1.0] * 42
    assert scales[75] == pytest.approx(0.5)
    assert scales[100] == pytest.approx(0)
    assert scales == sorted(scales[:51]) + sorted(scales[51:], reverse=True)


PAPER = {
    "model": SVGConfig(
        image_size=64, channels=1, backbone="dcgan", base_channels=64, g_dim=128, z_dim=10, rnn_size=256,
        predictor_layers=2, posterior_layers=1, prior_layers=1, context=5, horizon=10, beta=1e-4,
    ),
    "optim": OptimConfig(lr=2e-3, beta1=0.9),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [n for n in shipped_configs() if n.startswith("smmnist") and n.endswith(("lp", "fp", "det"))]
)
def test_paper_configs_have_the_papers_values(name):
    config = load_config(shipped_configs()[name])
    prior = {"lp": "learned", "fp": "fixed", "det": "none"}[name.split("-")[-1]]
    assert config.model.prior == prior
    assert config.model.context_latent == ("sample" if prior == "learned" else "mean")
    config.model.prior, config.model.context_latent = PAPER["model"].prior, PAPER["model"].context_latent
    assert config.model == PAPER["model"]
    assert config.model.future_skip == "last"
    assert not config.data.deterministic
    assert config.optim == PAPER["optim"]
    assert config.data.variant == ("srvp2020" if "srvp" in name else "svg2018")
    assert (config.data.num_digits, config.data.batch_size, config.trainer.max_steps) == (2, 100, 300 * 600)


@pytest.mark.parametrize("name", [n for n, path in shipped_configs().items() if not load_config(path).data.store])
def test_every_config_of_made_data_takes_two_training_steps(tmp_path, name):
    """The others are tried with their data in `test_data_configs.py`."""
    config = load_config(shipped_configs()[name])
    config.data.digits, config.data.batch_size, config.data.val_clips = "builtin", 2, 2
    if config.model.family == "convlstm":
        config.model.widths = [2]
    else:
        config.model.base_channels, config.model.rnn_size = 8 if name == "sprites" else 2, 4
    config.trainer.max_steps, config.trainer.device = 2, "cpu"
    config.model.horizon = 2
    train(config, tmp_path / "run")
    assert len(rows(tmp_path / "run", "train")) == 1


@pytest.mark.parametrize(
    ("group", "field", "value", "message"),
    [
        ("model", "image_size", 100, "32, 64, 128 or 256"),
        ("model", "beta", -1.0, "at least 0"),
        ("data", "num_digits", 0, "from 1 to 4,096"),
        ("data", "digits", "emnist", "one of 'builtin', 'mnist', 'both'"),
        ("optim", "lr", 0.0, "above 0"),
        ("optim", "ema", 1.0, r"in \(0, 1\) or null"),
        ("optim", "clip_norm", 0.0, "above 0 or null"),
        ("trainer", "max_steps", 0, "at least 1"),
        ("trainer", "seed", -1, "from 0 to 4,294,967,295"),
        ("trainer", "devices", 3, None),
        ("trainer", "precision", "fp8", "one of 'auto', 'fp32', 'bf16'"),
    ],
)
def test_settings_out_of_range_are_named(group, field, value, message):
    expected = (
        rf"{group}.{field} must be .*{message}, got" if message else "data.batch_size must be a multiple of the 3"
    )
    with pytest.raises(InputError, match=expected):
        tiny(**{group: {field: value}})


def test_steps_below_one_are_fractions_of_the_run(tmp_path):
    each = {"validate_every": 0.5, "checkpoint_every": 0.25, "keep_checkpoints": 9, "log_every": 1}
    config = tiny(8, trainer=each, optim={"warmup_steps": 0.5}, loss={"kl_warmup_steps": 0.25})
    train(config, tmp_path / "run")
    assert [int(row["step"]) for row in rows(tmp_path / "run", "val")] == [4, 8]
    assert [path.name for path in Run(tmp_path / "run").checkpoints()] == [f"step-{n:08d}.ckpt" for n in (2, 4, 6, 8)]
    rates = [float(row["lr"]) for row in rows(tmp_path / "run", "train")]
    assert rates[:5] == pytest.approx([2e-3 * n / 5 for n in (1, 2, 3, 4, 5)], rel=1e-4)
    assert as_steps(0.001, 8) == 1
    assert as_steps(0, 8) == 0


@pytest.mark.parametrize("name", ["validate_every", "checkpoint_every"])
def test_steps_are_whole_or_a_fraction(name):
    with pytest.raises(InputError, match=rf"trainer.{name} must be a whole number, or a fraction below 1, got 2.5"):
        TrainerConfig(**{name: 2.5})


def test_the_best_is_the_best_by_its_futures_and_without_them_by_its_loss(tmp_path):
    train(tiny(8, trainer={"validate_every": 2, "rollout_clips": 2}), tmp_path / "run")
    found = rows(tmp_path / "run", "val")
    assert all(float(row["crps"]) > 0 and float(row["psnr_copy"]) > 0 for row in found)
    log = torch.load(Run(tmp_path / "run").checkpoints()[-1], weights_only=True)["log"]
    best = min(found, key=lambda row: float(row["crps"]))
    assert log["best"] == (int(best["step"]), pytest.approx(float(best["crps"]), rel=1e-5))
    train(tiny(8, trainer={"validate_every": 2}), tmp_path / "plain")
    found = rows(tmp_path / "plain", "val")
    assert "crps" not in found[0]
    log = torch.load(Run(tmp_path / "plain").checkpoints()[-1], weights_only=True)["log"]
    assert log["best"][0] == int(min(found, key=lambda row: float(row["loss"]))["step"])
    assert not (tmp_path / "plain" / "model" / "health.json").exists()


def test_a_run_that_no_longer_gets_better_stops_early(tmp_path, capsys):
    still = {"lr": 1e-12}  # no validation is better than the first
    config = tiny(20, trainer={"validate_every": 2, "patience": 2, "rollout_clips": 1}, optim=still)
    run = train(config, tmp_path / "run")
    found = rows(tmp_path / "run", "val")
    best = min(found, key=lambda row: float(row["crps"]))
    assert int(found[-1]["step"]) == int(best["step"]) + 4 < 20
    assert f"stopped early: no validation was better than that of step {best['step']}" in capsys.readouterr().err
    assert run.stopped_by is None
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
