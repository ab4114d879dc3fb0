"""What a run was made with: commit, source fingerprint, versions, processor, device.

Written into env.json before step 0. It holds no path, user or host name, so it can be published.
"""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fagan.errors import UserError, shown
from fagan.files import read_object

ROOT = Path(__file__).resolve().parents[1]
# what comes before the analysis in the import order (tests/test_structure.py)
DECIDING = (
    "errors files locks architectures config environment faces ties data attention spectral_norm "
    "layers conditioning resnet models losses released records ablations evaluate interpret train"
).split()
# 2 added the instruments: columns and files that a reader finds empty in records of schema 1
SCHEMA, READS = 2, (1, 2)
# what a resumed run notes anew, beside the step at which it goes on
RESUMED = (
    "commit dirty source_fingerprint processor device device_name processes fp32_matmul"
).split()
LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "timm", "torchmetrics", "papermill")


PER_RUN = "FAGAN_GPUS_PER_RUN"  # GPUS_PER_RUN of the make command, for what it starts


def available_cores() -> int:
    """The cores that this process may use; macOS does not tell, so all of them there."""
    return len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0))


def gpus_per_run() -> int:
    """How many GPUs, and processes, train one run: 1 where nobody says more."""
    said = os.environ.get(PER_RUN, "").strip() or "1"
    if not said.isdecimal() or not 0 < int(said) < 10_000:
        raise UserError(f"GPUS_PER_RUN={shown(said)} must be a whole number above 0")
    return int(said)


def source_fingerprint() -> str:
    """12 hex digits over the sources that decide a run's numbers, and over nothing else."""
    digest = hashlib.sha256()
    for path in (*_sources(), ROOT / "notebooks" / "train.ipynb"):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _sources() -> list[Path]:
    """The files of DECIDING, modules or packages, in one order on every machine."""
    folder = ROOT / "fagan"
    patterns = [f"{name}{ending}" for name in DECIDING for ending in (".py", "/**/*.py")]
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def same_kind(env: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of processor, threads and torch are others here than in an env.json; () for none.

    Only where it is empty are the last digits those of the record. threads: the run's own, from its
    configuration, against this process's; what `env` does not say is not compared.
    """
    import torch

    there = {**env, "torch": env.get("versions", {}).get("torch")}
    here = {"processor": processor(), "threads": torch.get_num_threads()}
    here |= {"torch": _version("torch")}
    return tuple(name for name in here if there.get(name) not in (None, here[name]))


def read_environment(folder: Path) -> dict[str, Any]:
    """env.json of a run, {} where it has none; UserError for records that this code cannot read."""
    env = read_object(folder / "env.json") or {}
    if env.get("schema", SCHEMA) not in READS:
        raise UserError(
            f"{folder} holds records of schema {shown(env['schema'])}, this code reads up to "
            f"{SCHEMA}; check out the commit in its env.json, or move it away and run it anew"
        )
    return env


def commit() -> tuple[str | None, bool | None]:
    """(commit, whether tracked files differ from it); (None, None) outside a git checkout."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return None, None
    return head.strip(), bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def processor() -> str:
    """The processor's model as the system names it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe() -> dict:
    """The part of env.json that does not depend on the run."""
    head, dirty = commit()
    return {
        "commit": head,
        "dirty": dirty,
        "source_fingerprint": source_fingerprint(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def continued(
    folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], step: int
) -> dict[str, Any]:
    """The env.json of a run that goes on at a step: as it was, and in `resumed` what is new.

    UserError where the records have other columns, or the images are others.
    """
    for name in ("schema", "data_checksum", "reference_checksum"):
        old, new = before.get(name), {"schema": SCHEMA, **now}.get(name)
        if old != new:
            raise UserError(
                f"{folder} was begun with {name} {old}, now it is {new}; bring the "
                "old code or images back, or delete the folder to run it anew"
            )
    again = {name: now.get(name) for name in RESUMED} | {"step": step}
    return {**before, "resumed": [*before.get("resumed", []), again]}
