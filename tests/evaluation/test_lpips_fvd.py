"""LPIPS and FVD on files of the right layout with random weights, against arithmetic of another make."""

import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.nn import functional as F

from metric_networks import SHAPES, Network, alexnet, heads
from stochvid import InputError
from stochvid.evaluation.metrics.fvd import I3D, frechet_distance
from stochvid.evaluation.metrics.lpips import LPIPS


@pytest.fixture
def folder(tmp_path):
    torch.save(alexnet(), tmp_path / "alexnet-owt-7be5be79.pth")
    torch.save(heads(), tmp_path / "alex.pth")
    return tmp_path


def by_hand(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """LPIPS v0.1 of images (n, 3, H, W) in [0, 1], in float64, from functions alone."""
    weights = {name: tensor.double() for name, tensor in (alexnet() | heads()).items()}
    shift = torch.tensor([-0.030, -0.088, -0.188]).double().view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).double().view(1, 3, 1, 1)
    strides, paddings, pooled = {0: 4}, {0: 2, 3: 2}, {3, 6}
    total = 0
    a, b = (((2 * image.double() - 1) - shift) / scale for image in (x, y))
    for i, place in enumerate(SHAPES):
        if place in pooled:
            a, b = (F.max_pool2d(z, 3, 2) for z in (a, b))
        w, bias = weights[f"features.{place}.weight"], weights[f"features.{place}.bias"]
        a, b = (F.conv2d(z, w, bias, strides.get(place, 1), paddings.get(place, 1)).relu() for z in (a, b))
        unit_a, unit_b = (z / (z.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for z in (a, b))
        total = total + F.conv2d((unit_a - unit_b) ** 2, weights[f"lin{i}.model.1.weight"]).mean((1, 2, 3))
    return total


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_lpips_is_the_weighted_difference_of_unit_features(folder, channels, size):
    g = torch.Generator().manual_seed(2)
    truth = torch.rand(2, 3, channels, size, size, generator=g)
    prediction = torch.rand(2, 2, 3, channels, size, size, generator=g)
    prediction[1, 1, 2] = truth[1, 2]
    ours = LPIPS.from_folder(folder)(prediction, truth)
    assert ours.shape == (2, 2, 3)
    assert ours[1, 1, 2] == 0
    as_rgb = (t.expand(*t.shape[:-3], 3, size, size) for t in (prediction, truth[:, None].expand_as(prediction)))
    theirs = by_hand(*(t.flatten(0, 2) for t in as_rgb)).view(2, 2, 3)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6)


def test_lpips_of_bytes_is_that_of_floats(folder):
    pixels = torch.randint(256, (1, 2, 1, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    model = LPIPS.from_folder(folder)
    torch.testing.assert_close(model(pixels, pixels[:, 0]), model(pixels / 255, pixels[:, 0] / 255))


def test_lpips_names_what_is_wrong_with_its_files(tmp_path, folder):
    with pytest.raises(InputError, match="is not a folder"):
        LPIPS.from_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no file .* holds AlexNet .*: there is no .pth"):
        LPIPS.from_folder(tmp_path / "empty")
    torch.save({"features.0.weight": torch.zeros(1)}, folder / "alex.pth")
    with pytest.raises(InputError, match="holds the LPIPS heads"):
        LPIPS.from_folder(folder)
    torch.save(heads() | {"lin2.model.1.weight": torch.zeros(1, 256, 1, 1)}, folder / "alex.pth")
    with pytest.raises(InputError, match=r"of another network: lin2.model.1.weight is \(1, 256, 1, 1\)"):
        LPIPS.from_folder(folder)
    torch.save(heads() | {"lin2.model.1.weight": torch.full((1, 384, 1, 1), torch.nan)}, folder / "alex.pth")
    with pytest.raises(InputError, match="not finite"):
        LPIPS.from_folder(folder)
    (folder / "alex.pth").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match="cannot be read as weights"):
        LPIPS.from_folder(folder)


def test_lpips_never_unpickles_code(folder):
    class Hostile:
        def __reduce__(self):
            return (exec, ("raise SystemExit('unpickled')",))

    torch.save({"lin0.model.1.weight": Hostile()}, folder / "alex.pth")
    with pytest.raises(InputError, match="cannot be read as weights"):
        LPIPS.from_folder(folder)


def test_lpips_refuses_frames_that_its_layers_cannot_take(folder):
    with pytest.raises(InputError, match="at least 32 pixels"):
        LPIPS.from_folder(folder)(torch.rand(1, 1, 1, 1, 16, 16), torch.rand(1, 1, 1, 16, 16))
    with pytest.raises(InputError, match="got 2 channels"):
        LPIPS.from_folder(folder)(torch.rand(1, 1, 1, 2, 32, 32), torch.rand(1, 1, 2, 32, 32))


# ---------------------------------------------------------------------------------------------------------------- FVD


def test_frechet_distance_of_diagonal_gaussians_has_its_closed_form():
    """|Δμ|² + Σ (σ_a − σ_b)², for covariances that commute."""
    g = np.random.default_rng(0)
    white = g.standard_normal((500, 6))
    white = (white - white.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T)).T)  # mean 0, covariance I
    a, b = white * np.arange(1, 7) + 3, white * np.arange(6, 0, -1) - 1
    expected = 6 * 4.0**2 + np.square(np.arange(1, 7) - np.arange(6, 0, -1)).sum()
    assert frechet_distance(a, b) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m", "dimensions"), [(300, 200, 20), (30, 40, 50), (2, 3, 4)])
def test_frechet_distance_is_that_of_a_matrix_root(n, m, dimensions):
    g = np.random.default_rng(1)
    mix = g.standard_normal((dimensions, dimensions))
    a, b = g.standard_normal((n, dimensions)) @ mix + 0.3, g.standard_normal((m, dimensions))
    covariances = np.cov(a.T), np.cov(b.T)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few clips the product is singular, which scipy remarks upon
        root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(sum(covariances) - 2 * root.real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8 * np.trace(covariances[0]))


@pytest.fixture
def i3d_file(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Network()), tmp_path / "i3d.pt")
    return tmp_path / "i3d.pt"


def test_i3d_sees_bytes_in_three_channels(i3d_file):
    videos = torch.randint(256, (2, 12, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    features = I3D(i3d_file)(videos)
    assert features.shape == (2, 48)
    scaled = 2 * videos.double() / 255 - 1
    np.testing.assert_allclose(features[:, :8], scaled[:, :8, 0].mean((2, 3)), atol=1e-6)
    np.testing.assert_allclose(features[:, 8:16], features[:, :8])


@pytest.mark.unchecked
def test_i3d_names_what_is_wrong_with_its_file(tmp_path, i3d_file):
    with pytest.raises(InputError, match="there is no file"):
        I3D(tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(InputError, match="is not a TorchScript file"):
        I3D(tmp_path / "text.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(3, 3)), tmp_path / "other.pt")
    with pytest.raises(InputError, match="is another network"):
        I3D(tmp_path / "other.pt")(torch.zeros(2, 12, 1, 32, 32, dtype=torch.uint8))
    with pytest.raises(InputError, match="at least 10 frames"):
        I3D(i3d_file)(torch.zeros(2, 9, 1, 32, 32, dtype=torch.uint8))
