"""What it would take: the experiment tables that hold a comparison which this ablation lacks."""

from collections.abc import Callable

import pandas as pd

from fagan.records import Runs
from fagan.tables import variants
from fagan.tables.scores import arm_speed

OFFER = ["ablation", "pairs", "arms", "runs", "steps", "hours"]


def offers(
    runs: Runs, known: pd.DataFrame, find: Callable[[pd.DataFrame], list[variants.Pair]]
) -> pd.DataFrame:
    """One row per table that holds pairs of this kind, the quickest first; columns OFFER.

    known: `ablations.known_arms`, of which only tables of this ablation's data and resolution
    count. pairs: their labels; arms, runs and steps: of the whole table; hours: its training, one
    run after the other, at the speeds of this ablation's own arms.
    """
    arms, rows = variants.arm_configs(runs), []
    for name, table in known.groupby("ablation", sort=False):
        same = all(table[field].iloc[0] == arms[field].iloc[0] for field in ("data", "resolution"))
        planned = table.set_index("arm")
        able = same and name not in (runs.ablation, "smoke") and table["seeds"].min() >= 2
        pairs = find(planned) if able else []
        if pairs:
            label = planned["label"]
            seconds = sum(
                arm["seeds"] * train_seconds(runs, arms, arm) for _, arm in planned.iterrows()
            )
            row = {"ablation": name, "arms": len(planned), "steps": int(planned["steps"].max())}
            row["pairs"] = [f"{label[one]} against {label[other]}" for one, other in pairs]
            rows.append(row | {"runs": int(planned["seeds"].sum()), "hours": seconds / 3600})
    return pd.DataFrame(rows, columns=OFFER).sort_values("hours", ignore_index=True)


def train_seconds(runs: Runs, arms: pd.DataFrame, arm: pd.Series) -> float:
    """Of one run of a planned arm: its images at the speed of the most similar arm that was run.

    Similar is the same architecture first, then as many attention layers, then what differs least.
    NaN without timings.
    """
    speed = arm_speed(runs).groupby(runs.runs.set_index("run_id")["arm"]).mean()
    measured = arms[arms.index.isin(speed.dropna().index)]
    if measured.empty:
        return float("nan")

    def unlike(name: str) -> tuple[bool, int, int]:
        other = measured.loc[name]
        same = other["architecture"] == arm["architecture"]
        layers = zip(variants.attention_layers(arm), variants.attention_layers(other), strict=True)
        apart = sum(abs(mine - theirs) for mine, theirs in layers)
        return not same, apart, len(variants.differing(arm, other))

    images = arm["steps"] * arm["batch_size"] * arm["n_dis"]
    return float(images / speed[min(measured.index, key=unlike)])
