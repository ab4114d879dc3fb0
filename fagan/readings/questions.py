"""The questions: each reads the page's comparisons and says what they answer."""

from collections.abc import Callable
from dataclasses import dataclass

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
    listed,
    missing,
    paired,
    said,
    verdict,
)
from fagan.tables import (
    FD,
    LATE,
    MINUS,
    SOON,
    WOBBLE,
    arm_configs,
    count,
    full_pairs,
    kernel_pairs,
    number,
    pure_pairs,
    relativistic_pairs,
    self_pairs,
    sized_kernel_pairs,
    stability_by_arm,
)


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
        better, worse = int((calls["mean"] < 0).sum()), int((calls["mean"] > 0).sum())
        answer = (
            f"Kernels above the smallest score better in {better} of {len(rows)} comparisons, "
            f"worse in {worse}"
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
        evidence.append(
            f"A score after so many seconds is one along the curve, of {made} images; an "
            "arm's speed is the 90th percentile of its log steps, as other work only slows it."
        )
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
