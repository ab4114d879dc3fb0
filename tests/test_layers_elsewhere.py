"""The layers in other people's networks: reparametrised, hooked, wrapped, moved, transformed."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from fagan.layers import FullAttention2d, SelfAttention2d, are_fusible

LARGE = 17  # a map of 289 positions, above what a CPU computes for a whole batch at once

# torch.nn.utils.spectral_norm and weight_norm warn that they will go; networks still have them
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def full(**options):
    return FullAttention2d(8, 6, 3, 1, 1, squeeze=2, alpha_init=-0.6, **options)


def own(**options):
    return SelfAttention2d(8, squeeze=2, alpha_init=-0.6, **options)


LAYERS = pytest.mark.parametrize("make", [full, own])


def twins(make, change):
    """The same changed layer on the default path and with exact=True."""
    made = []
    for exact in (False, True):
        torch.manual_seed(0)
        made.append(change(make(exact=exact)))
    return made


def old_spectral_norm(layer):
    nn.utils.spectral_norm(layer.value)
    return layer


def old_weight_norm(layer):
    nn.utils.weight_norm(layer.query)
    return layer


def new_spectral_norm(layer):
    parametrizations.spectral_norm(layer.key)
    return layer


def new_weight_norm(layer):
    parametrizations.weight_norm(layer.value)
    return layer


class Lora(nn.Module):
    """As adapters wrap a convolution: no weight of its own name, a second path beside it."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down = nn.Conv2d(base.in_channels, 2, base.kernel_size, base.stride, base.padding)
        self.up = nn.Conv2d(2, base.out_channels, 1)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


def lora(layer):
    layer.value = Lora(layer.value)
    return layer


def patched(layer):
    forward = layer.query.forward
    layer.query.forward = lambda x: 2 * forward(x)
    return layer


def reflecting(layer):
    old = layer.value
    layer.value = nn.Conv2d(
        old.in_channels, old.out_channels, 3, padding=1, padding_mode="reflect", bias=True
    )
    return layer


def dilated(layer):
    """All three alike: one geometry, which the fused path has to keep."""
    for name in ("query", "key", "value"):
        width = getattr(layer, name).out_channels
        setattr(layer, name, nn.Conv2d(8, width, 3, padding=2, dilation=2))
    return layer


CHANGES = [
    old_spectral_norm, old_weight_norm, new_spectral_norm, new_weight_norm, lora, patched,
    reflecting, dilated,
]  # fmt: skip


@LAYERS
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_projection_trains_as_by_itself(make, change):
    """Outputs and every gradient are those of the plain path, and no weight is left out."""
    layer, twin = twins(make, change)
    x = torch.randn(3, 8, 6, 6)
    found = []
    for network in (layer, twin):
        out = network(x)
        out.square().sum().backward()
        found.append((out.detach(), {n: p.grad for n, p in network.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0])
    for name, grad in found[1][1].items():
        assert found[0][1][name] is not None, f"{name} never trains"
        torch.testing.assert_close(found[0][1][name], grad)
        # a key's bias shifts all logits of a query alike, so only its gradient is 0
        assert grad.abs().max() > 1e-7 or name.startswith("key."), name


@LAYERS
def test_hooks_on_a_projection_fire(make):
    layer, seen = make(), []
    layer.query.register_forward_hook(lambda *_: seen.append("forward"))
    layer.key.register_forward_pre_hook(lambda *_: seen.append("before"))
    layer.value.register_full_backward_hook(lambda *_: seen.append("backward"))
    layer(torch.randn(2, 8, 5, 5, requires_grad=True)).sum().backward()
    assert sorted(seen) == ["backward", "before", "forward"]


def test_plain_projections_are_still_computed_as_one():
    for layer in (full(), own(), own(variant="google"), full(transposed=True)):
        assert are_fusible(layer.query, layer.key, layer.value)
    layer = full(attention_spectral_norm=True)
    assert parametrize.is_parametrized(layer.key)
    assert are_fusible(layer.query, layer.key, layer.value)


@pytest.mark.parametrize("released", [False, True])
def test_a_network_made_on_meta_takes_a_state_dict(released):
    def make():
        return FullAttention2d(
            8, 6, 3, 1, 1, squeeze=2, alpha_init=-0.6, attention_spectral_norm=True,
            released=released,
        )  # fmt: skip

    source = make()
    source(torch.randn(2, 8, 5, 5))  # the power iteration has moved
    with torch.device("meta"):
        empty = make()
    loaded = empty.to_empty(device="cpu")
    loaded.load_state_dict(source.state_dict())  # strict
    x = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(loaded.eval()(x), source.eval()(x))
    assert parametrize.is_parametrized(loaded.convolution)


@LAYERS
def test_per_sample_gradients_above_the_chunked_size(make):
    torch.manual_seed(0)
    options = {"use_batch_norm": False, "use_spectral_norm": False} if make is full else {}
    layer = make(**options)
    weights = {name: p.detach() for name, p in layer.named_parameters()}
    x = torch.randn(3, 8, LARGE, LARGE)

    def loss(weights, image):
        out = torch.func.functional_call(layer, weights, (image[None],))
        return out.square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    for i in range(3):
        layer.zero_grad()
        layer(x[i : i + 1]).square().sum().backward()
        for name, p in layer.named_parameters():
            torch.testing.assert_close(each[name][i], p.grad, rtol=1e-3, atol=1e-3)


@LAYERS
def test_forward_mode_above_the_chunked_size(make):
    torch.manual_seed(0)
    layer = make().double().eval()
    x = torch.randn(2, 8, LARGE, LARGE, dtype=torch.double)
    direction = torch.randn_like(x)
    _, slope = torch.func.jvp(layer, (x,), (direction,))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, direction)
        again = torch.autograd.forward_ad.unpack_dual(layer(dual)).tangent
    with torch.no_grad():
        numeric = (layer(x + 1e-6 * direction) - layer(x - 1e-6 * direction)) / 2e-6
    torch.testing.assert_close(slope, numeric, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(again, slope)


@LAYERS
def test_trace_can_be_saved(make, tmp_path):
    layer = make().eval()
    x = torch.randn(2, 8, LARGE, LARGE)
    torch.jit.trace(layer, x).save(str(tmp_path / "layer.pt"))
    other = torch.randn(2, 8, LARGE, LARGE)
    torch.testing.assert_close(torch.jit.load(str(tmp_path / "layer.pt"))(other), layer(other))


@pytest.mark.slow
@LAYERS
def test_export_keeps_the_batch_dynamic(make):
    layer = make().eval()
    batch = {0: torch.export.Dim("batch", min=2)}
    exported = torch.export.export(
        layer, (torch.randn(4, 8, LARGE, LARGE),), dynamic_shapes=({**batch},)
    )
    other = torch.randn(3, 8, LARGE, LARGE)
    torch.testing.assert_close(exported.module()(other), layer(other))


@pytest.mark.slow
@LAYERS
def test_compile_without_a_graph_break(make):
    layer = make().eval()
    x = torch.randn(2, 8, LARGE, LARGE)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


@LAYERS
@pytest.mark.parametrize("size", [5, LARGE])
def test_an_empty_batch_gives_an_empty_output(make, size):
    layer = make()
    x = torch.randn(0, 8, size, size, requires_grad=True)
    out = layer(x)
    assert out.shape == (0, 6 if make is full else 8, size, size)
    out.sum().backward()
    assert x.grad.shape == x.shape


@LAYERS
def test_one_image_without_a_batch_is_refused_by_name(make):
    layer = make()
    with pytest.raises(ValueError, match=rf"{type(layer).__name__} takes \(B, C, H, W\), not"):
        layer(torch.randn(8, 5, 5))


@pytest.mark.parametrize("alpha", [-0.7, 0.7])
def test_the_sign_of_a_gate_counts(alpha):
    """alpha and not its size, beside 1 - alpha and not 1 + alpha."""
    torch.manual_seed(0)
    for make in (full, own):
        layer = make().double()
        with torch.no_grad():
            layer.alpha.fill_(alpha)
        x = torch.randn(2, 8, 6, 6, dtype=torch.double)
        attention, rest = layer.branches(x)
        share = 1 - alpha if make is full else 1
        torch.testing.assert_close(layer(x), alpha * attention + share * rest)
        assert attention.abs().max() > 0.01


def test_query_asks_and_key_answers():
    """Softmax over the keys of q k^T: a map whose rows are queries. Each from its definition."""
    torch.manual_seed(0)
    layer = own().double()
    x = torch.randn(1, 8, 3, 4, dtype=torch.double)
    q, k, v = (getattr(layer, name)(x).flatten(2)[0] for name in ("query", "key", "value"))
    expected = torch.stack(
        [(v * torch.softmax(q[:, i] @ k, dim=0)).sum(1) for i in range(12)], dim=1
    )
    attention, _ = layer.branches(x)
    torch.testing.assert_close(attention[0].flatten(1), expected)
