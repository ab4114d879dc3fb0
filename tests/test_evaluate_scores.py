"""The scores beside the distances: closed forms, reference implementations, real photographs."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from fagan.evaluate import (
    NotFinite,
    Statistics,
    extrapolated_frechet,
    frechet_distance,
    kernel_distance,
    lite0,
    manifold_scores,
    manifolds,
    memorisation,
    statistics,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, dim: int = 8, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(n, dim, generator=generator(seed), dtype=torch.float64) * scale


# ---------------------------------------------------------------- precision, recall, ...


def test_manifold_scores_equal_prdc_and_torch_fidelity(monkeypatch):
    monkeypatch.setattr(manifolds, "_PAIRS", 90 * 17)  # pieces of 17 and fewer rows
    prdc, fidelity = pytest.importorskip("prdc"), pytest.importorskip("torch_fidelity.metric_prc")
    real, fake = normal(150), normal(90, seed=1, scale=1.2) + 0.4
    k, ours = 5, manifold_scores(real, fake, 5)
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
    assert set(manifold_scores(real, fake[1:] + 20, 1).values()) == {0.0}


def test_manifold_scores_of_equal_sets_are_1():
    # every ball is filled to its rim by a tie: rounding must not decide them
    x = normal(120, 30)
    for k in (1, 4):
        scores = manifold_scores(x, x.flip(0), k)
        assert scores == pytest.approx(dict.fromkeys(scores, 1.0), abs=1e-12)


def test_scores_depend_on_no_order_piece_or_scale(monkeypatch):
    real, fake, train = normal(200, 40), normal(150, 40, seed=1), normal(90, 40, seed=2)

    def both(change):
        a, b, c = change(real), change(fake), change(train)
        return manifold_scores(a, b) | memorisation(b, c, a)

    expected = both(lambda x: x)
    same = {"abs": 1e-12}
    assert both(lambda x: x.flip(0)) == pytest.approx(expected, **same)
    assert both(lambda x: x * 7 + 1e7) == pytest.approx(expected, **same)
    assert both(lambda x: x.float()) == pytest.approx(expected, **same)
    monkeypatch.setattr(manifolds, "_PAIRS", 1)
    assert both(lambda x: x) == pytest.approx(expected, **same)


def test_manifold_scores_refuse_what_they_cannot_score():
    x = normal(6)
    for k in (0, 6):
        with pytest.raises(ValueError, match=f"k={k} neighbours"):
            manifold_scores(x, normal(9), k)
    x[2, 1] = float("nan")
    with pytest.raises(NotFinite, match="1 of 6"):
        manifold_scores(normal(6), x, 1)


# ---------------------------------------------------------------- memorisation


def test_memorisation_is_a_share_of_pairs():
    fake, train, held_out = normal(40, 3), normal(60, 3, seed=1), normal(50, 3, seed=2)
    fake[:5] = held_out[:5]  # ties
    ours = [min(float((x - t).norm()) for t in train) for x in fake]
    theirs = [min(float((x - t).norm()) for t in train) for x in held_out]
    pairs = [1.0 if a < b else 0.5 if a == b else 0.0 for a in ours for b in theirs]
    found = memorisation(fake, train, held_out)
    assert found["memorisation"] == pytest.approx(np.mean(pairs), rel=1e-9)
    z = (sum(pairs) - 40 * 50 / 2) / math.sqrt(40 * 50 * 91 / 12)
    assert found["memorisation_z"] == pytest.approx(z, rel=1e-9)
    assert found["near_copies"] == np.mean(np.array(ours) < np.quantile(theirs, 0.01))


def test_memorisation_is_1_for_copies_and_few_among_poor_images_are_near_ones():
    fresh, train, held_out = (normal(n, 6, i) for i, n in enumerate((250, 400, 300)))
    assert memorisation(fresh, train, held_out)["memorisation"] == pytest.approx(0.5, abs=0.1)
    found = memorisation(train[:250].float() + 1e3, train.float() + 1e3, held_out + 1e3)
    assert found["memorisation"] == found["near_copies"] == 1 and found["memorisation_z"] > 15
    # a fifth of copies among poor images: the mean rank misses them, the near copies do not
    found = memorisation(torch.cat([train[:50], fresh[50:] * 5]), train, held_out)
    assert found["memorisation"] < 0.4 and found["near_copies"] == pytest.approx(0.2, abs=0.02)


# ---------------------------------------------------------------- numbers of images


def test_extrapolation_is_nearer_to_the_truth_than_the_distance_at_n():
    dim, n = 12, 600
    scales = torch.linspace(0.5, 2, dim, dtype=torch.float64)
    real = Statistics(torch.zeros(dim, dtype=torch.float64), torch.diag(scales**2), n)
    truth = dim * 0.1**2 + float((0.2 * scales).square().sum())
    raw, limit = [], []
    for seed in range(20):
        fake = normal(n, dim, seed) * scales * 1.2 + 0.1
        raw.append(frechet_distance(statistics(fake), real))
        limit.append(extrapolated_frechet(fake, real, generator=generator(seed))[0])
    bias_raw, bias_limit = np.mean(raw) - truth, np.mean(limit) - truth
    assert bias_raw > 3 * np.std(raw) / math.sqrt(20)  # there is a bias to remove
    assert abs(bias_limit) < 0.35 * bias_raw
    assert np.abs(np.array(limit) - truth).mean() < np.abs(np.array(raw) - truth).mean()


def test_extrapolation_is_the_least_squares_line_in_1_over_n():
    fake, real = normal(300), statistics(normal(300, seed=1))
    found = extrapolated_frechet(fake, real, 4, generator=generator())
    g = generator()
    sizes = [30, 120, 210, 300]  # from n / 10, which is more than 3 D, in even steps
    chosen = [torch.randperm(300, generator=g)[:n] for n in sizes]
    distances = np.array([frechet_distance(statistics(fake[i]), real) for i in chosen])
    design = np.stack([np.ones(4), 1 / np.array(sizes)], 1)
    coefficients, residual, *_ = np.linalg.lstsq(design, distances, rcond=None)
    error = math.sqrt(residual[0] / 2 * np.linalg.inv(design.T @ design)[0, 0])
    assert found == pytest.approx((coefficients[0], error), rel=1e-9)
    assert found != extrapolated_frechet(fake, real, 4, generator=generator(1))


# ---------------------------------------------------------------- the distances' invariances


def test_distances_depend_on_no_order_and_no_thread():
    x, y = normal(200, 20), normal(200, 20, seed=1, scale=1.1)

    def both(a, b):
        fd = frechet_distance(statistics(a), statistics(b))
        return fd, kernel_distance(a, b, 1, 1000, generator=generator())[0]

    expected = both(x, y)
    assert both(x[torch.randperm(200)], y.flip(0)) == pytest.approx(expected, rel=1e-9)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert both(x, y) == pytest.approx(expected, rel=1e-9)
    finally:
        torch.set_num_threads(threads)


# ---------------------------------------------------------------- real photographs


@pytest.fixture(scope="module")
def photographs():
    """Two photographs that scikit-learn's package holds, 427 x 640: uint8 (3, H, W) each."""
    datasets = pytest.importorskip("sklearn.datasets")
    return [torch.tensor(image).permute(2, 0, 1) for image in datasets.load_sample_images().images]


@pytest.fixture(scope="module")
def extractor():
    return lite0()


def crops(photographs, n: int, seed: int) -> torch.Tensor:
    """n random 64-pixel crops: uint8 (n, 3, 64, 64)."""
    g, found = generator(seed), []
    for i in torch.randint(2, (n,), generator=g).tolist():
        top, left = (int(torch.randint(size - 64, (), generator=g)) for size in (427, 640))
        found.append(photographs[i][:, top : top + 64, left : left + 64])
    return torch.stack(found)


def noisy(images: torch.Tensor, std: float) -> torch.Tensor:
    """uint8 images with Gaussian noise of that many grey levels; the same draw at every level."""
    noise = torch.randn(images.shape, generator=generator()) * std
    return (images + noise).round().clamp(0, 255).to(torch.uint8)


def test_fd_lite0_of_photographs_grows_with_every_damage(extractor, photographs):
    real, images = (crops(photographs, 240, seed) for seed in (0, 1))
    real, undamaged = statistics(extractor(real)), extractor(images)
    damages = {
        "blur": lambda level: extractor(gaussian_blur(images, 7, level * 0.8)),
        "noise": lambda level: extractor(noisy(images, level * 12)),
        "collapse": lambda level: undamaged[torch.arange(240) % (240, 60, 15, 4)[level]],
    }
    for how, damaged in damages.items():
        every = [undamaged, *(damaged(level) for level in (1, 2, 3))]
        distances = [frechet_distance(statistics(one), real) for one in every]
        assert all(low < high for low, high in pairwise(distances)), (how, distances)
        assert distances[3] > 2 * distances[0], (how, distances)


def test_copies_of_training_photographs_are_seen(extractor, photographs):
    images, unseen = crops(photographs, 360, seed=0), crops(photographs, 200, seed=2)
    train, held_out = extractor(images), extractor(unseen)
    fresh = memorisation(extractor(crops(photographs, 200, seed=3)), train, held_out)
    assert fresh["memorisation"] == pytest.approx(0.5, abs=0.1)
    copied = memorisation(train[:200], train, held_out)
    assert copied["memorisation"] > 0.99 and copied["near_copies"] > 0.99
    # a grey level of noise is seen through, in part; the pixels see through it whole
    copies = noisy(images[:200], 1)
    assert memorisation(extractor(copies), train, held_out)["memorisation"] > 0.75
    pixels = [found.flatten(1).float() for found in (copies, images, unseen)]
    assert memorisation(*pixels)["memorisation"] > 0.99
