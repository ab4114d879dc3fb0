"""One run as one executed notebook, in a process of its own."""

import math
import os
import sys
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from fagan import devices, locks
from fagan.config import RunConfig, UserError, unknown
from fagan.environment import ROOT
from fagan.errors import reason
from fagan.records import (
    RESULTS,
    RUNNER_LOCK,
    RunRecord,
    ablation_folder,
    read_metrics,
    refuse_other_config,
    run_folder,
    write_text,
)

TEMPLATE = ROOT / "notebooks" / "train.ipynb"
# what IPython puts into a notebook's namespace by itself
_NOT_PARAMETERS = {"In", "Out", "exit", "quit", "open", "get_ipython"}


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
        try:
            with devices.lease(config.device != "cpu"):
                failure = _papermill(folder, ablation, config, results)
        except (UserError, OSError) as problem:
            _leave(error, reason(problem))
            raise
        if failure:
            print(f"{config.run_id} failed: {failure}", file=sys.stderr)
            _leave(error, failure)
            return 1
        RunRecord(folder).drop_checkpoints()
    return 0


def _leave(error: Path, why: str) -> None:
    with suppress(OSError):  # a full disk has no room for the reason either; the log has it
        write_text(error, why + "\n")


def _papermill(folder: Path, ablation: str, config: RunConfig, results: Path) -> str | None:
    """Execute into the folder; None, or the last line of what went wrong."""
    # jsonschema compiles the grammar of a URI checker that no notebook needs: 0.9 s of every run
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill
    from nbclient.exceptions import DeadKernelError

    from fagan.report import scrub_file

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
        said = (
            error.evalue if error.ename == UserError.__name__ else f"{error.ename}: {error.evalue}"
        )
        return said.strip().splitlines()[0]
    except DeadKernelError:
        return (
            "its kernel was killed, perhaps by the system for want of memory: lower batch_size "
            f"({config.batch_size}), n_fake ({config.n_fake}) or the number of runs at once (CORES)"
        )
    except RuntimeError as error:  # it did not start, or does not answer
        return f"its kernel could not be used: {reason(error)}"
    finally:
        if notebook.exists():
            with suppress(OSError):  # a full disk: the page is made of what is there
                scrub_file(notebook, config.data_path)


def _differences(ablation: str, config: RunConfig, results: Path) -> dict[str, Any]:
    """What the template's parameters cell, which holds the defaults, must be told."""
    defaults = {f.name: f.default for f in fields(RunConfig)}
    changed = {k: v for k, v in asdict(config).items() if v != defaults[k]}
    folder = os.path.abspath(results)
    inside = Path(folder).is_relative_to(ROOT)
    return {
        "ablation": ablation,
        "results": os.path.relpath(folder, ROOT) if inside else folder,
        **changed,
    }


def from_notebook(namespace: dict[str, Any]) -> tuple[RunConfig, str, Path]:
    """(configuration, ablation, results) of a notebook's parameters, given its globals().

    papermill runs on with the defaults where a parameter is misspelt; here it is refused.
    """
    known = {f.name for f in fields(RunConfig)}
    given = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in _NOT_PARAMETERS
        and isinstance(value, str | int | float | bool)
    }
    ablation, results = given.pop("ablation", "notebook"), given.pop("results", str(RESULTS))
    for name in given:
        if name not in known:
            raise unknown("parameter", name, sorted(known))
    if not isinstance(ablation, str) or not isinstance(results, str):
        raise UserError("ablation and results must be texts")
    ablation_folder(ablation, results)  # refuses a name that leads elsewhere
    return RunConfig.from_params(given), ablation, Path(results)
