"""The scores beside the distances: closed forms, reference implementations, real photographs."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from fagan.data import ImageSet
from fagan.evaluate import (
    Extractor,
    NotFinite,
    Statistics,
    coherence,
    extrapolated_frechet,
    fit_inverse_size,
    frechet_distance,
    full_report,
    inception_score,
    kernel_distance,
    lite0,
    manifold_scores,
    memorisation,
    nearest_neighbours,
    neighbours,
    per_class_frechet,
    reference,
    sample_size,
    score,
    statistics,
)
from fagan.faces import render


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, dim: int = 8, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(n, dim, generator=generator(seed), dtype=torch.float64) * scale


# ---------------------------------------------------------------- precision, recall, ...


@pytest.mark.parametrize("k", [1, 5])
def test_manifold_scores_equal_prdc_and_torch_fidelity(k, monkeypatch):
    monkeypatch.setattr(neighbours, "_PAIRS", 90 * 17)  # pieces of 17 and fewer rows
    prdc, fidelity = pytest.importorskip("prdc"), pytest.importorskip("torch_fidelity.metric_prc")
    real, fake = normal(150), normal(90, seed=1, scale=1.2) + 0.4
    ours = manifold_scores(real, fake, k)
    assert ours == pytest.approx(prdc.compute_prdc(real.numpy(), fake.numpy(), k), abs=1e-12)
    theirs = fidelity.prc_features_to_metric(fake, real, prc_neighborhood=k, verbose=False)
    assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-6)  # theirs is float32
    assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-6)
    assert len({0.0, 1.0, *ours.values()}) == 6  # four values that say something


def test_manifold_scores_of_points_on_a_line():
    # balls of k = 1: real 0, 1, 3, 10 reach 1, 1, 2, 7; fake 0.5, 4, 12 reach 3.5, 3.5, 8
    real = torch.tensor([[0.0], [1], [3], [10]])
    fake = torch.tensor([[0.5], [4], [12]])
    assert manifold_scores(real, fake, 1) == pytest.approx(
        {
            "precision": 1.0,  # 0.5 by 0 and 1; 4 by 3 and 10; 12 by 10
            "recall": 1.0,  # 0, 1 and 3 by 0.5; 10 by 12
            "density": (2 + 2 + 1) / 3,
            "coverage": 1.0,
        }
    )
    assert manifold_scores(real, fake[1:] + 20, 1) == dict.fromkeys(
        ("precision", "recall", "density", "coverage"), 0.0
    )


def test_manifold_scores_of_equal_sets_are_1():
    # every ball is filled to its rim by a tie: rounding must not decide them
    x = normal(120, 30)
    for k in (1, 4):
        scores = manifold_scores(x, x.flip(0), k)
        assert scores == pytest.approx(dict.fromkeys(scores, 1.0), abs=1e-12)


def test_density_and_coverage_have_their_expectations():
    # Naeem et al.: for one continuous distribution, whatever it is, E density = 1 and
    # E coverage = 1 - (N-1)...(N-k) / ((N+M-1)...(N+M-k))
    n, m, k = 40, 60, 3
    pairs = [(normal(n, 3, 2 * s).exp(), normal(m, 3, 2 * s + 1).exp()) for s in range(150)]
    scores = [manifold_scores(*pair, k) for pair in pairs]
    expected = 1 - math.prod((n - i) / (n + m - i) for i in range(1, k + 1))
    for name, value in (("density", 1.0), ("coverage", expected)):
        found = np.array([s[name] for s in scores])
        assert abs(found.mean() - value) < 3 * found.std() / math.sqrt(150), name
        assert found.std() / math.sqrt(150) < 0.02  # the test can tell


def test_manifold_scores_tell_fidelity_from_diversity():
    real, fresh = normal(300, 4), normal(300, 4, seed=1)
    blurred = manifold_scores(real, fresh * 2, 5)  # diverse, and often off the data
    narrow = manifold_scores(real, fresh * 0.3, 5)  # typical, and of little diversity
    assert narrow["precision"] > blurred["precision"] + 0.3
    assert blurred["recall"] > narrow["recall"] + 0.3
    assert narrow["density"] > 1 > blurred["density"]
    # ten images over and over: their balls are empty and cover nothing
    collapsed = manifold_scores(real, real[:10].repeat(30, 1), 5)
    assert collapsed["precision"] == 1 and collapsed["recall"] == 0
    assert collapsed["coverage"] < 0.4


def test_manifold_scores_depend_on_no_order_piece_thread_or_scale(monkeypatch):
    real, fake = normal(200, 40), normal(150, 40, seed=1)
    expected = manifold_scores(real, fake)
    shuffled = real[torch.randperm(200, generator=generator())], fake.flip(0)
    assert manifold_scores(*shuffled) == pytest.approx(expected, abs=1e-12)
    assert manifold_scores(real * 7 + 1e7, fake * 7 + 1e7) == pytest.approx(expected, abs=1e-12)
    with monkeypatch.context() as patch:
        patch.setattr(neighbours, "_PAIRS", 1)
        assert manifold_scores(real, fake) == pytest.approx(expected, abs=1e-12)
    assert manifold_scores(real.float(), fake.float()) == pytest.approx(expected, abs=1e-12)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert manifold_scores(real, fake) == pytest.approx(expected, abs=1e-12)
    finally:
        torch.set_num_threads(threads)


def test_manifold_scores_refuse_what_they_cannot_score():
    x = normal(6)
    with pytest.raises(ValueError, match="k=6 neighbours"):
        manifold_scores(x, normal(9), 6)
    with pytest.raises(ValueError, match="k=0"):
        manifold_scores(x, x, 0)
    with pytest.raises(ValueError, match="same extractor"):
        manifold_scores(x, normal(6, 3), 1)
    x[2, 1] = float("nan")
    with pytest.raises(NotFinite, match="1 of 6"):
        manifold_scores(normal(6), x, 1)


# ---------------------------------------------------------------- inception score


def test_inception_score_of_closed_forms():
    sure = 50 * torch.eye(8).repeat(5, 1)
    assert inception_score(sure, splits=1)[0] == pytest.approx(8, rel=1e-9)
    same = torch.randn(8, generator=generator()).expand(40, 8)
    assert inception_score(same, splits=4) == pytest.approx((1, 0), abs=1e-12)
    # one class three times as often as the other: exp of the entropy of (3/4, 1/4)
    uneven = 50 * torch.eye(2)[[0, 0, 0, 1]].repeat(10, 1)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert inception_score(uneven, splits=1)[0] == pytest.approx(math.exp(entropy), rel=1e-9)


def test_inception_score_is_the_information_between_image_and_class():
    logits = normal(90, 12, scale=2)

    def entropy(p):
        return -(p * p.log()).sum(-1)

    p = logits.softmax(1)
    expected = (entropy(p.mean(0)) - entropy(p).mean()).exp()
    assert inception_score(logits, splits=1)[0] == pytest.approx(float(expected), rel=1e-9)
    assert inception_score(p.log(), splits=1)[0] == pytest.approx(float(expected), rel=1e-9)
    assert inception_score(logits + 5, splits=1)[0] == pytest.approx(float(expected), rel=1e-9)
    # the parts are of the seed's shuffle, and the deviation is theirs
    order = np.random.RandomState(7).permutation(90)
    parts = [inception_score(logits[order[i : i + 30]], splits=1)[0] for i in (0, 30, 60)]
    found = inception_score(logits, splits=3, seed=7)
    assert found == pytest.approx((np.mean(parts), np.std(parts)), rel=1e-9)


def test_inception_score_refuses_what_it_cannot_score():
    with pytest.raises(ValueError, match="11 splits"):
        inception_score(normal(10), splits=11)
    with pytest.raises(NotFinite):
        inception_score(normal(10).log(), splits=1)


# ---------------------------------------------------------------- numbers of images


def test_the_fit_is_exact_on_a_line_in_1_over_n():
    sizes = [400, 100, 1000, 130]
    found = fit_inverse_size(sizes, [2.5 + 300 / n for n in sizes])
    assert (found.value, found.slope) == pytest.approx((2.5, 300), rel=1e-12)
    assert found.standard_error == pytest.approx(0, abs=1e-9)
    assert found.points == tuple((n, 2.5 + 300 / n) for n in sorted(sizes))


def test_the_fit_and_its_error_are_those_of_least_squares():
    sizes = np.array([50, 80, 100, 200, 500])
    distances = 3 + 40 / sizes + np.array([0.01, -0.02, 0.015, 0.0, -0.01])
    design = np.stack([np.ones(5), 1 / sizes], 1)
    coefficients, residual, *_ = np.linalg.lstsq(design, distances, rcond=None)
    error = math.sqrt(residual[0] / 3 * np.linalg.inv(design.T @ design)[0, 0])
    found = fit_inverse_size(sizes.tolist(), distances.tolist())
    assert (found.value, found.slope) == pytest.approx(tuple(coefficients), rel=1e-9)
    assert found.standard_error == pytest.approx(error, rel=1e-9)
    with pytest.raises(ValueError, match="three different sizes"):
        fit_inverse_size([10, 20, 20], [1.0, 2.0, 2.0])


def test_extrapolation_is_nearer_to_the_truth_than_the_distance_at_n():
    dim, n = 12, 600
    scales = torch.linspace(0.5, 2, dim, dtype=torch.float64)
    real = Statistics(torch.zeros(dim, dtype=torch.float64), torch.diag(scales**2), n)
    truth = dim * 0.1**2 + float((0.2 * scales).square().sum())
    raw, limit = [], []
    for seed in range(20):
        fake = normal(n, dim, seed) * scales * 1.2 + 0.1
        raw.append(frechet_distance(statistics(fake), real))
        found = extrapolated_frechet(fake, real, generator=generator(seed))
        limit.append(found.value)
        assert found.slope > 0 and len(found.points) == 15
        assert found.points[-1] == pytest.approx((n, raw[-1]), rel=1e-9)
    bias_raw, bias_limit = np.mean(raw) - truth, np.mean(limit) - truth
    assert bias_raw > 3 * np.std(raw) / math.sqrt(20)  # there is a bias to remove
    assert abs(bias_limit) < 0.35 * bias_raw
    error = {"raw": np.abs(np.array(raw) - truth), "limit": np.abs(np.array(limit) - truth)}
    assert error["limit"].mean() < error["raw"].mean()


def test_extrapolation_takes_the_sizes_it_is_given():
    fake, real = normal(300), statistics(normal(300, seed=1))
    found = extrapolated_frechet(fake, real, [50, 300, 100], generator=generator())
    assert [n for n, _ in found.points] == [50, 100, 300]
    again = extrapolated_frechet(fake, real, [50, 300, 100], generator=generator())
    other = extrapolated_frechet(fake, real, [50, 300, 100], generator=generator(1))
    assert found == again != other
    # a data set sorted by class is not cut from its start
    in_order = frechet_distance(statistics(fake[:50]), real)
    assert found.points[0][1] != pytest.approx(in_order, rel=1e-6)
    with pytest.raises(ValueError, match=r"\[301\] are not in 2..300"):
        extrapolated_frechet(fake, real, [50, 100, 301], generator=generator())
    assert sample_size.first_size(10_000, 320) == 1000
    assert sample_size.first_size(5_000, 320) == 960
    assert sample_size.first_size(10_000, 2048) == 5000


# ---------------------------------------------------------------- classes


def test_each_class_has_its_own_distance():
    real, labels = normal(90), torch.arange(90) % 3
    fake = real + labels[:, None] * 0.5  # class c is shifted by c / 2 in each of 8 features
    order = torch.randperm(90, generator=generator())
    rows = per_class_frechet(fake[order], labels[order], real, labels)
    assert [(r["label"], r["n_fake"], r["n_real"]) for r in rows] == [(c, 30, 30) for c in range(3)]
    assert [r["fd"] for r in rows] == pytest.approx([0, 8 * 0.25, 8 * 1.0], abs=1e-9)


def test_a_class_without_images_is_missing_and_not_0():
    fake, real = normal(6), normal(7, seed=1)
    ours = torch.tensor([0, 0, 0, 1, 4, 4])
    theirs = torch.tensor([0, 0, 0, 1, 1, 1, 3])
    rows = {row["label"]: row for row in per_class_frechet(fake, ours, real, theirs)}
    counts = {label: (row["n_fake"], row["n_real"]) for label, row in rows.items()}
    assert counts == {0: (3, 3), 1: (1, 3), 3: (0, 1), 4: (2, 0)}
    assert rows[0]["fd"] > 0
    assert all(math.isnan(rows[label]["fd"]) for label in (1, 3, 4))
    with pytest.raises(ValueError, match="labels"):
        per_class_frechet(fake, ours[:5], real, theirs)


# ---------------------------------------------------------------- memorisation


def test_nearest_neighbours_equal_all_pairs(monkeypatch):
    monkeypatch.setattr(neighbours, "_PAIRS", 80 * 7)
    fake, train = normal(50), normal(80, seed=1)
    pairs = (fake[:, None] - train).norm(dim=2)  # (50, 80)
    expected = pairs.sort(dim=1)
    for k in (1, 3, 80):
        indices, distances = nearest_neighbours(fake, train, k)
        torch.testing.assert_close(distances, expected.values[:, :k], rtol=1e-12, atol=0)
        assert torch.equal(indices, expected.indices[:, :k])
    with pytest.raises(ValueError, match="k=81"):
        nearest_neighbours(fake, train, 81)


def test_a_copy_is_found_at_distance_0_far_from_the_origin():
    train = normal(300, 50) + 1e3
    places = torch.tensor([7, 250, 7])
    indices, distances = nearest_neighbours(train[places].float(), train.float())
    assert torch.equal(indices[:, 0], places) and distances.max() == 0


def test_memorisation_is_a_share_of_pairs():
    fake, train, held_out = normal(40, 3), normal(60, 3, seed=1), normal(50, 3, seed=2)
    fake[:5] = held_out[:5]  # ties
    ours = [min(float((x - t).norm()) for t in train) for x in fake]
    theirs = [min(float((x - t).norm()) for t in train) for x in held_out]
    pairs = [1.0 if a < b else 0.5 if a == b else 0.0 for a in ours for b in theirs]
    found = memorisation(fake, train, held_out)
    assert found["memorisation"] == pytest.approx(np.mean(pairs), rel=1e-9)
    u = sum(pairs)
    z = (u - 40 * 50 / 2) / math.sqrt(40 * 50 * 91 / 12)
    assert found["memorisation_z"] == pytest.approx(z, rel=1e-9)
    near = np.quantile(theirs, 0.01)
    assert found["near_copies"] == np.mean(np.array(ours) < near)


def test_memorisation_is_neutral_for_fresh_images_and_1_for_copies():
    z, near = [], []
    for seed in range(30):
        sets = [normal(n, 6, 3 * seed + i) for i, n in enumerate((250, 400, 300))]
        fresh = memorisation(*sets)
        assert fresh["memorisation"] == pytest.approx(0.5, abs=0.1)
        z.append(fresh["memorisation_z"])
        near.append(fresh["near_copies"])
    assert abs(np.mean(z)) < 3 / math.sqrt(30)
    assert 0.6 < np.std(z) < 1.6  # a z: the standard error it is given in is right
    assert np.mean(near) < 0.03
    fresh, train, held_out = (normal(n, 6, i) for i, n in enumerate((250, 400, 300)))
    copies = train[:250] + 1e-3 * fresh
    found = memorisation(copies, train, held_out)
    assert found["memorisation"] > 0.999 and found["near_copies"] == 1
    assert found["memorisation_z"] > 15
    # the more copies the more
    shares = [
        memorisation(torch.cat([copies[:n], fresh[n:]]), train, held_out)["memorisation"]
        for n in (0, 60, 120, 250)
    ]
    assert shares == sorted(set(shares))
    # a fifth of copies among poor images: the mean rank misses them, the near copies do not
    poor = torch.cat([copies[:50], fresh[50:] * 5])
    found = memorisation(poor, train, held_out)
    assert found["memorisation"] < 0.4 and found["near_copies"] == pytest.approx(0.2, abs=0.02)


# ---------------------------------------------------------------- the distances' invariances


def test_distances_depend_on_no_order_and_no_thread():
    x, y = normal(300, 20), normal(200, 20, seed=1, scale=1.1)
    g = torch.randperm(300, generator=generator())

    def both(a, b):
        fd = frechet_distance(statistics(a), statistics(b))
        return fd, kernel_distance(a, b[:200], 1, 1000, generator=generator())[0]

    expected = both(x, y)
    # the kernel distance of all 200 + 200 images; a true subset is the generator's choice
    assert both(x[g], y.flip(0))[0] == pytest.approx(expected[0], rel=1e-9)
    x = x[:200]
    expected = both(x, y)
    assert both(x[torch.randperm(200)], y.flip(0)) == pytest.approx(expected, rel=1e-9)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert both(x, y) == pytest.approx(expected, rel=1e-9)
    finally:
        torch.set_num_threads(threads)


def test_frechet_of_diagonal_gaussians_from_their_samples():
    # samples with exactly these means and covariances: whitened, then scaled
    def exact(n, scales, mean, seed):
        x = normal(n, len(scales), seed)
        x = x - x.mean(0)
        whitener = torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1)))
        return x @ whitener.T * scales + mean

    a, b = torch.tensor([[0.5, 1, 2, 0.1], [1.5, 1, 0.2, 3]], dtype=torch.float64)
    shift = torch.tensor([0.0, 2, -1, 0.5], dtype=torch.float64)
    x, y = exact(60, a, 0, 0), exact(90, b, shift, 1)
    expected = float(shift.square().sum() + (a - b).square().sum())
    assert frechet_distance(statistics(x), statistics(y)) == pytest.approx(expected, rel=1e-9)
    # and under a rotation of both, and of c times the features: c squared
    turn = torch.linalg.qr(normal(4, 4, 2)).Q
    turned = [statistics(3 * z @ turn) for z in (x, y)]
    assert frechet_distance(*turned) == pytest.approx(9 * expected, rel=1e-9)


# ---------------------------------------------------------------- real photographs


def noisy(images: torch.Tensor, std: float) -> torch.Tensor:
    """uint8 images with Gaussian noise of that many grey levels; the same draw at every level."""
    noise = torch.randn(images.shape, generator=generator()) * std
    return (images + noise).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def photographs():
    """Two photographs that scikit-learn's package holds, 427 x 640: uint8 (3, H, W) each."""
    datasets = pytest.importorskip("sklearn.datasets")
    return [torch.tensor(image).permute(2, 0, 1) for image in datasets.load_sample_images().images]


def crops(photographs, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n random 64-pixel crops, and labels 0..3: the left and the right half of each photograph."""
    g = generator(seed)
    images, labels = [], []
    for label in torch.randint(4, (n,), generator=g).tolist():
        photograph, half = photographs[label // 2], label % 2
        top = int(torch.randint(427 - 64, (), generator=g))
        left = int(torch.randint(320 - 64, (), generator=g)) + half * 320
        images.append(photograph[:, top : top + 64, left : left + 64])
        labels.append(label)
    return torch.stack(images), torch.tensor(labels)


@pytest.fixture(scope="module")
def extractor():
    return lite0()


@pytest.fixture(scope="module")
def real(photographs, extractor):
    images, labels = crops(photographs, 360, seed=0)
    return images, labels, extractor(images)


def fd_of(extractor, images, features) -> float:
    return frechet_distance(statistics(extractor(images)), statistics(features))


@pytest.mark.parametrize("how", ["blur", "noise", "collapse"])
def test_fd_lite0_of_photographs_grows_with_every_damage(how, extractor, real, photographs):
    images, _ = crops(photographs, 360, seed=1)
    damaged = {
        "blur": lambda level: gaussian_blur(images, 7, level * 0.8) if level else images,
        "noise": lambda level: noisy(images, level * 12),
        "collapse": lambda level: images[torch.arange(360) % (360, 60, 15, 4)[level]],
    }[how]
    distances = [fd_of(extractor, damaged(level), real[2]) for level in range(4)]
    assert all(low < high for low, high in pairwise(distances)), distances
    assert distances[3] > 2 * distances[0]


def test_lite0_features_of_photographs_score_as_torch_fidelity_says(extractor, real, photographs):
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    images, labels = real[:2]
    x, y = real[2], extractor(noisy(images, 10))
    # 360 images of 320 features, 100: the covariance is singular
    for n in (360, 100):
        theirs = [fid.fid_features_to_statistics(z[:n].double()) for z in (x, y)]
        expected = fid.fid_statistics_to_metric(*theirs, verbose=False)[fid.KEY_METRIC_FID]
        ours = frechet_distance(statistics(x[:n]), statistics(y[:n]))
        assert ours == pytest.approx(expected, rel=1e-6), n
    arrays = [z.double().numpy() for z in (x, y)]
    expected = kid.kernel_mmd(*arrays, kid_kernel="poly", kid_kernel_poly_degree=3)
    found, _ = kernel_distance(x, y, 1, 360, generator=generator())
    assert found == pytest.approx(float(expected), rel=1e-6)
    # classes that a network has never seen as classes are apart in its features
    rows = per_class_frechet(y, labels, x, (labels + 1) % 4)
    same = per_class_frechet(y, labels, x, labels)
    assert all(a["fd"] > b["fd"] for a, b in zip(rows, same, strict=True))


def test_scores_of_photographs_depend_on_no_batch_and_no_order(extractor, real, photographs):
    images = crops(photographs, 150, seed=1)[0]

    def both(made, batch_size):
        x, y = replace(extractor, batch_size=batch_size)(made), real[2]
        kid, _ = kernel_distance(x, y[:150], 1, 150, generator=generator())
        return frechet_distance(statistics(x), statistics(y)), kid

    expected = both(images, 32)
    assert both(images, 7) == pytest.approx(expected, rel=1e-4)
    assert both(images.flip(0), 150) == pytest.approx(expected, rel=1e-4)


def test_copies_of_training_photographs_are_seen(extractor, photographs, real):
    held_out = crops(photographs, 200, seed=2)[0]
    train = real[2]
    fresh = crops(photographs, 200, seed=3)[0]
    found = memorisation(extractor(fresh), train, extractor(held_out))
    assert found["memorisation"] == pytest.approx(0.5, abs=0.1)
    unseen = extractor(held_out)
    found = memorisation(train[:200], train, unseen)
    assert found["memorisation"] > 0.99 and found["near_copies"] > 0.99
    # a grey level of noise is seen through, in part; the pixels see through it whole
    copies = noisy(real[0][:200], 1)
    assert memorisation(extractor(copies), train, unseen)["memorisation"] > 0.75
    pixels = [images.flatten(1).float() for images in (copies, real[0], held_out)]
    assert memorisation(*pixels)["memorisation"] > 0.99


# ---------------------------------------------------------------- degradations


@pytest.fixture(scope="module")
def pictures():
    return torch.randint(0, 256, (1100, 3, 12, 10), generator=generator(), dtype=torch.uint8)


# ---------------------------------------------------------------- one row


class Pooled:
    """A stand-in network: 8 x 8 pooled colours; counts the images that it saw."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return F.adaptive_avg_pool2d(images.float(), 2).flatten(1)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    monkeypatch.setenv("FAGAN_CACHE", str(tmp_path))
    return Extractor("lite0", 32, 12, "none", "ab" * 32, Pooled())


def face_set(start, n, split, checksum, name="faces") -> ImageSet:
    return ImageSet(render(range(start, start + n), 32, seed=1), name, split, checksum)


def test_one_row_holds_every_score_that_applies(stand_in):
    real = face_set(0, 300, "held-out", "c0ffee")
    train = face_set(1000, 250, "train", "facade")
    fakes = noisy(face_set(2000, 200, "", "").images, 5)
    logits = normal(200, 10)
    ref = reference(real, 280, stand_in)
    stand_in.network.seen = 0
    row = full_report(fakes, ref, stand_in, train, real, logits, k=3, points=6, seed=4)
    assert stand_in.network.seen == 200 + 250  # each image once

    features = stand_in(fakes)
    stand_in.network.seen = 0
    given = full_report(
        fakes, ref, stand_in, train, real, logits, features=features, k=3, points=6, seed=4
    )
    assert given == row and stand_in.network.seen == 0  # the training images' are on disk
    expected = score(fakes, ref, stand_in, seed=4) | coherence(fakes, real.images)
    manifold = manifold_scores(ref.features, features, 3)
    expected |= {f"{name}_lite0": value for name, value in manifold.items()} | {"neighbours": 3}
    found = extrapolated_frechet(features, ref.statistics, 6, generator=generator(4))
    expected["fd_lite0_extrapolated"] = found.value
    expected["fd_lite0_extrapolated_error"] = found.standard_error
    copied = memorisation(features, stand_in(train.images), ref.features)
    expected |= {f"{name}_lite0": value for name, value in copied.items()} | {"n_train": 250}
    mean, deviation = inception_score(logits)
    expected |= {"inception_score": mean, "inception_score_std": deviation}
    assert row.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, float):
            assert row[name] == pytest.approx(value, rel=1e-9), name
        else:
            assert row[name] == value, name


def test_a_row_of_mixed_up_sets_is_refused(stand_in):
    real = face_set(0, 60, "held-out", "c0ffee")
    ref, fakes = reference(real, 60, stand_in), real.images[:30]
    with pytest.raises(ValueError, match="give its images as real="):
        full_report(fakes, ref, stand_in)
    with pytest.raises(ValueError, match="facade"):
        full_report(fakes, ref, stand_in, real=replace(real, checksum="facade"))
    with pytest.raises(ValueError, match="logits of 29"):
        full_report(fakes, ref, stand_in, real=real, logits=normal(29))
    with pytest.raises(ValueError, match="made with name"):
        full_report(fakes, ref, replace(stand_in, name="inception"), real=real)
