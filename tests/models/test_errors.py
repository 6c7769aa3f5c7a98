"""Errors of frames against their formulas, written out pixel by pixel, and against NumPy's Fourier transforms."""

import numpy as np
import pytest
import torch

from runs import rows, tiny
from stochvid.config import ERRORS, LossConfig
from stochvid.models.errors import PER_FRAME, PER_PIXEL, errors
from stochvid.training.module import Training
from stochvid.training.train import train
from tiny import close

SHAPE = (2, 3, 2, 6, 5)  # no power of two, neither square nor even


def two(shape=SHAPE) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))


def by_formula(name: str, made: np.ndarray, true: np.ndarray) -> float:
    """A mean over clips and frames of what the papers write of one image."""
    values = []
    for a, b in zip(made.reshape(-1, *made.shape[2:]), true.reshape(-1, *true.shape[2:]), strict=True):
        channels, height, width = a.shape
        total = 0.0
        if name in ("mse", "l1", "bce"):
            for x, y in zip(a.flat, b.flat, strict=True):
                total += {"mse": (x - y) ** 2, "l1": abs(x - y), "bce": -y * np.log(x) - (1 - y) * np.log(1 - x)}[name]
            values.append(total / a.size)
        elif name == "gradient_difference":
            for step, axis in (((1, 0), "down"), ((0, 1), "right")):
                each = [
                    abs(
                        abs(b[c, i, j] - b[c, i - step[0], j - step[1]])
                        - abs(a[c, i, j] - a[c, i - step[0], j - step[1]])
                    )
                    for c in range(channels)
                    for i in range(step[0], height)
                    for j in range(step[1], width)
                ]
                assert len(each) == channels * (height - step[0]) * (width - step[1]), axis
                total += sum(each) / len(each)
            values.append(total)
        else:
            f, g = np.fft.fft2(a, norm="ortho"), np.fft.fft2(b, norm="ortho")
            if name == "fourier_amplitude":
                values.append(np.square(abs(f) - abs(g)).mean())
            else:
                both = (f * g.conj() + f.conj() * g).sum().real / 2
                values.append(1 - both / np.sqrt(np.square(abs(f)).sum() * np.square(abs(g)).sum()))
    return float(np.mean(values))


@pytest.mark.parametrize("shape", [SHAPE, (1, 2, 1, 8, 8)])
@pytest.mark.parametrize("name", ERRORS)
def test_each_error_is_its_formula(name, shape):
    made, true = two(shape)
    wanted = torch.tensor(by_formula(name, made.numpy(), true.numpy()), dtype=torch.float64)
    close(errors((name,), made, true)[name], wanted)


@pytest.mark.parametrize("name", ERRORS)
def test_each_is_nothing_where_frames_are_right_and_has_a_gradient_elsewhere(name):
    made, true = two()
    right = true.round() if name == "bce" else true
    assert errors((name,), right, right)[name].item() == pytest.approx(0, abs=2e-6)
    made.requires_grad_()
    errors((name,), made, true)[name].backward()
    assert made.grad.isfinite().all()
    assert made.grad.abs().sum() > 0


def test_cross_entropy_of_logits_is_that_of_the_pixels():
    made, true = two()
    logits = torch.logit(made)
    close(errors(("bce",), made, true, logits)["bce"], errors(("bce",), made, true)["bce"])
    sure = torch.full_like(logits, 100.0)  # a pixel that is 1 in any precision
    assert errors(("bce",), torch.sigmoid(sure), torch.zeros_like(true), sure)["bce"] == pytest.approx(100)


def test_pixels_that_count_more_count_more_in_errors_of_pixels():
    made, true = two()
    weight = torch.rand(2, 3, 1, 6, 5, dtype=torch.float64)
    found = errors(("mse", "l1"), made, true, weight=weight)
    close(found["l1"], ((made - true).abs() * weight).mean())
    close(found["mse"], ((made - true) ** 2 * weight).mean())


def test_all_errors_that_a_config_names_are_there():
    assert set(ERRORS) == PER_PIXEL.keys() | PER_FRAME.keys()
    assert LossConfig(l1=2, fourier_amplitude=0.5).others == {"l1": 2, "fourier_amplitude": 0.5}


def test_a_run_minimises_what_its_config_adds(tmp_path):
    weights = {"reconstruction": 0.5, "mse": 0.25, "gradient_difference": 0.3, "fourier_correlation": 0.2}
    config = tiny(2, loss=weights, trainer={"precision": "fp32", "sample_clips": 0})
    assert Training(config).objective.weights == {
        "mse": 0.75, "kl": 1e-4, "gradient_difference": 0.3, "fourier_correlation": 0.2,
    }  # fmt: skip
    train(config, tmp_path / "run")
    each = {"mse": 0.75, "kl": 1e-4, "gradient_difference": 0.3, "fourier_correlation": 0.2}
    for row in rows(tmp_path / "run", "train"):
        wanted = sum(weight * float(row[name]) for name, weight in each.items())
        assert float(row["loss"]) == pytest.approx(wanted, rel=1e-4)
