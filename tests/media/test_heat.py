"""Heat over frames."""

import matplotlib
import numpy as np

from stochvid.media.heat import DIMMED, heated, in_rgb


def test_heat_is_none_at_the_lowest_and_the_brightest_colour_at_the_highest_value():
    frames = np.full((1, 1, 4, 4), 200, np.uint8)
    shown = heated(frames, np.array([[[1.0, 3.0], [2.0, 9.0]]]), 1, 3)
    brightest = np.round(255 * np.array(matplotlib.colormaps["inferno"](1.0)[:3]))
    assert (shown[0, :, :2, :2] == round(DIMMED * 200)).all()
    for rows, columns in ((slice(0, 2), slice(2, 4)), (slice(2, 4), slice(2, 4))):
        assert (shown[0, :, rows, columns] == brightest[:, None, None]).all()


def test_equal_values_have_no_heat_and_colours_stay():
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    shown = heated(frames, np.ones((2, 4, 4)), 1, 1)
    assert np.array_equal(shown, np.round(DIMMED * frames))
    assert in_rgb(frames[:, :1]).shape == (2, 3, 4, 4)
