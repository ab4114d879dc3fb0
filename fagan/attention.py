"""softmax(q k^T) v, computed in the way that suits the shape and the device.

All three ways give the same numbers up to rounding, forward and backward (tests/test_attention.py).
There is no 1/sqrt(d): SAGAN and FAGAN do not scale.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

# Above this many queries the B x N x N map of a whole batch no longer fits a CPU's caches, and
# recomputing it one image at a time in the backward pass is faster than keeping it.
CHUNK_ABOVE = 256

_forced: str | None = None


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int = 1, way: str | None = None
) -> Tensor:
    """Attention without scaling over feature maps.

    query (B, D, *S), key (B, D, *T), value (B, C, *T) with any spatial shapes S and T;
    returns (B, C, N) where N is the number of positions in S. D and C are split over the heads.
    way: "plain", "chunked" or "fused"; chosen by shape and device where it is None.
    """
    q, k, v = (_tokens(x, heads) for x in (query, key, value))  # (B * heads, N or M, D or C)
    out = WAYS[_forced or way or _choose(q, k, v)](q, k, v, heads)  # (B * heads, N, C / heads)
    return out.mT.reshape(query.shape[0], value.shape[1], out.shape[1])


def attention_map(query: Tensor, key: Tensor, heads: int = 1) -> Tensor:
    """The map itself, (B, heads, N, M): rows sum to 1. For looking at, not for training."""
    q, k = _tokens(query, heads), _tokens(key, heads)
    return torch.softmax(q @ k.mT, dim=-1).unflatten(0, (-1, heads))


@contextmanager
def force(way: str) -> Iterator[None]:
    """Compute every attention in one way: "plain", "chunked" or "fused"."""
    global _forced
    if way not in WAYS:
        raise ValueError(f"unknown way {way!r} (known: {', '.join(WAYS)})")
    before, _forced = _forced, way
    try:
        yield
    finally:
        _forced = before


def _tokens(x: Tensor, heads: int) -> Tensor:
    # (B, C, *S) -> (B * heads, N, C / heads)
    return x.flatten(2).unflatten(1, (heads, -1)).flatten(0, 1).mT


def _choose(*tensors: Tensor) -> str:
    query = tensors[0]
    if query.is_cuda:
        return "fused"
    # who reads the program instead of running it would unroll a loop over the batch
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or _are_transformed(*tensors):
        return "plain"
    return "chunked" if query.shape[1] > CHUNK_ABOVE else "plain"


def _are_transformed(*tensors: Tensor) -> bool:
    """Whether torch.func (vmap, grad, jvp), is_grads_batched or forward mode is at work on them."""
    return any(
        torch._C._functorch.is_functorch_wrapped_tensor(x)
        or torch._C._functorch.is_legacy_batchedtensor(x)
        or forward_ad.unpack_dual(x).tangent is not None
        for x in tensors
    )


def _plain(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    return torch.bmm(torch.softmax(torch.bmm(q, k.mT), dim=-1), v)


def _chunked(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    return _Chunked.apply(q, k, v)


def _fused(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    # The memory-efficient kernel wants widths in multiples of 8; zero columns change nothing.
    width = v.shape[-1]
    q, k, v = (F.pad(x, (0, -x.shape[-1] % 8)).unflatten(0, (-1, heads)) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    return out.flatten(0, 1)[..., :width]


class _Chunked(torch.autograd.Function):
    """One image at a time, the softmax recomputed in the backward pass."""

    @staticmethod
    def forward(ctx, *inputs: Tensor) -> Tensor:
        q, k, v = (x.contiguous() for x in inputs)
        out = v.new_empty(q.shape[0], q.shape[1], v.shape[2])
        weights = q.new_empty(q.shape[1], k.shape[1])
        for i in range(q.shape[0]):
            _softmax_(q[i], k[i], weights)
            torch.mm(weights, v[i], out=out[i])
        # the inputs themselves, not their copies: a second differentiation follows them further
        ctx.save_for_backward(*inputs, out)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        *inputs, out = ctx.saved_tensors
        # create_graph: a gradient penalty differentiates this again; is_grads_batched: a vmap of it
        if torch.is_grad_enabled() or _are_transformed(grad):
            return _plain_gradients(inputs, grad, ctx.needs_input_grad)
        q, k, v = (x.contiguous() for x in inputs)
        grad = grad.contiguous()
        # softmax's backward needs, per query, the product of its output and gradient; carried as
        # one more column of the gradient against a column of ones in v, it costs no extra pass
        total = (grad * out).sum(-1, keepdim=True)  # (B, N, 1)
        grad_total = torch.cat((grad, -total), dim=-1)  # (B, N, C + 1)
        value_one = torch.cat((v, v.new_ones(*v.shape[:2], 1)), dim=-1)  # (B, M, C + 1)
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        weights = q.new_empty(q.shape[1], k.shape[1])
        energy = torch.empty_like(weights)
        for i in range(q.shape[0]):
            _softmax_(q[i], k[i], weights)
            torch.mm(weights.T, grad[i], out=dv[i])
            torch.mm(grad_total[i], value_one[i].T, out=energy)
            energy.mul_(weights)
            torch.mm(energy, k[i], out=dq[i])
            torch.mm(energy.T, q[i], out=dk[i])
        return dq, dk, dv


def _plain_gradients(inputs: list[Tensor], grad: Tensor, needed: tuple[bool, ...]):
    """The gradients of plain attention as functions that can be differentiated themselves."""
    wanted = [x for x, is_needed in zip(inputs, needed, strict=True) if is_needed]
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        out = _plain(*inputs, 1)
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=again))
    return tuple(next(found) if is_needed else None for is_needed in needed)


def _softmax_(q: Tensor, k: Tensor, out: Tensor) -> None:
    torch.mm(q, k.T, out=out)
    torch.softmax(out, dim=-1, out=out)


WAYS = {"plain": _plain, "chunked": _chunked, "fused": _fused}
