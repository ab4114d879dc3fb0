"""The layers against the released package's: float64, 1e-10, outputs and gradients, open gates.

Gates are opened to values of both signs: at 0 a test sees nothing of the attention.
"""

from itertools import product

import pytest
import torch
from attn_gan_pytorch.CustomLayers import FullAttention, SelfAttention, SpectralNorm
from torch import nn
from torch.nn.utils import parametrize

from fagan.layers import FullAttention2d, SelfAttention2d
from fagan.spectral_norm import ReleasedSpectralNorm, left_out, spectral_norm


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


def open_gate(theirs, alpha):
    with torch.no_grad():
        theirs.gamma.fill_(alpha)


SELF = {
    "alpha": "gamma",
    **{
        f"{part}.{kind}": f"{part}_conv.{kind}"
        for part in ("query", "key", "value")
        for kind in ("weight", "bias")
    },
}


@pytest.mark.parametrize(
    ("squeeze", "activation", "alpha"),
    [(1, None, -0.7), (2, nn.LeakyReLU(0.2), 0.6), (8, None, 0.6), (8, nn.LeakyReLU(0.2), -0.7)],
)
def test_self_attention_is_the_packages(squeeze, activation, alpha):
    theirs = SelfAttention(16, activation, squeeze)
    ours = SelfAttention2d(16, squeeze=squeeze, activation=activation)
    # a key bias shifts all logits of a query alike: its gradient is exactly 0 in both
    names = {k: v for k, v in SELF.items() if k != "key.bias"}
    open_gate(theirs, alpha)
    copy(ours, theirs, SELF)
    assert_same_function(ours, theirs, names, torch.randn(2, 16, 5, 6))


def full_names(norm=True, batch_norm=True, bias=True):
    """({our parameter: theirs}, the same for the spectral norm's vectors)."""
    kinds = ["weight", "bias"] if bias else ["weight"]
    parts = {"query": "query_conv", "key": "key_conv", "value": "value_conv"}
    parts |= {"batch_norm": "batch_norm"} if batch_norm else {}
    parts |= {} if norm else {"convolution": "residual_conv"}
    names = {f"{a}.{kind}": f"{b}.{kind}" for a, b in parts.items() for kind in kinds}
    names |= {"alpha": "gamma"}
    if batch_norm:
        names["batch_norm.bias"] = "batch_norm.bias"
    if not norm:
        return names, {}
    ours, theirs = "convolution.parametrizations.weight", "residual_conv.module.weight"
    names[f"{ours}.original"] = f"{theirs}_bar"
    if bias:
        names["convolution.bias"] = "residual_conv.module.bias"
    return names, {f"{ours}.0.{vector}": f"{theirs}_{vector}" for vector in "uv"}


GEOMETRY = [(1, 1, 0), (3, 1, 1), (4, 2, 1), (4, 1, 0), (5, 3, 2)]
SWITCHES = {
    "norm": False, "batch_norm": False, "activation": nn.LeakyReLU(0.3), "bias": False,
    "squeeze": 1, "alpha": -0.7,
}  # fmt: skip


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRY)
@pytest.mark.parametrize(
    "switched", [[], *([name] for name in SWITCHES), [*SWITCHES]], ids=lambda x: "+".join(x)
)
def test_full_attention_is_the_packages(geometry, transposed, switched):
    """Each switch by itself and all of them together."""
    options = {"norm": True, "batch_norm": True, "activation": None, "bias": True, "squeeze": 4}
    options |= {"alpha": 0.6} | {name: SWITCHES[name] for name in switched}
    norm, batch_norm, activation, bias, squeeze, alpha = options.values()
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
    names, vectors = full_names(norm, batch_norm, bias)
    open_gate(theirs, alpha)
    copy(ours, theirs, names | vectors)
    # a key bias never has a gradient; the convolution's bias has none under batch norm
    blind = {"key.bias"} | ({"convolution.bias"} if batch_norm else set())
    seen = {k: v for k, v in names.items() if k not in blind}
    assert_same_function(ours, theirs, seen, torch.randn(3, 8, 6, 6))


def test_defaults_are_the_packages():
    ours, theirs = FullAttention2d(16, 6, released=True), FullAttention(16, 6)
    names, vectors = full_names()
    assert {*ours.state_dict()} - {*names, *vectors} == {
        f"batch_norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert ours.alpha == theirs.gamma == 0
    open_gate(theirs, -0.6)
    copy(ours, theirs, names | vectors)
    x = torch.randn(2, 16, 5, 5)
    assert_equal(ours(x), theirs(x)[0])
    assert {*SelfAttention2d(16).state_dict()} == {*SELF}


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
@pytest.mark.parametrize("alpha", ["learned", "channel"])
def test_google_variant_from_its_definition(heads, alpha):
    layer = SelfAttention2d(16, variant="google", squeeze=4, heads=heads, alpha=alpha).eval()
    with torch.no_grad():
        values = torch.linspace(-0.5, 1.5, 16).view(16, 1, 1) if alpha == "channel" else -0.7
        layer.alpha.copy_(torch.as_tensor(values))
    x = torch.randn(2, 16, 4, 6)
    weights = [
        layer.get_submodule(n).weight[:, :, 0, 0] for n in ("query", "key", "value", "output")
    ]
    q, k, v = (torch.einsum("oc,bchw->bohw", w, x) for w in weights[:3])
    assert q.shape[1] == 4 and v.shape[1] == 8
    k, v = (t.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)) for t in (k, v))
    attention = naive_attention(q, k, v, heads)
    attention = torch.einsum("oc,bcn->bon", weights[3], attention).view_as(x)
    assert_equal(layer(x), x + layer.alpha * attention)
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
        merge=merge, alpha=alpha, alpha_init=-0.4, activation=nn.LeakyReLU(0.3),
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


@pytest.mark.parametrize("transposed", [False, True])
def test_exact_spectral_norm_divides_by_the_largest_singular_value(transposed):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = spectral_norm(kind(6, 4, 3))
    for _ in range(300):
        _ = layer.weight
    rows = layer.weight.transpose(0, 1) if transposed else layer.weight
    sigma = torch.linalg.matrix_norm(rows.detach().flatten(1), 2)
    assert sigma.item() == pytest.approx(1, abs=1e-9)


def test_spectral_norm_is_where_it_is_asked_for():
    def normed(layer):
        return [name for name, m in layer.named_children() if parametrize.is_parametrized(m)]

    qkv = ["query", "key", "value"]
    assert normed(SelfAttention2d(8)) == []
    assert normed(SelfAttention2d(8, attention_spectral_norm=True)) == qkv
    assert normed(FullAttention2d(8, 8)) == ["convolution"]
    assert normed(FullAttention2d(8, 8, use_spectral_norm=False)) == []
    layer = FullAttention2d(8, 8, attention_spectral_norm=True, released=True)
    assert normed(layer) == [*qkv, "convolution"]
    google = SelfAttention2d(8, variant="google", released=True)
    for part in (layer.key, layer.convolution, google.value, google.output):
        assert isinstance(part.parametrizations.weight[0], ReleasedSpectralNorm)
    with pytest.raises(RuntimeError), left_out():
        assert normed(FullAttention2d(8, 8)) == []
        raise RuntimeError
    assert normed(FullAttention2d(8, 8)) == ["convolution"]


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
