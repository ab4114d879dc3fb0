"""What the number of images does to a Fréchet distance: the limit at infinitely many."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fagan.evaluate.distances import Statistics, frechet_distance, statistics

POINTS = 15


@dataclass(frozen=True)
class Extrapolation:
    """A line in 1/n through distances, and where it meets 1/n = 0."""

    value: float  # at infinitely many images
    slope: float  # of the distance over 1/n
    standard_error: float  # of value, from the scatter about the line alone
    points: tuple[tuple[int, float], ...]  # (n, distance) of the fit, n rising


def extrapolated_frechet(
    fake_features: Tensor,
    real_statistics: Statistics,
    sizes: int | Sequence[int] = POINTS,
    *,
    generator: torch.Generator,
) -> Extrapolation:
    """The Fréchet distance at infinitely many generated images: FID-infinity, for Inception.

    fake_features (N, D). sizes: the numbers of images to fit through, each at most N and at least
    2; or how many of them, spaced evenly from `first_size(N, D)` to N. Each size is a random
    choice of the N fakes without replacement.

    It removes the bias of a finite n_fake, so that models with different biases compare; the bias
    of a finite n_real stays, so keep the reference. The line is only straight where n is several
    times D: through n = D it fell 4 % short of the truth on a decaying spectrum of D = 320, through
    n = 3 D it met it. The value may come out slightly negative where the truth is near 0. The
    standard error is the fit's: the sizes share images, so it leaves out most of the sampling error
    of the N fakes, and all of the training's.

    Source: Chong and Forsyth, arXiv 1911.07023 (15 sizes from 5,000 to 50,000 there,
    D = 2048). Raises like `statistics`, and ValueError for fewer than three different sizes or one
    that is not in 2..N.
    """
    n, dim = fake_features.shape
    if isinstance(sizes, int):
        sizes = torch.linspace(first_size(n, dim), n, sizes, dtype=torch.float64).long().tolist()
    sizes = sorted(set(sizes))
    _check_sizes(sizes, n)
    distances = [
        frechet_distance(statistics(fake_features[_choice(n, size, generator)]), real_statistics)
        for size in sizes
    ]
    return fit_inverse_size(sizes, distances)


def first_size(n: int, dim: int) -> int:
    """Where the default sizes begin: n / 10 or 3 dim, whichever is more, and n / 2 at most."""
    return max(2, min(max(n // 10, 3 * dim), n // 2))


def fit_inverse_size(sizes: Sequence[int], distances: Sequence[float]) -> Extrapolation:
    """Least squares of distance = value + slope / size, each size weighing the same.

    Raises ValueError for fewer than three different sizes: a line through two has no error.
    """
    if len(set(sizes)) < 3:
        raise ValueError(f"a line and its error need three different sizes, not {list(sizes)}")
    from scipy.stats import linregress  # 1.5 s: only here

    line = linregress([1 / size for size in sizes], distances)
    points = sorted((int(n), float(d)) for n, d in zip(sizes, distances, strict=True))
    return Extrapolation(
        value=float(line.intercept),
        slope=float(line.slope),
        standard_error=float(line.intercept_stderr),
        points=tuple(points),
    )


def _choice(n: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(n, generator=generator)[:size]


def _check_sizes(sizes: Sequence[int], n: int) -> None:
    wrong = [size for size in sizes if not 2 <= size <= n]
    if wrong:
        raise ValueError(f"sizes {wrong} are not in 2..{n}, the number of images")
