"""What became of every run, said at the end: a table, and an exit code that says the same."""

import shutil
from pathlib import Path

from fagan.environment import ROOT
from fagan.records import ENDED, ablation_folder
from fagan.status import FAILED, Progress, progress, summary

DONE, UNFINISHED = 0, 1
SHOWN = 20  # rows of a kind; a table of a thousand waiting runs helps nobody
_NO_ROOM = 2**20  # bytes


def conclude(returncode: int, ablation: str, results: Path, log: Path) -> int:
    """Print what is done, diverged, failed and left, with reasons and logs.

    Returns 0 where every run has ended (a diverged run is a result) and every page is written, else
    1. `returncode` is the workflow's, `log` its log.
    """
    runs = progress(ablation, results)
    print(f"{ablation}: {summary(runs)}")
    _table([run for run in runs if run.state != "done"])
    folder = ablation_folder(ablation, results)
    left = [run for run in runs if run.state not in ENDED]
    if returncode == 0 and not left:
        print(f"look at {folder / 'report' / 'index.html'}")
        return DONE
    for page, reason, page_log in _broken_pages(folder) if not left else ():
        print(f"page {page} failed: {reason}  ({page_log})")
    if _is_full(folder):
        print(f"the disk of {folder} is full: free some space and run again")
    if returncode < 0:
        print(f"the workflow was killed (signal {-returncode}); run again to go on")
    print(f"not finished: {len(left)} of {len(runs)} runs are left; the workflow's log is {log}")
    return UNFINISHED


def _table(runs: list[Progress]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not runs:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("run", "state", "step", "reason", "log"):
        table.add_column(column, overflow="fold", no_wrap=column in ("run", "state", "step"))
    order = [FAILED, "diverged", "interrupted", "running", "waiting"]
    for state in order:
        same = [run for run in runs if run.state == state]
        for run in same[:SHOWN]:
            log = str(run.log) if run.log.exists() else ""
            reason = run.reason or ("left" if state != "diverged" else "")
            table.add_row(run.run_id, state, f"{run.step}/{run.steps}", reason, log)
        if len(same) > SHOWN:
            table.add_row(f"and {len(same) - SHOWN} more", state)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=240)
    console.print(table)


def _broken_pages(folder: Path) -> list[tuple[str, str, Path]]:
    """(page, last line of its log, log) of every page that is not there although it was begun."""
    names = sorted(path.stem for path in (ROOT / "notebooks" / "analysis").glob("*.ipynb"))
    pages = {name: folder / "analysis" / f"{name}.html" for name in names}
    pages["report"] = folder / "report" / "index.html"
    found = []
    for name, page in pages.items():
        log = folder / "log" / f"{name}.log"
        if not page.exists() and log.exists():
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            found.append((name, lines[-1] if lines else "nothing said", log))
    return found


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < _NO_ROOM
