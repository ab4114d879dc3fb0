"""The one writer of a run directory."""

import csv
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fagan.config import RunConfig, refuse_other_config
from fagan.environment import SCHEMA, continued
from fagan.files import read_object, write_json, write_text
from fagan.records.schema import CHECKPOINTS, ENDING, GROWING, INTERVENTIONS, TABLES


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
