"""Identity: how well true things are found again in frames, against scikit-image; and where it comes from."""

import json

import numpy as np
import pytest
import torch
from skimage.feature import match_template

from stochvid import MovingMNIST
from stochvid.cli import main
from stochvid.data.digits import load_digits, resize_digits
from stochvid.evaluation.metrics.identity import identity, images_in
from tiny import save_digit_model


@pytest.fixture(scope="module")
def moving() -> MovingMNIST:
    return MovingMNIST(resize_digits(load_digits("builtin", "test"), 14), 25, image_size=48, variant="srvp2020")


@pytest.fixture(scope="module")
def clips(moving):
    return moving.__getitems__(range(6))


def as_frames(clip: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(clip).float() / 255


def test_it_is_the_largest_correlation_that_scikit_image_finds():
    generator = torch.Generator().manual_seed(0)
    frames, images = (torch.rand(shape, generator=generator) for shape in ((2, 3, 1, 20, 24), (2, 7, 9)))
    found = identity(frames, images)
    assert found.shape == (2, 3)
    for s in range(2):
        for t in range(3):
            expected = [match_template(frames[s, t, 0].numpy(), image.numpy()).max() for image in images]
            assert found[s, t].item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_nothing_is_found_in_black_frames_and_all_in_a_frame_of_its_own():
    image = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0))
    frames = torch.zeros(1, 2, 3, 16, 16)
    frames[0, 1, :, 5:11, 8:14] = 0.5 * image  # contrast does not count
    assert identity(frames, image)[0].tolist() == pytest.approx([0, 1], abs=1e-5)


def test_digits_are_recovered_from_their_boxes(moving, clips):
    which, _ = moving.trajectories(np.arange(6))
    for number in range(6):
        boxes, frames = torch.from_numpy(clips["boxes"][number]), as_frames(clips["frames"][number])
        images = images_in(frames, boxes)
        assert (images - as_frames(moving.digits[which[number]])).abs().max() < 0.2
        assert identity(frames[None], images).mean() > 0.9


def test_a_digit_that_melts_is_told(clips):
    frames, boxes = as_frames(clips["frames"][0]), torch.from_numpy(clips["boxes"][0])
    images, pool = images_in(frames, boxes), torch.nn.AvgPool2d(9, 1, 4)
    other = as_frames(clips["frames"][1])
    truth, blurred, wrong = (identity(x[None], images).mean().item() for x in (frames, pool(frames), other))
    assert truth > blurred + 0.1 > wrong


def test_tracks_say_where_each_digit_is_and_when_it_turns(moving, clips):
    which, motion = moving.trajectories(np.arange(6))
    assert np.array_equal(clips["digit_bounces"].any(-1), clips["bounces"])
    assert clips["boxes"].shape == (6, 25, 2, 4)
    assert np.array_equal(clips["boxes"][..., :2].swapaxes(1, 2), motion.positions)
    for name, track in moving.tracks.items():
        assert clips[name].dtype == track.dtype
        assert clips[name].shape == (6, 25, *track.shape)
    digits, frame = moving.digits[which[0]].astype(int), clips["frames"][0, 3, 0]
    drawn = np.zeros((48, 48), int)
    for digit, (y, x, h, w) in zip(digits, clips["boxes"][0, 3].tolist(), strict=True):
        drawn[y : y + h, x : x + w] += digit
    assert np.array_equal(np.minimum(drawn, 255), frame)


def test_evaluate_tells_it_beside_that_of_the_truth(tmp_path, capsys):
    model = save_digit_model(tmp_path / "model")
    words = ["evaluate", model, "--clips", "3", "--samples", "2", "--horizon", "4", "--out", str(tmp_path / "e")]
    assert main(words) == 0
    assert "identity 0." in capsys.readouterr().out
    results = json.loads((tmp_path / "e" / "results.json").read_text())
    found = results["samples"]["identity"]
    assert 0 < found["mean"] < found["truth"] <= 1
    assert len(found["curve"]["mean"]) == 4
    assert "identity" in (tmp_path / "e" / "curves.csv").read_text().splitlines()[0].split(",")
