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


def gated(network):
    return [m for m in network.modules() if isinstance(m, FullAttention2d | SelfAttention2d)]


def shapes(networks):
    """Of the generator's output and the discriminator's at it."""
    g, d = networks
    with torch.no_grad():
        images = g(torch.randn(2, g.latent_size))
        return [images.shape, d(images).shape]


@pytest.mark.parametrize("resolution", [32, 64, 128])
@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *MATCHED])
def test_every_architecture_at_every_resolution(architecture, resolution):
    networks = build(config(architecture=architecture, resolution=resolution))
    assert shapes(networks) == [(2, 3, resolution, resolution), (2,)]
    attends = "dcgan" not in architecture and architecture not in ("resnet", "resnet-wide")
    for network in networks:
        assert bool(alphas(network)) == attends
        assert all(value == 0 for value in alphas(network).values())


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 7])
def test_every_kernel_keeps_the_sizes(kernel_size):
    wanted = config(architecture="fagan-pure", resolution=32, kernel_size=kernel_size)
    assert shapes(build(wanted)) == [(2, 3, 32, 32), (2,)]


def test_a_users_own_stages():
    g, d = build(config(architecture="F C+A, output F | C F+A", resolution=16))
    assert shapes((g, d)) == [(2, 3, 16, 16), (2,)]
    assert list(alphas(g)) == ["full 4x4", "self 8x8", "full 16x16"]
    assert list(alphas(d)) == ["full 4x4", "self 4x4"]


def test_stages_that_resize():
    """RC and RF: nearest neighbours before the layer in G, means of 2 x 2 after it in D."""
    stages = "C RC RF+A | C RF RC+A"
    g, d = build(config(architecture=stages, resolution=32, kernel_size=5))
    assert shapes((g, d)) == [(2, 3, 32, 32), (2,)]
    assert list(alphas(g)) == ["full 16x16", "self 16x16"]
    assert list(alphas(d)) == ["full 16x16", "self 4x4"]  # its own size, before it is halved
    for layer in (g.stages[2][0], g.stages[4].convolution, d.stages[1].convolution, d.stages[3][0]):
        assert isinstance(layer, nn.Conv2d)
        assert (layer.kernel_size, layer.stride, layer.padding) == ((5, 5), (1, 1), (2, 2))
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(g.stages[1](x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert torch.allclose(d.stages[2](x)[0, 0, 0, 0], x[0, 0, :2, :2].mean())


ALL = "F F+A, output F | F F+A"


def test_the_image_leaves_no_room_for_a_squeeze_or_heads():
    g, d = build(config(architecture=ALL, resolution=16, width=1, squeeze=4, heads=2))
    first, *inner = (*gated(d), *gated(g))
    output = inner.pop()
    assert (first.query.out_channels, first.heads, output.heads) == (3, 1, 1)
    assert not parametrize.is_parametrized(output.convolution)
    assert isinstance(output.batch_norm, nn.Identity) and output.convolution.out_channels == 3
    for layer in inner:
        assert (layer.heads, layer.query.in_channels // layer.query.out_channels) == (2, 4)


def full(layer):
    return isinstance(layer, FullAttention2d)


@pytest.mark.parametrize(
    "options,holds",
    [
        ({"alpha": "channel", "alpha_init": -0.25}, lambda m: m.alpha.numel() > 1),
        ({"alpha_init": -0.25}, lambda m: m.alpha == -0.25),
        ({"alpha": "frozen"}, lambda m: not isinstance(m.alpha, nn.Parameter)),
        ({"attention_spectral_norm": True}, lambda m: parametrize.is_parametrized(m.query)),
        ({"exact": True}, lambda m: m.exact),
        ({"merge": "concat"}, lambda m: not full(m) or m.merge == "concat"),
        ({"self_attention": "google"}, lambda m: full(m) or isinstance(m.pool, nn.MaxPool2d)),
    ],
)
def test_every_option_reaches_every_layer(options, holds):
    for network in build(config(architecture=ALL, resolution=16, **options)):
        assert all(map(holds, gated(network)))
    usual = build(config(architecture=ALL, resolution=16))
    assert not all(map(holds, gated(usual[0])))


@pytest.mark.parametrize("resolution", [32, 64, 128])
@pytest.mark.parametrize("control,target", [(name, of) for name, (_, of) in MATCHED.items()])
def test_controls_match_their_target_within_two_percent(control, target, resolution):
    size = {"resolution": resolution, "width": 1}
    with torch.device("meta"), left_out():  # a norm has no parameters
        both = [build(config(architecture=name, **size)) for name in (control, target)]
    for one, other in zip(*both, strict=True):
        assert abs(parameters(one) / parameters(other) - 1) < 0.02


def test_gates_of_a_network_of_ones_own():
    full = FullAttention2d(4, 2, squeeze=1, alpha="channel")
    net = nn.Sequential(full, nn.ReLU(), SelfAttention2d(2, squeeze=1, alpha_init=-0.5))
    with torch.no_grad():
        full.alpha.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1))
    assert alphas(net) == {"0": 0.5, "2": -0.5} and alphas(full) == {"": 0.5}
    assert alphas(FullAttention2d(3, 8, squeeze=1, merge="concat")) == {}


@pytest.mark.parametrize("architecture", ["fagan", "sagan-wide"])
def test_same_seed_same_weights_and_the_global_generator_is_left_alone(architecture):
    wanted = config(architecture=architecture, resolution=32, seed=3)
    before = torch.get_rng_state()
    both, other = [*zip(*map(build, (wanted, wanted)), strict=True)], build(wanted.with_(seed=4))
    assert torch.equal(torch.get_rng_state(), before)
    for (one, two), stranger in zip(both, other, strict=True):
        for x, y in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
            assert torch.equal(x, y)
        assert not torch.equal(stranger.output.weight, one.output.weight)


def released(architecture, **params):
    return config(architecture=architecture, released=True, **params)


def test_parameter_counts_of_the_released_fagan():
    """8,110,039 and 3,777,659 as released, u and v and unused batch norms counted as parameters."""
    theirs = package.generator("fagan"), package.discriminator("fagan")
    assert [parameters(n) for n in theirs] == [8_110_039, 3_777_659]
    spare = [
        sum(p.numel() for name, p in n.named_parameters() if name.endswith(("_u", "_v")))
        for n in theirs
    ]
    spare[1] += 2 * 64  # the first layer's batch norm
    ours = [parameters(n) for n in build(released("fagan", width=1))]
    assert ours == [8_110_039 - spare[0], 3_777_659 - spare[1]]


@pytest.mark.parametrize("architecture", ["fagan", "sagan"])
def test_converted_networks_compute_what_the_package_computes(architecture):
    """Outputs, the hinge loss and every gradient of a D step and a G step, float64, open gates."""
    torch.manual_seed(0)
    theirs = [n.double() for n in released_networks(released(architecture))]
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
    wanted, file = released(architecture), tmp_path / "GAN_12.pth"
    for network, theirs, fresh in zip(
        build(wanted), released_networks(wanted), released_networks(wanted), strict=True
    ):
        torch.save(theirs.state_dict(), file)
        from_package(network, load_package_file(file))
        back = to_package(network)
        fresh.load_state_dict(back)  # strict: every key of the package is there
        for key, value in theirs.state_dict().items():
            assert torch.equal(back[key], value), key


def test_converting_into_the_exact_spectral_norm_finds_its_vectors():
    theirs, _ = released_networks(released("fagan"))
    exact, _ = build(config(architecture="fagan"))
    from_package(exact, theirs.state_dict())
    layer = exact.stages[2][0].eval()
    rows = layer.weight.detach().transpose(0, 1).flatten(1)
    assert torch.linalg.matrix_norm(rows, 2).item() == pytest.approx(1, abs=0.02)


def test_the_converter_names_what_does_not_fit():
    network, _ = build(released("fagan"))
    state = released_networks(released("fagan"))[0].state_dict()
    with pytest.raises(UserError, match=r"'model\.99\.weight', which this network does not"):
        from_package(network, state | {"model.99.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"lacks 'model\.0\.gamma'"):
        from_package(network, {k: v for k, v in state.items() if k != "model.0.gamma"})
    with pytest.raises(UserError, match="is the width right"):
        from_package(Generator(released("fagan", width=0.5)), state)
    with pytest.raises(UserError, match="build with released=True"):
        to_package(Generator(config()))


@pytest.mark.parametrize(
    "words,params",
    [
        ("it has no stage that resizes", {"architecture": "resnet"}),
        ("it lacks 'output.bias'", {"architecture": "fagan-pure"}),
        ("it lacks 'stages.0.alpha'", {"merge": "concat"}),
    ],
)
def test_a_network_that_is_not_the_packages_takes_no_weights(words, params):
    with pytest.raises(UserError, match=words):
        from_package(Generator(config(**params)), {})


@pytest.mark.parametrize("params", [{"architecture": "resnet"}, {"batch_norm_convolutions": True}])
def test_what_the_package_has_not_is_not_built_of_it(params):
    with pytest.raises(UserError, match="the released code has n"):
        released_networks(config(**params))


def test_without_the_package_its_networks_are_refused_in_a_line(monkeypatch):
    monkeypatch.setattr("fagan.released.Networks", None)
    with pytest.raises(UserError, match="pip install attn-gan-pytorch"):
        package.generator("fagan")


@pytest.mark.parametrize(
    "architecture,options,norms",
    [
        ("fagan", {}, 1),
        ("fagan", {"batch_norm_discriminator": False}, 0),
        ("sagan", {}, 0),
        ("sagan", {"batch_norm_convolutions": True}, 3),
        ("fagan", {"batch_norm_convolutions": True}, 3),
    ],
)
def test_batch_norm_in_the_discriminator_is_a_switch(architecture, options, norms):
    _, d = build(config(architecture=architecture, **options))
    assert sum(isinstance(m, nn.BatchNorm2d) for m in d.modules()) == norms


def test_generator_is_in_the_range_for_any_alpha():
    g = Generator(config(architecture="fagan-pure", resolution=32))
    with torch.no_grad():
        g.output.alpha.fill_(-40.0)
    assert g(torch.randn(4, 128)).abs().max() <= 1
