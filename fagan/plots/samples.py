"""Sheets of the sample grids: arms side by side, and one run over its steps."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fagan.plots.budget import STRIP_ROWS, sheet_side, strip_columns
from fagan.plots.look import MUTED, arm_styles
from fagan.records import Runs, grid_step, read_grid


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """(N, R, R, 3) -> one image of N // columns rows."""
    rows, size = len(images) // columns, images.shape[1]
    kept = images[: rows * columns].reshape(rows, columns, size, size, 3)
    return kept.swapaxes(1, 2).reshape(rows * size, columns * size, 3)


def _bare(ax: Axes, image: np.ndarray | None, title: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=8.5)
    if image is None:
        ax.text(0.5, 0.5, "no samples", ha="center", color=MUTED, transform=ax.transAxes)
        ax.set_aspect("equal")
    else:
        ax.imshow(image, interpolation="none")


def sample_sheet(
    runs: Runs, seed: int, real: np.ndarray | None = None, side: int | None = None
) -> Figure:
    """All arms of one seed side by side: the first side x side latents of the last grid.

    real: uint8 (N, 3, R, R) or None; shown first. side: by default what the page has room for.
    """
    styles, tiles, side = arm_styles(runs), [], side or sheet_side(runs)
    if real is not None:
        images = np.asarray(real)[: side * side].transpose(0, 2, 3, 1)
        tiles.append((tile(images, side), "real images\nof the reference"))
    for arm in runs.arms:
        run = runs.runs[(runs.runs["arm"] == arm) & (runs.runs["seed"] == seed)]
        grids = runs.samples(run["run_id"].iloc[0]) if len(run) else []
        image, title = None, styles[arm].label
        if grids:
            cells = read_grid(grids[-1])
            across = round(len(cells) ** 0.5)
            corner = [across * y + x for y in range(side) for x in range(side)]
            image, title = tile(cells[corner], side), f"{title}\n{_state(run.iloc[0], grids[-1])}"
        tiles.append((image, title))
    # the width that leaves the fewest empty places
    columns = min((4, 5, 3), key=lambda width: (-len(tiles) % width, width != 4))
    rows = -(-len(tiles) // columns)
    height = (7 / columns + 0.36) * rows
    figure, axes = plt.subplots(rows, columns, figsize=(7, height), squeeze=False)
    for ax in axes.flat[len(tiles) :]:
        ax.set_axis_off()
    for ax, (image, title) in zip(axes.flat, tiles, strict=False):
        _bare(ax, image, title)
    return figure


def _state(run, grid: Path) -> str:
    """The final score of a run, or how far it came."""
    score = run.get("fd_lite0")
    if run["status"] == "done" and score == score:
        return f"FD-Lite0 {score:.1f}"
    return f"{run['status']}, step {grid_step(grid):,}"


def sample_progress(
    runs: Runs, ax: Axes, arm: str, seed: int, rows: int = STRIP_ROWS, columns: int | None = None
) -> Axes:
    """One run over its steps: a row per chosen step, a column per latent.

    columns: by default what a page with such a strip of every arm has room for.
    """
    columns = columns or strip_columns(runs)
    run = runs.runs[(runs.runs["arm"] == arm) & (runs.runs["seed"] == seed)]
    grids = runs.samples(run["run_id"].iloc[0]) if len(run) else []
    title = f"{arm_styles(runs)[arm].label}, seed {seed}"
    if not grids:
        _bare(ax, None, title)
        return ax
    # evenly spaced over the grids, the first and the last always among them
    chosen = sorted({round(i) for i in np.linspace(0, len(grids) - 1, rows)})
    strips = [np.concatenate(read_grid(grids[i])[:columns], axis=1) for i in chosen]
    status = run["status"].iloc[0]
    _bare(ax, np.concatenate(strips), title if status == "done" else f"{title} ({status})")
    size = strips[0].shape[0]
    ax.set_yticks(
        [size * (i + 0.5) for i in range(len(strips))],
        [f"step {grid_step(grids[i]):,}" for i in chosen],
    )
    ax.tick_params(axis="y", size=0)
    return ax
