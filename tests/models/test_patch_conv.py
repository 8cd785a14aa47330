"""The convolution of whole patches against that of the library, and in half precision."""

import pytest
import torch
import torch.nn.functional as F

from sarcover.models.patch_conv import PatchConv


@pytest.mark.parametrize("side", [2, 4, 8])
def test_is_the_convolution(side):
    torch.manual_seed(0)
    conv = PatchConv(5, 7, side).double()
    x = torch.randn(2, 5, 3 * side, 2 * side, dtype=torch.float64)
    expected = F.conv2d(x, conv.weight, conv.bias, stride=side)
    torch.testing.assert_close(conv(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("incoming", [8, 16, 24, 32])
@pytest.mark.parametrize("side", [4, 8])
def test_half_precision_is_near_the_exact_one(side, incoming, dtype):
    """The library's own is not on every CPU; see the class."""
    torch.manual_seed(0)
    conv = PatchConv(incoming, 24, side)
    x = torch.randn(2, incoming, 64, 64, requires_grad=True)
    exact = conv(x)
    wanted = torch.autograd.grad(exact.square().sum(), (x, conv.weight))
    with torch.autocast("cpu", dtype):
        rough = conv(x)
    got = torch.autograd.grad(rough.float().square().sum(), (x, conv.weight))
    for one, other in zip((exact, *wanted), (rough, *got), strict=True):
        assert (one - other.float()).abs().mean() < 0.02 * one.std()
