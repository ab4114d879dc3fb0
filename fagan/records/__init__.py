"""The run directory: one writer, one reader, and the schema between them.

    results/<ablation>/plan.json        what was asked for (this machine's paths included)
                       reference.json   the real data: checksum, split, real-against-real floor
                       runs/<run_id>/   a run:

    config.json     RunConfig.identity(), before step 0
    env.json        environment and data checksum, before step 0
    history.csv     a row per log step (HISTORY)
    alpha.csv       a row per log step, network and gated layer (ALPHA)
    spectral.csv    a row per log step, network and convolution (SPECTRAL)
    timing.csv      a row per log step (TIMING): the only clock readings
    samples/        step_0000000.png ...: always the same latents
    generator.safetensors   the weight-averaged generator
    discriminator.safetensors   the discriminator as it ended
    interventions.csv   the score with gates set by hand (INTERVENTIONS), at the end
    metrics.json    last and atomically: it alone says that a run is done

Clock readings are kept apart, so that every other file of an interrupted and resumed run is equal
to that of an uninterrupted one.
"""

from fagan.records.checks import ENDED, read_environment, read_metrics
from fagan.records.files import (
    damaged,
    read_json,
    read_object,
    whole_lines,
    write_json,
    write_text,
)
from fagan.records.grids import grid_step, read_grid
from fagan.records.reading import LABELS, Runs, arm_label, load_runs, makers
from fagan.records.schema import (
    ALPHA,
    CHECKPOINTS,
    GROWING,
    HISTORY,
    INTERVENTIONS,
    PUBLISHED,
    READS,
    RESULTS,
    RUNNER_LOCK,
    SCHEMA,
    SCORES,
    SPECTRAL,
    TABLES,
    TIMING,
    TRAIN_LOCK,
    WORKFLOW_LOCK,
    ablation_folder,
    command_for,
    run_folder,
)
from fagan.records.tails import newest_rows
from fagan.records.writing import RunRecord, refuse_other_config

__all__ = [
    "ALPHA",
    "CHECKPOINTS",
    "ENDED",
    "GROWING",
    "HISTORY",
    "INTERVENTIONS",
    "LABELS",
    "PUBLISHED",
    "READS",
    "RESULTS",
    "RUNNER_LOCK",
    "SCHEMA",
    "SCORES",
    "SPECTRAL",
    "TABLES",
    "TIMING",
    "TRAIN_LOCK",
    "WORKFLOW_LOCK",
    "RunRecord",
    "Runs",
    "ablation_folder",
    "arm_label",
    "command_for",
    "damaged",
    "grid_step",
    "load_runs",
    "makers",
    "newest_rows",
    "read_environment",
    "read_grid",
    "read_json",
    "read_metrics",
    "read_object",
    "refuse_other_config",
    "run_folder",
    "whole_lines",
    "write_json",
    "write_text",
]
