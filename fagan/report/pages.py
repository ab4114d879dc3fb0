"""A notebook as one page that opens from disk: no script, no network, every image inside."""

import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from fagan.environment import ROOT
from fagan.records import write_text

TEMPLATE = ROOT / "notebooks" / "template"


def render(
    notebook_path: Path,
    html_path: Path,
    title: str | None = None,
    site: str = "",
    links: Iterable[Mapping[str, Any]] = (),
) -> Path:
    """A notebook as one page, written atomically.

    title: by default the notebook's first heading. site: the name at the left of the navigation,
    links: its entries, {"text", "href", "current"}.
    """
    import nbformat
    from nbconvert import HTMLExporter

    book = nbformat.read(notebook_path, as_version=4)
    title = title or heading(book) or Path(notebook_path).stem
    page = {"title": f"{title} – {site}" if site else title, "site": site, "links": list(links)}
    exporter = HTMLExporter(
        template_name="template", extra_template_basedirs=[str(TEMPLATE.parent)]
    )
    exporter.register_filter("inline_svg", inline_svg)
    exporter.register_filter("alt_text", alt_text)
    html, _ = exporter.from_notebook_node(book, resources={"page": page})
    write_text(Path(html_path), html.strip() + "\n")
    return Path(html_path)


def heading(book: Any) -> str:
    """The first heading of a notebook, without its mark."""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return line.removeprefix("# ").strip()
    return ""


def alt_text(output: Any, mime: str) -> str:
    """What plots.show said about the figure, else the output's plain text."""
    said = output.get("metadata", {}).get(mime, {}).get("alt")
    return said or output.data.get("text/plain", "").strip("<>") or "figure"


def inline_svg(svg: str, alt: str) -> str:
    """matplotlib's SVG as an element of a page: named for readers, coloured by the page's theme."""
    from fagan.plots.look import GRID, INK, MUTED, PAPER

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>|<!--.*?-->", "", svg, flags=re.S)
    # groups are numbered anew in every figure: twice the same id on a page
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    opening, rest = svg.split(">", 1)
    opening = re.sub(r'\s(?:width|height|version|xmlns(?::\w+)?)="[^"]*"', "", opening)
    for color, variable in (
        (INK, "currentColor"),
        (MUTED, "var(--muted)"),
        (GRID, "var(--line)"),
        (PAPER, "var(--page)"),
    ):
        rest = rest.replace(color, variable)
    return f'{opening} role="img" aria-label="{escape(alt)}">{rest}'


def page_name(notebook: str) -> str:
    return notebook.replace("_", " ").replace("-", " ").capitalize()


def links(pages: Iterable[tuple[str, str]], current: str = "") -> list[dict[str, Any]]:
    return [{"text": text, "href": href, "current": href == current} for text, href in pages]
