"""A notebook as one page that opens from disk: no network, every image inside, read by a keyboard.

nbconvert with a template of our own (notebooks/template) is kept because it builds from installed
packages alone: MyST and Jupyter Book 2 fetch their theme at build time and fail offline; Sphinx
with myst-nb and Jupyter Book 1 build, but spread a page over shared script and font files, which
cannot be sent as one file, and take their tables and figures as they come, without the text
alternatives, row headers and theme colours that are put in here.
"""

import hashlib
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
    intro: str = "",
) -> Path:
    """A notebook as one page, written atomically.

    title: by default the notebook's first heading. site: the name at the left of the navigation,
    links: its entries, {"text", "href", "current"}. intro: HTML with the page's own first heading,
    under which the notebook's headings go one level down.
    """
    import nbformat
    from nbconvert import HTMLExporter

    book = nbformat.read(notebook_path, as_version=4)
    title = title or heading(book) or Path(notebook_path).stem
    if intro:
        book = demoted(book)
    page = {"title": f"{title} – {site}" if site else title, "site": site, "links": list(links)}
    exporter = HTMLExporter(
        template_name="template", extra_template_basedirs=[str(TEMPLATE.parent)]
    )
    for name in (inline_svg, alt_text, readable_tables):
        exporter.register_filter(name.__name__, name)
    html, _ = exporter.from_notebook_node(book, resources={"page": page | {"intro": intro}})
    write_text(Path(html_path), html.strip() + "\n")
    return Path(html_path)


def fill(template: str, **values: Any) -> str:
    """A template of notebooks/template with values: everything is escaped that is no Markup."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATE), autoescape=True)
    return environment.get_template(template).render(**values)


def heading(book: Any) -> str:
    """The first heading of a notebook, without its mark."""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return line.removeprefix("# ").strip()
    return ""


def demoted(book: Any) -> Any:
    """The notebook with every heading of its text one level down."""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"^(#{1,5}) ", r"#\1 ", cell.source, flags=re.M)
    return book


def sentence(text: str):
    """A reading as HTML, with the two marks that readings use."""
    from markupsafe import Markup

    text = escape(text, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", text))


def alt_text(output: Any, mime: str) -> str:
    """What plots.show said about the figure, else the output's plain text."""
    said = output.get("metadata", {}).get(mime, {}).get("alt")
    return said or output.data.get("text/plain", "").strip("<>") or "figure"


def readable_tables(html: str) -> str:
    """The tables of an output with scopes: heads name columns, a row's first cell names the row."""
    html = re.sub(r"<th>\s*</th>", "<td></td>", html)
    return re.sub(r"<t(head|body)\b.*?</t\1>", _scoped, html, flags=re.S)


def _scoped(part: re.Match) -> str:
    if part[1] == "head":
        return re.sub(r"<th(?=[\s>])(?![^>]*scope=)", '<th scope="col"', part[0])
    first = r'\1<th scope="row"\2>\3</th>'
    named = re.sub(r"(<tr[^>]*>\s*)<td([^>]*)>(.*?)</td>", first, part[0], flags=re.S)
    return re.sub(r"<th(?=[\s>])(?![^>]*scope=)", '<th scope="row"', named)


def inline_svg(svg: str, alt: str) -> str:
    """matplotlib's SVG as an element of a page: named for readers, coloured by the page's theme."""
    from fagan.plots.look import GRID, INK, MUTED, PAPER

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>|<!--.*?-->", "", svg, flags=re.S)
    # groups are numbered anew in every figure and images named by their content: nothing refers to
    # them, and the same id would be twice on a page
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'(<image\b[^>]*?) id="[^"]*"', r"\1", svg)
    # what is referred to, such as a marker that two figures share, is named by its figure
    own = hashlib.sha256(svg.encode()).hexdigest()[:6]
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{own}-", svg)
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
