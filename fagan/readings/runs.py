"""What stands behind a page: which runs, made by what, scored how."""

from fagan.config import stages_of
from fagan.readings.effects import listed
from fagan.readings.reading import Reading
from fagan.records import Runs
from fagan.tables import arm_configs, count, failures, seeds, status_counts, summary

EXTRACTORS = {"lite0": "EfficientNet-Lite0", "inception": "Inception"}


def read_status(runs: Runs) -> Reading:
    """How much of the plan stands behind this page."""
    counts = status_counts(runs)
    total = sum(counts.values())
    lost = ", ".join(f"{n} {status}" for status, n in counts.items() if status != "done")
    verb = "is" if counts["done"] == 1 else "are"
    claim = f"{counts['done']} of {total} runs {verb} done" + (f" ({lost})" if lost else "")
    return Reading(claim, " ".join(caveats(runs)))


def extent(runs: Runs) -> str:
    """The size of an ablation in a few words."""
    own = runs.runs.groupby("arm")["seed"].nunique().min()
    steps = runs.runs["steps"].max()
    return f"{count(len(runs.arms))} arms, {seeds(own)} an arm, {count(steps)} steps a run"


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


def protocol(runs: Runs) -> str:
    """What the score is, from the records: extractor, counts, input size, reference split."""
    done = runs.runs[runs.runs["status"] == "done"]
    if done.empty:
        return "No run is done, so no score was recorded."
    run = done.iloc[0]
    name = EXTRACTORS.get(run.get("extractor"), run.get("extractor"))
    kid = (
        " KID-Lite0 is the squared maximum mean discrepancy of the same features under a cubic "
        "kernel."
        if "kid_lite0" in done
        else ""
    )
    trained = f" Trained in {listed(done['precision'].unique())}." if "precision" in done else ""
    return (
        f"FD-Lite0 is the Fréchet distance between {name} features "
        f"(input {count(run.get('input_size'))} px) of {count(run.get('n_fake'))} generated "
        f"and {count(run.get('n_real'))} real images of "
        f"{runs.reference.get('name', run['data'])} (split `{run.get('split')}`). It is not FID, "
        "and lower is better. The floor is the same distance between real images and other real "
        f"images at the same counts.{kid}{trained}"
    )


def networks(runs: Runs) -> str:
    """The stages of every arm, generator from the latent and discriminator from the image."""
    same: dict[str, list[str]] = {}
    for arm, config in arm_configs(runs).iterrows():
        stages = stages_of(config["architecture"], int(config["resolution"]))
        same.setdefault(str(stages), []).append(runs.labels[arm])
    parts = [f"{listed(labels)} `{stages}`" for stages, labels in same.items()]
    return (
        f"Stages, generator | discriminator: {'; '.join(parts)}. C is a convolution, F full "
        "attention, +A self-attention after it; an arm that is wide has more channels instead."
    )


def read_failures(runs: Runs) -> Reading:
    lost = failures(runs)
    if lost.empty:
        return Reading("No run failed", "Every planned run is done.")
    return Reading(
        f"{len(lost)} planned run{'s have' if len(lost) > 1 else ' has'} no final score",
        "They count in no mean above: a mean over the seeds that survived flatters its arm.",
    )
