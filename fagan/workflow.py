"""Starts the graph of an ablation (workflow/Snakefile), and ends it with all its processes.

Snakemake decides by files what is left to do. It runs in a session of its own, so that one signal
reaches every job, and holds the reading end of a pipe from the command that started it: however
that command ends, Snakemake sees the pipe close and ends too. What it started ends with it: jobs
are in its process group, kernels watch their parent. On a cluster the jobs are the scheduler's;
Snakemake, interrupted, cancels them.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fagan import devices, locks, pages
from fagan.ablations import planned
from fagan.environment import ROOT, available_cores
from fagan.errors import UserError, reason, unknown
from fagan.files import RESULTS, ablation_folder, read_json, run_folder, write_json
from fagan.records import CHECKPOINTS, RUNNER_LOCK, TRAIN_LOCK, WORKFLOW_LOCK, RunRecord

PROFILES = ROOT / "workflow" / "profiles"
LOG = "workflow.log"
PATIENCE = 15.0  # seconds that an interrupted Snakemake may take to end
INTERRUPTED = 130  # exit code of a command that Ctrl-C or a signal ended


@dataclass(frozen=True)
class Profile:
    """A Snakemake profile: where the jobs run."""

    folder: Path = PROFILES / "default"
    is_local: bool = True  # no `executor`, so on this machine
    gpus: int = 0  # that a run on a cluster is given, unless its device is the CPU


HERE = Profile()


def load_profile(name: str) -> Profile:
    """A profile of workflow/profiles by its name, or a user's by the path of its folder.

    Raises UserError where there is none, or where it is no mapping.
    """
    import yaml

    known = sorted(path.parent.name for path in PROFILES.glob("*/config.yaml"))
    folder = (PROFILES / name if name in known else Path(name).expanduser()).resolve()
    try:
        content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) or {}
        gpus = int((content.get("config") or {}).get("gpus", 0))
    except FileNotFoundError:
        if "/" not in name:
            raise unknown("profile", name, known) from None
        raise UserError(f"PROFILE={name}: there is no {folder / 'config.yaml'}") from None
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'config.yaml'} is no profile: {reason(error)}") from error
    return Profile(folder, content.get("executor", "local") == "local", gpus)


def prepare(
    ablation: str, results: Path = RESULTS, download: bool = False, cores: int | None = None
) -> None:
    """Decode the data once, score real images against real ones, write reference.json.

    Raises UserError for data that is missing, empty or broken, before any run has begun.
    """
    from fagan import data, evaluate
    from fagan.train import EVALUATION_SEED, threads

    config = next(iter(planned(ablation, results).values()))
    with threads(cores or available_cores()):
        train = data.load(config, "train", download=download)
        real = data.load(config, "reference", download=download)
        for part in (train, real):
            if part.broken:
                print(f"{part.name}: {len(part.broken)} broken images left out", file=sys.stderr)
        evaluate.enough_images(train, real)
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


@contextmanager
def alone(ablation: str, results: Path = RESULTS) -> Iterator[None]:
    """One command at a time runs an ablation (else UserError); `kill` ends it as Ctrl-C does."""
    try:
        with locks.lock(ablation_folder(ablation, results) / WORKFLOW_LOCK), _signals():
            yield
    except locks.Held as error:
        raise UserError(
            f"{ablation} is being run already ({error}); `python -m fagan status {ablation}` shows "
            "it; wait, or end that one"
        ) from error


def run_graph(
    ablation: str,
    results: Path = RESULTS,
    cores: int | None = None,
    target: str = "all",
    profile: Profile = HERE,
    watch: Callable[[subprocess.Popen], Any] = subprocess.Popen.wait,
) -> int:
    """Do what is left of an ablation; Snakemake's exit code, or INTERRUPTED.

    `watch` is called while it runs, and returns when it has ended. What it says is in
    results/<ablation>/workflow.log.
    """
    tidy(ablation, results)
    # without a user's own profile and the like; runs take the threads of their configuration
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SNAKEMAKE_")}
    environment |= {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with (ablation_folder(ablation, results) / LOG).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            _command(ablation, results, cores, target, profile),
            cwd=ROOT,
            stdin=subprocess.PIPE,  # closed when this process ends: see `follow`
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            watch(process)
            return process.wait()
        except KeyboardInterrupt:
            print("\nstopping: the runs keep their last checkpoint", file=sys.stderr)
            return INTERRUPTED
        finally:
            _stop(process)


def follow(is_local: bool) -> None:
    """In Snakemake's process: end, and on this machine the jobs too, when the command has ended."""
    # which the `&` of a shell has ignored, and what it starts would ignore too
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait() -> None:
        while os.read(0, 1):  # nothing is ever written
            pass
        if is_local:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGINT)  # which has it cancel a cluster's jobs

    threading.Thread(target=wait, name="follow", daemon=True).start()


@contextmanager
def _signals() -> Iterator[None]:
    """`kill` and a closed terminal as Ctrl-C, but for what is ignored, as by `nohup`."""
    kinds = [signal.SIGTERM, signal.SIGHUP]
    kinds = [kind for kind in kinds if signal.getsignal(kind) != signal.SIG_IGN]
    before = {kind: signal.signal(kind, signal.default_int_handler) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _stop(process: subprocess.Popen) -> None:
    """End Snakemake's process group by SIGINT, then by SIGKILL; a second Ctrl-C insists."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(PATIENCE)
    with suppress(ProcessLookupError, PermissionError):  # the jobs of one that was killed
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _command(
    ablation: str, results: Path, cores: int | None, target: str, profile: Profile
) -> list[str]:
    gpus, limits = profile.gpus, []
    if profile.is_local:  # a cluster counts its own cores and devices
        cores = cores or available_cores()
        places = devices.slots()
        gpus = devices.enough(places) if places else 0
        limits = [f"gpu={len(places)}"] if places else []
    start = (
        "import sys; from snakemake.cli import main; from fagan.workflow import follow; "
        f"sys.argv[0] = 'snakemake'; follow({profile.is_local}); main()"
    )
    return [
        *(sys.executable, "-c", start),
        *("--snakefile", str(ROOT / "workflow" / "Snakefile"), "--directory", str(ROOT)),
        *("--workflow-profile", str(profile.folder)),
        *(["--cores", str(cores)] if cores else []),
        *(["--resources", *limits] if limits else []),
        *("--config", f"ablation={ablation}", f"results={os.path.abspath(results)}"),
        *(f"gpus={gpus}", f"cores={cores or 1}", "--", target),
    ]


def tidy(ablation: str, results: Path = RESULTS) -> None:
    """Make what earlier tries left fit for the graph, which decides by files and their times.

    An error of an earlier try says nothing about this one. Metrics beside a checkpoint belong to a
    run that was killed while its notebook drew its figures: it goes on from the last step. Pages
    that were left out are tried again. A time in the future, of a clock that was set back, would
    have pages made again and again.
    """
    folder = ablation_folder(ablation, results)
    for run in (folder / "runs").glob("*/"):  # but for those that a living process is at
        with suppress(locks.Held), locks.lock(run / RUNNER_LOCK), locks.lock(run / TRAIN_LOCK):
            (run / "error.txt").unlink(missing_ok=True)
            RunRecord(run).reopen()
            _drop_parts(run)
    for name in ("tables", "figures", "analysis"):
        _drop_parts(folder / name)
    (folder / "log" / "analysis.log").unlink(missing_ok=True)
    if not pages.whole(folder):
        (folder / pages.PAGES).unlink(missing_ok=True)
    now = time.time()
    for pattern in ("*.json", "runs/*/metrics.json", "analysis/*"):
        for path in folder.glob(pattern):
            if path.stat().st_mtime > now:
                os.utime(path, (now, now))


def _drop_parts(folder: Path) -> None:
    for part in folder.rglob(".*.tmp"):  # what killed writers left
        part.unlink(missing_ok=True)


def is_complete(ablation: str, results: Path = RESULTS) -> bool:
    """Whether nothing is left: all runs have ended, all pages are newer than they and the plan."""
    folder = ablation_folder(ablation, results)
    runs = [run_folder(ablation, run_id, results) for run_id in planned(ablation, results)]
    if any((run / name).exists() for run in runs for name in CHECKPOINTS):
        return False
    try:
        sources = [folder / "plan.json", *(run / "metrics.json" for run in runs)]
        newest = max(path.stat().st_mtime for path in sources)
        made = (folder / pages.PAGES).stat().st_mtime
    except FileNotFoundError:
        return False
    return pages.whole(folder) and made >= newest


def choose_ablation(data_path: str | None) -> tuple[str, str]:
    """(table, why) for `make ablations` without ABLATION."""
    import torch

    if not torch.cuda.is_available():
        return "laptop", "no CUDA device: the laptop ablation (ABLATION=... chooses another)"
    roots = (os.environ.get("FAGAN_DATA") or "data", "data")  # where torchvision finds CelebA
    if data_path or any(Path(root, "celeba", "img_align_celeba").is_dir() for root in roots):
        return "celeba64", "CUDA and CelebA are here: the blog's own ablation"
    return "faces64", (
        "CUDA is here, CelebA is not: procedural faces at 64 pixels (for CelebA put "
        "img_align_celeba and its lists under data/celeba, or name a folder of it: DATA=...)"
    )
