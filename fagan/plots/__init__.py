"""Figures: (Runs or a table, ax) -> ax, in the suite's one look.

>>> fig, ax = plt.subplots()                                # doctest: +SKIP
>>> plots.show(fig, "what it shows", path)                  # doctest: +SKIP
"""

from fagan.plots.alphas import (
    alpha_figure,
    alpha_trajectories,
    final_alphas,
    final_alphas_figure,
    layer_styles,
)
from fagan.plots.bench import step_times
from fagan.plots.curves import differences, final_scores, learning_curves, losses
from fagan.plots.look import (
    METRICS,
    PALETTE,
    ArmStyle,
    arm_styles,
    render_figure,
    save,
    show,
    style,
    use_style,
)
from fagan.plots.samples import read_grid, sample_progress, sample_sheet, tile

__all__ = [
    "METRICS",
    "PALETTE",
    "ArmStyle",
    "alpha_figure",
    "alpha_trajectories",
    "arm_styles",
    "differences",
    "final_alphas",
    "final_alphas_figure",
    "final_scores",
    "layer_styles",
    "learning_curves",
    "losses",
    "read_grid",
    "render_figure",
    "sample_progress",
    "sample_sheet",
    "save",
    "show",
    "step_times",
    "style",
    "tile",
    "use_style",
]
