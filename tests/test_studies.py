"""Studies of trained networks: against slow ways, symmetries and known answers."""

import json
import shutil

import package
import pytest
import torch
from records_factory import make_ablation

from fagan import data, studies
from fagan.interpret import record
from fagan.layers import FullAttention2d
from fagan.models import build
from fagan.records import load_runs
from fagan.studies import _flipped
from fagan.train import save_weights

ARMS = {
    "dcgan": {"architecture": "dcgan"},
    "fagan": {"architecture": "fagan"},
    "google": {"architecture": "sagan", "self_attention": "google"},
    "concat": {"architecture": "F F C | C F C", "merge": "concat"},
    "closed": {"architecture": "fagan"},
    "lost": {"architecture": "fagan"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Six arms of one seed, random networks; gates are open but in `closed`; `lost` has none."""
    results = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        small = {"width": 0.125, "squeeze": 4, "images": 400, "n_real": 300}
        make_ablation(results, arms=ARMS, seeds=1, grids=0, **small)
        runs = load_runs("tiny", results)
        for arm in ARMS:
            if arm != "lost":
                save(runs, arm)
        yield runs


def save(runs, arm):
    folder = runs.folder / "runs" / f"{arm}-seed0"
    both = build(studies.recorded_config(runs, folder.name))
    for network, name in zip(both, ("generator", "discriminator"), strict=True):
        if arm != "closed":
            package.open_gates(network)
        save_weights(network, folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def networks(runs):
    return {run.arm: run for run in studies.networks(runs)}


@pytest.fixture(scope="module")
def real(runs):
    return studies.some_real(runs, 4)


# Networks and images


def test_networks_are_those_that_were_saved(runs, networks):
    assert list(networks) == ["dcgan", "fagan", "google", "concat", "closed"]
    wanted = build(networks["fagan"].config)[1]
    package.open_gates(wanted)
    found = networks["fagan"].discriminator
    assert not found.training
    torch.testing.assert_close(found.state_dict(), wanted.state_dict(), rtol=0, atol=0)
    assert studies.networks(runs, seed=7) == []


def test_a_generator_alone_is_looked_into_alone(runs, real, tmp_path):
    shutil.copytree(runs.folder, tmp_path / "tiny")
    (tmp_path / "tiny" / "runs" / "fagan-seed0" / "discriminator.safetensors").unlink()
    found = [run for run in studies.networks(load_runs("tiny", tmp_path)) if run.arm == "fagan"]
    assert found[0].discriminator is None
    assert set(studies.attention_looks(found, real)["network"]) == {"generator"}
    assert studies.discriminator_fields(found, real).empty
    assert len(studies.generator_reach(found, n=1, draws=1)) == 2 * 4


def test_photographs_are_not_shown_and_those_elsewhere_not_missed(runs, tmp_path):
    shutil.copytree(runs.folder, tmp_path / "tiny")
    for path in tmp_path.glob("tiny/runs/*/config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"data": "folder"}))
    moved = load_runs("tiny", tmp_path)
    own = studies.networks(moved)
    assert studies.some_real(moved, 4) is None and len(own) == 5
    assert studies.some_drawn(moved, 4) is None  # no photograph, and nobody who could draw
    drawn = studies.some_drawn(moved, 4, own)
    with torch.no_grad():
        made = data.to_uint8(own[0].generator(own[0].latents(4)))
    assert (drawn.int() - made.int()).abs().max() <= 1
    looks = studies.attention_looks(own, drawn)
    seen = looks[looks["network"] == "discriminator"]
    assert set(seen["arm"]) == {"fagan", "google", "concat", "closed"}
    expected = drawn[0].permute(1, 2, 0).numpy()
    assert all((image == expected).all() for image in seen["image"])  # one image for all


# Maps and signs


def test_a_look_is_the_row_of_the_whole_map_that_holds_its_pixel(networks, real):
    run = networks["google"]  # its keys are pooled
    looks = studies.attention_looks([run], real, points=((0.5, 0.1), (0.97, 0.6)), index=2)
    assert len(looks) == 2 * (2 + 2)
    with torch.no_grad(), record(run.generator) as records:
        made = run.generator(run.latents(3)[2:])
    for look in looks[looks["network"] == "generator"].itertuples():
        whole = records[look.layer][0].map[0].mean(0)  # (N, M)
        cells = records[look.layer][0].grid[0]
        row, column = look.row * cells // 32, look.column * cells // 32
        assert (look.row, look.column) == ((16, 3), (31, 19))[look.query - 1]
        expected = whole[row * cells + column].reshape(cells // 2, cells // 2)
        assert look.map == pytest.approx(expected.numpy(), abs=1e-6)
        assert look.map.sum() == pytest.approx(1)
        assert look.peak == pytest.approx(look.map.max() * look.map.size)
        assert (look.image == data.to_uint8(made[0]).permute(1, 2, 0).numpy()).all()
    shown = looks[looks["network"] == "discriminator"]["image"].iloc[0]
    assert (shown == real[2].permute(1, 2, 0).numpy()).all()


def test_the_sign_is_a_symmetry_of_self_attention_only(networks, real):
    flips = studies.sign_flips([networks[arm] for arm in ("dcgan", "fagan", "google")], real)
    assert set(flips["arm"]) == {"fagan", "google"}
    own = flips.groupby("kind")["change"]
    assert own.max()["self"] < 1e-12 < 1e-3 < own.min()["full"]
    # a gate at 0 has no sign, a join has no gate
    assert studies.sign_flips([networks["closed"], networks["concat"]], real).empty


def test_flipping_turns_alpha_and_value_and_nothing_stays():
    torch.manual_seed(0)
    options = {"squeeze": 2, "attention_spectral_norm": True, "alpha": "channel"}
    layer = FullAttention2d(4, 4, 3, 1, 1, use_batch_norm=False, **options).eval()
    package.open_gates(layer)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    alpha, x = layer.alpha, torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        attention, convolution = layer.branches(x)
        with _flipped(layer):
            turned = layer(x)
        # without an activation the attention's sign cancels and only 1 - alpha has changed
        expected = alpha * attention + (1 + alpha) * convolution
        assert turned == pytest.approx(expected, abs=1e-5)
        assert layer.alpha is alpha and "project" not in vars(layer)
        assert layer(x) == pytest.approx(alpha * attention + (1 - alpha) * convolution, abs=1e-5)
    assert all(torch.equal(layer.state_dict()[name], tensor) for name, tensor in before.items())


# Ways between latents


def test_an_arc_keeps_the_length_and_the_angle():
    start, end = torch.tensor([3.0, 0, 0]), torch.tensor([0, 3.0, 0])
    for share in (0.0, 0.25, 1.0):
        angle = torch.tensor(share * torch.pi / 2)
        expected = 3 * torch.stack([angle.cos(), angle.sin(), torch.zeros(())])
        assert studies.slerp(start, end, share) == pytest.approx(expected, abs=1e-5)
    # there is no arc between parallel latents, and none that is the shortest between opposite ones
    assert studies.slerp(start, 2 * start, 0.5) == pytest.approx(1.5 * start)
    assert studies.slerp(start, -start, 0.25) == pytest.approx(0.5 * start)


# Fields


@pytest.fixture(scope="module")
def fields(networks, real):
    return studies.discriminator_fields(list(networks.values()), real, draws=2)


def test_every_layer_has_its_field_and_theory(fields):
    trained = fields[fields["attention"] == "as trained"].set_index("arm")
    fagan = trained.loc["fagan"]
    names = ["full 16x16", "full 8x8", "self 8x8", "conv 4x4", "self 4x4", "logit"]
    assert fagan["layer"].tolist() == names and fagan["place"].tolist() == [1, 2, 3, 4, 5, 6]
    assert fagan["grid"].tolist() == [16, 8, 8, 4, 4, 1]
    # kernel 4, stride 2: 4, then + 3 * 2^i
    assert fagan["theory"].tolist() == [4, 10, 10, 22, 22, 32]
    assert trained.loc["dcgan", "theory"].tolist() == [4, 10, 22, 32]


def test_only_attention_brings_influence_from_outside(fields):
    closed = fields[fields["attention"] == "alpha = 0"]
    assert (closed["size"] <= closed["theory"]).all()
    outside = fields[fields["attention"] == "as trained"].set_index(["arm", "place"])["outside"]
    assert (outside["dcgan"] == 0).all() and (outside["closed"] == 0).all()
    assert outside["fagan", 1] > 0.01
    assert outside["google", 1] == 0 == outside["google", 2]
    assert outside["google", 3] > 0.01  # its first attention layer
    assert outside["fagan", 6] == 0  # the logit's convolution sees everything
    assert outside["concat"].isna().all()
    kinds = fields.groupby("arm")["attention"].nunique()  # without gates there is no second row
    assert kinds["dcgan"] == kinds["concat"] == 1 and kinds["fagan"] == kinds["closed"] == 2
    both = fields[fields["arm"] == "fagan"].pivot(index="place", columns="attention")
    assert both["map"]["as trained"][1][0, 0] > 0 == both["map"]["alpha = 0"][1][0, 0]


def test_a_generated_pixel_comes_from_few_cells_unless_it_attends(networks):
    reach = studies.generator_reach([networks["dcgan"], networks["fagan"]], n=2, draws=2)
    dcgan = reach[reach["arm"] == "dcgan"]
    assert dcgan["source"].tolist() == ["conv 4x4", "conv 8x8", "conv 16x16"]
    assert [field.shape for field in dcgan["map"]] == [(4, 4), (8, 8), (16, 16)]
    assert (dcgan["size"] <= dcgan["theory"]).all() and dcgan["theory"].max() <= 3
    fagan = reach[(reach["arm"] == "fagan") & (reach["attention"] == "as trained")]
    assert fagan["outside"].iloc[0] > 0.01  # over the first layer: through the later ones
    assert fagan["outside"].iloc[-1] == 0  # after the last attention layer
