"""The gates over seeds: last values, how far they could travel, whether seeds agree in sign."""

import pandas as pd

from fagan.records import Runs
from fagan.tables.scores import numbers, ordered, per_seed

NETWORKS = ("generator", "discriminator")


def last_alphas(runs: Runs) -> pd.DataFrame:
    """One row per arm, network and layer: each seed's final alpha, mean, range, and its reach.

    `reach` is the learning rate times the network's own updates: Adam moves a parameter by about
    its rate a step at most, so no alpha ends far beyond it from its start (a frozen one: NaN).
    A seed that is not done is NaN.
    """
    keys = ["arm", "network", "layer"]
    if runs.gates.empty:
        values = "n mean min max max_abs positive negative start reach moved".split()
        return pd.DataFrame(columns=[*keys, "label", *values])
    trace = runs.gates.rename(columns={"alpha": "value"}).sort_values("step", kind="stable")
    last = trace.groupby(["run_id", *keys], as_index=False, sort=False).last()
    config = ["status", "lr_g", "lr_d", "steps", "n_dis", "alpha_init", "alpha"]
    last = last.merge(runs.runs[["run_id", *config]], on="run_id")
    last["value"] = numbers(last, "value").where(last["status"] == "done")
    in_d = last["network"] == "discriminator"
    reach = last["lr_d"].where(in_d, last["lr_g"]) * last["steps"] * last["n_dis"].where(in_d, 1)
    last["reach"] = reach.where(last["alpha"] != "frozen")
    rows = []
    for key, own in last.groupby(keys, sort=False):
        own = own.sort_values("seed")
        values = own["value"]
        row = dict(zip(keys, key, strict=True)) | {"label": runs.labels[key[0]]}
        row |= {"n": int(values.notna().sum()), "mean": values.mean()}
        row |= {"min": values.min(), "max": values.max(), "max_abs": values.abs().max()}
        row |= {"positive": int((values > 0).sum()), "negative": int((values < 0).sum())}
        row |= {"start": own["alpha_init"].iloc[0], "reach": own["reach"].max()}
        row["moved"] = (values - row["start"]).abs().max()
        rows.append(row | per_seed(own))
    # by network; the layers stay in the order of the forward pass, as they were recorded
    frame = pd.DataFrame(rows).assign(_network=lambda t: t["network"].map(NETWORKS.index))
    return ordered(runs, frame, "_network").drop(columns="_network")


def alpha_reach(runs: Runs) -> pd.DataFrame:
    """One row per arm and network: the largest |alpha|, and how much of its reach was used."""
    last = last_alphas(runs)
    if last.empty:
        return last.assign(share=[])
    frame = last.groupby(["arm", "label", "network"], as_index=False, sort=False).agg(
        layers=("layer", "size"),
        n=("n", "max"),
        max_abs=("max_abs", "max"),
        moved=("moved", "max"),
        reach=("reach", "max"),
    )
    return frame.assign(share=frame["moved"] / frame["reach"])


def sign_agreement(runs: Runs) -> pd.DataFrame:
    """Per kind of layer: how many carry one sign in every seed, and how many a coin would give.

    `self` is the control: there the sign is a symmetry of the function, so only chance speaks.
    Left out: layers with fewer than two finished seeds, with an alpha of exactly 0, and gates that
    started elsewhere than at 0 or were frozen.
    """
    last = last_alphas(runs)
    if len(last):
        last = last[(last["start"] == 0) & last["reach"].notna()]
    rows = []
    for kind in ("full", "self"):
        own = last[last["layer"].str.startswith(kind) & (last["n"] >= 2)]
        own = own[own["positive"] + own["negative"] == own["n"]]
        agree = int(((own["positive"] == 0) | (own["negative"] == 0)).sum())
        chance = float((2.0 ** (1 - own["n"].astype(float))).sum())
        rows.append({"kind": kind, "layers": len(own), "agree": agree, "by_chance": chance})
    return pd.DataFrame(rows)


def plateaus(runs: Runs) -> pd.DataFrame:
    """One row per arm, network and layer with a learned gate: in how many seeds it came to rest.

    n: finished seeds in which it moved at all; resting: those in which the last quarter of the
    steps moved it by less than a tenth of the farthest that it had been from its start.
    """
    keys = ["arm", "network", "layer"]
    state = runs.runs.set_index("run_id")
    learned = state[(state["status"] == "done") & (state["alpha"] != "frozen")]
    trace = runs.gates[runs.gates["run_id"].isin(learned.index)]
    rows = []
    for key, own in trace.groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True)) | {"label": runs.labels[key[0]]}
        moves = []
        for run_id, run in own.sort_values("step").groupby("run_id"):
            moved = numbers(run, "alpha") - learned.loc[run_id, "alpha_init"]
            late = moved[run["step"] >= 0.75 * learned.loc[run_id, "steps"]]
            if moved.abs().max() > 0 and len(late) > 1:
                moves.append(abs(late.iloc[-1] - late.iloc[0]) / moved.abs().max())
        rows.append(row | {"n": len(moves), "resting": sum(move < 0.1 for move in moves)})
    return pd.DataFrame(rows, columns=[*keys, "label", "n", "resting"])
