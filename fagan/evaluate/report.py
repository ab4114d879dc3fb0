"""Every score of a set of images in one row: for final numbers, not for following a run."""

import torch
from torch import Tensor

from fagan.data import ImageSet
from fagan.evaluate.class_scores import inception_score
from fagan.evaluate.features import Extractor
from fagan.evaluate.manifolds import manifold_scores
from fagan.evaluate.neighbours import memorisation
from fagan.evaluate.references import Reference, reference
from fagan.evaluate.sample_size import POINTS, extrapolated_frechet
from fagan.evaluate.scoring import METRICS, score
from fagan.evaluate.ties import coherence


def full_report(
    images: Tensor,
    ref: Reference,
    extractor: Extractor,
    train: ImageSet | None = None,
    real: ImageSet | None = None,
    logits: Tensor | None = None,
    *,
    features: Tensor | None = None,
    k: int = 5,
    points: int = POINTS,
    seed: int = 0,
) -> dict:
    """All scores that apply, in one row; the images' features are computed once at most.

    images: uint8 (N, 3, R, R), and their features (N, D) by this extractor where they are at hand.
    The row holds, named by the extractor,
    - all of `score`: distances, n_fake, n_real, extractor, input_size, resize, split, eval_seed,
      weights_sha256
    - `fd_lite0_extrapolated` (or `fid_extrapolated`) and `..._extrapolated_error`: see
      `extrapolated_frechet`, with `points` sizes
    - `precision_lite0`, `recall_lite0`, `density_lite0`, `coverage_lite0`, and their
      `neighbours` = k: see `manifold_scores`
    - with `train`, the images that the model was trained on, all of them: `memorisation_lite0`,
      `memorisation_z_lite0`, `near_copies_lite0` and `n_train`. NaN, missing, where the reference
      had to be taken from the training images: then no image is held out.
    - with `real`, the set that the reference is of: the coherence and signal of procedural faces
    - with `logits` of the images: `inception_score`, `inception_score_std`

    The seed chooses subsets and nothing else. Raises like `score`, and ValueError where the
    reference is of procedural faces and `real` is not given, or is another set.
    """
    if real is not None and real.checksum != ref.checksum:
        raise ValueError(f"real is {real.checksum}, the reference is of {ref.checksum}")
    if ref.name == "faces" and real is None:
        raise ValueError("the reference is of procedural faces: give its images as real=")
    if logits is not None and len(logits) != len(images):
        raise ValueError(f"logits of {len(logits)} images, not of these {len(images)}")
    if features is None:
        features = extractor(images)
    row = score(images, ref, extractor, seed, features=features)
    row |= _extrapolated(features, ref, extractor, points, seed)
    row |= _named(manifold_scores(ref.features, features, k), extractor) | {"neighbours": k}
    if train is not None:
        row |= _named(_memorisation(features, ref, extractor, train), extractor)
        row["n_train"] = len(train.images)
    if ref.name == "faces":
        row |= coherence(images, real.images)
    if logits is not None:
        mean, deviation = inception_score(logits)
        row |= {"inception_score": mean, "inception_score_std": deviation}
    return row


def _named(scores: dict[str, float], extractor: Extractor) -> dict[str, float]:
    return {f"{name}_{extractor.name}": value for name, value in scores.items()}


def _extrapolated(features, ref, extractor, points, seed) -> dict[str, float]:
    frechet, _ = METRICS[extractor.name]
    generator = torch.Generator().manual_seed(seed)
    found = extrapolated_frechet(features, ref.statistics, points, generator=generator)
    return {
        f"{frechet}_extrapolated": found.value,
        f"{frechet}_extrapolated_error": found.standard_error,
    }


def _memorisation(features, ref, extractor, train: ImageSet) -> dict[str, float]:
    if ref.split == train.split:
        missing = float("nan")
        return dict.fromkeys(("memorisation", "memorisation_z", "near_copies"), missing)
    # `reference` keeps them on disk: all images of the set, whose order does not matter here
    trained = reference(train, len(train.images), extractor)
    return memorisation(features, trained.features, ref.features)
