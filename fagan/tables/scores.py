"""Scores over seeds: intervals, summaries, paired differences, and the runs without a score."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fagan.records import Runs, arm_label, read_json
from fagan.tables.effects import contrasts, in_percent

SCORE = "fd_lite0"
STATUSES = ("done", "diverged", "unfinished", "not begun")
MEANS = (
    "kid_lite0",
    "coherence_eyes",
    "signal_eyes",
    "coherence_outfit",
    "signal_outfit",
    "fid",
    "parameters_generator",
    "parameters_discriminator",
    "images_per_second",
)


# seeds from which the percentile bootstrap is used: of 4 values its 95 % intervals hold the mean in
# 79 % of draws, of 8 in 88 % (tests/test_tables.py), while Student's assumes a normal distribution
RESAMPLED = 10


@dataclass(frozen=True)
class Interval:
    """Of the mean: the `range` of two values, `Student` of three or more, from RESAMPLED on the
    percentile `bootstrap`, else nothing.

    Student's interval of two values is twelve times as long as they are apart: it would say less
    than their range, which is no interval of 95 %.
    """

    low: float
    high: float
    n: int
    method: str


def mean_interval(values, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Interval of the mean of the finite values."""
    finite = np.asarray(pd.to_numeric(pd.Series(list(values), dtype=object), errors="coerce"))
    finite = finite[np.isfinite(finite)]
    n = len(finite)
    if n < 2:
        return Interval(np.nan, np.nan, n, "one seed" if n else "no seed")
    if n == 2:
        return Interval(float(finite.min()), float(finite.max()), n, "range")
    from scipy import stats

    if n < RESAMPLED:
        half = stats.t.isf((1 - confidence) / 2, n - 1) * finite.std(ddof=1) / np.sqrt(n)
        return Interval(float(finite.mean() - half), float(finite.mean() + half), n, "Student")
    drawn = stats.bootstrap(
        (finite,),
        np.mean,
        confidence_level=confidence,
        n_resamples=9_999,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(drawn.low), float(drawn.high), n, "bootstrap")


def ordered(runs: Runs, frame: pd.DataFrame, *then: str) -> pd.DataFrame:
    """Rows in the order of the arms of the table, then by the columns `then`."""
    place = {arm: i for i, arm in enumerate(runs.arms)}
    return (
        frame.assign(_arm=frame["arm"].map(place))
        .sort_values(["_arm", *then], kind="stable")
        .drop(columns="_arm")
        .reset_index(drop=True)
    )


def numbers(frame: pd.DataFrame, column: str) -> pd.Series:
    """The column as floats; all NaN where no run has it."""
    if column not in frame:
        return pd.Series(np.nan, index=frame.index, dtype=float)
    return pd.to_numeric(frame[column], errors="coerce").astype(float)


def per_seed(frame: pd.DataFrame) -> dict[str, float]:
    return {f"seed {seed}": value for seed, value in zip(frame.seed, frame.value, strict=True)}


def final_scores(runs: Runs, metric: str = SCORE) -> pd.DataFrame:
    """One row per run: run_id, arm, label, seed, status, value (NaN unless done)."""
    frame = runs.runs[["run_id", "arm", "label", "seed", "status"]].copy()
    frame["value"] = numbers(runs.runs, metric).where(frame["status"] == "done")
    return ordered(runs, frame, "seed")


def throughput(runs: Runs) -> pd.Series:
    """Images a second by run_id: the median over a run's log steps, evaluations left out."""
    timing = runs.timing.assign(rate=numbers(runs.timing, "images_per_second"))
    return timing.groupby("run_id")["rate"].median()


def arm_speed(runs: Runs) -> pd.Series:
    """Images a second by run_id: what the run's arm reaches where nothing else slows the machine.

    The 90th percentile over the log steps of all seeds of an arm on one device: other work takes
    from a run, never gives to it, and a comparison at equal seconds must not be one of such work.
    """
    timing = runs.timing.assign(rate=numbers(runs.timing, "images_per_second"))
    state = runs.runs.set_index("run_id")
    device = state["device_name"] if "device_name" in state else pd.Series("", state.index)
    place = state["arm"] + "\n" + device.fillna("").astype(str)
    best = timing.groupby(timing["run_id"].map(place))["rate"].quantile(0.9)
    return place.map(best)


def summary(runs: Runs, metric: str = SCORE) -> pd.DataFrame:
    """One row per arm: counts, the score's mean, range, interval, every seed, and other means."""
    scores, lost = final_scores(runs, metric), failures(runs)
    state = runs.runs.assign(images_per_second=runs.runs["run_id"].map(arm_speed(runs)))
    state = state.assign(**{name: numbers(state, name) for name in MEANS})
    done = state[state["status"] == "done"]
    rows = []
    for arm in runs.arms:
        own, mine = scores[scores["arm"] == arm], state[state["arm"] == arm]
        interval = mean_interval(own["value"])
        row = {"arm": arm, "label": runs.labels[arm], "done": int((own["status"] == "done").sum())}
        state_of = lost.loc[lost["arm"] == arm, "status"]
        row |= {status: int((state_of == status).sum()) for status in STATUSES[1:]}
        row["runs"] = sum(row[status] for status in STATUSES)
        row |= {
            "n": interval.n,
            metric: own["value"].mean(),
            f"{metric}_min": own["value"].min(),
            f"{metric}_max": own["value"].max(),
            f"{metric}_low": interval.low,
            f"{metric}_high": interval.high,
            "interval": interval.method,
        }
        scored = done[done["arm"] == arm]
        for name in MEANS:
            # parameters and speed are facts of a run that failed, too
            source = scored if name.startswith(("kid", "coh", "sig", "fid")) else mine
            row[name] = source[name].mean()
        rows.append(row | {"steps": numbers(mine, "steps").max()} | per_seed(own))
    table = pd.DataFrame(rows)
    return table.drop(columns=[name for name in MEANS if table[name].isna().all()])


def paired_differences(
    runs: Runs, baseline: str | None = None, metric: str = SCORE
) -> pd.DataFrame:
    """Each arm against the baseline at equal seeds, in %: n, mean, seeds below 0, every seed.

    Ratios of the scores less one, their mean geometric (`tables.contrasts` with ratios). low, high,
    interval: what the seeds themselves say, uncorrected (`mean_interval` of the logarithms).
    corrected_low, corrected_high, p, comparisons, called, alone, detectable: see
    `tables.contrasts`, corrected for the arms of this table.
    """
    baseline = baseline or runs.baseline
    pairs = [(arm, baseline) for arm in runs.arms if arm != baseline]
    tested = contrasts(final_scores(runs, metric), pairs, ratios=True)
    tested = tested.rename(columns={"low": "corrected_low", "high": "corrected_high"})
    each = [column for column in tested if column.startswith("seed ")]
    seeds = tested[each].to_numpy(float)
    intervals = [mean_interval(row) for row in np.log1p(seeds / 100)]
    label = [runs.labels[arm] for arm in tested["arm"]]
    table = tested[["arm"]].assign(
        label=label,
        baseline=baseline,
        metric=metric,
        n=tested["n"],
        mean=tested["mean"],
        low=[in_percent(interval.low) for interval in intervals],
        high=[in_percent(interval.high) for interval in intervals],
        interval=[interval.method for interval in intervals],
        below=(seeds < 0).sum(axis=1),
    )
    return pd.concat([table, tested[[*TESTED, *each]]], axis=1)


TESTED = [
    "corrected_low",
    "corrected_high",
    "p",
    "comparisons",
    "called",
    "alone",
    "detectable",
    "sd",
    "df",
]


def learning_curve(runs: Runs, metric: str = SCORE) -> pd.DataFrame:
    """Every evaluation: run_id, arm, label, seed, status, step, images_seen, value."""
    columns = ["run_id", "arm", "label", "seed", "status"]
    frame = runs.history.assign(value=numbers(runs.history, metric)).dropna(subset=["value"])
    frame = frame[["run_id", "step", "images_seen", "value"]]
    frame = frame.merge(runs.runs[columns], on="run_id", how="left")
    return ordered(runs, frame[[*columns, "step", "images_seen", "value"]], "seed", "step")


def best_and_last(runs: Runs, metric: str = SCORE) -> pd.DataFrame:
    """One row per run: its best score during training and its last one, with their steps."""
    rows = []
    curves = dict(iter(learning_curve(runs, metric).groupby("run_id")))
    for run in ordered(runs, runs.runs, "seed").to_dict("records"):
        row = {key: run[key] for key in ("run_id", "arm", "label", "seed", "status")}
        curve = curves.get(run["run_id"])
        if curve is not None:
            best, last = curve.loc[curve["value"].idxmin()], curve.iloc[-1]
            row |= {"best": best["value"], "best_step": best["step"]}
            row |= {"last": last["value"], "last_step": last["step"]}
        rows.append(row)
    return pd.DataFrame(rows)


def failures(runs: Runs) -> pd.DataFrame:
    """Runs that are not done, those that the plan asks for and nobody began included."""
    reached = runs.history.groupby("run_id")["step"].max()
    columns = ["run_id", "arm", "label", "seed", "status", "step", "steps", "reason"]
    # the step in metrics.json is where a run diverged; without one, its last log step
    step = numbers(runs.runs, "step").fillna(runs.runs["run_id"].map(reached).astype(float))
    frame = runs.runs.assign(step=step).reindex(columns=columns)
    frame = ordered(runs, frame[frame["status"] != "done"], "seed")
    begun, missing = set(runs.runs["run_id"]), []
    plan = read_json(runs.folder / "plan.json") or {}
    for run in plan.get("runs", []):
        if run["run_id"] not in begun:
            row = {key: run.get("config", {}).get(key) for key in ("arm", "seed", "steps")}
            label = plan.get("labels", {}).get(row["arm"])
            row["label"] = label or arm_label(row["arm"] or run["run_id"])
            missing.append({"run_id": run["run_id"], "status": "not begun"} | row)
    if missing:
        frame = pd.concat([frame, pd.DataFrame(missing, columns=columns)], ignore_index=True)
    whole = {column: "Int64" for column in ("seed", "step", "steps")}
    return frame.astype(whole)


def status_counts(runs: Runs) -> dict[str, int]:
    """How many runs are done, diverged, unfinished and not begun; only what occurs."""
    lost = failures(runs)["status"].value_counts()
    counts = {"done": int((runs.runs["status"] == "done").sum())}
    counts |= {status: int(lost.get(status, 0)) for status in STATUSES[1:]}
    return {status: count for status, count in counts.items() if count or status == "done"}


def floor(runs: Runs, when: str = "final", metric: str = SCORE) -> float:
    """Real against real at the same counts; NaN where it was not measured."""
    value = runs.reference.get(when, {}).get(f"{metric}_floor")
    return np.nan if value is None else float(value)
