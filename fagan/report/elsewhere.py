"""What published ablations with more arms or seeds answer to the questions of a front page."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from fagan.errors import UserError
from fagan.records import PUBLISHED, Runs, load_runs, read_object

FRONT = Path("report") / "index.html"


@dataclass(frozen=True)
class Elsewhere:
    """A published answer. interval and n: as in `readings.Answer`."""

    ablation: str
    about: str
    answer: str
    interval: str
    n: int
    href: str


def elsewhere(runs: Runs, results: Path, page_folder: Path) -> dict[str, list[Elsewhere]]:
    """question -> the answers of published ablations that go further than this one.

    That is: on the same images at the same resolution, with every arm of this ablation among
    theirs, at least as many seeds, and at least as many steps. Links lead from `page_folder`.
    """
    from fagan import readings

    found: dict[str, list[Elsewhere]] = {}
    for path in sorted((Path(results) / PUBLISHED).glob("[!.]*/plan.json")):
        ablation = path.parent.name
        if ablation == runs.ablation:
            continue
        try:
            if not _same_images(path.parent, runs):
                continue  # before its large tables are read
            other = load_runs(f"{PUBLISHED}/{ablation}", results)
        except UserError as error:  # no reason to go without a report
            print(f"published/{ablation} is left aside: {error}", file=sys.stderr)
            continue
        if not _goes_further(other, runs):
            continue
        href = os.path.relpath(other.folder / FRONT, page_folder)
        for said in readings.recorded_answers(other):
            answer = Elsewhere(
                ablation=ablation,
                about=readings.extent(other),
                answer=said.answer,
                interval=said.interval,
                n=said.n,
                href=Path(href).as_posix(),
            )
            found.setdefault(said.question, []).append(answer)
    return found


def _same_images(folder: Path, runs: Runs) -> bool:
    reference = read_object(folder / "reference.json") or {}
    names = ("checksum", "train_checksum", "resolution")
    return all(reference.get(name) == runs.reference.get(name) for name in names)


def _goes_further(other: Runs, runs: Runs) -> bool:
    sizes = [
        (own.runs.groupby("arm")["seed"].nunique().min(), own.runs["steps"].max())
        for own in (other, runs)
    ]
    further = all(a >= b for a, b in zip(*sizes, strict=True)) and sizes[0] != sizes[1]
    return set(runs.arms) <= set(other.arms) and further
