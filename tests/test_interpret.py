"""Instruments against closed forms and slow loops; and that looking changes nothing."""

import math
from contextlib import ExitStack, contextmanager, nullcontext
from copy import deepcopy

import package
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fagan.attention import attention_map
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.evaluate import NotFinite, sample
from fagan.evaluate.sampling import draw_latents
from fagan.interpret import (
    Recorded,
    attention_distance,
    attention_entropy,
    attention_statistics,
    branch_energies,
    effective_receptive_field,
    field_share,
    field_size,
    force_alpha,
    gated_layers,
    interventions,
    map_at,
    maps,
    query_dependence,
    record,
    refitted,
    spectral_norms,
    summary,
    swap_branches,
    theoretical_receptive_field,
)
from fagan.layers import FullAttention2d, SelfAttention2d
from fagan.models import Discriminator, Generator
from fagan.records import ALPHA
from fagan.spectral_norm import spectral_norm

DOUBLE = torch.float64
both_kinds = pytest.mark.parametrize("kind", [Generator, Discriminator])


def network(kind=Generator, **params):
    """A small network with open gates: at alpha = 0 most of what is tested here cannot be seen."""
    defaults = {"architecture": "fagan", "resolution": 32, "width": 0.125}
    torch.manual_seed(0)
    built = kind(RunConfig.from_params(defaults | params))
    package.open_gates(built)
    return built


def inputs_of(kind, n=4):
    shape = (n, 128) if kind is Generator else (n, 3, 32, 32)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def state(model):
    """Everything that a forward pass or an instrument could leave changed; copies."""
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
    modules = [(name, m.training, sorted(vars(m))) for name, m in model.named_modules()]
    return tensors, gradients, modules


def assert_same_state(after, before):
    torch.testing.assert_close(after[:2], before[:2], rtol=0, atol=0)
    assert after[2] == before[2]


@contextmanager
def unchanged(model):
    before = state(model)
    yield
    assert_same_state(state(model), before)


def full(**options):
    torch.manual_seed(0)
    defaults = {"kernel_size": 3, "stride": 1, "padding": 1, "squeeze": 2}
    defaults |= {"use_spectral_norm": False, "use_batch_norm": False}
    layer = FullAttention2d(8, 6, **(defaults | options))
    package.open_gates(layer)
    return layer.double()


def self_attention(channels=8, **options):
    torch.manual_seed(0)
    layer = SelfAttention2d(channels, squeeze=2, **options)
    package.open_gates(layer)
    return layer.double()


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)


def recorded_of(layer, *inputs):
    """The one layer's record of each pass."""
    with record(layer) as records, torch.no_grad():
        for x in inputs:
            layer(x)
    (passes,) = records.values()
    return passes


# ---------------------------------------------------------------- recording

# two heads are refused where an F stands at the image
MIDDLE = "F F C+A | C F+A C+A"
VARIANTS = {
    "plain": {},
    "released": {"released": True, "attention_spectral_norm": True},
    "google": {"self_attention": "google", "attention_spectral_norm": True},
    "concat": {"merge": "concat", "heads": 2, "squeeze": 2, "architecture": MIDDLE},
    "frozen": {"alpha": "frozen", "alpha_init": 0.4, "architecture": "fagan-pure"},
    "channel": {"alpha": "channel", "kernel_size": 3},
}


@both_kinds
@pytest.mark.parametrize("variant", VARIANTS)
def test_recording_changes_no_bit(variant, kind):
    watched = network(kind, **VARIANTS[variant])
    plain = deepcopy(watched)
    x = inputs_of(kind)
    outputs = []
    for model, context in ((watched, record(watched)), (plain, nullcontext())):
        torch.manual_seed(3)
        with context:
            first = model(x)
            outputs += [first, model(x)]  # the second pass sees the first one's u, v, running mean
        first.square().sum().backward()
        outputs.append(torch.get_rng_state())
    for ours, theirs in zip(outputs[:3], outputs[3:], strict=True):
        assert torch.equal(ours, theirs)
    assert_same_state(state(watched), state(plain))


def test_a_record_per_pass_that_keeps_its_gate_and_outlives_the_context():
    model = network().eval()
    gate = model.stages[0].alpha
    before = gate.item()
    with record(model) as records:
        for n in (2, 3):
            model(inputs_of(Generator, n))
            with torch.no_grad():
                gate.fill_(7)
    model(inputs_of(Generator))
    assert list(records) == ["full 4x4", "full 8x8", "self 16x16"]
    for passes in records.values():
        assert [recorded.query.shape[0] for recorded in passes] == [2, 3]
        assert not any(recorded.attention.requires_grad for recorded in passes)
    first, second = records["full 4x4"]
    assert [w.item() for w in first.weights] == [before, 1 - before]
    assert (first.alpha.item(), second.alpha.item()) == (before, 7)


def test_nested_contexts_exceptions_and_failing_passes():
    model = network().eval()
    with unchanged(model):
        with pytest.raises(RuntimeError), record(model) as outer:
            with record(model) as inner:
                model(inputs_of(Generator))
            model(inputs_of(Generator))
            model(torch.randn(2, 5))
    model(inputs_of(Generator))
    assert {len(passes) for passes in outer.values()} == {2}
    assert {len(passes) for passes in inner.values()} == {1}


def test_layers_without_a_label_go_by_their_names():
    own = nn.Sequential(full(), self_attention(6), self_attention(6))
    own[2].label = own[1].label = "twice"
    assert list(gated_layers(own)) == ["0", "twice", "2"]
    assert gated_layers(own)["2"] is own[2]


LAYERS = {
    "full": lambda: full(heads=2, activation=nn.LeakyReLU(0.3)),
    "full transposed": lambda: full(
        kernel_size=4, stride=2, transposed=True, use_batch_norm=True, activation=nn.LeakyReLU(0.3)
    ),
    "full concat": lambda: full(merge="concat"),
    "full channel": lambda: full(alpha="channel"),
    "self package": lambda: self_attention(heads=2),
    "self google": lambda: self_attention(variant="google", heads=2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_map_the_branches_and_the_energies_are_those_of_the_output(name):
    layer = LAYERS[name]().eval()
    if name == "full channel":
        layer.alpha.data.neg_()
    x = noise(2, 8, 4, 6)
    (recorded,) = recorded_of(layer, x)
    with torch.no_grad():
        output = layer(x)
        query, key, value = layer.project(x)
    torch.testing.assert_close(recorded.map, attention_map(query, key, layer.heads))
    v = value.flatten(2).unflatten(1, (layer.heads, -1))  # (B, heads, C / heads, M)
    attention = (recorded.map @ v.mT).mT.flatten(1, 2).unflatten(2, recorded.grid)  # (B, C, H, W)
    if isinstance(layer, SelfAttention2d):
        attention = layer.output(attention)
    assert torch.allclose(layer.activation(attention), recorded.attention, atol=1e-12)

    term = F.conv2d if "concat" in name else (lambda branch, weight: weight * branch)
    branches = recorded.attention, recorded.convolution
    terms = [term(*pair) for pair in zip(branches, recorded.weights, strict=True)]
    bias = layer.join.bias[:, None, None] if "concat" in name else 0
    assert torch.allclose(sum(terms) + bias, output, atol=1e-12)
    expected = [one.square().mean().sqrt().item() for one in terms]
    energies = branch_energies(recorded)
    assert [energies.attention, energies.convolution] == pytest.approx(expected)
    assert energies.share == pytest.approx(expected[0] / sum(expected))


def test_half_precision_is_measured_in_single():
    model = network().eval()
    with record(model) as records, torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        model(inputs_of(Generator))
    recorded = records["full 8x8"][0]
    assert (recorded.query.dtype, recorded.map.dtype) == (torch.bfloat16, torch.float32)
    assert (recorded.map.sum(-1) - 1).abs().max() < 1e-5


# ---------------------------------------------------------------- maps


@pytest.mark.parametrize("name", ["full", "self google"])
def test_parts_and_statistics_of_a_map_are_those_of_the_whole(name, monkeypatch):
    """On a grid of 4 x 8 cells, 8 x 4 pixels each."""
    (recorded,) = recorded_of(LAYERS[name]().eval(), noise(2, 8, 4, 8))
    seen = map_at(recorded, (9, 22), 32)
    assert seen.shape == (2, 2, *recorded.key_grid)
    torch.testing.assert_close(seen.flatten(2), recorded.map[:, :, 1 * 8 + 5])
    assert torch.equal(map_at(recorded, (15, 20), 32), seen)  # the same cell
    assert not torch.equal(map_at(recorded, (9, 24), 32), seen)
    with pytest.raises(UserError, match="outside an image of 32 x 32"):
        map_at(recorded, (32, 0), 32)

    entropy = attention_entropy(recorded.map).mean().item()
    distance = attention_distance(recorded.map, (4, 8), recorded.key_grid, 32).mean().item()
    expected = entropy, entropy / math.log(recorded.map.shape[-1]), distance
    for block in (1, 1000, 2**22):  # queries one by one, some, all at once
        monkeypatch.setattr(maps, "BLOCK", block)
        found = attention_statistics(recorded, 32)
        assert [found.entropy, found.entropy_share, found.distance] == pytest.approx(expected)


def test_a_map_of_one_key_has_no_share_of_the_entropy():
    (recorded,) = recorded_of(self_attention(), noise(1, 8, 1, 1))
    found = attention_statistics(recorded, 32)
    assert (found.entropy, found.distance) == (0, 0) and math.isnan(found.entropy_share)


def test_entropy_and_distance_of_known_maps():
    maps = torch.tensor([[0.5, 0.25, 0.25, 0.0], [0, 0, 1, 0]], dtype=DOUBLE)
    assert attention_entropy(maps).tolist() == pytest.approx([1.5 * math.log(2), 0])
    grid = (4, 8)
    uneven = attention_distance(torch.eye(21), (3, 7), (3, 7), 50)  # cells of 16.67 x 7.14 pixels
    assert torch.equal(uneven, torch.zeros(21))
    right = torch.roll(torch.eye(32, dtype=DOUBLE), 1, dims=1)  # each query looks one key further
    distances = attention_distance(right.expand(2, 1, 32, 32), grid, grid, 64)[1, 0].view(grid)
    assert torch.allclose(distances[:, :-1], torch.full((4, 7), 8.0).double())  # 64 / 8 pixels
    # from the end of a row to the start of the next: 7 cells of 8 px back, one of 16 px down
    assert torch.allclose(distances[:-1, -1], torch.full((3,), math.hypot(56, 16)).double())
    uniform = torch.full((32, 32), 1 / 32, dtype=DOUBLE)
    first = attention_distance(uniform, grid, grid, 64)[0].item()
    expected = [math.hypot(16 * r, 8 * c) / 32 for r in range(4) for c in range(8)]
    assert first == pytest.approx(sum(expected))
    # each query looks at the pooled key that covers it: half a cell away in both directions
    pooled = torch.eye(4, dtype=DOUBLE).view(2, 2, 4)
    pooled = pooled.repeat_interleave(2, 0).repeat_interleave(2, 1)
    distances = attention_distance(pooled.view(16, 4), (4, 4), (2, 2), 32)
    assert torch.allclose(distances, torch.full((16,), math.hypot(4, 4)).double())


def test_whether_it_matters_who_asks():
    def of_keys(key, grid=(2, 2)):
        """Queries are the unit vectors: the map is the softmax of the keys' columns."""
        n = grid[0] * grid[1]
        query = torch.eye(n, dtype=DOUBLE).view(1, n, *grid)
        key = torch.as_tensor(key, dtype=DOUBLE).view(1, n, *grid)
        return query_dependence(Recorded(query, key, query, query, (query, query), None, 1))

    same = torch.tensor([3.0, -1, 0, 2]).expand(4, 4)  # all queries, one map
    assert of_keys(same) == pytest.approx(0, abs=1e-12)
    assert of_keys(100 * torch.eye(4)) == pytest.approx(1)
    # two of four queries look at key 0, two at key 3: 4 of the 6 pairs share nothing
    halves = torch.zeros(4, 4)
    halves[:2, 0] = halves[2:, 3] = 100
    assert of_keys(halves) == pytest.approx(4 / 6)
    assert math.isnan(of_keys(torch.ones(1, 1), (1, 1)))


def test_some_positions_stand_for_all():
    """Those that the stride visits: 256 / 64, made odd."""
    (recorded,) = recorded_of(self_attention(), noise(2, 8, 16, 16))
    some = attention_statistics(recorded, 32, 64)
    assert attention_statistics(recorded, 32, 256) == attention_statistics(recorded, 32)
    distances = attention_distance(recorded.map, (16, 16), (16, 16), 32)[:, :, ::5]
    maps = recorded.map[:, :, ::5]
    assert some.entropy == pytest.approx(attention_entropy(maps).mean().item())
    assert some.distance == pytest.approx(distances.mean().item())
    pairs = [(a, b) for a in range(maps.shape[2]) for b in range(a)]
    moved = [(maps[:, :, a] - maps[:, :, b]).abs().sum(-1).mean() / 2 for a, b in pairs]
    assert query_dependence(recorded) == pytest.approx(torch.stack(moved).mean().item())


# ---------------------------------------------------------------- interventions


@pytest.mark.parametrize("mode", ["learned", "frozen", "channel"])
def test_forced_and_swapped_gates(mode):
    layer = full(alpha=mode, alpha_init=0.3, activation=nn.LeakyReLU(0.3))
    x = noise(2, 8, 5, 5)
    attention, convolution = layer.branches(x)
    gate, trained = layer.alpha, layer(x)
    for value in (0, 1, -2):
        with force_alpha(layer, value):
            assert torch.allclose(layer(x), value * attention + (1 - value) * convolution)
            assert layer.alpha.shape == gate.shape
        assert layer.alpha is gate
    with swap_branches(layer):
        assert torch.allclose(layer(x), (1 - gate) * attention + gate * convolution)
        with swap_branches(layer):
            assert torch.allclose(layer(x), trained)
    assert layer.alpha is gate and torch.equal(layer(x), trained)
    assert list(layer.state_dict()) == list(full(alpha=mode).state_dict())


def test_swapped_halves_of_a_concatenation():
    layer = full(merge="concat")
    x = noise(2, 8, 5, 5)
    weight, trained = layer.join.weight, layer(x)
    attention, convolution = layer.branches(x)
    with swap_branches(layer):
        swapped = layer(x)
    assert torch.allclose(swapped, layer.join(torch.cat((convolution, attention), dim=1)))
    assert not torch.allclose(swapped, trained)
    assert layer.join.weight is weight


def test_an_intervention_without_meaning_and_an_unknown_layer():
    concat, plain = network(merge="concat").eval(), network().eval()
    for intervention, message in (
        (force_alpha(concat, 0, "full 8x8"), "'full 8x8' has no alpha"),
        (swap_branches(plain, "self 16x16"), "'self 16x16' has one branch"),
        (force_alpha(plain, 0, "full 8x9"), "did you mean 'full 8x8'"),
    ):
        with pytest.raises(UserError, match=message), intervention:
            pass
    with force_alpha(concat, 0):  # asked for all layers, it leaves the others alone
        assert concat.stages[-1].alpha.item() == 0


def test_interventions_leave_nothing_behind():
    """Not after an exception, and not in a graph that still waits for its backward pass."""
    model, undisturbed = network(), network()
    x = inputs_of(Generator)
    loss, expected = (m(x).square().sum() for m in (model, undisturbed))
    objects = dict(model.named_parameters())
    with unchanged(model), pytest.raises(KeyError), ExitStack() as stack:
        stack.enter_context(force_alpha(model, 0.5))
        stack.enter_context(swap_branches(model, "full 8x8"))
        raise KeyError
    assert all(p is objects[name] for name, p in model.named_parameters())
    loss.backward()
    expected.backward()
    assert_same_state(state(model), state(undisturbed))


def fingerprint(images):
    """A cheap score that notices any change: grey levels with random signs."""
    signs = torch.randn(images.shape, generator=torch.Generator().manual_seed(9)).sign()
    return {"fd": (images * signs).sum(dtype=DOUBLE).item(), "mean": images.float().mean().item()}


def contrasted():
    """An untrained generator's images are nearly grey: a layer's part in them would be lost."""
    model = network()
    with torch.no_grad():
        model.output.weight.mul_(20)
    return model


def test_a_row_per_layer_and_intervention():
    model = contrasted().train()
    arguments = {"n": 6, "latent_size": 128, "seed": 5}
    with unchanged(model):
        rows = interventions(model, fingerprint, batch=4, **arguments)
    every = ["full 4x4", "full 8x8", "self 16x16", "all"]
    assert [(row["layer"], row["intervention"]) for row in rows] == [
        ("all", "as trained"),
        ("all", "as trained, refitted"),
        *((layer, "alpha = 0") for layer in every),
        *((layer, "alpha = 0, refitted") for layer in every),
        *((layer, "alpha = 1") for layer in every),
        *((layer, "swapped") for layer in ("full 4x4", "full 8x8", "all")),
    ]
    trained = rows[0]["fd"]
    as_trained = fingerprint(sample(model, **arguments))
    assert (trained, rows[0]["change"]) == (as_trained["fd"], 0)
    assert rows[0]["mean"] == as_trained["mean"]
    for row in rows[1:]:
        touched = {"full 4x4": [0], "full 8x8": [1], "self 16x16": [3], "all": [0, 1, 3]}
        copy = contrasted().eval()
        kind, refit = row["intervention"].partition(", refitted")[:2]
        for index in touched[row["layer"]] if kind != "as trained" else ():
            layer = copy.stages[index]
            with torch.no_grad():
                if kind != "swapped":
                    layer.alpha.fill_(float(kind.split()[-1]))
                elif isinstance(layer, FullAttention2d):
                    layer.alpha.copy_(1 - layer.alpha)
        with refitted(copy, draw_latents(6, 128, seed=6), 4) if refit else nullcontext():
            expected = fingerprint(sample(copy, **arguments))["fd"]
        assert row["fd"] == pytest.approx(expected, abs=5)  # batches of 4 and of 6 round apart
        assert row["change"] == row["fd"] - trained
        assert abs(row["change"]) > 30, f"{row}: a vacuous comparison"


def test_refitted_batch_norm_is_that_of_the_network_as_it_is_now():
    """In one batch: what train mode gives, but for the unbiased variance of 64 x 16 values."""
    model, z = contrasted().train(), draw_latents(64, 128, seed=3)
    with unchanged(model), force_alpha(model, 0.0), refitted(model, z, batch=64):
        assert not model.training
        in_eval = model(z)
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.train()
        torch.testing.assert_close(in_eval, model(z), rtol=0, atol=1e-2)
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
    model.eval()
    with force_alpha(model, 0.0):
        assert (model(z) - in_eval).abs().max() > 0.05, "a vacuous comparison"


def test_an_intervention_that_diverges_is_not_a_number():
    model, arguments = contrasted(), {"n": 2, "latent_size": 128, "seed": 0}
    trained = sample(model, **arguments)

    def score(images):
        if not torch.equal(images, trained):
            raise NotFinite("diverged")
        return {"fd": 1.0}

    first, *others = interventions(model, score, **arguments)
    assert first["fd"] == 1 and all(math.isnan(row["fd"]) for row in others)
    (row,) = interventions(network(architecture="dcgan"), fingerprint, **arguments)
    assert (row["layer"], row["intervention"], row["change"]) == ("all", "as trained", 0)


# ---------------------------------------------------------------- receptive fields


def test_the_theory_of_a_discriminator():
    """4x4 convolutions of stride 2: 4, 10 and 22 pixels, and the logit sees 46."""
    model = network(Discriminator, architecture="F F+A C+A | F F+A C+A", released=True)
    large = torch.zeros(1, 3, 96, 96)
    layers = ("full 16x16", "full 8x8", "self 8x8", "stages.3", "self 4x4", "output")
    with unchanged(model):
        found = [theoretical_receptive_field(model, layer, large) for layer in layers]
        assert found == [4, 10, 10, 22, 22, 46]
        # clipped by the image
        assert theoretical_receptive_field(model, "output", inputs_of(Discriminator, 1)) == 32


def test_the_field_in_effect_of_a_discriminator():
    model = network(Discriminator, architecture="F F+A C+A | F F+A C+A", released=True)
    images = inputs_of(Discriminator)
    model(images).sum().backward()
    with unchanged(model):
        field = effective_receptive_field(model, "stages.3", images)
        with force_alpha(model, 0):
            closed = effective_receptive_field(model, "stages.3", images)
    assert (field > 0).float().mean() > 0.99
    for axis in (0, 1):
        lines = (closed > 0).any(axis).nonzero()
        assert (lines.min().item(), lines.max().item()) == (9, 30)  # 22 pixels from 2 * 8 - 7
    assert effective_receptive_field(model, "stages.3", images, seed=0).equal(field)
    assert not effective_receptive_field(model, "stages.3", images, seed=1).equal(field)


def test_every_image_counts_by_the_magnitude_of_its_gradient():
    """Slow loop; with one output channel the random unit vector is a sign."""
    torch.manual_seed(0)
    own = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(4, 1, 3, stride=2, padding=1)
    ).double()
    x = noise(5, 3, 10, 14)
    expected = torch.zeros(10, 14, dtype=DOUBLE)
    for image in x.split(1):
        image = image.clone().requires_grad_()
        own(image)[0, 0, 2, 3].backward()  # the centre of 5 x 7
        expected += image.grad[0].abs().sum(0)
    own.zero_grad()
    field = effective_receptive_field(own, "2", x)
    assert torch.allclose(field, expected / expected.sum())
    assert (field > 0).sum() == theoretical_receptive_field(own, "2", x) ** 2 == 25


@pytest.mark.parametrize("kernel", [(3, 5), (5, 3)])
def test_theory_asks_neither_weights_nor_activations(kernel):
    """Units that are off, weights of 0, a norm that turns the sign: still connected."""
    torch.manual_seed(0)
    own = nn.Sequential(
        spectral_norm(nn.Conv2d(2, 4, kernel, padding=2)), nn.BatchNorm2d(4), nn.ReLU(),
        spectral_norm(nn.Conv2d(4, 1, 1), released=True), nn.ReLU(), nn.Conv2d(1, 1, 1),
    )  # fmt: skip
    with torch.no_grad():
        own[0].parametrizations.weight[0]._u.fill_(0.5)
        own[0].parametrizations.weight[0]._v.fill_(-0.2)
        own[1].bias.fill_(-100)
        own[5].weight.zero_()
    own.eval()
    with unchanged(own):
        assert theoretical_receptive_field(own, "5", torch.randn(2, 2, 16, 16)) == 5
    own(torch.randn(2, 2, 16, 16))  # and the original still has its weights


def test_the_field_of_a_generator_on_an_earlier_layer():
    model = network(architecture="F F F, output F | F F F").eval()
    z = inputs_of(Generator)
    with force_alpha(model, 0):
        closed = effective_receptive_field(model, "full 8x8", z, source="full 4x4")
    # followed back from row 4 of 8 with kernel 4, padding 1: rows 1 and 2 of 4
    assert (closed > 0).nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    field = effective_receptive_field(model, "full 8x8", z, source="full 4x4")
    assert field.shape == (4, 4) and (field > 0).all()
    cells = {16}  # a row of the image, through three doublings
    for _ in range(3):
        cells = {(row + 1 - t) // 2 for row in cells for t in range(4) if (row + 1 - t) % 2 == 0}
    found = theoretical_receptive_field(model, "full 32x32", z, source="full 4x4")
    assert found == len(cells) and max(cells) - min(cells) == len(cells) - 1


def test_fields_that_do_not_exist():
    model = network()
    z = inputs_of(Generator)
    for layer, source, message in (
        ("full 8x8", None, "the input has no positions; give source="),
        ("full 8x8", "self 16x16", "does not depend on its source"),
        ("full 8x9", "full 4x4", "did you mean 'full 8x8'"),
        ("full 8x8", "stages.99", "did you mean 'stages"),
        # in theory without a hook, fused with its like and never called; in effect with one
        ("stages.0.query", "full 4x4", "has no positions|does not depend on its source"),
    ):
        for function in (effective_receptive_field, theoretical_receptive_field):
            with pytest.raises(UserError, match=message):
                function(model, layer, z, source=source)
    assert not any(module._forward_hooks for module in model.modules())
    own = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    nn.init.zeros_(own[0].weight)
    field = effective_receptive_field(own, "0", torch.ones(1, 1, 8, 8))
    assert field.isnan().all()
    assert math.isnan(field_size(field)) and math.isnan(field_share(field))


def test_sizes_of_known_fields():
    box = torch.zeros(20, 20)
    box[3:8, 10:15] = 0.5
    box[0, 0] = 0.5 * 0.045  # below 4.55 % of the maximum
    box[0, 1] = 0.5 * 0.046  # above
    assert field_size(box) == pytest.approx(math.sqrt(26))
    assert field_share(box) == pytest.approx(26 / 400)


# ---------------------------------------------------------------- spectral norms


@pytest.mark.parametrize("options", [{}, {"released": True, "attention_spectral_norm": True}])
@both_kinds
def test_spectral_norms_of_a_network(kind, options):
    model = network(kind, **options).train()
    with unchanged(model):
        norms = spectral_norms(model)
    copy = deepcopy(model).eval()
    convolutions = [m for m in copy.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(norms) == len(convolutions)
    for (name, found), convolution in zip(norms.items(), convolutions, strict=True):
        weight = convolution.weight.detach().double()
        if isinstance(convolution, nn.ConvTranspose2d):
            weight = weight.transpose(0, 1)
        expected = torch.linalg.matrix_norm(weight.flatten(1), ord=2).item()
        assert found == pytest.approx(expected, rel=1e-10), name
    assert {"full 8x8.query", "full 8x8.convolution", "output"} <= norms.keys()


# ---------------------------------------------------------------- summary


@pytest.mark.parametrize(
    ("variant", "kind"),
    [("plain", Generator), ("concat", Discriminator), ("channel", Discriminator)],
)
def test_summary_is_what_the_instruments_say(variant, kind):
    model = network(kind, **VARIANTS[variant]).train()
    x = inputs_of(kind)
    model(x).sum().backward()
    random_state, passes = torch.get_rng_state(), []
    handle = model.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    with unchanged(model):
        rows = summary(model, x)
    handle.remove()
    assert passes == [False]
    assert torch.equal(torch.get_rng_state(), random_state)

    with record(model.eval()) as records, torch.no_grad():
        model(x)
    assert [row["layer"] for row in rows] == list(records)
    for row in rows:
        (recorded,) = records[row["layer"]]
        energies, looks = branch_energies(recorded), attention_statistics(recorded, 32, 256)
        concat = variant == "concat" and row["layer"].startswith("full")
        alpha = None if concat else gated_layers(model)[row["layer"]].alpha.mean().item()
        values = alpha, *vars(energies).values(), *vars(looks).values()
        assert [*row.values()] == [row["layer"], *values] and {*row} <= {*ALPHA}
        assert energies.attention > 0 and energies.convolution > 0


def test_summary_without_attention_or_images():
    assert summary(network(architecture="dcgan"), inputs_of(Generator)) == []
    # latents (B, C, 1, 1) have a grid too; the image is the larger end
    own = nn.Sequential(nn.ConvTranspose2d(8, 8, 4), self_attention()).double()
    (recorded,) = recorded_of(own, noise(2, 8, 1, 1))
    (row,) = summary(own, noise(2, 8, 1, 1))
    assert row["distance"] == attention_statistics(recorded, 4).distance > 0
    with pytest.raises(UserError, match="not square"):
        summary(nn.Sequential(self_attention()), noise(1, 8, 4, 6))
