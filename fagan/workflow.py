"""Runs the graph of an ablation (workflow/Snakefile) and shows what it is doing.

Snakemake decides what is left to do, by files; this module starts it, draws one line per active run
from the records, and says at the end what became of each run and where to look.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fagan import devices, locks, outcome, supervision
from fagan.ablations import planned
from fagan.clusters import Profile, load_profile
from fagan.config import UserError
from fagan.environment import ROOT
from fagan.records import (
    CHECKPOINTS,
    ENDED,
    RESULTS,
    RUNNER_LOCK,
    TRAIN_LOCK,
    WORKFLOW_LOCK,
    RunRecord,
    ablation_folder,
    read_json,
    run_folder,
    write_json,
)
from fagan.status import Progress, Watcher, duration, summary

SNAKEFILE = ROOT / "workflow" / "Snakefile"
REFRESH = 2.0  # seconds between looks at the records on a terminal
REPORT_EVERY = 30.0  # seconds between lines where the output is no terminal


def prepare(
    ablation: str, results: Path = RESULTS, download: bool = False, cores: int | None = None
) -> dict:
    """Decode the data once, score real images against real ones, write reference.json.

    Raises UserError for data that is missing, empty or broken, before any run has begun.
    """
    from fagan import data, evaluate
    from fagan.train import EVALUATION_SEED, threads

    config = next(iter(planned(ablation, results).values()))
    with threads(cores or available_cores()):
        train = data.load(config, "train", download=download)
        real = data.load(config, "reference", download=download)
        for part in train, real:
            if part.broken:
                print(f"{part.name}: {len(part.broken)} broken images left out", file=sys.stderr)
        evaluate.enough_images(config, len(train), len(real))
        extractor = evaluate.lite0()
        reference = evaluate.reference(real, config.n_real, extractor)
        floors = {
            name: evaluate.floor(train, reference, n, extractor, EVALUATION_SEED)
            for name, n in (("track", config.n_track), ("final", config.n_fake))
        }
    content = {
        "name": real.name,
        "split": real.split,
        "checksum": real.checksum,
        "n_train": len(train.images),
        "train_checksum": train.checksum,
        "resolution": config.resolution,
        "extractor": extractor.name,
        "input_size": extractor.input_size,
        **floors,
    }
    path = ablation_folder(ablation, results) / "reference.json"
    if read_json(path) != content:
        write_json(path, content)
    return content


@contextmanager
def alone(ablation: str, results: Path = RESULTS) -> Iterator[locks.Holder]:
    """One command at a time plans and runs an ablation; UserError while another one is at it.

    `kill` and a closed terminal end the block as Ctrl-C does.
    """
    try:
        with locks.lock(_lock(ablation, results)) as me, supervision.ends_by_signal():
            yield me
    except locks.Held as error:
        raise UserError(
            f"{ablation} is being run already ({error}); `python -m fagan status {ablation}` shows "
            "it; wait, or end that one"
        ) from error


def _lock(ablation: str, results: Path) -> Path:
    return ablation_folder(ablation, results) / WORKFLOW_LOCK


def run_graph(
    me: locks.Holder,
    ablation: str,
    results: Path = RESULTS,
    cores: int | None = None,
    target: str = "all",
    profile: Profile | None = None,
) -> int:
    """Do what is left of an ablation; returns `outcome.conclude`'s exit code, or 130 of Ctrl-C.

    me: what `alone` gave. profile: where its jobs run; this machine if None.
    """
    profile = profile or load_profile()
    # on a cluster the jobs are the scheduler's, and outlive the command that submitted them
    following = supervision.follower(_lock(ablation, results), me) if profile.is_local else {}
    environment = profile.environment | following
    folder = ablation_folder(ablation, results)
    log = folder / "workflow.log"
    prepare_records(ablation, results)
    with log.open("w", encoding="utf-8") as output:
        with supervision.can_be_interrupted():
            process = subprocess.Popen(
                _command(ablation, results, cores, target, profile),
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                # runs take the threads of their configuration; everything else shares the cores
                env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"} | environment,
                start_new_session=True,  # so that one signal reaches every job
                preexec_fn=None if following else supervision.ends_with_its_parent,
            )
        try:
            _watch(process, ablation, results)
        except KeyboardInterrupt:
            print("\nstopping: the runs keep their last checkpoint", file=sys.stderr)
            supervision.stop(process.pid)
            process.wait()
            outcome.conclude(1, ablation, results, log)
            return 130
        finally:  # where Snakemake was killed, its jobs are not
            supervision.stop(process.pid)
    return outcome.conclude(process.returncode, ablation, results, log)


def prepare_records(ablation: str, results: Path = RESULTS) -> None:
    """Make what earlier tries left fit for the graph, which decides by files and their times.

    An error of an earlier try says nothing about this one. Metrics beside a checkpoint belong to a
    run that was killed while its notebook drew its figures: it goes on from the last step. A time
    in the future, of a clock that was set back, would have pages made again and again.
    """
    folder = ablation_folder(ablation, results)
    for run_id in planned(ablation, results):
        run = run_folder(ablation, run_id, results)
        if run.exists():
            with suppress(locks.Held):
                _tidy(run)
    for name in ("tables", "figures", "analysis", "report"):
        _drop_parts(folder / name)
    now = time.time()
    for path in (
        folder / "plan.json",
        folder / "reference.json",
        *folder.glob("runs/*/metrics.json"),
        *folder.glob("analysis/*.html"),
        *folder.glob("report/index.html"),
    ):
        if path.exists() and path.stat().st_mtime > now:
            os.utime(path, (now, now))


def _tidy(run: Path) -> None:
    """Remove what killed processes left in a run's folder; raises Held if one is at it."""
    # to take a lock removes its file in the end, that of a dead holder too
    with locks.lock(run / RUNNER_LOCK), locks.lock(run / TRAIN_LOCK):
        (run / "error.txt").unlink(missing_ok=True)
        RunRecord(run).reopen()
        _drop_parts(run)


def _drop_parts(folder: Path) -> None:
    """Remove what killed writers left of files that never became whole."""
    for part in folder.rglob(".*.tmp"):
        part.unlink(missing_ok=True)


def available_cores() -> int:
    """The cores that this process may use; macOS does not tell, so all of them there."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _command(
    ablation: str, results: Path, cores: int | None, target: str, profile: Profile
) -> list[str]:
    gpus, limits = profile.gpus, []
    if profile.is_local:  # a cluster counts its own cores and devices
        cores = cores or available_cores()
        places = len(devices.slots())
        gpus, limits = min(1, places), [f"gpu={places}"] if places else []
    return [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(SNAKEFILE),
        "--workflow-profile",
        str(profile.folder),
        *profile.options,
        "--directory",
        str(ROOT),
        *(["--cores", str(cores)] if cores else []),
        *(["--resources", *limits] if limits else []),
        "--config",
        f"ablation={ablation}",
        f"results={os.path.abspath(results)}",
        f"gpus={gpus}",
        "--",
        target,
    ]


def _watch(process: subprocess.Popen, ablation: str, results: Path) -> None:
    from rich.console import Console
    from rich.live import Live

    from fagan import dashboard

    console, watcher = Console(highlight=False), Watcher(ablation, results)
    began = time.monotonic()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while process.poll() is None:
                runs = watcher.look()
                note = f"  {duration(time.monotonic() - began)}{_after_the_runs(runs)}"
                room = dashboard.room_of(console)
                shown = dashboard.view(ablation, runs, console.width, room, note)
                live.update(shown, refresh=True)
                time.sleep(REFRESH)
        return
    said = 0.0
    while process.poll() is None:
        time.sleep(0.5)
        if time.monotonic() - said >= REPORT_EVERY:
            said = time.monotonic()
            print("\n".join(_lines(watcher.look(), began)), flush=True)


def _after_the_runs(runs: list[Progress]) -> str:
    ended = all(run.state in ENDED for run in runs)
    return "  rendering the analysis" if ended else ""


def _lines(runs: list[Progress], began: float) -> list[str]:
    active = [f"  {run.line()}" for run in runs if run.state == "running"]
    if not active and _after_the_runs(runs):
        active = [_after_the_runs(runs)]
    return [f"{duration(time.monotonic() - began)}  {summary(runs)}", *active]


def is_complete(ablation: str, results: Path = RESULTS) -> bool:
    """Whether nothing is left: all runs have ended, all pages are newer than they and the plan."""
    folder = ablation_folder(ablation, results)
    report = folder / "report" / "index.html"
    if not report.exists():
        return False
    runs = [run_folder(ablation, run_id, results) for run_id in planned(ablation, results)]
    if any((run / name).exists() for run in runs for name in CHECKPOINTS):
        return False
    try:
        ends = [run / "metrics.json" for run in runs]
        newest = max(path.stat().st_mtime for path in (folder / "plan.json", *ends))
    except FileNotFoundError:
        return False
    notebooks = (ROOT / "notebooks" / "analysis").glob("*.ipynb")
    pages = [*(folder / "analysis" / f"{path.stem}.html" for path in notebooks), report]
    return all(page.exists() and page.stat().st_mtime >= newest for page in pages)


def find_celeba() -> Path | None:
    """The root under which torchvision finds CelebA: $FAGAN_DATA or ./data."""
    for root in (os.environ.get("FAGAN_DATA"), "data"):
        if root and (Path(root) / "celeba" / "img_align_celeba").is_dir():
            return Path(root)
    return None


def choose_ablation(data_path: str | None) -> tuple[str, str]:
    """(table, why) for `make ablations` without ABLATION."""
    import torch

    if not torch.cuda.is_available():
        return "laptop", "no CUDA device: the laptop ablation (ABLATION=... chooses another)"
    if data_path or find_celeba():
        return "celeba64", "CUDA and CelebA are here: the blog's own ablation"
    return "faces64", (
        "CUDA is here, CelebA is not: procedural faces at 64 pixels (for CelebA put "
        "img_align_celeba and its lists under data/celeba, or name a folder of it: DATA=...)"
    )
