"""A family of models that this test adds is trained, resumed, saved, loaded, evaluated and drawn like the first one."""

import csv
import json

import pytest
import torch

import stochvid
from stochvid import SVG, DataConfig, InputError, TrainConfig, TrainerConfig
from stochvid.cli import main
from stochvid.config import load_config, read_yaml
from toy_family import Blur, BlurConfig

BLUR = ("--model.family", "blur", "--model.image_size", "32", "--model.reach", "2")
SMALL = (
    *("--data.batch_size", "2", "--data.val_clips", "2", "--trainer.device", "cpu", "--trainer.log_every", "1"),
    *("--trainer.rollout_clips", "0"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family") / "run"
    assert main(["train", *BLUR, *SMALL, "--trainer.max_steps", "3", "--out", str(folder)]) == 0
    return folder


def test_it_is_trained_by_its_own_terms(run):
    with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == ("step", "split", "loss", "l1", "kl", "lr", "clips_per_s")
    for row in rows:
        assert float(row["loss"]) == pytest.approx(float(row["l1"]) + 0.01 * float(row["kl"]), rel=1e-4)


def test_it_is_loaded_by_what_its_config_says(run):
    model = stochvid.load(run)
    assert type(model) is Blur
    assert json.loads((run / "model" / "config.json").read_text(encoding="utf-8"))["family"] == "blur"
    assert "blur" in (run / "model" / "README.md").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="of the family 'blur', not SVG"):
        SVG.from_pretrained(run)


def test_its_futures_have_latents_of_its_shape_and_do_not_depend_on_their_number(run):
    model = stochvid.load(run)
    context = torch.rand(2, 5, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    futures = model.predict(context, 4, 3)
    assert futures.latents.shape == (2, 3, 4, 1, 2, 2)
    torch.testing.assert_close(model.predict(context, 4, 1, first_sample=2).frames, futures.frames[:, 2:])
    assert not torch.equal(futures.frames[:, 0], futures.frames[:, 1])


def test_a_run_of_it_goes_on_exactly(run, tmp_path):
    assert main(["train", *BLUR, *SMALL, "--trainer.max_steps", "1", "--out", str(tmp_path / "r")]) == 0
    assert main(["train", "--resume", str(tmp_path / "r"), "--trainer.max_steps", "3"]) == 0
    for name, weights in stochvid.load(tmp_path / "r").state_dict().items():
        assert torch.equal(weights, stochvid.load(run).state_dict()[name])


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "RUN", "moving-mnist:1", "--samples", "2", "--horizon", "3"],
        ["surprise", "RUN", "moving-mnist:1", "--length", "8"],
        ["evaluate", "RUN", "--clips", "2", "--samples", "2", "--horizon", "3"],
        ["uncertainty", "RUN", "--clips", "8", "--length", "12"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_takes_it(run, tmp_path, words):
    words = [str(run) if word == "RUN" else word for word in words]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0


def test_options_of_another_family_are_refused_by_its_name(tmp_path, capsys):
    assert main(["train", "--model.family", "blur", "--model.rnn_size", "3", "--out", str(tmp_path / "x")]) == 2
    assert "It is of the families svg, sprites and svg-prime: add --model.family svg," in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text("model:\n  family: svg\n  reach: 3\n", encoding="utf-8")
    with pytest.raises(
        InputError, match="'reach' of the families sprites and blur, but the model is of the family 'svg'"
    ):
        read_yaml(tmp_path / "c.yaml")
    assert main(["train", "--model.family", "blurr"]) == 2
    assert "no family of models 'blurr'. Did you mean blur" in capsys.readouterr().err


def test_help_shows_the_fields_of_the_family_that_was_chosen(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--model.family", "blur", "--help"])
    text = capsys.readouterr().out
    assert "--model.reach" in text
    assert "--model.z_dim" not in text


def test_weights_of_another_family_are_no_start(run, tmp_path, capsys):
    small = ["--model.image_size", "32", "--model.base_channels", "2", "--out", str(tmp_path / "x")]
    assert main(["train", *small, "--init", str(run)]) == 2
    assert "blur" in capsys.readouterr().err


def test_the_config_of_all_families_together_is_none():
    with pytest.raises(TypeError):
        stochvid.ModelConfig()


def test_a_config_file_brings_its_family_back(tmp_path):
    config = TrainConfig(BlurConfig(reach=3), DataConfig(batch_size=2), trainer=TrainerConfig(max_steps=1))
    (tmp_path / "c.yaml").write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml") == config
    assert type(load_config(tmp_path / "c.yaml").model) is BlurConfig
