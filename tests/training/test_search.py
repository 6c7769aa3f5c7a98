"""Searches of a few trainings of three steps each: alone, stopped, and by two processes that share a storage."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from runs import SIZES, tiny
from stochvid import InputError, load_config
from stochvid.cli import main
from stochvid.training.options import SearchOptions
from stochvid.training.search import search
from stochvid.training.space import Range, read_space, with_values

optuna = pytest.importorskip("optuna")

SPACE = """\
optim.lr: {low: 1.0e-4, high: 1.0e-1, log: true}
model.z_dim: [2, 3]
data.batch_size: {low: 2, high: 4, step: 2}
"""
SHORT = [
    *("--config", "laptop", *SIZES, "--trainer.max_steps", "3", "--trainer.validate_every", "1"),
    *("--trainer.sample_clips", "0", "--trainer.precision", "fp32", "--threads", "1"),
    *("--optim.warmup_steps", "0"),
]


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return str(path)


def trials(out) -> list[dict[str, str]]:
    with open(out / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_it_finds_the_best_of_its_trials_and_goes_on_to_more(space, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["search", *SHORT, "--space", space, "--out", str(out)]
    assert main([*words, "--trials", "3"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("0 of 3 trials are there")
    first = trials(out)
    assert [row["state"] for row in first] == ["complete"] * 3
    assert {row["best_step"] for row in first} <= {"1", "2", "3"}
    assert main([*words, "--trials", "7"]) == 0
    rows = trials(out)
    assert rows[:3] == first
    assert len(rows) == 7
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    best = min((row for row in rows if row["state"] == "complete"), key=lambda row: float(row["value"]))
    config = load_config(out / "best.yaml")
    assert config.optim.lr == pytest.approx(float(best["optim.lr"]))
    assert (config.model.z_dim, config.data.batch_size) == (int(best["model.z_dim"]), int(best["data.batch_size"]))
    run = load_config(out / "trials" / f"{int(best['trial']):04d}" / "config.yaml")
    assert run == config  # what the trial really was
    with open(out / "trials" / f"{int(best['trial']):04d}" / "metrics.csv", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file) if row["split"] == "val"]
    assert float(best["value"]) == pytest.approx(min(losses), rel=1e-4)  # the file has six digits
    report = (out / "report.md").read_text()
    assert "7 trials" in report
    assert "What mattered" in report
    for name in ("curves.png", "importance.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--trials", "7"]) == 0  # nothing is left to be done
    assert trials(out) == rows


def test_trials_that_are_worse_than_others_end_early(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("optim.lr: [1.0e-3, 1.0e-7]\n")
    out = tmp_path / "out"
    assert main(["search", *SHORT, "--space", str(path), "--out", str(out), "--trials", "14"]) == 0
    rows = trials(out)
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert pruned
    assert {row["optim.lr"] for row in pruned} == {"1e-07"}
    assert load_config(out / "best.yaml").optim.lr == 1e-3
    assert "ended early" in (out / "report.md").read_text()


def test_its_time_may_be_limited(space, tmp_path, capsys):
    words = [
        "search",
        *SHORT,
        "--space",
        space,
        "--out",
        str(tmp_path / "out"),
        "--trials",
        "99",
        "--minutes",
        "1e-12",
    ]  # less than the clock tells
    assert main(words) == 0
    assert "No trial came to an end" in capsys.readouterr().out


def test_trials_that_fail_are_told_and_the_search_goes_on(tmp_path, capsys):
    path = tmp_path / "space.yaml"
    path.write_text("optim.lr: [1.0e-3, 1.0e+30]\n")
    out = tmp_path / "out"
    assert main(["search", *SHORT, "--space", str(path), "--out", str(out), "--trials", "6"]) == 0
    rows = trials(out)
    assert {(row["optim.lr"], row["state"]) for row in rows} == {("0.001", "complete"), ("1e+30", "fail")}
    assert all("Start again with a lower --optim.lr" in row["why"] for row in rows if row["state"] == "fail")
    assert "failed: the loss is" in capsys.readouterr().out


def test_what_is_not_the_values_fault_is_said_at_once(space, tmp_path, capsys):
    words = ["search", *SHORT, "--space", space, "--out", str(tmp_path / "out")]
    assert main([*words, "--data.store", str(tmp_path / "nowhere")]) == 2
    assert "there is no store in" in capsys.readouterr().err


def started(words: list[str], *more: str) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "stochvid", "search", *words, *more]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "database"])
def test_two_processes_share_a_storage(space, tmp_path, kind):
    storage = {"file": str(tmp_path / "study.log"), "database": f"sqlite:///{tmp_path / 'study.db'}"}[kind]
    words = [*SHORT, "--space", space, "--storage", storage, "--trials", "6"]
    main(["search", *words[:-1], "1", "--out", str(tmp_path / "first")])  # tables are made by one alone
    two = [started(words, "--out", str(tmp_path / name)) for name in ("one", "two")]
    for process in two:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    study = optuna.load_study(
        study_name="stochvid",
        storage=storage
        if kind == "database"
        else optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(storage)),
    )
    found = study.trials
    assert len(found) == 6
    assert len({json.dumps(trial.params) for trial in found}) > 3  # not the same, twice
    assert len({trial.user_attrs["process"] for trial in found}) >= 2
    logs = [log for name in ("first", "one", "two") for log in (tmp_path / name).glob("trials/*.log")]
    assert len(logs) == 6


@pytest.mark.slow
def test_a_trial_whose_process_was_killed_is_begun_again(space, tmp_path):
    out = tmp_path / "out"
    words = [*SHORT, "--space", space, "--out", str(out), "--trials", "2", "--trainer.max_steps", "100000"]
    process = started(words)
    end = time.monotonic() + 120
    while not (out / "trials" / "0000" / "metrics.csv").exists():
        assert time.monotonic() < end
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
    process.kill()
    process.communicate()
    shutil.rmtree(out / "trials")
    words[words.index("100000")] = "3"
    with pytest.raises(InputError, match=r"holds another search.*max_steps"):
        search(options(words))
    again = started([*words[:-1], "100000"])
    while not (out / "trials" / "0001" / "metrics.csv").exists():
        assert time.monotonic() < end
        assert again.poll() is None, again.stderr.read()
        time.sleep(0.2)
    again.send_signal(signal.SIGINT)
    said, error = again.communicate(timeout=100)
    assert again.returncode == 130, error
    assert "The same command goes on" in error
    assert said.startswith("0 of 2 trials")
    journal = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(out / "study.log")))
    found = optuna.load_study(study_name="stochvid", storage=journal).trials
    assert [trial.state.name for trial in found] == ["FAIL", "FAIL", "WAITING"]
    assert found[0].params == found[1].params == found[2].system_attrs["fixed_params"]


def options(words: list[str]) -> SearchOptions:
    from stochvid.cli.train import parse_train

    return parse_train(words, "search")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optim.lrr: [1, 2]", r"no field 'optim\.lrr'.*optim\.lr"),
        ("lr: [1, 2]", r"Did you mean optim\.lr"),
        ("model.family: [svg, svg-prime]", r"model\.family is the same in all trials"),
        ("optim.lr: 1e-3", "must be a list of values, or"),
        ("optim.lr: [1.0e-3]", "two or more different values"),
        ("optim.lr: [1.0e-3, 1.0e-3]", "two or more different values"),
        ("optim.lr: [1.0e-3, -1]", r"optim\.lr must be above 0"),
        ("optim.lr: {low: 2, high: 1}", "low below high"),
        ("optim.lr: {low: 0, high: 1, log: true}", "low above 0"),
        ("optim.lr: {low: 1, high: .inf}", "finite numbers"),
        ("optim.lr: {low: 1, high: 2, steps: 1}", "must be a list of values, or"),
        ("model.z_dim: {low: 2.5, high: 4}", "takes whole numbers alone"),
        ("data.batch_size: {low: 2, high: 5, step: 1.5}", "takes whole numbers alone"),
        ("model.prior: {low: 1, high: 2}", "no numbers: list its values"),
        ("model.image_size: {low: 32, high: 64}", "list those of model.image_size that work"),
        ("optim.warmup_steps: {low: 0.5, high: 10}", "list those of"),
        ("optim.lr: [1, 1.0]", "two or more different values"),
        ("optim.lr: {low: 1, high: 1" + 400 * "0" + "}", "finite numbers"),
        ("trainer.rollout_clips: [0, 2]", r"trainer\.rollout_clips is the same in all trials"),
        ("model.beta: [0.1, 0.2]", r"rollout_clips 0 trials are compared by their loss"),
        ("adversarial.alone: [true, false]", r"false without a weight"),
        ("model.z_dim: [2, [3]]", "two or more different values"),
        ("- a", "must hold fields and their values"),
        ("a: [", "not valid YAML"),
        ("", "must hold fields and their values"),
    ],
)
def test_spaces_that_are_none_are_refused(text, words, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_space(path, tiny())


def test_values_that_work_together_are_taken(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(
        "adversarial.alone: [true, false]\nadversarial.weight: [1e-3, 0.1]\noptim.lr: {low: 1e-4, high: 1}\n"
    )
    space = read_space(path, tiny(trainer={"rollout_clips": 2}))
    assert space["adversarial.weight"] == [0.001, 0.1]  # as a config reads 1e-3, which YAML takes for a text
    assert space["optim.lr"] == Range(1e-4, 1, False, None, False)


def test_a_space_is_what_its_file_says(space):
    assert read_space(space, tiny()) == {
        "optim.lr": Range(1e-4, 1e-1, True, None, False),
        "model.z_dim": [2, 3],
        "data.batch_size": Range(2, 4, False, 2, True),
    }
    changed = with_values(tiny(), {"optim.lr": 0.5, "model.z_dim": 7, "loss.kl_limit": 2.0})
    assert (changed.optim.lr, changed.model.z_dim, changed.loss.kl_limit) == (0.5, 7, 2.0)
    assert tiny().optim.lr != 0.5
    with pytest.raises(InputError, match="cannot be read"):
        read_space(space + "r", tiny())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--storage", "postgresql://nobody@127.0.0.1:1/none"], "cannot be reached or read"),
        (["--storage", "what://is-this"], "cannot be reached or read"),
        (["--storage", "/proc/nowhere/study.log"], "cannot be reached or read"),
        (["--trials", "0"], "--trials must be"),
        (["--minutes", "-1"], "--minutes must be"),
        (["--trainer.devices", "2"], "one process"),
        (["--resume", "auto"], "--resume"),
    ],
)
def test_what_cannot_be_searched_is_said(words, said, space, tmp_path, capsys):
    assert main(["search", *SHORT, "--space", space, "--out", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err


def test_a_search_needs_a_space_and_a_config(capsys):
    assert main(["search", *SHORT]) == 2
    assert "search needs --space FILE" in capsys.readouterr().err
    assert main(["search"]) == 2
    assert "search needs a config" in capsys.readouterr().err


def test_what_is_of_another_search_is_left_alone(space, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    words = ["search", *SHORT, "--space", space, "--out", str(out), "--trials", "1"]
    assert main(words) == 0
    report = (out / "report.md").read_text()
    assert main([*words, "--study", "other"]) == 2
    assert "holds the trials of another search" in capsys.readouterr().err
    assert main([*words, "--optim.beta1", "0.5"]) == 2
    assert "its --optim.beta1 is 0.9, not 0.5" in capsys.readouterr().err
    wider = tmp_path / "wider.yaml"
    wider.write_text(SPACE + "optim.beta2: [0.99, 0.999]\n")
    assert main([*words, "--space", str(wider)]) == 2
    assert "its space has optim.beta2 nothing, not [0.99, 0.999]" in capsys.readouterr().err
    assert (out / "report.md").read_text() == report
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--out", "out"]) == 0  # the same, called otherwise


def test_a_study_with_other_aims_is_refused(space, tmp_path, capsys):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=storage, study_name="stochvid", direction="maximize")
    words = ["search", *SHORT, "--space", space, "--out", str(tmp_path / "out"), "--storage", storage]
    assert main(words) == 2
    assert "to be maximised" in capsys.readouterr().err


def test_a_search_of_failures_alone_is_none(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("optim.lr: [1.0e+30, 1.0e+29]\n")
    words = ["search", *SHORT, "--space", str(path), "--out", str(tmp_path / "out"), "--trials", "1"]
    assert main(words) == 1


def test_a_journal_that_was_cut_short_is_said(space, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["search", *SHORT, "--space", space, "--out", str(out)]
    assert main([*words, "--trials", "1"]) == 0
    journal = out / "study.log"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert main([*words, "--trials", "2"]) == 2
    assert "storage" in capsys.readouterr().err


def test_a_file_that_is_no_storage_is_refused(space, tmp_path, capsys):
    path = tmp_path / "study.log"
    path.write_text("hello\n")
    assert main(["search", *SHORT, "--space", space, "--out", str(tmp_path / "o"), "--storage", str(path)]) == 2
    assert "cannot be reached or read" in capsys.readouterr().err
    assert path.read_text() == "hello\n"


def test_the_best_config_trains(space, tmp_path):
    out = tmp_path / "out"
    assert main(["search", *SHORT, "--space", space, "--out", str(out), "--trials", "1"]) == 0
    assert yaml.safe_load((out / "best.yaml").read_text())["model"]["image_size"] == 32
    assert main(["train", "--config", str(out / "best.yaml"), "--out", str(tmp_path / "run"), "--threads", "1"]) == 0
