"""Adversarial training: what each side minimises, in float64 against its formula; resumed exactly, on two processes."""

import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from paths import TESTS
from runs import rows, same_weights, tiny
from stochvid import InputError, TrainConfig
from stochvid.cli import main
from stochvid.config import AdversarialConfig, LossConfig, load_config, shipped_configs
from stochvid.core.clips import Clips
from stochvid.models.discriminator import VideoDiscriminator
from stochvid.training.adversarial import PATIENCE, Adversarial, rollout
from stochvid.training.module import make_objective
from stochvid.training.objectives import Diverged
from stochvid.training.runs import Run
from stochvid.training.train import train
from tiny import close, make_clips, make_model, narrow, narrow_convlstm, narrow_prime, narrow_sprites, noise_for

FAMILIES = {
    "svg": narrow, "fixed": lambda: narrow(prior="fixed", context_latent="mean"), "det": lambda: narrow(prior="none"),
    "svg-prime": lambda: narrow_prime(future_skip="mean", norm="group"), "composed": lambda: narrow_prime(
        output="composed", norm="group"
    ),
    "sprites": narrow_sprites, "convlstm": narrow_convlstm,
}  # fmt: skip


def made(family: str, **changes) -> tuple:
    """A model, its objective in float64, clips and noise."""
    model = make_model(FAMILIES[family]())
    config = TrainConfig(model=model.config, adversarial=AdversarialConfig(**{"weight": 0.3, "channels": 2} | changes))
    torch.manual_seed(5)
    objective = make_objective(config).double()
    objective.before_step(0)
    clips = make_clips(model.config, model.config.frames)
    return model, objective, Clips(clips), noise_for(model, range(2), 1, model.config.frames - 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rollout_is_what_the_model_predicts_with_that_noise(family):
    model, _, clips, noise = made(family)
    known = model.config.context
    drawn = rollout(model, clips, noise)
    wanted = model.predict(clips.frames[:, :known], model.config.horizon, seed=0, clip_ids=[0, 1]).frames[:, 0]
    torch.testing.assert_close(drawn, wanted, rtol=1e-8, atol=1e-10)


def scores(objective: Adversarial, clips: torch.Tensor) -> torch.Tensor:
    """What the discriminator says, by its layers' weights and nothing else."""
    x = clips.transpose(1, 2)
    for i, layer in enumerate(objective.discriminator.layers):
        stride = (1 if i == 0 else 2, 2, 2)
        x = nn.functional.conv3d(x, layer.weight.detach(), layer.bias.detach(), stride, (1, 1, 1))
        x = torch.where(x > 0, x, 0.1 * x)
    head = objective.discriminator.head
    return nn.functional.conv3d(x, head.weight.detach(), head.bias.detach()).flatten(1)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("loss", ["hinge", "least_squares"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_minimises_its_terms_and_what_is_said_of_its_futures(family, loss, alone):
    model, objective, clips, noise = made(family, loss=loss, alone=alone)
    objective.eval()  # weights stay as they are normalised now
    known, steps = model.config.context, model.config.frames - 1
    drawn = rollout(model, clips, noise)
    said = scores(objective, torch.cat([clips.frames[:, :known], drawn], 1))
    said = -said.mean() if loss == "hinge" else ((said - 1) ** 2).mean()
    if alone:
        future = clips.frames[:, known:]
        error = {
            "mse": (drawn - future).square().mean(), "l1": (drawn - future).abs().mean(),
            "bce": nn.functional.binary_cross_entropy(drawn, future),
        }[model.config.error]  # fmt: skip
        wanted = steps * (error + 0.3 * said)
    else:
        terms = model.terms(clips, noise)
        wanted = steps * (sum(w * terms[name] for name, w in model.config.term_weights.items()) + 0.3 * said)
    found = objective(model, clips, noise)
    assert set(found) == {"loss", *objective.columns}
    assert ("kl" in found) == (not alone and "kl" in model.config.term_weights)
    close(found["loss"], wanted)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    one, two = (torch.autograd.grad(x, weights, allow_unused=True) for x in (found["loss"], wanted))
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in one)
    for a, b in zip(one, two, strict=True):
        if b is None:
            assert a is None or not a.any()
        else:
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-12)
    assert all(weight.grad is None for weight in objective.discriminator.parameters())


@pytest.mark.parametrize("loss", ["hinge", "least_squares"])
def test_the_discriminator_minimises_its_own_loss_and_leaves_the_model_alone(loss):
    model, objective, clips, noise = made("svg-prime", loss=loss)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    known = model.config.context
    objective.train().discriminator.eval()  # weights stay as they are normalised now
    objective(model, clips, noise)["loss"].backward()
    futures = objective.made.clone()
    close(futures, torch.cat([clips.frames[:, :known], rollout(model, clips, noise).detach()], 1))
    model.zero_grad()
    objective.after_step(model, clips)
    gradients = [weight.grad.clone() for weight in objective.discriminator.parameters()]
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    other = made("svg-prime", loss=loss)[1].eval().discriminator  # as it was before its step
    true, false = (other(x) for x in (clips.frames, futures))
    if loss == "hinge":
        wanted = nn.functional.relu(1 - true).mean() + nn.functional.relu(1 + false).mean()
    else:
        wanted = ((true - 1) ** 2).mean() + (false**2).mean()
    assert objective.last.item() == pytest.approx(wanted.item(), rel=1e-5)  # kept in single precision
    wanted.backward()
    for weight, gradient in zip(other.parameters(), gradients, strict=True):
        close(weight.grad, gradient)


def test_no_layer_of_the_discriminator_stretches_anything():
    torch.manual_seed(0)
    discriminator = VideoDiscriminator(3, 64, 4).double().train()
    clip = torch.rand(1, 5, 3, 64, 64, dtype=torch.float64)
    for _ in range(200):
        discriminator(clip)
    for layer in (*discriminator.eval().layers, discriminator.head):
        assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1, rel=1e-3)
    with discriminator.normalised():
        close(discriminator(clip), discriminator(clip))
    assert discriminator(torch.rand(2, 3, 3, 64, 64).double()).shape == (2, 1)
    assert VideoDiscriminator(1, 32, 2)(torch.rand(2, 15, 1, 32, 32)).shape[0] == 2


def config(length: int, **adversarial) -> TrainConfig:
    each = {"checkpoint_every": 1, "keep_checkpoints": 9, "sample_clips": 0, "validate_every": 2}
    return tiny(
        length, model={"horizon": 3}, data={"val_clips": 4}, trainer=each,
        adversarial={"weight": 0.01, "channels": 2} | adversarial,
    )  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"alone": True, "steps": 2, "loss": "least_squares"}, {"start": 0.5}], ids=str)
def test_a_run_that_was_stopped_goes_on_exactly(changes, tmp_path):
    train(config(4, **changes), tmp_path / "whole")
    train(config(2, **changes), tmp_path / "run")
    train(config(4, **changes), tmp_path / "run", resume=True)
    if "start" not in changes:  # which is a fraction of the run's length
        assert same_weights(tmp_path / "whole", tmp_path / "run")
    one, two = (torch.load(Run(tmp_path / run).checkpoint_at(4), weights_only=True) for run in ("whole", "run"))
    if "start" not in changes:
        assert all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())
    done = {state["step"].item() for state in one["objective"]["discriminator"]["state"].values()}
    assert done == {2 if "start" in changes else 4 * changes.get("steps", 1)}
    whole, parts = (
        [{k: v for k, v in row.items() if k != "clips_per_s"} for row in rows(tmp_path / run, "train")]
        for run in ("whole", "run")
    )
    assert whole == parts or "start" in changes
    names = set(whole[0])
    assert {"adversarial", "discriminator"} <= names
    assert ("kl" in names) == (not changes.get("alone"))
    said = [float(row["discriminator"]) for row in rows(tmp_path / "whole", "train")]
    assert said[-1] > 0
    assert (said[0] == 0) == (said[1] == 0) or "start" not in changes
    assert float(rows(tmp_path / "whole", "val")[-1]["discriminator"]) > 0


def test_a_run_without_a_discriminator_is_no_run_with_one(tmp_path):
    plain = config(2)
    plain.adversarial = AdversarialConfig()
    train(plain, tmp_path / "run")
    with pytest.raises(InputError, match=r"adversarial\.weight is None in the run, but 0\.01 was given"):
        train(config(4), tmp_path / "run", resume=True)


class Sure(nn.Module):
    """A discriminator that knows: clips that are this one are true."""

    def __init__(self, like: VideoDiscriminator, slope: float):
        super().__init__()
        self.inner, self.slope = like, slope

    def forward(self, clips):
        said = self.slope * (clips.mean((1, 2, 3, 4)) - 0.5)[:, None]
        return said + 0 * self.inner(clips)

    def at_rest(self):
        return self.inner.at_rest()

    def normalised(self):
        return self.inner.normalised()


@pytest.mark.parametrize(("slope", "words"), [(1e4, "the discriminator has won"), (0.0, "gets no gradient")])
def test_who_has_nothing_to_learn_for_long_ends_the_run(slope, words):
    model, objective, clips, noise = made("svg")
    objective.discriminator = Sure(objective.discriminator, slope)
    objective.adam = torch.optim.SGD(objective.discriminator.parameters(), lr=0.0)
    white = Clips(torch.ones_like(clips.frames))
    model.decoder.requires_grad_(True)

    def step() -> None:
        objective.train()(model, white, noise)["loss"].backward()
        objective.made = torch.zeros_like(white.frames)  # black
        objective.after_step(model, white)

    step()
    assert objective.lost.tolist() == [1.0 * (slope > 0), 1.0 * (slope == 0)]
    objective.lost *= PATIENCE - 2
    step()
    with pytest.raises(Diverged, match=words):
        step()


def test_its_state_of_having_won_is_in_checkpoints():
    _, objective, _, _ = made("svg")
    assert "lost" in objective.state_dict()


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"adversarial": {"weight": 0.0}}, "adversarial.weight must be above 0"),
        ({"adversarial": {"alone": True}}, "adversarial.alone must be false without a weight"),
        ({"model": {"context": 1, "horizon": 1}, "adversarial": {"weight": 1.0}}, "3 or more, as long as the"),
        ({"adversarial": {"weight": 1.0}, "trainer": {"compile": True}}, "trainer.compile must be false"),
        ({"adversarial": {"weight": 1.0, "alone": True}, "loss": {"kl_limit": 3.0}}, "loss.kl_limit must be null"),
        ({"adversarial": {"weight": 1.0, "loss": "softmax"}}, "adversarial.loss must be one of"),
        ({"adversarial": {"weight": math.nan}}, "adversarial.weight must be"),
        ({"loss": {"reconstruction": 0.0}, "model": {"beta": 0.0}}, "loss.reconstruction must be above 0"),
        ({"loss": {"reconstruction": 0.0}, "model": {"prior": "none"}}, "loss.reconstruction must be above 0"),
        ({"loss": {"kl_limit": 2.0}, "model": {"prior": "none"}}, "null for a model without latents"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(groups, words):
    with pytest.raises(InputError, match=words):
        tiny(2, **groups)


def test_the_command_line_refuses_them_too(tmp_path, capsys):
    words = ["--adversarial.weight", "1", "--model.context", "1", "--model.horizon", "1"]
    assert main(["train", "--config", "laptop", *words, "--out", str(tmp_path / "run")]) == 2
    assert "model.context + model.horizon must be 3 or more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [name for name in shipped_configs() if "adversarial" in name or "gan" in name])
def test_shipped_configs_have_a_discriminator(name):
    config = load_config(shipped_configs()[name])
    assert config.adversarial.weight > 0
    assert config.adversarial.alone == ("gan" in name)


TWO = """
import sys
from stochvid import load_config
from stochvid.training.train import train
config = load_config(sys.argv[2])
config.trainer.devices = int(sys.argv[3])
train(config, sys.argv[1])
"""


@pytest.mark.slow
def test_two_processes_agree_on_the_discriminator_and_learn_what_one_does(tmp_path):
    each = {"norm": "group", "family": "svg-prime"}
    model = narrow_prime(**each | {"context": 2})
    run = config(3)
    run = TrainConfig(model, run.data, run.optim, run.trainer, LossConfig(), run.adversarial)
    run.trainer.precision, run.data.batch_size = "fp32", 4
    (tmp_path / "two.py").write_text(TWO, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(run.to_yaml(), encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    held = {}
    for count in ("1", "2"):
        words = [*launch, count, str(tmp_path / "two.py"), str(tmp_path / count), str(tmp_path / "config.yaml"), count]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr
        held[count] = torch.load(Run(tmp_path / count).checkpoint_at(1), weights_only=True)["state_dict"]
    for name in (name for name in held["1"] if "discriminator" in name and "original" in name):
        torch.testing.assert_close(held["2"][name], held["1"][name], rtol=1e-3, atol=2e-5)
    rows_of = {count: rows(tmp_path / count, "train") for count in ("1", "2")}
    for one, two in zip(rows_of["1"], rows_of["2"], strict=True):
        assert float(one["adversarial"]) == pytest.approx(float(two["adversarial"]), rel=1e-2, abs=1e-3)
