"""Every planned run in one row, as the report lists them."""

import numpy as np
import pandas as pd

from fagan.records import Runs
from fagan.tables.scores import SCORE, failures, numbers, ordered, throughput

SHOWN = ("kid_lite0", "coherence_eyes", "coherence_outfit")


def run_table(runs: Runs, metric: str = SCORE) -> pd.DataFrame:
    """One row per planned run, those that nobody began last; what is missing is NaN.

    run_id, arm, label, seed, status, step (reached), the score, SHOWN, images_per_second,
    max_abs_alpha (the largest |alpha| at the last log step), parameters (of both networks).
    Scores are those of runs that are done.
    """
    frame = runs.runs[["run_id", "arm", "label", "seed", "status"]].copy()
    done, lost = frame["status"] == "done", failures(runs)
    reached = lost.set_index("run_id")["step"].astype(float)
    frame["step"] = numbers(runs.runs, "step").fillna(frame["run_id"].map(reached))
    for name in (metric, *SHOWN):
        frame[name] = numbers(runs.runs, name).where(done)
    frame["images_per_second"] = frame["run_id"].map(throughput(runs))
    frame["max_abs_alpha"] = frame["run_id"].map(_largest_alpha(runs))
    sizes = [numbers(runs.runs, f"parameters_{name}") for name in ("generator", "discriminator")]
    frame["parameters"] = sizes[0] + sizes[1]
    frame = ordered(runs, frame, "seed")
    absent = lost[lost["status"] == "not begun"].reindex(columns=frame.columns)
    if len(absent):
        absent = absent.astype(frame.dtypes.drop("seed").to_dict())
        frame = pd.concat([frame, absent], ignore_index=True)
    return frame.astype({"seed": "Int64"})


def _largest_alpha(runs: Runs) -> pd.Series:
    """By run_id: the largest |alpha| of any layer (and channel) at the run's last log step."""
    gates = runs.gates
    if gates.empty:
        return pd.Series(dtype=float)
    last = gates[gates["step"] == gates.groupby("run_id")["step"].transform("max")]
    return numbers(last, "alpha").abs().groupby(last["run_id"]).max().replace(np.inf, np.nan)
