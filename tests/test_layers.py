"""The layers against the released package's: float64, 1e-10, outputs and gradients, open gates."""

from itertools import product

import package
import pytest
import torch
from attn_gan_pytorch.CustomLayers import FullAttention, SelfAttention, SpectralNorm
from torch import nn

from fagan.layers import FullAttention2d, SelfAttention2d
from fagan.spectral_norm import spectral_norm


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def assert_equal(ours, theirs):
    assert (ours - theirs).abs().max() <= 1e-10 * max(1, theirs.abs().max())


def assert_same_function(ours, theirs, names, x):
    """Outputs, and the gradients of the input and of every named parameter, agree."""
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = ours(a), theirs(b)[0]
    assert_equal(out, expected)
    weights = torch.randn_like(expected)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    assert_equal(a.grad, b.grad)
    mine, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    for name, their_name in names.items():
        assert other[their_name].grad.abs().max() > 0, (
            f"{their_name} saw no gradient: a vacuous test"
        )
        assert_equal(mine[name].grad, other[their_name].grad)


def copy(ours, theirs, names):
    mine, other = ours.state_dict(), theirs.state_dict()
    for name, their_name in names.items():
        mine[name].copy_(other[their_name])


SELF = {
    "alpha": "gamma",
    **{
        f"{part}.{kind}": f"{part}_conv.{kind}"
        for part in ("query", "key", "value")
        for kind in ("weight", "bias")
    },
}


@pytest.mark.parametrize("squeeze", [1, 2, 8])
@pytest.mark.parametrize("activation", [None, nn.LeakyReLU(0.2)])
def test_self_attention_is_the_packages(squeeze, activation):
    theirs = SelfAttention(16, activation, squeeze)
    ours = SelfAttention2d(16, squeeze=squeeze, activation=activation)
    # a key bias shifts all logits of a query alike: its gradient is exactly 0 in both
    names = {k: v for k, v in SELF.items() if k != "key.bias"}
    package.open_gates(theirs)
    copy(ours, theirs, SELF)
    assert_same_function(ours, theirs, names, torch.randn(2, 16, 5, 6))


GEOMETRY = [(1, 1, 0), (3, 1, 1), (4, 2, 1), (4, 1, 0), (5, 3, 2)]


@pytest.mark.parametrize(
    "geometry,transposed,norm,batch_norm,activation,bias,squeeze",
    [
        (geometry, transposed, norm, batch_norm, activation, bias, squeeze)
        for (geometry, transposed), norm, batch_norm, activation, bias, squeeze in product(
            product(GEOMETRY, [False, True]),
            [False, True],
            [False, True],
            [None, nn.LeakyReLU(0.3)],
            [False, True],
            [1, 4],
        )
    ],
)
def test_full_attention_is_the_packages(
    geometry, transposed, norm, batch_norm, activation, bias, squeeze
):
    kernel, stride, padding = geometry
    theirs = FullAttention(
        8, 6, activation, (kernel,) * 2, transposed, norm, batch_norm, squeeze,
        (stride,) * 2, (padding,) * 2, bias,
    )  # fmt: skip
    ours = FullAttention2d(
        8, 6, kernel, stride, padding, transposed=transposed, squeeze=squeeze,
        activation=activation, use_spectral_norm=norm, use_batch_norm=batch_norm, bias=bias,
        released=True,
    )  # fmt: skip
    names = {"alpha": "gamma"}
    kinds = ["weight", "bias"] if bias else ["weight"]
    for part in ("query", "key", "value"):
        names |= {f"{part}.{kind}": f"{part}_conv.{kind}" for kind in kinds}
    state = {}
    if norm:
        inside = "residual_conv.module"
        names["convolution.parametrizations.weight.original"] = f"{inside}.weight_bar"
        state = {
            f"convolution.parametrizations.weight.0.{vector}": f"{inside}.weight_{vector}"
            for vector in "uv"
        }
        if bias:
            names["convolution.bias"] = f"{inside}.bias"
    else:
        names |= {f"convolution.{kind}": f"residual_conv.{kind}" for kind in kinds}
    if batch_norm:
        names |= {f"batch_norm.{kind}": f"batch_norm.{kind}" for kind in ("weight", "bias")}
    package.open_gates(theirs)
    copy(ours, theirs, names | state)
    # a key bias never has a gradient; the convolution's bias has none under batch norm
    blind = {"key.bias"} | ({"convolution.bias"} if batch_norm else set())
    seen = {k: v for k, v in names.items() if k not in blind}
    assert_same_function(ours, theirs, seen, torch.randn(3, 8, 6, 6))


def test_a_small_change_of_any_weight_is_seen():
    """The parity test's own test: 0.1 % on one weight is far above its tolerance."""
    theirs = FullAttention(8, 6, None, (3, 3), False, False, False, 4, (1, 1), (1, 1))
    package.open_gates(theirs)
    x = torch.randn(2, 8, 5, 5)
    before = theirs(x)[0].detach()
    for name in ("query_conv", "key_conv", "value_conv", "residual_conv"):
        weight = getattr(theirs, name).weight
        with torch.no_grad():
            weight.mul_(1.001)
            assert (theirs(x)[0] - before).abs().max() > 1e-7, name
            weight.div_(1.001)


def naive_attention(q, k, v, heads):
    """Loops over images, heads and queries; (B, C, *S) each."""
    q, k, v = (x.flatten(2) for x in (q, k, v))
    out = v.new_zeros(v.shape[0], v.shape[1], q.shape[2])
    d, c = q.shape[1] // heads, v.shape[1] // heads
    for b, h, i in product(range(q.shape[0]), range(heads), range(q.shape[2])):
        rows, cols = slice(h * d, (h + 1) * d), slice(h * c, (h + 1) * c)
        weights = torch.stack([q[b, rows, i] @ k[b, rows, j] for j in range(k.shape[2])]).exp()
        out[b, cols, i] = (v[b, cols] * (weights / weights.sum())).sum(1)
    return out


@pytest.mark.parametrize("heads", [1, 2])
def test_google_variant_from_its_definition(heads):
    layer = SelfAttention2d(16, variant="google", squeeze=4, heads=heads, alpha_init=0.7).eval()
    x = torch.randn(2, 16, 4, 6)
    weights = [
        layer.get_submodule(n).weight[:, :, 0, 0] for n in ("query", "key", "value", "output")
    ]
    q, k, v = (torch.einsum("oc,bchw->bohw", w, x) for w in weights[:3])
    assert q.shape[1] == 4 and v.shape[1] == 8
    k, v = (t.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)) for t in (k, v))
    attention = naive_attention(q, k, v, heads)
    expected = x + 0.7 * torch.einsum("oc,bcn->bon", weights[3], attention).view_as(x)
    assert_equal(layer(x), expected)
    for name in ("query", "key", "value", "output"):
        assert layer.get_submodule(name).bias is None
        sigma = torch.linalg.matrix_norm(layer.get_submodule(name).weight.flatten(1), 2)
        assert 0.8 < sigma < 1.3  # spectral norm, before its power iteration has converged


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(
    "merge,alpha", [("alpha", "learned"), ("alpha", "channel"), ("concat", "learned")]
)
def test_full_attention_options_from_their_definition(transposed, heads, merge, alpha):
    layer = FullAttention2d(
        8, 6, 3, 2, 1, 1 if transposed else 0, transposed=transposed, squeeze=2, heads=heads,
        merge=merge, alpha=alpha, alpha_init=0.4, activation=nn.LeakyReLU(0.3),
        use_spectral_norm=False,
    )  # fmt: skip
    if alpha == "channel" and merge == "alpha":
        with torch.no_grad():
            layer.alpha.copy_(torch.linspace(-0.5, 1.5, 6).view(6, 1, 1))
    x = torch.randn(2, 8, 4, 4)
    activation, norm = nn.LeakyReLU(0.3), nn.BatchNorm2d(6)
    convolution = activation(norm(layer.convolution(x)))
    q, k, v = layer.query(x), layer.key(x), layer.value(x)
    attention = activation(naive_attention(q, k, v, heads).view_as(v))
    if merge == "concat":
        assert not hasattr(layer, "alpha")
        weight = layer.join.weight[:, :, 0, 0]
        expected = torch.einsum("oc,bchw->bohw", weight, torch.cat((attention, convolution), 1))
        expected = expected + layer.join.bias[:, None, None]
    else:
        expected = layer.alpha * attention + (1 - layer.alpha) * convolution
    assert_equal(layer(x), expected)
    assert layer(x).shape == ((2, 6, 8, 8) if transposed else (2, 6, 2, 2))


def test_alpha_zero_gives_the_attention_no_gradient_and_alpha_one():
    """The consequence that FAGAN's start rests on: at alpha = 0 only alpha itself moves."""
    layer = FullAttention2d(8, 6, 3, 1, 1, squeeze=2)
    x = torch.randn(2, 8, 5, 5)
    layer(x).square().sum().backward()
    for part in (layer.query, layer.key, layer.value):
        assert part.weight.grad.abs().max() == 0
    assert layer.alpha.grad.abs() > 0


def test_a_frozen_gate_stays_frozen_when_the_network_is_thawed():
    layer = FullAttention2d(8, 6, alpha="frozen", alpha_init=0.5)
    layer.requires_grad_(False).requires_grad_(True)
    assert "alpha" not in dict(layer.named_parameters())
    assert layer.state_dict()["alpha"] == 0.5


@pytest.mark.parametrize("transposed", [False, True])
def test_exact_spectral_norm_divides_by_the_largest_singular_value(transposed):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = spectral_norm(kind(6, 4, 3))
    for _ in range(300):
        _ = layer.weight
    rows = layer.weight.transpose(0, 1) if transposed else layer.weight
    sigma = torch.linalg.matrix_norm(rows.detach().flatten(1), 2)
    assert sigma.item() == pytest.approx(1, abs=1e-9)


def two_pass_gradient(layer, xs):
    layer.zero_grad()
    sum(layer(x).square().sum() for x in xs).backward()
    return [p.grad.clone() for p in layer.parameters() if p.grad is not None]


def test_released_spectral_norm_has_the_packages_wrong_gradient_and_ours_is_exact():
    """Two passes before one backward: the package's gradient is that of other u and v."""
    xs = [torch.randn(2, 6, 7, 7) for _ in range(2)]
    theirs = SpectralNorm(nn.Conv2d(6, 4, 3))
    ours = spectral_norm(nn.Conv2d(6, 4, 3), released=True)
    norm, inside = ours.parametrizations.weight[0], theirs.module
    with torch.no_grad():
        ours.parametrizations.weight.original.copy_(inside.weight_bar)
        ours.bias.copy_(inside.bias)
        norm.u.copy_(inside.weight_u)
        norm.v.copy_(inside.weight_v)
    start = {k: v.clone() for k, v in ours.state_dict().items()}
    expected = two_pass_gradient(theirs, xs)
    got = two_pass_gradient(ours, xs)
    for a, b in zip(sorted(got, key=torch.numel), sorted(expected, key=torch.numel), strict=True):
        assert_equal(a, b)

    # each pass on its own is right; their sum is what an exact layer computes
    ours.load_state_dict(start)
    apart = [torch.cat([g.flatten() for g in two_pass_gradient(ours, [x])]) for x in xs]
    together = torch.cat([g.flatten() for g in got])
    assert (together - sum(apart)).abs().max() > 1e-2 * together.abs().max()

    exact = spectral_norm(nn.Conv2d(6, 4, 3))
    start = {k: v.clone() for k, v in exact.state_dict().items()}
    got = torch.cat([g.flatten() for g in two_pass_gradient(exact, xs)])
    exact.load_state_dict(start)
    apart = [torch.cat([g.flatten() for g in two_pass_gradient(exact, [x])]) for x in xs]
    assert_equal(got, sum(apart))


def test_layers_refuse_what_cannot_be():
    with pytest.raises(ValueError, match="squeeze=8 is more than the layer's 3"):
        FullAttention2d(3, 8, squeeze=8)
    with pytest.raises(ValueError, match="heads=3 do not divide"):
        SelfAttention2d(16, squeeze=2, heads=3)
    with pytest.raises(ValueError, match="merge='sum'"):
        FullAttention2d(8, 8, merge="sum")
    with pytest.raises(ValueError, match="variant='paper'"):
        SelfAttention2d(8, variant="paper")


@pytest.mark.parametrize("layer", [SelfAttention2d, lambda c, **k: FullAttention2d(c, c, **k)])
@pytest.mark.parametrize("wrong", [{"heads": 0}, {"squeeze": 0}, {"heads": -1}])
def test_a_layer_of_no_heads_or_channels_is_refused(layer, wrong):
    with pytest.raises(ValueError, match="must be 1 or more"):
        layer(16, **wrong)


def test_a_gradient_penalty_reaches_every_weight():
    """Above the size from which attention is computed one image at a time."""
    torch.manual_seed(0)
    layers = [FullAttention2d(4, 4, squeeze=2, alpha_init=0.5, exact=e) for e in (True, False)]
    layers[1].load_state_dict(layers[0].state_dict())
    gradients = []
    for layer in layers:
        x = torch.randn(2, 4, 17, 17, generator=torch.Generator().manual_seed(1))
        out = layer(x.requires_grad_()).pow(2).sum()
        (slope,) = torch.autograd.grad(out, x, create_graph=True)
        slope.pow(2).sum().backward()
        gradients.append({name: p.grad for name, p in layer.named_parameters()})
    for name, plain in gradients[0].items():
        assert plain.abs().max() > 0, name
        torch.testing.assert_close(gradients[1][name], plain)
