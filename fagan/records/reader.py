"""The one reader of run directories: tidy frames of an ablation."""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fagan.config import PROCEDURAL, read_config
from fagan.environment import read_environment
from fagan.errors import UserError, reason, shown
from fagan.files import (
    RESULTS,
    ablation_folder,
    command_for,
    damaged,
    read_json,
    read_object,
    run_folder,
)
from fagan.records.schema import ENDED, FACE, KEYS, METRICS, MISSING, TABLES, TEXTS

if TYPE_CHECKING:
    import numpy
    import pandas


@dataclass(frozen=True)
class Runs:
    """All records of one ablation as tidy frames, each with KEYS first; what is missing is NaN.

    `label` is an ordered Categorical, the arms as the experiment table has them: seaborn draws and
    pandas groups (observed=True) in this order.
    """

    ablation: str
    title: str
    arms: tuple[str, ...]
    labels: dict[str, str]
    baseline: str
    reference: dict[str, Any]
    runs: "pandas.DataFrame"  # a row a run: status, every configuration field and metric
    history: "pandas.DataFrame"
    alpha: "pandas.DataFrame"
    spectral: "pandas.DataFrame"
    timing: "pandas.DataFrame"
    ties: "pandas.DataFrame"
    interventions: "pandas.DataFrame"
    closed_ties: "pandas.DataFrame"
    classes: "pandas.DataFrame"
    folder: Path

    @property
    def finished(self) -> "pandas.DataFrame":
        """The rows of `runs` that have a final score: status done."""
        return self.runs[self.runs["status"] == "done"]

    @property
    def gates(self) -> "pandas.DataFrame":
        """The rows of `alpha` that have one: a layer that concatenates its paths has none."""
        return self.alpha[self.alpha["alpha"].notna()]

    @property
    def procedural(self) -> bool:
        """Whether the suite draws the images of every run, so that none is anybody's photograph."""
        return set(self.runs["data"]) <= {*PROCEDURAL}

    def samples(self, run_id: str) -> list[Path]:
        """Sample grids of a run in the order of their steps: PNG, or JPEG where published."""
        return sorted((self.folder / "runs" / run_id / "samples").glob("step_*.[pj]*"))


def load_runs(ablation: str, results: Path = RESULTS, run_id: str | None = None) -> Runs:
    """Read every run of an ablation that has begun, or the one named.

    Raises UserError where there is nothing to read, another schema version or a damaged file.
    """
    import pandas as pd

    folder = ablation_folder(ablation, results)
    plan = _plan(folder)
    begun = sorted(path.parent.name for path in folder.glob("runs/*/config.json"))
    read = [name for name in plan["runs"] or begun if name in begun and run_id in (None, name)]
    if not read:
        raise UserError(f"no runs under {folder}; `{command_for(ablation)}` makes them")
    runs = pd.DataFrame([_row(folder / "runs" / name) for name in read])
    runs = runs.reindex(columns=list(dict.fromkeys([*runs, *METRICS])))
    runs = runs.astype(dict.fromkeys(runs.columns[runs.isna().all()], float))  # None compares not
    arms = [arm for arm in plan["runs"].values() if arm in set(runs["arm"])] + [*runs["arm"]]
    labels = {arm: plan["labels"].get(arm) or arm for arm in dict.fromkeys(arms)}
    ordered = pd.CategoricalDtype(list(dict.fromkeys(labels.values())), ordered=True)
    runs.insert(KEYS.index("label"), "label", runs["arm"].map(labels).astype(ordered))
    return Runs(
        ablation=ablation,
        title=str(plan.get("title", ablation)),
        arms=tuple(labels),
        labels=labels,
        baseline=plan.get("baseline", next(iter(labels))),
        reference=read_object(folder / "reference.json") or {},
        runs=runs,
        folder=folder,
        **{name: _gather(name, runs, folder) for name in TABLES},
    )


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """metrics.json of a run, None where it has not ended; its status is one of ENDED."""
    metrics = read_object(folder / "metrics.json")
    if metrics is not None:
        status, step = metrics.get("status"), metrics.get("step")
        if status not in ENDED or type(step) is not int:
            raise damaged(folder / "metrics.json", f"status {shown(status)}, step {shown(step)}")
    return metrics


def makers(ablation: str, results: Path = RESULTS) -> "pandas.DataFrame":
    """run_id, commit, dirty, source_fingerprint: a row for each time a run of the plan went on."""
    import pandas as pd

    starts = []
    for run_id in _plan(ablation_folder(ablation, results))["runs"]:
        env = read_environment(run_folder(ablation, run_id, results))
        starts += [{"run_id": run_id} | start for start in (env, *env.get("resumed", [])) if start]
    return pd.DataFrame(starts, columns=["run_id", "commit", "dirty", "source_fingerprint"])


def _plan(folder: Path) -> dict[str, Any]:
    """plan.json with `runs` as {run_id: arm}; an ablation without one has no runs."""
    plan = {"runs": [], "labels": {}} | (read_object(folder / "plan.json") or {})
    try:
        plan["runs"] = {run["run_id"]: run["config"].get("arm") for run in plan["runs"]}
        plan["labels"] = {arm: str(label) for arm, label in plan["labels"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise damaged(folder / "plan.json", "no runs or labels as they are written") from error
    return plan


def _row(folder: Path) -> dict[str, Any]:
    """A run in one row: its configuration, what made it, and its metrics."""
    config, env = read_config(folder), read_environment(folder)
    keys = {"run_id": folder.name, "arm": config["arm"], "seed": config["seed"]}
    plain = {name: value for name, value in env.items() if not isinstance(value, dict | list)}
    metrics = read_metrics(folder) or {"status": "unfinished"}
    return keys | config | plain | metrics | _face_scores(folder / "scores.json")


def _face_scores(path: Path) -> dict[str, float]:
    """The scores FACE, where `python -m fagan evaluate --faces` left them beside the run."""
    try:
        row = next((row for row in read_json(path) or [] if "fd_face" in row), {})
        return {name: float(row[name]) for name in FACE if name in row}
    except (TypeError, ValueError) as error:
        raise damaged(path, f"no scores as `evaluate` writes them ({reason(error)})") from error


def _gather(name: str, runs: "pandas.DataFrame", folder: Path) -> "pandas.DataFrame":
    """A table of TABLES of every run, with KEYS before its own columns."""
    import pandas as pd

    tables = {run: _table(folder / "runs" / run / f"{name}.csv") for run in runs["run_id"]}
    full = {run: table for run, table in tables.items() if len(table)}  # an empty one has no types
    return runs[KEYS].merge(pd.concat(full or tables, names=["run_id"]).reset_index("run_id"))


def _table(path: Path) -> "pandas.DataFrame":
    """A table of a run; columns of a newer schema and empty cells are NaN."""
    import pandas as pd

    # pandas 3 reads every digit by itself, and deprecates being asked to
    exact = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}
    columns = TABLES[path.stem]
    try:
        packed = path.with_name(f"{path.name}.gz")  # as the longest ones are published
        content = gzip.decompress(packed.read_bytes()) if packed.exists() else b""
        text = (path.read_bytes() if path.exists() else content).decode()
        # a last line without its end is being written, or was cut short
        text = text[: text.rfind("\n") + 1] or ",".join(columns)
        # a class may be called None or NA
        missing = dict.fromkeys(columns, MISSING) | {"class_name": [""]}
        words = {"na_values": missing, "keep_default_na": False}
        frame = pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(TEXTS, str), **words, **exact)
        if not isinstance(frame.index, pd.RangeIndex):
            raise ValueError("rows are longer than its header")
        frame = frame.reindex(columns=columns)
        for column in {*columns} - {*TEXTS}:
            frame[column] = pd.to_numeric(frame[column])
        return frame
    except (ValueError, TypeError, OverflowError) as error:  # pandas' own are ValueErrors
        raise damaged(path, reason(error)) from error


def grid_step(path: Path) -> int:
    """The step in a sample grid's name."""
    return int(Path(path).stem.removeprefix("step_"))


def read_grid(path: Path, across: int = 8) -> "numpy.ndarray":
    """(64, R, R, 3) uint8 of a sample grid: 8 x 8 images of the same latents at every step."""
    import numpy as np
    from PIL import Image

    rows = np.split(np.asarray(Image.open(path).convert("RGB")), across)
    return np.concatenate([np.stack(np.split(row, across, axis=1)) for row in rows])
