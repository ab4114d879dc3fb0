"""The questions: each reads the page's comparisons and says what they answer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fagan.readings.effects import conditional, counted, listed, tally
from fagan.readings.mechanisms import (
    concatenation,
    gates,
    low_resolution,
    receptive_fields,
    released,
)
from fagan.readings.reading import percent
from fagan.readings.verdicts import (
    OPEN,
    Page,
    Said,
    capital,
    clean,
    left_out,
    missing,
    paired,
    said,
    unanswered,
    verdict,
)
from fagan.tables import (
    ENOUGH,
    FD,
    LATE,
    MINUS,
    SOON,
    WOBBLE,
    arm_configs,
    count,
    equal_seconds,
    equal_size,
    full_pairs,
    kernel_pairs,
    number,
    pure_pairs,
    relativistic_pairs,
    self_pairs,
    sized_kernel_pairs,
    stability_by_arm,
)
from fagan.tables.variants import EQUAL_SIZE, Pair


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
    evidence.append(left_out(page, "kernels"))
    evidence.append(
        missing(
            page,
            (kernel_pairs, "kernel sizes at equal width"),
            (sized_kernel_pairs, "kernel sizes at equal parameters"),
        )
    )
    if rows.empty:
        sizes = sorted({int(k) for k in arm_configs(page.runs)["kernel_size"]})
        if len(sizes) == 1:
            evidence.insert(0, f"Full attention has one kernel here, of {sizes[0]}.")
        return Said(unanswered(page, "kernels", "has another kernel size"), clean(evidence))
    arms = arm_configs(page.runs)
    size, base = (rows[side].map(arms["kernel_size"]).astype(int) for side in ("arm", "baseline"))
    than = f"{base.iloc[0]}x{base.iloc[0]}"
    evidence.insert(0, "Convolution and attention of a layer share the kernel size.")
    if {1, 2} & {*size, *base}:
        evidence.insert(
            1,
            "Layers resample by 2, so a transposed convolution of 1x1 reaches one position in four "
            "and one of 2x2 lets no two windows overlap: small kernels lack more than a view.",
        )
    wide = rows["subject"] == "equal width"
    swapped = [pair[::-1] for pair in paired(rows[wide])]
    evidence.insert(-2, _sizes(page, swapped, f"Parameters, of those with {than}"))
    answer = f"No kernel size is shown to matter, in {counted(len(rows), 'comparison')}"
    if rows["called"].any():
        sides = ((f"smaller than {than}", size < base), (f"larger than {than}", size > base))
        told = [
            f"{words} {tally(rows[side]) if rows[side]['called'].any() else 'no difference shown'}"
            for words, side in sides
            if side.any()
        ]
        answer = f"{'At equal width kernels' if wide.all() else 'Kernels'} {'; '.join(told)}"
    return said(answer, evidence, rows)


def one_layer(page: Page) -> Said:
    steps, soon = page.of("one layer", measure=FD), page.of("one layer", measure=SOON)
    if steps.empty:
        lacks = missing(page, (pure_pairs, "a network of full attention alone"))
        why = unanswered(page, "one layer", "is of full attention alone")
        return Said(why, clean([left_out(page, "one layer"), lacks]))
    evidence = [verdict(steps, "equal steps"), _images(page), verdict(soon, "equal seconds")]
    evidence += [_seconds(page, soon), left_out(page, "one layer")]
    evidence.append(_sizes(page, paired(steps), "Parameters of the controls, of its own"))
    where = [
        f"at equal {unit} {_direction(rows)}"
        for unit, rows in (("steps", steps), ("seconds", soon))
        if len(rows)
    ]
    return said(capital("; ".join(where)), evidence, page.of("one layer"))


def _seconds(page: Page, soon: pd.DataFrame) -> str:
    """What a score at equal seconds is, and how much of it is no measurement."""
    if soon.empty:
        return ""
    values = pd.concat([frame for _, frame in equal_seconds(page.runs, paired(soon))])
    values = values[values["value"].notna()]
    made = count(page.runs.runs["n_track"].max())
    return (
        f"A score after so many seconds is one along the curve, of {made} images, a line between "
        f"two evaluations. Of the {len(values)} behind these differences "
        f"{int(values['early'].sum())} lie before a run's second evaluation, so between an "
        f"untrained network's score and the first measured one, and {int(values['ended'].sum())} "
        "are a run's last score because it ended earlier. The spread is the pair's own, as arms "
        "that are met early in training spread more. An arm's speed is the 90th percentile of its "
        "log steps, as other work only slows it."
    )


def _sizes(page: Page, pairs: list[Pair], heading: str) -> str:
    """How large the second arm of each pair is, of the first, where that was recorded."""
    sizes = arm_configs(page.runs)["parameters"]
    ratios = [
        f"{page.runs.labels[other]} {percent(sizes[other] / sizes[arm])}"
        for arm, other in pairs
        if np.isfinite([sizes[arm], sizes[other]]).all()
    ]
    return f"{heading}: {', '.join(ratios)}." if ratios else ""


def _direction(rows: pd.DataFrame) -> str:
    """Below or above which baselines, in a few words."""
    called = rows[rows["called"]]
    names = called["label"].map(lambda label: label.partition(f" {MINUS} ")[2])
    parts = [
        f"{word} than {listed(names[side])}{conditional(called[side])}"
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
    pairs = relativistic_pairs(arm_configs(page.runs))
    if not pairs:
        lacks = (relativistic_pairs, "a relativistic loss and its plain")
        return Said(OPEN + "has a relativistic loss", clean([missing(page, lacks)]))
    wobble = page.of("stability", measure=WOBBLE)
    table = stability_by_arm(page.runs).set_index("arm")
    evidence = [
        "Stable is called what wobbles little: the standard deviation of FD-Lite0 about its own "
        f"trend over the last {percent(LATE)} of the steps.",
        _evaluations(table, pairs),
        verdict(wobble, "wobble, of FD"),
        verdict(page.of("stability", measure=FD), "final FD-Lite0, which is no steadiness"),
        left_out(page, "stability"),
        *(_diverged(table.loc[arm], table.loc[other]) for arm, other in pairs),
    ]
    lost = _lost(table, pairs)
    if wobble.empty:
        few = table.loc[[arm for pair in pairs for arm in pair], "evaluations"].min() < ENOUGH
        answer = "Not measured" if few else unanswered(page, "stability", "")
        return Said(f"{lost}; {answer[0].lower()}{answer[1:]}" if lost else answer, clean(evidence))
    answer = "Not shown to be stabler"
    if wobble["called"].any():
        answer = f"{capital(tally(wobble, 'stabler', 'less stable'))}, by the wobble of its score"
    return said(f"{lost}; {answer.lower()}" if lost else answer, evidence, wobble)


def _evaluations(table: pd.DataFrame, pairs: list[Pair]) -> str:
    """How many evaluations a deviation from a trend is of."""
    found = table.loc[[arm for pair in pairs for arm in pair], "evaluations"].dropna()
    if found.empty:
        return ""
    low, high = int(found.min()), int(found.max())
    of = counted(low, "evaluation") if low == high else f"{low} to {high} evaluations"
    if low < ENOUGH:
        return f"Not measured{'' if low == high else ' of all'}: {of}, {ENOUGH} are needed."
    return f"A run has {of} there."


def _diverged(one: pd.Series, other: pd.Series) -> str:
    """What a mean over the finished runs leaves out."""
    text = (
        f"Diverged: {one['diverged']} of {one['runs']} runs of {one['label']}, "
        f"{other['diverged']} of {other['runs']} of {other['label']}"
    )
    if np.isfinite([one["worst"], other["worst"]]).all():
        text += (
            f"; worst seeds {number(one['worst'])} and {number(other['worst'])}; late deviation of "
            f"the generator's loss {number(one['loss_g_sd'], 2)} and "
            f"{number(other['loss_g_sd'], 2)}, of the discriminator's "
            f"{number(one['loss_d_sd'], 2)} and {number(other['loss_d_sd'], 2)} (two losses have "
            "two scales; `tables/stability.csv`)"
        )
    return f"{text}."


def _lost(table: pd.DataFrame, pairs: list[Pair]) -> str:
    """How many runs diverged on either side; empty where none did."""
    ours, plain = (table.loc[list(dict.fromkeys(side))] for side in zip(*pairs, strict=True))
    if not (ours["diverged"].sum() or plain["diverged"].sum()):
        return ""
    return (
        f"{ours['diverged'].sum()} of {ours['runs'].sum()} relativistic runs diverged, "
        f"{plain['diverged'].sum()} of {plain['runs'].sum()} plain ones"
    )


def attention(page: Page) -> Said:
    between, full = (
        page.of("attention", subject)
        for subject in ("attention between convolutions", "full attention")
    )
    evidence = [
        verdict(between, "attention between convolutions against none"),
        verdict(full, "full attention against SAGAN and against wider networks"),
        left_out(page, "attention"),
        missing(page, (self_pairs, "SAGAN against DCGAN"), (full_pairs, "FAGAN against SAGAN")),
        _equal_sizes(page, paired(pd.concat([between, full]))),
    ]
    rows = page.of("attention")
    if rows.empty:
        why = unanswered(page, "attention", "differs in its attention alone")
        return Said(why, clean(evidence))
    sides = [(n, own) for n, own in (("SAGAN's", between), ("FAGAN's", full)) if len(own)]
    answer = f"{sides[0][0]} attention is not shown to change the score"
    if len(sides) == 2:
        answer = "Neither SAGAN's attention nor FAGAN's is shown to change the score"
    if rows["called"].any():
        answer = "; ".join(f"{name} attention: {_direction(own)}" for name, own in sides)
    return said(answer, evidence, rows)


def _equal_sizes(page: Page, pairs: list[Pair]) -> str:
    """Which of the pairs are equally large, by the recorded parameters of both networks."""
    arms = arm_configs(page.runs)
    known = [pair for pair in pairs if arms.loc[list(pair), "parameters"].notna().all()]
    if not known:
        return ""
    groups = {True: [], False: []}
    for one, other in known:
        ratio = percent(arms.loc[other, "parameters"] / arms.loc[one, "parameters"])
        words = f"{page.runs.labels[other]} has {ratio} of {page.runs.labels[one]}"
        groups[equal_size(arms, one, other)].append(words)
    within = f"within {percent(EQUAL_SIZE)}"
    if not groups[True]:
        return f"No two of these are of equal size, {within}: {', '.join(groups[False])}."
    also = f"; else {', '.join(groups[False])}" if groups[False] else ""
    return f"Of equal size, {within}, by parameters: {', '.join(groups[True])}{also}."


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
