"""Instruments: attention over training, what closing a gate does, spectral norms."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fagan.plots.alphas import NETWORKS, layer_styles
from fagan.plots.axes import log_axis, mark_end, steps_axis
from fagan.plots.budget import fewer_points
from fagan.plots.look import INK, MUTED, arm_styles
from fagan.records import Runs
from fagan.tables import EVERY, ROLES, spectral_roles, uniform_distance

TRACES = {
    "attention_share": "attention's share",
    "entropy_share": "entropy share",
    "distance": "distance (px)",
}
# query and key make the map, value and convolution the output; told apart by dashes as well
ROLE_STYLES = dict(
    zip(
        ROLES,
        (("#d55e00", "-"), ("#cf8a00", "--"), ("#0173b2", "-"), ("#029e73", "-"), ("#949494", ":")),
        strict=True,
    )
)


def instrument_traces(runs: Runs, ax: Axes, arm: str, network: str, column: str) -> Axes:
    """A column of alpha.csv against steps, a line per layer and seed.

    Shares are drawn from 0 to 1; a distance with the one of a layer without any preference dotted.
    """
    styles = layer_styles(runs, runs.alpha)
    own = runs.alpha[(runs.alpha["arm"] == arm) & (runs.alpha["network"] == network)]
    own = own[own[column].notna()]
    status = runs.runs.set_index("run_id")["status"]
    for (layer, run_id), run in own.groupby(["layer", "run_id"], sort=False):
        color, dashes = styles[layer]
        ax.plot(run["step"], run[column], color=color, linestyle=dashes, lw=1.2)
        mark_end(ax, run["step"].iloc[-1], run[column].iloc[-1], color, status[run_id])
    if column == "distance" and len(own):
        resolution = runs.runs.loc[runs.runs["arm"] == arm, "resolution"].iloc[0]
        uniform = max(uniform_distance(layer, resolution) for layer in own["layer"].unique())
        ax.axhline(uniform, color=MUTED, linestyle=":", lw=1.4, zorder=1)
        ax.set_ylim(0, 1.15 * max(uniform, own[column].max()))
    elif not column == "distance":
        ax.set_ylim(-0.03, 1.03)
    if own.empty:
        ax.text(0.5, 0.5, "not recorded", ha="center", color=MUTED, transform=ax.transAxes)
    steps_axis(ax)
    ax.xaxis.get_major_locator().set_params(nbins=4)
    ax.set_xlim(0, runs.runs["steps"].max())
    ax.set_ylabel(TRACES.get(column, column))
    return ax


def traces_figure(runs: Runs, network: str) -> Figure:
    """A row per arm with attention, a column per trace, one legend of layers for all of them."""
    runs = fewer_points(runs)
    own = runs.alpha[(runs.alpha["network"] == network) & runs.alpha["distance"].notna()]
    arms, styles = [arm for arm in runs.arms if arm in set(own["arm"])], arm_styles(runs)
    if not arms:
        return note(f"No arm of this ablation recorded attention in its {network}.")
    figure, axes = plt.subplots(
        len(arms), len(TRACES), figsize=(7, 0.8 + 1.45 * len(arms)), sharex=True, squeeze=False
    )
    for i, arm in enumerate(arms):
        for ax, column in zip(axes[i], TRACES, strict=True):
            instrument_traces(runs, ax, arm, network, column)
            if i < len(arms) - 1:
                ax.set_xlabel("")
        axes[i, 0].set_title(styles[arm].label)
    # one scale for all arms, up to the largest share: most are far below 1
    top = max(0.1, 1.1 * own["attention_share"].max()) if own["attention_share"].any() else 1
    for ax in axes[:, 0]:
        ax.set_ylim(-0.03 * top, top)
    present = own["layer"].unique()
    handles = [
        Line2D([], [], color=color, linestyle=dashes, label=layer)
        for layer, (color, dashes) in layer_styles(runs, runs.alpha).items()
        if layer in present
    ]
    handles.append(Line2D([], [], color=MUTED, linestyle=":", label="no preference"))
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


def interventions(table: pd.DataFrame, ax: Axes, runs: Runs, intervention: str) -> Axes:
    """tables.interventions: a row per arm and layer, every seed a point, mean and range over it.

    The change is drawn on an axis that is logarithmic beyond +-10, since it spans decades.
    """
    styles, rows = arm_styles(runs), _intervened(table)
    own = table[table["intervention"] == intervention].set_index(["arm", "layer"])
    each = [column for column in table if column.startswith("seed ")]
    for place, (arm, layer) in enumerate(rows):
        if (arm, layer) not in own.index:
            none = {"transform": ax.get_yaxis_transform(), "ha": "center", "va": "center"}
            ax.text(0.5, place, "\N{EN DASH}", color=MUTED, **none)
            continue
        row, look = own.loc[(arm, layer)], styles[arm]
        points = row[each].to_numpy(dtype=float)
        points = points[np.isfinite(points)]
        if not len(points):
            ax.text(0, place, "not finite", va="center", color=MUTED, fontsize=7.5)
            continue
        ax.plot([row["min"], row["max"]], [place, place], color=look.color, lw=1.2, zorder=2)
        mean = [row["mean"]] * 2
        ax.plot(mean, [place - 0.36, place + 0.36], color=look.color, lw=2.2, zorder=2)
        spread = np.linspace(-0.14, 0.14, len(points)) if len(points) > 1 else np.zeros(1)
        ax.plot(points, place + spread, color=look.color, ls="", ms=6, zorder=3, **look.points)
    ax.axvline(0, color=INK, lw=0.9, zorder=1)
    ax.set_xscale("symlog", linthresh=10, linscale=0.6)
    ax.set_xlabel("change in FD-Lite0")
    ax.set_title(intervention)
    names = [f"{styles[arm].label}: {'all' if layer == EVERY else layer}" for arm, layer in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", size=0)
    ax.grid(axis="y", visible=False)
    return ax


def interventions_figure(table: pd.DataFrame, runs: Runs) -> Figure:
    """A column per intervention, a row per arm and layer."""
    kinds = list(dict.fromkeys(table["intervention"]))
    if not kinds:
        return note("No finished run of this ablation recorded an intervention.")
    rows = _intervened(table)
    size = (7, 0.9 + 0.22 * len(rows))
    figure, axes = plt.subplots(
        1, len(kinds), figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for ax, kind in zip(axes[0], kinds, strict=True):
        interventions(table, ax, runs, kind)
    low, high = table["min"].min(), table["max"].max()
    axes[0, 0].set_xlim(min(1.6 * low, -3), max(1.6 * high, 11))
    _few_decades(axes[0, 0])
    for line in np.flatnonzero([layer == EVERY for _, layer in rows])[:-1]:
        for ax in axes[0]:
            ax.axhline(line + 0.5, color=MUTED, lw=0.5, zorder=0)
    return figure


def _intervened(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(arm, layer) in the table's order, each arm's `all` last."""
    pairs = list(dict.fromkeys(zip(table["arm"], table["layer"], strict=True)))
    arms = list(dict.fromkeys(arm for arm, _ in pairs))
    return sorted(pairs, key=lambda pair: (arms.index(pair[0]), pair[1] == EVERY))


def _few_decades(ax: Axes) -> None:
    low, high = ax.get_xlim()
    decades = (2, 3, 4) if max(-low, high) > 300 else (1, 2)
    ticks = [0, *(sign * 10**i for i in decades for sign in (-1, 1))]
    shown = [tick for tick in ticks if low <= tick <= high]
    ax.set_xticks(
        shown, [f"{tick:,}".replace("-", "\N{MINUS SIGN}") for tick in shown], fontsize=7.5
    )
    ax.minorticks_off()


def spectral_norms(runs: Runs, ax: Axes, arm: str, network: str) -> Axes:
    """Largest singular value of every convolution against steps, a line per layer and seed."""
    frame = spectral_roles(runs)
    own = frame[(frame["arm"] == arm) & (frame["network"] == network)]
    for (_, _, role), run in own.groupby(["layer", "run_id", "role"], sort=False):
        color, dashes = ROLE_STYLES[role]
        ax.plot(run["step"], run["spectral_norm"], color=color, linestyle=dashes, lw=1.1)
    ax.axhline(1, color=INK, lw=0.9, zorder=1)
    ax.set_yscale("log")
    log_axis(ax.yaxis)
    steps_axis(ax)
    ax.xaxis.get_major_locator().set_params(nbins=4)
    ax.set_xlim(0, runs.runs["steps"].max())
    ax.set_ylabel("spectral norm")
    return ax


def spectral_figure(runs: Runs) -> Figure:
    """A row per arm, a column per network; the same logarithmic axis everywhere."""
    runs = fewer_points(runs)
    arms, styles = [arm for arm in runs.arms if arm in set(runs.spectral["arm"])], arm_styles(runs)
    if not arms:
        return note("The runs of this ablation recorded no spectral norms.")
    figure, axes = plt.subplots(
        len(arms),
        2,
        figsize=(7, 0.7 + 1.45 * len(arms)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for i, arm in enumerate(arms):
        for ax, network in zip(axes[i], NETWORKS, strict=True):
            spectral_norms(runs, ax, arm, network)
            ax.set_title(f"{styles[arm].label}, {network}")
            if i < len(arms) - 1:
                ax.set_xlabel("")
            if network == NETWORKS[1]:
                ax.set_ylabel("")
    handles = [
        Line2D([], [], color=color, linestyle=dashes, label=role if role != "other" else "others")
        for role, (color, dashes) in ROLE_STYLES.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=5)
    return figure


def note(words: str) -> Figure:
    """A figure that says why there is none."""
    figure, ax = plt.subplots(figsize=(7, 0.6))
    ax.set_axis_off()
    ax.text(0, 0.5, words, color=MUTED)
    return figure
