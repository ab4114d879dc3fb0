"""Class labels from the images to the scores, R3GAN's loss and its gradient penalties."""

import copy
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from fagan import ablations, data, evaluate, faces, train
from fagan.conditioning import ConditionalBatchNorm2d, labelled, set_labels, spread_classes
from fagan.config import RunConfig
from fagan.data import Batches, class_names, decoding
from fagan.errors import UserError
from fagan.losses import LOSSES, gradient_penalty
from fagan.models import build

CPU = torch.device("cpu")
TINY = {
    **{"architecture": "fagan", "resolution": 32, "width": 0.125, "squeeze": 4, "latent_size": 16},
    **{"batch_size": 4, "images": 96, "n_real": 64, "n_fake": 64, "n_track": 16, "n_intervene": 0},
    **{"steps": 4, "log_every": 2, "eval_every": 2, "checkpoint_every": 2},
}


def config(conditioning="projection", **changes):
    classes = 0 if conditioning == "none" else 3
    return RunConfig.from_params(
        {**TINY, "conditioning": conditioning, "classes": classes, **changes}
    )


def one_hot(*labels, classes=3):
    return F.one_hot(torch.tensor(labels), classes).float()


# Where labels come from


@pytest.fixture
def folders(tmp_path):
    """tmp_path/own: 12 grey images of class "a b", 6 of "ß"; an image's grey level says which."""
    for i in range(18):
        name, grey = ("ß", 200) if i % 3 == 0 else ("a b", 50)
        path = tmp_path / "own" / name / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), grey + i, np.uint8)).save(path)
    return tmp_path / "own"


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def own(path, **changes):
    values = {"data": "folder", "data_path": str(path), "classes": 2, "images": 0, "n_real": 4}
    return config(**values | changes)


@pytest.mark.parametrize("packed", [False, True])
def test_a_class_folder_is_the_class_of_its_images(folders, packed, monkeypatch):
    monkeypatch.setattr(decoding, "_BROKEN_SHARE", 0.5)
    (folders / "a b" / "broken.png").write_bytes(b"no image")
    for split in ("train", "reference"):
        part = data.load(own(zipped(folders) if packed else folders), split)
        grey = part.images.float().mean((1, 2, 3))
        assert part.classes == ("a b", "ß") and len(part.broken) == 1
        assert part.labels.tolist() == (grey > 150).long().tolist()
        assert 0 < part.labels.sum() < len(part)


def test_a_face_is_of_the_class_of_its_headgear():
    part = data.load(config(), "reference")
    drawn = faces.attributes(range(64), faces.REFERENCE_SEED)["headgear"]
    assert part.labels.equal(drawn) and part.classes == ("headband", "beanie", "cap")


def test_a_step_gets_batches_with_the_labels_of_their_images(monkeypatch):
    pixels = torch.arange(10, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    state, seen = train.start(config(n_dis=2), CPU), []
    batches = Batches(pixels, 4, seed=1, flip=True, labels=torch.arange(10) % 3, classes=3)
    monkeypatch.setattr(train.steps, "update", lambda _, *tensors: seen.append(tensors))
    for step in range(4):
        train.step_once(state, batches)
        for k, (images, labels) in enumerate(zip(*seen[step], strict=True)):
            assert images.equal(batches.at(2 * step + k))
            numbers = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
            assert labels.argmax(1).tolist() == (numbers % 3).tolist()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda own: (own / "ß" / "00.png").rename(own / "00.png"), "beside its class folders"),
        (lambda own: (own / "none").mkdir(), "class folder none"),
        (lambda own: (own / "ß").rename(own / "a b" / "ß"), "one class"),
    ],
)
def test_folders_that_are_no_classes_are_one_line(folders, spoil, words):
    spoil(folders)
    with pytest.raises(UserError, match=words):
        class_names("folder", str(folders))


def test_labels_that_cannot_be_are_one_line():
    for words, changes in (
        ("data=ties has no class labels", {"data": "ties"}),
        ("at least two classes", {"classes": 1}),
        ("belong to conditioning", {"conditioning": "none", "classes": 3}),
        ("belong to conditioning", {"conditioning": "none", "matching_aware": True}),
        ("r1=-1.0 must not be negative", {"r1": -1.0}),
    ):
        with pytest.raises(UserError, match=words):
            config(**changes)


def test_a_plan_counts_the_classes(folders):
    table, labels = ablations.load_table("smoke"), {"conditioning": "concat"}
    for path, count in (("", 3), (str(folders), 2)):
        runs = ablations.configs(table, (0,), labels, path)
        assert {run.classes for run in runs} == {count}
    with pytest.raises(UserError, match="has 2 classes, the run 3"):
        data.load(own(folders, classes=3), "train")
    for path, words in (("", "needs its folder or zip"), (5, "must be a text")):
        with pytest.raises(UserError, match=words):
            ablations.configs(table, (0,), labels | {"data": "folder", "data_path": path})


# In the networks


def test_conditional_batch_norm_is_batch_norm_with_each_class_its_own_gain():
    torch.manual_seed(0)
    layer, x = ConditionalBatchNorm2d(5, 3).double(), torch.randn(8, 5, 4, 4).double()
    nn.init.normal_(layer.gain), nn.init.normal_(layer.shift)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 2, 2])
    set_labels(layer, one_hot(*labels))
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    normed = (x - mean[:, None, None]) / (variance[:, None, None] + layer.eps).sqrt()
    gain, shift = (t[labels][:, :, None, None] for t in (layer.gain, layer.shift))
    torch.testing.assert_close(layer(x), normed * gain + shift)
    torch.testing.assert_close(layer.running_mean, 0.1 * mean)


def test_a_projection_adds_the_product_of_the_class_with_the_sum_over_the_map():
    discriminator = build(config())[1].double().eval()
    images, labels = torch.randn(3, 3, 32, 32).double(), one_hot(2, 0, 1).double()
    features = discriminator.stages(images)
    row = discriminator.embedding.weight.T[torch.tensor([2, 0, 1])]
    expected = discriminator(images) + torch.einsum("bc,bchw->b", row, features)
    torch.testing.assert_close(discriminator(images, labels), expected)


def test_the_package_judges_and_draws_the_same_with_concatenated_labels():
    networks = pytest.importorskip("attn_gan_pytorch.Networks")
    from fagan import released

    shape = {"width": 0.25, "architecture": "sagan", "resolution": 64, "squeeze": 8}
    ours = build(config("concat", released=True, **shape))
    generator, discriminator = (network.double().eval() for network in ours)
    z, labels = torch.randn(2, 16).double(), one_hot(1, 2).double()
    theirs = released.networks(config("none", latent_size=19, **shape))
    conditional = networks.ConditionalGenerator(list(theirs[0].model), 19)
    conditional.load_state_dict(released.to_package(generator))
    z = torch.cat((z, labels), 1)
    drawn = conditional.double().eval()(z[:, :, None, None])
    torch.testing.assert_close(drawn, generator(z), rtol=0, atol=1e-10)
    plain = build(config("none", released=True, **shape))[1]
    plain.stages, last = discriminator.stages, copy.deepcopy(discriminator.output)
    judge = networks.ConditionalDiscriminator(list(theirs[1].model)[:-1], last)
    ours = {k: v for k, v in released.to_package(plain).items() if k in judge.state_dict()}
    assert not judge.load_state_dict(ours, strict=False).unexpected_keys
    assert all(k.startswith("last_module") for k in judge.state_dict().keys() - ours.keys())
    images = torch.randn(2, 3, 64, 64).double()
    verdict = judge.double().eval()(images, labels).flatten()
    torch.testing.assert_close(discriminator(images, labels), verdict, rtol=0, atol=1e-10)


def open_gains(generator):
    """Every class has gains of its own: at the start all are 1, and a test sees nothing."""
    for norm in generator.modules():
        if isinstance(norm, ConditionalBatchNorm2d):
            nn.init.normal_(norm.gain)
    return generator


@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_an_image_depends_on_its_class_and_on_its_index_alone(conditioning):
    generator = open_gains(build(config(conditioning))[0])
    chosen = [evaluate.sample(generator, 5, 16, 7, labels=torch.full((5,), k)) for k in (0, 1)]
    assert (chosen[0] != chosen[1]).any(1).any(1).any(1).all()
    usual = evaluate.sample(generator, 9, 16, 7, batch=2)
    assert (usual[:5].int() - evaluate.sample(generator, 5, 16, 7).int()).abs().max() <= 1
    own_class = spread_classes(9, generator.frequencies)
    again = evaluate.sample(generator, 9, 16, 7, labels=own_class)
    assert (usual.int() - again.int()).abs().max() <= 1


def test_classes_are_drawn_as_often_as_they_are_trained_on():
    frequencies = torch.tensor([0.5, 0.0, 0.3, 0.2])
    drawn = spread_classes(1000, frequencies)
    assert (torch.bincount(drawn, minlength=4) / 1000 - frequencies).abs().max() < 0.003
    assert drawn[:10].equal(spread_classes(10, frequencies))
    state = train.start(config(), CPU)
    train.set_frequencies(state, torch.tensor([0, 0, 2, 1]))
    assert state.average.frequencies.tolist() == [0.5, 0.25, 0.25]
    assert labelled(state.generator, torch.zeros(4, 16))[:, 16:].argmax(1).tolist() == [0, 1, 0, 2]
    assert labelled(build(config("none"))[0], z := torch.zeros(2, 16)) is z


# In a step


@pytest.mark.parametrize(
    ("conditioning", "loss", "aware"),
    [
        ("concat", "hinge", False),
        ("projection", "relativistic-hinge", False),
        ("projection", "hinge", True),
    ],
)
def test_both_steps_judge_real_and_generated_images_with_their_labels(conditioning, loss, aware):
    """The losses are those by hand; matching-aware counts real images of a wrong label as false."""
    state = train.start(config(conditioning, loss=loss, matching_aware=aware), CPU)
    open_gains(state.generator)
    labels, real, loss_of = one_hot(0, 1, 2, 0), torch.randn(4, 3, 32, 32), LOSSES[loss]
    copied = copy.deepcopy(state)
    draw, judge = copied.generator, copied.discriminator
    with torch.no_grad():
        fake = draw(copied.draw(labels))
        right, generated = judge(real, labels), judge(fake, labels)
        expected = loss_of.discriminator(right, generated)
        if aware:
            wrong = judge(real, one_hot(0, 0, 1, 2))
            expected = (expected + loss_of.discriminator(right, wrong)) / 2
    torch.testing.assert_close(train.d_step(state, real, labels)[0], expected)
    copied = copy.deepcopy(state)
    draw, judge = copied.generator, copied.discriminator
    with torch.no_grad():
        right = judge(real, labels) if loss_of.needs_real else None
        expected = loss_of.generator(right, judge(draw(copied.draw(labels)), labels))
    torch.testing.assert_close(train.g_step(state, real, labels), expected)


# R3GAN


def test_a_gradient_penalty_is_the_mean_squared_norm_and_can_be_differentiated():
    images = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty((weight * images.square()).sum((1, 2, 3)), images)
    torch.testing.assert_close(penalty, (2 * weight * images).square().sum((1, 2, 3)).mean())
    (slope,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(slope, (8 * weight * images.square()).mean(0))


@pytest.mark.parametrize("architecture", ["sagan", "fagan-pure"])
def test_penalties_enter_the_step_through_attention(architecture):
    """R1 and R2 are added to the loss with their factors; chunked attention has a second slope."""
    settings = {"architecture": architecture, "alpha_init": 0.4, "loss": "relativistic-pairing"}
    real, losses, slopes = torch.randn(4, 3, 32, 32), {}, {}
    for r1, r2 in ((0, 0), (2, 0), (0, 2), (4, 0)):
        state = train.start(config("none", r1=r1, r2=r2, **settings), CPU)
        losses[r1, r2] = train.d_step(state, real)[0]
        slopes[r1, r2] = next(state.discriminator.parameters()).grad
    added = losses[2, 0] - losses[0, 0]
    assert added > 0 and losses[0, 2] > losses[0, 0]
    torch.testing.assert_close(losses[4, 0] - losses[0, 0], 2 * added, rtol=1e-3, atol=1e-6)
    assert not slopes[2, 0].allclose(slopes[0, 0]) and not slopes[0, 2].allclose(slopes[0, 0])


# A whole run


def test_a_run_with_classes_resumes_and_records_each_class(tmp_path, monkeypatch):
    run = config(steps=4)
    whole = train.train(run, tmp_path / "whole", say=lambda _: None)
    assert whole["status"] == "done"
    step_once = train.loop.step_once

    def until_three(state, batches):
        if state.step == 3:
            raise KeyboardInterrupt
        step_once(state, batches)

    with monkeypatch.context() as patch:
        patch.setattr(train.loop, "step_once", until_three)
        with pytest.raises(KeyboardInterrupt):
            train.train(run, tmp_path / "cut", say=lambda _: None)
    train.train(run, tmp_path / "cut", say=lambda _: None)
    for name in ("history.csv", "classes.csv", "generator.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    sheet = np.asarray(Image.open(tmp_path / "whole" / "classes.png"))
    assert sheet.shape == (256, 256, 3)
    rows = (tmp_path / "whole" / "classes.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["class_name", "headband", "beanie", "cap"]
    weights = tmp_path / "whole" / "generator.safetensors"
    assert train.drawn(run, weights, 3, class_=1).shape == (3, 3, 32, 32)
    with pytest.raises(UserError, match="has no class 3"):
        train.drawn(run, weights, 3, class_=3)


def test_classes_are_told_apart_by_their_features():
    """Two classes whose features differ: each recognised, and mixed up where labels are swapped."""
    torch.manual_seed(0)
    labels = torch.arange(200) % 2
    features = torch.randn(200, 320) + labels[:, None] * 2
    ref = evaluate.Reference(
        features, "x", "test", "", 32, 200, "lite0", 64, "", classes=("a", "b"), labels=labels
    )
    ours, known = torch.randn(60, 320) + (torch.arange(60) % 2)[:, None] * 2, torch.arange(60) % 2
    few = replace(ref, features=features[:3], labels=labels[:3])
    assert all(np.isnan(row["recognised"]) for row in evaluate.by_class(ours, known, few))
    rows = evaluate.by_class(ours, known, ref)
    assert [row["recognised"] for row in rows] == [1, 1]
    assert [row["recognised_real"] for row in rows] == [1, 1]
    swapped = evaluate.by_class(ours, 1 - known, ref)
    assert [row["recognised"] for row in swapped] == [0, 0]
    assert all(a["fd_lite0"] < b["fd_lite0"] for a, b in zip(rows, swapped, strict=True))
    assert rows[0]["n_fake"] == 30 and rows[0]["n_real"] == 100
