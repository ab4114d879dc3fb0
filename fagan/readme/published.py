"""results/published/README.md: what each folder is, how to make it again, what each file holds."""

import json
import shlex
from pathlib import Path

import pandas as pd

from fagan import readings
from fagan.records import PUBLISHED, RESULTS, Runs, load_runs, meanings
from fagan.tables import count, markdown, number

HOUR = 3600


def published_page(results: Path = RESULTS) -> str:
    """The page as Markdown, from the records of every published ablation and bench."""
    folder = Path(results) / PUBLISHED
    found = sorted(path.parent.name for path in folder.glob("[!.]*/plan.json"))
    ablations = [load_runs(f"{PUBLISHED}/{name}", results) for name in found]
    parts = [
        "# Published results",
        "What this repository speaks of, as `make publish` copied it: records, tables, figures and "
        "pages. Every number of a page is in a table, and every table is computed from the records "
        "below `runs/`. This page is written by the same command.",
        _table(
            ("folder", "what", "runs", "training steps", "made by", "on", "size"),
            map(_row, ablations),
        ),
        _benches(folder),
        "## Make them again",
        "\n".join(("```", *map(_command, ablations), "make bench PUBLISH=1", "```")),
        "In a clone at the commit that the table names, on the same kind of machine and with the "
        "same thread count, every recorded number but the clock's is equal to the last digit; "
        "elsewhere rounding grows into another run. The page *Published* of your own report says "
        "which, run by run and table by table.",
        *_projections(folder),
        "## Check a number",
        "1. Under each answer of a report's first page stand its interval and the table that it is "
        "from, in `report/tables/`.\n"
        "2. A table's `seed 0`, `seed 1`, ... are final scores, `metrics.json` of "
        "`runs/ARM-seedN/`, or differences of two of them.\n"
        "3. In the clone's root, with its `.venv` active: "
        "`fagan.records.load_runs('published/laptop')` loads everything into pandas, a run with "
        "weights draws again (`python -m fagan sample published/laptop fagan-seed0`) and is scored "
        "again (`python -m fagan evaluate published/laptop/fagan-seed0 --input-size 64`).",
        "## Files of an ablation",
        _files(meanings.ABLATION_FILES),
        "`runs/ARM-seedN/`, one of each a run:",
        _files(meanings.RUN_FILES),
        "`tables/`, of which an ablation has those that its arms give reason for:",
        _files(meanings.TABLE_FILES),
        "## Columns of a run's records",
        *(f"**{name}**\n\n{_files(columns)}" for name, columns in meanings.COLUMNS.items()),
        "The tables' columns are named like these, and `n` counts finished seeds. What `low` and "
        "`high` are the ends of is said at each table above; `min` and `max` are of the seeds.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(runs: Runs) -> tuple[str, ...]:
    name = runs.ablation.removeprefix(f"{PUBLISHED}/")
    bytes_ = sum(path.stat().st_size for path in runs.folder.rglob("*") if path.is_file())
    threads = " or ".join(map(str, sorted(set(runs.runs["threads"]))))
    return (
        f"[{name}]({name}), [report]({name}/report/index.html)",
        f"{runs.title}: {readings.extent(runs)}",
        readings.read_status(runs).claim.replace(" runs are", ""),
        f"{number(_hours(runs), 2)} hours, one run after the other",
        f"commit {_one(runs, 'commit')[:12]}, source {_one(runs, 'source_fingerprint')}",
        f"{_one(runs, 'device_name')}, {_one(runs, 'cores')} cores, threads a run: {threads}; "
        f"Python {_one(runs, 'python')}, {_versions(runs)}",
        f"{bytes_ / 1e6:.0f} MB",
    )


def _one(runs: Runs, column: str) -> str:
    values = runs.runs[column].dropna().unique() if column in runs.runs else []
    return " and ".join(map(str, values)) or "not recorded"


def _versions(runs: Runs) -> str:
    """Of the libraries that compute: those of the first run, publishing asks for one source."""
    first = runs.folder / "runs" / runs.runs["run_id"].iloc[0] / "env.json"
    versions = json.loads(first.read_text(encoding="utf-8"))["versions"]
    return ", ".join(f"{name} {versions.get(name)}" for name in ("torch", "numpy", "pandas"))


def _hours(runs: Runs) -> float:
    return runs.timing.groupby("run_id")["seconds"].max().sum() / HOUR


def _command(runs: Runs) -> str:
    name = runs.ablation.removeprefix(f"{PUBLISHED}/")
    words = ["make", "ablations", f"ABLATION={name}"]
    if set(runs.runs["data"]) == {"folder"}:
        words.append(f"DATA={shlex.quote('path/to/' + str(runs.reference.get('name')))}")
    return " ".join(words)


def _benches(folder: Path) -> str:
    lines = []
    for path in sorted((folder / "bench").glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        machine, made = about["machine"], about["environment"]
        lines.append(
            f"[bench/{path.stem}.csv](bench/{path.stem}.csv) are the timings of README.md: "
            f"{machine['name']}, {count(machine['threads'])} threads, commit {made['commit'][:12]}."
        )
    return "\n".join(lines)


def _projections(folder: Path) -> list[str]:
    """What the tables for a GPU would take, while none was at hand; nothing before a bench."""
    from fagan import bench

    parts = []
    for path in sorted((folder / "bench").glob("*-projection.csv")):
        table = bench.projection_table(pd.read_csv(path))
        on = f"[{path.name}](bench/{path.name})"
        parts.append(
            "`make ablations ABLATION=NAME` on a machine with a GPU runs these. Hours are of "
            f"training steps, one run after the other ({on}); the last column is an assumption "
            "until `make bench PUBLISH=1` has measured such a machine."
        )
        parts.append(markdown(table))
    return ["## Not run here: the tables for a GPU", *parts] if parts else []


def _files(meanings: dict[str, str]) -> str:
    return _table(("name", "what it is"), ((f"`{name}`", text) for name, text in meanings.items()))


def _table(head, rows) -> str:
    return markdown(pd.DataFrame(list(rows), columns=head))
