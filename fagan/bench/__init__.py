"""How fast, against the released package and against the machine: `python -m fagan bench`.

A benchmark, never a test: it times whatever the machine does at the moment. Run it on one that does
nothing else. Every side of a comparison takes turns in one process, so that ratios hold where
milliseconds do not.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from fagan import train
from fagan.bench.goals import Target, targets
from fagan.bench.machine import Machine, measure_machine
from fagan.bench.parts import measure_parts
from fagan.bench.projection import projection
from fagan.bench.record import (
    markdown,
    parts_table,
    projection_table,
    read,
    steps_table,
    targets_table,
    write,
)
from fagan.bench.steps import IMPLEMENTATIONS, Case, cases, measure

__all__ = [
    "IMPLEMENTATIONS",
    "Case",
    "Machine",
    "Target",
    "cases",
    "markdown",
    "measure",
    "measure_machine",
    "measure_parts",
    "parts_table",
    "projection",
    "projection_table",
    "read",
    "run",
    "steps_table",
    "targets",
    "targets_table",
    "write",
]


def run(
    folder: Path,
    device: torch.device,
    threads: int,
    quick: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Measure everything on one device and write it under `folder`; returns the steps' table."""
    with train.threads(threads):
        machine = measure_machine(device, threads)
        say(
            f"{machine.name}, {threads} threads: {machine.peak_fp32:,.0f} GFLOP/s fp32, "
            f"{machine.peak_bf16:,.0f} bf16"
        )
        rows = []
        for case in cases(64 if device.type == "cuda" else 32, quick):
            measured = measure(case, machine, say=say)
            rows += measured
            say(
                f"{case}: "
                + ", ".join(f"{r['implementation']} {r['ms']:,.0f} ms" for r in measured)
            )
        steps = pd.DataFrame(rows)
        # before the rest: what was measured must not be lost with it
        write(folder, machine, steps, pd.DataFrame(columns=["part", "value"]))
        parts = measure_parts(machine, say)
    return write(folder, machine, steps, pd.DataFrame(parts), projection(steps))
