"""Pages: execute an analysis template, and render notebooks to HTML that opens from disk."""

from fagan.report.analysis import RunError, analyse, analyses
from fagan.report.front import report, write_pages
from fagan.report.pages import alt_text, heading, inline_svg, readable_tables, render
from fagan.report.scrub import data_paths, machine_paths, scrub, scrub_file

__all__ = [
    "RunError",
    "alt_text",
    "analyse",
    "analyses",
    "data_paths",
    "heading",
    "inline_svg",
    "machine_paths",
    "readable_tables",
    "render",
    "report",
    "scrub",
    "scrub_file",
    "write_pages",
]
