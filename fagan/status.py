"""What every run of an ablation is doing, read from its records alone."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from fagan import locks
from fagan.ablations import planned
from fagan.errors import UserError, one_line
from fagan.records import (
    RESULTS,
    RUNNER_LOCK,
    TRAIN_LOCK,
    read_metrics,
    run_folder,
    whole_lines,
)

FAILED, INTERRUPTED = "failed", "interrupted"
STATES = ("running", "waiting", INTERRUPTED, "done", "diverged", FAILED)
ENDED = ("done", "diverged")


@dataclass(frozen=True)
class Progress:
    """One run. Rates and scores are None until its first row."""

    run_id: str
    state: str  # one of STATES
    step: int
    steps: int
    images_per_second: float | None
    seconds_left: float | None
    fd_lite0: float | None
    reason: str  # of a failure or a divergence
    log: Path

    def line(self) -> str:
        """`fagan-seed0  step 750/1500  420 images/s  1:05 left  fd_lite0 98.1`"""
        parts = [f"{self.run_id:<26}", f"step {self.step}/{self.steps}"]
        if self.images_per_second:
            parts.append(f"{self.images_per_second:.0f} images/s")
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        if self.fd_lite0 is not None:
            parts.append(f"fd_lite0 {self.fd_lite0:.1f}")
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def progress(ablation: str, results: Path = RESULTS) -> list[Progress]:
    """Every run of the plan, in its order."""
    return [
        _progress(
            run_folder(ablation, run_id, results), config.steps, config.n_dis * config.batch_size
        )
        for run_id, config in planned(ablation, results).items()
    ]


def _progress(folder: Path, steps: int, images_a_step: int) -> Progress:
    timing, history = _rows(folder / "timing.csv"), _rows(folder / "history.csv")
    metrics = read_metrics(folder)
    step = int(_number(timing, "step") or 0)
    rate = _number(timing, "images_per_second")
    error = folder / "error.txt"
    if metrics is not None:
        state, step = metrics["status"], metrics["step"]
        reason = one_line(str(metrics.get("reason", "")))
    elif is_running(folder):
        state, reason = "running", ""
    elif error.exists():
        reason = one_line(error.read_text(encoding="utf-8", errors="replace").strip())
        state = FAILED
    elif (folder / "config.json").exists():
        state, reason = INTERRUPTED, f"ended at step {step} without a word"
    else:
        state, reason = "waiting", ""
    running = state == "running"
    return Progress(
        run_id=folder.name,
        state=state,
        step=step,
        steps=steps,
        images_per_second=rate,
        seconds_left=(steps - step) * images_a_step / rate if rate and running else None,
        fd_lite0=_number(history, "fd_lite0"),
        reason=reason,
        log=folder / "run.log",
    )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(whole_lines(path).splitlines()))
    except (OSError, UserError, csv.Error):  # not there yet, or damaged: its reader will say so
        return []


def _number(rows: list[dict[str, str]], column: str) -> float | None:
    """The last number of a column, None where it holds none."""
    for row in reversed(rows):
        try:
            value = float(row[column])
        except (KeyError, TypeError, ValueError):  # an empty cell, or none
            continue
        if math.isfinite(value):
            return value
    return None


def is_running(folder: Path) -> bool:
    """Whether a process, here or on another node, executes or trains the run now."""
    return any(locks.holder(folder / name) for name in (RUNNER_LOCK, TRAIN_LOCK))


def summary(runs: list[Progress]) -> str:
    """`3 of 12 done, 2 running, 7 waiting`"""
    counts = {state: sum(run.state == state for run in runs) for state in STATES}
    finished = f"{counts.pop('done')} of {len(runs)} done"
    return ", ".join([finished, *(f"{n} {state}" for state, n in counts.items() if n)])
