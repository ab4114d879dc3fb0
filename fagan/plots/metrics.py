"""The scores under test: degradations, the floor over the sample size, the limit at infinity."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from fagan.plots.axes import log_axis
from fagan.plots.look import GRID, INK, METRICS, MUTED, PAPER
from fagan.tables import number

# of studies.degradations: score -> (label, color, marker), grouped into figures
SCORES = {
    "fd_lite0": (METRICS["fd_lite0"], "#d55e00", "o"),
    "kid_lite0": (METRICS["kid_lite0"], "#0173b2", "s"),
    "precision": ("precision", "#d55e00", "o"),
    "recall": ("recall", "#0173b2", "s"),
    "density": ("density", "#cf8a00", "^"),
    "coverage": ("coverage", "#029e73", "D"),
    "coherence_eyes": ("coherence", "#d55e00", "o"),
    "signal_eyes": ("signal", "#0173b2", "s"),
}
LEVELS = {
    "blur": ("blur\nsigma, px", "{:.2g}"),
    "noise": ("noise\nsd, grey levels", "{:.0f}"),
    "contamination": ("contamination\n% of images", "{:.0%}"),
    "mode collapse": ("mode collapse\ndistinct images", "{:,.0f}"),
    "broken ties": ("eyes mismatched\n% of faces", "{:.0%}"),
}


def degradation(frame: pd.DataFrame, ax: Axes, kind: str, score: str) -> Axes:
    """One score under one degradation, from mild to severe; the floor's range is the grey band."""
    label, color, marker = SCORES[score]
    floor = frame.loc[frame["kind"] == "none", score]
    own = frame[frame["kind"] == kind].sort_values("step")
    ax.axhspan(floor.min(), floor.max(), color=GRID, lw=0, zorder=0)
    ax.axhline(floor.mean(), color=MUTED, linestyle=":", lw=1.4, zorder=1)
    steps, values = [0, *own["step"]], [floor.iloc[0], *own[score]]
    style = {"marker": marker, "ms": 4.5, "mec": PAPER, "mew": 0.6}
    ax.plot(steps, values, color=color, lw=1.4, label=label, **style)
    words, template = LEVELS[kind]
    names = [template.format(level).replace("%", "") for level in own["level"]]
    ax.set_xticks(steps, ["0" if kind != "mode collapse" else "all", *names], fontsize=7.5)
    ax.set_xlabel(words)
    ax.grid(axis="x", visible=False)
    return ax


def degradations_figure(frame: pd.DataFrame, scores: tuple[str, ...], apart: bool = True) -> Figure:
    """A column per degradation; a row per score, or all of them in one row."""
    kinds = [kind for kind in LEVELS if kind in set(frame["kind"])]
    scores = [score for score in scores if score in frame]
    rows = len(scores) if apart else 1
    figure, axes = plt.subplots(
        rows, len(kinds), figsize=(7, 0.8 + 1.35 * rows), sharey="row", squeeze=False
    )
    for column, kind in enumerate(kinds):
        for i, score in enumerate(scores):
            ax = axes[i if apart else 0, column]
            degradation(frame, ax, kind, score)
            if apart and i < rows - 1:
                ax.set_xlabel("")
                ax.set_xticklabels([])
            if column == 0:
                ax.set_ylabel(SCORES[score][0] if apart else "score")
    for row, score in zip(axes, scores, strict=False):
        if apart and score.startswith("fd"):
            row[0].set_yscale("log")
            log_axis(row[0].yaxis)
    if not apart:
        handles = axes[0, 0].get_lines()
        drawn = [line for line in handles if line.get_marker() != "None"]
        figure.legend(handles=drawn, loc="outside upper left", ncols=len(drawn))
    return figure


def floor_over_size(frame: pd.DataFrame, ax: Axes) -> Axes:
    """studies.floor_curve: the distance of a perfect generator against the number of images."""
    label, color, marker = SCORES["fd_lite0"]
    ax.plot(frame["n"], frame["fd"], color=color, marker=marker, ms=5, mec=PAPER, lw=1.5)
    for n, value in zip(frame["n"], frame["fd"], strict=True):
        ax.annotate(number(value), (n, value), (4, 5), textcoords="offset points", fontsize=7.5)
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_axis(ax.yaxis)
    ax.set_xticks(frame["n"], [f"{n:,}" for n in frame["n"]])
    ax.minorticks_off()
    ax.margins(x=0.1, y=0.16)
    ax.set_xlabel("real images on each side")
    ax.set_ylabel(f"floor in {label}")
    return ax


def extrapolation(frame: pd.DataFrame, ax: Axes) -> Axes:
    """studies.extrapolations: distances against 1/n, the line through them, its end at 1/n = 0."""
    looks = zip(frame.groupby("images", sort=False), (INK, "#d55e00"), ("o", "s"), strict=False)
    for (name, own), color, marker in looks:
        line, place = own.iloc[0], 1000 / own["n"]
        ends = np.array([0, place.max()])
        ax.plot(ends, line["value"] + line["slope"] * ends / 1000, color=color, lw=1.2)
        ax.plot(place, own["fd"], marker, color=color, ms=4.5, mec=PAPER, mew=0.6, label=name)
        error = {"yerr": line["standard_error"], "fmt": marker, "color": color, "mfc": PAPER}
        ax.errorbar([0], [line["value"]], capsize=4, ms=6, mew=1.4, clip_on=False, **error)
    ax.axhline(0, color=INK, lw=0.9, zorder=0)
    ax.set_xlim(left=0)
    ax.set_xlabel("1,000 / number of images scored")
    ax.set_ylabel(METRICS["fd_lite0"])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.legend(loc="upper left")
    return ax
