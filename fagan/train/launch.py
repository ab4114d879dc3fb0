"""A run in several processes: `torchrun ... -m fagan.train CONFIG FOLDER`, CONFIG as JSON.

They end when what launched them does, however that is: their standard input is a pipe that it
holds, as Snakemake's is in fagan.workflow.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

from fagan.config import RunConfig
from fagan.environment import ROOT
from fagan.errors import UserError

_MISTAKE = "fagan: "  # before a UserError's line
_KILLED = (
    "one of its processes was killed, perhaps by the system for want of memory: lower batch_size, "
    "n_fake or the number of runs at once (CORES)"
)


def launch(config: RunConfig, folder: Path, processes: int, say=print) -> None:
    """Train in so many processes of this machine, by torchrun; `say` gets what they print.

    Raises UserError with the first one's own words where they fail by one, else RuntimeError.
    """
    command = [
        *(sys.executable, "-m", "torch.distributed.run"),
        # by its number: a machine need not know its own name
        *("--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(processes)),
        *("-m", "fagan.train", json.dumps(vars(config)), os.path.abspath(folder)),
    ]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(config.threads)}
    lines = []
    with tempfile.TemporaryFile("w+") as report:  # torchrun's own: who ended how, on which host
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=report,
            text=True,
            errors="replace",
            env=os.environ | environment,
            start_new_session=True,  # Ctrl-C is for this process, which ends them
        )
        try:
            for line in map(str.rstrip, process.stdout):
                lines.append(line)
                if not line.startswith(_MISTAKE):
                    say(line)
        finally:
            process.stdin.close()
            code = process.wait()
        if code:
            report.seek(0)
            raise _failure(lines, report.read())


def _failure(lines: list[str], report: str) -> Exception:
    for line in lines:
        if line.startswith(_MISTAKE):
            return UserError(line.removeprefix(_MISTAKE))
    if "(SIGKILL)" in report:
        return UserError(_KILLED)
    # torch puts the rank before every line of a traceback
    raised = (re.match(r"(?:\[rank\d+\]:)? ?([\w.]+(?:Error|Exception)\b.*)", x) for x in lines)
    said = next((match[1] for match in raised if match), "it said nothing")
    return RuntimeError(f"one of its processes failed: {said}")


def main() -> None:
    """Take part in the run that the arguments name."""
    threading.Thread(target=_follow, daemon=True).start()
    os.dup2(1, 2)  # torchrun's report is alone on the other
    if os.environ["RANK"] != "0":
        warnings.simplefilter("ignore")  # the first process says them
    from fagan.train.loop import take_part

    try:
        take_part(RunConfig.from_params(json.loads(sys.argv[1])), Path(sys.argv[2]))
    except UserError as error:
        sys.stderr.write(f"{_MISTAKE}{error}\n")
        sys.exit(2)


def _follow() -> None:
    while os.read(0, 1):  # nothing is ever written
        pass
    os._exit(1)
