"""The run directory: the schema, one writer, one reader. docs/records.md explains every column.

results/<ablation>/plan.json        what was asked for (this machine's paths included)
                   reference.json   the real data: checksum, split, real-against-real floor
                   runs/<run_id>/   config.json, env.json, tables, samples, networks;
                                    metrics.json last and atomically: it says that a run is done
"""

from fagan.records.reader import Runs, grid_step, load_runs, makers, read_grid, read_metrics
from fagan.records.schema import (
    ALPHA,
    CHECKPOINTS,
    ENDED,
    FACE,
    HISTORY,
    KEYS,
    METRICS,
    RUNNER_LOCK,
    SCORES,
    TABLES,
    TEXTS,
    TRAIN_LOCK,
    WORKFLOW_LOCK,
)
from fagan.records.writer import RunRecord, tied
