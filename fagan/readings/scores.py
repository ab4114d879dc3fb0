"""Final scores, learning curves, differences, ties and cost."""

import numpy as np
import pandas as pd

from fagan.readings.effects import (
    CONDITION,
    counted,
    leaning,
    listed,
    nothing_found,
)
from fagan.readings.reading import NOTHING, Reading
from fagan.records import Runs, arm_label
from fagan.tables import (
    SCORE,
    best_and_last,
    contrasts,
    count,
    final_scores,
    floor,
    number,
    seeds,
    signed,
    span,
    summary,
)
from fagan.tables.scores import numbers

TIES = ("eyes", "outfit")
# of real faces, the signal below which a coherence is not read
SEEN = 0.5


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
    text += f". Next is {second['label']} with {number(second[metric])}; "
    settled, why = _order(scores, table)
    claim += settled or f", not clearly below {second['label']}"
    return Reading(claim, text + why)


def _order(scores: pd.DataFrame, table: pd.DataFrame) -> tuple[str | None, str]:
    """What the claim adds (None: the order is open) and why: the best two arms at equal seeds.

    They are two of many and were chosen for their means, so the interval is corrected for every
    pair of arms that could have been chosen.
    """
    first, second = table.iloc[0], table.iloc[1]
    if min(first["n"], second["n"]) < 2:
        return None, "a single seed settles no order."
    able = int((table["n"] > 1).sum())
    pairs = able * (able - 1) // 2
    row = contrasts(scores, [(first["arm"], second["arm"])], pairs, ratios=True).iloc[0]
    if row["n"] < 2:
        return None, "they share no two seeds, so the order of the two is not settled."
    if not np.isfinite([row["low"], row["high"]]).all():
        return None, "nothing is known of the spread, so the order of the two is not settled."
    of = f", corrected for all {pairs} pairs of arms, as it was chosen from them"
    apart = (
        f"at equal seeds the difference is {signed(row['mean'])} {span(row['low'], row['high'])} % "
        f"(n = {row['n']}{of if pairs > 1 else ''})"
    )
    if not row["called"] or row["mean"] > 0:
        return None, f"{apart}, so the order of the two is not settled."
    if row["alone"]:
        return f", below {second['label']}", f"{apart}."
    return f", below {second['label']} {CONDITION}", f"{apart}, which holds {CONDITION}."


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
    leans = leaning(called)
    mixed = leans.any() and not leans.all()
    parts = []
    for side, own in (("below", called[called["mean"] < 0]), ("above", called[called["mean"] > 0])):
        for some in (False, True):
            group = own[leans[own.index] == some]
            if len(group):
                verb = "is" if len(group) == 1 else "are"
                words = f"{listed(group['label'])} {verb} {side} {base}"
                parts.append(words + (f", {CONDITION}" if mixed and some else ""))
    all_lean = f", {CONDITION}" if leans.all() else ""
    return f"At equal seeds {('; ' if mixed else ' and ').join(parts)}{all_lean}"


def _called(paired: pd.DataFrame, base: str) -> str:
    """The calls with their intervals, and the size that was out of reach for the others."""
    called, rest = paired[paired["called"]], paired[~paired["called"]]
    parts = []
    if len(called):
        named = "; ".join(
            f"{row['label']} {signed(row['mean'])} "
            f"{span(row['corrected_low'], row['corrected_high'])} %, n = {row['n']}"
            + ("" if row["alone"] else f", {CONDITION}")
            for row in called.to_dict("records")
        )
        parts.append(f"A difference is called for {named}.")
    if rest["detectable"].notna().any():
        parts.append(f"For {listed(rest['label'])} {nothing_found(rest, ' %')}.")
    elif len(rest):
        parts.append(f"For {listed(rest['label'])} nothing is known of the spread.")
    parts.append(
        f"Intervals are corrected for {counted(int(paired['comparisons'].max()), 'comparison')} at "
        "equal seeds, of ratios, and their spread is that of all arms."
    )
    return " ".join(parts)


def _agreeing(paired: pd.DataFrame, base: str) -> str:
    seeds = paired[[column for column in paired if column.startswith("seed ")]].to_numpy(float)
    # a difference of exactly 0 is on neither side
    below = paired[(seeds < 0).sum(axis=1) == paired["n"]].sort_values("mean")
    above = paired[(seeds > 0).sum(axis=1) == paired["n"]].sort_values("mean", ascending=False)
    chance = (2.0 ** (1 - paired["n"].astype(float))).sum()
    many = counted(len(paired), "comparison")
    of = f"of these {many}" if len(paired) > 1 else f"of this {many.removeprefix('1 ')}"
    return (
        f"Below {base} in every shared seed: {_named(below)}. Above it in every one: "
        f"{_named(above)}. With no true difference at all, {chance:.3g} {of} would still agree in "
        "sign over their seeds."
    )


def _named(rows: pd.DataFrame) -> str:
    named = [f"{r.label} ({signed(r.mean)} %, n = {r.n})" for r in rows.itertuples()]
    return "; ".join(named) or "no arm"


def read_ties(runs: Runs) -> Reading:
    """Procedural faces: how well the two long-range ties hold, each beside its signal."""
    table, tops, hidden = summary(runs), {}, {}
    if not table["n"].any():
        return NOTHING
    known = [tie for tie in TIES if f"coherence_{tie}" in table]
    if not known:
        return Reading("Ties are known for procedural faces only", "These records hold none.")
    for tie in known:
        own = table[table[f"coherence_{tie}"].notna()]
        seen = numbers(own, f"signal_{tie}") >= SEEN
        if len(own[~seen]):
            hidden[tie] = listed(own.loc[~seen, "label"])
        if seen.any():
            tops[tie] = own.loc[own.loc[seen, f"coherence_{tie}"].idxmax()]
    weak = "; ".join(f"{tie}: {labels}" for tie, labels in hidden.items())
    left = f" Left out, as their signal is below {SEEN:g}: {weak}." if weak else ""
    read = (
        f"Real faces have 1, unrelated colours 0.{left} A coherence counts only beside its signal: "
        "blur and collapse look coherent at a signal near 0. One latent can carry a colour to both "
        "ends, so a high score needs no attention."
    )
    if not tops:
        return Reading(f"No arm's signal reaches {SEEN:g}, so no coherence can be read", read)
    short = [f"{t}: {a['label']}, {number(a[f'coherence_{t}'], 2)}" for t, a in tops.items()]
    parts = [
        f"{words} (signal {number(arm[f'signal_{tie}'], 2)}, n = {arm['n']})"
        for words, (tie, arm) in zip(short, tops.items(), strict=True)
    ]
    return Reading(
        f"Highest mean coherence of {'; of '.join(short)}",
        f"Highest means over seeds, no intervals: {'; '.join(parts)}. {read}",
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
