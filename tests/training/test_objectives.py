"""What is minimised; and an objective with an optimiser of its own: saved, resumed exactly, on two processes."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from paths import TESTS
from runs import tiny
from stochvid import InputError, TrainConfig
from stochvid.config import LossConfig
from stochvid.core.clips import Clips
from stochvid.models.noise import latent_noise
from stochvid.training.module import make_objective
from stochvid.training.objectives import WeightedTerms
from stochvid.training.train import train
from tiny import close, make_clips, make_model, narrow_prime
from toy_objective import Critic


def short(steps: int) -> TrainConfig:
    each = {"checkpoint_every": 1, "keep_checkpoints": 9, "sample_clips": 0, "precision": "fp32"}
    return tiny(steps, data={"val_clips": 4}, trainer=each)


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
    train(short(4), folder, objective=critic(short(4)))
    return folder


def test_its_terms_are_columns_of_the_metrics(whole):
    with open(whole / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "split", "loss", "mse", "kl", "critic", "lr", "clips_per_s"]
    assert {float(row["critic"]) > 0 for row in rows} == {True}


def test_its_own_network_learns_and_is_no_part_of_the_model(whole):
    first, last = state(whole, 1), state(whole, 4)
    assert not torch.equal(first["objective.net.weight"], last["objective.net.weight"])
    assert last["critic.0.step"] == 4
    assert b"objective" not in (whole / "model" / "model.safetensors").read_bytes()


def test_a_run_that_was_killed_goes_on_with_it_exactly(whole, tmp_path):
    train(short(2), tmp_path / "run", objective=critic(short(2)))
    other = Critic(short(4).model.term_weights)  # begins elsewhere: all that counts is in the checkpoint
    train(short(4), tmp_path / "run", resume=True, objective=other)
    one, two = state(whole, 4), state(tmp_path / "run", 4)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_without_it_is_no_run_of_it(tmp_path):
    train(short(1), tmp_path / "run")
    with pytest.raises(InputError, match="no checkpoint to continue from"):
        train(short(2), tmp_path / "run", resume=True, objective=critic(short(2)))


TWO = """
import sys
import torch
from stochvid import load_config
from stochvid.training.train import train
from toy_objective import Critic
config = load_config(sys.argv[2])
config.trainer.devices = int(sys.argv[3])
torch.manual_seed(1)
train(config, sys.argv[1], objective=Critic(config.model.term_weights))
"""


@pytest.mark.slow
def test_two_processes_agree_on_its_weights_and_learn_what_one_does(tmp_path):
    (tmp_path / "two.py").write_text(TWO, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(short(3).to_yaml(), encoding="utf-8")
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}",
    }
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    for count in ("1", "2"):
        words = [*launch, count, str(tmp_path / "two.py"), str(tmp_path / count), str(tmp_path / "config.yaml"), count]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr
    one, two = state(tmp_path / "1", 1), state(tmp_path / "2", 1)
    torch.testing.assert_close(two["objective.net.weight"], one["objective.net.weight"], rtol=1e-5, atol=1e-6)
    assert not torch.equal(state(tmp_path / "2", 3)["objective.net.weight"], two["objective.net.weight"])


@pytest.mark.parametrize(("step", "warmth", "fed"), [(0, 0.25, False), (2, 0.75, False), (5, 1, True), (9, 1, True)])
def test_kl_is_warmed_up_and_frames_are_fed_back_from_a_step_on(step, warmth, fed):
    model = make_model(narrow_prime())
    objective = WeightedTerms(model.config.term_weights, LossConfig(kl_warmup_steps=4, feed_back=0.5), max_steps=10)
    clips = make_clips(model.config, model.config.frames)
    noise = latent_noise(0, range(2), 1, model.config.frames - 1, model.latent_shape).double()
    objective.before_step(step)
    found = objective(model, Clips(clips), noise)
    terms = model.terms(clips, noise, feed_back=fed)
    steps, beta = model.config.frames - 1, model.config.beta
    close(found["loss"], steps * (terms["l1"] + warmth * beta * terms["kl"]))
    assert found["kl"] == terms["kl"]


def test_what_moves_counts_less_and_less():
    model = make_model(narrow_prime())
    clips = make_clips(model.config, model.config.frames)
    noise = latent_noise(0, range(2), 1, model.config.frames - 1, model.latent_shape).double()
    objective = WeightedTerms(model.config.term_weights, LossConfig(change_weight=8.0), 10, change_weight=8.0)
    for step, weight in ((0, 8.0), (4, 4.0), (8, 0.8), (10, 0.8)):
        objective.before_step(step)
        found = objective(model, Clips(clips), noise)["l1"]
        close(found, model.terms(clips, noise, change_weight=torch.tensor(weight).double())["l1"])


def test_the_weight_of_what_moves_follows_from_the_clips():
    config = tiny(1, loss={"change_weight": "auto"})
    assert make_objective(config, 0.2).most_change == pytest.approx(4)
    assert make_objective(config, 0.001).most_change == make_objective(config, 0.0).most_change == 50


def test_latents_become_dearer_until_they_carry_no_more_than_they_may(tmp_path):
    model = make_model(narrow_prime(beta=1e-4))
    clips = make_clips(model.config, model.config.frames)
    noise = latent_noise(0, range(2), 1, model.config.frames - 1, model.latent_shape).double()
    kl = model.terms(clips, noise)["kl"].item()
    above = WeightedTerms(model.config.term_weights, LossConfig(kl_limit=kl / 1.5))
    for step in range(3):
        found = above(model, Clips(clips), noise)
        assert found["beta"].item() == pytest.approx(1e-4 * np.exp(0.025 * step), rel=1e-5)
        torch.testing.assert_close(found["loss"] / 5, found["l1"] + found["beta"] * found["kl"], rtol=1e-5, atol=0)
        above.after_step(model, Clips(clips))
    below = WeightedTerms(model.config.term_weights, LossConfig(kl_limit=2 * kl))
    below(model, Clips(clips), noise)
    below.after_step(model, Clips(clips))
    assert below(model, Clips(clips), noise)["beta"] == pytest.approx(1e-4)  # never cheaper than the model's own


def test_a_run_with_a_limit_of_nats_has_its_beta_in_the_metrics_and_resumes_exactly(tmp_path):
    def config(steps: int) -> TrainConfig:
        each = {"checkpoint_every": 1, "log_every": 1, "sample_clips": 0, "precision": "fp32", "validate_every": 9}
        return tiny(steps, trainer=each, loss={"kl_limit": 1e-6, "change_weight": "auto"})

    train(config(4), tmp_path / "whole")
    train(config(2), tmp_path / "run")
    train(config(4), tmp_path / "run", resume=True)
    with open(tmp_path / "whole" / "metrics.csv", newline="", encoding="utf-8") as file:
        betas = [float(row["beta"]) for row in csv.DictReader(file) if row["split"] == "train"]
    assert betas == pytest.approx([1e-4 * np.exp(0.05 * step) for step in range(4)], rel=1e-5)
    one, two = state(tmp_path / "whole", 4), state(tmp_path / "run", 4)
    assert one.keys() == two.keys()
    assert torch.equal(one["objective.dearer"], two["objective.dearer"])
