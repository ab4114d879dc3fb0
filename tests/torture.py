"""Kill a small ablation at random moments, let it finish, and compare it with an undisturbed twin.

    python tests/torture.py           # twenty blows; `make test` deals one of each kind
    python tests/torture.py 50 7      # fifty, drawn with seed 7

A blow falls on one process of the tree (the command, the workflow, a runner, a kernel), on all of
them, or is Ctrl-C. Afterwards no process of the ablation may be left. Whenever the ablation
has been finished between the blows, every file of it is held against the twin's, byte by byte, and
it is begun anew.
"""

import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
# seconds of the whole are dominated by start-up, so checkpoints lie close: most blows hit a run
SETTINGS = {
    "images": 128,
    "log_every": 5,
    "eval_every": 20,
    "checkpoint_every": 4,
    "n_real": 64,
    "n_track": 32,
    "n_fake": 64,
    "n_intervene": 32,
}
VICTIMS = ("command", "workflow", "runner", "kernel", "all", "ctrl-c")
MARK = "FAGAN_TORTURE"  # in the environment of everything that works on a results folder
CLOCKS = ("timing.csv", "run.log", "env.json", "train.ipynb")  # hold times, or say what happened
GONE_WITHIN = 40.0  # seconds

COMMAND = """
import sys
from pathlib import Path
from fagan import workflow
results = Path(sys.argv[1])
with workflow.alone("smoke", results):
    sys.exit(workflow.run_graph("smoke", results, cores=2, target="runs"))
"""


def prepared(results: Path, steps: int) -> Path:
    """The results folder of an ablation whose runs are yet to begin."""
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    for arguments in (["plan", "smoke", "--steps", str(steps), *settings], ["prepare", "smoke"]):
        command = [sys.executable, "-m", "fagan", *arguments, "--results", str(results)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return results


def start(results: Path) -> subprocess.Popen:
    """The command that does what is left, in a session of its own as a terminal gives it."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(results)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {MARK: str(results)},
    )


def tree(results: Path) -> dict[str, list[psutil.Process]]:
    """Every process that works on the results, by its part."""
    parts: dict[str, list[psutil.Process]] = {name: [] for name in VICTIMS[:4]}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            gone = process.status() == psutil.STATUS_ZOMBIE
            if gone or process.environ().get(MARK) != str(results):
                continue
            said = " ".join(process.cmdline())
            marks = {"ipykernel": "kernel", "--snakefile": "workflow", " run smoke ": "runner"}
            parts[next((part for mark, part in marks.items() if mark in said), "command")] += [
                process
            ]
    return parts


def strike(victim: str, results: Path, random_: random.Random) -> str:
    """Deal one blow; says what was hit."""
    parts = tree(results)
    if victim == "ctrl-c":
        for process in parts["command"]:
            process.send_signal(signal.SIGINT)
        return victim
    chosen = [p for some in parts.values() for p in some] if victim == "all" else parts[victim]
    if victim != "all" and chosen:
        chosen = [random_.choice(chosen)]
    for process in chosen:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return victim if chosen else f"{victim} (there is none now)"


def survivors(results: Path) -> list[str]:
    """What still works on the results after the time that processes have to end."""
    until = time.monotonic() + GONE_WITHIN
    while True:
        left = [p for some in tree(results).values() for p in some]
        if not left:
            return []
        if time.monotonic() > until:
            return [f"{p.pid} {' '.join(p.cmdline())[:120]}" for p in left]
        time.sleep(0.2)


def differences(twin: Path, other: Path) -> list[str]:
    """Files of the runs that are in one only, or differ."""
    found = []
    one, two = (
        {p.relative_to(r) for p in (r / "smoke" / "runs").rglob("*") if p.is_file()}
        for r in (twin, other)
    )
    found += [f"only in one: {path}" for path in sorted(one ^ two)]
    for path in sorted(one & two):
        if path.name not in CLOCKS and not filecmp.cmp(twin / path, other / path, shallow=False):
            found.append(f"differs: {path}")
    return found


def torture(folder: Path, kills: int, seed: int = 0, steps: int = 30, say=print) -> list[str]:
    """Every fault that was found; an empty list is a pass."""
    random_ = random.Random(seed)
    fresh = prepared(folder / "fresh", steps)
    twin = shutil.copytree(fresh, folder / "twin")
    began = time.monotonic()
    whole = start(twin)
    said = whole.communicate()[0]
    if whole.returncode:
        return [f"the twin itself failed: {said}"]
    length = time.monotonic() - began
    say(f"undisturbed: {length:.0f} s")
    faults: list[str] = []
    disturbed, dealt, compared = shutil.copytree(fresh, folder / "disturbed-0"), 0, 0
    victims = [random_.choice(VICTIMS) for _ in range(kills)]
    for i in range(min(kills, len(VICTIMS))):  # each part at least once
        victims[i] = VICTIMS[(i + seed) % len(VICTIMS)]
    struck, patience = True, 30 * length + 300  # seconds within which anything must end
    while dealt < kills or struck:
        process = start(disturbed)
        if dealt < kills:
            try:
                # not before the graph is up, mostly; early blows come too
                process.wait(random_.uniform(0.05, 0.7) * length)
            except subprocess.TimeoutExpired:
                hit = strike(victims[dealt], disturbed, random_)
                dealt, struck = dealt + 1, True
                partly = victims[dealt - 1] in ("runner", "kernel")
                if partly and random_.random() < 0.5:
                    time.sleep(random_.uniform(0, 3))
                    strike("command", disturbed, random_)  # a second blow while it reacts
                    hit += ", then the command"
                elif partly:
                    process.wait(patience)  # the workflow goes on with the others, and ends
                left = survivors(disturbed)
                process.communicate(timeout=patience)
                faults += [f"blow {dealt} ({hit}): still there: {line}" for line in left]
                states = [p.name for p in (disturbed / "smoke" / "runs").glob("*/metrics.json")]
                say(f"blow {dealt}: {hit}; {len(states)} runs done")
                continue
        said = process.communicate(timeout=patience)[0]
        if process.returncode:
            log = (disturbed / "smoke" / "workflow.log").read_text()
            why = f"{said}\n{log}\nexit code {process.returncode}"
            faults.append(f"after {dealt} blows the ablation could not be finished: {why}")
            break
        found = differences(twin, disturbed)
        faults += [f"after {dealt} blows: {line}" for line in found]
        compared, struck = compared + 1, False
        say(f"finished after {dealt} blows: {'differs' if found else 'equal to its twin'}")
        disturbed = shutil.copytree(fresh, folder / f"disturbed-{compared}")
    return faults


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as folder:
        faults = torture(Path(folder), kills, seed, steps=60)
    print("\n".join(faults) or f"{kills} kills, no fault")
    return bool(faults)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
