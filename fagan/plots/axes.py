"""What several figures share: axes, end labels, the floor, the marks of runs that are not done."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from fagan.plots.look import MUTED, PAPER
from fagan.records import Runs


def shown_arms(runs: Runs, arms: Sequence[str] | None) -> list[str]:
    return [arm for arm in runs.arms if arms is None or arm in arms]


def steps_axis(ax: Axes) -> None:
    ax.set_xlabel("generator steps")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.grid(axis="x", visible=False)


RATIOS = (-90, -75, -50, -30, -20, -10, 0, 10, 20, 50, 100, 200, 400, 1_000, 10_000)
APART = 0.085  # of the axis, that two of its numbers need


def ratio_axis(ax: Axes, reach: float | None = None) -> None:
    """x in % of a baseline, on the scale of the ratio: twice as much is as far as half as much.

    The limits are those of what was drawn, or `reach` to both sides of 0, as a logarithm.
    """
    low, high = logarithm_of(ax.dataLim.intervalx) if reach is None else (-reach, reach)
    margin = 0.04 * (high - low) or 0.05  # a single point has no width
    low, high = low - margin, high + margin
    ax.set_xscale("function", functions=(logarithm_of, percent_of))
    ax.set_xlim(percent_of(low), percent_of(high))
    shown: list[float] = []
    # from 0 outwards, so that what is left out are the larger ones of two that crowd
    for tick in sorted(RATIOS, key=abs):
        place = float(logarithm_of(tick))
        near = [abs(place - logarithm_of(other)) < APART * (high - low) for other in shown]
        if low <= place <= high and not any(near):
            shown.append(tick)
    ax.xaxis.set_major_locator(FixedLocator(sorted(shown)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: signed_percent(value)))


def logarithm_of(percent):
    """Of the ratio that is so many % above one; of an axis, so no value may have none."""
    return np.log1p(np.maximum(np.asarray(percent, dtype=float), -99.999) / 100)


def percent_of(logarithm):
    return 100 * np.expm1(np.minimum(logarithm, 700))


def signed_percent(value: float) -> str:
    sign = "+" if value > 0 else ""
    return f"{sign}{value:,.0f} %".replace("-", "\N{MINUS SIGN}")


def log_axis(axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", size=0)


def end_labels(ax: Axes, ends: Sequence[tuple[float, str, str]], points: float = 11) -> None:
    """Name each line at the right of the axes, in its colour, pushed apart where they crowd."""
    if not ends:
        return
    height = ax.get_position().height * ax.figure.get_figheight() * 72
    gap = min(points / height, 1 / len(ends))
    to_axes = ax.transData + ax.transAxes.inverted()
    left = ax.get_xlim()[0]
    wanted = [(float(to_axes.transform((left, y))[1]), text, color) for y, text, color in ends]
    wanted.sort(key=lambda item: item[0])
    placed = [y for y, _, _ in wanted]
    for _ in range(200):  # neighbours push each other apart; far more rounds than labels need
        for i in range(1, len(placed)):
            lack = gap - (placed[i] - placed[i - 1])
            if lack > 1e-4:
                placed[i - 1] -= lack / 2
                placed[i] += lack / 2
        placed[0], placed[-1] = max(placed[0], 0), min(placed[-1], 1)
    for at, (y, text, color) in zip(placed, wanted, strict=True):
        ax.annotate(
            text,
            xy=(1, y),
            xytext=(1.035, at),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=mpl.rcParams["legend.fontsize"],
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "lw": 0.8,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def floor_line(ax: Axes, runs: Runs, when: str, metric: str, along: str) -> float | None:
    """The dotted line of real against real, with its value; a note where it was not measured."""
    value = runs.reference.get(when, {}).get(f"{metric}_floor")
    if value is None:
        ax.annotate(
            "floor (real against real) not measured",
            (0.01, 0.01),
            xycoords="axes fraction",
            color=MUTED,
            fontsize=8,
        )
        return None
    words = f"floor: real against real, {value:.3g}"
    dotted = {"color": MUTED, "linestyle": ":", "linewidth": 1.4, "zorder": 1}
    if along == "x":
        ax.axhline(value, **dotted)
        place = {"xy": (0.01, value), "xycoords": ax.get_yaxis_transform(), "xytext": (0, 3)}
    else:
        ax.axvline(value, **dotted)
        place = {"xy": (value, 1), "xycoords": ax.get_xaxis_transform(), "xytext": (3, 3)}
    ax.annotate(words, textcoords="offset points", color=MUTED, fontsize=8, **place)
    return float(value)


def mark_end(ax: Axes, x: float, y: float, color: str, status: str) -> None:
    """A cross where a run diverged, a ring where it has not ended."""
    if status == "diverged":
        ax.plot([x], [y], "x", color=color, ms=7, mew=1.8, zorder=4)
    elif status != "done":
        ax.plot([x], [y], "o", color=color, mfc=PAPER, ms=5, mew=1.2, zorder=4)


def failures_legend(ax: Axes, seen: set[str]) -> None:
    marks = {"diverged": {"marker": "x", "mew": 1.8}, "unfinished": {"marker": "o", "mfc": PAPER}}
    handles = [
        Line2D([], [], color=MUTED, linestyle="", label=status, **mark)
        for status, mark in marks.items()
        if status in seen
    ]
    if handles:
        ax.legend(handles=handles, loc="upper right", ncols=2, handletextpad=0.1)
