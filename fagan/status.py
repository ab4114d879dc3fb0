"""What every run of an ablation is doing, and at the end what became of it: one table.

It reads records and writes nothing, so it may look from anywhere that sees the results folder: from
another terminal, from a cluster's login node.
"""

import csv
import math
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from fagan import locks, pages, workflow
from fagan.ablations import planned
from fagan.config import RunConfig
from fagan.errors import UserError, one_line, reason
from fagan.files import RESULTS, ablation_folder, read_object, run_folder
from fagan.records import ENDED, RUNNER_LOCK, TRAIN_LOCK, read_metrics

# what a reader must see first; where not all runs fit, the last of these are counted
STYLES = {
    "running": "green",
    "failed": "red",
    "interrupted": "yellow",
    "diverged": "magenta",
    "waiting": "",
    "done": "",
}
COLUMNS = ("run", "state", "step", "left", "fd_lite0")
WIDE = ("images/s", "alpha G", "alpha D", "device")
NARROW = 110  # cells; a terminal of fewer goes without the columns of WIDE
ROWS = 40  # of an ablation where there is no terminal whose height could say
REFRESH, REPORT_EVERY = 2.0, 30.0  # seconds between looks, and between lines of a log
_NO_ROOM = 2**20  # bytes


def progress(ablation: str, results: Path = RESULTS) -> list[dict[str, str]]:
    """Every run of the plan, in its order: what the table says of it, "" where nothing is known.

    Raises UserError where there is no plan.
    """
    runs = planned(ablation, results).items()
    return [_cells(run_folder(ablation, run_id, results), config) for run_id, config in runs]


def _cells(folder: Path, config: RunConfig) -> dict[str, str]:
    state, why, metrics = _state(folder)
    timing = [metrics] if metrics else _rows(folder / "timing.csv")[-1:]
    history = [metrics] if metrics else _rows(folder / "history.csv")
    step, rate = (max(_numbers(timing, name), default=0) for name in ("step", "images_per_second"))
    if state == "interrupted" and not why:
        why = f"ended at step {step:.0f} without a word"
    if why and (folder / "run.log").exists():
        why += f"  {folder / 'run.log'}"
    cells = dict.fromkeys(COLUMNS + WIDE, "")
    cells |= {"run": folder.name, "state": state, "why": one_line(why)}
    cells["step"] = f"{step:,.0f}/{config.steps:,}"
    if rate:
        cells["images/s"] = f"{rate:,.0f}"
    if rate and state == "running":
        images = (config.steps - step) * config.n_dis * config.batch_size
        cells["left"] = duration(images / rate)
    if scores := _numbers(history, "fd_lite0"):
        cells["fd_lite0"] = f"{scores[-1]:,.1f}"
    if metrics:
        return cells
    gates = [row for row in _rows(folder / "alpha.csv") if _numbers([row], "step") == [step]]
    for column, network in (("alpha G", "generator"), ("alpha D", "discriminator")):
        if alphas := _numbers((row for row in gates if row.get("network") == network), "alpha"):
            cells[column] = f"{max(alphas, key=abs):+.3f}"
    with suppress(OSError, UserError):  # between two versions, on another machine's file system
        environment = read_object(folder / "env.json") or {}
        cells["device"] = one_line(str(environment.get("device", "")))[:20]
    return cells


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


def _numbers(rows, column: str) -> list[float]:
    """The numbers of a column, without what is empty, missing, torn or not finite."""
    found = []
    for row in rows:
        with suppress(TypeError, ValueError):
            found.append(float(row.get(column, "")))
    return list(filter(math.isfinite, found))


def summary(runs: Sequence[Mapping[str, str]]) -> str:
    """`3 of 12 done, 2 running, 7 waiting`"""
    counts = Counter(run["state"] for run in runs)
    others = [f"{counts[state]} {state}" for state in STYLES if counts[state] and state != "done"]
    return ", ".join([f"{counts['done']} of {len(runs)} done", *others])


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03, or 02:03."""
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")


def table(runs: Sequence[Mapping[str, str]], rows: int | None = None, wide: bool = True) -> Group:
    """The runs, what is active or went wrong first; those beyond so many rows are counted."""
    order = sorted(runs, key=lambda run: list(STYLES).index(run["state"]))
    kept = order if rows is None or len(order) <= rows else order[: max(rows - 1, 0)]
    rest = Counter(run["state"] for run in order[len(kept) :])
    heads = COLUMNS + WIDE if wide else COLUMNS
    columns = [Column(head, no_wrap=True, justify="right") for head in heads]
    columns[0].justify = columns[1].justify = "left"
    shown = Table(*columns, Column("why", overflow="fold"), box=None, pad_edge=False)
    for run in kept:
        cells = [Text(run[head]) for head in (*heads, "why")]
        shown.add_row(*cells, style=STYLES[run["state"]])
    words = ", ".join(f"{n} {state}" for state, n in rest.items())
    return Group(*([shown] if kept else []), *([Text(f"and {words}")] if rest else []))


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
    rows, began = max(console.height // len(ablations) - 5, 1), time.monotonic()  # heads, cursor
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
    parts, ended = [], True
    for name in ablations:
        runs = progress(name, results)
        parts.append(Text(f"{name}: {summary(runs)}{note}", style="bold"))
        parts.append(table(runs, rows, console.width >= NARROW))
        ended &= all(run["state"] in (*ENDED, "failed") for run in runs)
    return Group(*parts), ended


def _console() -> Console:
    # a pipe has no width to keep to
    return Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)


def conclude(code: int, ablation: str, results: Path = RESULTS) -> int:
    """Print what is done, failed and left, with reasons and logs; the command's exit code.

    0 where every run has ended (a diverged run is a result) and every page was made, else 1.
    `code` is the workflow's.
    """
    runs, folder = progress(ablation, results), ablation_folder(ablation, results)
    print(f"{ablation}: {summary(runs)}")
    if unlike := [run for run in runs if run["state"] != "done"]:
        _console().print(table(unlike, 20))
    missing = pages.say_left_out(folder)
    left = sum(run["state"] not in ENDED for run in runs)
    if left or code:
        if why := _why(code, folder, runs):
            print(why)
        print(f"{left} of {len(runs)} runs are left; the workflow's log is {folder / workflow.LOG}")
    front = folder / "analysis" / f"{pages.FRONT}.html"
    if front.exists():
        print(f"look at {front}")
    return int(bool(left or code or missing or not front.exists()))


def _why(code: int, folder: Path, runs: Sequence[Mapping[str, str]]) -> str:
    """What a workflow ended of, where no run says so."""
    if shutil.disk_usage(folder).free < _NO_ROOM:
        return f"the disk of {folder} is full: free some space and run again"
    if code < 0:
        return f"the workflow was killed (signal {-code}); run again to go on"
    states = {run["state"] for run in runs}
    if code == workflow.INTERRUPTED or "failed" in states:
        return ""
    said = _text(folder / "log" / "analysis.log") if states <= {*ENDED} else ""
    said = (said or _text(folder / workflow.LOG)).strip()
    # what Snakemake says of a job that a cluster refused, else the last line
    words = re.findall(r"^ +message: (.*?)(?:For further|$)", said, re.M) or said.splitlines()
    return one_line(words[-1]) if words else ""


def planned_ablations(results: Path = RESULTS) -> list[str]:
    """Every ablation of a results folder that has a plan. Raises UserError where there is none."""
    names = sorted(path.parent.name for path in Path(results).glob("*/plan.json"))
    if not names:
        raise UserError(f"no ablation is planned under {results}; `make ablations` begins one")
    return names
