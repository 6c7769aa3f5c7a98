"""An objective with an optimiser of its own: saved, resumed exactly, and the same on two processes."""

import csv
import os
import subprocess
import sys

import pytest
import torch

from paths import ROOT
from stochvid import DataConfig, InputError, SVGConfig, TrainConfig, TrainerConfig
from stochvid.training.train import train
from toy_objective import Critic


def tiny(steps: int, **trainer) -> TrainConfig:
    model = SVGConfig(image_size=32, base_channels=2, g_dim=6, z_dim=2, rnn_size=6, context=2, horizon=2)
    every = {"log_every": 1, "validate_every": 4, "checkpoint_every": 1, "keep_checkpoints": 9, "sample_clips": 0}
    trainer = TrainerConfig(max_steps=steps, device="cpu", precision="fp32", **every | trainer)
    return TrainConfig(model, DataConfig(num_digits=1, batch_size=4, val_clips=4), trainer=trainer)


def critic(config: TrainConfig) -> Critic:
    torch.manual_seed(1)
    return Critic(config.model.term_weights)


def state(run, step: int) -> dict[str, torch.Tensor]:
    """Every number of a checkpoint: weights, the optimiser's, and the objective's optimiser's."""
    held = torch.load(run / "checkpoints" / f"step-{step:08d}.ckpt", weights_only=True)
    adams = {"model": held["optimizer_states"][0], **held["objective"]}
    moments = {
        f"{name}.{i}.{key}": value
        for name, adam in adams.items()
        for i, slots in adam["state"].items()
        for key, value in slots.items()
    }
    return held["state_dict"] | moments


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objective") / "whole"
    train(tiny(4), folder, objective=critic(tiny(4)))
    return folder


def test_its_terms_are_columns_of_the_metrics(whole):
    with open(whole / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == ("step", "split", "loss", "mse", "kl", "critic", "lr", "clips_per_s")
    assert {float(row["critic"]) > 0 for row in rows} == {True}


def test_its_own_network_learns_and_is_no_part_of_the_model(whole):
    first, last = state(whole, 1), state(whole, 4)
    assert not torch.equal(first["objective.net.weight"], last["objective.net.weight"])
    assert last["critic.0.step"] == 4
    assert b"objective" not in (whole / "model" / "model.safetensors").read_bytes()


def test_a_run_that_was_killed_goes_on_with_it_exactly(whole, tmp_path):
    train(tiny(2), tmp_path / "run", objective=critic(tiny(2)))
    other = Critic(tiny(4).model.term_weights)  # begins elsewhere: all that counts is in the checkpoint
    train(tiny(4), tmp_path / "run", resume=True, objective=other)
    one, two = state(whole, 4), state(tmp_path / "run", 4)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_without_it_is_no_run_of_it(tmp_path):
    train(tiny(1), tmp_path / "run")
    with pytest.raises(InputError, match="no checkpoint to continue from"):
        train(tiny(2), tmp_path / "run", resume=True, objective=critic(tiny(2)))


TWO = """
import sys
from test_objectives import critic, tiny
from stochvid.training.train import train
config = tiny(3, devices=int(sys.argv[2]))
train(config, sys.argv[1], objective=critic(config))
"""


@pytest.mark.slow
def test_two_processes_agree_on_its_weights_and_learn_what_one_does(tmp_path):
    (tmp_path / "two.py").write_text(TWO, encoding="utf-8")
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'tests' / 'training'}:{os.environ.get('PYTHONPATH', '')}",
    }
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    for count in ("1", "2"):
        words = [*launch, count, str(tmp_path / "two.py"), str(tmp_path / count), count]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr
    one, two = state(tmp_path / "1", 1), state(tmp_path / "2", 1)
    torch.testing.assert_close(two["objective.net.weight"], one["objective.net.weight"], rtol=1e-5, atol=1e-6)
    assert not torch.equal(state(tmp_path / "2", 3)["objective.net.weight"], two["objective.net.weight"])
