"""The questions about what is inside the networks: gates, joins, fields, low maps, defects."""

from fagan.readings.alphas import read_reach, read_signs
from fagan.readings.reading import percent
from fagan.readings.scores import signed
from fagan.readings.studies import NO_WEIGHTS, read_fields
from fagan.readings.verdicts import OPEN, Page, Said, better, capital, clean, missing, said, verdict
from fagan.tables import (
    CHANGE,
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
)


def gates(page: Page) -> Said:
    closed = page.of("gates", measure=CHANGE)
    reach, signs = read_reach(page.runs), read_signs(page.runs)
    evidence = [f"{reach.claim}.", f"{signs.claim}: {signs.text}", _rest(page), _energy(page)]
    evidence.append(verdict(closed, "change of FD in %"))
    evidence.append(verdict(page.of("gates", "gate"), "other gates against one learned from 0"))
    evidence.append(missing(page, (gate_pairs, "a frozen gate or one per channel")))
    if closed.empty:
        return Said("No finished run has a gate to read", clean(evidence))
    kinds = [
        f"{row['subject'].partition('(')[2].rstrip(')')} {_percents(row)}"
        for row in closed.to_dict("records")
    ]
    return said(f"FD with all of them closed: {', '.join(kinds)}", evidence, closed)


def _percents(row: dict) -> str:
    return f"{signed(row['mean'])} %" if row["called"] else "no change shown"


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
        return Said(OPEN + "concatenates its paths", [missing(page, lacks)])
    return said(better(rows, "Concatenating"), [verdict(rows, "concatenated")], rows)


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
    evidence = [verdict(closed, "change of FD in %")]
    evidence.append(verdict(trained, "trained with it, against convolutions there"))
    evidence.append(missing(page, (low_pairs, "the same network trained without it")))
    if closed.empty and trained.empty:
        return Said(OPEN + "attends there", clean(evidence))
    used = [
        f"{row['subject'].removeprefix('alpha of ').removesuffix(' set to 0')} {_percents(row)}"
        for row in closed.to_dict("records")
    ]
    answer = better(trained, "Attending there")
    if used:
        answer = f"FD with it closed: {', '.join(used)}"
    return said(answer, evidence, closed if len(closed) else trained)


def released(page: Page) -> Said:
    evidence = [
        verdict(page.of("released", "samples in train mode"), "change of FD in %"),
        verdict(page.of("released", "spectral norm"), "its spectral norm"),
        verdict(page.of("released", "batch norm in D"), "batch norm in D"),
        _norms(page),
        missing(
            page,
            (released_pairs, "its spectral norm"),
            (batch_norm_pairs, "a discriminator without batch norm"),
        ),
    ]
    rows = page.of("released")
    if rows.empty:
        return Said(OPEN + "has them, or weights to sample", clean(evidence))
    short = [
        f"{subject} {signed(own['mean'].iloc[0])}{' %' if own['measure'].iloc[0] == CHANGE else ''}"
        if own["called"].any()
        else f"{subject}: no difference shown"
        for subject, own in rows.groupby("subject", sort=False)
    ]
    return said(capital("; ".join(short)), evidence, rows)


def _norms(page: Page) -> str:
    table = read_table(page.runs, "released_norms.csv")
    if table is None or table.empty:
        return ""
    return (
        "Its norm takes the wrong dimension of a transposed convolution: the trained weights here "
        f"would be divided by {number(table['ratio'].min(), 2)} to "
        f"{number(table['ratio'].max(), 2)} times what is right."
    )
