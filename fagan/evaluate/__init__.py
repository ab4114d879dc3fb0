"""Scores of generated images: sample -> features -> statistics -> metric, as pure functions.

| name | what it is |
|---|---|
| `fid` | Fréchet distance of Inception features: the literature's FID, and nothing else is called so |
| `fd_lite0` | Fréchet distance of EfficientNet-Lite0 features: ranks runs at one n_fake, n_real and reference without a download; its numbers compare with no published FID |
| `kid_lite0`, `kid_inception` | kernel distance (KID) of the same features: unbiased in n |
| `coherence_*`, `signal_*` | the long-range ties of the procedural faces, which both Fréchet distances miss |

Every Fréchet distance falls like 1/n, by an amount that depends on the model: read it beside its
n_fake, n_real, split and floor (real images against real images).
"""  # noqa: E501  (a table's row is one line)

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
    lite0,
)
from fagan.evaluate.references import Reference, reference
from fagan.evaluate.sampling import evaluating, sample
from fagan.evaluate.scoring import floor, score
from fagan.evaluate.ties import coherence

__all__ = [
    "Extractor",
    "MissingWeights",
    "NotFinite",
    "Reference",
    "Statistics",
    "coherence",
    "evaluating",
    "floor",
    "frechet_distance",
    "inception",
    "inception_available",
    "kernel_distance",
    "lite0",
    "reference",
    "sample",
    "score",
    "statistics",
]
