"""What many runs cost beside their training: the plan, the graph, status, analysis."""

import math
from itertools import product
from pathlib import Path

import numpy as np

from fagan import ablations
from fagan.bench.timing import Parts, fagan, finish, repeated
from fagan.environment import ROOT
from fagan.records import (
    ALPHA,
    HISTORY,
    INTERVENTIONS,
    SCORES,
    SPECTRAL,
    TIMING,
    RunRecord,
    ablation_folder,
    load_runs,
    run_folder,
    write_json,
)

RUNS, PLANNED = 1_000, 10_000
ABLATION = "smoke"  # two arms: half as many seeds as runs
LARGE = "overnight"  # the table of the plan: many arms, so that no arm has absurdly many seeds
LOG_STEPS, SCORED_EVERY, STEP = 30, 5, 50
GATES = [(n, f"full {2**i}x{2**i}") for n in ("generator", "discriminator") for i in range(2, 6)]
WEIGHTS = [(n, f"{layer}.{path}") for n, layer in GATES for path in ("query", "key", "value")]
SETTINGS = {"steps": LOG_STEPS * STEP, "log_every": STEP, "eval_every": SCORED_EVERY * STEP}


def name_of(part: str, runs: int) -> str:
    """What a part is called in the bench's table."""
    return f"{part} of {runs:,} runs"


def measure_scale(folder: Path, runs: int = RUNS, planned: int = PLANNED) -> Parts:
    """Commands from start to end, over records that no training made.

    The plan holds whole seeds, so a few runs more than `planned`.
    """
    large, results = str(folder / "planned"), folder / "many"
    seeds = math.ceil(planned / len(ablations.load_table(LARGE).arms))

    def plan():
        fagan("plan", LARGE, "--seeds", str(seeds), "--results", large)

    yield name_of("plan", planned), "s", repeated(plan, 3)
    write_runs(results, runs)
    yield name_of("records", runs), "s", repeated(lambda: load_runs(ABLATION, results), 3)

    def status():
        fagan("status", ABLATION, "--once", "--results", str(results))

    yield name_of("status", runs), "s", repeated(status, 3)
    yield name_of("graph", runs), "s", repeated(lambda: _graph(results), 1)
    files = (path for path in results.rglob("*") if path.is_file())
    kilobytes = sum(path.stat().st_size for path in files) / runs / 1e3
    yield "tables and settings of a run, without images and weights", "kB", [kilobytes]


def _graph(results: Path) -> None:
    """Snakemake's dry run: what it needs before it starts a job."""
    finish(
        "snakemake",
        "--dry-run",
        *("--snakefile", str(ROOT / "workflow" / "Snakefile")),
        *("--workflow-profile", str(ROOT / "workflow" / "profiles" / "default")),
        *("--cores", "1"),
        *("--config", f"ablation={ABLATION}", f"results={results}"),
    )


def write_runs(results: Path, n: int) -> None:
    """Records of n finished runs of a laptop's length: the tables of a real one, drawn numbers."""
    table = ablations.load_table(ABLATION)
    configs = ablations.configs(table, range(n // 2), SETTINGS)
    ablations.plan(table, configs, results)
    write_json(ablation_folder(ABLATION, results) / "reference.json", {"name": "faces"})
    rng = np.random.default_rng(0)
    steps = [
        {"step": i * STEP, "images_seen": i * STEP * configs[0].batch_size}
        for i in range(LOG_STEPS + 1)
    ]
    for config in configs:
        record = RunRecord(run_folder(ABLATION, config.run_id, results))
        record.begin(config, {"commit": "0" * 40, "source_fingerprint": "0" * 12, "device": "cpu"})
        scored = [_row(rng, HISTORY, step) for step in steps]
        for i, row in enumerate(scored):
            if i % SCORED_EVERY:
                row.update(dict.fromkeys(SCORES))
        record.append("history.csv", HISTORY, scored)
        for name, columns, layers in (("alpha", ALPHA, GATES), ("spectral", SPECTRAL, WEIGHTS)):
            rows = [
                _row(rng, columns, step | {"network": network, "layer": layer})
                for step, (network, layer) in product(steps, layers)
            ]
            record.append(f"{name}.csv", columns, rows)
        record.append("timing.csv", TIMING, [_row(rng, TIMING, step) for step in steps[1:]])
        layers = [{"layer": layer, "intervention": "alpha = 0"} for _, layer in GATES]
        record.interventions(_row(rng, INTERVENTIONS, layer) for layer in layers)
        record.finish("done", step=config.steps, fd_lite0=100 * rng.random())


def _row(rng: np.random.Generator, columns: tuple[str, ...], known: dict) -> dict:
    """A row of a table: what is known of it, and numbers."""
    drawn = dict(zip(columns, rng.random(len(columns)).tolist(), strict=True))
    return drawn | {name: value for name, value in known.items() if name in columns}
