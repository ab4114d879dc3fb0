"""The figures of the page that answers the blog: comparisons, kernels, bands of alphas, modes."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from fagan.plots.alphas import NETWORKS, layer_styles
from fagan.plots.axes import floor_line, logarithm_of, percent_of, ratio_axis, steps_axis
from fagan.plots.budget import fewer_points
from fagan.plots.instruments import interventions_figure, note
from fagan.plots.look import INK, METRICS, MUTED, PAPER, arm_styles
from fagan.plots.studies import field_sizes_figure
from fagan.records import Runs
from fagan.tables import (
    FD,
    SOON,
    arm_configs,
    closed_gates,
    final_scores,
    is_pure,
    kernel_pairs,
    low_layers,
    pure_pairs,
    read_table,
    sized_kernel_pairs,
    train_mode,
)
from fagan.tables import interventions as interventions_table

CROWDED = 12  # intervals over points, beyond which an axis shows the points


def comparison_rows(rows: pd.DataFrame, ax: Axes, runs: Runs) -> Axes:
    """tables.comparisons: every seed a point, the mean a bar, the corrected interval a line.

    A thick interval is called. The zero line is the baseline named after the minus. Intervals that
    would press everything else together (n = 2 has one degree of freedom) end in an arrow.
    """
    styles = arm_styles(runs)
    each = [column for column in rows if column.startswith("seed ")]
    for place, row in enumerate(rows.to_dict("records")):
        look = styles.get(row["arm"])
        color = look.color if look else INK
        ends = [row["low"], row["high"]]
        ax.plot(ends, [place] * 2, color=color, lw=4.5 if row["called"] else 1.4, alpha=0.55)
        ax.plot([row["mean"]] * 2, [place - 0.34, place + 0.34], color=color, lw=2.6, zorder=2)
        points = np.array([row[column] for column in each], dtype=float)
        points = points[np.isfinite(points)]
        if look and len(points):
            spread = np.linspace(-0.16, 0.16, len(points)) if len(points) > 1 else np.zeros(1)
            ax.plot(points, place + spread, color=color, ls="", ms=6, zorder=3, **look.points)
    ax.axvline(0, color=INK, lw=0.9, zorder=0)
    ratios = rows["measure"].isin((FD, SOON)).all()
    reach = _cut_off(rows, each, ax, ratios)
    if ratios:
        ratio_axis(ax, reach)
    else:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number_on_axis(value)))
    ax.set_yticks(range(len(rows)), rows["label"])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", size=0)
    ax.grid(axis="y", visible=False)
    return ax


def _cut_off(rows: pd.DataFrame, each: list[str], ax: Axes, ratios: bool) -> float | None:
    """Limit an axis whose intervals are more than CROWDED times as wide as its points lie.

    Returns where it ends on both sides of 0, of ratios as a logarithm; None where it is not cut.
    """
    to, back = (logarithm_of, percent_of) if ratios else (np.array, np.array)
    points = np.nanmax(np.abs(to(rows[["mean", *each]].to_numpy(float))))
    ends = to(rows[["low", "high"]].to_numpy(float))
    if not np.nanmax(np.abs(ends), initial=0) > CROWDED * points:
        return None
    edge = CROWDED / 3 * points
    ax.set_xlim(back(-edge), back(edge))
    for place, (low, high) in enumerate(ends):
        for end, side, marker in ((low, -edge, "<"), (high, edge, ">")):
            if abs(end) > edge:
                ax.plot(back(side), place, marker, color=MUTED, ms=5, clip_on=False, zorder=4)
    return edge


def number_on_axis(value: float) -> str:
    return f"{value:,g}".replace("-", "\N{MINUS SIGN}")


def comparisons_figure(rows: pd.DataFrame, runs: Runs, words: str) -> Figure:
    """A panel per subject and measure, one below the other; `words` where there is none."""
    rows = rows[(rows["n"] > 0) & rows["mean"].notna()]
    panels = [own for _, own in rows.groupby(["subject", "measure"], sort=False)]
    if not panels:
        return note(words)
    heights = [0.9 + len(own) for own in panels]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(7, 0.55 * len(panels) + 0.36 * sum(heights)),
        height_ratios=heights,
        squeeze=False,
    )
    for ax, own in zip(axes[:, 0], panels, strict=True):
        comparison_rows(own, ax, runs)
        ax.set_title(own["subject"].iloc[0])
        measure = own["measure"].iloc[0]
        pairs = own["baseline"].iloc[0] != ""
        of_ratios = f"{measure.removesuffix(' (%)')} against the second arm at the same seed"
        plain = f"difference in {measure} at the same seed" if pairs else measure
        ax.set_xlabel(of_ratios if measure in (FD, SOON) else plain)
    return figure


def kernel_sizes(runs: Runs, ax: Axes, metric: str = "fd_lite0") -> Axes:
    """Score of the networks of full attention alone against their kernel size, every seed a point.

    Equal width solid and filled, equal parameters dashed and hollow; the controls without full
    attention are lines at their means, the floor dotted.
    """
    arms, styles = arm_configs(runs), arm_styles(runs)
    scores = final_scores(runs, metric).dropna(subset=["value"])
    color = styles[next(name for name, arm in arms.iterrows() if is_pure(arm))].color
    sized = {arm for pair in sized_kernel_pairs(arms) for arm in pair}
    wide = {arm for pair in kernel_pairs(arms) for arm in pair} or {
        name for name, arm in arms.iterrows() if is_pure(arm) and name not in sized
    }
    for names, dashes, face, words in (
        (wide, "-", color, "equal width"),
        (sized, "--", PAPER, "equal parameters"),
    ):
        own = scores[scores["arm"].isin(names)]
        own = own.assign(kernel=own["arm"].map(arms["kernel_size"]).astype(int))
        if own.empty:
            continue
        mean = own.groupby("kernel")["value"].mean()
        ax.plot(mean.index, mean, color=color, ls=dashes, lw=1.6, zorder=2)
        ax.plot(own["kernel"], own["value"], "D", color=color, mfc=face, ms=5.5, zorder=3)
        ax.plot([], [], "D", color=color, mfc=face, ls=dashes, label=words)
    means = scores.groupby("arm")["value"].mean()
    for arm in dict.fromkeys(control for _, control in pure_pairs(arms)):
        if arm in means:
            ax.axhline(means[arm], color=styles[arm].color, lw=1.3, label=styles[arm].label)
    floor_line(ax, runs, "final", metric, "x")
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number_on_axis(value)))
    ax.set_xticks(range(1, 8))
    ax.set_xlim(0.6, 7.4)
    ax.set_xlabel("kernel size")
    ax.set_ylabel(f"{METRICS.get(metric, metric)}, lower is better")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), ncols=1)
    return ax


def kernels_figure(runs: Runs) -> Figure:
    """`kernel_sizes`, or a note where no network consists of full attention alone."""
    arms = arm_configs(runs)
    if not any(is_pure(arm) for _, arm in arms.iterrows()):
        return note("No arm here consists of full attention alone.")
    figure, ax = plt.subplots(figsize=(7, 3.2))
    kernel_sizes(runs, ax)
    return figure


def alpha_bands(runs: Runs, ax: Axes, arm: str, network: str) -> Axes:
    """Alpha against steps: a band from the lowest to the highest finished seed, a line at the mean.

    Of a self-attention layer |alpha|: there the sign is a symmetry, and a mean of signs is nothing.
    """
    colors = layer_styles(runs)
    done = runs.runs.loc[runs.runs["status"] == "done", "run_id"]
    own = runs.gates[(runs.gates["arm"] == arm) & (runs.gates["network"] == network)]
    for layer, trace in own[own["run_id"].isin(done)].groupby("layer", sort=False):
        color, dashes = colors[layer]
        size = trace["alpha"].abs() if layer.startswith("self") else trace["alpha"]
        by_step = size.groupby(trace["step"])
        low, high, mean = by_step.min(), by_step.max(), by_step.mean()
        ax.fill_between(low.index, low, high, color=color, alpha=0.22, lw=0)
        ax.plot(mean.index, mean, color=color, ls=dashes, lw=1.5)
    ax.axhline(0, color=INK, lw=0.9, zorder=1)
    steps_axis(ax)
    ax.set_ylabel("alpha")
    return ax


def alpha_bands_figure(runs: Runs) -> Figure:
    """A row per arm whose gates learn, a column per network, one legend of layers."""
    runs = fewer_points(runs)
    learned = arm_configs(runs)["alpha"] != "frozen"
    arms = [arm for arm in runs.arms if arm in set(runs.gates["arm"]) and learned[arm]]
    if not arms:
        return note("No arm of this ablation has a gate that learns.")
    figure, axes = plt.subplots(
        len(arms), 2, figsize=(7, 0.7 + 1.5 * len(arms)), sharex=True, sharey="col", squeeze=False
    )
    for i, arm in enumerate(arms):
        for ax, network in zip(axes[i], NETWORKS, strict=True):
            alpha_bands(runs, ax, arm, network)
            ax.set_title(f"{runs.labels[arm]}, {network}")
            if ax is axes[i, 1]:
                ax.set_ylabel("")
            if i < len(arms) - 1:
                ax.set_xlabel("")
    handles = [
        Line2D([], [], color=color, ls=dashes, label=f"|{layer}|" if dashes == "--" else layer)
        for layer, (color, dashes) in layer_styles(runs).items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


def changes(
    table: pd.DataFrame, ax: Axes, runs: Runs, effects: pd.DataFrame, words: Sequence[str]
) -> Axes:
    """Changes of single runs by arm, every seed a point; below them the interval of their mean.

    table: arm, seed, value. effects: the row of tables.comparisons about them. words: x label and
    what the zero line is.
    """
    styles, shown = arm_styles(runs), [arm for arm in runs.arms if arm in set(table["arm"])]
    for place, arm in enumerate(shown):
        points = table.loc[table["arm"] == arm, "value"].to_numpy(float)
        look = styles[arm]
        spread = np.linspace(-0.16, 0.16, len(points)) if len(points) > 1 else np.zeros(1)
        ax.plot(points, place + spread, color=look.color, ls="", ms=6, **look.points)
    for row in effects.to_dict("records"):
        ax.plot([row["low"], row["high"]], [len(shown)] * 2, color=INK, lw=1.6)
        ax.plot(row["mean"], len(shown), "|", color=INK, ms=13, mew=2.4)
    ax.axvline(0, color=INK, lw=0.9, zorder=0)
    above = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points"}
    ax.annotate(words[1], (0, 1), (3, 3), color=MUTED, fontsize=8, **above)
    names = [styles[arm].label for arm in shown] + (["mean, corrected"] if len(effects) else [])
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", size=0)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(words[0])
    return ax


def coverage_figure(runs: Runs) -> Figure:
    """The receptive fields that the page `receptive_field` measured, as `field_sizes_figure`."""
    fields = read_table(runs, "receptive_fields.csv")
    if fields is None or fields.empty:
        return note("Not measured: the page of the receptive fields writes the table for this.")
    return field_sizes_figure(fields, runs)


def low_figure(runs: Runs) -> Figure:
    """`interventions` of the layers with few cells, each closed alone."""
    table = interventions_table(runs)
    own = table[table["layer"].isin(low_layers(closed_gates(runs)))]
    own = own[own["intervention"] == "alpha = 0"]
    if own.empty:
        return note("No generator here was tried with its attention at 4x4 or 8x8 closed.")
    return interventions_figure(own, runs)


def released_figure(rows: pd.DataFrame, runs: Runs) -> Figure:
    """Samples in train mode, every run, and below them what was trained with the defects."""
    modes, own = train_mode(runs), rows[rows["question"] == "released"]
    effects = own[(own["baseline"] == "") & (own["n"] > 1)]
    pairs = [part for _, part in own[own["baseline"] != ""].groupby("subject", sort=False)]
    if modes.empty and not pairs:
        return note("This needs the weights of finished runs, or arms with the released code.")
    heights = [0.9 + len(part) for part in pairs]
    if len(modes):
        heights.insert(0, 1.9 + modes["arm"].nunique())
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(7, 0.55 * len(heights) + 0.32 * sum(heights)),
        height_ratios=heights,
        squeeze=False,
    )
    left = list(axes[:, 0])
    if len(modes):
        words = ("change of FD-Lite0 in train mode (%)", "eval mode")
        changes(modes, left.pop(0), runs, effects, words)
    for ax, part in zip(left, pairs, strict=True):
        comparison_rows(part, ax, runs)
        ax.set_title(part["subject"].iloc[0])
        ax.set_xlabel(f"difference in {part['measure'].iloc[0]} at the same seed")
    return figure
