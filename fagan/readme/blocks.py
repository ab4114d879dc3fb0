"""What stands between the marks of the README."""

from pathlib import Path

from fagan.records import PUBLISHED, RESULTS, load_runs

GATED = ("sagan", "fagan", "fagan-pure")  # architectures whose gates the README shows one by one


def block(ablation: str, results: Path = RESULTS) -> str:
    """What a published ablation showed, as Markdown: figure, table, differences, gates."""
    from fagan import readings, tables

    runs = load_runs(f"published/{ablation}", results)
    folder = f"results/published/{ablation}"
    scores, reach = readings.read_scores(runs), readings.read_reach(runs)
    paired = tables.paired_differences(runs)
    differences = readings.read_differences(paired, runs.labels)
    table = tables.present(tables.summary(runs), differences=paired).astype(str)
    ties, used = readings.read_ties(runs), readings.read_interventions(runs)
    parts = [
        f"![Final scores of every seed]({folder}/figures/final_scores.svg)",
        f"**{scores.claim}.** {scores.text}",
        tables.markdown(table),
        f"**{differences.claim}.** {differences.text}",
        f"**{reach.claim}.** {reach.text}",
        f"**{used.claim}.** {used.text}",
        f"**{ties.claim}.** {ties.text}",
        f"{readings.protocol(runs)} {readings.networks(runs)} Records, tables and pages: "
        f"[{folder}]({folder}) ({readings.made_with(runs)}).",
    ]
    return "\n\n".join(parts) + "\n"


def scores_block(ablation: str, results: Path = RESULTS) -> str:
    """The scores of a published ablation and their differences at equal seeds, without the rest."""
    from fagan import readings, tables

    runs = load_runs(f"published/{ablation}", results)
    differences = tables.paired_differences(runs)
    table = tables.present(tables.summary(runs), differences=differences).astype(str)
    folder = f"results/published/{ablation}"
    return "\n\n".join(
        (
            tables.markdown(table),
            f"{readings.read_differences(differences, runs.labels).text} "
            f"Records and pages: [{folder}]({folder}) ({readings.made_with(runs)}).\n",
        )
    )


def alphas_block(ablation: str, results: Path = RESULTS) -> str:
    """Every gate of SAGAN, FAGAN and FAGAN pure at the last step, and what closing it does."""
    from fagan import readings, tables

    runs = load_runs(f"{PUBLISHED}/{ablation}", results)
    arms = tables.plain_arms(tables.arm_configs(runs))
    arms = arms[arms["architecture"].isin(GATED)].drop_duplicates("architecture").index
    gates = tables.gates_by_layer(runs)
    reach, signs = readings.read_reach(runs), readings.read_signs(runs)
    n_fake = tables.count(runs.interventions["n_fake"].max())
    folder = f"results/published/{ablation}/tables"
    parts = [
        tables.markdown(tables.present_gates(gates[gates["arm"].isin(arms)])),
        "Attention's share of a layer's output is by energy, a mean over seeds. FD when closed is "
        f"the mean change of {n_fake} images' FD-Lite0 with that gate of the generator set to 0 "
        "and the same latents, and in how many seeds it rises by more than "
        f"{readings.percent(tables.NOTICED)}. A self-attention layer's sign is a symmetry. All "
        f"arms: [last_alphas.csv]({folder}/last_alphas.csv), "
        f"[attention.csv]({folder}/attention.csv), "
        f"[interventions.csv]({folder}/interventions.csv).",
        f"**{reach.claim}.** {reach.text}",
        f"**{signs.claim}.** {signs.text}",
    ]
    return "\n\n".join(parts) + "\n"


def bench_block(device: str, results: Path = RESULTS) -> str:
    """What the published benches of a kind of device ("cpu", "cuda") measured, as Markdown."""
    from fagan import bench

    folder = Path(results) / "published" / "bench"
    slugs = sorted(path.stem for path in folder.glob(f"{device}-*.json"))
    if not slugs:
        return f"No bench of a {device} is published yet; `make bench PUBLISH=1` writes one.\n"
    return "\n\n".join(bench.markdown(folder, s, "results/published/bench") for s in slugs) + "\n"


def answers_block(ablation: str, results: Path = RESULTS) -> str:
    """The blog's questions and what a published ablation answers, as Markdown."""
    from fagan import readings, tables

    runs = load_runs(f"{PUBLISHED}/{ablation}", results)
    folder = f"results/published/{ablation}"
    found = readings.recorded_answers(runs)
    found = found[-1:] + found[:-1]  # the README's title asks the last one
    table = readings.overview(found).drop(columns="page").astype(str)
    return (
        f"{tables.markdown(table)}\n\nFrom {readings.extent(runs)}. Every comparison with its "
        f"interval is in [blog.csv]({folder}/tables/blog.csv); intervals are corrected for their "
        f"number, and lower FD-Lite0 is better. Records and pages: [{folder}]({folder}) "
        f"({readings.made_with(runs)}).\n"
    )
