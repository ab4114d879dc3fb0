"""Every way of computing attention against the plain one, forward and backward."""

import pytest
import torch

from fagan import attention


@pytest.mark.parametrize("way", ["chunked", "fused"])
@pytest.mark.parametrize(
    "shape", [(2, 3, 64, 25, 25, 1), (3, 8, 16, 30, 12, 2), (1, 4, 3, 7, 9, 1)]
)
def test_ways_agree(way, shape):
    batch, depth, channels, queries, keys, heads = shape
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(batch, c, n, dtype=torch.float64)
        for c, n in ((depth, queries), (depth, keys), (channels, keys))
    )
    grad = torch.randn(batch, channels, queries, dtype=torch.float64)
    results = []
    for chosen in ("plain", way):
        inputs = [x.clone().requires_grad_() for x in (q, k, v)]
        with attention.force(chosen):
            out = attention.attend(*inputs, heads=heads)
        out.backward(grad)
        results.append([out.detach(), *(x.grad for x in inputs)])
    for plain, other in zip(*results, strict=True):
        assert plain.abs().max() > 1e-3
        assert (plain - other).abs().max() < 1e-12


def test_chunked_gradient_is_the_numerical_one():
    torch.manual_seed(0)
    inputs = [torch.randn(2, c, 6, dtype=torch.float64, requires_grad=True) for c in (3, 3, 4)]
    with attention.force("chunked"):
        assert torch.autograd.gradcheck(attention.attend, inputs)


@pytest.mark.parametrize("needed", [(True, True, True), (False, True, True), (True, False, False)])
def test_chunked_can_be_differentiated_twice(needed):
    """As a gradient penalty (R1, WGAN-GP) does."""
    torch.manual_seed(0)
    inputs = [
        torch.randn(2, c, 6, dtype=torch.float64, requires_grad=is_needed)
        for c, is_needed in zip((3, 3, 4), needed, strict=True)
    ]
    with attention.force("chunked"):
        assert torch.autograd.gradgradcheck(attention.attend, inputs)


def test_map_rows_sum_to_one_and_give_the_output():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, c, 3, 4, dtype=torch.float64) for c in (4, 4, 6))
    weights = attention.attention_map(q, k, heads=2)
    assert weights.shape == (2, 2, 12, 12)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 2, 12, dtype=torch.float64))
    value = v.flatten(2).unflatten(1, (2, 3))
    expected = torch.einsum("bhnm,bhcm->bhcn", weights, value).flatten(1, 2)
    assert torch.allclose(attention.attend(q, k, v, heads=2), expected)


def test_force_restores_and_refuses():
    with pytest.raises(ValueError, match="unknown way 'flash'"), attention.force("flash"):
        pass
    with pytest.raises(RuntimeError), attention.force("chunked"):
        raise RuntimeError
    assert attention._forced is None
