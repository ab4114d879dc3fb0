"""The run directory: the schema, one writer, one reader. docs/records.md explains every column.

results/<ablation>/plan.json        what was asked for (this machine's paths included)
                   reference.json   the real data: checksum, split, real-against-real floor
                   runs/<run_id>/   config.json, env.json, tables, samples, networks;
                                    metrics.json last and atomically: it says that a run is done
"""

import csv
import gzip
import io
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fagan.config import RunConfig, read_config, refuse_other_config
from fagan.environment import SCHEMA, continued, read_environment
from fagan.errors import UserError, reason, shown
from fagan.files import PUBLISHED as PUBLISHED
from fagan.files import (
    RESULTS,
    ablation_folder,
    command_for,
    damaged,
    read_object,
    run_folder,
    write_json,
    write_text,
)
from fagan.files import read_json as read_json

if TYPE_CHECKING:
    import numpy
    import pandas

SCORES = (
    *("fd_lite0", "kid_lite0", "kid_lite0_std"),
    *("coherence_eyes", "coherence_outfit", "signal_eyes", "signal_outfit"),  # of faces only
)
HISTORY = (
    *("step", "images_seen", "loss_d", "loss_g", "d_real", "d_fake"),
    *("gradient_norm_d", "gradient_norm_g", *SCORES),
)
ALPHA = (
    *("step", "images_seen", "network", "layer", "alpha", "gradient", "attention_energy"),
    *("convolution_energy", "attention_share", "entropy", "entropy_share", "distance"),
)
SPECTRAL = ("step", "images_seen", "network", "layer", "spectral_norm")
TIMING = ("step", "seconds", "images_per_second")
TIES = ("step", "distance", "coherence", "signal")  # of data=ties only
INTERVENTIONS = ("layer", "intervention", "fd", "change", "n_fake")
CLOSED_TIES = ("layer", "intervention", "distance", "coherence", "signal")  # of data=ties only
CLASSES = ("class_name", "fd_lite0", "recognised", "recognised_real", "n_fake", "n_real")
# tables that grow during a run, each with the step in its first column
GROWING = {"history": HISTORY, "alpha": ALPHA, "spectral": SPECTRAL, "timing": TIMING, "ties": TIES}
ENDING = {"interventions": INTERVENTIONS, "closed_ties": CLOSED_TIES, "classes": CLASSES}
TABLES = GROWING | ENDING
TEXTS = (
    "network",
    "layer",
    "intervention",
    "class_name",
)  # the columns of TABLES that hold no numbers
METRICS = (*SCORES, "step", "images_seen", "reason")  # in every frame of runs
_MISSING = ["", "nan", "NaN", "None", "NA", "N/A", "null", "NULL"]  # as a cell of numbers says it
KEYS = ["run_id", "arm", "seed", "label"]  # the first columns of every frame
ENDED = ("done", "diverged")
# of a run under way: its last two states, the locks of its notebook and of that notebook's kernel
CHECKPOINTS = ("checkpoint.pt", "previous-checkpoint.pt")
RUNNER_LOCK, TRAIN_LOCK = "run.lock", "train.lock"
WORKFLOW_LOCK = "workflow.lock"  # of the ablation: the command that does what is left of it


class RunRecord:
    """The writer of one run directory."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.samples = self.folder / "samples"
        self.weights = self.folder / "generator.safetensors"
        self.discriminator = self.folder / "discriminator.safetensors"
        self.class_sheet = self.folder / "classes.png"
        self.checkpoints = tuple(self.folder / name for name in CHECKPOINTS)

    def begin(self, config: RunConfig, environment: Mapping, resumed=False, step: int = 0) -> None:
        """Write config.json and env.json, and drop rows after `step`, or all of a run begun anew.

        Refuses another configuration's directory, and to go on with other images. A resumed run
        keeps its env.json and adds to its list `resumed` with what it goes on, and at which step.
        """
        refuse_other_config(self.folder, config)
        self.samples.mkdir(parents=True, exist_ok=True)
        before = read_object(self.folder / "env.json") if resumed else None
        if before:
            environment = continued(self.folder, before, environment, step)
        write_json(self.folder / "config.json", config.identity())
        write_json(self.folder / "env.json", {"schema": SCHEMA, **environment})
        self.truncate(step if resumed else -1)

    def append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to a table of TABLES, its header first where it is new."""
        path = self.folder / f"{name}.csv"
        new = not path.exists() or not path.stat().st_size  # killed between the two
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, TABLES[name], restval="", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)

    def interventions(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Written once, whole: a run that is repeated at its end writes the same again.

        interventions.csv holds the Fréchet distances, closed_ties.csv the coherences.
        """
        rows = list(rows)
        for name in ("interventions", "closed_ties"):
            (self.folder / f"{name}.csv").unlink(missing_ok=True)
        self.append("interventions", [{k: row.get(k, "") for k in INTERVENTIONS} for row in rows])
        place = ("layer", "intervention")
        if ties := [r for row in rows for r in tied({k: row.get(k) for k in place}, row)]:
            self.append("closed_ties", ties)

    def classes(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """classes.csv, written once and whole; none of a run without class labels."""
        (self.folder / "classes.csv").unlink(missing_ok=True)
        if rows := list(rows):
            self.append("classes", rows)

    def truncate(self, step: int) -> None:
        """Drop rows after `step` (-1: all of them) and a line that a crash cut short."""
        for name, columns in GROWING.items():
            path, text = self.folder / f"{name}.csv", ""
            whole = re.compile(r"([0-9]{1,18})" + r",[^,\n]*" * (len(columns) - 1) + r"\n")
            if step >= 0 and path.exists():  # after a power cut the tail may hold anything
                text = path.read_text(encoding="utf-8", errors="replace")
            head, *lines = text.splitlines(keepends=True) or [""]
            if head.endswith("\n"):
                rows = [(whole.fullmatch(line), line) for line in lines]
                kept = [line for row, line in rows if row and int(row[1]) <= step]
                write_text(path, head + "".join(kept))
            else:
                path.unlink(missing_ok=True)
        if step < 0:
            ends = "metrics.json", *(f"{name}.csv" for name in ENDING)
            ends = *(self.folder / name for name in ends), self.weights, self.discriminator
            ends = *ends, self.class_sheet
            for path in (*ends, *self.samples.glob("step_*.png")):
                path.unlink(missing_ok=True)

    def reopen(self) -> None:
        """Take metrics.json back where a checkpoint is left: its notebook was not done."""
        if any(path.exists() for path in self.checkpoints):
            (self.folder / "metrics.json").unlink(missing_ok=True)

    def sync(self) -> None:
        """Put the growing tables on disk: a checkpoint must not outlive the rows before it."""
        for name in GROWING:
            with suppress(FileNotFoundError), (self.folder / f"{name}.csv").open("rb") as file:
                os.fsync(file.fileno())

    def drop_checkpoints(self) -> None:
        """Nothing will have to be continued. The last one goes last: it costs least to redo."""
        for path in reversed(self.checkpoints):
            path.unlink(missing_ok=True)

    def finish(self, status: str, **metrics: Any) -> None:
        """Write metrics.json: `done`, or `diverged` with the step at which it did."""
        write_json(self.folder / "metrics.json", {"schema": SCHEMA, "status": status, **metrics})


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

    def samples(self, run_id: str) -> list[Path]:
        """Sample grids of a run in the order of their steps."""
        return sorted((self.folder / "runs" / run_id / "samples").glob("step_*.png"))


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


def tied(place: Mapping[str, Any], scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row of ties.csv or closed_ties.csv for each distance of which the scores hold a coherence.

    place: what stands before, the step or the layer and the intervention.
    """
    distances = sorted(int(name[10:]) for name in scores if re.fullmatch(r"coherence_\d+", name))
    return [
        {**place, "distance": d, "coherence": scores[f"coherence_{d}"]}
        | {"signal": scores[f"signal_{d}"]}
        for d in distances
    ]


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
    return keys | config | plain | (read_metrics(folder) or {"status": "unfinished"})


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
        missing = dict.fromkeys(columns, _MISSING) | {"class_name": [""]}
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
