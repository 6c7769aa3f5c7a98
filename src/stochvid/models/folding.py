"""Batch-norm folded into the convolutions before it: exact up to rounding, for statistics that no longer change."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stochvid.models.backbones import Decoder, Encoder, JoinedConv


def folded(part: Encoder | Decoder, dtype: torch.dtype) -> Encoder | Decoder:
    """A copy in eval mode, without batch-norm, that cannot be trained.

    Args:
        part: whose running statistics count; it is not changed.
        dtype: of the copy's weights.
    """
    part = copy.deepcopy(part).eval().requires_grad_(False)
    part.head = _folded_sequence(part.head)
    part.stages = nn.ModuleList(
        _folded_joined(stage) if isinstance(stage, JoinedConv) else _folded_sequence(stage) for stage in part.stages
    )
    return part.to(dtype)


def _folded_sequence(layers: nn.Sequential) -> nn.Sequential:
    """Convolutions that are followed by batch-norm take it in."""
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d) and kept and isinstance(kept[-1], nn.Conv2d | nn.ConvTranspose2d):
            kept[-1] = fuse_conv_bn_eval(kept[-1], layer, transpose=isinstance(kept[-1], nn.ConvTranspose2d))
        else:
            kept.append(layer)
    return nn.Sequential(*kept)


def _folded_joined(joined: JoinedConv) -> JoinedConv:
    """The batch-norm after a joined convolution scales both halves, and what it adds is the bias's."""
    if len(joined.then) and isinstance(joined.then[0], nn.BatchNorm2d):
        norm = joined.then[0]
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        for half in (joined.d, joined.skip):
            outputs = (1, -1, 1, 1) if isinstance(half, nn.ConvTranspose2d) else (-1, 1, 1, 1)
            half.weight = nn.Parameter(half.weight * scale.view(outputs), requires_grad=False)
        bias = (joined.bias - norm.running_mean) * scale + norm.bias
        joined.bias, joined.then = nn.Parameter(bias, requires_grad=False), joined.then[1:]
    joined.then = _folded_sequence(joined.then)
    return joined
