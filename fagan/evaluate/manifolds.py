"""Precision, recall, density and coverage: fidelity and diversity apart, from features."""

import torch
from torch import Tensor

from fagan.evaluate.neighbours import checked, squared_distances

# Two distances that differ by less than this share are a tie, however the product rounded them.
_TIE = 1 - 1e-9


def manifold_scores(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """How far two sets of features cover each other, by balls around each image.

    real (N, D), fake (M, D). An image's ball reaches to its k-th nearest neighbour in its own set;
    what lies strictly within is inside. Returns
    - `precision`: the share of fakes inside any real image's ball; 0 to 1
    - `recall`: the share of real images inside any fake's ball; 0 to 1
    - `density`: the mean number of real balls that a fake is inside, over k; 0 upward, 1 in
      expectation for equal distributions
    - `coverage`: the share of real balls with a fake inside; 0 to 1, and for equal distributions
      and N = M about 1 - 2^-k

    All four depend on N, M and k: compare at the same ones, best with N = M. One outlier's large
    ball raises precision and recall; density and coverage were made to bear that. Memory stays at
    some 100 MB plus the features; the result depends on no order of the images.

    Source: precision and recall, Kynkäänniemi et al., arXiv 1904.06991 (k = 3 there); density and
    coverage, Naeem et al., arXiv 2002.09797 (k = 5 there for all four, as here). Own code because
    their package, prdc, holds all pairs at once (several GB at 10,000) and torch-fidelity has only
    the first two; the tests hold it to both. Raises NotFinite (a ValueError) for NaN or infinity,
    ValueError for other shapes or where a set holds no k + 1 images.
    """
    real, fake = checked(real, fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(
            f"k={k} neighbours of an image in sets of {len(real)} real and {len(fake)} fake images"
        )
    reach_real, reach_fake = _reach(real, k), _reach(fake, k)
    balls_around = torch.zeros(len(fake), dtype=torch.int64)  # real balls that hold each fake
    covered = recalled = 0
    for rows, squared in squared_distances(real, fake):
        in_real = squared < reach_real[rows, None]  # (B, M)
        balls_around += in_real.sum(0)
        covered += int(in_real.any(1).sum())
        recalled += int((squared < reach_fake).any(1).sum())
    return {
        "precision": float((balls_around > 0).double().mean()),
        "recall": recalled / len(real),
        "density": float(balls_around.sum()) / (k * len(fake)),
        "coverage": covered / len(real),
    }


def _reach(x: Tensor, k: int) -> Tensor:
    """Squared radius of each image's ball: float64 (N,); 0 where it has k exact copies."""
    reach = torch.empty(len(x), dtype=torch.float64)
    for rows, squared in squared_distances(x, x):
        squared[:, rows].fill_diagonal_(torch.inf)  # an image is no neighbour of its own
        reach[rows] = squared.topk(k, largest=False).values[:, -1]
    return reach * _TIE
