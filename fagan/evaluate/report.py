"""Every score of a set of images, for final numbers; what the `evaluate` command prints."""

import torch
from torch import Tensor

from fagan.data import ImageSet
from fagan.errors import UserError
from fagan.evaluate.distances import Statistics, frechet_distance, statistics
from fagan.evaluate.features import Extractor, face, inception, inception_missing, lite0
from fagan.evaluate.manifolds import manifold_scores, memorisation
from fagan.evaluate.scoring import METRICS, inception_score, reference, score
from fagan.evaluate.ties import coherence

LEAST = 50  # images a side: below, a covariance of 320 features says nothing at all
NEIGHBOURS = 5


def scorecard(
    images: Tensor,
    real: ImageSet,
    trained: ImageSet | None = None,
    *,
    n_real: int = 0,
    input_size: int = 128,
    faces: str = "",
    seed: int = 0,
    device: str = "cpu",
) -> list[dict]:
    """All scores of images, uint8 (N, 3, R, R), against real ones: a row an extractor.

    n_real: of the real images, 0 for all. input_size: pixels that Lite0 sees. faces: the crop of
    CelebA's pictures, where fd_face is wanted. Beside what `score` gives a row holds, named by its
    extractor, `fd_lite0_extrapolated` with its error, precision, recall, density and coverage, with
    the images that were `trained` on memorisation (NaN where `real` had to be taken from them), and
    for procedural faces coherence and signal. Rows more: of dlib's descriptor, with `fd_face`, and,
    where its weights are, of Inception, with `fid` and `inception_score`. At the run's own seed and
    numbers, and input_size 64, the scores are those of its metrics.json.

    Raises UserError where a side holds fewer than 50 images.
    """
    for n, what in ((len(images), "images to score"), (len(real), f"images in {real.name}")):
        if n < LEAST:
            raise UserError(f"{n} {what}: a score needs at least {LEAST} on each side")
    extractors = [lite0(input_size, device), *([face(faces, device)] if faces else [])]
    if inception_missing() is None:
        extractors.append(inception(device))
    return [_row(images, real, trained, n_real or len(real), e, seed) for e in extractors]


def _row(images: Tensor, real: ImageSet, trained, n_real: int, extractor: Extractor, seed) -> dict:
    ref, features = reference(real, n_real, extractor), extractor(images)
    row = {"reference": real.name} | score(images, ref, extractor, seed, features=features)
    frechet, _ = METRICS[extractor.name]
    generator = torch.Generator().manual_seed(seed)
    value, error = extrapolated_frechet(features, ref.statistics, generator=generator)
    row |= {f"{frechet}_extrapolated": value, f"{frechet}_extrapolated_error": error}
    own = manifold_scores(ref.features, features, NEIGHBOURS)
    row["neighbours"] = NEIGHBOURS
    if trained is not None and extractor.name != "face":  # ten minutes for CelebA's features
        row["n_train"] = len(trained)
        if ref.split == trained.split:  # no image was held out
            own |= dict.fromkeys(("memorisation", "memorisation_z", "near_copies"), float("nan"))
        else:
            known = reference(trained, len(trained), extractor)
            own |= memorisation(features, known.features, ref.features)
    row |= {f"{name}_{extractor.name}": value for name, value in own.items()}
    if real.ties:
        row |= coherence(images, real.images, real.ties)
    if extractor.classes is not None:
        row |= inception_score(features, extractor)
    return row


def extrapolated_frechet(
    features: Tensor, real: Statistics, points: int = 15, *, generator: torch.Generator
) -> tuple[float, float]:
    """The Fréchet distance at infinitely many generated images, and the error of the line's end.

    features (N, D). The distances of random choices of the N, at `points` sizes from N / 10 or 3 D
    on, lie on a line in 1/n; it removes the bias of a finite n_fake, not that of n_real. Through
    n = D the line fell 4 % short of the truth, through 3 D it met it. The error leaves out most of
    the sampling error, since the sizes share images. Source: Chong and Forsyth, arXiv 1911.07023.
    """
    from scipy.stats import linregress  # 1.5 s: only here

    n, dim = features.shape
    first = max(2, min(max(n // 10, 3 * dim), n // 2))
    sizes = torch.linspace(first, n, points, dtype=torch.float64).long().unique().tolist()
    chosen = (torch.randperm(n, generator=generator)[:size] for size in sizes)
    distances = [frechet_distance(statistics(features[some]), real) for some in chosen]
    line = linregress([1 / size for size in sizes], distances)
    return float(line.intercept), float(line.intercept_stderr)
