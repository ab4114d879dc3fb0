"""The reader: all records of an ablation as tidy tables."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fagan.errors import UserError
from fagan.files import folder_name
from fagan.records.checks import read_config, read_environment, read_metrics
from fagan.records.files import damaged, read_object
from fagan.records.gathering import gather
from fagan.records.schema import RESULTS, TABLES, ablation_folder, command_for

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Runs:
    """All records of one ablation as tidy tables.

    runs     one row per run: run_id, arm, seed, label, status, every configuration field and metric
    history  run_id, arm, seed, label + HISTORY: losses at log steps, scores where evaluated
    alpha    run_id, arm, seed, label + ALPHA
    spectral run_id, arm, seed, label + SPECTRAL
    timing   run_id, arm, seed, label + TIMING
    interventions   run_id, arm, seed, label + INTERVENTIONS

    `label` is an ordered Categorical, the arms as the experiment table has them: seaborn draws and
    pandas groups (observed=True) in this order.
    """

    ablation: str
    title: str
    arms: tuple[str, ...]
    labels: dict[str, str]
    baseline: str
    reference: dict[str, Any]
    runs: "pandas.DataFrame"
    history: "pandas.DataFrame"
    alpha: "pandas.DataFrame"
    spectral: "pandas.DataFrame"
    timing: "pandas.DataFrame"
    interventions: "pandas.DataFrame"
    folder: Path

    @property
    def finished(self) -> "pandas.DataFrame":
        """The rows of `runs` that have a final score: status done."""
        return self.runs[self.runs["status"] == "done"]

    @property
    def gates(self) -> "pandas.DataFrame":
        """The rows of `alpha` that have one: a layer that concatenates its paths has none."""
        return self.alpha[self.alpha["alpha"].notna()]

    def samples(self, run_id: str) -> list[Path]:
        """Sample grids of a run in the order of their steps."""
        return sorted((self.folder / "runs" / run_id / "samples").glob("step_*.png"))


# What a reader sees where the experiment table gives an arm no label.
LABELS = {
    "dcgan": "DCGAN",
    "dcgan-wide": "DCGAN wide",
    "sagan": "SAGAN",
    "sagan-wide": "SAGAN wide",
    "sagan-1": "SAGAN one-layer",
    "fagan": "FAGAN",
    "fagan-pure": "FAGAN pure",
}


def arm_label(arm: str) -> str:
    """The label of a named architecture, of its relativistic variant, else the arm itself."""
    base = arm.removesuffix("-relativistic")
    return LABELS.get(base, base) + (" relativistic" if base != arm else "")


def _labels(arms: tuple[str, ...], given: dict[str, str]) -> dict[str, str]:
    """What a reader sees for every arm; two arms never share it."""
    labels = {arm: given.get(arm) or arm_label(arm) for arm in arms}
    shared = [label for label, times in Counter(labels.values()).items() if times > 1]
    return {arm: f"{t} ({arm})" if t in shared else t for arm, t in labels.items()}


def load_runs(ablation: str, results: Path = RESULTS, run_id: str | None = None) -> Runs:
    """Read every run of an ablation that has begun, or the one named.

    Raises UserError where there is no such ablation, nothing to read, or another schema version.
    """
    import pandas as pd

    folder = ablation_folder(ablation, results)
    plan = _plan(folder / "plan.json")
    asked = [run["run_id"] for run in plan["runs"]]
    begun = sorted(path.parent.name for path in folder.glob("runs/*/config.json"))
    ids = begun
    if run_id is not None:
        ids = [i for i in begun if i == run_id]
    elif asked:
        there = set(begun)
        ids = [i for i in asked if i in there]
    if not ids:
        raise UserError(f"no runs under {folder}; `{command_for(ablation)}` makes them")
    rows, keys = [], {}
    for run_id in ids:
        run = folder / "runs" / folder_name("run", run_id)
        config, env = read_config(run), read_environment(run)
        metrics = read_metrics(run)
        keys[run] = {"run_id": run_id, "arm": config["arm"], "seed": config["seed"]}
        flat = {k: v for k, v in env.items() if not isinstance(v, dict | list)}
        rows.append(keys[run] | config | flat | (metrics or {"status": "unfinished"}))
    frames = {
        name: gather({run / f"{name}.csv": key for run, key in keys.items()}, name)
        for name in TABLES
    }
    order = [*(run["config"].get("arm") for run in plan["runs"]), *(row["arm"] for row in rows)]
    begun_arms = {row["arm"] for row in rows}
    arms = tuple(arm for arm in dict.fromkeys(order) if arm in begun_arms)
    labels = _labels(arms, plan["labels"])
    frames["runs"] = pd.DataFrame(rows)
    for frame in frames.values():
        label = pd.Categorical(frame["arm"].map(labels), list(labels.values()), ordered=True)
        frame.insert(3, "label", label)
    return Runs(
        ablation=ablation,
        title=plan.get("title", ablation),
        arms=arms,
        labels=labels,
        baseline=plan.get("baseline", arms[0]),
        reference=_reference(folder / "reference.json"),
        folder=folder,
        **frames,
    )


def makers(ablation: str, results: Path = RESULTS) -> "pandas.DataFrame":
    """What made every run of the plan: a row per run and per start of it.

    run_id, commit, dirty, source_fingerprint; a run that was interrupted has a row for every time
    that it went on.
    """
    import pandas as pd

    columns = ["run_id", "commit", "dirty", "source_fingerprint"]
    folder, rows = ablation_folder(ablation, results), []
    for run in _plan(folder / "plan.json")["runs"]:
        path = folder / "runs" / folder_name("run", run["run_id"])
        env = read_environment(path)
        again = env.get("resumed", [])
        if not isinstance(again, list) or not all(isinstance(start, dict) for start in again):
            raise damaged(path / "env.json", "resumed is no list of starts")
        rows += [{"run_id": run["run_id"]} | start for start in (env, *again) if start]
    return pd.DataFrame(rows, columns=columns)


def _plan(path: Path) -> dict[str, Any]:
    """plan.json with the types that a reader relies on; an ablation without one has no runs."""
    plan = {"runs": [], "labels": {}} | (read_object(path) or {})
    runs, labels = plan["runs"], plan["labels"]
    texts = [*labels.values(), plan.get("title", "")] if isinstance(labels, dict) else [None]
    named = isinstance(runs, list) and all(
        isinstance(run, dict)
        and isinstance(run.get("run_id"), str)
        and isinstance(run.get("config"), dict)
        for run in runs
    )
    if not named or not all(isinstance(text, str) for text in texts):
        raise damaged(path, "its runs, labels or title are not what was written")
    return plan


def _reference(path: Path) -> dict[str, Any]:
    """reference.json; {} where there is none. The floors in it are objects of plain values."""
    reference = read_object(path) or {}
    for name, value in reference.items():
        inner = value.values() if isinstance(value, dict) else [value]
        floor = name in ("track", "final")
        if floor != isinstance(value, dict) or any(isinstance(v, dict | list) for v in inner):
            raise damaged(path, f"{name} is not what was written")
    return reference
