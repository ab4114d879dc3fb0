"""Scores and losses: (Runs or a table, ax) -> ax.

Every seed is drawn; a mean is over the runs that are done, and a run that is not ends in a cross
(diverged) or a ring (unfinished).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fagan.plots.axes import (
    end_labels,
    failures_legend,
    floor_line,
    log_axis,
    mark_end,
    ratio_axis,
    shown_arms,
    steps_axis,
)
from fagan.plots.look import INK, METRICS, MUTED, ArmStyle, arm_styles
from fagan.records import Runs, arm_label
from fagan.tables import arm_speed

LOG_ABOVE = 4


def learning_curves(
    runs: Runs,
    ax: Axes,
    metric: str = "fd_lite0",
    arms: Sequence[str] | None = None,
    against: str = "steps",
) -> Axes:
    """A score against steps: every seed thin, the mean of the finished bold, the floor dotted.

    Distances are on a logarithmic axis where they fall by more than a factor of LOG_ABOVE, else on
    a linear one from 0: a floor far below would press short curves together. against="minutes":
    training time at each arm's speed (tables.arm_speed), evaluations and other loads left out.
    """
    styles, ends, seen = arm_styles(runs), [], set()
    distance = metric.startswith(("fd", "fid"))
    scored = runs.history.dropna(subset=[metric]) if metric in runs.history else runs.history[:0]
    if against == "minutes":
        speed = arm_speed(runs)
        scored = scored.assign(x=scored["images_seen"] / scored["run_id"].map(speed) / 60)
    else:
        scored = scored.assign(x=scored["step"])
    status = runs.runs.set_index("run_id")["status"]
    scores = scored[metric] if metric in scored else scored["step"]
    logarithmic = distance and scores.max() > LOG_ABOVE * scores.min()
    if logarithmic:
        ax.set_yscale("log")
    for arm in shown_arms(runs, arms):
        look = styles[arm]
        own = scored[scored["arm"] == arm]
        for run_id, run in own.groupby("run_id"):
            line = {"color": look.color, "linestyle": look.linestyle}
            ax.plot(run["x"], run[metric], lw=0.8, alpha=0.5, **line)
            mark_end(ax, run["x"].iloc[-1], run[metric].iloc[-1], look.color, status[run_id])
            seen.add(status[run_id])
        done = own[own["run_id"].map(status) == "done"].groupby("step")
        mean = done[metric].mean()
        if len(mean):
            every = max(1, len(mean) // 5)
            ax.plot(
                done["x"].mean(),
                mean,
                color=look.color,
                linestyle=look.linestyle,
                markevery=every,
                ms=5,
                zorder=3,
                **look.points,
            )
            ends.append((mean.iloc[-1], look.label, look.color))
        elif len(own):
            ends.append((own[metric].iloc[-1], f"{look.label} (none done)", look.color))
    if distance:
        floor_line(ax, runs, "track", metric, "x")
        ax.margins(y=0.08)
    if logarithmic:
        log_axis(ax.yaxis)
    elif distance:
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.set_ylabel(METRICS.get(metric, metric) + (", lower is better" if distance else ""))
    steps_axis(ax)
    if against == "minutes":
        ax.set_xlabel("training time, minutes")
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.margins(x=0.01)
    end_labels(ax, ends)
    failures_legend(ax, seen)
    return ax


def final_scores(
    runs: Runs, ax: Axes, metric: str = "fd_lite0", arms: Sequence[str] | None = None
) -> Axes:
    """Every finished seed a point, their mean a bar, the floor dotted, missing runs in words."""
    shown, styles = shown_arms(runs, arms), arm_styles(runs)
    frame = runs.runs.sort_values("seed")
    values = pd.to_numeric(frame[metric], errors="coerce") if metric in frame else np.nan
    frame = frame.assign(value=values).assign(
        value=lambda t: t["value"].where(t["status"] == "done")
    )
    for row, arm in enumerate(shown):
        own, look = frame[frame["arm"] == arm], styles[arm]
        _seeds(ax, row, own["value"].dropna().to_numpy(), look)
        lost = own.loc[own["value"].isna(), "status"].replace("done", "not scored").value_counts()
        if len(lost):
            words = ", ".join(f"{count} {status}" for status, count in lost.items())
            ax.annotate(
                words,
                (1.01, row),
                xycoords=ax.get_yaxis_transform(),
                va="center",
                fontsize=7.5,
                color=MUTED,
            )
    ax.set_yticks(range(len(shown)), [styles[arm].label for arm in shown])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.tick_params(axis="y", size=0)
    ax.grid(axis="y", visible=False)
    distance = metric.startswith(("fd", "kid", "fid"))
    if distance:
        floor_line(ax, runs, "final", metric, "y")
    elif metric.startswith("coherence"):
        for value, words in ((0, "unrelated"), (1, "real")):
            ax.axvline(value, color=MUTED, linestyle=":", linewidth=1.4, zorder=1)
            place = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points"}
            ax.annotate(words, (value, 1), (3, 3), color=MUTED, fontsize=8, **place)
    ax.set_xlabel(METRICS.get(metric, metric) + (", lower is better" if distance else ""))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.margins(x=0.06)
    return ax


def _seeds(
    ax: Axes, row: int, points: np.ndarray, look: ArmStyle, mean: float | None = None
) -> None:
    """One row of a strip: a point a seed, a little apart, and a bar at their mean."""
    if not len(points):
        return
    mean = points.mean() if mean is None else mean
    spread = np.linspace(-0.16, 0.16, len(points)) if len(points) > 1 else np.zeros(1)
    ax.plot([mean] * 2, [row - 0.34, row + 0.34], color=look.color, lw=2.6, zorder=2)
    ax.plot(points, row + spread, color=look.color, ls="", ms=6.5, zorder=3, **look.points)


def differences(table: pd.DataFrame, ax: Axes, runs: Runs) -> Axes:
    """tables.paired_differences: every shared seed a point, the mean a bar, the interval a line.

    The interval is the one that decides: corrected for the comparisons of the table.
    """
    styles = arm_styles(runs)
    each = [column for column in table if column.startswith("seed ")]
    for row, arm in enumerate(table.to_dict("records")):
        look = styles[arm["arm"]]
        points = np.array([arm[column] for column in each], dtype=float)
        points = points[np.isfinite(points)]
        ends = [arm["corrected_low"], arm["corrected_high"]]
        ax.plot(ends, [row, row], color=look.color, lw=1.4, zorder=1)
        _seeds(ax, row, points, look, arm["mean"])
        if not len(points):
            ax.annotate("no shared finished seed", (0, row), va="center", fontsize=8, color=MUTED)
    ax.axvline(0, color=INK, lw=0.9, zorder=0)
    ax.set_yticks(range(len(table)), [styles[arm].label for arm in table["arm"]])
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.tick_params(axis="y", size=0)
    ax.grid(axis="y", visible=False)
    metric = table["metric"].iloc[0] if len(table) else "fd_lite0"
    base = runs.labels.get(runs.baseline) or arm_label(runs.baseline)
    ax.set_xlabel(f"{METRICS.get(metric, metric)} against {base} at the same seed")
    ratio_axis(ax)
    return ax


def losses(runs: Runs, ax: Axes, column: str = "loss_g", arms: Sequence[str] | None = None) -> Axes:
    """A loss against steps, every seed thin, a running mean of nine log steps over them."""
    styles, ends = arm_styles(runs), []
    for arm in shown_arms(runs, arms):
        look, own = styles[arm], runs.history[runs.history["arm"] == arm]
        for _, run in own.groupby("run_id"):
            ax.plot(run["step"], run[column], color=look.color, lw=0.5, alpha=0.25)
        mean = own.groupby("step")[column].mean().rolling(9, center=True, min_periods=1).mean()
        ax.plot(mean.index, mean, color=look.color, linestyle=look.linestyle, lw=1.5)
        if len(mean.dropna()):
            ends.append((mean.dropna().iloc[-1], look.label, look.color))
    ax.set_ylabel(METRICS.get(column, column))
    steps_axis(ax)
    end_labels(ax, ends)
    return ax
