"""What every run of an ablation is doing, and at the end what became of it: one table.

It reads records and writes nothing, so it may look from anywhere that sees the results folder: from
another terminal, from a cluster's login node.
"""

import csv
import math
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fagan import locks, pages, workflow
from fagan.ablations import planned
from fagan.config import RunConfig
from fagan.errors import UserError, one_line, reason
from fagan.records import (
    ENDED,
    RESULTS,
    RUNNER_LOCK,
    TRAIN_LOCK,
    ablation_folder,
    read_metrics,
    read_object,
    run_folder,
)

# what a reader must see first; where not all runs fit, the last of these are counted
STYLES = {
    "running": "green",
    "failed": "red",
    "interrupted": "yellow",
    "diverged": "magenta",
    "waiting": "",
    "done": "",
}
REFRESH, REPORT_EVERY = 2.0, 30.0  # seconds between looks, and between lines of a log
ROWS = 40  # of an ablation where there is no terminal whose height could say
NARROW = 110  # cells; a terminal of fewer shows the columns that matter most
_NO_ROOM = 2**20  # bytes


@dataclass(frozen=True)
class Progress:
    """One run; NaN where nothing was measured yet."""

    run_id: str
    state: str  # one of STYLES
    steps: int
    step: int = 0
    rate: float = math.nan  # images a second
    left: float = math.nan  # seconds
    score: float = math.nan  # fd_lite0
    alphas: tuple[float, float] = (math.nan, math.nan)  # generator's and discriminator's largest
    device: str = ""
    reason: str = ""  # of a failure or a divergence
    log: Path = Path()


def progress(ablation: str, results: Path = RESULTS) -> list[Progress]:
    """Every run of the plan, in its order. Raises UserError where there is no plan."""
    runs = planned(ablation, results).items()
    return [_progress(run_folder(ablation, run_id, results), config) for run_id, config in runs]


def _progress(folder: Path, config: RunConfig) -> Progress:
    state, why, metrics = _state(folder)
    seen = {"run_id": folder.name, "state": state, "steps": config.steps}
    seen |= {"reason": one_line(why), "log": folder / "run.log"}
    if metrics:
        return Progress(**seen, step=metrics["step"], score=_number(metrics, "fd_lite0"))
    history, timing = _rows(folder / "history.csv"), _rows(folder / "timing.csv")[-1:]
    step = int(next((_number(row, "step") for row in timing), 0))
    rate = next((_number(row, "images_per_second") for row in timing), math.nan)
    if state == "interrupted" and not why:
        seen["reason"] = f"ended at step {step} without a word"
    if state == "running" and rate > 0:
        seen["left"] = (config.steps - step) * config.n_dis * config.batch_size / rate
    scores = [_number(row, "fd_lite0") for row in history]
    scores = [score for score in scores if math.isfinite(score)] or [math.nan]
    gates = [row for row in _rows(folder / "alpha.csv") if _number(row, "step") == step]
    alphas = tuple(_largest(gates, network) for network in ("generator", "discriminator"))
    device = _device(folder)
    return Progress(**seen, step=step, rate=rate, score=scores[-1], alphas=alphas, device=device)


def _state(folder: Path) -> tuple[str, str, dict]:
    """(state, reason, metrics.json or {}) of a run."""
    try:
        metrics = read_metrics(folder)
    except UserError as damaged:
        return "failed", str(damaged), {}
    except OSError as error:  # being replaced on another machine, perhaps
        return "interrupted", f"metrics.json cannot be read ({reason(error)})", {}
    if metrics is not None:
        return metrics["status"], str(metrics.get("reason", "")), metrics
    if any(locks.holder(folder / name) for name in (RUNNER_LOCK, TRAIN_LOCK)):
        return "running", "", {}
    if why := _text(folder / "error.txt").strip():
        return "failed", why, {}
    if (folder / "metrics.json").exists():  # it has ended since the look above
        return _state(folder)
    return ("interrupted" if (folder / "config.json").exists() else "waiting"), "", {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not there, or it has begun anew meanwhile
        return ""


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table that a run is writing; its last line may be half there."""
    return list(csv.DictReader(_text(path).replace("\0", "").rpartition("\n")[0].splitlines()))


def _number(row: dict, column: str) -> float:
    """A cell's number; NaN where it is empty, missing or torn."""
    try:
        return float(row.get(column, ""))
    except (TypeError, ValueError):
        return math.nan


def _largest(rows: Sequence[dict], network: str) -> float:
    alphas = [_number(row, "alpha") for row in rows if row.get("network") == network]
    return max(alphas, key=abs, default=math.nan)


def _device(folder: Path) -> str:
    try:
        return one_line(str((read_object(folder / "env.json") or {}).get("device", "")))[:20]
    except (OSError, UserError):  # between two versions, on another machine's file system
        return ""


def summary(runs: Sequence[Progress]) -> str:
    """`3 of 12 done, 2 running, 7 waiting`"""
    counts = Counter(run.state for run in runs)
    others = [f"{counts[state]} {state}" for state in STYLES if counts[state] and state != "done"]
    return ", ".join([f"{counts['done']} of {len(runs)} done", *others])


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def table(runs: Sequence[Progress], rows: int | None = None, wide: bool = True) -> Group:
    """The runs, what is active or went wrong first; those beyond so many rows are counted."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    heads = ["run", "state", "step", "left", "fd_lite0"]
    heads += ["images/s", "alpha G", "alpha D", "device"] if wide else []
    for head in heads:
        shown.add_column(
            head, justify="left" if head in ("run", "state") else "right", no_wrap=True
        )
    shown.add_column("why", overflow="fold")
    order = sorted(runs, key=lambda run: list(STYLES).index(run.state))
    kept = order if rows is None or len(order) <= rows else order[: max(rows - 1, 0)]
    for run in kept:
        cells = [run.run_id, run.state, f"{run.step:,}/{run.steps:,}"]
        cells += ["" if math.isnan(run.left) else duration(run.left), _said(run.score, ",.1f")]
        if wide:
            cells += [_said(run.rate, ",.0f"), *(_said(a, "+.3f") for a in run.alphas), run.device]
        why = f"{run.reason}  {run.log}" if run.reason and run.log.exists() else run.reason
        shown.add_row(*map(Text, (*cells, why)), style=STYLES[run.state])
    rest = Counter(run.state for run in order[len(kept) :])
    words = ", ".join(f"{n} {state}" for state, n in rest.items())
    return Group(*([shown] if kept else []), *([Text(f"and {words}")] if rest else []))


def _said(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def show(
    ablations: Sequence[str], results: Path = RESULTS, once: bool = False, every_run: bool = False
) -> None:
    """Print the status of ablations; on a terminal follow it until every run has ended or Ctrl-C.

    Leaving with Ctrl-C is no failure: the runs go on.
    """
    console = _console()
    if console.is_terminal and not (once or every_run):
        with suppress(KeyboardInterrupt):
            _follow(console, ablations, results, lambda ended: ended)
    else:
        console.print(_look(ablations, results, console, None if every_run else ROWS)[0])


def watch(process: subprocess.Popen, ablation: str, results: Path = RESULTS) -> None:
    """Show a workflow until it has ended: live, or without a terminal a line now and then."""
    console, began, said = _console(), time.monotonic(), 0.0
    if console.is_terminal:
        _follow(console, [ablation], results, lambda _: process.poll() is not None)
    while process.poll() is None:
        if time.monotonic() - said >= REPORT_EVERY:
            said = time.monotonic()
            runs = progress(ablation, results)
            print(f"{duration(said - began)}  {summary(runs)}", flush=True)
        time.sleep(0.5)


def _follow(console: Console, ablations: Sequence[str], results: Path, over) -> None:
    """The table, live, until over(whether every run has ended)."""
    rows, began = console.height // len(ablations), time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            note = f"  {duration(time.monotonic() - began)}"
            seen, ended = _look(ablations, results, console, rows, note)
            live.update(seen, refresh=True)
            if over(ended):
                break
            time.sleep(REFRESH)
    console.print(seen)


def _look(
    ablations: Sequence[str], results: Path, console: Console, rows: int | None, note: str = ""
) -> tuple[Group, bool]:
    """(what to show, whether every run has ended)."""
    looks = [(name, progress(name, results)) for name in ablations]
    ended = all(run.state in (*ENDED, "failed") for _, runs in looks for run in runs)
    rows = rows and max(rows - 5, 1)  # the heads and the cursor
    parts = []
    for name, runs in looks:
        parts.append(Text(f"{name}: {summary(runs)}{note}", style="bold"))
        parts.append(table(runs, rows, console.width >= NARROW))
    return Group(*parts), ended


def _console() -> Console:
    console = Console(highlight=False)
    # a pipe has no width to keep to
    return console if console.is_terminal else Console(highlight=False, width=10_000)


def conclude(code: int, ablation: str, results: Path = RESULTS) -> int:
    """Print what is done, failed and left, with reasons and logs; the command's exit code.

    0 where every run has ended (a diverged run is a result) and every page was made, else 1.
    `code` is the workflow's.
    """
    runs, folder = progress(ablation, results), ablation_folder(ablation, results)
    print(f"{ablation}: {summary(runs)}")
    unlike = [run for run in runs if run.state != "done"]
    if unlike:
        _console().print(table(unlike, 20))
    missing = pages.left_out(folder)
    for page, why in missing.items():
        print(f"page {page} was left out: {why['reason']}  ({folder / why['log']})")
    left = sum(run.state not in ENDED for run in runs)
    if left or code:
        for line in _why(code, folder, runs):
            print(line)
        print(f"{left} of {len(runs)} runs are left; the workflow's log is {folder / workflow.LOG}")
    front = folder / "analysis" / f"{pages.FRONT}.html"
    if front.exists():
        print(f"look at {front}")
    return int(bool(left or code or missing or not front.exists()))


def _why(code: int, folder: Path, runs: Sequence[Progress]) -> list[str]:
    """What a workflow ended of, where no run says so."""
    if shutil.disk_usage(folder).free < _NO_ROOM:
        return [f"the disk of {folder} is full: free some space and run again"]
    if code < 0:
        return [f"the workflow was killed (signal {-code}); run again to go on"]
    if code == workflow.INTERRUPTED or any(run.state == "failed" for run in runs):
        return []
    analysed = (folder / "log" / "analysis.log").exists()
    ended = analysed and all(run.state in ENDED for run in runs)
    said = _text(folder / "log" / "analysis.log" if ended else folder / workflow.LOG).strip()
    # what Snakemake says of a job that a cluster refused, else the last line
    words = re.findall(r"^ +message: (.*?)(?:For further|$)", said, re.M) or said.splitlines()
    return [one_line(line) for line in words[-1:]]


def planned_ablations(results: Path = RESULTS) -> list[str]:
    """Every ablation of a results folder that has a plan. Raises UserError where there is none."""
    names = sorted(path.parent.name for path in Path(results).glob("*/plan.json"))
    if not names:
        raise UserError(f"no ablation is planned under {results}; `make ablations` begins one")
    return names
