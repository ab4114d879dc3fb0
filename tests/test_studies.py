"""Studies of trained networks and scores: against slow ways, symmetries and known answers."""

import json
import shutil
from dataclasses import replace

import numpy as np
import package
import pandas as pd
import pytest
import torch
from records_factory import make_ablation

from fagan import data, evaluate, studies
from fagan.data import ImageSet
from fagan.interpret import gated_layers, record
from fagan.layers import FullAttention2d, SelfAttention2d
from fagan.models import build
from fagan.records import load_runs
from fagan.studies.interpolations import closed_path
from fagan.studies.looks import flipped
from fagan.studies.metrics import RealImages, _Remembering
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
    assert studies.without_weights(runs) == ["lost-seed0"]
    wanted = build(networks["fagan"].config)[1]
    package.open_gates(wanted)
    found = networks["fagan"].discriminator
    assert not found.training
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
    assert studies.networks(runs, seed=7) == [] == studies.without_weights(runs, seed=7)


def test_a_generator_alone_is_looked_into_alone(runs, real, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(runs.folder, folder)
    (folder / "runs" / "fagan-seed0" / "discriminator.safetensors").unlink()
    fewer = load_runs("tiny", tmp_path)
    assert studies.without_weights(fewer) == ["fagan-seed0", "lost-seed0"]
    found = [run for run in studies.networks(fewer) if run.arm == "fagan"]
    assert found[0].discriminator is None
    assert set(studies.attention_looks(found, real)["network"]) == {"generator"}
    assert studies.discriminator_fields(found, real).empty
    assert len(studies.generator_reach(found)) == 2 * 4


def test_images_that_are_not_here_are_none_and_the_networks_are_read_all_the_same(runs, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(runs.folder, folder)
    config = folder / "runs" / "fagan-seed0" / "config.json"
    for path in folder.glob("runs/*/config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"data": "folder"}))
    moved = load_runs("tiny", tmp_path)
    assert studies.some_real(moved, 4) is None and studies.real_images(moved) is None
    assert len(studies.networks(moved)) == 5
    looks = studies.attention_looks(studies.networks(moved), studies.some_drawn(moved, 4))
    for _, own in looks.groupby("run_id"):  # no photograph is drawn: what the generator made is
        assert set(own["network"]) == {"generator", "discriminator"}
        first, *others = own["image"]
        assert all((first == other).all() for other in others)
    assert json.loads(config.read_text())["data"] == "folder"


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


def test_equal_queries_look_everywhere_alike(runs, real):
    run = next(run for run in studies.networks(runs) if run.arm == "fagan")
    with torch.no_grad():
        for layer in gated_layers(run.discriminator).values():
            layer.query.weight.zero_()
            layer.query.bias.zero_()
    looks = studies.attention_looks([run], real)
    flat = looks[looks["network"] == "discriminator"]
    assert len(flat) == 4 * 3 and flat["peak"].to_numpy() == pytest.approx(1, abs=1e-5)
    assert looks[looks["network"] == "generator"]["peak"].max() > 1.5


def test_the_sign_is_a_symmetry_of_self_attention_only(networks, real):
    flips = studies.sign_flips([networks[arm] for arm in ("dcgan", "fagan", "google")], real)
    assert set(flips["arm"]) == {"fagan", "google"}
    own = flips.groupby("kind")["change"]
    assert own.max()["self"] < 1e-12 < 1e-3 < own.min()["full"]
    # a gate at 0 has no sign, a join has no gate
    assert studies.sign_flips([networks["closed"]], real).empty
    concat = studies.sign_flips([networks["concat"]], real)
    assert concat.empty


@pytest.mark.parametrize("options", [{}, {"attention_spectral_norm": True}, {"alpha": "channel"}])
def test_flipping_turns_alpha_and_value_and_nothing_stays(options):
    torch.manual_seed(0)
    layer = FullAttention2d(4, 4, 3, 1, 1, squeeze=2, use_batch_norm=False, **options).eval()
    package.open_gates(layer)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    alpha, x = layer.alpha, torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        attention, convolution = layer.branches(x)
        with flipped(layer):
            turned = layer(x)
        # without an activation the attention's sign cancels and only 1 - alpha has changed
        expected = alpha * attention + (1 + alpha) * convolution
        assert turned == pytest.approx(expected, abs=1e-5)
        assert layer.alpha is alpha and "project" not in vars(layer)
        assert layer(x) == pytest.approx(alpha * attention + (1 - alpha) * convolution, abs=1e-5)
    assert all(torch.equal(layer.state_dict()[name], tensor) for name, tensor in before.items())


def test_flipping_a_frozen_gate_keeps_it_a_buffer():
    layer = SelfAttention2d(4, squeeze=2, alpha="frozen", alpha_init=0.5)
    with flipped(layer):
        assert layer.alpha.item() == -0.5
    assert dict(layer.named_buffers())["alpha"].item() == 0.5


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


def test_a_round_trip_passes_its_latents_and_closes():
    latents = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    path = closed_path(latents, stops=3, between=4)  # two trips
    assert path.shape == (12, 2, 16)
    assert path[[0, 4, 8]].flatten(0, 1) == pytest.approx(latents, abs=1e-5)
    steps = torch.cosine_similarity(path, path.roll(-1, dims=0), dim=-1).acos()
    for leg in steps.split(4):  # equal angles
        assert leg == pytest.approx(leg[:1].expand_as(leg), abs=1e-3)


def test_interpolations_are_what_the_generator_draws_there(networks):
    run = networks["fagan"]
    frames = studies.interpolations([run], tracks=2, stops=2, between=3)
    assert frames["frame"].tolist() == list(range(6)) and frames["done"].iloc[3] == 0.5
    z = studies.slerp(run.latents(4)[2], run.latents(4)[0], 2 / 3)
    with torch.no_grad():
        made = data.to_uint8(run.generator(z[None]))[0].permute(1, 2, 0).int()
    last = torch.from_numpy(frames["images"].iloc[5][0]).int()
    assert (last - made).abs().max() <= 1
    moved = np.abs(frames["images"].iloc[0].astype(float) - frames["images"].iloc[5]).mean()
    assert frames["change"].iloc[0] == pytest.approx(moved, rel=1e-5)


# Fields


@pytest.fixture(scope="module")
def fields(networks, real):
    return studies.discriminator_fields(list(networks.values()), real, draws=2)


def test_the_theory_is_that_of_stacked_convolutions(fields):
    trained = fields[fields["attention"] == "as trained"]
    own = trained[trained["arm"] == "dcgan"]
    # kernel 4, stride 2: 4, then + 3 * 2^i
    assert own["theory"].tolist() == [4, 10, 22, 32]
    assert own["layer"].tolist() == ["conv 16x16", "conv 8x8", "conv 4x4", "logit"]
    assert own["grid"].tolist() == [16, 8, 4, 1] and own["place"].tolist() == [1, 2, 3, 4]
    fagan = trained[trained["arm"] == "fagan"]
    names = ["full 16x16", "full 8x8", "self 8x8", "conv 4x4", "self 4x4", "logit"]
    assert fagan["layer"].tolist() == names
    assert fagan["theory"].tolist() == [4, 10, 10, 22, 22, 32]


def test_a_field_without_attention_lies_within_the_theory(fields):
    for row in fields[fields["attention"] == "alpha = 0"].itertuples():
        if row.arm == "concat":
            continue  # its joins have no gate to close
        lines = np.flatnonzero(row.map.any(0))
        assert lines.max() - lines.min() + 1 <= row.theory
        assert row.map.sum() == pytest.approx(1)
        assert row.outside == 0


def test_only_attention_brings_influence_from_outside(fields):
    trained = fields[fields["attention"] == "as trained"].set_index(["arm", "place"])
    assert (trained.loc["dcgan", "outside"] == 0).all()
    assert (trained.loc["closed", "outside"] == 0).all()
    assert trained.loc[("fagan", 1), "outside"] > 0.01
    assert trained.loc[("google", 1), "outside"] == 0 == trained.loc[("google", 2), "outside"]
    assert trained.loc[("google", 3), "outside"] > 0.01  # its first attention layer
    assert trained.loc[("fagan", 6), "outside"] == 0  # the logit's convolution sees everything
    assert trained.loc["concat", "outside"].isna().all()
    both = fields[fields["arm"] == "fagan"].pivot(index="place", columns="attention")
    assert both["map"]["as trained"][1][0, 0] > 0 == both["map"]["alpha = 0"][1][0, 0]


def test_networks_without_gates_have_no_second_row(fields):
    kinds = fields.groupby("arm")["attention"].nunique()
    assert kinds["dcgan"] == kinds["concat"] == 1 and kinds["fagan"] == kinds["closed"] == 2


def test_a_generated_pixel_comes_from_few_cells_unless_it_attends(networks):
    reach = studies.generator_reach([networks["dcgan"], networks["fagan"]], n=2, draws=2)
    dcgan = reach[reach["arm"] == "dcgan"]
    assert dcgan["source"].tolist() == ["conv 4x4", "conv 8x8", "conv 16x16"]
    assert [field.shape for field in dcgan["map"]] == [(4, 4), (8, 8), (16, 16)]
    assert (dcgan["size"] <= dcgan["theory"]).all() and dcgan["theory"].max() <= 3
    fagan = reach[(reach["arm"] == "fagan") & (reach["attention"] == "as trained")]
    assert fagan["outside"].iloc[0] > 0.01  # over the first layer: through the later ones
    assert fagan["outside"].iloc[-1] == 0  # after the last attention layer


# The scores under test


@pytest.fixture(scope="module")
def sides(runs):
    return studies.real_images(runs)


@pytest.fixture(scope="module")
def worse(sides):
    return studies.degradations(sides, n=120, draws=3)


def test_both_sides_are_the_ablations_and_share_no_image(sides):
    assert (len(sides.scored), len(sides.reference)) == (300, 300)
    seen = {image.numpy().tobytes() for image in sides.reference.images}
    assert not any(image.numpy().tobytes() in seen for image in sides.scored.images)


def test_a_small_folder_is_cut_in_halves(runs, monkeypatch):
    """Where the reference is taken from the training images, as data.load says by `split`."""
    images = torch.arange(41).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).to(torch.uint8)
    whole = ImageSet(images, "own", "train", "abc")
    monkeypatch.setattr(data, "load", lambda config, split: whole)
    halves = studies.real_images(runs)
    values = [set(side.images[:, 0, 0, 0].tolist()) for side in (halves.scored, halves.reference)]
    assert not values[0] & values[1] and len(values[0] | values[1]) == 41
    # features are kept on disk under the checksum
    assert len({halves.scored.checksum, halves.reference.checksum, "abc"}) == 3


def test_degradations_rise_above_the_floor(worse):
    floor = worse[worse["kind"] == "none"]
    assert len(floor) == 3 and floor["fd_lite0"].nunique() == 3
    assert (worse["n_fake"] == 120).all() and (worse["n_real"] == 300).all()
    last = worse.groupby("kind")[["fd_lite0", "recall", "coverage", "coherence_eyes"]].last()
    for kind in ("blur", "noise", "contamination", "mode collapse"):
        assert last.loc[kind, "fd_lite0"] > 1.5 * floor["fd_lite0"].max(), kind
    assert last.loc["mode collapse", "recall"] < 0.1 < 0.8 < floor["recall"].min()
    assert last.loc["broken ties", "coherence_eyes"] < 0.3 < 0.9 < floor["coherence_eyes"].min()
    assert last.loc["broken ties", "fd_lite0"] < 1.2 * floor["fd_lite0"].max()
    assert worse.loc[worse["kind"] == "blur", "level"].tolist() == [0.5, 1, 2]  # pixels of 32
    assert worse.loc[worse["kind"] == "mode collapse", "level"].tolist() == [60, 24, 6, 1]


def test_degradations_are_the_same_again_and_other_data_has_no_ties(sides, worse):
    named = ImageSet(sides.reference.images, "own", "held-out", "other")
    again = studies.degradations(RealImages(sides.scored, named), n=120, draws=1)
    assert not any(name.startswith(("coherence", "signal")) for name in again)
    assert "broken ties" not in set(again["kind"])
    columns = ["fd_lite0", "kid_lite0", "precision", "coverage"]
    same = worse[worse["kind"].isin(["blur", "noise", "mode collapse"])][columns]
    theirs = again[again["kind"].isin(["blur", "noise", "mode collapse"])][columns]
    assert same.to_numpy() == pytest.approx(theirs.to_numpy())


def test_features_of_an_image_are_computed_once(sides):
    remembering, plain = _Remembering(), evaluate.lite0()
    images = sides.scored.images[[0, 1, 0, 2]]
    seen = []
    remembering.extractor = lambda new: (seen.append(len(new)), plain(new))[1]
    first, second = remembering(images), remembering(images.flip(0))
    assert seen == [3]
    assert torch.equal(first.flip(0), second)
    assert first == pytest.approx(plain(images), rel=1e-4, abs=1e-4)


def test_the_floor_falls_and_the_line_is_the_least_squares_one(sides):
    curve = studies.floor_curve(sides)
    assert curve["n"].tolist() == [50, 100, 200, 300]
    assert curve["fd"].is_monotonic_decreasing
    lines = studies.extrapolations(sides)
    assert lines["images"].unique().tolist() == ["real images", "10 % of another kind"]
    for _, own in lines.groupby("images"):
        slope, value = np.polyfit(1 / own["n"], own["fd"], 1)
        assert own["value"].iloc[0] == pytest.approx(value, rel=1e-6)
        assert own["slope"].iloc[0] == pytest.approx(slope, rel=1e-6)
    ends = lines.groupby("images")["fd"].last()
    assert ends["10 % of another kind"] > ends["real images"]


# What the released code's habits change


def test_train_mode_changes_the_images_and_not_the_network(runs, networks):
    run = networks["fagan"]
    before = {name: tensor.clone() for name, tensor in run.generator.state_dict().items()}
    own = replace(run, config=run.config.with_(n_intervene=60))
    row = studies.train_mode_scores(runs, [own], batch=20).iloc[0]
    assert row["n_fake"] == 60 and row["run_id"] == "fagan-seed0" and row["batch"] == 20
    images = [
        evaluate.sample(run.generator, 60, 128, studies.released.EVALUATION_SEED, 20, train_mode=m)
        for m in (False, True)
    ]
    real = data.load(run.config, "reference")
    reference = evaluate.reference(real, run.config.n_real, evaluate.lite0())
    for made, name in zip(images, ("fd_eval", "fd_train"), strict=True):
        found = evaluate.score(made, reference, evaluate.lite0(), kid=False)["fd_lite0"]
        assert row[name] == pytest.approx(found, rel=1e-4)
    assert row["fd_eval"] != pytest.approx(row["fd_train"], rel=1e-3)
    after = run.generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not run.generator.training


def test_an_image_of_train_mode_depends_on_its_neighbours(networks):
    generator = networks["fagan"].generator
    whole, parts = (
        evaluate.sample(generator, 8, 128, 0, batch, train_mode=True) for batch in (8, 4)
    )
    assert (whole.int() - parts.int()).abs().max() > 1
    whole, parts = (evaluate.sample(generator, 8, 128, 0, batch) for batch in (8, 4))
    assert (whole.int() - parts.int()).abs().max() <= 1


def test_the_released_norm_against_weights_whose_norms_are_known(networks):
    run = networks["dcgan"]
    generator = build(run.config)[0].eval()
    layer = generator.stages[0][0]
    inputs, outputs = layer.weight.shape[:2]
    one = torch.zeros(layer.weight.shape)
    one[:16, 0] = torch.eye(16).reshape(16, 4, 4)  # one output, sixteen orthogonal kernels
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(one)
    table = studies.released_norms([replace(run, generator=generator)])
    first = table.iloc[0]
    # along the outputs it is one row of norm 4, along the inputs sixteen orthonormal ones
    assert first["ratio"] == pytest.approx(1 / 4)
    assert (first["inputs"], first["outputs"]) == (inputs, outputs)
    assert len(table) == 3  # the output layer has no spectral norm
    assert table["ratio"].gt(0).all()


def test_nothing_to_study_gives_empty_frames(runs):
    nothing = replace(runs, runs=runs.runs[runs.runs["arm"] == "lost"], arms=("lost",))
    assert studies.networks(nothing) == []
    for frame in (
        studies.attention_looks([], None),
        studies.interpolations([]),
        studies.sign_flips([], None),
        studies.discriminator_fields([], None),
        studies.generator_reach([]),
        studies.released_norms([]),
        studies.train_mode_scores(nothing, []),
    ):
        assert isinstance(frame, pd.DataFrame) and frame.empty and len(frame.columns) > 5
