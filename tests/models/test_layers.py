"""The backbones' layers against the plain layers of torch that they are, and against autograd."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stochvid.models.layers import Branch, ConvFromPoint, ConvToPoint, DownConv, UpConv, add_skips

MAPS = [(ConvToPoint, 4, 4), (ConvToPoint, 2, 2), (ConvFromPoint, 4, 1)]
PLAIN = {
    DownConv: lambda layer, x: F.conv2d(x, layer.weight, layer.bias, stride=2, padding=1),
    UpConv: lambda layer, x: F.conv_transpose2d(x, layer.weight, None, stride=2, padding=1),
    ConvToPoint: lambda layer, x: F.conv2d(x, layer.weight, layer.bias),
    ConvFromPoint: lambda layer, x: F.conv_transpose2d(x, layer.weight, layer.bias),
}


def both(layer: nn.Module, x: torch.Tensor) -> None:
    """Compares outputs, and the gradients of input, weight and bias, with those of the plain layer."""
    inputs = [x.requires_grad_(), *layer.parameters()]
    y, wanted = layer(x), PLAIN[type(layer)](layer, x)
    torch.testing.assert_close(y, wanted, rtol=1e-10, atol=1e-12)
    gradient = torch.randn_like(wanted)
    for mine, plain in zip(
        torch.autograd.grad(y, inputs, gradient), torch.autograd.grad(wanted, inputs, gradient), strict=True
    ):
        torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [2, 4, 8, 16])
@pytest.mark.parametrize("kind", [DownConv, UpConv])
def test_halving_and_doubling_equal_strided_convolutions(kind, size, memory_format):
    torch.manual_seed(0)
    layer = kind(3, 5).double().to(memory_format=memory_format)
    height = size // 2 if kind is UpConv else size
    both(layer, torch.randn(4, 3, height, size, dtype=torch.float64).to(memory_format=memory_format))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kind", "kernel", "size"), MAPS)
def test_whole_map_convolutions_equal_plain_ones(kind, kernel, size, bias):
    torch.manual_seed(0)
    layer = kind(3, 5, kernel, bias=bias).double()
    both(layer, torch.randn(4, 3, size, size, dtype=torch.float64))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("rows", "own"), [((5, 2, 3), 5), ((5, 2, 3), 2), ((4, 3, 1), 1), ((1, 2, 4), 1)])
def test_skips_are_added_to_their_steps_and_the_last_to_all_later_ones(rows, own, memory_format):
    torch.manual_seed(0)
    steps, clips, samples = rows
    d = torch.randn(steps * clips * samples, 2, 3, 3, dtype=torch.float64).to(memory_format=memory_format)
    skips = torch.randn(own * clips, 2, 3, 3, dtype=torch.float64).to(memory_format=memory_format)
    d.requires_grad_(), skips.requires_grad_()
    which = torch.arange(steps).clamp(max=own - 1)
    each = skips.unflatten(0, (own, clips))[which][:, :, None].expand(-1, -1, samples, -1, -1, -1).flatten(0, 2)
    wanted = d + each
    found = add_skips(d.clone(), skips, rows)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    with torch.no_grad():
        torch.testing.assert_close(add_skips(d.clone(), skips, rows), wanted, rtol=0, atol=0)
    gradient = torch.randn_like(wanted)
    mine = torch.autograd.grad(found, [d, skips], gradient)
    for a, b in zip(mine, torch.autograd.grad(wanted, [d, skips], gradient), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_branch_has_the_gradient_of_a_slice():
    torch.manual_seed(0)
    x = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    whole, first = Branch.apply(x, 4)
    assert torch.equal(whole, x)
    assert torch.equal(first, x[:4])
    a, b = torch.randn_like(x), torch.randn_like(x[:4])
    mine = torch.autograd.grad((whole * a).sum() + (first.square() * b).sum(), x)[0]
    plain = torch.autograd.grad((x * a).sum() + (x[:4].square() * b).sum(), x)[0]
    torch.testing.assert_close(mine, plain)


@pytest.mark.parametrize("kind", [DownConv, UpConv, ConvToPoint, ConvFromPoint])
def test_under_bf16_autocast_layers_and_their_gradients_are_those_of_fp32_within_its_rounding(kind):
    torch.manual_seed(0)
    layer = kind(6, 5) if kind in (DownConv, UpConv) else kind(6, 5, 4)
    size = {DownConv: 8, UpConv: 4, ConvToPoint: 4, ConvFromPoint: 1}[kind]
    x = torch.randn(4, 6, size, size).to(memory_format=torch.channels_last).requires_grad_()
    wanted = PLAIN[kind](layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    gradient, inputs = torch.randn_like(wanted), [x, *layer.parameters()]
    pairs = zip(
        [found.float(), *torch.autograd.grad(found, inputs, gradient.bfloat16())],
        [wanted, *torch.autograd.grad(wanted, inputs, gradient)],
        strict=True,
    )
    for mine, plain in pairs:
        assert (mine - plain).norm() < 0.02 * plain.norm()
