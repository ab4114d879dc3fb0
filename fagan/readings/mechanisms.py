"""The questions about what is inside the networks: gates, joins, fields, low maps, defects."""

import pandas as pd

from fagan.readings.alphas import read_reach, read_signs
from fagan.readings.effects import tally
from fagan.readings.reading import percent
from fagan.readings.studies import NO_WEIGHTS, read_fields
from fagan.readings.verdicts import (
    Page,
    Said,
    better,
    capital,
    clean,
    left_out,
    missing,
    said,
    unanswered,
    verdict,
)
from fagan.tables import (
    CHANGE,
    arm_changes,
    batch_norm_pairs,
    concat_pairs,
    gate_pairs,
    kernel_pairs,
    last_instruments,
    low_pairs,
    number,
    plateaus,
    read_table,
    released_pairs,
    signed,
)


def gates(page: Page) -> Said:
    closed = page.of("gates", measure=CHANGE)
    reach, signs = read_reach(page.runs), read_signs(page.runs)
    evidence = [f"{reach.claim}.", f"{signs.claim}: {signs.text}", _rest(page), _energy(page)]
    other = page.of("gates", "gate")
    evidence += _changed(page, "gates")
    evidence.append(verdict(other, "other gates against one learned from 0"))
    evidence.append(left_out(page, "gates"))
    evidence.append(missing(page, (gate_pairs, "a frozen gate or one per channel")))
    beside = f"; other gates than one learned from 0 score {tally(other)}"
    beside = beside if other["called"].any() else ""
    if closed.empty:
        few = "Gates were closed at a single seed, which shows no spread"
        none = "No finished run has a gate to read"
        answer = few if _tried(page, "gates") else none
        if other.empty:
            return Said(answer, clean(evidence))
        return said(answer + beside, evidence, other)
    kinds = [
        f"{row['subject'].removeprefix('all gates of ')} {_percents(row)}"
        for row in closed.to_dict("records")
    ]
    answer = f"FD with all gates closed: {', '.join(kinds)}{beside}"
    return said(answer, evidence, pd.concat([closed, other]))


def _tried(page: Page, question: str) -> bool:
    changes = arm_changes(page.runs)
    return bool((changes["question"] == question).any())


def _changed(page: Page, question: str) -> list[str]:
    """The mean over arms of a change in one network, and every arm's own beside it."""
    rows, changes = page.of(question, measure=CHANGE), arm_changes(page.runs)
    changes, parts = changes[changes["question"] == question], []
    for subject, own in changes.groupby("subject", sort=False):
        each = ", ".join(
            f"{arm.label} {signed(arm.mean)} %{'' if arm.pooled else ' (not in the mean)'}"
            for arm in own.itertuples()
        )
        parts.append(f"{subject}: {each}")
    words = f"Every arm's own mean: {'; '.join(parts)}." if parts else ""
    if len(changes) and not changes["pooled"].all():
        words += " Not in a mean are arms that lost a seed which the others have."
    return [verdict(rows, "change of FD, mean over the arms within each seed"), words]


def _percents(row: dict) -> str:
    return f"{signed(row['mean'])} %{'' if row['called'] else ' (not called)'}"


def _rest(page: Page) -> str:
    table = plateaus(page.runs)
    table = table[table["n"] > 0]
    if table.empty:
        return ""
    return (
        f"{int(table['resting'].sum())} of {int(table['n'].sum())} gates (layers times seeds) came "
        "to rest: the last quarter of the steps moved them by less than a tenth of their way."
    )


def _energy(page: Page) -> str:
    table = last_instruments(page.runs)
    if table.empty:
        return ""
    top = table.loc[table["attention_share"].idxmax()]
    return (
        f"By energy attention makes {percent(table['attention_share'].median())} of a layer's "
        f"output in the median and at most {percent(top['attention_share'])} ({top['label']}, "
        f"{top['layer']} of the {top['network']})."
    )


def concatenation(page: Page) -> Said:
    rows = page.of("concatenation")
    if rows.empty:
        lacks = (concat_pairs, "concatenated paths against a gate")
        why = unanswered(page, "concatenation", "concatenates its paths")
        return Said(why, clean([left_out(page, "concatenation"), missing(page, lacks)]))
    evidence = [verdict(rows, "concatenated"), left_out(page, "concatenation")]
    return said(better(rows, "Concatenating"), evidence, rows)


def receptive_fields(page: Page) -> Said:
    fields = read_table(page.runs, "receptive_fields.csv")
    if fields is None or fields.empty:
        why = "" if fields is None else NO_WEIGHTS.text
        made = f"`python -m fagan analyse {page.runs.ablation} receptive_field` measures it."
        return Said("Not measured", clean([why, made]))
    read = read_fields(fields, page.runs)
    logit = fields[fields["grid"] == 1]
    shares = logit[logit["attention"] == "as trained"].groupby("run_id")["share"].first()
    spread = " to ".join(dict.fromkeys((percent(shares.min()), percent(shares.max()))))
    evidence = [read.text, f"Range over {len(shares)} runs: {spread} of the image."]
    evidence.append(missing(page, (kernel_pairs, "other kernel sizes")))
    return Said(
        read.claim, clean(evidence), int(logit.groupby("arm")["seed"].nunique().min()), spread
    )


def low_resolution(page: Page) -> Said:
    closed = page.of("low resolution", measure=CHANGE)
    trained = page.of("low resolution", "trained without")
    evidence = _changed(page, "low resolution")
    evidence.append(verdict(trained, "trained with it, against convolutions there"))
    evidence.append(left_out(page, "low resolution"))
    evidence.append(missing(page, (low_pairs, "the same network trained without it")))
    parts = []
    if len(closed):
        used = [
            f"{row['subject'].removeprefix('alpha of ').removesuffix(' set to 0')} {_percents(row)}"
            for row in closed.to_dict("records")
        ]
        parts.append(f"FD with it closed: {', '.join(used)}")
    elif _tried(page, "low resolution"):
        parts.append("Gates there were closed at a single seed, which shows no spread")
    if len(trained) and (trained["called"].any() or not parts):
        parts.append(better(trained, "attending there"))
    if closed.empty and trained.empty:
        why = [*parts, unanswered(page, "low resolution", "attends there")]
        return Said(why[0], clean(evidence))
    return said(capital("; ".join(parts)), evidence, pd.concat([closed, trained]))


def released(page: Page) -> Said:
    evidence = [
        *_changed(page, "released"),
        verdict(page.of("released", "spectral norm"), "its spectral norm"),
        verdict(page.of("released", "batch norm in D"), "batch norm in D"),
        left_out(page, "released"),
        _norms(page),
        missing(
            page,
            (released_pairs, "its spectral norm"),
            (batch_norm_pairs, "a discriminator without batch norm"),
        ),
    ]
    rows = page.of("released")
    if rows.empty:
        why = unanswered(page, "released", "has them, or weights to sample")
        if _tried(page, "released"):
            why = "Samples in train mode were drawn at a single seed, which shows no spread"
        return Said(why, clean(evidence))
    short = [_short(subject, own) for subject, own in rows.groupby("subject", sort=False)]
    return said(capital("; ".join(short)), evidence, rows)


def _short(subject: str, rows: pd.DataFrame) -> str:
    """What a defect does, in a few words."""
    if not rows["called"].any():
        return f"{subject}: no difference shown"
    row = rows[rows["called"]].iloc[0]
    if row["measure"] == CHANGE:
        return f"{subject} {signed(row['mean'])} %"
    first = f" ({row['label']} {signed(row['mean'])} %)" if len(rows) > 1 else ""
    amount = f" {signed(row['mean'])} %," if len(rows) == 1 else ""
    return f"{subject}{amount} {tally(rows)}{first}"


def _norms(page: Page) -> str:
    table = read_table(page.runs, "released_norms.csv")
    if table is None or table.empty:
        return ""
    return (
        "Its norm takes the wrong dimension of a transposed convolution: the trained weights here "
        f"would be divided by {number(table['ratio'].min(), 2)} to "
        f"{number(table['ratio'].max(), 2)} times what is right."
    )
