"""Frames in memory are clips as files are."""

import numpy as np
import pytest
import torch

from stochvid import Clip, InputError, fit_frames, read_clip

GREY = np.random.default_rng(0).integers(0, 256, (5, 24, 32), dtype=np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


@pytest.mark.parametrize(
    ("array", "frames"),
    [
        (GREY, GREY[..., None]),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR),
        (GREY / 255, GREY[..., None]),
        (torch.from_numpy(GREY), GREY[..., None]),
        (list(COLOUR), COLOUR),
        (GREY > 127, 255 * (GREY > 127)[..., None]),
    ],
    ids=["grey", "colour", "channels first", "float", "tensor", "list", "bool"],
)
def test_an_array_is_a_clip(array, frames):
    clip = read_clip(array)
    assert isinstance(clip, Clip)
    assert clip.frames.dtype == np.uint8
    assert np.array_equal(clip.frames, frames)
    assert np.array_equal(fit_frames(array, 32, 1), fit_frames(clip, 32, 1))


def test_a_limit_and_a_rate_hold_for_arrays_too():
    clip = read_clip(GREY, limit=2, fps=12.5)
    assert (len(clip.frames), clip.fps) == (2, 12.5)


def test_a_range_scales_numbers_of_any_kind_and_axes_may_be_given():
    deep = GREY.astype(np.uint16) * 16
    assert np.array_equal(read_clip(deep, range=(0, 4080)).frames, GREY[..., None])
    assert read_clip(deep[:, :, :5], axes="THW", range="auto").frames.shape == (5, 24, 5, 1)
    assert np.array_equal(read_clip(COLOUR.transpose(3, 0, 1, 2), axes="CTHW").frames, COLOUR)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (GREY[0], r"have shape \(24, 32\); expected \(T, H, W\)"),
        (GREY[:0], "have shape"),
        (GREY.astype(np.int64), r"has int64 values \(0 to 255 in frame 1\).*--range"),
        (GREY.astype(np.float32), "has float values outside"),
        (np.full((2, 9, 9), np.nan), "has NaN in frame 1"),
        ([GREY[0], GREY[0, :3]], "are no array"),
        (np.array([[["a"]]], dtype=object), "have dtype object"),
    ],
)
def test_what_is_no_frames_is_refused(array, message):
    for read in (read_clip, lambda array: fit_frames(array, 32, 1)):
        with pytest.raises(InputError, match=message):
            read(array)
