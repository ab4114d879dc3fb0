"""An analysis template executed on an ablation's records."""

from pathlib import Path

from fagan.environment import ROOT
from fagan.errors import UserError, unknown
from fagan.records import RESULTS, ablation_folder, load_runs, write_text
from fagan.report.pages import links, page_name, render
from fagan.report.scrub import (
    compiled,
    data_paths,
    from_root,
    machine_paths,
    results_folder,
    scrub,
    scrubbed,
)

ANALYSIS = ROOT / "notebooks" / "analysis"
# the order in which they are read; another notebook in the folder comes after them
FIRST = ("blog", "comparison", "alpha", "attention", "receptive_field", "samples", "metrics")
# notebooks beside the templates' folder: they read no records, and are executed where asked for
GUIDES = ("use_the_layers",)


class RunError(UserError):
    """A notebook stopped in a cell."""


def analyses() -> list[str]:
    """Names of the analysis templates, in reading order."""
    found = sorted(path.stem for path in ANALYSIS.glob("*.ipynb"))
    return [name for name in FIRST if name in found] + [n for n in found if n not in FIRST]


def analyse(ablation: str, notebook: str, results: Path = RESULTS) -> Path:
    """Execute a template on an ablation's records, or a guide, and render it; the page's path.

    Writes analysis/<notebook>.ipynb and .html; the notebook writes its tables/ and figures/.
    Raises UserError for an unknown template, RunError where a cell fails (the .ipynb shows it).
    """
    import nbformat
    import papermill

    known = (*analyses(), *GUIDES)
    if notebook not in known:
        raise unknown("notebook", notebook, known)
    results = Path(results)
    parameters, home = {"ablation": ablation, "results": from_root(results)}, ANALYSIS
    if notebook in GUIDES:
        load_runs(ablation, results)  # refuses an ablation that is not there
        parameters, home = {}, ANALYSIS.parent
    folder = ablation_folder(ablation, results)
    done = folder / "analysis" / f"{notebook}.ipynb"
    done.parent.mkdir(parents=True, exist_ok=True)
    running = done.with_name(f".{notebook}.running.ipynb").resolve()
    failure = None
    try:
        papermill.execute_notebook(
            home / f"{notebook}.ipynb",
            running,
            parameters=parameters,
            kernel_name="python3",
            language="python",
            cwd=ROOT,
            progress_bar=False,
            # else a kernel warns on stderr that it listens on TCP, and of its own shutdown
            extra_arguments=["--IPKernelApp.log_level=50"],
        )
    except papermill.PapermillExecutionError as error:
        last = str(error.evalue).strip().splitlines() or [""]
        failure = f"{error.ename}: {last[-1]}"
    except RuntimeError as error:  # the kernel died
        failure = str(error).strip().splitlines()[0]
    try:
        book = nbformat.read(running, as_version=4)
    finally:
        running.unlink(missing_ok=True)
    book.metadata["papermill"] |= {
        "input_path": f"notebooks/{'' if notebook in GUIDES else 'analysis/'}{notebook}.ipynb",
        "output_path": f"results/{ablation}/analysis/{notebook}.ipynb",
    }
    paths = machine_paths(data_paths(folder)) | results_folder(book)
    write_text(done, nbformat.writes(scrub(book, paths)) + "\n")
    if failure:
        raise RunError(f"{notebook} failed: {scrubbed(failure, compiled(paths))}; see {done}")
    pages = [("Report", "../report/index.html"), *((page_name(n), f"{n}.html") for n in analyses())]
    return render(
        done, done.with_suffix(".html"), site=ablation, links=links(pages, f"{notebook}.html")
    )
