"""The README's results: written from the published records, so that no number is typed.

The README holds pairs of marks, `<!-- results: laptop -->`, `<!-- scores: precision -->` or
`<!-- bench: cpu -->`, and `<!-- end -->`; what stands between them is `block("laptop")`,
`scores_block("precision")` or `bench_block("cpu")`.
`python -m fagan publish` and `bench --publish` write them, and a test compares.
"""

import re
from pathlib import Path

from fagan.config import UserError
from fagan.environment import ROOT
from fagan.records import RESULTS, load_runs, write_text

README = ROOT / "README.md"
MARKS = re.compile(
    r"(<!-- (?P<kind>results|scores|bench): (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL
)


def block(ablation: str, results: Path = RESULTS) -> str:
    """What a published ablation showed, as Markdown: figure, table, differences, gates."""
    from fagan import readings, tables

    runs = load_runs(f"published/{ablation}", results)
    folder = f"results/published/{ablation}"
    scores, reach = readings.read_scores(runs), readings.read_reach(runs)
    differences = readings.read_differences(tables.paired_differences(runs), runs.labels)
    table = tables.present(tables.summary(runs)).astype(str)
    ties, used = readings.read_ties(runs), readings.read_interventions(runs)
    parts = [
        f"![Final scores of every seed]({folder}/figures/final_scores.svg)",
        f"**{scores.claim}.** {scores.text} {differences.text}",
        _markdown(table),
        f"**{reach.claim}.** {reach.text}",
        f"**{used.claim}.** {used.text}",
        f"**{ties.claim}.** {ties.text}",
        f"{readings.protocol(runs)} Records, tables and pages: [{folder}]({folder}) "
        f"({readings.made_with(runs)}).",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(table) -> str:
    rows = (table.columns, ["---"] * len(table.columns), *table.to_numpy())
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def scores_block(ablation: str, results: Path = RESULTS) -> str:
    """The scores of a published ablation and their differences at equal seeds, without the rest."""
    from fagan import readings, tables

    runs = load_runs(f"published/{ablation}", results)
    differences = tables.paired_differences(runs)
    table = tables.present(tables.summary(runs)).astype(str)
    folder = f"results/published/{ablation}"
    return "\n\n".join(
        (
            _markdown(table),
            f"{readings.read_differences(differences, runs.labels).text} "
            f"Records and pages: [{folder}]({folder}) ({readings.made_with(runs)}).\n",
        )
    )


def bench_block(device: str, results: Path = RESULTS) -> str:
    """What the published benches of a kind of device ("cpu", "cuda") measured, as Markdown."""
    from fagan import bench

    folder = Path(results) / "published" / "bench"
    slugs = sorted(path.stem for path in folder.glob(f"{device}-*.json"))
    if not slugs:
        return f"No bench of a {device} is published yet; `make bench PUBLISH=1` writes one.\n"
    return "\n\n".join(bench.markdown(folder, s, "results/published/bench") for s in slugs) + "\n"


def between(match: re.Match, results: Path = RESULTS) -> str:
    """What belongs between a pair of marks."""
    blocks = {"results": block, "scores": scores_block, "bench": bench_block}
    return blocks[match["kind"]](match["name"], results)


def update(results: Path = RESULTS, readme: Path = README) -> list[str]:
    """Rewrite every marked block of the README; the names of those that changed."""
    text = readme.read_text(encoding="utf-8")
    changed = []

    def fresh(match: re.Match) -> str:
        new = match[1] + between(match, results) + match[4]
        if new != match[0]:
            changed.append(match["name"])
        return new

    new_text = MARKS.sub(fresh, text)
    if not MARKS.search(text):
        raise UserError(f"{readme.name} has no `<!-- results: NAME -->` to write between")
    if changed:
        write_text(readme, new_text)
    return changed
