"""How a part is timed."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from fagan.environment import ROOT
from fagan.errors import UserError

# (part, unit, a value of each repetition)
Parts = Iterator[tuple[str, str, list[float]]]


def repeated(work: Callable[[], object], times: int = 5) -> list[float]:
    """Seconds of each repetition after a first one that does not count."""
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def start_fagan(*arguments: str) -> subprocess.Popen:
    """`python -m fagan` in a process of its own, silent."""
    return _start("fagan", *arguments)


def fagan(*arguments: str) -> None:
    """Run `python -m fagan` to its end. Raises UserError where it fails."""
    finish("fagan", *arguments)


def finish(module: str, *arguments: str) -> None:
    """Run `python -m module` to its end. Raises UserError where it fails."""
    if _start(module, *arguments).wait():
        raise UserError(f"`python -m {module} {' '.join(arguments[:2])}` failed; run it by itself")


def _start(module: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
