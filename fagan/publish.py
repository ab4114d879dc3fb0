"""Copy a finished ablation to results/published/, after checks that make it worth citing."""

import shutil
from pathlib import Path

from fagan import locks
from fagan.config import UserError, unknown
from fagan.records import (
    ENDED,
    PUBLISHED,
    RESULTS,
    Runs,
    ablation_folder,
    load_runs,
    makers,
    read_json,
    write_json,
)
from fagan.report import data_paths, machine_paths, write_pages
from fagan.status import progress
from fagan.workflow import is_complete

FILE_LIMIT, TOTAL_LIMIT = 5_000_000, 40_000_000  # bytes
RUN_FILES = (
    "config.json",
    "env.json",
    "metrics.json",
    "history.csv",
    "alpha.csv",
    "spectral.csv",
    "timing.csv",
)
ENDINGS = ("interventions.csv",)  # which a diverged run lacks
FIGURES = {".svg", ".png", ".webp"}
PICTURES, SHEET = {".png", ".webp"}, "samples_"  # the sheets of samples are for the README
TEXT = {".json", ".csv", ".html", ".ipynb", ".svg", ".css", ".md", ".txt"}


def publish(
    ablation: str,
    results: Path = RESULTS,
    weights: tuple[str, ...] = (),
    notebooks: bool | None = None,
) -> Path:
    """Copy records, tables and figures and write the pages; the folder.

    weights: the runs whose networks go along. notebooks: whether the pages of the runs show the
    notebooks that made them; by default where the images are procedural, since a run's notebook
    shows some of its training images, and photographs are somebody else's. Without, sample grids
    and the pictures that a page carries already stay behind too: what is left of an ablation of
    many runs is small.

    Raises UserError, with what was published before in its place, where a run has not ended, the
    runs were made by different code or from an uncommitted tree, photographs would go along, a file
    is larger than 5 MB, all of them than 40 MB, or one holds a path of this machine.
    """
    source = ablation_folder(ablation, results)
    target = ablation_folder(f"{PUBLISHED}/{ablation}", results)
    runs = _checked_runs(ablation, results)
    drawn = set(runs.runs["data"]) == {"faces"}
    notebooks = drawn if notebooks is None else notebooks
    if notebooks and not drawn:
        raise UserError(
            f"the notebooks of {ablation} show photographs of its data set, which are not ours to "
            "publish; leave --notebooks away"
        )
    if target.is_symlink():
        raise UserError(f"{target} is a link; publishing replaces a folder: remove the link")
    ids = list(runs.runs["run_id"])
    for run_id in weights:
        if run_id not in ids:
            raise unknown("run", run_id, ids)
    try:
        with locks.lock(target.with_name(f".{ablation}.lock")):
            _publish(runs, source, target, results, weights, notebooks)
    except locks.Held as error:
        raise UserError(f"{ablation} is being published already ({error}); wait") from error
    return target


def _publish(runs: Runs, source: Path, target: Path, results, weights, notebooks: bool) -> None:
    """Build the folder beside the old one, check it, and put it in its place."""
    partial, old = (target.with_name(f".{target.name}.{end}") for end in ("part", "old"))
    if old.exists() and not target.exists():  # killed between the two steps below
        old.rename(target)
    for rest in (partial, old):
        if rest.exists():
            shutil.rmtree(rest)
    try:
        for path in _chosen(source, runs, weights, notebooks):
            copy = partial / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        plan = read_json(source / "plan.json")
        for run in plan["runs"]:
            run["config"].pop("data_path", None)
        write_json(partial / "plan.json", plan)
        write_pages(runs, partial / "report", results, None, notebooks)
        _check_files(partial, source)
        if target.exists():
            target.rename(old)
        partial.rename(target)
    finally:
        if not target.exists() and old.exists():
            old.rename(target)
        for rest in (partial, old):
            shutil.rmtree(rest, ignore_errors=True)


def _checked_runs(ablation: str, results: Path) -> Runs:
    again = f"finish them: make ablations ABLATION={ablation}"
    unfinished = [r.run_id for r in progress(ablation, results) if r.state not in ENDED]
    if unfinished:
        raise UserError(
            f"{len(unfinished)} runs of {ablation} have not ended ({', '.join(unfinished[:3])}); "
            f"{again}"
        )
    if not is_complete(ablation, results):
        raise UserError(f"pages of {ablation} are missing or older than its records; {again}")
    made = makers(ablation, results)
    made_by = sorted(map(str, set(made["source_fingerprint"])))
    if len(made_by) > 1:
        raise UserError(
            f"the runs of {ablation} were made by different code ({', '.join(made_by)}); "
            f"`python -m fagan stale {ablation}` lists those to run anew"
        )
    if not (made["dirty"] == False).all():  # noqa: E712  (None means: no git, and is refused too)
        raise UserError(
            f"runs of {ablation} were made from a tree with uncommitted changes or outside git; "
            "commit, delete their folders and run them anew"
        )
    return load_runs(ablation, results)


def _chosen(source: Path, runs: Runs, weights: tuple[str, ...], pictures: bool) -> list[Path]:
    files = [source / "reference.json"]
    files += (path for path in sorted((source / "tables").glob("[!.]*.csv")))
    found = (path for path in sorted((source / "figures").glob("[!.]*")) if path.suffix in FIGURES)
    files += (path for path in found if pictures or not _on_a_page(path))
    for run_id in runs.runs["run_id"]:
        run = source / "runs" / run_id
        files += (run / name for name in RUN_FILES)
        files += (run / name for name in ENDINGS if (run / name).exists())
        if pictures:
            files += sorted((run / "samples").glob("step_*.png"))[-1:]
        if run_id in weights:
            files += (run / f"{name}.safetensors" for name in ("generator", "discriminator"))
    for path in files:
        if not path.exists():
            raise UserError(f"{path} is missing; finish the ablation before publishing it")
        # the ablation may lie behind a link; inside it, one could carry any file of this machine
        name = path.relative_to(source)
        if any(part.is_symlink() for part in (path, *path.parents[: len(name.parts) - 1])):
            raise UserError(f"{name} is a link; only files of the ablation itself are published")
    return files


def _on_a_page(path: Path) -> bool:
    return path.suffix in PICTURES and not path.name.startswith(SHEET)


def _check_files(folder: Path, source: Path) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    private = [path for path in machine_paths(data_paths(source)) if len(path) > 3]
    for path in files:
        name = path.relative_to(folder)
        if path.stat().st_size > FILE_LIMIT:
            raise UserError(f"{name} is over {FILE_LIMIT / 1e6:.0f} MB; it cannot be published")
        if path.suffix in TEXT:
            text = path.read_text(encoding="utf-8")
            found = next((p for p in private if p in text), None)
            if found:
                raise UserError(f"{name} holds this machine's path {found}; it cannot be published")
    total = sum(path.stat().st_size for path in files)
    if total > TOTAL_LIMIT:
        raise UserError(f"{total / 1e6:.0f} MB to publish, the limit is {TOTAL_LIMIT / 1e6:.0f} MB")
