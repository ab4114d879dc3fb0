"""The writer of a run directory."""

import csv
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fagan.config import DEFAULTS, RunConfig
from fagan.errors import UserError, shown
from fagan.records.files import read_object, write_json, write_text
from fagan.records.schema import (
    ALPHA,
    CHECKPOINTS,
    GROWING,
    HISTORY,
    INTERVENTIONS,
    SCHEMA,
    SPECTRAL,
    TIMING,
)

# what a resumed run notes anew, beside the step at which it goes on
RESUMED = (
    "commit",
    "dirty",
    "source_fingerprint",
    "processor",
    "device",
    "device_name",
    "fp32_matmul",
)


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

        Refuses another configuration's directory, and to go on with other images. A resumed run
        keeps its env.json and adds to its list `resumed` with what it goes on, and at which step.
        """
        refuse_other_config(self.folder, config)
        self.samples.mkdir(parents=True, exist_ok=True)
        before = read_object(self.folder / "env.json") if resumed else None
        if before:
            if before.get("schema") != SCHEMA:  # its tables have other columns
                raise UserError(
                    f"{self.folder} was begun by code that wrote schema {before.get('schema')}, "
                    f"this one writes {SCHEMA}; delete the folder to run it anew"
                )
            for name in ("data_checksum", "reference_checksum"):
                if before.get(name) != environment.get(name):
                    raise UserError(
                        f"{self.folder} was begun on other images ({name} {before.get(name)}, now "
                        f"{environment.get(name)}); bring them back, or delete the folder to run "
                        "it anew"
                    )
            again = {name: environment.get(name) for name in RESUMED} | {"step": step}
            environment = before | {"resumed": [*before.get("resumed", []), again]}
        write_json(self.folder / "config.json", config.identity())
        write_json(self.folder / "env.json", {"schema": SCHEMA, **environment})
        self.truncate(step if resumed else -1)

    def append(self, name: str, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to a CSV of the run, its header first where it is new."""
        path = self.folder / name
        new = not path.exists() or not path.stat().st_size  # killed between the two
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
            # after a power cut the tail may hold anything
            text = path.read_text(encoding="utf-8", errors="replace")
            head, *lines = text.splitlines(keepends=True) or [""]
            if not head.endswith("\n"):
                path.unlink()
                continue
            kept = [line for line in lines if _is_row(line, len(columns), step)]
            write_text(path, head + "".join(kept))
        if step < 0:
            ends = ("metrics.json", "interventions.csv", self.weights.name, self.discriminator.name)
            for name in ends:
                (self.folder / name).unlink(missing_ok=True)
            for sample in self.samples.glob("step_*.png"):
                sample.unlink()

    def reopen(self) -> None:
        """Take metrics.json back where a checkpoint is left.

        Such a run was killed, or failed, while its notebook drew figures: it goes on from there.
        """
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


def _is_row(line: str, columns: int, last_step: int) -> bool:
    """Whether a line is a whole row of a step up to the last."""
    step, _, _ = line.partition(",")
    whole = line.endswith("\n") and line.count(",") == columns - 1
    return whole and step.isascii() and step.isdigit() and int(step) <= last_step


def refuse_other_config(folder: Path, config: RunConfig) -> None:
    """UserError naming the first field in which the recorded configuration differs."""
    recorded = read_object(Path(folder) / "config.json")
    if recorded is None:
        return
    wanted = config.identity()
    # a field that is newer than the record had its default then
    recorded = {k: v for k, v in DEFAULTS.items() if k in wanted} | recorded
    for key in sorted(recorded.keys() | wanted.keys()):
        old, new = recorded.get(key), wanted.get(key)
        if old != new:
            raise UserError(
                f"{folder} was recorded with {key}={shown(old)}, now {key}={shown(new)} is asked "
                "for; ask for the recorded value, move the folder away, or delete it to run anew"
            )
