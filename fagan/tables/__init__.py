"""Seed statistics: pure functions from Runs to tidy tables.

A run that diverged or never ended has no final score: its value is NaN and its status says why. It
stays in every table, and `n` counts the seeds that a number rests on.
"""

from fagan.tables.alphas import (
    alpha_reach,
    last_alphas,
    sign_agreement,
)
from fagan.tables.scores import (
    SCORE,
    STATUSES,
    Interval,
    best_and_last,
    bootstrap_interval,
    failures,
    final_scores,
    floor,
    learning_curve,
    ordered,
    paired_differences,
    status_counts,
    summary,
    throughput,
)
from fagan.tables.text import (
    DASH,
    MINUS,
    TIMES,
    as_html,
    count,
    number,
    present,
    seeds,
    show,
    span,
    write,
)

__all__ = [
    "DASH",
    "MINUS",
    "SCORE",
    "STATUSES",
    "TIMES",
    "Interval",
    "alpha_reach",
    "as_html",
    "best_and_last",
    "bootstrap_interval",
    "count",
    "failures",
    "final_scores",
    "floor",
    "last_alphas",
    "learning_curve",
    "number",
    "ordered",
    "paired_differences",
    "present",
    "seeds",
    "show",
    "sign_agreement",
    "span",
    "status_counts",
    "summary",
    "throughput",
    "write",
]
