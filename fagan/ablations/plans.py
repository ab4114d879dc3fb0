"""results/<ablation>/plan.json: all that a run needs to know."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fagan.ablations.files import Table
from fagan.config import RunConfig, UserError, unknown
from fagan.records import (
    RESULTS,
    SCHEMA,
    ablation_folder,
    command_for,
    read_json,
    refuse_other_config,
    run_folder,
    write_json,
)


def plan(table: Table, runs: Sequence[RunConfig], results: Path = RESULTS) -> list[RunConfig]:
    """Write results/<name>/plan.json; refuse where a run was recorded with another config."""
    for run in runs:
        refuse_other_config(run_folder(table.name, run.run_id, results), run)
    content = {
        "schema": SCHEMA,
        "ablation": table.name,
        "title": table.title,
        "baseline": table.baseline_arm,
        "labels": table.labels,
        "runs": [{"run_id": run.run_id, "config": dict(vars(run))} for run in runs],
    }
    path = ablation_folder(table.name, results) / "plan.json"
    if read_json(path) != content:
        write_json(path, content)
    return list(runs)


def planned(
    ablation: str, results: Path = RESULTS, only: str | None = None
) -> dict[str, RunConfig]:
    """run_id -> configuration, from plan.json; of the run `only` alone, if there is one so called.

    Each job of a large plan asks for its own run, so the others are not checked then.
    """
    content = read_json(ablation_folder(ablation, results) / "plan.json")
    if content is None:
        raise UserError(
            f"no plan for {ablation!r} under {results}; `{command_for(ablation)}` makes one"
        )
    found = _entries(content, only)
    if found is None:
        raise UserError(
            f"the plan of {ablation} under {results} is damaged; `python -m fagan plan {ablation}` "
            "makes it again"
        )
    return found


def _entries(content: Any, only: str | None) -> dict[str, RunConfig] | None:
    """A plan's runs, each under the name that its configuration gives it; None where it is none."""
    if not isinstance(content, dict) or not isinstance(content.get("runs"), list):
        return None
    found = {}
    for run in content["runs"]:
        if not isinstance(run, dict) or not isinstance(run.get("config"), dict):
            return None
        if only is not None and run.get("run_id") != only:
            continue
        config = RunConfig.from_params(run["config"])
        # the name becomes a folder: what was written by hand must be what this code would write
        if run.get("run_id") != config.run_id:
            return None
        found[config.run_id] = config
    return found if found or only is not None else None


def planned_run(ablation: str, run_id: str, results: Path = RESULTS) -> RunConfig:
    """One run of a plan, or UserError with the nearest name."""
    found = planned(ablation, results, only=run_id)
    if run_id not in found:
        raise unknown("run", run_id, planned(ablation, results))
    return found[run_id]
