"""SAGAN's residual networks: the published structure, full attention in it, labels, training."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from fagan import train
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.interpret import stages, theoretical_receptive_field
from fagan.layers import FullAttention2d, Gated
from fagan.models import build, parameters
from fagan.spectral_norm import left_out
from fagan.train import checkpoint

CPU = torch.device("cpu")


def config(architecture="fagan-resnet", **params):
    small = {"resolution": 32, "width": 0.125, "squeeze": 4, "latent_size": 16, "batch_size": 4}
    return RunConfig.from_params({"architecture": architecture, **small, **params})


@pytest.mark.parametrize(
    "architecture,counts",
    [
        ("resnet", (32_150_787, 38_419_137)),
        ("sagan-resnet", (32_232_708, 38_439_618)),
        ("fagan-resnet", (32_888_388, 38_751_202)),
    ],
)
def test_as_many_parameters_as_published(architecture, counts):
    """128 pixels, width 1; fagan.resnet derives the numbers."""
    published = RunConfig.from_params({"architecture": architecture, "resolution": 128})
    with torch.device("meta"), left_out():
        assert tuple(map(parameters, build(published))) == counts


@pytest.mark.parametrize("resolution,place", [(32, "16x16"), (64, "32x32"), (128, "32x32")])
@pytest.mark.parametrize("architecture,kind", [("sagan-resnet", "self"), ("fagan-resnet", "full")])
def test_where_attention_stands(architecture, kind, resolution, place):
    g, d = build(config(architecture, resolution=resolution))
    for network, inputs in (
        (g, torch.randn(2, 16)),
        (d, torch.rand(2, 3, resolution, resolution)),
    ):
        found = [label for _, label, _ in stages(network, inputs)]
        assert [x for x in found if x.startswith(("self", "full"))] == [f"{kind} {place}"]


def test_a_placement_of_ones_own_is_a_string():
    g, d = build(config("BF B+A | BF B", resolution=16))
    gates = [[m.label for m in n.modules() if isinstance(m, Gated)] for n in (g, d)]
    assert gates == [["full 8x8", "self 16x16"], ["full 16x16"]]
    assert d(g(torch.randn(2, 16))).shape == (2,)


def published(block, x, up, image):
    """A block in the order of Google's code: pixels repeated before every convolution."""

    def convolve(layer, x):
        return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)

    first, second = (m for m in block.branch if isinstance(m, nn.Conv2d))
    (short,) = (m for m in block.shortcut.modules() if isinstance(m, nn.Conv2d))
    if up:
        norms = [m for m in block.branch if isinstance(m, nn.BatchNorm2d)]
        large = F.interpolate(F.relu(norms[0](x)), scale_factor=2)
        out = convolve(second, F.relu(norms[1](convolve(first, large))))
        return out + convolve(short, F.interpolate(x, scale_factor=2))
    out = convolve(second, F.relu(convolve(first, x if image else F.relu(x))))
    return F.avg_pool2d(out, 2) + F.avg_pool2d(convolve(short, x), 2)


def test_a_block_computes_what_the_published_one_does():
    g, d = (network.double().eval() for network in build(config("resnet")))
    for block, shape, up in (
        (g.stages[1], (2, 32, 4, 4), True),
        (d.stages[0], (2, 3, 32, 32), False),
        (d.stages[1], (2, 8, 16, 16), False),
    ):
        x = torch.randn(shape, dtype=torch.float64)
        assert torch.allclose(block(x), published(block, x, up, image=shape[1] == 3))
    last, x = d.stages[3], torch.randn(2, 32, 4, 4, dtype=torch.float64)
    convolutions = (m for m in last.modules() if isinstance(m, nn.Conv2d))
    first, second = ((m.weight, m.bias, 1, 1) for m in convolutions)
    branch = F.conv2d(F.relu(F.conv2d(F.relu(x), *first)), *second)
    assert torch.allclose(last(x), F.relu(branch + x))


def test_the_logit_is_linear_in_the_sum_over_positions():
    _, d = build(config("resnet"))
    images = torch.rand(3, 3, 32, 32)
    features = d.eval().stages(images)
    summed = F.linear(features.sum((2, 3)), d.output.weight.flatten(1), d.output.bias)
    assert features.min() >= 0 and torch.allclose(d(images), summed.flatten(), atol=1e-6)


@pytest.mark.parametrize("architecture", ["sagan-resnet", "fagan-resnet"])
def test_every_convolution_has_a_spectral_norm(architecture):
    for network in build(config(architecture, attention_spectral_norm=True)):
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(layers) > 8 and all(map(parametrize.is_parametrized, layers))


def test_with_a_closed_gate_full_attention_is_the_plain_network():
    plain, full = build(config("resnet")), build(config(alpha="frozen"))
    z, images = torch.randn(4, 16), torch.rand(4, 3, 32, 32)
    for one, other, x in zip(plain, full, (z, images), strict=True):
        (name,) = (n for n, m in other.named_modules() if isinstance(m, FullAttention2d))
        state = {
            key.replace(f"{name}.", f"{name}.convolution."): value
            for key, value in one.state_dict().items()
        }
        assert not other.load_state_dict(state, strict=False).unexpected_keys
        assert torch.allclose(one(x), other(x), atol=1e-5)
        other.get_submodule(name).alpha.fill_(0.5)
        assert not torch.allclose(one(x), other(x), atol=1e-2)


def test_the_convolutions_alone_reach_what_they_should():
    """A block's cell: the mean of 2 x 2, each 3 x 3 twice, so 6 of what it is made from."""
    _, d = build(config("sagan-resnet"))
    images = torch.zeros(1, 3, 32, 32)
    assert theoretical_receptive_field(d, "stages.2", images) == 6 + 5 * 2


@pytest.mark.parametrize(
    "architecture,conditioning",
    [("resnet", "none"), ("sagan-resnet", "concat"), ("fagan-resnet", "projection")],
)
def test_a_run_that_goes_on_ends_as_one_that_was_not_stopped(architecture, conditioning, tmp_path):
    classes = 0 if conditioning == "none" else 4
    wanted = config(architecture, conditioning=conditioning, classes=classes, alpha_init=0.3)
    labels = torch.eye(4) if classes else None
    paths = tmp_path / "state.pt", tmp_path / "before.pt"

    def steps(state, count):
        for _ in range(count):
            draws = torch.Generator().manual_seed(state.step)
            real = torch.rand(4, 3, 32, 32, generator=draws) * 2 - 1
            train.d_step(state, real, labels)
            train.g_step(state, real, labels)
            state.step += 1

    whole, again = (train.start(wanted, CPU) for _ in range(2))
    steps(whole, 1)
    checkpoint.save(whole, paths)
    steps(whole, 2)
    assert checkpoint.restore(again, paths)
    steps(again, 2)
    for name in ("generator", "discriminator"):
        networks = [getattr(state, name) for state in (whole, again)]
        for one, other in zip(*(n.state_dict().values() for n in networks), strict=True):
            assert one.isfinite().all() and torch.equal(one, other)
        assert all(parameter.grad is not None for parameter in networks[0].parameters())


@pytest.mark.parametrize(
    "words,params",
    [
        ("kernel_size=3 is no option of residual", {"kernel_size": 3}),
        ("go with no others", {"architecture": "B C B | B B B"}),
        ("nor with output F", {"architecture": "B B B, output F | B B B"}),
        ("squeeze=9 is more than the 8 channels of a BF", {"squeeze": 9}),
    ],
)
def test_what_does_not_go_with_residual_networks_is_refused_in_a_line(words, params):
    with pytest.raises(UserError, match=rf"\A.*{words}.*\Z"):
        config(**params)
