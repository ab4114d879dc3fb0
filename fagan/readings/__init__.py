"""The sentences of the analysis, computed from the tables: no number in them is ever typed.

Each function returns Reading(claim, text): a heading, and the sentence under its figure. They say
n, and they say what n seeds cannot show.
"""

from fagan.readings.agreement import read_agreement, read_conditions
from fagan.readings.alphas import read_reach, read_signs
from fagan.readings.answers import (
    Answer,
    answers,
    answers_table,
    body,
    heading,
    overview,
    recorded_answers,
)
from fagan.readings.effects import read_spreads
from fagan.readings.instruments import (
    read_interventions,
    read_sign_use,
    read_spectral,
    read_traces,
)
from fagan.readings.reading import NOTHING, Reading, percent
from fagan.readings.runs import (
    caveats,
    extent,
    made_with,
    networks,
    protocol,
    read_failures,
    read_status,
)
from fagan.readings.samples import (
    read_films,
    read_interpolations,
    read_progress,
    read_samples,
    read_sheet,
)
from fagan.readings.scores import (
    read_cost,
    read_curves,
    read_differences,
    read_scores,
    read_ties,
)
from fagan.readings.studies import (
    NO_IMAGES,
    NO_WEIGHTS,
    read_coherence_test,
    read_degradations,
    read_extrapolation,
    read_fields,
    read_floor_curve,
    read_looks,
    read_manifold,
    read_missing,
    read_outside,
)
from fagan.readings.verdicts import read_corrections

__all__ = [
    "NOTHING",
    "NO_IMAGES",
    "NO_WEIGHTS",
    "Answer",
    "Reading",
    "answers",
    "answers_table",
    "body",
    "caveats",
    "extent",
    "heading",
    "made_with",
    "networks",
    "overview",
    "percent",
    "protocol",
    "read_agreement",
    "read_coherence_test",
    "read_conditions",
    "read_corrections",
    "read_cost",
    "read_curves",
    "read_degradations",
    "read_differences",
    "read_extrapolation",
    "read_failures",
    "read_fields",
    "read_films",
    "read_floor_curve",
    "read_interpolations",
    "read_interventions",
    "read_looks",
    "read_manifold",
    "read_missing",
    "read_outside",
    "read_progress",
    "read_reach",
    "read_samples",
    "read_scores",
    "read_sheet",
    "read_sign_use",
    "read_signs",
    "read_spectral",
    "read_spreads",
    "read_status",
    "read_ties",
    "read_traces",
    "recorded_answers",
]
