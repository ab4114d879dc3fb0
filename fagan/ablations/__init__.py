"""The experiment tables: a baseline, named differences from it, and seeds.

A table is notebooks/ablations/<name>.yaml:

    title: one line
    baseline:               # parameters of every run, see `python -m fagan parameters`
        architecture: sagan
    arms:                   # differences from the baseline; {} is the baseline itself
        sagan: {}
        fagan: {architecture: fagan}
    labels: {fagan: FAGAN}  # optional, for figures
    seeds: 2                # how many (0, 1, ...) or a list
    extends: laptop         # optional: start from another table; what is given here is added to it

`plan` turns a table and the user's overrides into checked RunConfigs and writes
results/<name>/plan.json, which is all that a run needs to know. Nothing here computes.
"""

from fagan.ablations.files import TABLES, Table, load_table, parse_seeds, parse_setting, table_names
from fagan.ablations.plans import plan, planned, planned_run
from fagan.ablations.runs import (
    asks_for_auto_precision,
    configs,
    known_arms,
    resolve_precision,
)

__all__ = [
    "TABLES",
    "Table",
    "asks_for_auto_precision",
    "configs",
    "known_arms",
    "load_table",
    "parse_seeds",
    "parse_setting",
    "plan",
    "planned",
    "planned_run",
    "resolve_precision",
    "table_names",
]
