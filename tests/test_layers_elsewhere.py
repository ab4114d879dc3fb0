"""The layers in other people's networks: reparametrised, hooked, wrapped, moved, transformed."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from fagan.layers import FullAttention2d, SelfAttention2d, are_fusible

LARGE = 17  # a map of 289 positions, above what a CPU computes for a whole batch at once

# torch.nn.utils.spectral_norm warns that it will go, and torch.jit too; networks still have them
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def full(**options):
    return FullAttention2d(8, 6, 3, 1, 1, squeeze=2, alpha_init=-0.6, **options)


def own(**options):
    return SelfAttention2d(8, squeeze=2, alpha_init=-0.6, **options)


LAYERS = pytest.mark.parametrize("make", [full, own])


class Lora(nn.Module):
    """As adapters wrap a convolution: no weight of its own name, a second path beside it."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down = nn.Conv2d(base.in_channels, 2, base.kernel_size, base.stride, base.padding)
        self.up = nn.Conv2d(2, base.out_channels, 1)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class Doubling(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def subclass(layer):
    layer.value = Doubling(8, layer.value.out_channels, 3, padding=1)


def parametrized_subclass(layer):
    subclass(layer)
    parametrizations.spectral_norm(layer.value)


def patched(layer):
    forward = layer.query.forward
    layer.query.forward = lambda x: 2 * forward(x)


def replacing(*names, kernel=3, **options):
    """The named projections in another geometry of the same output size."""

    def change(layer):
        for name in names:
            width = getattr(layer, name).out_channels
            setattr(layer, name, nn.Conv2d(8, width, kernel, **options))

    return change


ALL = "query", "key", "value"
CHANGES = {
    "nothing": lambda layer: None,
    "old spectral norm": lambda layer: nn.utils.spectral_norm(layer.value),
    "new spectral norm": lambda layer: parametrizations.spectral_norm(layer.key),
    "lora": lambda layer: setattr(layer, "value", Lora(layer.value)),
    "subclass": subclass,
    "parametrized subclass": parametrized_subclass,
    "patched": patched,
    "reflecting": replacing(*ALL, padding=1, padding_mode="reflect"),
    "grouped": replacing(*ALL, padding=1, groups=2),
    "dilated": replacing(*ALL, padding=2, dilation=2),  # one geometry: it stays one convolution
    "same": replacing(*ALL, padding="same"),
    "one of another kernel": replacing("value", kernel=5, padding=2),
    "one of another dilation": replacing("key", padding=2, dilation=2),
    "one without bias": replacing("query", padding=1, bias=False),
}


@LAYERS
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_projection_trains_as_by_itself(make, change):
    """Outputs and every gradient are those of the plain path, and no weight is left out."""
    x, found = torch.randn(3, 8, 6, 6), []
    for exact in (False, True):
        torch.manual_seed(0)
        layer = make(exact=exact)
        CHANGES[change](layer)
        out = layer(x)
        out.square().sum().backward()
        found.append((out.detach(), {n: p.grad for n, p in layer.named_parameters()}))
    (out, gradients), (plain_out, plain) = found
    torch.testing.assert_close(out, plain_out)
    for name, grad in plain.items():
        assert gradients[name] is not None, f"{name} never trains"
        torch.testing.assert_close(gradients[name], grad, rtol=1e-7, atol=1e-10)
        # a key's bias shifts all logits of a query alike, batch norm takes the convolution's away
        assert grad.abs().max() > 1e-7 or name in ("key.bias", "convolution.bias"), name


@LAYERS
@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)  # fmt: skip
def test_a_hook_on_a_projection_fires(make, register):
    layer, seen = make(), []
    handle = getattr(layer.value, register)(lambda *_: seen.append(register))
    layer(torch.randn(2, 8, 5, 5, requires_grad=True)).sum().backward()
    assert seen == [register]
    handle.remove()
    assert are_fusible(layer.query, layer.key, layer.value)


def test_plain_projections_are_still_computed_as_one():
    google, up = own(variant="google"), full(transposed=True)
    for layer in (full(), own(), google, up, full(attention_spectral_norm=True)):
        assert are_fusible(layer.query, layer.key, layer.value)


@LAYERS
@pytest.mark.parametrize("released", [False, True])
def test_a_network_made_on_meta_takes_a_state_dict(make, released):
    options = {"attention_spectral_norm": True, "released": released}
    source, x = make(**options), torch.randn(2, 8, 5, 5)
    source(x)  # the power iteration has moved
    with torch.device("meta"):
        empty = make(**options)
    loaded = empty.to_empty(device="cpu")
    loaded.load_state_dict(source.state_dict())  # strict
    torch.testing.assert_close(loaded.eval()(x), source.eval()(x))
    assert parametrize.is_parametrized(loaded.query)


@LAYERS
def test_per_sample_gradients_above_the_chunked_size(make):
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
            torch.testing.assert_close(each[name][i], p.grad, rtol=1e-7, atol=1e-9)


@LAYERS
def test_a_jacobian_above_the_chunked_size(make):
    """vectorize batches the gradients of one eager pass."""
    layer, x = make().eval(), torch.randn(1, 8, LARGE, LARGE)

    def corner(x):
        return layer(x)[0, :3, 0, 0]

    jacobian = torch.autograd.functional.jacobian
    torch.testing.assert_close(jacobian(corner, x, vectorize=True), jacobian(corner, x))


@LAYERS
def test_trace_can_be_saved(make, tmp_path):
    """And takes another batch and another size of map."""
    layer = make().eval()
    torch.jit.trace(layer, torch.randn(2, 8, LARGE, LARGE)).save(str(tmp_path / "layer.pt"))
    other = torch.randn(3, 8, LARGE, LARGE + 1)
    torch.testing.assert_close(torch.jit.load(str(tmp_path / "layer.pt"))(other), layer(other))


@pytest.mark.slow
@LAYERS
def test_export_keeps_the_batch_dynamic(make):
    layer = make().eval()
    batch = {0: torch.export.Dim("batch", min=2)}
    x, other = torch.randn(4, 8, LARGE, LARGE), torch.randn(3, 8, LARGE, LARGE)
    exported = torch.export.export(layer, (x,), dynamic_shapes=(batch,))
    torch.testing.assert_close(exported.module()(other), layer(other))


@pytest.mark.slow
@LAYERS
def test_compile_without_a_graph_break(make):
    layer, x = make().eval(), torch.randn(2, 8, LARGE, LARGE)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (layer, compiled):
        layer.zero_grad()
        out = function(x)
        out.square().sum().backward()
        gradients.append([out.detach(), *(p.grad.clone() for p in layer.parameters())])
    for eager, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, eager, rtol=1e-7, atol=1e-9)


@LAYERS
def test_one_image_without_a_batch_is_refused_by_name(make):
    layer = make()
    with pytest.raises(ValueError, match=rf"{type(layer).__name__} takes \(B, C, H, W\), not"):
        layer(torch.randn(8, 5, 5))


def test_a_frozen_gate_stays_frozen_when_the_network_is_thawed():
    layer = full(alpha="frozen")
    layer.requires_grad_(False).requires_grad_(True)
    assert "alpha" not in dict(layer.named_parameters())
    assert layer.state_dict()["alpha"] == -0.6


@pytest.mark.parametrize("layer", [SelfAttention2d, lambda c, **k: FullAttention2d(c, c, **k)])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"squeeze": 32}, "squeeze=32 is more than the layer's 16"),
        ({"squeeze": 0}, "squeeze=0 must be 1 or more"),
        ({"heads": 0}, "heads=0 must be 1 or more"),
        ({"heads": 3, "squeeze": 2}, "heads=3 do not divide a width of 8"),
        ({"alpha": "free"}, "alpha='free'"),
    ],
)
def test_layers_refuse_what_cannot_be(layer, wrong, message):
    with pytest.raises(ValueError, match=message):
        layer(16, **wrong)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="merge='sum'"):
        FullAttention2d(8, 8, merge="sum")
    with pytest.raises(ValueError, match="variant='paper'"):
        SelfAttention2d(8, variant="paper")
