"""The questions: each reads the page's comparisons and says what they answer."""

from collections.abc import Callable
from dataclasses import dataclass

from fagan.readings.alphas import read_reach, read_signs
from fagan.readings.reading import percent
from fagan.readings.scores import signed
from fagan.readings.studies import NO_WEIGHTS, read_fields
from fagan.readings.verdicts import (
    Page,
    Said,
    better,
    capital,
    clean,
    listed,
    missing,
    paired,
    said,
    verdict,
)
from fagan.tables import (
    CHANGE,
    FD,
    LATE,
    MINUS,
    SOON,
    WOBBLE,
    arm_configs,
    batch_norm_pairs,
    concat_pairs,
    count,
    full_pairs,
    gate_pairs,
    kernel_pairs,
    last_instruments,
    low_pairs,
    number,
    plateaus,
    pure_pairs,
    read_table,
    relativistic_pairs,
    released_pairs,
    self_pairs,
    sized_kernel_pairs,
    stability_by_arm,
)

OPEN = "Open: no arm here "


@dataclass(frozen=True)
class Question:
    text: str
    answer: Callable[[Page], Said]
    page: str
    table: str = "blog.csv"


def kernels(page: Page) -> Said:
    rows = page.of("kernels")
    evidence = [
        verdict(page.of("kernels", subject), subject)
        for subject in ("equal width", "equal parameters")
    ]
    evidence.append(
        missing(
            page,
            (kernel_pairs, "kernel sizes at equal width"),
            (sized_kernel_pairs, "kernel sizes at equal parameters"),
        )
    )
    if rows.empty:
        sizes = sorted({int(k) for k in arm_configs(page.runs)["kernel_size"]})
        evidence.insert(0, f"Full attention has one kernel here, of {listed(sizes)}.")
        return Said(OPEN + "has another kernel size", clean(evidence))
    evidence.insert(0, "Convolution and attention of a layer share the kernel size.")
    calls = rows[rows["called"]]
    answer = f"No kernel size is shown to matter, in {len(rows)} comparisons"
    if len(calls):
        better = int((calls["mean"] < 0).sum())
        answer = (
            f"It can: {better} of {len(rows)} larger kernels score better than the smallest"
            if better
            else f"It costs: {len(calls)} of {len(rows)} larger kernels score worse"
        )
    return said(answer, evidence, rows)


def one_layer(page: Page) -> Said:
    steps, soon = page.of("one layer", measure=FD), page.of("one layer", measure=SOON)
    if steps.empty:
        return Said(
            OPEN + "is of full attention alone",
            [missing(page, (pure_pairs, "a network of full attention alone"))],
        )
    evidence = [verdict(steps, "equal steps"), _images(page), verdict(soon, "equal seconds")]
    if len(soon):
        made = count(page.runs.runs["n_track"].max())
        evidence.append(f"A score after so many seconds is one along the curve, of {made} images.")
    sizes = arm_configs(page.runs)["parameters"]
    ratios = [
        f"{page.runs.labels[other]} {percent(sizes[other] / sizes[arm])}"
        for arm, other in paired(steps)
    ]
    evidence.append(f"Parameters of the controls, of its own: {', '.join(ratios)}.")
    where = [
        f"at equal {unit} {_direction(rows)}"
        for unit, rows in (("steps", steps), ("seconds", soon))
        if len(rows)
    ]
    return said(capital("; ".join(where)), evidence, steps)


def _direction(rows) -> str:
    """Below or above which baselines, in a few words."""
    called = rows[rows["called"]]
    names = called["label"].map(lambda label: label.partition(" \N{MINUS SIGN} ")[2])
    parts = [
        f"{word} than {listed(names[side])}"
        for word, side in (("better", called["mean"] < 0), ("worse", called["mean"] > 0))
        if side.any()
    ]
    return " and ".join(parts) or "no difference is shown"


def _images(page: Page) -> str:
    each = (page.runs.runs["batch_size"] * page.runs.runs["n_dis"]).unique()
    if len(each) > 1:
        return "The arms see different numbers of images a step: per step is not per image here."
    return f"Every arm sees {count(each[0])} images a step, so per step is per image."


def steadier(page: Page) -> Said:
    wobble = page.of("stability", measure=WOBBLE)
    final = page.of("stability", measure=FD)
    if final.empty:
        lacks = (relativistic_pairs, "a relativistic loss and its plain")
        return Said(OPEN + "has a relativistic loss", [missing(page, lacks)])
    table = stability_by_arm(page.runs).set_index("arm")
    evidence = [
        f"Stable is called what wobbles little: the standard deviation of FD-Lite0 about its own "
        f"trend over the last {percent(LATE)} of the steps.",
        verdict(wobble, "wobble, in % of FD"),
        verdict(final, "final FD-Lite0"),
    ]
    for arm, other in paired(final):
        one, two = table.loc[arm], table.loc[other]
        evidence.append(
            f"Diverged: {one['diverged']} of {one['runs']} runs of {one['label']}, "
            f"{two['diverged']} of {two['runs']} of {two['label']}; worst seeds "
            f"{number(one['worst'])} and {number(two['worst'])}; late deviation of the generator's "
            f"loss {number(one['loss_g_sd'], 2)} and {number(two['loss_g_sd'], 2)}, of the "
            f"discriminator's {number(one['loss_d_sd'], 2)} and {number(two['loss_d_sd'], 2)} "
            "(two losses have two scales; `tables/stability.csv`)."
        )
    called = wobble[wobble["called"]]
    answer = "Not shown to be stabler"
    if len(called):
        less = int((called["mean"] < 0).sum())
        answer = f"Stabler in {less} of {len(wobble)} pairs, by the wobble of its score"
    return said(answer, evidence, wobble if len(wobble) else final)


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


def attention(page: Page) -> Said:
    between, full = (
        page.of("attention", subject)
        for subject in ("attention between convolutions", "full attention")
    )
    evidence = [
        verdict(between, "attention between convolutions against none"),
        verdict(full, "full attention in place of it"),
        missing(page, (self_pairs, "SAGAN against DCGAN"), (full_pairs, "FAGAN against SAGAN")),
        "At equal size are the arms called wide; the others have fewer parameters than FAGAN.",
    ]
    rows = page.of("attention")
    if rows.empty:
        return Said(OPEN + "differs in its attention alone", clean(evidence))
    called = rows[rows["called"]]
    answer = "Neither SAGAN's attention nor FAGAN's is shown to change the score"
    if len(called):
        words = [
            f"{row['label'].partition(MINUS)[0].strip()} scores "
            f"{'better' if row['mean'] < 0 else 'worse'} than "
            f"{row['label'].partition(MINUS)[2].strip()}"
            for row in called.to_dict("records")
        ]
        answer = listed(words)
    return said(answer, evidence, rows)


def _norms(page: Page) -> str:
    table = read_table(page.runs, "released_norms.csv")
    if table is None or table.empty:
        return ""
    return (
        "Its norm takes the wrong dimension of a transposed convolution: the trained weights here "
        f"would be divided by {number(table['ratio'].min(), 2)} to "
        f"{number(table['ratio'].max(), 2)} times what is right."
    )


QUESTIONS = (
    Question(
        "Can attention generalise to k\N{MULTIPLICATION SIGN}k convolutions?", kernels, "comparison"
    ),
    Question("Can one layer extract features and attend at once?", one_layer, "comparison"),
    Question("Does the relativistic loss train stabler?", steadier, "comparison"),
    Question("What do the trained alphas reveal?", gates, "alpha"),
    Question("Would concatenating the two paths be better than a gate?", concatenation, "alpha"),
    Question(
        "Do depth and filter size cover the whole image?",
        receptive_fields,
        "receptive_field",
        "receptive_fields.csv",
    ),
    Question("Does attention at 4x4 and 8x8 do anything?", low_resolution, "attention"),
    Question("What do the released code's defects change?", released, "samples"),
    Question(
        "Does attention between convolutions help (SAGAN), and full attention more (FAGAN)?",
        attention,
        "comparison",
    ),
)
