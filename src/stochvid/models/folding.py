"""Encoders and decoders for inference: with batch-norm folded into the convolutions, or with that of the batch.

Folding is exact up to rounding, for statistics that no longer change.
"""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stochvid.models.backbones import BATCH_NORMS, Decoder, Encoder, JoinedConv, Stages
from stochvid.models.layers import in_format, make_plain


def fold_batch_norm(part: Encoder | Decoder) -> None:
    """Folds all batch-norm, with its running statistics, into the convolutions before it."""
    part.head = _folded_sequence(part.head)
    if isinstance(part, Encoder):
        part.stages = Stages(map(_folded_sequence, part.stages))
    else:
        part.stages = Stages(map(_folded_joined, part.stages))


def keep_batch_statistics(part: Encoder | Decoder) -> None:
    """Makes batch-norm take the statistics of every batch, and keep none of them.

    The layers become plain ones in plain memory: on a CPU, torch adds up the statistics of maps in channels-last format
    with ten times the rounding error.
    """
    make_plain(part)
    in_format(part, torch.contiguous_format)
    for module in part.modules():
        if isinstance(module, BATCH_NORMS):
            module.train()
            module.momentum = 0.0


def _folded_sequence(layers: nn.Sequential) -> nn.Sequential:
    """Convolutions that are followed by batch-norm take it in."""
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, BATCH_NORMS) and kept and isinstance(kept[-1], nn.Conv2d | nn.ConvTranspose2d):
            kept[-1] = fuse_conv_bn_eval(kept[-1], layer, transpose=isinstance(kept[-1], nn.ConvTranspose2d))
        else:
            kept.append(layer)
    return nn.Sequential(*kept)


def _folded_joined(joined: JoinedConv) -> JoinedConv:
    """The batch-norm after a joined convolution scales both halves, and what it adds is the bias's."""
    if len(joined.then) and isinstance(joined.then[0], BATCH_NORMS):
        norm = joined.then[0]
        mean, var = norm.running_mean, norm.running_var
        assert mean is not None
        assert var is not None
        scale = norm.weight * torch.rsqrt(var + norm.eps)
        for half in (joined.d, joined.skip):
            outputs = (1, -1, 1, 1) if isinstance(half, nn.ConvTranspose2d) else (-1, 1, 1, 1)
            half.weight = nn.Parameter(half.weight * scale.view(outputs), requires_grad=False)
        bias = (joined.bias - mean) * scale + norm.bias
        joined.bias, joined.then = nn.Parameter(bias, requires_grad=False), nn.Sequential(*list(joined.then)[1:])
    joined.then = _folded_sequence(joined.then)
    return joined
