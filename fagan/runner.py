"""Notebooks executed: a run in a process of its own, an analysis on warm kernels; and as pages.

A page opens from disk and loads nothing: nbconvert with our own template builds it from installed
packages alone, where MyST and Jupyter Book fetch their theme or spread a page over files.
"""

import asyncio
import math
import os
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import cache
from hashlib import sha256
from pathlib import Path
from traceback import format_exc
from typing import Any

from fagan import devices, locks
from fagan.config import RunConfig, refuse_other_config
from fagan.environment import ROOT
from fagan.errors import UserError, reason, unknown
from fagan.files import RESULTS, ablation_folder, run_folder, write_text
from fagan.records import RUNNER_LOCK, RunRecord, read_metrics

TEMPLATE = ROOT / "notebooks" / "train.ipynb"
_NOT_PARAMETERS = {"In", "Out", "exit", "quit", "open", "get_ipython"}  # IPython's own names
# gives a warm kernel to the next notebook as if it were new, but for what is imported
RESET = (
    "import sys; 'matplotlib.pyplot' in sys.modules and sys.modules['matplotlib.pyplot']"
    ".close('all'); get_ipython().reset(new_session=True)"
)
PICTURES = ("image/png", "image/jpeg")
_CELL = re.compile(r"(?:/[\w.-]+)+/ipykernel_\d+/\d+\.py")  # a cell's file in a traceback


def execute(ablation: str, config: RunConfig, results: Path = RESULTS) -> int:
    """Execute notebooks/train.ipynb with a configuration through papermill.

    The executed notebook, errors included, is runs/<run_id>/train.ipynb. Returns 0, or 1 where the
    notebook failed: then its last line is in runs/<run_id>/error.txt too. A finished run is left
    as it is. Raises UserError where the folder holds another configuration or no device can be
    had, OSError where a file cannot be written; error.txt says so too.
    """
    folder = run_folder(ablation, config.run_id, results)
    refuse_other_config(folder, config)

    def waiting(holder: locks.Holder | None) -> None:
        print(f"{config.run_id} is being run by {holder}: waiting for it", flush=True)

    with locks.lock(folder / RUNNER_LOCK, math.inf, waiting):
        RunRecord(folder).reopen()
        done = read_metrics(folder)
        if done is not None:
            print(f"{config.run_id} is {done['status']} already")
            return 0
        error = folder / "error.txt"
        error.unlink(missing_ok=True)
        # numpy's and SciPy's pools are sized when they load, torch's by the run itself
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(config.threads)
        failed = None
        try:
            with devices.lease(config.device != "cpu"):
                failed = _papermill(folder, ablation, config, results)
        except (UserError, OSError) as problem:
            failed = reason(problem)
            raise
        finally:
            if failed:
                with suppress(OSError):  # a full disk has no room for it either; the log has it
                    write_text(error, failed + "\n")
        if failed:
            print(f"{config.run_id} failed: {failed}", file=sys.stderr)
            return 1
        RunRecord(folder).drop_checkpoints()
    return 0


def _papermill(folder: Path, ablation: str, config: RunConfig, results: Path) -> str | None:
    """Execute into the folder; None, or the last line of what went wrong."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    notebook = folder / "train.ipynb"
    try:
        papermill.execute_notebook(
            TEMPLATE,
            notebook,
            parameters=_differences(ablation, config, results),
            kernel_name="python3",
            cwd=ROOT,
            progress_bar=False,
            log_output=True,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
        )
        return None
    except papermill.PapermillExecutionError as error:
        return failure(error.ename, error.evalue)
    except DeadKernelError:
        return (
            "its kernel was killed, perhaps by the system for want of memory: lower batch_size "
            f"({config.batch_size}), n_fake ({config.n_fake}) or the number of runs at once (CORES)"
        )
    except RuntimeError as error:  # it did not start, or does not answer
        return f"its kernel could not be used: {reason(error)}"
    finally:
        with suppress(OSError):  # none is there, or a full disk: the page is made of what is there
            book = scrub(nbformat.read(notebook, 4), private(results, [config.data_path]))
            write_text(notebook, nbformat.writes(book) + "\n")


def failure(ename: str, evalue: str) -> str:
    """The first line of an exception of a cell; a UserError speaks for itself."""
    said = evalue.strip().partition("\n")[0]
    return said if ename == UserError.__name__ else f"{ename}: {said}"


def _differences(ablation: str, config: RunConfig, results: Path) -> dict[str, Any]:
    """What the template's parameters cell, which holds the defaults, must be told."""
    changed = {k: v for k, v in vars(config).items() if v != getattr(RunConfig, k)}
    return {"ablation": ablation, "results": from_root(results), **changed}


def from_root(results: Path) -> str:
    """The folder as a notebook sees it, whose working directory is the repository's root."""
    whole = Path(os.path.abspath(results))
    return whole.relative_to(ROOT).as_posix() if whole.is_relative_to(ROOT) else str(whole)


def from_notebook(namespace: dict[str, Any]) -> tuple[RunConfig, str, Path]:
    """(configuration, ablation, results) of a notebook's parameters, given its globals().

    papermill runs on with the defaults where a parameter is misspelt; here it is refused.
    """
    known, plain = {f.name for f in fields(RunConfig)}, str | int | float | bool
    given = {name: value for name, value in namespace.items() if isinstance(value, plain)}
    given = {k: v for k, v in given.items() if k[0] != "_" and k not in _NOT_PARAMETERS}
    ablation, results = given.pop("ablation", "notebook"), given.pop("results", str(RESULTS))
    for name in given:
        if name not in known:
            raise unknown("parameter", name, sorted(known))
    if not isinstance(ablation, str) or not isinstance(results, str):
        raise UserError("ablation and results must be texts")
    ablation_folder(ablation, results)  # refuses a name that leads elsewhere
    return RunConfig.from_params(given), ablation, Path(results)


def private(results: Path, data: list[str]) -> dict[str, str]:
    """This machine's folders, the longest first, and what stands for each in a notebook."""
    found = {str(ROOT): ".", sys.prefix: ".venv", str(Path.home()): "~"}
    if not Path(from_root(results)).is_relative_to("results"):
        found[os.path.abspath(results)] = "results"
    found |= {path: os.path.basename(path.rstrip("/\\")) for path in data if path}
    found |= {os.path.realpath(path): short for path, short in found.items()}
    for public in ("/", "/usr", "/usr/local"):  # a system's own interpreter, a home at the root
        found.pop(public, None)
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def scrub(value: Any, paths: dict[str, str]) -> Any:
    """A notebook, or a part of it, with `private` paths replaced in its texts; pictures stay."""
    if isinstance(value, list):
        return [scrub(inner, paths) for inner in value]
    if isinstance(value, dict):
        return type(value)({k: v if k in PICTURES else scrub(v, paths) for k, v in value.items()})
    if not isinstance(value, str):
        return value
    for path, short in paths.items():  # whole paths only
        value = re.sub(rf"(?<![\w.~-]){re.escape(path)}(?![\w-])", lambda _, s=short: s, value)
    return _CELL.sub("<cell>", value)


def execute_all(
    books: Mapping[str, Callable[[], Any]], cores: int
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Execute notebooks on a few warm kernels, since to import torch and pandas takes longer.

    books: {name: what makes the notebook}. cores: shared out among the kernels, of which there are
    at most so many: two that both ran a thread on every core would wait for each other. Returns
    ({name: executed notebook}, {name: [why in a line, the whole of it]} of those that failed). None
    costs another.
    """
    # the pages that ask networks come last in reading order, and take longest: they begin
    queue, done, faults = list(books)[::-1], {}, {}

    async def work() -> None:
        kernels = min(cores, len(books))
        threads = str(cores // max(1, kernels))
        env = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        await asyncio.gather(*(_worker(queue, books, done, faults, env) for _ in range(kernels)))

    asyncio.run(work())
    return done, faults


async def _worker(queue: list[str], books: Mapping, done: dict, faults: dict, env: dict) -> None:
    """Take notebooks from the queue until it is empty, on one kernel while that lives."""
    from jupyter_client.manager import start_new_async_kernel
    from nbclient.exceptions import CellExecutionError

    kernel = None
    try:
        while queue:
            name = queue.pop(0)
            try:
                done[name] = books[name]()
                if kernel is None:
                    # else a kernel warns on stderr that it listens on TCP, and of its own shutdown
                    options = {"cwd": str(ROOT), "env": env, "extra_arguments": ["--log-level=50"]}
                    kernel = await start_new_async_kernel(300, "python3", **options)
                await _cells(done[name], *kernel)
            except CellExecutionError as error:
                faults[name] = [failure(error.ename, error.evalue), error.traceback]
            except Exception as error:  # whatever it is, the other notebooks can be executed
                faults[name] = [f"{type(error).__name__}: {reason(error)}", format_exc()]
                await _ended(kernel)
                kernel = None
    finally:
        await _ended(kernel)


async def _cells(book: Any, manager: Any, client: Any) -> None:
    from nbclient import NotebookClient

    await client.execute_interactive(RESET, silent=True, timeout=300)
    run = NotebookClient(book, km=manager, timeout=None)
    run.kc = client
    for i, cell in enumerate(book.cells):
        await run.async_execute_cell(cell, i)


async def _ended(kernel: tuple[Any, Any] | None) -> None:
    if kernel is not None:
        kernel[1].stop_channels()
        await kernel[0].shutdown_kernel(now=True)


def render(
    book: Any, site: str, links: Iterable[dict[str, Any]] = (), missing: Iterable[dict] = ()
) -> str:
    """An executed notebook as a page; `site` names it, beside `links` {text, href, current}.

    missing: the pages that could not be made, {text, reason, log}.
    """
    heads = (re.match("# +(.+)", cell.source) for cell in book.cells)
    title = next((head[1].strip() for head in heads if head), site)
    page = {"title": f"{title} – {site}", "site": site, "links": links, "missing": missing}
    page["scripts"] = [b64encode(sha256(s.encode()).digest()).decode() for s in _scripts(book)]
    text, _ = _exporter().from_notebook_node(book, resources={"page": page})
    return text.strip() + "\n"


def _scripts(book: Any) -> Iterator[str]:
    """The scripts that itables put into a notebook: no others may run."""
    for cell in book.cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/html", "")
            if "itables" in text:
                yield from re.findall(r"<script[^>]*>(.*?)</script>", text, re.S)


@cache
def _exporter() -> Any:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="template", extra_template_basedirs=[f"{ROOT}/notebooks"])
    exporter.register_filter("scoped", scoped)
    return exporter


def scoped(text: str) -> str:
    """The tables of an output with scopes: heads name columns, a row's first cell names the row."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(text, "html.parser")
    for head in soup.select("thead th"):
        if head.get_text(strip=True):
            head["scope"] = "col"
        else:
            head.name = "td"  # pandas heads the index with nothing
    for row in soup.select("tbody tr"):
        for cell in (*row.find_all("td", limit=1), *row.find_all("th")):
            if cell.name == "th" or not row.find("th"):
                cell.name = "th"
                cell["scope"] = "row"
    return str(soup)
