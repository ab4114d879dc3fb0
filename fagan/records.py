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

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fagan.config import DEFAULTS, RunConfig, UserError
from fagan.files import replacing

if TYPE_CHECKING:
    import pandas

# 2 added the instruments: columns and files that a reader finds empty in records of schema 1
SCHEMA, READS = 2, (1, 2)
# Scores are empty at log steps without an evaluation; coherence and signal exist for faces only.
SCORES = (
    "fd_lite0",
    "kid_lite0",
    "kid_lite0_std",
    "coherence_eyes",
    "coherence_outfit",
    "signal_eyes",
    "signal_outfit",
)
HISTORY = (
    "step",
    "images_seen",
    "loss_d",
    "loss_g",
    "d_real",
    "d_fake",
    "gradient_norm_d",  # of all weights, at the log step itself
    "gradient_norm_g",
    *SCORES,
)
# Instruments on a fixed batch, in eval mode; gradient: of the loss by alpha, at that very step.
ALPHA = (
    "step",
    "images_seen",
    "network",
    "layer",
    "alpha",
    "gradient",
    "attention_energy",
    "convolution_energy",
    "attention_share",
    "entropy",
    "entropy_share",
    "distance",
)
SPECTRAL = ("step", "images_seen", "network", "layer", "spectral_norm")
TIMING = ("step", "seconds", "images_per_second")
INTERVENTIONS = ("layer", "intervention", "fd", "change", "n_fake")
# tables that grow during a run, each with the step in its first column
GROWING = {"history": HISTORY, "alpha": ALPHA, "spectral": SPECTRAL, "timing": TIMING}
TABLES = GROWING | {"interventions": INTERVENTIONS}

# of a run that is under way: its last two states, and the process that runs it
CHECKPOINTS, RUNNING = ("checkpoint.pt", "previous-checkpoint.pt"), "running"

RESULTS = Path("results")


def ablation_folder(ablation: str, results: Path = RESULTS) -> Path:
    return Path(results) / ablation


def run_folder(ablation: str, run_id: str, results: Path = RESULTS) -> Path:
    return ablation_folder(ablation, results) / "runs" / run_id


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Atomic; a NaN or an infinity becomes null: missing stays missing."""
    write_text(path, json.dumps(_finite(value), indent=1, allow_nan=False) + "\n")


def _finite(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def read_json(path: Path) -> Any:
    """The file's value, None where there is no file; UserError where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}); delete it and run again") from error


class RunRecord:
    """The writer of one run directory."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.samples = self.folder / "samples"
        self.weights = self.folder / "generator.safetensors"
        self.discriminator = self.folder / "discriminator.safetensors"
        self.checkpoints = tuple(self.folder / name for name in CHECKPOINTS)

    def begin(
        self,
        config: RunConfig,
        environment: Mapping[str, Any],
        resumed: bool = False,
        step: int = 0,
    ) -> None:
        """Write config.json and env.json, and drop rows after `step`, or all of a run begun anew.

        Refuses another configuration's directory. A resumed run keeps its env.json and adds to its
        list `resumed` the step, commit and source fingerprint with which it goes on.
        """
        refuse_other_config(self.folder, config)
        self.samples.mkdir(parents=True, exist_ok=True)
        before = read_json(self.folder / "env.json") if resumed else None
        if before:
            if before.get("schema") != SCHEMA:  # its tables have other columns
                raise UserError(
                    f"{self.folder} was begun by code that wrote schema {before.get('schema')}, "
                    f"this one writes {SCHEMA}; delete the folder to run it anew"
                )
            again = {k: environment.get(k) for k in ("commit", "dirty", "source_fingerprint")}
            again["step"] = step
            environment = before | {"resumed": [*before.get("resumed", []), again]}
        write_json(self.folder / "config.json", config.identity())
        write_json(self.folder / "env.json", {"schema": SCHEMA, **environment})
        self.truncate(step if resumed else -1)

    def append(self, name: str, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to a CSV of the run, its header first where it is new."""
        path = self.folder / name
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, tuple(columns), restval="", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)

    def history(self, **row: Any) -> None:
        self.append("history.csv", HISTORY, [row])

    def alpha(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.append("alpha.csv", ALPHA, rows)

    def spectral(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.append("spectral.csv", SPECTRAL, rows)

    def timing(self, **row: Any) -> None:
        self.append("timing.csv", TIMING, [row])

    def interventions(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Written once, whole: a run that is repeated at its end writes the same again."""
        (self.folder / "interventions.csv").unlink(missing_ok=True)
        self.append("interventions.csv", INTERVENTIONS, rows)

    def truncate(self, step: int) -> None:
        """Drop rows after `step` (-1: all of them) and a line that a crash cut short."""
        for name, columns in GROWING.items():
            path = self.folder / f"{name}.csv"
            if step < 0 or not path.exists():
                path.unlink(missing_ok=True)
                continue
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [
                line
                for line in lines[1:]
                if line.endswith("\n")
                and line.count(",") == len(columns) - 1
                and int(line.split(",", 1)[0]) <= step
            ]
            write_text(path, "".join([lines[0], *kept]))
        if step < 0:
            ends = ("metrics.json", "interventions.csv", self.weights.name, self.discriminator.name)
            for name in ends:
                (self.folder / name).unlink(missing_ok=True)
            for sample in self.samples.glob("step_*.png"):
                sample.unlink()

    def drop_checkpoints(self) -> None:
        """Nothing will have to be continued."""
        for path in self.checkpoints:
            path.unlink(missing_ok=True)

    def finish(self, status: str, **metrics: Any) -> None:
        """Write metrics.json: `done`, or `diverged` with the step at which it did."""
        write_json(self.folder / "metrics.json", {"schema": SCHEMA, "status": status, **metrics})


def refuse_other_config(folder: Path, config: RunConfig) -> None:
    """UserError naming the first field in which the recorded configuration differs."""
    recorded = read_json(Path(folder) / "config.json")
    if recorded is None:
        return
    wanted = config.identity()
    # a field that is newer than the record had its default then
    recorded = {k: v for k, v in DEFAULTS.items() if k in wanted} | recorded
    for key in sorted(recorded.keys() | wanted.keys()):
        old, new = recorded.get(key), wanted.get(key)
        if old != new:
            raise UserError(
                f"{folder} was recorded with {key}={old!r}, now {key}={new!r} is asked for; "
                "ask for the recorded value, move the folder away, or delete it to run anew"
            )


@dataclass(frozen=True)
class Runs:
    """All records of one ablation as tidy tables.

    runs     one row per run: run_id, arm, seed, label, status, every configuration field and metric
    history  run_id, arm, seed + HISTORY: losses at log steps, scores where evaluated (else NaN)
    alpha    run_id, arm, seed + ALPHA
    spectral run_id, arm, seed + SPECTRAL
    timing   run_id, arm, seed + TIMING
    interventions   run_id, arm, seed + INTERVENTIONS
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


def load_runs(ablation: str, results: Path = RESULTS, run_id: str | None = None) -> Runs:
    """Read every run of an ablation that has begun, or the one named.

    Raises UserError where there is no such ablation, nothing to read, or another schema version.
    """
    import pandas as pd

    folder = ablation_folder(ablation, results)
    plan = read_json(folder / "plan.json") or {}
    asked = [run["run_id"] for run in plan.get("runs", [])]
    begun = sorted(path.parent.name for path in folder.glob("runs/*/config.json"))
    ids = [i for i in asked if i in begun] if asked else begun
    if run_id is not None:
        ids = [i for i in begun if i == run_id]
    if not ids:
        raise UserError(f"no runs under {folder}; `make ablations ABLATION={ablation}` makes them")
    rows, tables = [], {name: [] for name in TABLES}
    # pandas 3 reads every digit by itself, and deprecates being asked to
    exact = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}
    for run_id in ids:
        run = folder / "runs" / run_id
        config, env = read_json(run / "config.json"), read_json(run / "env.json") or {}
        metrics = read_json(run / "metrics.json")
        if env.get("schema", SCHEMA) not in READS:
            raise UserError(
                f"{run} holds records of schema {env['schema']}, this code reads up to {SCHEMA}; "
                "check out the commit in its env.json, or move the run away and run it anew"
            )
        key = {"run_id": run_id, "arm": config["arm"], "seed": config["seed"]}
        flat = {k: v for k, v in env.items() if not isinstance(v, dict | list)}
        rows.append(key | config | flat | (metrics or {"status": "unfinished"}))
        for name, frames in tables.items():
            path = run / f"{name}.csv"
            if path.exists():
                frame = pd.read_csv(path, **exact)
                if frame.empty:  # a network without gates; an empty column has no type
                    continue
                frame = frame.reindex(columns=TABLES[name])
                for column, value in reversed(key.items()):
                    frame.insert(0, column, value)
                frames.append(frame)
    frames = {
        name: pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=[*key, *columns])
        for (name, parts), columns in zip(tables.items(), TABLES.values(), strict=True)
    }
    arms = tuple(dict.fromkeys(row["arm"] for row in rows))
    labels = {arm: plan.get("labels", {}).get(arm) or arm_label(arm) for arm in arms}
    for row in rows:
        row["label"] = labels[row["arm"]]
    return Runs(
        ablation=ablation,
        title=plan.get("title", ablation),
        arms=arms,
        labels=labels,
        baseline=plan.get("baseline", arms[0]),
        reference=read_json(folder / "reference.json") or {},
        runs=pd.DataFrame(rows),
        folder=folder,
        **frames,
    )
