"""How steadily the runs trained, and what their scores were after equal times."""

import numpy as np
import pandas as pd

from fagan.records import Runs
from fagan.tables.scores import SCORE, arm_speed, final_scores, learning_curve, numbers, ordered

# the part of training that is called late, for scores and for losses
LATE, LATE_LOSS = 0.5, 0.25
# with three evaluations a deviation about a line has one degree of freedom: it measures nothing
ENOUGH = 5


def stability(runs: Runs, metric: str = SCORE) -> pd.DataFrame:
    """One row per run: how far it strayed from its own trend, late in training.

    wobble: of the score, the standard deviation about the straight line through its logarithm over
    the last LATE of the steps, so a share of the score; NaN with fewer than ENOUGH evaluations
    there, of which `evaluations` is the number (both ends of the part count).
    loss_d_sd, loss_g_sd: the same of the losses themselves over the last LATE_LOSS. final: the
    final score, NaN unless done. risen: the last score over the best one, minus 1.
    """
    curves = dict(iter(learning_curve(runs, metric).groupby("run_id")))
    histories = dict(iter(runs.history.groupby("run_id")))
    final = final_scores(runs, metric).set_index("run_id")["value"]
    rows = []
    for run in ordered(runs, runs.runs, "seed").to_dict("records"):
        row = {key: run[key] for key in ("run_id", "arm", "label", "seed", "status", "steps")}
        row["final"] = final[run["run_id"]]
        curve, history = curves.get(run["run_id"]), histories.get(run["run_id"])
        if curve is not None:
            late = curve[curve["step"] >= (1 - LATE) * run["steps"]]
            row["evaluations"] = len(late)
            if len(late) >= ENOUGH:
                row["wobble"] = about_trend(late["step"], np.log(late["value"]))
            row["risen"] = curve["value"].iloc[-1] / curve["value"].min() - 1
        if history is not None:
            late = history[history["step"] >= (1 - LATE_LOSS) * run["steps"]]
            for loss in ("loss_d", "loss_g"):
                row[f"{loss}_sd"] = about_trend(late["step"], numbers(late, loss))
        rows.append(row)
    columns = ["final", "evaluations", "wobble", "risen", "loss_d_sd", "loss_g_sd"]
    frame = pd.DataFrame(rows)
    return frame.reindex(columns=[*(c for c in frame if c not in columns), *columns])


def about_trend(x: pd.Series, y: pd.Series) -> float:
    """Standard deviation of y about its least-squares line in x; NaN below three points."""
    x, y = x.to_numpy(float), y.to_numpy(float)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if len(y) < 3:
        return np.nan
    left = y - np.polyval(np.polyfit(x - x.mean(), y, 1), x - x.mean())
    return float(np.sqrt((left**2).sum() / (len(y) - 2)))


def stability_by_arm(runs: Runs, metric: str = SCORE) -> pd.DataFrame:
    """One row per arm: runs, diverged, n, the means of `stability`, and the worst seed's score.

    evaluations: the fewest of a finished run.
    """
    table, rows = stability(runs, metric), []
    for arm, own in table.groupby("arm", sort=False):
        done = own[own["status"] == "done"]
        row = {"arm": arm, "label": runs.labels[arm], "runs": len(own)}
        row |= {"diverged": int((own["status"] == "diverged").sum()), "n": len(done)}
        row["evaluations"] = done["evaluations"].min()
        row |= {name: done[name].mean() for name in ("wobble", "risen", "loss_d_sd", "loss_g_sd")}
        rows.append(row | {"mean": done["final"].mean(), "worst": done["final"].max()})
    return pd.DataFrame(rows)


def training_seconds(runs: Runs) -> pd.Series:
    """By run_id: what the whole training takes at the arm's speed, evaluations left out."""
    state = runs.runs.set_index("run_id")
    images = numbers(state, "steps") * numbers(state, "batch_size") * numbers(state, "n_dis")
    return images / arm_speed(runs).reindex(images.index)


def scores_after(runs: Runs, seconds: float, metric: str = SCORE) -> pd.DataFrame:
    """One row per finished run: arm, seed, value, the score after so much training time.

    Between two evaluations its logarithm is taken as a line, before the first there is none (NaN),
    and a run that ended earlier has its last. These are scores along the curve, of n_track images.
    early: whether the time is before the run's second evaluation, so that the value rests on the
    first one, of a network that never trained; ended: whether it is the run's last score.
    """
    speed = arm_speed(runs)
    rows = []
    curve = learning_curve(runs, metric)
    for run_id, own in curve[curve["status"] == "done"].groupby("run_id", sort=False):
        at = own["images_seen"].to_numpy(float) / speed.get(run_id, np.nan)
        value = np.nan
        if np.isfinite(at).all() and seconds >= at[0]:
            value = float(np.exp(np.interp(seconds, at, np.log(own["value"].to_numpy(float)))))
        row = {"run_id": run_id, "arm": own["arm"].iloc[0], "seed": own["seed"].iloc[0]}
        row |= {"value": value, "early": bool(len(at) > 1 and seconds < at[1])}
        # the baseline itself ends at this very time, but for rounding
        rows.append(row | {"ended": bool(seconds > at[-1] * (1 + 1e-9))})
    return pd.DataFrame(rows, columns=["run_id", "arm", "seed", "value", "early", "ended"])
