"""Scores of generated images: sample -> features -> statistics -> metric, as pure functions.

| name | what it is |
|---|---|
| `fid` | Fréchet distance of Inception features: the literature's FID, and nothing else is called so |
| `fd_lite0` | Fréchet distance of EfficientNet-Lite0 features: ranks runs at one n_fake, n_real and reference without a download; its numbers compare with no published FID |
| `kid_lite0`, `kid_inception` | kernel distance (KID) of the same features: unbiased in n |
| `coherence_*`, `signal_*` | the long-range ties of the procedural faces, which both Fréchet distances miss |
| `*_extrapolated` | a Fréchet distance at infinitely many generated images |
| `precision_*`, `recall_*`, `density_*`, `coverage_*` | fidelity and diversity apart |
| `memorisation_*`, `near_copies_*` | nearer to training images than unseen real images are |
| `inception_score` | of Inception's logits; it knows no reference |

`full_report` gives all of them in one row.
Every Fréchet distance falls like 1/n, by an amount that depends on the model: read it beside its
n_fake, n_real, split and floor (real images against real images).
"""  # noqa: E501  (a table's row is one line)

from fagan.evaluate.class_scores import inception_score, per_class_frechet
from fagan.evaluate.distances import (
    NotFinite,
    Statistics,
    frechet_distance,
    kernel_distance,
    statistics,
)
from fagan.evaluate.features import (
    Extractor,
    MissingWeights,
    inception,
    inception_available,
    inception_logits,
    inception_missing,
    lite0,
)
from fagan.evaluate.manifolds import manifold_scores
from fagan.evaluate.neighbours import memorisation, nearest_neighbours
from fagan.evaluate.references import Reference, reference
from fagan.evaluate.report import full_report
from fagan.evaluate.sample_size import (
    Extrapolation,
    extrapolated_frechet,
    fit_inverse_size,
)
from fagan.evaluate.sampling import evaluating, sample
from fagan.evaluate.scoring import enough_images, floor, score
from fagan.evaluate.ties import coherence

__all__ = [
    "Extractor",
    "Extrapolation",
    "MissingWeights",
    "NotFinite",
    "Reference",
    "Statistics",
    "coherence",
    "enough_images",
    "evaluating",
    "extrapolated_frechet",
    "fit_inverse_size",
    "floor",
    "frechet_distance",
    "full_report",
    "inception",
    "inception_available",
    "inception_logits",
    "inception_missing",
    "inception_score",
    "kernel_distance",
    "lite0",
    "manifold_scores",
    "memorisation",
    "nearest_neighbours",
    "per_class_frechet",
    "reference",
    "sample",
    "score",
    "statistics",
]
