"""Final scores, learning curves, differences, ties and cost."""

import numpy as np
import pandas as pd

from fagan.readings.reading import NOTHING, Reading
from fagan.records import Runs, arm_label
from fagan.tables import (
    SCORE,
    best_and_last,
    count,
    final_scores,
    floor,
    number,
    seeds,
    span,
    summary,
)


def read_curves(runs: Runs, metric: str = SCORE) -> Reading:
    """Where the curves end, and which runs end above their own best."""
    ends = best_and_last(runs, metric)
    ends = ends[ends["status"] == "done"]
    if "last" not in ends or ends["last"].isna().all():
        return NOTHING
    label = ends.groupby("label")["last"].mean().idxmin()
    step = ends.loc[ends["label"] == label, "last_step"].max()
    back = ends[ends["last"] > 1.1 * ends["best"]]
    names = f" ({', '.join(back['run_id'])})" if 0 < len(back) <= 6 else ""
    text = (
        "Thin lines are single seeds, bold lines the mean over the finished ones. "
        f"{len(back)} of {len(ends)} finished runs end more than 10 % above their own best{names}."
    )
    limit, final = floor(runs, "track", metric), floor(runs, "final", metric)
    if limit > final:
        text += (
            f" A score along the curve uses fewer images than a final one, so its floor is higher: "
            f"{number(limit)} against {number(final)}."
        )
    return Reading(f"{label}'s mean curve ends lowest, at step {count(step)}", text)


def read_scores(runs: Runs, metric: str = SCORE) -> Reading:
    """The lowest mean with every seed behind it, against the floor and the runner-up."""
    table = _scored(summary(runs, metric), metric)
    if table.empty:
        return NOTHING
    first = table.iloc[0]
    scores = final_scores(runs, metric).dropna(subset=["value"])
    own = scores[scores["arm"] == first["arm"]]["value"]
    claim = f"{first['label']} has the lowest mean FD, {number(first[metric])}"
    text = f"{first['label']}: mean {number(first[metric])} over {seeds(first['n'])} "
    text += f"({', '.join(number(v) for v in own)})"
    limit = floor(runs, "final", metric)
    if np.isfinite(limit):
        text += f", {number(first[metric] / limit, 2)} times the floor of {number(limit)}"
    if len(table) == 1:
        return Reading(claim, f"{text}.")
    second = table.iloc[1]
    text += f". Next is {second['label']} with {number(second[metric])}"
    if min(first["n"], second["n"]) < 2:
        why = "; a single seed settles no order."
    elif second[f"{metric}_min"] <= first[f"{metric}_max"]:
        why = "; their seeds overlap, so the order of the two is not settled."
    else:
        return Reading(claim, f"{text}; their seeds do not overlap.")
    return Reading(f"{claim}, not clearly below {second['label']}", text + why)


def read_differences(differences: pd.DataFrame, labels: dict[str, str]) -> Reading:
    """Which arms are shown to differ from the baseline, and what this n could not have seen."""
    paired = differences[differences["n"] > 0] if len(differences) else differences
    if paired.empty:
        return Reading("Nothing to compare yet", "No arm shares a finished seed with the baseline.")
    base = labels.get(paired["baseline"].iloc[0]) or arm_label(paired["baseline"].iloc[0])
    single, paired = paired[paired["n"] == 1], paired[paired["n"] > 1]
    parts = []
    if len(paired):
        parts = [_called(paired, base), _agreeing(paired, base)]
    if len(single):
        parts.append(f"One shared seed, which shows no spread: {_named(single)}.")
    return Reading(_differing(paired, base), " ".join(parts))


def _differing(paired: pd.DataFrame, base: str) -> str:
    if paired.empty:
        return "One shared seed is no comparison"
    called = paired[paired["called"]]
    if called.empty:
        return f"No arm is shown to differ from {base}"
    words = [
        f"{', '.join(own['label'])} {'is' if len(own) == 1 else 'are'} {side} {base}"
        for side, own in (
            ("below", called[called["mean"] < 0]),
            ("above", called[called["mean"] > 0]),
        )
        if len(own)
    ]
    return f"At equal seeds {' and '.join(words)}"


def _called(paired: pd.DataFrame, base: str) -> str:
    """The calls with their intervals, and the size that was out of reach for the others."""
    called, rest = paired[paired["called"]], paired[~paired["called"]]
    parts = []
    if len(called):
        named = "; ".join(
            f"{row['label']} {signed(row['mean'])} "
            f"{span(row['corrected_low'], row['corrected_high'])}, n = {row['n']}"
            + ("" if row["alone"] else ", if all arms spread alike")
            for row in called.to_dict("records")
        )
        parts.append(f"A difference is called for {named}.")
    if rest["detectable"].notna().any():
        parts.append(f"For {_listed(rest['label'])} {nothing_found(rest)}.")
    elif len(rest):
        parts.append(f"For {_listed(rest['label'])} nothing is known of the spread.")
    parts.append(
        f"Intervals are corrected for {int(paired['comparisons'].max())} comparisons at equal "
        "seeds, and their spread is that of all arms."
    )
    return " ".join(parts)


def nothing_found(rows: pd.DataFrame) -> str:
    """The words for what was not called: what so few seeds could have seen, the largest if many."""
    worst = rows.loc[rows["detectable"].idxmax()]
    return (
        f"no difference was found, and n = {int(worst['n'])} could have seen one of "
        f"{number(worst['detectable'])}"
    )


def signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"


def _listed(labels: pd.Series) -> str:
    *first, last = labels
    return f"{', '.join(first)} and {last}" if first else last


def _agreeing(paired: pd.DataFrame, base: str) -> str:
    below = paired[paired["below"] == paired["n"]].sort_values("mean")
    above = paired[paired["below"] == 0].sort_values("mean", ascending=False)
    chance = (2.0 ** (1 - paired["n"].astype(float))).sum()
    return (
        f"Below {base} in every shared seed: {_named(below)}. Above it in every one: "
        f"{_named(above)}. With no true difference at all, {chance:.3g} of these "
        f"{len(paired)} comparisons would still agree in sign over their seeds."
    )


def _named(rows: pd.DataFrame) -> str:
    named = [f"{r.label} ({signed(r.mean)}, n = {r.n})" for r in rows.itertuples()]
    return "; ".join(named) or "no arm"


def read_ties(runs: Runs) -> Reading:
    """Procedural faces: how well the two long-range ties hold, each beside its signal."""
    table, parts = summary(runs), []
    for tie in ("eyes", "outfit"):
        own = table[table.get(f"coherence_{tie}", table["n"] * np.nan).notna()]
        if len(own):
            top = own.loc[own[f"coherence_{tie}"].idxmax()]
            parts.append(
                f"{tie}: {top['label']}, {number(top[f'coherence_{tie}'], 2)} "
                f"(signal {number(top.get(f'signal_{tie}'), 2)}, n = {top['n']})"
            )
    if not parts:
        return Reading("Ties are known for procedural faces only", "These records hold none.")
    return Reading(
        f"Most coherent {'; '.join(part.split(' (')[0] for part in parts)}",
        f"Highest means over seeds: {'; '.join(parts)}. Real faces have 1, unrelated colours 0. A "
        "coherence counts only beside its signal: blur and collapse look coherent at a signal near "
        "0. One latent can carry a colour to both ends, so a high score needs no attention.",
    )


def read_cost(runs: Runs) -> Reading:
    """Size and speed, from the largest and the fastest arm."""
    table = summary(runs)
    speed = table[table.get("images_per_second", table["n"] * np.nan).notna()]
    if speed.empty or "parameters_generator" not in table:
        return Reading("Size and speed", "No timing or no parameter count was recorded.")
    fast = speed.loc[speed["images_per_second"].idxmax()]
    slow = speed.loc[speed["images_per_second"].idxmin()]
    ratio = fast["images_per_second"] / slow["images_per_second"]
    sizes = table["parameters_generator"] + table["parameters_discriminator"]
    large, small = table.loc[sizes.idxmax()], table.loc[sizes.idxmin()]
    how = "90th percentile over log steps, on the machine that ran them"
    millions = f"{number(sizes.max() / 1e6)} million parameters in both networks"
    if len(table) == 1:
        claim = f"{fast['label']} trains on {number(fast['images_per_second'])} images a second"
        return Reading(claim, f"The speed is the {how}. It holds {millions}.")
    return Reading(
        f"{slow['label']} takes {number(ratio, 2)} times as long per image as {fast['label']}",
        f"{fast['label']} trains on {number(fast['images_per_second'])} images a second, "
        f"{slow['label']} on {number(slow['images_per_second'])} ({how}). {large['label']} holds "
        f"{millions}, {small['label']} {number(sizes.min() / 1e6)} million.",
    )


def _scored(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return table[table["n"] > 0].sort_values(metric) if metric in table else table.iloc[:0]
