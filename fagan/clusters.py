"""Where the graph runs: a profile of workflow/profiles, or a folder of the user's own.

A profile is Snakemake's config.yaml. `executor` in it names the plugin that submits the jobs;
without one they run on this machine. Its `config: {gpus: 1}` is what a run asks for, unless its
device is the CPU. Nothing about a cluster is decided by the hardware of the machine that submits.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fagan.environment import ROOT
from fagan.errors import UserError, unknown

PROFILES = ROOT / "workflow" / "profiles"
PLUGINS = ROOT / "workflow" / "plugins"  # executors of this repository, made from installed ones
LOCAL = "local"
PATIENCE = 60  # seconds that Slurm's controller may take to answer


@dataclass(frozen=True)
class Profile:
    """One checked profile."""

    name: str
    folder: Path
    executor: str = LOCAL
    gpus: int = 0  # that a run is given, unless its device is the CPU
    options: tuple[str, ...] = ()  # for Snakemake, beside what the folder says

    @property
    def is_local(self) -> bool:
        return self.executor == LOCAL

    @property
    def environment(self) -> dict[str, str]:
        """What Snakemake needs in its environment to find the executor."""
        if not (PLUGINS / module_of(self.executor)).is_dir():
            return {}
        paths = (str(PLUGINS), os.environ.get("PYTHONPATH"))
        return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def module_of(executor: str) -> str:
    """The module in which Snakemake looks for an executor."""
    return f"snakemake_executor_plugin_{executor.replace('-', '_')}"


def profile_names() -> list[str]:
    return sorted(path.parent.name for path in PROFILES.glob("*/config.yaml"))


def load_profile(name: str = "default") -> Profile:
    """A profile by its name, or by the path of a folder that holds a config.yaml.

    Raises UserError where there is none, or where it is not what a profile must be.
    """
    import yaml

    path = (PROFILES / name if name in profile_names() else Path(name).expanduser()) / "config.yaml"
    if not path.is_file():
        if "/" in name:
            raise UserError(f"PROFILE={name}: there is no {path}; a profile is a folder with one")
        raise unknown("profile", name, profile_names())
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    settings = content.get("config") or {} if isinstance(content, dict) else None
    gpus = settings.get("gpus", 0) if isinstance(settings, dict) else None
    if type(gpus) is not int or gpus < 0:
        raise UserError(f"{path} must be a mapping, its `config` too, and `gpus` in that a count")
    return Profile(
        name=name,
        folder=path.parent.resolve(),
        executor=str(content.get("executor") or LOCAL),
        gpus=gpus,
    )


def reachable(profile: Profile) -> Profile:
    """The profile with what Snakemake must be told about this cluster.

    Raises UserError where the executor's plugin is not installed or its cluster does not answer.
    """
    if profile.is_local:
        return profile
    plugin = module_of(profile.executor.removeprefix("shared-"))
    if importlib.util.find_spec(plugin) is None:
        package = plugin.replace("_", "-")
        raise UserError(
            f"profile {profile.name} needs {package}: {sys.executable} -m pip install {package}"
        )
    if profile.executor != "slurm":
        return profile
    return Profile(**vars(profile) | {"options": _slurm_options(profile)})


def _slurm_options(profile: Profile) -> tuple[str, ...]:
    """The plugin asks sacct wherever the command is there, and waits forever without accounting."""
    if shutil.which("sbatch") is None:
        raise UserError(
            f"profile {profile.name} submits to Slurm, but there is no sbatch here: run it on a "
            "machine that has Slurm's commands, or leave PROFILE out"
        )
    try:
        asked = subprocess.run(
            ["scontrol", "show", "config"], capture_output=True, text=True, timeout=PATIENCE
        )
        failed, said = asked.returncode != 0, asked.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, said = True, str(error)
    if failed:
        why = said.splitlines()[-1] if said else "no reason given"
        raise UserError(f"Slurm does not answer (scontrol show config: {why})")
    settings = {
        key.strip(): value.strip()
        for key, equals, value in (line.partition("=") for line in asked.stdout.splitlines())
        if equals
    }
    # "accounting_storage/none", which newer versions of Slurm print as "(null)"
    if settings.get("AccountingStorageType", "").rpartition("/")[2] in ("", "none", "(null)"):
        return ("--slurm-status-command", "squeue", "--slurm-no-account")
    return ()
