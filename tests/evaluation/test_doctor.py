"""What is found to be wrong: of numbers, of clips, of runs made to fail; and nothing where nothing is."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from runs import tiny
from stochvid.cli import main
from stochvid.config import HEALTH, shipped_models
from stochvid.core.clips import Clips
from stochvid.data.motion import Motion, changes
from stochvid.evaluation.doctor import doctor
from stochvid.evaluation.findings import data_findings, findings, unlike
from stochvid.evaluation.forecasters import Baseline
from stochvid.evaluation.health import Given, Health
from stochvid.evaluation.metrics.frames import psnr
from stochvid.evaluation.metrics.samples import crps, diversity
from stochvid.evaluation.rollouts import RolloutScores
from stochvid.training.train import train
from tiny import made_store, make_clips, make_model, narrow, narrow_convlstm, narrow_prime, narrow_sprites

WELL = RolloutScores(
    psnr_best=24.0, psnr=22.0, psnr_copy=20.0, psnr_mean=19.0, crps=0.01, crps_copy=0.02, crps_mean=0.03,
    diversity=0.9, sharpness=0.95, sharpness_first=1.0, sharpness_last=0.9,
)  # fmt: skip
MOVES = Motion(changing=0.05, moving=60.0, contrast=255, scenes=1)
HEALTHY = Health(WELL, 16, 8, 20, 4.0, 3, 8, MOVES, [Given(2.0, 0.001), Given(3.0, 0.002)])


def sick(**scores: float) -> Health:
    return dataclasses.replace(HEALTHY, rollouts=dataclasses.replace(WELL, **scores))


def names(found) -> list[str]:
    return [finding.name for finding in found]


def test_nothing_is_said_of_a_healthy_model():
    assert findings(HEALTHY, tiny(2)) == []


@pytest.mark.parametrize(
    ("health", "name", "number"),
    [
        (dataclasses.replace(HEALTHY, nats=0.003, active=0), "latents-unused", "0.003 nats"),
        (sick(diversity=0.08), "alike", "8%"),
        (sick(crps=0.03), "below-copy-last", "0.03, that of copy-last 0.02"),
        (sick(sharpness_last=4.3), "exploding", "from 1 to 4.3"),
        (sick(sharpness_last=0.31), "soft", "0.31"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_is_named_with_its_number_and_what_to_try(health, name, number):
    (found,) = findings(health, tiny(2), folder="runs/mine")
    assert found.name == name
    assert number in found.text
    assert "stochvid train" in found.fix
    assert "runs/mine" in found.fix


def test_a_run_that_got_worse_on_held_out_clips_has_learned_by_heart():
    losses = [0.5, 0.2, 0.24, 0.3]
    rows = [{"split": "val", "step": str(10 * i), "loss": str(loss)} for i, loss in enumerate(losses)]
    (found,) = findings(HEALTHY, tiny(2), rows, "runs/mine")
    assert (found.name, "0.2 at step 10 " in found.text, "runs/mine/best" in found.fix) == ("overfitted", True, True)
    assert findings(HEALTHY, tiny(2), rows[:3]) == []


def clips_of(draw, count=8, length=6, size=64) -> np.ndarray:
    """Grey clips (B, T, 1, H, W) of a picture that is drawn for every clip and frame."""
    frames = np.zeros((count, length, 1, size, size), np.uint8)
    for i in range(count):
        for t in range(length):
            draw(frames[i, t, 0], i, t)
    return frames


def dot(frame, i, t, side=2):
    frame[10 + 5 * t : 10 + 5 * t + side, 20 + i : 20 + i + side] = 200


def test_what_moves_is_measured_by_hand():
    motion = Motion.of(clips_of(dot))
    assert motion.changing == pytest.approx(8 / 64**2)
    assert (motion.moving, motion.contrast, motion.scenes) == (4, 200, 1)
    faint = clips_of(lambda frame, i, t: frame.__setitem__((t, 0), 12))  # less than cameras' noise
    assert not changes(faint).any()
    assert Motion.of(faint) == Motion(0.0, 0.0, 12, 1)


def still(frame, i, t):
    frame[10:30, 10:30] = 200


def two_rooms(frame, i, t):
    frame[: 32 if i % 2 else 64, : 64 if i % 2 else 32] = 200 + i
    frame[40 + t : 50 + t, 40:50] = 90


@pytest.mark.parametrize(
    ("draw", "name", "number"),
    [
        (lambda frame, i, t: None, "black", "0 of 255"),
        (still, "still", "0.00%"),
        (dot, "small", "4 pixels"),
        (two_rooms, "scenes", "two"),
    ],
)
def test_clips_that_nothing_can_be_learned_from_are_told(draw, name, number):
    (found,) = data_findings(Motion.of(clips_of(draw)), "data/mine", 100)
    assert (found.name, number in found.text, "data/mine" in found.text) == (name, True, True)
    assert names(data_findings(MOVES, "data/mine", 3)) == ["few"]
    assert data_findings(MOVES, "data/mine", 10) == []


def test_a_clip_of_another_world_is_unlike():
    assert unlike(HEALTHY, Given(8.9, 0.0059), "my.mp4") is None
    assert "0.1, of 95% of the held-out clips at most 0.002" in unlike(HEALTHY, Given(2.0, 0.1), "my.mp4").text
    assert "40 nats" in unlike(HEALTHY, Given(40.0, 0.001), "my.mp4").text


@pytest.mark.parametrize("make", [narrow, narrow_prime, narrow_sprites, narrow_convlstm])
def test_scores_of_rollouts_are_those_of_the_metrics(make):
    model = make_model(make())
    clips = Clips((make_clips(model.config, 6, batch=3) * 255).round().to(torch.uint8))
    scores = RolloutScores.of(model, clips, 3, samples=4, seed=5)
    drawn, truth = model.predict(clips.frames[:, :3], 3, 4, seed=5).frames.float(), clips.frames[:, 3:].float() / 255
    each = psnr(drawn, truth).mean((2, 3))
    assert scores.psnr_best == pytest.approx(each.amax(1).mean().item(), rel=1e-5)
    assert scores.psnr == pytest.approx(each.mean().item(), rel=1e-5)
    pairs = list(zip(drawn, truth, strict=True))
    assert scores.crps == pytest.approx(np.mean([crps(s, t).mean() for s, t in pairs]), rel=1e-5)
    error = np.mean([(s - t).square().mean() for s, t in pairs])
    assert scores.diversity == pytest.approx(np.mean([diversity(s).mean() for s, _ in pairs]) / error, rel=1e-5)
    last = Baseline("copy-last").draw(range(3), Clips(clips.frames[:, :3]), 3, 0, 1)
    assert scores.crps_copy == pytest.approx((last[:, 0] - truth).abs().mean().item(), rel=1e-5)
    assert scores.psnr_copy == pytest.approx(psnr(last, truth).mean().item(), rel=1e-5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps, whose latents say nothing."""
    folder = tmp_path_factory.mktemp("doctor") / "run"
    train(tiny(2, model={"beta": 100.0}, trainer={"rollout_clips": 1}), folder)
    return folder


def test_training_keeps_what_it_found_and_says_it_everywhere(run, tmp_path, capsys):
    kept = json.loads((run / "model" / HEALTH).read_text())
    assert kept["nats"] < 0.05
    assert main(["doctor", str(run)]) == 0
    told = capsys.readouterr().out
    assert f"Its latents are unused: {kept['nats']:.2g} nats a step" in told
    assert f"stochvid train --config {run}/config.yaml --model.beta 10" in told
    assert "On held-out clips, after training:" in (run / "model" / "README.md").read_text()
    assert main(["predict", str(run), "moving-mnist:1", "--samples", "2", "--out", str(tmp_path)]) == 0
    assert "note: Its latents are unused" in capsys.readouterr().out


def test_the_page_says_it_and_what_is_unlike(run):
    from stochvid.app.page import _heading
    from stochvid.app.studio import Studio
    from stochvid.inference.predict import Job
    from stochvid.media.clip import Clip

    studio = Studio.open(str(run))
    assert "Its latents are unused" in _heading(studio)
    assert str(run) not in _heading(studio)
    noise = np.random.default_rng(0).integers(256, size=(2, 1, 32, 32), dtype=np.uint8)
    clip = Clip("noise", noise.transpose(0, 2, 3, 1), None)
    strange = dataclasses.replace(HEALTHY, given=[Given(0.0, 1e-4)])
    assert "This clip is unlike" in dataclasses.replace(studio, health=strange).unlike(Job(clip, noise, noise[:0], run))
    assert dataclasses.replace(studio, health=None).unlike(Job(clip, noise, noise[:0], run)) == ""


def test_the_doctor_measures_a_model_that_nobody_has_measured(run, tmp_path):
    before = (run / "model" / HEALTH).read_text()
    (run / "model" / HEALTH).unlink()
    assert "latents-unused" in names(doctor(run))
    again = json.loads((run / "model" / HEALTH).read_text())
    assert again["latents"] == json.loads(before)["latents"]
    made_store(tmp_path / "store", [9, 9, 9])
    doctor(run, data=tmp_path / "store")
    assert json.loads((run / "model" / HEALTH).read_text()) == again  # other clips say nothing of its training


@pytest.mark.parametrize("text", ["{}", "[", '{"rollouts": {}}', '{"rollouts": {"psnr": "x"}, "given": []}'])
def test_what_is_kept_is_not_believed(run, tmp_path, text, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((run / "model" / name).read_bytes())
    (folder / HEALTH).write_text(text)
    assert main(["predict", str(folder), "moving-mnist:1", "--out", str(tmp_path / "out")]) == 2
    assert HEALTH in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_shipped_models_are_well(capsys):
    for model in shipped_models():
        assert doctor(model) == []
        capsys.readouterr()
