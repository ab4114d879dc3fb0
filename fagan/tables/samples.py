"""How much the sample grids still change."""

import numpy as np
import pandas as pd

from fagan.records import Runs, grid_step, read_grid


def grid_changes(runs: Runs, seed: int) -> pd.DataFrame:
    """From one grid of a run to its next: columns run_id, arm, label, before, step, change.

    change: mean absolute difference of the same 64 latents' images, in grey levels of 256. A run
    of which fewer than two grids were kept has no rows.
    """
    rows = []
    for run in runs.runs[runs.runs["seed"] == seed].itertuples():
        grids = runs.samples(run.run_id)
        images = [read_grid(grid).astype(np.float32) for grid in grids]
        for i in range(1, len(grids)):
            row = {"run_id": run.run_id, "arm": run.arm, "label": run.label}
            row |= {"before": grid_step(grids[i - 1]), "step": grid_step(grids[i])}
            rows.append(row | {"change": float(np.abs(images[i] - images[i - 1]).mean())})
    return pd.DataFrame(rows, columns="run_id arm label before step change".split())
