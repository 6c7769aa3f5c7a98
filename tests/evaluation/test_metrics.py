"""Metrics against scikit-image, brute force and closed forms."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from paths import MNIST, needs_mnist
from stochvid import InputError, MovingMNIST
from stochvid.data.digits import load_digits, resize_digits
from stochvid.evaluation.metrics.frames import mse, psnr, ssim
from stochvid.evaluation.metrics.pooling import interval, reliability_index
from stochvid.evaluation.metrics.samples import crps, diversity, gradient_energy, ranks

SKIMAGE = {
    "uniform": {"win_size": 7},
    "gaussian": {"gaussian_weights": True, "sigma": 1.5, "truncate": 3.5},
}


def pairs(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions (2, 3, 4, 1, 48, 64) and truth (2, 4, 1, 48, 64) in [0, 1]."""
    g = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 4, 1, 48, 64, generator=g)
    noisy = (truth[:, None] + 0.1 * torch.randn(2, 3, 4, 1, 48, 64, generator=g)).clamp(0, 1)
    match kind:
        case "noise":
            return noisy, truth
        case "flat and bright":
            return torch.full_like(noisy, 0.97), torch.full_like(truth, 0.95)
        case "nearly flat and bright":
            return 0.95 + 0.002 * noisy, 0.95 + 0.002 * truth
        case "black":
            return torch.zeros_like(noisy), torch.zeros_like(truth)
        case "identical":
            return truth[:, None].expand(-1, 3, -1, -1, -1, -1).contiguous(), truth
        case "constant difference":
            return 0.5 * truth[:, None].expand(-1, 3, -1, -1, -1, -1) + 0.3, 0.5 * truth
        case "half black, half white":
            halves = torch.zeros_like(truth)
            halves[..., 32:] = 1
            other = torch.stack([halves, 0.01 + 0.97 * halves, noisy[:, 0]], dim=1)
            return other, halves
        case "bytes":
            return (noisy * 255).round().to(torch.uint8), (truth * 255).round().to(torch.uint8)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Clips of real MNIST digits, as predictions of each other."""
    shown = resize_digits(load_digits("mnist", "test", str(MNIST)), 28)
    clips = torch.from_numpy(MovingMNIST(shown, 4, seed=1, split="test").__getitems__(range(6))["frames"])
    return clips[:4].reshape(2, 2, 4, 1, 64, 64), clips[4:]


def by_skimage(prediction, truth, function, **options) -> torch.Tensor:
    x, y = ((t.double() / (255 if t.dtype == torch.uint8 else 1)).numpy() for t in (prediction, truth))
    values = np.empty(x.shape[:4])
    for b, s, t, c in np.ndindex(*values.shape):
        values[b, s, t, c] = function(y[b, t, c], x[b, s, t, c], **options)
    return torch.from_numpy(values)


KINDS = (
    "noise", "flat and bright", "nearly flat and bright", "black", "identical", "constant difference",
    "half black, half white", "bytes",
)  # fmt: skip


@pytest.mark.parametrize("data_range", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("sample_covariance", [True, False])
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("kind", KINDS)
def test_ssim_is_that_of_scikit_image_in_float64(kind, window, sample_covariance, data_range):
    check_ssim(*pairs(kind), window, sample_covariance, data_range)


@needs_mnist
@pytest.mark.parametrize("sample_covariance", [True, False])
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_ssim_of_real_digits_is_that_of_scikit_image(window, sample_covariance):
    check_ssim(*digits(), window, sample_covariance, 1.0)


def check_ssim(prediction, truth, window, sample_covariance, data_range):
    options = {"window": window, "sample_covariance": sample_covariance, "data_range": data_range}
    ours = ssim(prediction, truth, **options)
    theirs = by_skimage(
        prediction, truth, structural_similarity,
        data_range=data_range, use_sample_covariance=sample_covariance, **SKIMAGE[window],
    )  # fmt: skip
    assert ours.dtype == torch.float32
    assert ours.isfinite().all()
    assert ours.max() <= 1
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["noise", "nearly flat and bright", "constant difference", "bytes"])
def test_psnr_and_mse_are_those_of_scikit_image_in_float64(kind):
    prediction, truth = pairs(kind)
    theirs = by_skimage(prediction, truth, peak_signal_noise_ratio, data_range=1.0)
    assert (psnr(prediction, truth) - theirs).abs().max() < 1e-4  # dB
    assert (mse(prediction, truth) / 10 ** (-theirs / 10) - 1).abs().max() < 1e-5


def test_equal_frames_have_ssim_one_and_infinite_psnr():
    prediction, truth = pairs("identical")
    assert (ssim(prediction, truth) == 1).all()
    assert (psnr(prediction, truth) == math.inf).all()


def test_metrics_are_per_channel_and_do_not_depend_on_how_clips_are_cut():
    g = torch.Generator().manual_seed(1)
    truth, prediction = torch.rand(1, 150, 3, 32, 32, generator=g), torch.rand(1, 2, 150, 3, 32, 32, generator=g)
    for metric in (mse, ssim):
        whole = metric(prediction, truth)
        assert whole.shape == (1, 2, 150, 3)
        one = metric(prediction[:, 1:, 120:121, 2:], truth[:, 120:121, 2:])
        torch.testing.assert_close(whole[:, 1:, 120:121, 2:], one, rtol=0, atol=1e-6)


def test_nan_stays_in_its_frame():
    prediction, truth = pairs("noise")
    prediction[1, 2, 3, 0, 5, 5] = math.nan
    for metric in (mse, psnr, ssim):
        wrong = torch.nonzero(metric(prediction, truth).isnan())
        assert wrong.tolist() == [[1, 2, 3, 0]]


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [((1, 2, 3, 1, 8, 8), (1, 3, 1, 8, 9)), ((1, 2, 3, 1, 8, 8), (2, 3, 1, 8, 8)), ((3, 8, 8), (8, 8))],
)
@pytest.mark.unchecked
def test_shapes_that_do_not_go_together_are_refused(prediction, truth):
    with pytest.raises(InputError, match="do not go together"):
        mse(torch.rand(prediction), torch.rand(truth))


def test_frames_smaller_than_the_window_are_refused():
    with pytest.raises(InputError, match="11 pixels a side"):
        ssim(torch.rand(1, 1, 1, 1, 10, 64), torch.rand(1, 1, 1, 10, 64))


# ------------------------------------------------------------------------------------------------------- of samples


@pytest.fixture
def ensemble() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(2)
    return torch.rand(7, 3, 2, 6, 5, generator=g, dtype=torch.float64), torch.rand(3, 2, 6, 5, generator=g).double()


def test_diversity_is_the_mean_over_all_pairs(ensemble):
    samples, _ = ensemble
    by_pairs = [(samples[i] - samples[j]).square().mean((1, 2, 3)) for i in range(7) for j in range(i)]
    torch.testing.assert_close(diversity(samples), torch.stack(by_pairs).mean(0))
    assert (diversity(samples[:1]) == 0).all()


def test_diversity_equals_the_error_if_the_truth_is_like_one_more_sample():
    all_alike = torch.rand(40, 1, 1, 64, 64, generator=torch.Generator().manual_seed(3))
    errors = [(all_alike[i] - all_alike[np.arange(40) != i]).square().mean() for i in range(40)]
    torch.testing.assert_close(torch.stack(errors).mean(), diversity(all_alike)[0])


def test_crps_is_its_definition_over_all_pairs(ensemble):
    samples, truth = ensemble
    error = (samples - truth).abs().mean((0, 2, 3, 4))
    spread = sum((samples[i] - samples[j]).abs().mean((1, 2, 3)) for i in range(7) for j in range(7)) / (7 * 6)
    before = samples.clone()
    torch.testing.assert_close(crps(samples, truth), error - spread / 2)
    assert torch.equal(samples, before)
    torch.testing.assert_close(crps(samples[:1], truth), (samples[0] - truth).abs().mean((1, 2, 3)))


def test_crps_of_a_gaussian_forecast_has_its_closed_form():
    """Gneiting and Raftery (2007), eq. 5: σ (z (2Φ(z) − 1) + 2φ(z) − 1/√π) at z = (y − μ)/σ."""
    g = torch.Generator().manual_seed(4)
    for z in (0.0, 0.7, -2.0):
        samples = 0.5 + 0.1 * torch.randn(100, 1, 1, 100, 100, generator=g, dtype=torch.float64)
        truth = torch.full((1, 1, 100, 100), 0.5 + 0.1 * z, dtype=torch.float64)
        phi, cdf = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), 0.5 * (1 + math.erf(z / math.sqrt(2)))
        expected = 0.1 * (z * (2 * cdf - 1) + 2 * phi - 1 / math.sqrt(math.pi))
        assert abs(crps(samples, truth).item() / expected - 1) < 0.01


def test_ranks_are_those_of_a_count_by_hand():
    pixels = torch.tensor([[0.2, 0.4, 0.4, 0.5], [0.6, 0.4, 0.8, 0.5], [0.7, 0.4, 0.9, 0.5]])  # 3 samples of 4 pixels
    truth = torch.tensor([0.65, 0.4, 0.4, 0.1])
    # 0.65: above two; the second pixel is alike; 0.4 ties with one sample, so ranks 0 and 1 with ½ each; 0.1: below all
    counts, alike = ranks(pixels.view(3, 1, 1, 2, 2), truth.view(1, 1, 2, 2))
    assert counts.tolist() == [1.5, 0.5, 1.0, 0.0]
    assert alike == 1


def test_ranks_of_a_truth_like_the_samples_are_flat_and_of_narrow_samples_u_shaped():
    g = torch.Generator().manual_seed(5)
    values = torch.rand(20, 1, 1, 100, 100, generator=g)
    flat, _ = ranks(values[:-1], values[-1])
    assert reliability_index(flat.numpy()) < 0.1
    narrow, _ = ranks(0.5 + 0.1 * (values[:-1] - 0.5), values[-1])
    assert narrow[0] + narrow[-1] > 0.8 * narrow.sum()
    assert reliability_index(narrow.numpy()) > 1


def test_a_reliability_index_is_from_zero_to_two():
    assert reliability_index(np.ones(11)) == pytest.approx(0)
    assert reliability_index(np.eye(10)[3]) == pytest.approx(2 - 2 / 10)


def test_gradient_energy_is_of_neighbouring_pixels():
    ramp = torch.arange(8.0).mul(0.1).expand(1, 1, 8, 8)  # rises by 0.1 across, not at all down
    assert gradient_energy(ramp).item() == pytest.approx(0.01)
    g = torch.Generator().manual_seed(6)
    noise = torch.rand(1, 1, 64, 64, generator=g)
    blurred = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    assert gradient_energy(blurred) < 0.2 * gradient_energy(noise)


def test_an_interval_is_that_of_the_normal_distribution():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert interval(values) == pytest.approx(1.96 * np.sqrt(5 / 3) / 2)
