"""What an analysis computes from a finished run's networks and data, not from its records alone.

| question | study |
|---|---|
| where do three points of an image look? | `attention_looks` |
| does the sign of an alpha mean anything? | `sign_flips` |
| what lies between two latents? | `interpolations` |
| how far does each layer reach? | `discriminator_fields`, `generator_reach` |
| may one trust the scores? | `degradations`, `floor_curve`, `extrapolations` |
| what do the released code's habits change? | `train_mode_scores`, `released_norms` |

Each returns a tidy frame (images and maps as arrays in its cells) that depends on weights, data and
seed alone. A run without weights, as published ablations and older records have them, is left out
and named by `without_weights`; images that are not on this machine are None.
"""

from fagan.studies.fields import discriminator_fields, generator_reach
from fagan.studies.interpolations import interpolations, slerp
from fagan.studies.looks import POINTS, attention_looks, sign_flips
from fagan.studies.metrics import (
    RealImages,
    degradations,
    extrapolations,
    floor_curve,
    real_images,
)
from fagan.studies.networks import (
    Networks,
    load_networks,
    networks,
    recorded_config,
    some_drawn,
    some_real,
    without_weights,
)
from fagan.studies.released import released_norms, train_mode_scores

__all__ = [
    "POINTS",
    "Networks",
    "RealImages",
    "attention_looks",
    "degradations",
    "discriminator_fields",
    "extrapolations",
    "floor_curve",
    "generator_reach",
    "interpolations",
    "load_networks",
    "networks",
    "real_images",
    "recorded_config",
    "released_norms",
    "sign_flips",
    "slerp",
    "some_drawn",
    "some_real",
    "train_mode_scores",
    "without_weights",
]
