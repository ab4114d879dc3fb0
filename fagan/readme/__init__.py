"""Texts that cite the published records, written from them, so that no number is typed.

The README holds pairs of marks, `<!-- results: laptop -->`, `<!-- answers: overnight -->`,
`<!-- alphas: overnight -->`, `<!-- scores: precision -->` or `<!-- bench: cpu -->`, and
`<!-- end -->`; `blocks` writes what stands between them. results/published/README.md is written
as a whole, by `published`.
`python -m fagan publish` and `bench --publish` call `update`, and a test compares.
"""

import re
from pathlib import Path

from fagan.config import UserError
from fagan.environment import ROOT
from fagan.readme.blocks import alphas_block, answers_block, bench_block, block, scores_block
from fagan.readme.published import published_page
from fagan.records import PUBLISHED, RESULTS, write_text

__all__ = ["MARKS", "README", "between", "cited_by", "published_page", "update"]

README = ROOT / "README.md"
BLOCKS = {
    "results": block,
    "answers": answers_block,
    "alphas": alphas_block,
    "scores": scores_block,
    "bench": bench_block,
}
MARKS = re.compile(
    rf"(<!-- (?P<kind>{'|'.join(BLOCKS)}): (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL
)


def between(match: re.Match, results: Path = RESULTS) -> str:
    """What belongs between a pair of marks."""
    return BLOCKS[match["kind"]](match["name"], results)


def cited_by(results: Path) -> Path | None:
    """The README, where it is these results that it cites."""
    return README if Path(results).resolve() == (ROOT / RESULTS).resolve() else None


def update(results: Path = RESULTS, readme: Path | None = README) -> list[str]:
    """Rewrite the README's marked blocks and the published folder's page; what changed.

    readme: None for the page alone.
    """
    pages = {Path(results) / PUBLISHED / "README.md": published_page(results)}
    if readme:
        text = readme.read_text(encoding="utf-8")
        if not MARKS.search(text):
            raise UserError(f"{readme.name} has no `<!-- results: NAME -->` to write between")
        new = MARKS.sub(lambda match: match[1] + between(match, results) + match[4], text)
        pages = {readme: new} | pages
    changed = []
    for path, content in pages.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            write_text(path, content)
            changed.append(path.name if path == readme else f"{PUBLISHED}/{path.name}")
    return changed
