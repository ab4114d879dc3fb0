"""What the instruments recorded, over seeds: attention traces, interventions, spectral norms."""

import math

import numpy as np
import pandas as pd

from fagan.records import Runs
from fagan.tables.alphas import NETWORKS, last_alphas
from fagan.tables.scores import numbers, ordered, per_seed

TRACES = ("attention_share", "entropy_share", "distance")
TRAINED = "as trained"
EVERY = "all"
# Of a rise of FD, in shares of the trained one, below which a layer is not said to be used: at
# equal latents the sampling of 500 images cancels, rounding and ties in the features do not.
NOTICED = 0.01


def last_instruments(runs: Runs) -> pd.DataFrame:
    """One row per arm, network and layer: what its attention is at the end of the finished runs.

    For each of TRACES the mean and range over the n finished seeds, the mean at the first record
    (`..._first`), and `uniform_distance`: the distance that a layer with no preference would have.
    """
    keys = ["arm", "network", "layer"]
    trace = _done(runs, runs.alpha).sort_values("step", kind="stable")
    trace = trace[trace["distance"].notna()]  # schema 1 knew no instruments
    rows = []
    for key, own in trace.groupby(keys, sort=False):
        by_run = own.groupby("run_id", sort=False)
        first, last = by_run.first(), by_run.last()
        row = dict(zip(keys, key, strict=True)) | {"label": runs.labels[key[0]], "n": len(last)}
        for name in TRACES:
            values = numbers(last, name)
            row |= {name: values.mean(), f"{name}_min": values.min(), f"{name}_max": values.max()}
            row[f"{name}_first"] = numbers(first, name).mean()
        resolution = runs.runs.loc[runs.runs["arm"] == key[0], "resolution"].iloc[0]
        row["uniform_distance"] = uniform_distance(key[2], resolution)
        rows.append(row)
    columns = [*keys, "label", "n", *TRACES, "uniform_distance"]
    return _by_network(runs, pd.DataFrame(rows)) if rows else pd.DataFrame(columns=columns)


def uniform_distance(layer: str, resolution: int) -> float:
    """Mean distance in pixels between two cells of a layer's grid, as its label names it.

    NaN where the label names no grid. Keys that are pooled ("google") are taken as unpooled.
    """
    _, _, grid = layer.rpartition(" ")
    if not grid.partition("x")[0].isdigit():
        return math.nan
    cells = int(grid.partition("x")[0])
    apart = np.abs(np.subtract.outer(np.arange(cells), np.arange(cells))) * resolution / cells
    chance, steps = np.unique(apart, return_counts=True)[::-1]
    chance = chance / chance.sum()
    return float((np.hypot.outer(steps, steps) * np.outer(chance, chance)).sum())


def interventions(runs: Runs) -> pd.DataFrame:
    """One row per arm, layer and intervention: the change of FD-Lite0 in every finished seed.

    Mean and range of the change, `relative` to the trained FD (a mean over seeds), `rises` and
    `falls`: the seeds in which FD rose or fell by more than NOTICED of it, and n_fake. Layers are
    the generator's, in the order of the forward pass, then `all` at once.
    """
    keys = ["arm", "layer", "intervention"]
    done = _done(runs, runs.interventions)
    trained = done[done["intervention"] == TRAINED].set_index("run_id")["fd"].astype(float)
    done = done[done["intervention"] != TRAINED]
    done = done.assign(
        value=numbers(done, "change"),
        share=numbers(done, "change") / done["run_id"].map(trained).astype(float),
    )
    rows = []
    for key, own in done.groupby(keys, sort=False):
        own = own.sort_values("seed")
        values = own["value"]
        row = dict(zip(keys, key, strict=True)) | {"label": runs.labels[key[0]]}
        row |= {"n": int(values.notna().sum()), "mean": values.mean()}
        row |= {"min": values.min(), "max": values.max(), "relative": own["share"].mean()}
        row |= {"rises": int((own["share"] > NOTICED).sum())}
        row |= {"falls": int((own["share"] < -NOTICED).sum()), "n_fake": own["n_fake"].max()}
        rows.append(row | per_seed(own))
    columns = [*keys, "label", "n", "mean", "min", "max", "relative", "rises", "falls", "n_fake"]
    return ordered(runs, pd.DataFrame(rows)) if rows else pd.DataFrame(columns=columns)


def gates_by_layer(runs: Runs) -> pd.DataFrame:
    """`last_alphas`, beside each its share of the layer's output and FD's change when it is closed.

    attention_share is what attention makes of the output by energy, a mean over seeds; relative,
    rises and falls are those of `interventions` at alpha = 0, NaN in a discriminator, whose gates
    are left alone.
    """
    keys = ["arm", "network", "layer"]
    shares = last_instruments(runs)[[*keys, "attention_share"]]
    closed = interventions(runs)
    closed = closed[closed["intervention"] == "alpha = 0"].assign(network="generator")
    closed = closed[[*keys, "relative", "rises", "falls"]]
    return last_alphas(runs).merge(shares, on=keys, how="left").merge(closed, on=keys, how="left")


def use_by_sign(runs: Runs) -> pd.DataFrame:
    """Per kind of layer and sign of its final alpha: what closing its gate does to FD.

    One row per (kind, sign): `layers` counts layers times finished seeds; `median` change of FD at
    alpha = 0 relative to the trained one; `rises`: in how many it rises by more than NOTICED.
    alpha.csv holds the trained weights, the interventions are on their average, which lags behind.
    """
    keys = ["run_id", "layer"]
    made = _done(runs, runs.gates)
    made = made[made["network"] == "generator"].sort_values("step", kind="stable")
    alphas = made.groupby(keys, as_index=False)["alpha"].last()
    done = _done(runs, runs.interventions)
    trained = done[done["intervention"] == TRAINED].set_index("run_id")["fd"].astype(float)
    closed = done[(done["intervention"] == "alpha = 0") & (done["layer"] != EVERY)]
    closed = closed.assign(
        share=numbers(closed, "change") / closed["run_id"].map(trained).astype(float)
    )
    found = closed.merge(alphas, on=keys).dropna(subset=["share"])
    rows = []
    for kind in ("full", "self"):
        for sign in (-1, 1):
            own = found[found["layer"].astype(str).str.startswith(kind)]
            own = own[np.sign(own["alpha"].astype(float)) == sign]
            row = {"kind": kind, "sign": "negative" if sign < 0 else "positive"}
            row |= {"layers": len(own), "median": own["share"].median()}
            rows.append(row | {"rises": int((own["share"] > NOTICED).sum())})
    return pd.DataFrame(rows)


ROLES = ("query", "key", "value", "convolution", "other")


def spectral_roles(runs: Runs) -> pd.DataFrame:
    """runs.spectral with `role`: what a convolution is in its attention layer, else `other`."""
    if runs.spectral.empty:
        return runs.spectral.assign(role=[])
    names = runs.spectral["layer"].astype(str)
    role = names.str.rpartition(".")[2]
    inside = names.str.match(r"(full|self)\b") & role.isin(ROLES)
    return runs.spectral.assign(role=role.where(inside, "other"))


def last_spectral(runs: Runs) -> pd.DataFrame:
    """One row per arm, network and role: the spectral norms of the last record, done runs only."""
    frame = _done(runs, spectral_roles(runs)).sort_values("step", kind="stable")
    frame = frame.groupby(["run_id", "network", "layer"], as_index=False, sort=False).last()
    keys = ["arm", "network", "role"]
    rows = []
    for key, own in frame.groupby(keys, sort=False):
        values = numbers(own, "spectral_norm")
        row = dict(zip(keys, key, strict=True)) | {"label": runs.labels[key[0]]}
        row |= {"layers": own["layer"].nunique(), "n": own["run_id"].nunique()}
        rows.append(row | {"mean": values.mean(), "min": values.min(), "max": values.max()})
    columns = [*keys, "label", "layers", "n", "mean", "min", "max"]
    return _by_network(runs, pd.DataFrame(rows)) if rows else pd.DataFrame(columns=columns)


def _done(runs: Runs, frame: pd.DataFrame) -> pd.DataFrame:
    done = runs.runs.loc[runs.runs["status"] == "done", "run_id"]
    return frame[frame["run_id"].isin(done)]


def _by_network(runs: Runs, frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.assign(_network=frame["network"].map(NETWORKS.index))
    return ordered(runs, frame, "_network").drop(columns="_network")
