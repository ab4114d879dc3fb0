"""Features -> statistics -> distances: Fréchet and kernel (KID), as pure functions in float64.

Own code because it runs in every training: importing torchmetrics takes 5 to 8 s, and
torch-fidelity 5 s. The tests hold one to torchmetrics' values, the other to torch-fidelity's.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


class NotFinite(ValueError):
    """NaN or infinity where a number must be: the run has diverged, and says so."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """The Gaussian that a Fréchet distance sees, of n feature vectors."""

    mean: Tensor  # float64 (D,)
    covariance: Tensor  # float64 (D, D), unbiased
    n: int


def statistics(features: Tensor) -> Statistics:
    """Mean and unbiased covariance of features (N, D), N >= 2.

    Raises NotFinite (a ValueError) for NaN or infinity, ValueError for another shape.
    """
    x = _checked(features)
    mean = x.mean(0)
    centred = x - mean
    return Statistics(mean, centred.T @ centred / (len(x) - 1), len(x))


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), in squared units of the features.

    Zero for equal statistics. The trace of the root is the sum of the singular values of
    A^T B with C_a = A A^T and C_b = B B^T, both from a symmetric eigendecomposition: unlike the
    roots of the product's eigenvalues this stays exact to 1e-12 where a covariance is singular
    (fewer images than features), and there is no small imaginary part to drop.

    Source: Dowson and Landau 1982; as an image metric, Heusel et al., arXiv 1706.08500, section 4.
    Only with Inception's features is it the FID.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"{len(a.mean)} features against {len(b.mean)}: not the same extractor")
    traces = float(a.covariance.trace() + b.covariance.trace())
    shift = float((a.mean - b.mean).square().sum())
    root = float(torch.linalg.svdvals(_factor(a.covariance).T @ _factor(b.covariance)).sum())
    distance = shift + traces - 2 * root
    # Rounding of equal covariances gives +-1e-14 of the traces; more below zero is a mistake.
    if distance < -1e-9 * (shift + traces) or distance != distance:
        raise ValueError(f"Fréchet distance {distance}: the covariances are not covariances")
    return max(distance, 0.0)


def kernel_distance(
    x: Tensor,
    y: Tensor,
    subsets: int = 100,
    subset_size: int = 1000,
    *,
    generator: torch.Generator,
) -> tuple[float, float]:
    """KID of features x (N, D) and y (M, D): mean and standard deviation over random subsets.

    Each subset draws subset_size rows of x and of y without replacement (capped at N and M) and
    takes the unbiased squared MMD with the kernel (x.y / D + 1)^3. The mean is 0 in expectation
    for equal distributions, at any N, and may come out slightly negative. The standard deviation
    is that of the subsets (as torch-fidelity's), not the mean's error, and is 0 once the cap
    makes all subsets equal.

    Source: Binkowski et al., arXiv 1801.01401, section 4. Raises like `statistics`.
    """
    reference = y  # the same object at every score of a run
    x, y = _checked(x), _checked(y)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{x.shape[1]} features against {y.shape[1]}: not the same extractor")
    size = min(subset_size, len(x), len(y))
    rows_x, rows_y = (
        torch.stack([torch.randperm(len(z), generator=generator)[:size] for _ in range(subsets)])
        for z in (x, y)
    )
    whole = len(x) ** 2 + len(x) * len(y) + len(y) ** 2
    if whole < 3 * subsets * size**2:
        values = _mmd2_by_matrix(x, reference, rows_x, rows_y)
    else:
        values = _mmd2_by_subset(x, y, rows_x, rows_y)
    return float(values.mean()), float(values.std(correction=0))


def _mmd2_by_subset(x: Tensor, y: Tensor, rows_x: Tensor, rows_y: Tensor) -> Tensor:
    """The definition: unbiased squared MMD of x[rows_x[s]] and y[rows_y[s]], for every s: (S,)."""
    values = []
    for i, j in zip(rows_x, rows_y, strict=True):
        n = len(i)
        k_xx, k_yy, k_xy = _kernel(x[i], x[i]), _kernel(y[j], y[j]), _kernel(x[i], y[j])
        within = k_xx.sum() - k_xx.trace() + k_yy.sum() - k_yy.trace()
        values.append(within / (n * (n - 1)) - 2 * k_xy.sum() / n**2)
    return torch.stack(values)


def _mmd2_by_matrix(x: Tensor, y: Tensor, rows_x: Tensor, rows_y: Tensor) -> Tensor:
    """The same values from one kernel matrix of all images: 4 times faster at 5,000 of each.

    y's own part is kept for the next call with the same tensor.
    """
    n = rows_x.shape[1]
    pairs, diagonal = _within(x, rows_x.numpy().tobytes(), n)
    within = pairs - diagonal
    pairs, diagonal = _kept_within(y, rows_y.numpy().tobytes(), n)
    within = within + pairs - diagonal
    x, y = x.double(), y.double()
    between = _pairs(x, y, _subsets(x, rows_x), _subsets(y, rows_y))
    return within / (n * (n - 1)) - 2 * between / n**2


def _within(features: Tensor, rows: bytes, n: int) -> tuple[Tensor, Tensor]:
    """(sum over all pairs of every subset of n rows, the part of it on the diagonal), each (S,)."""
    a = features.double()
    chosen = _subsets(a, torch.frombuffer(bytearray(rows), dtype=torch.int64).view(-1, n))
    diagonal = chosen @ ((a.square().sum(1) / a.shape[1] + 1) ** 3)
    return _pairs(a, a, chosen, chosen), diagonal


_kept_within = lru_cache(maxsize=2)(_within)  # by the identity of the features


def _subsets(a: Tensor, rows: Tensor) -> Tensor:
    """(S, N): a subset as a row of zeros and ones; a sum over its pairs is a product with it."""
    return a.new_zeros(len(rows), len(a)).scatter_(1, rows, 1.0)


def _pairs(a: Tensor, b: Tensor, in_a: Tensor, in_b: Tensor) -> Tensor:
    """(S,): the kernel summed over the pairs of every subset."""
    total = a.new_zeros(len(in_a))
    for rows in torch.arange(len(a)).split(1024):  # memory stays at 1024 rows of the matrix
        total = total + ((in_a[:, rows] @ _kernel(a[rows], b)) * in_b).sum(1)
    return total


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)  # (N, M)


def _factor(covariance: Tensor) -> Tensor:
    """A (D, rank) with A A^T = covariance; directions of rounding noise are left out."""
    if not torch.isfinite(covariance).all():
        raise NotFinite("a covariance holds NaN or infinity")
    values, vectors = torch.linalg.eigh(covariance)
    noise = len(values) * torch.finfo(values.dtype).eps * float(values.abs().max())
    if float(values.min()) < -10 * noise:
        raise ValueError(f"a covariance has the eigenvalue {float(values.min()):.3g} below zero")
    kept = values > noise
    return vectors[:, kept] * values[kept].sqrt()


def _checked(features: Tensor) -> Tensor:
    if features.dim() != 2 or len(features) < 2:
        raise ValueError(f"features must be (N, D) with N >= 2, not {tuple(features.shape)}")
    bad = int((~torch.isfinite(features)).any(1).sum())
    if bad:
        raise NotFinite(f"the features of {bad} of {len(features)} images hold NaN or infinity")
    return features.double()
