"""What a change of one and the same network does: its gates closed, its samples in train mode.

Runs that share a seed share its latents and images, so they are no independent values: the arms'
mean within each seed is one, and n counts seeds. A change is a ratio of two scores, in % of the one
as trained, so means over arms and over seeds are geometric, as those of `tables.contrasts` are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from fagan.records import Runs
from fagan.tables import variants
from fagan.tables.effects import from_percent, in_percent
from fagan.tables.instruments import EVERY, TRAINED
from fagan.tables.scores import numbers, ordered

GATES = {
    "full": "all gates of networks with full attention",
    "self": "all gates of networks with self-attention alone",
}


@dataclass(frozen=True)
class Change:
    """One of them in every finished run that has it: values holds run_id, arm, seed and value."""

    question: str
    subject: str
    values: pd.DataFrame


def changes(runs: Runs) -> Iterator[Change]:
    """Every change of FD in % that the page speaks of, where a finished run has one."""
    closed = closed_gates(runs)
    arms = variants.arm_configs(runs)
    kinds = closed["arm"].map({arm: variants.gated_kind(row) for arm, row in arms.iterrows()})
    for kind, subject in GATES.items():
        own = closed[(closed["layer"] == EVERY) & (kinds == kind)]
        yield Change("gates", subject, own)
    for layer in low_layers(closed):
        own = closed[closed["layer"] == layer]
        yield Change("low resolution", f"alpha of {layer} set to 0", own)
    yield Change("released", "samples in train mode", train_mode(runs))


def pooled_arms(values: pd.DataFrame) -> list[str]:
    """The arms whose mean within a seed is one value: those that have every seed of the others.

    An arm that lost a seed would make the means of two seeds means over different arms.
    """
    values = values[values["value"].notna()]
    held = values.groupby("arm", sort=False)["seed"].nunique()
    return list(held.index[held == values["seed"].nunique()])


def seed_means(values: pd.DataFrame) -> pd.Series:
    """By seed: the geometric mean over the `pooled_arms`, in %."""
    own = values[values["arm"].isin(pooled_arms(values))]
    return own.groupby("seed")["value"].agg(ratio_mean)


def ratio_mean(percents: pd.Series) -> float:
    """The geometric mean of ratios that are given in % above one; NaN where there is none."""
    return in_percent(from_percent(percents).mean())


def arm_changes(runs: Runs) -> pd.DataFrame:
    """One row per change and arm: question, subject, arm, label, n seeds, mean, `pooled`."""
    rows = []
    for change in changes(runs):
        kept = pooled_arms(change.values)
        own = change.values[change.values["value"].notna()]
        for arm, part in own.groupby("arm", sort=False):
            row = {"question": change.question, "subject": change.subject, "arm": arm}
            row |= {"label": runs.labels[arm], "n": part["seed"].nunique()}
            rows.append(row | {"mean": ratio_mean(part["value"]), "pooled": arm in kept})
    columns = ["question", "subject", "arm", "label", "n", "mean", "pooled"]
    if not rows:
        return pd.DataFrame(columns=columns)
    frame = pd.DataFrame(rows, columns=columns)
    return pd.concat(
        [ordered(runs, own) for _, own in frame.groupby(["question", "subject"], sort=False)],
        ignore_index=True,
    )


def closed_gates(runs: Runs) -> pd.DataFrame:
    """One row per finished run and layer: arm, seed, layer, value, FD's change at alpha = 0 in %.

    Of arms whose gates were trained: one that is frozen has not chosen its alpha.
    """
    state = runs.runs.set_index("run_id")
    learned = state[(state["status"] == "done") & (state["alpha"] != "frozen")].index
    frame = runs.interventions[runs.interventions["run_id"].isin(learned)]
    trained = frame[frame["intervention"] == TRAINED].set_index("run_id")["fd"].astype(float)
    frame = frame[frame["intervention"] == "alpha = 0"]
    share = numbers(frame, "change") / frame["run_id"].map(trained).astype(float)
    frame = frame.assign(value=100 * share)
    return frame[["run_id", "arm", "seed", "layer", "value"]].reset_index(drop=True)


def low_layers(closed: pd.DataFrame) -> list[str]:
    """The layers of at most LOW cells a side in `closed_gates`, by size: "full 4x4", "self 8x8"."""
    sides = {}
    for layer in closed["layer"].unique():
        side = layer.rpartition(" ")[2].partition("x")[0]
        if side.isdigit() and int(side) <= variants.LOW:
            sides[layer] = int(side)
    return sorted(sides, key=lambda layer: (sides[layer], layer))


TRAIN_MODE = "train_mode.csv"


def train_mode(runs: Runs) -> pd.DataFrame:
    """`studies.train_mode_scores` as the blog's page wrote it, value: FD's change in %."""
    frame = read_table(runs, TRAIN_MODE)
    if frame is None or frame.empty:
        return pd.DataFrame(columns=["run_id", "arm", "seed", "value"])
    return frame.assign(value=100 * (frame["fd_train"] / frame["fd_eval"] - 1))


def read_table(runs: Runs, name: str) -> pd.DataFrame | None:
    """A table that an analysis page wrote; None where it was not made."""
    path = runs.folder / "tables" / name
    return pd.read_csv(path) if path.exists() else None
