"""ConvLSTM against its equations, step by step, and every command with it."""

import json
import shlex

import pytest
import torch

from convlstm_oracle import OracleConvLSTM, pairs
from runs import goes_on_exactly
from stochvid import ConvLSTMConfig, InputError
from stochvid.cli import main
from stochvid.config import load_config, shipped_configs
from tiny import close, make_clips, make_model, narrow_convlstm, noise_for

COMBINATIONS = [
    {},
    {"reconstruction": "mse", "channels": 3},
    {"widths": [3], "kernel": 5, "patch": 4},
    {"widths": [2, 5, 3], "context": 2, "horizon": 4},
    {"patch": 1, "kernel": 1, "widths": [2, 2]},
]


@pytest.mark.parametrize(
    ("widths", "published"), [([256], 13_524_496), ([128, 128], 10_042_896), ([128, 64, 64], 7_585_296)]
)
def test_it_has_as_many_weights_as_published(widths, published):
    """Shi et al. 2015, table 1: networks of one, two and three layers with 5×5 kernels."""
    with torch.device("meta"):
        model = ConvLSTMConfig(widths=widths).model_class()(ConvLSTMConfig(widths=widths))
    assert sum(p.numel() for p in model.parameters()) == published


@pytest.mark.parametrize("weight", [None, 7.0])
@pytest.mark.parametrize("changes", COMBINATIONS, ids=str)
def test_loss_and_every_gradient_equal_the_equations(changes, weight):
    model = make_model(narrow_convlstm(**changes))
    clips = make_clips(model.config, model.config.frames)
    clips[:, 1:, :, 8:] = clips[:, :1, :, 8:]  # most of it stays as it is
    noise = noise_for(model, range(2), 1, model.config.frames - 1)
    change_weight = None if weight is None else torch.tensor(weight)
    ((name, error),) = model.terms(clips, noise, change_weight=change_weight).items()
    oracle = OracleConvLSTM(model)
    wanted = oracle.error(clips, weight or 0.0)
    assert name == model.config.reconstruction
    torch.testing.assert_close(error, wanted, rtol=1e-10, atol=0)
    error.backward()
    wanted.backward()
    checked = set()
    for name, fast, plain, channels in pairs(model, oracle):
        gradient = plain.grad if channels is None else plain.grad[:, channels]
        torch.testing.assert_close(fast.grad, gradient, rtol=1e-6, atol=1e-9 * gradient.abs().max().item(), msg=name)
        assert gradient.abs().max() > 0, name
        checked.add(fast)
    assert checked == set(model.parameters())


@pytest.mark.parametrize("changes", COMBINATIONS, ids=str)
def test_rollouts_and_reconstructions_equal_the_equations(changes):
    model = make_model(narrow_convlstm(**changes))
    clips, oracle = make_clips(model.config, 5), OracleConvLSTM(model)
    with torch.no_grad():
        drawn = model.predict(clips[:, :3], 4, samples=2)
        wanted = torch.sigmoid(oracle.forecast(oracle.encoded(clips[:, :3]), 4))
        close(drawn.frames, wanted[:, None].expand_as(drawn.frames))
        seen = model.observe(clips)
        for t in range(1, 5):
            wanted = torch.sigmoid(oracle.forecast(oracle.encoded(clips[:, :t]), 1))
            close(seen.frames[:, 0, t - 1], wanted[:, 0])


def test_clips_and_futures_in_pieces_are_those_in_one():
    model = make_model(narrow_convlstm())
    clips = make_clips(model.config, 6)
    with torch.no_grad():
        whole = model.observe(clips)
        first = model.observe(clips[:, :2])
        then = model.observe(clips[:, 2:], state=first.state)
        close(torch.cat([first.frames, then.frames], 2), whole.frames)
        future, start = model.imagine(whole.state, 5), model.imagine(then.state, 2)
        close(torch.cat([start.frames, model.imagine(start.state, 3).frames], 2), future.frames)
        assert model.observe(clips[:, :1]).frames.shape == (2, 1, 0, 1, 32, 32)
        assert future.prior.mean.shape == (2, 1, 5, 0)


def test_bf16_draws_nearly_the_same():
    model = make_model(narrow_convlstm(), seed=2).float()
    clips = make_clips(model.config, 3).float()
    exact, fast = model.predict(clips, 4).frames, model.for_inference(torch.bfloat16).predict(clips, 4).frames
    assert not torch.equal(exact, fast)
    torch.testing.assert_close(fast, exact, rtol=0, atol=0.05)


@pytest.mark.parametrize("widths", [[], [0], [8, -1], [8, 2.5], [8, True], ["8"], [5000], [8] * 65])
def test_widths_are_whole_numbers(widths):
    with pytest.raises(InputError, match=r"model\.widths must be from 1 to 64 whole numbers from 1 to 4,096"):
        ConvLSTMConfig(widths=widths)


def test_the_configs_hold_the_values_of_the_paper():
    for name, given in (("mmnist-convlstm", 10), ("smmnist-convlstm", 5), ("kth-convlstm", 10)):
        model = load_config(shipped_configs()[name]).model
        assert (model.patch, model.kernel, model.widths) == (4, 5, [128, 64, 64])
        assert (model.context, model.horizon, model.image_size) == (given, 10, 64)
    data = load_config(shipped_configs()["mmnist-convlstm"]).data
    assert (data.deterministic, data.num_digits, data.batch_size) == (True, 2, 16)


SIZES = (
    "--model.image_size 32 --model.patch 8 --model.widths [4,4] --model.kernel 3 --model.context 3 --model.horizon 3"
)
DATA = "--data.num_digits 1 --data.digits builtin --data.batch_size 4 --data.val_clips 4"
TRAINER = "--trainer.max_steps 4 --trainer.validate_every 4 --trainer.checkpoint_every 2 --trainer.device cpu"


def test_every_command_knows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in (
        f"train --model.family convlstm {SIZES} {DATA} {TRAINER} --out run",
        "predict run moving-mnist:3 --samples 2 --out futures",
        "evaluate run --clips 2 --samples 2 --horizon 4 --out scores",
        "doctor run",
    ):
        assert main(shlex.split(line)) == 0
    assert main(["surprise", "run", "moving-mnist:3", "--length", "9"]) == 2
    assert "'run' is deterministic: it has no latents" in capsys.readouterr().err
    assert goes_on_exactly(tmp_path / "run", tmp_path / "copy", 4)
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert results["samples"]["diversity"]["mean"] == 0
