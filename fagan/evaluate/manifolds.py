"""Fidelity, diversity and copies, from the neighbours of images in feature space.

Own code: prdc holds all pairs at once (several GB at 10,000 images), torch-fidelity has neither
density nor coverage. The tests hold it to both.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from fagan.evaluate.distances import _checked

_PAIRS = 2**21  # squared distances held at a time: 16 MB of float64
_ROUNDING = 1e-12  # of |x|^2 + |y|^2: what the product's rounding can leave where x = y
_TIE = 1 - 1e-9  # two distances that differ by less than this share are a tie
_NEAR = 0.01  # of the held-out images; see `memorisation`


def manifold_scores(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """How far two sets of features, real (N, D) and fake (M, D), cover each other.

    An image's ball reaches to its k-th nearest neighbour in its own set; what lies strictly within
    is inside. Returns
    - `precision`: the share of fakes inside any real image's ball; 0 to 1
    - `recall`: the share of real images inside any fake's ball; 0 to 1
    - `density`: the mean number of real balls that a fake is inside, over k; 0 upward, 1 in
      expectation for equal distributions
    - `coverage`: the share of real balls with a fake inside; 0 to 1, and for equal distributions
      and N = M about 1 - 2^-k

    All four depend on N, M and k: compare at the same ones, best with N = M.

    Source: precision and recall, Kynkäänniemi et al., arXiv 1904.06991 (k = 3 there); density and
    coverage, Naeem et al., arXiv 2002.09797 (k = 5 there for all four, as here). Raises NotFinite
    (a ValueError) for NaN or infinity, ValueError where a set holds no k + 1 images.
    """
    real, fake = _checked(real), _checked(fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"k={k} neighbours in sets of {len(real)} and {len(fake)} images")
    reach_real, reach_fake = _reach(real, k), _reach(fake, k)
    balls_around = torch.zeros(len(fake), dtype=torch.int64)  # real balls that hold each fake
    covered = recalled = 0
    for rows, squared in _squared_distances(real, fake):
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


def memorisation(fake: Tensor, train: Tensor, held_out: Tensor) -> dict[str, float]:
    """Are generated images nearer to the training images than unseen real images are?

    Features of fakes (N, D), of all training images (M, D), and of real images that were not
    trained on (L, D). Let d be an image's distance to its nearest training image. Returns
    - `memorisation`: P(d(fake) < d(held-out)) over all pairs, ties counted half. 0.5 for fresh
      samples of the distribution, 1 where all are copies, below 0.5 where the fakes lie further
      from the data than real images do, as a poor model's will.
    - `memorisation_z`: how many standard errors `memorisation` is above 0.5.
    - `near_copies`: the share of fakes with d below the 1st percentile of the held-out images' d.
      0.01 for fresh samples, 1 where all are copies; it sees a few copies among poor images too.

    The features decide what counts as a copy: of Lite0's at 64 pixels, exact copies give 1.00,
    noise of one grey level 0.88, mirror images 0.60. A value near 0.5 does not rule copies out.

    Source: the data-copying test of Meehan et al., arXiv 2004.05675, over the whole space (one
    cell): Mann-Whitney's U over N * L. `near_copies` is ours. Raises like `manifold_scores`.
    """
    from scipy.stats import mannwhitneyu  # 1.5 s: only here

    made, unseen = _nearest(fake, train), _nearest(held_out, train)
    n, m = len(made), len(unseen)
    u = mannwhitneyu(unseen.numpy(), made.numpy(), method="asymptotic").statistic
    share = float(u) / (n * m)
    return {
        "memorisation": share,
        "memorisation_z": (share - 0.5) * (12 * n * m / (n + m + 1)) ** 0.5,
        "near_copies": float((made < unseen.quantile(_NEAR)).double().mean()),
    }


def _reach(x: Tensor, k: int) -> Tensor:
    """Squared radius of each image's ball: float64 (N,); 0 where it has k exact copies."""
    reach = torch.empty(len(x), dtype=torch.float64)
    for rows, squared in _squared_distances(x, x):
        squared[:, rows].fill_diagonal_(torch.inf)  # an image is no neighbour of its own
        reach[rows] = squared.topk(k, largest=False).values[:, -1]
    return reach * _TIE


def _nearest(x: Tensor, y: Tensor) -> Tensor:
    """The distance of each x to the nearest y: float64 (N,); 0 for an exact copy."""
    pieces = _squared_distances(_checked(x), _checked(y))
    return torch.cat([squared.min(1).values for _, squared in pieces]).sqrt()


def _squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of x and their squared distances to all of y, piece by piece: (slice, float64 (B, M)).

    By a matrix product, 14 times faster than by differences.
    """
    middle = y.mean(0)  # a far origin would cost digits
    x, y = x - middle, y - middle
    norms_x, norms_y = x.square().sum(1, keepdim=True), y.square().sum(1)
    step = max(1, _PAIRS // len(y))
    for start in range(0, len(x), step):
        rows = slice(start, min(start + step, len(x)))
        norms = norms_x[rows] + norms_y
        squared = torch.addmm(norms, x[rows], y.T, alpha=-2)
        yield rows, squared.masked_fill_(squared < _ROUNDING * norms, 0.0)
