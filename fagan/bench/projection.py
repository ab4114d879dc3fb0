"""How long the tables for a GPU would take: their arithmetic, and what the bench has measured."""

import pandas as pd

from fagan import ablations
from fagan.bench.steps import arithmetic

TABLES = ("faces64", "cifar10", "celeba64")
# GFLOP/s that a training might sustain on a GPU that was not measured: a hundredth of the dense
# bfloat16 peak on NVIDIA's data sheet of the H100 SXM (989 TFLOP/s), as its layers are small
SUSTAINED, OF = 10_000.0, "10 TFLOP/s, 1 % of an H100's peak"
HOUR = 3600.0


def projection(steps: pd.DataFrame, tables: tuple[str, ...] = TABLES) -> pd.DataFrame:
    """One row per table: its runs, its arithmetic, hours of training steps one run after the other.

    steps: what `measure` has measured on this machine. pflop: of all runs, with each discriminator
    pass once. hours: at the median speed of the bfloat16 steps measured here. hours_sustained: on a
    device that sustains SUSTAINED GFLOP/s; an assumption, not a measurement.
    """
    speed = steps.loc[steps["implementation"] == "bf16", "gflop_per_second"].median()
    rows = []
    for name in tables:
        runs = ablations.configs(ablations.load_table(name))
        one_seed = {run.arm: run for run in runs}
        each = {arm: arithmetic(run) * run.steps for arm, run in one_seed.items()}
        gflop = sum(each[run.arm] for run in runs)
        rows.append(
            {
                "ablation": name,
                "runs": len(runs),
                "steps": max(run.steps for run in runs),
                "pflop": gflop / 1e6,
                "hours": gflop / speed / HOUR,
                "hours_sustained": gflop / SUSTAINED / HOUR,
            }
        )
    return pd.DataFrame(rows)
