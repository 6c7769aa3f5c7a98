"""Annotations tell the truth: shapes are checked in these tests, and users' type checkers see the public names."""

import subprocess
import sys
from importlib import resources

import pytest
import torch
from jaxtyping import TypeCheckError

import stochvid
from paths import ROOT
from stochvid.evaluation.metrics.frames import psnr, ssim
from stochvid.evaluation.metrics.samples import crps, diversity
from stochvid.model_configs import SVGConfig
from stochvid.models.noise import latent_noise
from stochvid.models.state import Prediction
from stochvid.models.svg import SVG

CONFIG = SVGConfig(image_size=32, base_channels=4, g_dim=8, z_dim=3, rnn_size=8, context=2, horizon=2)


def small() -> SVG:
    return SVG(CONFIG).eval()


def observed(model: SVG, frames: torch.Tensor):
    return model.observe(frames, decode=False).state


FRAMES = torch.rand(2, 3, 1, 32, 32)  # (B, T, C, H, W)


WRONG = {
    "observe takes no clip without its batch": lambda m: m.observe(FRAMES[0]),
    "observe takes noise of as many clips": lambda m: m.observe(FRAMES, torch.zeros(3, 1, 2, 3)),
    "observe takes no numbers that are no pixels": lambda m: m.observe(FRAMES.long()),
    "imagine takes noise for the horizon": lambda m: m.imagine(observed(m, FRAMES), 2, torch.zeros(2, 1, 3, 3)),
    "imagine takes noise with samples": lambda m: m.imagine(observed(m, FRAMES), 2, torch.zeros(2, 2, 3)),
    "terms take one sample": lambda m: m.terms(FRAMES, torch.zeros(2, 2, 2, 3)),
    "predict takes no clip without its batch": lambda m: m.predict(FRAMES[0], 2),
    "an encoder takes frames without time": lambda m: m.encoder(FRAMES),
    "a decoder takes features of samples": lambda m: m.decoder(torch.zeros(1, 2, 8), []),
    "an LSTM takes steps and rows": lambda m: m.predictor(torch.zeros(2, 11), None),
    "a prediction has as many latents as frames": lambda m: Prediction(
        torch.rand(1, 2, 3, 1, 8, 8), *(torch.zeros(1, 2, n, 4) for n in (3, 3, 2)), torch.zeros(1, 2, 3, 0, 0)
    ),
    "the axes of noise are whole numbers": lambda m: latent_noise(0, [0], 1.5, 2, (3,)),
    "the truth has no samples in PSNR": lambda m: psnr(torch.rand(1, 2, 3, 1, 8, 8), torch.rand(1, 1, 3, 1, 8, 8)),
    "prediction and truth are equally long in SSIM": lambda m: ssim(
        torch.rand(1, 2, 3, 1, 16, 16), torch.rand(1, 4, 1, 16, 16)
    ),
    "prediction and truth are equally long in CRPS": lambda m: crps(torch.rand(2, 3, 1, 8, 8), torch.rand(4, 1, 8, 8)),
    "diversity is of one clip": lambda m: diversity(torch.rand(1, 2, 3, 1, 8, 8)),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_shape_is_refused_where_it_comes_in(call):
    with pytest.raises(TypeCheckError):
        call(small())


def test_a_model_that_gives_a_wrong_shape_is_refused(monkeypatch):
    model = small()
    monkeypatch.setattr(model.predictor.head, "forward", lambda x: x[:1])
    with pytest.raises(TypeCheckError, match="return value"):
        model.observe(FRAMES)


def test_nothing_is_checked_and_jaxtyping_is_not_loaded_outside_the_tests():
    code = """
import sys
from typing import Annotated, get_type_hints
import torch
import stochvid.models.svg, stochvid.evaluation.metrics.frames as frames
assert "jaxtyping" not in sys.modules and "beartype" not in sys.modules
hint = get_type_hints(frames.psnr, include_extras=True)["return"]
assert hint == Annotated[torch.Tensor, "B S T C"], hint
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_the_package_says_that_it_is_typed():
    assert (resources.files("stochvid") / "py.typed").is_file()


@pytest.mark.slow
def test_type_checkers_know_every_public_name_and_refuse_a_wrong_argument(tmp_path):
    names = [name for name in stochvid.__all__ if name not in ("__version__", "load")]
    right = tmp_path / "right.py"
    right.write_text(
        f"import torch\nfrom stochvid import {', '.join(names)}, load\n"
        "model = load('laptop')\n"
        "drawn = model.predict(torch.zeros(1, 5, 1, 64, 64), 10, samples=3)\n"
        "frames: torch.Tensor = drawn.frames\n"
        "other: SVG = SVG.from_pretrained('laptop')\n"
        + "".join(f"reveal_type({name})\n" for name in names)
    )  # fmt: skip
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import stochvid\nstochvid.load('laptop').predict('clip.mp4', 10)\n")
    words = [sys.executable, "-m", "mypy", "--config-file", "", "--strict", "--cache-dir", str(tmp_path / "cache")]
    ran = subprocess.run(
        [*words, "--follow-imports", "silent", right.name, wrong.name],
        cwd=tmp_path, env={"MYPYPATH": str(ROOT / "src"), "PATH": ""}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    told = ran.stdout.splitlines()
    errors = [line for line in told if ": error:" in line]
    assert len(errors) == 1, ran.stdout + ran.stderr
    assert errors[0].startswith("wrong.py:2")
    assert "arg-type" in errors[0]
    assert not [line for line in told if 'Revealed type is "Any"' in line], ran.stdout
    assert sum("Revealed type" in line for line in told) == len(names)
