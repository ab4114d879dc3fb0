"""The gates: alpha against steps and at the end, a line or a point for every seed."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fagan.plots.axes import mark_end, steps_axis
from fagan.plots.budget import fewer_points
from fagan.plots.look import GRID, INK, MUTED, PAPER, arm_styles
from fagan.records import Runs

# Layers by kind, in the order of their resolution: full attention warm, self-attention cool. All of
# a middling lightness, to be seen on white and on black.
LAYERS = {
    "full": ("#c4384b", "#d55e00", "#cf8a00", "#b07a4a", "#d17ab0", "#a05195"),
    "self": ("#3b6fd4", "#0a93a6", "#029e73", "#7d7fd6", "#5fa8d3", "#5b8c5a"),
}
NETWORKS = ("generator", "discriminator")


def layer_styles(runs: Runs, rows: pd.DataFrame | None = None) -> dict[str, tuple[str, str]]:
    """layer -> (color, linestyle) over the whole ablation: `full` warm, `self` cool and dashed.

    rows: those of runs.alpha whose layers are wanted; by default the layers that have a gate.
    """
    rows = runs.gates if rows is None else rows
    found: dict[str, tuple[str, str]] = {}
    for kind, colors in (*LAYERS.items(), ("", ("#949494",))):
        names = rows["layer"].unique()
        names = [name for name in names if name.startswith(kind) and name not in found]
        for i, name in enumerate(sorted(names, key=_pixels)):
            found[name] = colors[i % len(colors)], "--" if kind == "self" else "-"
    return found


def _pixels(layer: str) -> tuple[int, str]:
    digits = "".join(c if c.isdigit() else " " for c in layer).split()
    return (int(digits[0]) if digits else 0, layer)


def alpha_trajectories(runs: Runs, ax: Axes, arm: str, network: str) -> Axes:
    """Every layer's alpha against steps, a line per seed; how far lr x updates reaches is shaded.

    No mean is drawn: where the sign is a symmetry (self-attention), it would be a mean of nothing.
    """
    colors = layer_styles(runs)
    own = runs.gates[(runs.gates["arm"] == arm) & (runs.gates["network"] == network)]
    status = runs.runs.set_index("run_id")["status"]
    for (layer, run_id), run in own.groupby(["layer", "run_id"]):
        color, dashes = colors[layer]
        ax.plot(run["step"], run["alpha"], color=color, linestyle=dashes, lw=1.2)
        mark_end(ax, run["step"].iloc[-1], run["alpha"].iloc[-1], color, status[run_id])
    limit = ax.get_ylim()
    first = runs.runs[runs.runs["arm"] == arm].iloc[0]
    rate = first["lr_g"] if network == "generator" else first["lr_d"] * first["n_dis"]
    steps = np.array([0, first["steps"]])
    start = first["alpha_init"]
    ax.fill_between(
        steps, start - rate * steps, start + rate * steps, color=GRID, lw=0, alpha=0.45, zorder=0
    )
    ax.axhline(0, color=INK, lw=0.9, zorder=1)
    ax.set_ylim(limit)
    steps_axis(ax)
    ax.set_xlim(0, runs.runs["steps"].max())
    ax.set_ylabel("alpha")
    return ax


def alpha_figure(runs: Runs) -> Figure:
    """A row per arm with gates, a column per network, one legend of layers for all of them."""
    runs = fewer_points(runs)
    arms, styles = [arm for arm in runs.arms if arm in set(runs.gates["arm"])], arm_styles(runs)
    if not arms:
        figure, ax = plt.subplots(figsize=(7, 1))
        ax.set_axis_off()
        ax.text(0, 0.5, "No arm of this ablation has a gate.", color=MUTED)
        return figure
    figure, axes = plt.subplots(
        len(arms),
        2,
        figsize=(7, 0.7 + 1.75 * len(arms)),
        sharex=True,
        sharey="col",
        squeeze=False,
    )
    for i, arm in enumerate(arms):
        for ax, network in zip(axes[i], NETWORKS, strict=True):
            alpha_trajectories(runs, ax, arm, network)
            ax.set_title(f"{styles[arm].label}, {network}")
            # the steps are shared by all, the scale of alpha by a column only
            if ax is axes[i, 1]:
                ax.set_ylabel("")
            if i < len(arms) - 1:
                ax.set_xlabel("")
    for column, network in zip(axes.T, NETWORKS, strict=True):
        # a shared axis takes the widest data of its column, not the last one drawn
        values = runs.gates.loc[runs.gates["network"] == network, "alpha"].dropna()
        top = 1.1 * max(values.abs().max() if len(values) else 0, 1e-3)
        column[0].set_ylim(-top, top)
    handles = [
        Line2D([], [], color=color, linestyle=dashes, label=layer)
        for layer, (color, dashes) in layer_styles(runs).items()
    ]
    handles.append(Patch(color=GRID, alpha=0.45, label="reach: lr \N{MULTIPLICATION SIGN} updates"))
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


def final_alphas_figure(table: pd.DataFrame, runs: Runs) -> Figure:
    """Both networks of `final_alphas`, one above the other."""
    counts = [max(1, int((table["network"] == network).sum())) for network in NETWORKS]
    figure, axes = plt.subplots(
        2, 1, figsize=(7, 1.6 + 0.24 * sum(counts)), height_ratios=[2 + count for count in counts]
    )
    for ax, network in zip(axes, NETWORKS, strict=True):
        final_alphas(table, ax, runs, network)
    return figure


def final_alphas(table: pd.DataFrame, ax: Axes, runs: Runs, network: str) -> Axes:
    """tables.last_alphas of one network: a row per arm and layer, every finished seed a point."""
    colors, styles = layer_styles(runs), arm_styles(runs)
    own = table[table["network"] == network]
    each = [column for column in table if column.startswith("seed ")]
    for row, layer in enumerate(own.to_dict("records")):
        points = np.array([layer[column] for column in each], dtype=float)
        points = points[np.isfinite(points)]
        ax.plot([-layer["reach"], layer["reach"]], [row, row], color=GRID, lw=5, zorder=0)
        color = colors[layer["layer"]][0]
        marker = "o" if layer["layer"].startswith("full") else "D"
        ax.plot(
            points, [row] * len(points), marker, color=color, ms=6, mec=PAPER, mew=0.7, zorder=3
        )
    ax.axvline(0, color=INK, lw=0.9, zorder=1)
    names = [f"{styles[arm].label}: {layer}" for arm, layer in own[["arm", "layer"]].values]
    ax.set_yticks(range(len(own)), names)
    ax.set_ylim(len(own) - 0.4, -0.6)
    ax.tick_params(axis="y", size=0)
    ax.grid(axis="y", visible=False)
    ax.set_title(network)
    ax.set_xlabel("final alpha (grey: lr \N{MULTIPLICATION SIGN} updates)")
    return ax
