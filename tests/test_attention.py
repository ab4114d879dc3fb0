"""Every way of computing attention against the plain one, forward and backward."""

import pytest
import torch

from fagan import attention
from fagan.layers import FullAttention2d

DUAL = torch.autograd.forward_ad


def qkv(*shapes):
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("way", ["chunked", "fused"])
@pytest.mark.parametrize(
    "shape", [(2, 3, 64, 25, 25, 1), (3, 8, 16, 30, 12, 2), (1, 4, 3, 7, 9, 1), (0, 4, 6, 5, 5, 2)]
)
def test_ways_agree(way, shape):
    batch, depth, channels, queries, keys, heads = shape
    sizes = (batch, depth, queries), (batch, depth, keys), (batch, channels, keys)
    *tensors, grad = qkv(*sizes, (batch, channels, queries))
    results = []
    for chosen in ("plain", way):
        inputs = [x.clone().requires_grad_() for x in tensors]
        with attention.force(chosen):
            out = attention.attend(*inputs, heads=heads)
        out.backward(grad)
        results.append([out.detach(), *(x.grad for x in inputs)])
    for plain, other in zip(*results, strict=True):
        assert plain.shape == other.shape
        if batch:
            assert plain.abs().max() > 1e-3
            assert (plain - other).abs().max() < 1e-12


def test_attention_is_its_definition():
    """softmax over the keys of q k^T, unscaled: each query's weights sum to 1. Not symmetric."""
    q, k, v = qkv((2, 6, 5), (2, 6, 7), (2, 8, 7))
    out, weights = attention.attend(q, k, v, heads=2), attention.attention_map(q, k, heads=2)
    for b, h in ((0, 0), (0, 1), (1, 0), (1, 1)):
        own, values = slice(3 * h, 3 * h + 3), v[b, 4 * h : 4 * h + 4]
        for i in range(5):
            expected = torch.softmax(k[b, own].T @ q[b, own, i], dim=0)
            torch.testing.assert_close(weights[b, h, i], expected, rtol=0, atol=1e-12)
            found = out[b, 4 * h : 4 * h + 4, i]
            torch.testing.assert_close(found, values @ expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("needed", [(True, True, True), (False, True, True), (True, False, False)])
def test_chunked_can_be_differentiated_twice(needed):
    """As a gradient penalty (R1, WGAN-GP) does."""
    inputs = qkv((2, 3, 6), (2, 3, 6), (2, 4, 6))
    for x, is_needed in zip(inputs, needed, strict=True):
        x.requires_grad_(is_needed)
    with attention.force("chunked"):
        assert torch.autograd.gradgradcheck(attention.attend, inputs)


@pytest.fixture
def taken(monkeypatch):
    """Which ways were taken, in order."""
    taken = []
    for way, function in list(attention.WAYS.items()):

        def noted(*args, way=way, function=function):
            taken.append(way)
            return function(*args)

        monkeypatch.setitem(attention.WAYS, way, noted)
    return taken


def test_large_maps_are_computed_one_image_at_a_time(taken):
    small, large = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 17)
    for x in (small, large):
        attention.attend(x, x, x)
    FullAttention2d(4, 4, squeeze=2, exact=True)(large)
    assert taken == ["plain", "chunked", "plain"]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_whichever_of_query_key_and_value_is_transformed(taken, which):
    """A loop in place is no operator that torch.func or forward mode could see through."""
    tensors = qkv((2, 3, 300), (2, 3, 300), (2, 4, 300))

    def attend(x):
        return attention.attend(*tensors[:which], x, *tensors[which + 1 :])

    many = torch.func.vmap(attend)(torch.stack([tensors[which]] * 2))
    with DUAL.dual_level():
        dual = DUAL.make_dual(tensors[which], torch.ones_like(tensors[which]))
        slope = DUAL.unpack_dual(attend(dual)).tangent
    assert set(taken) == {"plain"}
    torch.testing.assert_close(many[1], attention.attend(*tensors))
    shift = 1e-6 * torch.ones_like(tensors[which])
    x = tensors[which]
    torch.testing.assert_close(
        slope, (attend(x + shift) - attend(x - shift)) / 2e-6, rtol=1e-5, atol=1e-6
    )


def test_force_restores_and_refuses():
    with pytest.raises(ValueError, match="unknown way 'flash'"), attention.force("flash"):
        pass
    with pytest.raises(RuntimeError), attention.force("chunked"):
        raise RuntimeError
    assert attention._forced is None
