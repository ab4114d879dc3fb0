"""What every run of an ablation is doing, read from its records alone."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from fagan import locks
from fagan.ablations import planned
from fagan.config import RunConfig
from fagan.errors import UserError, one_line, reason
from fagan.records import (
    RESULTS,
    RUNNER_LOCK,
    TRAIN_LOCK,
    ablation_folder,
    newest_rows,
    read_metrics,
    read_object,
    run_folder,
)

FAILED, INTERRUPTED = "failed", "interrupted"
STATES = ("running", "waiting", INTERRUPTED, "done", "diverged", FAILED)


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
    alpha_g: float | None = None  # the gate of largest magnitude at the last log step
    alpha_d: float | None = None
    device: str = ""

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
    return Watcher(ablation, results).look()


class Watcher:
    """Looks at an ablation again and again, and reads only what may have changed since.

    It writes nothing. plan.json is read where it is another file than at the last look, a run that
    has ended once.
    """

    def __init__(self, ablation: str, results: Path = RESULTS):
        """Raises UserError where there is no plan."""
        self.ablation, self.results = ablation, Path(results)
        self._plan, self._plan_version = planned(ablation, results), self._version_of_plan()
        self._ended: dict[str, tuple[Any, Progress]] = {}

    def look(self) -> list[Progress]:
        """Every run of the plan, in its order, as it is now."""
        version = self._version_of_plan()
        if version is not None and version != self._plan_version:
            self._plan, self._plan_version = planned(self.ablation, self.results), version
        return [self._run(run_id, config) for run_id, config in self._plan.items()]

    def _run(self, run_id: str, config: RunConfig) -> Progress:
        folder = run_folder(self.ablation, run_id, self.results)
        end = version_of(folder / "metrics.json")
        if end is not None and self._ended.get(run_id, (None,))[0] == end:
            return self._ended[run_id][1]
        now = _progress(folder, config.steps, config.n_dis * config.batch_size)
        if end is not None:
            self._ended[run_id] = end, now
        return now

    def _version_of_plan(self) -> tuple | None:
        return version_of(ablation_folder(self.ablation, self.results) / "plan.json")


def version_of(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced; None where it is not there."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _progress(folder: Path, steps: int, images_a_step: int) -> Progress:
    timing = next(newest_rows(folder / "timing.csv"), {})
    step, rate = int(_number(timing, "step") or 0), _number(timing, "images_per_second")
    state, why, metrics = _state(folder, step)
    alphas = _alphas(folder, step)
    running = state == "running"
    return Progress(
        run_id=folder.name,
        state=state,
        step=metrics.get("step", step),
        steps=steps,
        images_per_second=rate,
        seconds_left=(steps - step) * images_a_step / rate if rate and running else None,
        fd_lite0=_last_score(folder),
        reason=why,
        log=folder / "run.log",
        alpha_g=alphas.get("generator"),
        alpha_d=alphas.get("discriminator"),
        device=_device(folder),
    )


def _state(folder: Path, step: int) -> tuple[str, str, dict[str, Any]]:
    """(state, reason, metrics.json or {}) of a run that is at a step."""
    try:
        metrics = read_metrics(folder)
    except UserError as damaged:
        return FAILED, str(damaged), {}
    except OSError as error:  # being replaced on another machine, perhaps
        return INTERRUPTED, f"metrics.json cannot be read ({reason(error)})", {}
    if metrics is not None:
        return metrics["status"], one_line(str(metrics.get("reason", ""))), metrics
    if is_running(folder):
        return "running", "", {}
    error = folder / "error.txt"
    if error.exists():
        return FAILED, one_line(_text(error).strip()), {}
    if not (folder / "config.json").exists():
        return "waiting", "", {}
    if (folder / "metrics.json").exists():  # it has ended since the look above
        return _state(folder, step)
    return INTERRUPTED, f"ended at step {step} without a word", {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has begun anew meanwhile
        return ""


def _last_score(folder: Path) -> float | None:
    scores = (_number(row, "fd_lite0") for row in newest_rows(folder / "history.csv"))
    return next((score for score in scores if score is not None), None)


def _alphas(folder: Path, step: int) -> dict[str, float]:
    """network -> its alpha of largest magnitude at a log step whose rows are all written."""
    largest: dict[str, float] = {}
    rows = takewhile(
        lambda row: (_number(row, "step") or 0) >= step, newest_rows(folder / "alpha.csv")
    )
    for row in rows:
        alpha, network = _number(row, "alpha"), row.get("network", "")
        if alpha is not None and _number(row, "step") == step:
            largest[network] = max(alpha, largest.get(network, 0.0), key=abs)
    return largest


def _number(row: Mapping[str, str], column: str) -> float | None:
    """A cell's number; None where it is empty, missing or torn."""
    try:
        value = float(row.get(column, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _device(folder: Path) -> str:
    try:
        environment = read_object(folder / "env.json") or {}
    except (OSError, UserError):  # between two versions, on another machine's file system
        return ""
    return one_line(str(environment.get("device", "")))[:20]


def is_running(folder: Path) -> bool:
    """Whether a process, here or on another node, executes or trains the run now."""
    return any(locks.holder(folder / name) for name in (RUNNER_LOCK, TRAIN_LOCK))


def summary(runs: list[Progress]) -> str:
    """`3 of 12 done, 2 running, 7 waiting`"""
    counts = {state: sum(run.state == state for run in runs) for state in STATES}
    finished = f"{counts.pop('done')} of {len(runs)} done"
    return ", ".join([finished, *(f"{n} {state}" for state, n in counts.items() if n)])
