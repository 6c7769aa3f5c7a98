"""Composed frames; that they equal the literal loop's is in `test_svg_prime.py`."""

import torch
import torch.nn.functional as F

from stochvid.models.composing import FLOW, MASKS, MORE, compose, moved


def test_a_flow_of_whole_pixels_shifts_and_edges_go_on():
    frames, flow = torch.rand(2, 3, 16, 32, dtype=torch.float64), torch.zeros(2, 2, 16, 32, dtype=torch.float64)
    flow[0, 0], flow[1, 1] = 3.0, -0.5  # of a sixteenth of the side: three of 16 pixels down; one of 32 to the left
    rows, columns = (torch.arange(16) + 3).clamp(max=15), (torch.arange(32) - 1).clamp(min=0)
    expected = torch.stack([frames[0][:, rows], frames[1][..., columns]])
    assert torch.allclose(moved(frames, flow), expected, atol=1e-12)


def test_masks_choose_what_is_drawn_moved_and_given():
    sure = 50.0
    before, given = (torch.rand(1, 3, 8, 8).expand(3, -1, -1, -1) for _ in range(2))
    colours = torch.randn(3, 3, 8, 8)
    masks = sure * F.one_hot(torch.arange(MASKS))[:, :, None, None].expand(-1, -1, 8, 8)
    maps = torch.cat([colours, masks, torch.full((3, FLOW, 8, 8), 2.0)], 1)  # a pixel of eight, down and right
    frames = compose(maps, before, given)
    assert maps.shape[1] == 3 + MORE
    assert torch.allclose(frames[0], torch.sigmoid(colours[0]))
    assert torch.allclose(frames[1, :, :-1, :-1], before[0, :, 1:, 1:], atol=1e-6)
    assert torch.allclose(frames[2], given[0])


def test_before_it_learns_anything_nearly_all_stays():
    before, given = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    assert compose(torch.zeros(1, 3 + MORE, 8, 8), before, given).max() < 0.04  # 0.5 of what is drawn, hardly seen
