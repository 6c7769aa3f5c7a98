"""Names come as people count."""

import pytest

from stochvid.media.order import natural_order, negative_names


@pytest.mark.parametrize(
    "names",
    [
        ["frame1", "frame2", "frame10"],
        ["t-10.png", "t-2.png", "t-1.png", "t0.png", "t1.png", "t10.png"],
        ["t-2.png", "t-1.png"],
        ["t-2.png", "t-1.png", "t.png", "t+1.png", "t+2.png"],
        ["cam t-2.png", "cam t-1.png", "cam t-0.png"],
        ["x-2", "x-1", "x0", "x+1"],
        ["frame_-2.png", "frame_-1.png", "frame_0.png"],
        ["-2.png", "-1.png", "0.png", "1.png"],
        ["img-1.png", "img-2.png", "img-10.png"],
        ["cam1-1.png", "cam1-2.png", "cam1-10.png", "cam2-1.png"],
        ["2024-01-02", "2024-01-10", "2024-02-01"],
        ["start-1.png", "start-2.png"],
        ["٢.png", "٣.png", "١٠.png"],
        ["a/t-2.png", "a/t-1.png", "b/img-1.png", "b/img-2.png"],
    ],
)
def test_names_are_sorted_as_people_count(names):
    assert natural_order(reversed(names)) == names


def test_capitals_come_with_small_letters_where_that_is_asked():
    names = ["IMG_1.JPG", "img_2.jpg", "IMG_10.JPG"]
    assert natural_order(reversed(names), fold=True) == names


def test_it_is_known_where_a_dash_is_a_minus():
    assert negative_names(["t-2.png", "t-1.png", "t0.png"]) == ["t-2.png", "t-1.png"]
    assert negative_names(["img-1.png", "img-2.png", "2024-01-02.png"]) == []
