"""A real Slurm on this machine: a controller and two nodes of one CPU, in a folder of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
PACKAGES = ("slurm-wlm", "munge")
PATIENCE = 60  # seconds for the daemons to answer, and to end
NODES = ("n1", "n2")

CONF = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
KillWait=2
SchedulerParameters=batch_sched_delay=0,sched_interval=2
# a node's size is what stands here, not what the machine has
SlurmdParameters=config_overrides
NodeName=n1 NodeHostName=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=64000
NodeName=n2 NodeHostName=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=64000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
"""


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


def install() -> str:
    """Debian's packages; returns why it cannot be done, or an empty string."""
    by_hand = f"apt-get install {' '.join(PACKAGES)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"{', '.join(missing_programs())} missing: {by_hand}, as root on a Debian"
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            return f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}"
    return ""


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Yields the environment in which Slurm's commands speak to the cluster; then takes it down."""
    with ExitStack() as stack:
        # munge wants a folder that all may enter, and a socket's path must be short
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp")))
        folder.chmod(0o755)
        conf = folder / "slurm.conf"
        conf.write_text(
            CONF.format(folder=folder, user=getpass.getuser(), ports=_free_ports(1 + len(NODES)))
        )
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        (folder / "state").mkdir()
        environment = os.environ | {
            "SLURM_CONF": str(conf),
            "PATH": f"{_srun_knowing(conf)}{os.pathsep}{_path()}",
        }
        munge = {
            "key-file": key,
            "socket": folder / "munge.sock",
            "pid-file": folder / "munged.pid",
            "seed-file": folder / "munged.seed",
        }
        daemons = [
            ["munged", "--foreground", *(f"--{name}={path}" for name, path in munge.items())],
            ["slurmctld", "-D"],
            *(["slurmd", "-D", "-N", node] for node in NODES),
        ]
        log = stack.enter_context((folder / "daemons.log").open("wb"))
        for daemon in daemons:
            stack.enter_context(_running(daemon, environment, log))
            if daemon[0] == "munged":
                _wait(munge["socket"].exists, folder, "munged's socket")
        _wait(lambda: _idle(environment) == set(NODES), folder, "two idle nodes")
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, check=True)
            _wait(lambda: not queue(environment), folder, "an empty queue")


def queue(environment: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """(job, comment, state, node) of every job that is not over."""
    said = subprocess.run(
        ["squeue", "--noheader", "--format=%i|%k|%T|%N"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [tuple(line.split("|")) for line in said.splitlines()]


def _idle(environment: dict[str, str]) -> set[str]:
    said = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--states=idle", "--responding", "--format=%N"],
        env=environment,
        capture_output=True,
        text=True,
    )
    return set(said.stdout.split())


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def _srun_knowing(conf: Path) -> Path:
    """A folder with an srun that finds this cluster.

    Snakemake's job steps drop SLURM_CONF, as a real cluster's is where srun looks by itself.
    """
    folder = conf.parent / "bin"
    folder.mkdir()
    script = folder / "srun"
    script.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which("srun")} "$@"\n')
    script.chmod(0o755)
    return folder


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _running(command: list[str], environment: dict[str, str], log) -> Iterator[None]:
    program = shutil.which(command[0], path=environment["PATH"])
    process = subprocess.Popen(
        [program, *command[1:]], env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait(condition, folder: Path, what: str) -> None:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError(f"no {what}: {(folder / 'daemons.log').read_text()[-3000:]}")
        time.sleep(0.2)
