"""The bench's figure."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# implementation -> (label, colour, marker)
SIDES = {
    "released": ("released package", "#949494", "s"),
    "plain": ("this module, plain", "#56b4e9", "D"),
    "fp32": ("this module, fp32", "#0173b2", "o"),
    "bf16": ("this module, bf16", "#d55e00", "^"),
}
LOSSES = {"hinge": "hinge", "relativistic-hinge": "relativistic"}


def step_times(steps: pd.DataFrame) -> Figure:
    """Milliseconds a step of every case, one panel a resolution: columns of the bench's table."""
    resolutions = sorted(steps["resolution"].unique(), reverse=True)
    figure, axes = plt.subplots(
        1,
        len(resolutions),
        figsize=(5 * len(resolutions), 3.2),
        squeeze=False,
        layout="constrained",
    )
    for ax, resolution in zip(axes[0], resolutions, strict=True):
        step_time(steps[steps["resolution"] == resolution], ax)
        ax.set_title(f"{resolution} × {resolution} pixels")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def step_time(steps: pd.DataFrame, ax: Axes) -> Axes:
    """One line a case, a mark an implementation, on a logarithmic axis; bars are quartiles."""
    cases = list(dict.fromkeys(zip(steps["architecture"], steps["loss"], strict=True)))
    rows = {case: len(cases) - 1 - i for i, case in enumerate(cases)}
    for name, (label, colour, marker) in SIDES.items():
        part = steps[steps["implementation"] == name]
        if part.empty:
            continue
        y = [rows[case] for case in zip(part["architecture"], part["loss"], strict=True)]
        spread = [part["ms"] - part["ms_low"], part["ms_high"] - part["ms"]]
        ax.errorbar(part["ms"], y, xerr=spread, fmt=marker, color=colour, label=label, markersize=5)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("milliseconds a step")
    names = [f"{architecture}, {LOSSES.get(loss, loss)}" for architecture, loss in rows]
    ax.set_yticks(list(rows.values()), names)
    ax.set_ylim(-0.6, len(cases) - 0.4)
    ax.grid(axis="y", visible=True)
    return ax
