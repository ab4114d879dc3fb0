"""The scores beside the distances: closed forms, reference implementations, real photographs."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from fagan.evaluate import (
    NotFinite,
    extrapolated_frechet,
    frechet_distance,
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


def test_manifold_scores_of_equal_sets_are_1():
    # every ball is filled to its rim by a tie: rounding must not decide them
    x = normal(120, 30)
    for k in (1, 4):
        scores = manifold_scores(x, x.flip(0), k)
        assert scores == pytest.approx(dict.fromkeys(scores, 1.0), abs=1e-12)


def test_scores_depend_on_no_piece_scale_or_origin(monkeypatch):
    real, fake, train = normal(200, 40), normal(150, 40, seed=1), normal(90, 40, seed=2)

    def both(change):
        a, b, c = change(real), change(fake), change(train)
        return manifold_scores(a, b) | memorisation(b, c, a)

    expected = pytest.approx(both(lambda x: x), abs=1e-12)
    assert both(lambda x: x.float()) == expected
    assert both(lambda x: x * 7 + 1e7) == expected
    monkeypatch.setattr(manifolds, "_PAIRS", 1)
    assert both(lambda x: x) == expected


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


# ---------------------------------------------------------------- numbers of images


# in even steps from n / 10 or, where that is more, from 3 D
@pytest.mark.parametrize(("dim", "sizes"), [(8, [30, 120, 210, 300]), (12, [36, 124, 212, 300])])
def test_extrapolation_is_the_least_squares_line_in_1_over_n(dim, sizes):
    fake, real = normal(300, dim), statistics(normal(300, dim, seed=1))
    found = extrapolated_frechet(fake, real, 4, generator=generator())
    g = generator()
    chosen = [torch.randperm(300, generator=g)[:n] for n in sizes]
    distances = np.array([frechet_distance(statistics(fake[i]), real) for i in chosen])
    design = np.stack([np.ones(4), 1 / np.array(sizes)], 1)
    coefficients, residual, *_ = np.linalg.lstsq(design, distances, rcond=None)
    error = math.sqrt(residual[0] / 2 * np.linalg.inv(design.T @ design)[0, 0])
    assert found == pytest.approx((coefficients[0], error), rel=1e-9)


# ---------------------------------------------------------------- real photographs


def crops(n: int, seed: int) -> torch.Tensor:
    """n random crops of scikit-learn's two photographs, 427 x 640: uint8 (n, 3, 64, 64)."""
    photographs = pytest.importorskip("sklearn.datasets").load_sample_images().images
    g, found = generator(seed), []
    for i in torch.randint(2, (n,), generator=g).tolist():
        top, left = (int(torch.randint(size - 64, (), generator=g)) for size in (427, 640))
        found.append(torch.tensor(photographs[i][top : top + 64, left : left + 64]))
    return torch.stack(found).permute(0, 3, 1, 2)


def noisy(images: torch.Tensor, std: float) -> torch.Tensor:
    """uint8 images with Gaussian noise of that many grey levels; the same draw at every level."""
    noise = torch.randn(images.shape, generator=generator()) * std
    return (images + noise).round().clamp(0, 255).to(torch.uint8)


def test_fd_lite0_of_photographs_grows_with_every_damage():
    extractor, images = lite0(), crops(160, seed=1)
    real, undamaged = statistics(extractor(crops(160, seed=0))), extractor(images)
    damages = {
        "blur": lambda level: extractor(gaussian_blur(images, 7, (0.8, 2.4)[level])),
        "noise": lambda level: extractor(noisy(images, (12, 36)[level])),
        "collapse": lambda level: undamaged[torch.arange(160) % (40, 4)[level]],
    }
    for how, damaged in damages.items():
        every = [undamaged, damaged(0), damaged(1)]
        none, some, much = (frechet_distance(statistics(one), real) for one in every)
        assert none < some < much and much > 2 * none, (how, none, some, much)
