"""A card says what a model is, what it was trained on, how good it is and how to make it again, and travels along."""

import json

import pytest
import torch
from huggingface_hub import ModelCard

from runs import tiny
from stochvid import SVG, InputError
from stochvid.cli import main
from stochvid.evaluation.evaluate import evaluate
from stochvid.evaluation.model_card import write_card
from stochvid.training.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "mine"
    train(tiny(4), folder)
    return folder


@pytest.fixture(scope="module")
def evaluation(run):
    out = run.parent / "evaluation"
    evaluate(str(run), out, clips=3, samples=4)
    return out


def test_a_trained_model_has_a_card_with_task_data_and_command(run):
    card = ModelCard.load(run / "model" / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("stochvid", "video-to-video")
    for words in (
        "# mine\n",
        "(SVG-LP)",
        "| task | video prediction, trained on 2 → 2 frames |",
        "| frames | 32×32, grey |",
        "| trained on | Moving MNIST, rules of svg2018, 1 digit(s) (builtin) |",
        "after 4 steps |",
        f"thread(s), {torch.backends.cpu.get_cpu_capability()}",
        "None yet: `stochvid evaluate",
        "stochvid train --config training.yaml",
    ):
        assert words in card.text, words


def test_the_command_in_the_card_trains_the_same_model(run, tmp_path):
    assert main(["train", "--config", str(run / "model" / "training.yaml"), "--out", str(tmp_path / "again")]) == 0
    one, two = (folder / "model" / "model.safetensors" for folder in (run, tmp_path / "again"))
    assert one.read_bytes() == two.read_bytes()


def test_numbers_of_evaluations_come_into_the_card_and_its_head(run, evaluation, capsys):
    assert main(["card", str(run), str(evaluation)]) == 0
    assert capsys.readouterr().out == f"{run / 'model' / 'README.md'}\n"
    card, results = ModelCard.load(run / "model" / "README.md"), json.loads((evaluation / "results.json").read_text())
    psnr, ssim = card.data.eval_results
    assert psnr.metric_value == pytest.approx(results["metrics"]["psnr"]["best"]["mean"], abs=1e-4)
    assert ssim.metric_name == "SSIM, best of 4, srvp2020, 2 → 4 frames"
    assert "best of 4" in card.text
    assert "None yet" not in card.text
    text = card.text.replace("## Limits", "## Mine\n\nA word of mine.\n\n## Limits")
    (run / "model" / "README.md").write_text(f"---\n{card.data.to_yaml()}\n---\n{text}")
    assert main(["card", str(run), str(evaluation), str(evaluation)]) == 0
    again = ModelCard.load(run / "model" / "README.md")
    assert again.text.count("best of 4 by each metric") == 2
    assert "A word of mine." in again.text
    assert "## Limits" in again.text


def test_a_card_without_a_place_for_numbers_gets_one(run, evaluation):
    readme = run / "best" / "README.md"
    readme.write_text("---\nlicense: mit\n---\n# A card of mine\n")
    write_card(str(run / "best"), [evaluation])  # the last validation was the best
    card = ModelCard.load(readme)
    assert card.data.license == "mit"
    assert card.text.index("# A card of mine") < card.text.index("## Numbers") < card.text.index("best of 4")
    readme.write_text("---\n: [\n---\n")
    with pytest.raises(InputError, match=r"is not a model card: .* Delete it for a new one"):
        write_card(str(run / "best"), [evaluation])


def test_a_card_stays_with_its_model_when_that_is_saved_or_pushed(run, evaluation, tmp_path, monkeypatch):
    write_card(str(run), [evaluation])
    model = SVG.from_pretrained(run)
    pushed = {}

    class Hub:
        """What the mixin asks of the Hub, which is not here."""

        def __init__(self, token):
            pass

        def create_repo(self, repo_id, **_):
            return type("Repository", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id, folder_path, **_):
            pushed.update({path.name: path.read_bytes() for path in folder_path.iterdir()})
            return f"https://hub/{repo_id}"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    assert model.push_to_hub("me/mine") == "https://hub/me/mine"
    assert sorted(pushed) == ["README.md", "config.json", "model.safetensors", "training.yaml"]
    model.save_pretrained(tmp_path / "copy")
    for name, content in pushed.items():
        assert (run / "model" / name).read_bytes() == content, name
        assert (tmp_path / "copy" / name).read_bytes() == content, name
    assert b"best of 4 by each metric" in pushed["README.md"]


def test_an_evaluation_of_other_weights_is_refused(run, evaluation, tmp_path):
    train(tiny(2), tmp_path / "other")
    with pytest.raises(InputError, match="whose weights are not those of"):
        write_card(str(tmp_path / "other"), [evaluation])
    with pytest.raises(InputError, match="there is not a folder 'owner/name' here"):
        write_card("owner/name", [])
