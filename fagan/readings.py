"""The sentences of the analysis, computed from the tables: no number in them is ever typed.

Each function returns Reading(claim, text): a heading, and the sentence under its figure. They say
n, and they say what n seeds cannot show.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fagan.records import Runs, arm_label
from fagan.tables import (
    SCORE,
    TIMES,
    alpha_reach,
    best_and_last,
    count,
    failures,
    final_scores,
    floor,
    number,
    seeds,
    sign_agreement,
    status_counts,
    summary,
)


class Reading(NamedTuple):
    claim: str
    text: str


def _scored(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return table[table["n"] > 0].sort_values(metric) if metric in table else table.iloc[:0]


NOTHING = Reading("No run is done yet", "There is no final score to read.")


def read_status(runs: Runs) -> Reading:
    """How much of the plan stands behind this page."""
    counts = status_counts(runs)
    total = sum(counts.values())
    lost = ", ".join(f"{n} {status}" for status, n in counts.items() if status != "done")
    verb = "is" if counts["done"] == 1 else "are"
    claim = f"{counts['done']} of {total} runs {verb} done" + (f" ({lost})" if lost else "")
    return Reading(claim, " ".join(caveats(runs)))


def caveats(runs: Runs) -> list[str]:
    """What a reader must know before comparing: seeds, mixed sources, mixed machines."""
    n = summary(runs)["n"]
    low, high = int(n.min()), int(n.max())
    count = seeds(low) if low == high else f"{low} to {seeds(high)}"
    sentences = [f"Means are over the finished seeds: {count} per arm."]
    for column, words in (
        ("source_fingerprint", "versions of the source"),
        ("processor", "processors"),
        ("steps", "numbers of steps"),
        ("n_fake", "numbers of generated images"),
        ("extractor", "feature extractors"),
    ):
        values = runs.runs[column].dropna().unique() if column in runs.runs else []
        if len(values) > 1:
            sentences.append(f"**The runs mix {len(values)} {words}.**")
    if "dirty" in runs.runs and runs.runs["dirty"].eq(True).any():
        sentences.append("**Some runs were made from a tree with uncommitted changes.**")
    return sentences


def made_with(runs: Runs) -> str:
    """One line on the machine and the code, from the records."""
    known = {
        "commit": "commit",
        "source_fingerprint": "source",
        "processor": "on",
        "device": "device",
        "python": "Python",
    }
    parts = []
    for column, word in known.items():
        values = runs.runs[column].dropna().unique() if column in runs.runs else []
        if len(values):
            shown = [str(value)[:12] if column == "commit" else str(value) for value in values]
            parts.append(f"{word} {' and '.join(shown)}")
    return ", ".join(parts)


EXTRACTORS = {"lite0": "EfficientNet-Lite0", "inception": "Inception"}


def protocol(runs: Runs) -> str:
    """What the score is, from the records: extractor, counts, input size, reference split."""
    done = runs.runs[runs.runs["status"] == "done"]
    if done.empty:
        return "No run is done, so no score was recorded."
    run = done.iloc[0]
    name = EXTRACTORS.get(run.get("extractor"), run.get("extractor"))
    return (
        f"FD-Lite0 is the Fréchet distance between {name} features "
        f"(input {count(run.get('input_size'))} px) of {count(run.get('n_fake'))} generated "
        f"and {count(run.get('n_real'))} real images of "
        f"{runs.reference.get('name', run['data'])} (split `{run.get('split')}`). It is not FID, "
        "and lower is better. The floor is the same distance between real images and other real "
        "images at the same counts."
    )


def read_curves(runs: Runs, metric: str = SCORE) -> Reading:
    """Where the curves end, and which runs end above their own best."""
    ends = best_and_last(runs, metric)
    ends = ends[ends["status"] == "done"]
    if ends.empty or "last" not in ends:
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
    """Which arms differ from the baseline in every seed, and what that is worth at this n."""
    paired = differences[differences["n"] > 0] if len(differences) else differences
    if paired.empty:
        return Reading("Nothing to compare yet", "No arm shares a finished seed with the baseline.")
    base = labels.get(paired["baseline"].iloc[0]) or arm_label(paired["baseline"].iloc[0])
    single, paired = paired[paired["n"] == 1], paired[paired["n"] > 1]
    below = paired[paired["below"] == paired["n"]].sort_values("mean")
    above = paired[paired["below"] == 0].sort_values("mean", ascending=False)

    def named(rows):
        signed = [
            f"{r.label} ({'+' if r.mean > 0 else ''}{number(r.mean)}, n = {r.n})"
            for r in rows.itertuples()
        ]
        return "; ".join(signed) or "no arm"

    parts = []
    if len(paired):
        chance = (2.0 ** (1 - paired["n"].astype(float))).sum()
        parts = [
            f"Below {base} in every shared seed: {named(below)}. Above it in every one: "
            f"{named(above)}. With no true difference at all, {chance:.3g} of these "
            f"{len(paired)} comparisons would still agree in sign over their seeds."
        ]
    if len(single):
        parts.append(f"One shared seed, which shows no spread: {named(single)}.")
    claim = f"{len(below)} of {len(paired)} arms are below {base} in every seed"
    return Reading(claim if len(paired) else "One shared seed is no comparison", " ".join(parts))


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
    how = "median over log steps, on the machine that ran them"
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


def read_failures(runs: Runs) -> Reading:
    lost = failures(runs)
    if lost.empty:
        return Reading("No run failed", "Every planned run is done.")
    return Reading(
        f"{len(lost)} planned run{'s have' if len(lost) > 1 else ' has'} no final score",
        "They count in no mean above: a mean over the seeds that survived flatters its arm.",
    )


def read_sheet(runs: Runs, seed: int) -> str:
    """The heading of a sample sheet: the best score of a seed."""
    scores = final_scores(runs)
    own = scores[scores["seed"] == seed].dropna(subset=["value"]).sort_values("value")
    if own.empty:
        return f"Seed {seed}: no run is done"
    return f"Seed {seed}: {own.iloc[0]['label']} scores lowest, {number(own.iloc[0]['value'])}"


def read_samples(runs: Runs, shown: int) -> str:
    """What a sheet shows of what was scored, and who stopped early."""
    done = runs.runs[runs.runs["status"] == "done"]
    text = f"A tile shows the first {shown} images, nobody's choice"
    if len(done) and "n_fake" in done:
        text += f"; its score is of {count(done['n_fake'].max())}"
    early = len(runs.runs) - len(done)
    if early:
        text += f". {early} of {len(runs.runs)} runs are shown where they stopped"
    return f"{text}."


def read_progress(runs: Runs, seed: int) -> str:
    """At which step each arm of a seed scored best during training."""
    ends = best_and_last(runs)
    if "best" not in ends:
        return "No score was recorded during training."
    own = ends[(ends["seed"] == seed) & ends["best"].notna()]
    steps = [
        f"{row.label} {count(row.best_step)} of {count(row.last_step)}" for row in own.itertuples()
    ]
    return f"Step of the lowest FD-Lite0 of seed {seed}: {'; '.join(steps)}."


def read_reach(runs: Runs) -> Reading:
    """The largest |alpha| against what the learning rate lets it reach."""
    reach = alpha_reach(runs)
    reach = reach[reach["share"].notna()]
    if reach.empty:
        return Reading("No trained gate to read", "No finished run has a gate that learns.")
    top, close = reach.loc[reach["max_abs"].idxmax()], reach.loc[reach["share"].idxmax()]
    spread = runs.runs["beta2"].rsub(1).pow(0.5)
    bound = (runs.runs["beta1"].rsub(1) / spread).max()
    return Reading(
        f"The largest |alpha| is {number(top['max_abs'])}, in {top['label']}'s {top['network']}",
        f"A steady gradient moves a gate by the learning rate a step, so lr {TIMES} updates is its "
        f"reach: {number(top['reach'])} in that network, of which it went "
        f"{percent(top['share'])}; a growing gradient goes further (with these betas a single step "
        f"up to {number(bound, 2)} times). Furthest for its reach went {close['label']}'s "
        f"{close['network']}, {percent(close['share'])}. A gate that went most of the way was "
        "still on its way, so a small alpha after few steps is no evidence against attention.",
    )


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def read_signs(runs: Runs) -> Reading:
    """Full attention layers against their control, the self-attention layers."""
    table = sign_agreement(runs)
    table = table[table["layers"] > 0]
    if table.empty:
        return Reading("Signs need two seeds", "No layer has two finished seeds to compare.")
    parts = [
        f"{row.agree} of {row.layers} {row.kind} attention layers carry one sign in every finished "
        f"seed (a coin would give {number(row.by_chance, 2)})"
        for row in table.itertuples()
    ]
    return Reading(
        f"{table['agree'].sum()} of {table['layers'].sum()} layers agree in sign over the seeds",
        "; ".join(parts) + ". Layers of one network are no independent draws: the counts describe, "
        "they do not test.",
    )
