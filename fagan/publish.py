"""Copy a finished ablation to results/published/, after checks that make it worth citing."""

import shutil
from pathlib import Path

from fagan.config import UserError
from fagan.records import (
    PUBLISHED,
    RESULTS,
    Runs,
    ablation_folder,
    load_runs,
    read_json,
    write_json,
)
from fagan.report import machine_paths, write_pages
from fagan.status import progress

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
FOLDERS = ("figures", "tables")  # the pages are written anew
PICTURES, SHEET = {".png", ".webp"}, "samples_"  # the sheets of samples are for the README
ENDED = ("done", "diverged")
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
    if notebooks and not drawn:
        raise UserError(
            f"the notebooks of {ablation} show photographs of its data set, which are not ours to "
            "publish; leave --notebooks away"
        )
    notebooks = drawn if notebooks is None else notebooks
    if target.is_symlink():
        raise UserError(f"{target} is a link; publishing replaces a folder: remove the link")
    partial = target.with_name(f".{ablation}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for path in _chosen(source, weights, notebooks):
            copy = partial / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        plan = read_json(source / "plan.json")
        for run in plan["runs"]:
            run["config"].pop("data_path", None)
        write_json(partial / "plan.json", plan)
        write_pages(runs, partial / "report", results, None, notebooks)
        _check_files(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _checked_runs(ablation: str, results: Path) -> Runs:
    unfinished = [r.run_id for r in progress(ablation, results) if r.state not in ENDED]
    if unfinished:
        raise UserError(
            f"{len(unfinished)} runs of {ablation} have not ended ({', '.join(unfinished[:3])}); "
            f"finish them: make ablations ABLATION={ablation}"
        )
    runs = load_runs(ablation, results)
    made_by = sorted(set(runs.runs["source_fingerprint"]))
    if len(made_by) > 1:
        raise UserError(
            f"the runs of {ablation} were made by different code ({', '.join(made_by)}); "
            f"`python -m fagan stale {ablation}` lists those to run anew"
        )
    if not (runs.runs["dirty"] == False).all():  # noqa: E712  (None means: no git, and is refused too)
        raise UserError(
            f"runs of {ablation} were made from a tree with uncommitted changes or outside git; "
            "commit, delete their folders and run them anew"
        )
    return runs


def _chosen(source: Path, weights: tuple[str, ...], pictures: bool) -> list[Path]:
    files = [source / "reference.json"]
    for folder in FOLDERS:
        found = (path for path in sorted((source / folder).rglob("*")) if path.is_file())
        files += (path for path in found if pictures or not _on_a_page(path))
    for run in sorted((source / "runs").iterdir()):
        files += (run / name for name in RUN_FILES)
        files += (run / name for name in ENDINGS if (run / name).exists())
        if pictures:
            files += sorted((run / "samples").glob("step_*.png"))[-1:]
        if run.name in weights:
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


def _check_files(folder: Path) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    private = [path for path in machine_paths() if len(path) > 3]
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
