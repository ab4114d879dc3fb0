"""Architectures: shapes, the released networks to the letter, matched controls, gates, seeds."""

import package
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from fagan.architectures import ARCHITECTURES, MATCHED
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.layers import FullAttention2d, SelfAttention2d
from fagan.losses import LOSSES
from fagan.models import Generator, alphas, build, parameters
from fagan.released import from_package, load_package_file, to_package
from fagan.released import networks as released_networks
from fagan.spectral_norm import left_out


def config(**params):
    return RunConfig.from_params({"width": 0.25, **params})


@pytest.mark.parametrize("resolution", [32, 64, 128])
@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *MATCHED])
def test_every_architecture_at_every_resolution(architecture, resolution):
    g, d = build(config(architecture=architecture, resolution=resolution))
    n = 2 if resolution < 128 else 1  # a map of 64 x 64 positions takes its time
    images = g(torch.randn(n, 128))
    assert images.shape == (n, 3, resolution, resolution)
    assert images.abs().max() <= 1
    assert d(images).shape == (n,)
    attends = "dcgan" not in architecture and architecture not in ("resnet", "resnet-wide")
    for network in (g, d):
        assert bool(alphas(network)) == attends
        assert all(value == 0 for value in alphas(network).values())


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 6, 7])
def test_every_kernel_keeps_the_sizes(kernel_size):
    g, d = build(config(architecture="fagan-pure", resolution=32, kernel_size=kernel_size))
    images = g(torch.randn(2, 128))
    assert images.shape == (2, 3, 32, 32)
    assert d(images).shape == (2,)


def test_a_users_own_stages():
    g, d = build(config(architecture="F C+A, output F | C F+A", resolution=16))
    assert g(torch.randn(2, 128)).shape == (2, 3, 16, 16)
    assert list(alphas(g)) == ["full 4x4", "self 8x8", "full 16x16"]
    assert list(alphas(d)) == ["full 4x4", "self 4x4"]


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_stages_that_resize(kernel_size):
    """RC and RF: nearest neighbours before the layer in G, means of 2 x 2 after it in D."""
    stages = {"architecture": "C RC RF+A | C RF RC+A", "resolution": 32}
    g, d = build(config(**stages, kernel_size=kernel_size))
    assert d(g(torch.randn(2, 128))).shape == (2,)
    assert list(alphas(g)) == ["full 16x16", "self 16x16"]
    assert list(alphas(d)) == ["full 16x16", "self 4x4"]  # its own size, before it is halved
    for network, places in ((g, (2, 4)), (d, (1, 3))):
        for layer in (network.stages[place] for place in places):
            convolution = layer.convolution if hasattr(layer, "convolution") else layer[0]
            assert type(convolution).__name__ == "ParametrizedConv2d"
            assert convolution.kernel_size == (kernel_size,) * 2 and convolution.stride == (1, 1)
            assert convolution.padding == (kernel_size // 2,) * 2
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(g.stages[1](x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert torch.allclose(d.stages[2](x)[0, 0, 0, 0], x[0, 0, :2, :2].mean())


def test_a_plain_1x1_network_that_resizes_leaves_no_holes():
    """At stride 2 three pixels in four would be the bias alone; here each block has its cell's."""
    g, _ = build(config(architecture="C RC RC | C RC RC", resolution=32, kernel_size=1))
    features = g.eval().stages(torch.randn(2, 128, 1, 1))
    assert features.shape[2:] == (16, 16)
    blocks = features.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)
    assert torch.equal(blocks.amin(-1), blocks.amax(-1)) and len(features.unique()) > 16


def gated(network):
    return [m for m in network.modules() if isinstance(m, FullAttention2d | SelfAttention2d)]


@pytest.mark.parametrize(
    "options",
    [
        {"squeeze": 4, "heads": 2, "alpha": "channel", "alpha_init": -0.25},
        {"alpha": "frozen", "attention_spectral_norm": True, "exact": True},
        {"merge": "concat", "self_attention": "google"},
    ],
)
def test_every_option_reaches_every_layer(options):
    wanted = config(architecture="F F+A, output F | F F+A", resolution=16, width=1, **options)
    g, d = build(wanted)
    # the image's 3 channels leave no room for a squeeze or heads
    (first, *inner), (*outer, output) = gated(d), gated(g)
    assert (first.query.out_channels, first.heads, output.heads) == (3, 1, 1)
    assert not parametrize.is_parametrized(output.convolution)
    assert isinstance(output.batch_norm, nn.Identity) and output.convolution.out_channels == 3
    for layer in [first, output, *inner, *outer]:
        full = isinstance(layer, FullAttention2d)
        assert layer.exact == wanted.exact
        if full:
            assert layer.merge == wanted.merge
        if not full or wanted.merge == "alpha":
            assert isinstance(layer.alpha, nn.Parameter) == (wanted.alpha != "frozen")
            assert (layer.alpha.numel() > 1) == (wanted.alpha == "channel")
            assert (layer.alpha == wanted.alpha_init).all()
        google = not full and wanted.self_attention == "google"
        normed = google or wanted.attention_spectral_norm
        assert parametrize.is_parametrized(layer.query) == normed
    for layer in [*inner, *outer]:
        assert layer.heads == wanted.heads
        assert layer.query.out_channels == layer.query.in_channels // wanted.squeeze


@pytest.mark.parametrize("width", [0.25, 1.0])
def test_controls_match_their_target_within_two_percent(width):
    for resolution in (32, 64, 128):
        for name, (_, target) in MATCHED.items():
            with torch.device("meta"), left_out():  # a norm has no parameters
                both = (
                    build(config(architecture=a, resolution=resolution, width=width))
                    for a in (name, target)
                )
                for one, other in zip(*both, strict=True):
                    assert abs(parameters(one) / parameters(other) - 1) < 0.02


def test_gates_of_a_network_of_ones_own():
    full = FullAttention2d(4, 2, squeeze=1, alpha="channel")
    net = nn.Sequential(full, nn.ReLU(), SelfAttention2d(2, squeeze=1, alpha_init=-0.5))
    with torch.no_grad():
        full.alpha.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1))
    assert alphas(net) == {"0": 0.5, "2": -0.5} and alphas(full) == {"": 0.5}
    assert alphas(FullAttention2d(3, 8, squeeze=1, merge="concat")) == {}


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    for architecture in ("fagan", "sagan-wide"):
        wanted = config(architecture=architecture, resolution=32, seed=3)
        torch.manual_seed(1)
        first = torch.rand(1)
        torch.manual_seed(1)
        a, b = build(wanted), build(wanted)
        assert torch.rand(1) == first
        for one, two in zip(a, b, strict=True):
            for x, y in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
                assert torch.equal(x, y)
    other, _ = build(wanted.with_(seed=4))
    assert not torch.equal(other.output.weight, a[0].output.weight)


def released(architecture):
    return RunConfig.from_params({"architecture": architecture, "released": True})


def test_parameter_counts_of_the_released_fagan():
    """8,110,039 and 3,777,659 as released, u and v and unused batch norms counted as parameters."""
    theirs = package.generator("fagan"), package.discriminator("fagan")
    assert [parameters(n) for n in theirs] == [8_110_039, 3_777_659]
    for ours, other in zip(build(released("fagan")), theirs, strict=True):
        spare = sum(
            p.numel()
            for name, p in other.named_parameters()
            if name.endswith(("weight_u", "weight_v"))
        )
        unused = 2 * 64 if other is theirs[1] else 0  # the first layer's batch norm
        assert parameters(ours) == parameters(other) - spare - unused


@pytest.mark.parametrize("architecture", ["fagan", "sagan"])
def test_converted_networks_compute_what_the_package_computes(architecture):
    """Outputs, the hinge loss and every gradient of a D step and a G step, float64, open gates."""
    torch.manual_seed(0)
    theirs = [
        package.generator(architecture).double(),
        package.discriminator(architecture).double(),
    ]
    ours = [n.double() for n in build(released(architecture))]
    for mine, other in zip(ours, theirs, strict=True):
        package.open_gates(other)
        from_package(mine, other.state_dict())
    z, real = torch.randn(4, 128).double(), torch.rand(4, 3, 64, 64).double() * 2 - 1

    fakes = [ours[0](z), theirs[0](z[:, :, None, None])]
    assert (fakes[0] - fakes[1]).abs().max() < 1e-10
    logits = [
        (d(real).flatten(), d(fake.detach()).flatten())
        for d, fake in zip((ours[1], theirs[1]), fakes, strict=True)
    ]
    losses = [LOSSES["hinge"].discriminator(*pair) for pair in logits]
    assert (losses[0] - losses[1]).abs() < 1e-10
    for loss in losses:
        loss.backward()
    assert_same_gradients(ours[1], theirs[1])
    for d, fake in zip((ours[1], theirs[1]), fakes, strict=True):
        LOSSES["hinge"].generator(None, d(fake).flatten()).backward()
    assert_same_gradients(ours[0], theirs[0])


def assert_same_gradients(ours, theirs):
    from fagan.released import _pairs

    mine, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    compared = 0
    for name, their_name in _pairs(ours).items():
        if name in mine:
            a, b = mine[name].grad, other[their_name].grad
            assert (a - b).abs().max() <= 1e-10 * max(1, b.abs().max()), name
            compared += bool(b.abs().max() > 1e-8)
    assert compared > 0.8 * len(mine)


@pytest.mark.parametrize("architecture", ["fagan", "sagan"])
def test_state_dicts_make_the_round_trip(architecture, tmp_path):
    for make, network in zip(
        (package.generator, package.discriminator), build(released(architecture)), strict=True
    ):
        theirs = make(architecture)
        file = tmp_path / "GAN_12.pth"
        torch.save(theirs.state_dict(), file)
        from_package(network, load_package_file(file))
        back = to_package(network)
        make(architecture).load_state_dict(back)  # strict: every key of the package is there
        for key, value in theirs.state_dict().items():
            assert torch.equal(back[key], value), key


def test_converting_into_the_exact_spectral_norm_finds_its_vectors():
    theirs = package.generator("fagan")
    exact, _ = build(RunConfig.from_params({"architecture": "fagan"}))
    from_package(exact, theirs.state_dict())
    layer = exact.stages[2][0].eval()
    rows = layer.weight.detach().transpose(0, 1).flatten(1)
    assert torch.linalg.matrix_norm(rows, 2).item() == pytest.approx(1, abs=0.02)


def test_converter_names_what_does_not_fit(tmp_path):
    network, _ = build(released("fagan"))
    state = package.generator("fagan").state_dict()
    with pytest.raises(UserError, match=r"'model\.99\.weight', which this network does not"):
        from_package(network, state | {"model.99.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"lacks 'model\.0\.gamma'"):
        from_package(network, {k: v for k, v in state.items() if k != "model.0.gamma"})
    narrow, _ = build(released("fagan").with_(width=0.5))
    with pytest.raises(UserError, match="is the width right"):
        from_package(narrow, state)
    resizing = config(architecture="C RC RC | C RC RC", resolution=32, kernel_size=3)
    with pytest.raises(UserError, match="no stage that resizes"):
        from_package(Generator(resizing), state)
    with pytest.raises(UserError, match="no stage that resizes"):
        released_networks(resizing)
    with pytest.raises(UserError, match="batch_norm_convolutions=true"):
        released_networks(released("fagan").with_(batch_norm_convolutions=True))
    exact, _ = build(RunConfig.from_params({"architecture": "fagan"}))
    with pytest.raises(UserError, match="released=True"):
        to_package(exact)
    with pytest.raises(UserError, match="no such file"):
        load_package_file(tmp_path / "GAN_GEN_1.pth")
    for strange in ({"merge": "concat"}, {"architecture": "fagan-pure"}):
        network, _ = build(released("fagan").with_(**strange))
        with pytest.raises(UserError, match="not a network of the package's: it lacks"):
            to_package(network)


def test_without_the_package_its_networks_are_refused_in_a_line(monkeypatch):
    monkeypatch.setattr("fagan.released.Networks", None)
    with pytest.raises(UserError, match="pip install attn-gan-pytorch"):
        package.generator("fagan")


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, capsys):
    torch.save({"model": Evil()}, tmp_path / "GAN_GEN_1.pth")
    with pytest.raises(UserError, match="not a plain PyTorch state dict"):
        load_package_file(tmp_path / "GAN_GEN_1.pth")
    assert "executed" not in capsys.readouterr().out


def test_batch_norm_in_the_discriminator_is_a_switch():
    def norms(config):
        return sum(isinstance(m, nn.BatchNorm2d) for m in build(config)[1].modules())

    assert norms(config(architecture="fagan")) == 1
    assert norms(config(architecture="fagan", batch_norm_discriminator=False)) == 0
    assert norms(config(architecture="sagan")) == 0
    every = {"batch_norm_convolutions": True, "resolution": 64}
    assert [norms(config(architecture=a, **every)) for a in ("dcgan", "sagan", "fagan")] == [3] * 3


def test_generator_is_in_the_range_for_any_alpha():
    g = Generator(config(architecture="fagan-pure", resolution=32))
    with torch.no_grad():
        g.output.alpha.fill_(-40.0)
    assert g(torch.randn(4, 128)).abs().max() <= 1
