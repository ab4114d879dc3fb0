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


PARTS = {
    "alpha": "gamma",
    "query.": "query_conv.",
    "key.": "key_conv.",
    "value.": "value_conv.",
    "convolution.": "residual_conv.",
}
SPECTRAL = {
    "residual_conv.bias": "residual_conv.module.bias",
    "parametrizations.weight.original": "module.weight_bar",
    "parametrizations.weight.0.": "module.weight_",
}


def their_names(ours):
    """{our parameter or buffer: what the package calls it}."""
    names = {name: name for name in ours.state_dict()}
    normed = any("parametrizations" in name for name in names)
    for old, new in (PARTS | (SPECTRAL if normed else {})).items():
        names = {ours: theirs.replace(old, new) for ours, theirs in names.items()}
    return names


def copy(ours, theirs, alpha):
    """All of ours into all of theirs; the gates of both are alpha."""
    with torch.no_grad():
        ours.alpha.fill_(alpha)
    # the package has a batch norm even where it uses none
    tensors = {k: x for k, x in theirs.state_dict().items() if k.startswith("batch_norm.")}
    names = their_names(ours)
    tensors |= {names[name]: x for name, x in ours.state_dict().items()}
    theirs.load_state_dict(tensors)  # strict


def assert_same_function(ours, theirs, x, blind):
    """Outputs, and the gradients of the input and of every parameter but the blind, agree."""
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = ours(a), theirs(b)[0]
    assert_equal(out, expected)
    weights = torch.randn_like(expected)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    assert_equal(a.grad, b.grad)
    names, other = their_names(ours), dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if name not in blind:
            expected = other[names[name]].grad
            assert expected.abs().max() > 0, f"{name} saw no gradient: a vacuous test"
            assert_equal(parameter.grad, expected)


@pytest.mark.parametrize(
    ("squeeze", "activation", "alpha"),
    [(1, None, -0.7), (2, nn.LeakyReLU(0.2), 0.6), (8, None, 0.6), (8, nn.LeakyReLU(0.2), -0.7)],
)
def test_self_attention_is_the_packages(squeeze, activation, alpha):
    theirs = SelfAttention(16, activation, squeeze)
    ours = SelfAttention2d(16, squeeze=squeeze, activation=activation)
    copy(ours, theirs, alpha)
    # a key bias shifts all logits of a query alike: its gradient is exactly 0 in both
    assert_same_function(ours, theirs, torch.randn(2, 16, 5, 6), {"key.bias"})


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
    copy(ours, theirs, alpha)
    # a key bias never has a gradient; the convolution's bias has none under batch norm
    blind = {"key.bias"} | ({"convolution.bias"} if batch_norm else set())
    assert_same_function(ours, theirs, torch.randn(3, 8, 6, 6), blind)


def test_defaults_are_the_packages():
    for ours, theirs in (
        (SelfAttention2d(16), SelfAttention(16)),
        (FullAttention2d(16, 6, released=True), FullAttention(16, 6)),
    ):
        assert ours.alpha == theirs.gamma == 0
        copy(ours, theirs, -0.6)
        x = torch.randn(2, 16, 5, 5)
        assert_equal(ours(x), theirs(x)[0])


def naive_attention(q, k, v, heads):
    """Loops over images, heads and queries; (B, C, *S) each."""
    q, k, v = (x.flatten(2) for x in (q, k, v))
    out = v.new_zeros(v.shape[0], v.shape[1], q.shape[2])
    d, c = q.shape[1] // heads, v.shape[1] // heads
    for b, h, i in product(range(q.shape[0]), range(heads), range(q.shape[2])):
        rows, cols = slice(h * d, (h + 1) * d), slice(h * c, (h + 1) * c)
        weights = (k[b, rows].T @ q[b, rows, i]).exp()
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


def gradient(layer, *xs):
    """Of several passes before one backward pass."""
    layer.zero_grad()
    sum(layer(x).square().sum() for x in xs).backward()
    return torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None])


def together_and_apart(layer, xs):
    """The gradient of several passes at once, and the sum of those of the same passes."""
    start = {name: x.clone() for name, x in layer.state_dict().items()}
    together = gradient(layer, *xs)
    layer.load_state_dict(start)
    return together, sum(gradient(layer, x) for x in xs)


def test_released_spectral_norm_has_the_packages_wrong_gradient_and_ours_is_exact():
    """Two passes before one backward: the package's gradient is that of other u and v."""
    xs = [torch.randn(2, 6, 7, 7) for _ in range(2)]
    theirs = SpectralNorm(nn.Conv2d(6, 4, 3))
    ours = spectral_norm(nn.Conv2d(6, 4, 3), released=True)
    names = their_names(ours) | {"bias": "module.bias"}
    theirs.load_state_dict({names[name]: x for name, x in ours.state_dict().items()})
    expected = gradient(theirs, *xs)
    together, apart = together_and_apart(ours, xs)
    assert_equal(together, expected)
    assert (together - apart).abs().max() > 1e-2 * together.abs().max()
    assert_equal(*together_and_apart(spectral_norm(nn.Conv2d(6, 4, 3)), xs))
