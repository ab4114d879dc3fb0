"""How much one page shows, so that no published page passes 5 MB however many arms it compares."""

from dataclasses import replace

import numpy as np
import pandas as pd

from fagan.records import Runs

# Bytes of all sample sheets of a page and of all its strips over training; films have their own
# (films.PAGE_BUDGET). A pixel of a young generator's image takes three of them, as PNG in base64.
SHEETS, STRIPS, PIXEL = 1_800_000, 1_250_000, 3.3
MOST_SIDE, MOST_COLUMNS, STRIP_ROWS = 5, 12, 5
# Points along a curve where its panel is one of a few, and where it is one of many.
POINTS, FEW_POINTS, MANY_ARMS = 64, 24, 8


def sheet_side(runs: Runs) -> int:
    """Images a side of an arm's tile in `sample_sheet`: 5, fewer for many arms and seeds."""
    fitting = SHEETS / (_image(runs) * max(1, len(runs.runs)))
    return int(np.clip(int(fitting**0.5), 2, MOST_SIDE))


def strip_columns(runs: Runs) -> int:
    """Latents in an arm's `sample_progress`: 12, fewer for many arms."""
    fitting = STRIPS / (_image(runs) * STRIP_ROWS * max(1, len(runs.arms)))
    return int(np.clip(int(fitting), 3, MOST_COLUMNS))


def _image(runs: Runs) -> float:
    return PIXEL * float(runs.runs["resolution"].max()) ** 2


def fewer_points(runs: Runs) -> Runs:
    """The runs with as many log steps of alpha and spectral norms as their panels can show.

    Evenly picked, the first and the last always among them; the tables keep every row.
    """
    most = POINTS if len(runs.arms) <= MANY_ARMS else FEW_POINTS
    return replace(runs, alpha=_thin(runs.alpha, most), spectral=_thin(runs.spectral, most))


def _thin(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    kept = []
    for _, own in frame.groupby("run_id", sort=False):
        steps = np.sort(own["step"].unique())
        if len(steps) > most:
            steps = steps[np.linspace(0, len(steps) - 1, most).round().astype(int)]
        kept.append(own[own["step"].isin(steps)])
    return pd.concat(kept) if kept else frame
