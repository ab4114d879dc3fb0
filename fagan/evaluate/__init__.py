"""Scores of generated images: sample -> features -> statistics -> metric, as pure functions.

| name | what it is |
|---|---|
| `fid` | Fréchet distance of Inception features: the literature's FID, and nothing else is called so |
| `fd_lite0` | Fréchet distance of EfficientNet-Lite0 features: ranks runs at one n_fake, n_real and reference without a download; its numbers compare with no published FID |
| `fd_face` | Fréchet distance of dlib's face descriptors, for CelebA's aligned faces |
| `kid_lite0`, `kid_face`, `kid_inception` | kernel distance (KID) of the same features: unbiased in n |
| `coherence_*`, `signal_*` | the long-range ties of the procedural faces, which both Fréchet distances miss |
| `*_extrapolated` | a Fréchet distance at infinitely many generated images |
| `precision_*`, `recall_*`, `density_*`, `coverage_*` | fidelity and diversity apart |
| `memorisation_*`, `near_copies_*` | nearer to training images than unseen real images are |
| `by_class` | the Fréchet distance of each class, and whether its images are taken for it |
| `inception_score` | of Inception's logits; it knows no reference |

`scorecard` gives all of them. Every Fréchet distance falls like 1/n, by an amount that depends on
the model: read it beside its n_fake, n_real, split and floor (real images against real images).
"""  # noqa: E501  (a table's row is one line)

from fagan.evaluate.classes import by_class
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
    face,
    inception,
    inception_missing,
    lite0,
)
from fagan.evaluate.manifolds import manifold_scores, memorisation
from fagan.evaluate.report import extrapolated_frechet, scorecard
from fagan.evaluate.sampling import evaluating, sample
from fagan.evaluate.scoring import (
    Reference,
    choose,
    enough_images,
    floor,
    inception_score,
    reference,
    score,
)
from fagan.evaluate.ties import coherence
