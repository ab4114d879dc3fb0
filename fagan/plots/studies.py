"""What `fagan.studies` computes: attention maps over images, receptive fields."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from fagan.plots.alphas import NETWORKS
from fagan.plots.instruments import note
from fagan.plots.look import INK, MUTED, PAPER, arm_styles
from fagan.records import Runs

WARM, COOL = "#d55e00", "#0173b2"
# a field's influences span decades; what is below a thousandth of the strongest is drawn as nothing
DECADES = 3
FIELD_MAP = "cividis"


def look(row: pd.Series, ax: Axes) -> Axes:
    """One map of studies.attention_looks over its image in grey; the query is a cross.

    The stronger the colour, the larger the weight, up to the map's own peak, which is written
    below in multiples of a uniform map's weight.
    """
    image = np.asarray(row["image"])
    size = len(image)
    gray = image.mean(-1) / 255
    ax.imshow(0.35 + 0.65 * gray, cmap="gray", vmin=0, vmax=1, extent=(0, size, size, 0))
    weights = np.asarray(row["map"])
    heat = np.empty((*weights.shape, 4))
    heat[..., :3] = to_rgb(WARM)
    heat[..., 3] = 0.85 * weights / weights.max()
    ax.imshow(heat, extent=(0, size, size, 0), interpolation="none")
    _query(ax, row)
    ax.set_xlabel(f"{row['peak']:,.3g}\N{MULTIPLICATION SIGN}", fontsize=7, labelpad=1)
    return _bare(ax, size)


def looked_at(row: pd.Series, ax: Axes) -> Axes:
    """The image of a look as it is, with its query."""
    image = np.asarray(row["image"])
    ax.imshow(image, extent=(0, len(image), len(image), 0), interpolation="none")
    _query(ax, row)
    ax.set_title(f"point {row['query']}", fontsize=8, loc="center")
    return _bare(ax, len(image))


def looks_figure(looks: pd.DataFrame, runs: Runs, run_id: str) -> Figure:
    """One run: a row per layer, a column per network and query; the image itself on top."""
    own = looks[looks["run_id"] == run_id]
    present = [network for network in NETWORKS if network in set(own["network"])]
    queries = sorted(own["query"].unique())
    layers = {
        network: list(dict.fromkeys(own.loc[own["network"] == network, "layer"]))
        for network in present
    }
    rows = 1 + max(map(len, layers.values()))
    figure = plt.figure(figsize=(7, 0.45 + 1.32 * rows * 3 / max(3, len(queries))))
    parts = figure.subfigures(1, len(NETWORKS), wspace=0.04)
    for part, network in zip(parts, NETWORKS, strict=True):
        if network not in present:
            continue
        shown = own[own["network"] == network]
        part.suptitle(network, fontsize=9.5, fontweight="bold", x=0.02, ha="left")
        axes = part.subplots(rows, len(queries), squeeze=False)
        for column, query in enumerate(queries):
            at_query = shown[shown["query"] == query].set_index("layer")
            looked_at(at_query.iloc[0], axes[0, column])
            for ax, layer in zip(axes[1:, column], layers[network], strict=False):
                look(at_query.loc[layer], ax)
                if column == 0:
                    ax.set_title(_layer_title(at_query.loc[layer]), fontsize=8, fontweight="normal")
            for ax in axes[1 + len(layers[network]) :, column]:
                ax.set_axis_off()
    return figure


def _layer_title(row: pd.Series) -> str:
    alpha = row["alpha"]
    if alpha is None or alpha != alpha:
        return row.name
    return f"{row.name}, alpha {alpha:.2g}".replace("-", "\N{MINUS SIGN}")


def _query(ax: Axes, row: pd.Series) -> None:
    at = {"x": row["column"] + 0.5, "y": row["row"] + 0.5}
    ax.plot(at["x"], at["y"], "+", color=PAPER, ms=8, mew=2.6, zorder=3)
    ax.plot(at["x"], at["y"], "+", color=COOL, ms=7, mew=1.4, zorder=4)


def _bare(ax: Axes, size: int) -> Axes:
    ax.set_xlim(0, size)
    ax.set_ylim(size, 0)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax


def field_map(row: pd.Series, ax: Axes) -> Axes:
    """One map of a studies frame of fields, logarithmic; the convolutions' field is the square."""
    field = np.asarray(row["map"], dtype=float)
    size = len(field)
    peak = np.nanmax(field) if np.isfinite(field).any() else 1.0
    norm = LogNorm(10**-DECADES, 1, clip=True)
    ax.imshow(field / peak, cmap=FIELD_MAP, norm=norm, extent=(0, size, size, 0))
    side = min(row["theory"], size)
    # the middle cell's field is centred on its cell, in whole pixels, and cut by the border
    centre = (row["grid"] // 2 + 0.5) * size / row["grid"]
    start = min(max(round(centre - side / 2), 0), size - side)
    square = Rectangle(
        (start, start), side, side, fill=False, edgecolor=WARM, lw=1.3, clip_on=False
    )
    ax.add_patch(square)
    ax.set_xlabel(f"{100 * row['share']:.0f} %", fontsize=7.5, labelpad=2)
    return _bare(ax, size)


def field_maps_figure(fields: pd.DataFrame, runs: Runs, by: str = "layer") -> Figure:
    """A row per arm of one seed as trained, a column per place; `by` names what titles a map."""
    own = fields[fields["attention"] == "as trained"]
    own = own[own["seed"] == own["seed"].min()]
    arms, styles = [arm for arm in runs.arms if arm in set(own["arm"])], arm_styles(runs)
    if not arms:
        return note("No run here has the weights and images that this needs.")
    columns = max(5, int(own["place"].max()))
    figure, axes = plt.subplots(
        len(arms), columns, figsize=(7, 0.1 + (6.7 / columns + 0.33) * len(arms)), squeeze=False
    )
    for line, arm in zip(axes, arms, strict=True):
        mine = own[own["arm"] == arm].sort_values("place")
        for ax, (_, row) in zip(line, mine.iterrows(), strict=False):
            field_map(row, ax)
            ax.set_title(row[by], fontsize=8, fontweight="normal")
        line[0].set_ylabel(styles[arm].label, fontsize=8, fontweight="bold", labelpad=3)
        for ax in line[len(mine) :]:
            ax.set_axis_off()
    return figure


def field_sizes(fields: pd.DataFrame, ax: Axes, runs: Runs, arm: str) -> Axes:
    """Side of the field against depth: in theory, as trained, and with every gate closed.

    Every seed is a point, their mean the line. In pixels of the image, or cells of the source.
    """
    look, own = arm_styles(runs)[arm], fields[fields["arm"] == arm]
    theory = own.groupby("place")["theory"].first()
    ax.plot(theory.index, theory, color=MUTED, ls=":", marker="_", ms=11, mew=2, lw=1.4)
    for attention, dashes, face in (
        ("alpha = 0", "--", PAPER),
        ("as trained", "-", look.color),
    ):
        one = own[own["attention"] == attention]
        mean = one.groupby("place")["size"].mean()
        ax.plot(mean.index, mean, color=look.color, ls=dashes, lw=1.4)
        ax.plot(one["place"], one["size"], look.marker, color=look.color, mfc=face, ms=4.5, mew=1.1)
    names = own.groupby("place")["layer"].first()
    ax.set_xticks(names.index, names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_ylim(0, 1.06 * own["source_grid"].max())
    ax.axhline(own["source_grid"].max(), color=INK, lw=0.9, zorder=1)
    ax.set_ylabel("field (px a side)")
    ax.grid(axis="x", visible=False)
    ax.set_title(look.label)
    return ax


def field_sizes_figure(fields: pd.DataFrame, runs: Runs) -> Figure:
    """A panel per arm, three in a row, one legend."""
    arms = [arm for arm in runs.arms if arm in set(fields["arm"])]
    if not arms:
        return note("No run here has the weights and images that this needs.")
    figure, axes = _panels(len(arms), 2.2)
    for ax, arm in zip(axes.flat, arms, strict=False):
        field_sizes(fields, ax, runs, arm)
        if ax not in axes[:, 0]:
            ax.set_ylabel("")
    handles = [
        Line2D(
            [], [], color=MUTED, ls=":", marker="_", ms=11, mew=2, label="convolutions, in theory"
        ),
        Line2D(
            [], [], color=INK, ls="--", marker="o", mfc=PAPER, ms=4.5, label="alpha = 0, in effect"
        ),
        Line2D([], [], color=INK, marker="o", ms=4.5, label="as trained, in effect"),
        Line2D([], [], color=INK, lw=0.9, label="the image"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.2)
    return figure


def outside(fields: pd.DataFrame, ax: Axes, runs: Runs, arm: str) -> Axes:
    """The influence that only attention can bring, by layer: every seed a point, their mean a bar.

    Without the logit, whose convolution sees everything.
    """
    look, own = arm_styles(runs)[arm], fields[(fields["arm"] == arm) & (fields["grid"] > 1)]
    own = own[own["attention"] == "as trained"]
    mean = 100 * own.groupby("place")["outside"].mean()
    ax.bar(mean.index, mean, width=0.6, color=look.color, alpha=0.35)
    ax.plot(own["place"], 100 * own["outside"], color=look.color, ls="", ms=5, **look.points)
    names = own.groupby("place")["layer"].first()
    ax.set_xticks(names.index, names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_ylabel("influence by\nattention alone (%)")
    ax.grid(axis="x", visible=False)
    ax.set_title(look.label)
    return ax


def outside_figure(fields: pd.DataFrame, runs: Runs) -> Figure:
    """A panel per arm whose gates can all be closed, three in a row."""
    able = fields[(fields["attention"] == "alpha = 0") & fields["outside"].notna()]
    arms = [arm for arm in runs.arms if arm in set(able["arm"])]
    shown = fields[fields["arm"].isin(arms) & (fields["grid"] > 1)]
    if not arms:
        return note("No discriminator here has gates that can all be closed.")
    figure, axes = _panels(len(arms), 1.9)
    for ax, arm in zip(axes.flat, arms, strict=False):
        outside(fields, ax, runs, arm)
        if ax not in axes[:, 0]:
            ax.set_ylabel("")
    axes[0, 0].set_ylim(0, 108 * max(shown["outside"].max(), 1e-3))
    return figure


def _panels(count: int, height: float):
    """(figure, axes) of `count` panels, three in a row, on one scale; what is left over is off."""
    rows = -(-count // 3)
    size = (7, 0.4 + height * rows)
    figure, axes = plt.subplots(rows, 3, figsize=size, sharey=True, squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure, axes
