"""Frames composed of what is known already, so that only what appears has to be drawn.

Each pixel is a mixture, by a softmax of three masks, of what the decoder draws, of the frame before with its pixels
moved by a flow, and of the last given frame. Things that move are moved (Finn et al. 2016, arXiv 1605.07157; Liu et al.
2017, arXiv 1702.02463), and what stays is as sharp after fifty frames as at first (Lee et al. 2018, arXiv 1804.01523).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from stochvid.core.shapes import Float

MASKS, FLOW = 3, 2
MORE = MASKS + FLOW  # channels that the decoder gives beside the colours
RELUCTANCE = 2.0  # to draw a pixel anew, as a logit: at first nearly all stays as it is
REACH = 1 / 16  # of the frame's side: how far a flow of 1 moves a pixel


def compose(
    maps: Float[Tensor, "*rows M H W"], before: Float[Tensor, "*rows C H W"], given: Float[Tensor, "*rows C H W"]
) -> Float[Tensor, "*rows C H W"]:
    """Frames in [0, 1].

    Args:
        maps: what the decoder gives: logits of the C colours and of the masks, and the flow (down, right).
        before: the frames before, in [0, 1].
        given: the last given frames, likewise.
    """
    colours, masks, flow = maps.split([maps.shape[-3] - MORE, MASKS, FLOW], -3)
    new, same, back = masks.split(1, -3)
    new, same, back = torch.cat([new - RELUCTANCE, same, back], -3).softmax(-3).split(1, -3)
    return new * torch.sigmoid(colours) + same * moved(before, flow) + back * given


def moved(frames: Float[Tensor, "*rows C H W"], flow: Float[Tensor, "*rows 2 H W"]) -> Float[Tensor, "*rows C H W"]:
    """Each pixel as the one that the flow points to, between four of them by bilinear weights; edges go on outwards.

    Args:
        frames: of any range.
        flow: how far down and right, in `REACH` of the frame's side.
    """
    h, w = frames.shape[-2:]
    down, right = (REACH * flow).flatten(0, -4).unbind(1)  # as parts of the frame's side
    y, x = ((torch.arange(n, dtype=flow.dtype, device=flow.device) + 0.5) / n for n in (h, w))
    places = 2 * torch.stack([x + right, y[:, None] + down], -1) - 1
    found = F.grid_sample(
        frames.to(flow.dtype).flatten(0, -4), places, mode="bilinear", padding_mode="border", align_corners=False
    )
    return found.view(frames.shape)
