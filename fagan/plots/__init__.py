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
from fagan.plots.blog import (
    alpha_bands,
    alpha_bands_figure,
    changes,
    comparison_rows,
    comparisons_figure,
    coverage_figure,
    kernel_sizes,
    kernels_figure,
    low_figure,
    released_figure,
)
from fagan.plots.budget import fewer_points, sheet_side, strip_columns
from fagan.plots.curves import differences, final_scores, learning_curves, losses
from fagan.plots.films import (
    Frame,
    film,
    film_limit,
    interpolation_frames,
    show_film,
    still,
    training_frames,
)
from fagan.plots.instruments import (
    instrument_traces,
    interventions,
    interventions_figure,
    note,
    spectral_figure,
    spectral_norms,
    traces_figure,
)
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
from fagan.plots.metrics import (
    degradation,
    degradations_figure,
    extrapolation,
    floor_over_size,
)
from fagan.plots.samples import sample_progress, sample_sheet, tile
from fagan.plots.studies import (
    field_map,
    field_maps_figure,
    field_sizes,
    field_sizes_figure,
    looks_figure,
    outside_figure,
)

__all__ = [
    "METRICS",
    "PALETTE",
    "ArmStyle",
    "Frame",
    "alpha_bands",
    "alpha_bands_figure",
    "alpha_figure",
    "alpha_trajectories",
    "arm_styles",
    "changes",
    "comparison_rows",
    "comparisons_figure",
    "coverage_figure",
    "degradation",
    "degradations_figure",
    "differences",
    "extrapolation",
    "fewer_points",
    "field_map",
    "field_maps_figure",
    "field_sizes",
    "field_sizes_figure",
    "film",
    "film_limit",
    "final_alphas",
    "final_alphas_figure",
    "final_scores",
    "floor_over_size",
    "instrument_traces",
    "interpolation_frames",
    "interventions",
    "interventions_figure",
    "kernel_sizes",
    "kernels_figure",
    "layer_styles",
    "learning_curves",
    "looks_figure",
    "losses",
    "low_figure",
    "note",
    "outside_figure",
    "released_figure",
    "render_figure",
    "sample_progress",
    "sample_sheet",
    "save",
    "sheet_side",
    "show",
    "show_film",
    "spectral_figure",
    "spectral_norms",
    "step_times",
    "still",
    "strip_columns",
    "style",
    "tile",
    "traces_figure",
    "training_frames",
    "use_style",
]
