"""One GPU per run, or GPUS_PER_RUN of them, by a lease that ends with its holder.

A run that may use CUDA takes the first free device of those it is allowed: `GPUS=0,2` of the make
command, inside CUDA_VISIBLE_DEVICES where that is set, else all. Leases are locks in the machine's
temporary folder under the device's own name (UUID), so that ablations of one user meet there,
whatever number a scheduler gives a device inside a job. A device named twice (`GPUS=0,0`) takes two
runs at once.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fagan import locks
from fagan.environment import gpus_per_run
from fagan.errors import UserError, unknown

GPUS, VISIBLE = "FAGAN_GPUS", "CUDA_VISIBLE_DEVICES"
_POLL = 1.0  # seconds


@dataclass(frozen=True)
class Slot:
    """A place for one run on a device; `uuid` is what CUDA_VISIBLE_DEVICES is set to."""

    index: str
    uuid: str
    place: int = 0

    @property
    def path(self) -> Path:
        folder = f"fagan-gpus-{os.getuid()}"  # the number: in a container a user may have no name
        return Path(tempfile.gettempdir(), folder, f"{self.uuid}-{self.place}.lock")


def installed() -> list[Slot]:
    """The NVIDIA devices of this machine, as nvidia-smi lists them; [] where there are none."""
    asked = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):  # no driver, or none that answers
        return []
    rows = [line.split(",") for line in done.stdout.splitlines() if "," in line]
    return [Slot(index.strip(), uuid.strip()) for index, uuid in rows]


def slots() -> list[Slot]:
    """Every place that a run may take. Raises UserError where GPUS names no device of here."""
    found = installed()
    if VISIBLE in os.environ:
        found = _named(os.environ[VISIBLE], found, strict=False)
    chosen = os.environ.get(GPUS, "").strip()
    if chosen and not found:
        raise UserError(f"GPUS={chosen} is asked for, but no NVIDIA device is visible here")
    return _named(chosen, found, strict=True) if chosen else found


def _named(names: str, found: list[Slot], strict: bool) -> list[Slot]:
    """The slots of a comma-separated list of indices or UUIDs (a beginning is enough)."""
    taken: list[Slot] = []
    for name in filter(None, map(str.strip, names.split(","))):
        slot = next((s for s in found if s.index == name or s.uuid.startswith(name)), None)
        if slot is None and strict:
            raise unknown("GPU", name, [s.index for s in found])
        if slot is None:
            break  # CUDA too ignores what follows a device that is not there
        taken.append(replace(slot, place=sum(s.uuid == slot.uuid for s in taken)))
    return taken


@contextmanager
def lease(wanted: bool = True, say: Callable[[str], None] = print) -> Iterator[Slot | None]:
    """Hold a run's devices and yield the first; None where there is none, or none is wanted.

    Waits while too many of them are taken. From here on this process and what it starts see those
    devices alone, so a process takes one lease in its life. Raises UserError as `enough` does.
    """
    places = slots() if wanted else []
    count = enough(places)
    if not places:
        yield None
        return
    with ExitStack() as stack:
        held = _first_free(places, count, stack, say)
        os.environ[VISIBLE] = ",".join(slot.uuid for slot in held)
        yield held[0]


def enough(places: list[Slot]) -> int:
    """The devices of one run; UserError where fewer are among the places."""
    count, here = gpus_per_run(), len({slot.uuid for slot in places})
    if count > max(1, here):
        raise UserError(
            f"GPUS_PER_RUN={count} asks for more than the {here} GPUs that a run may take here"
        )
    return count


def _first_free(places: list[Slot], count: int, stack: ExitStack, say) -> list[Slot]:
    told = False
    while True:
        with ExitStack() as taking:  # all or none: two runs with half of theirs would wait forever
            held: dict[str, Slot] = {}
            for slot in places:
                with suppress(locks.Held):
                    if slot.uuid not in held and len(held) < count:
                        taking.enter_context(locks.lock(slot.path, timeout=0))
                        held[slot.uuid] = slot
            if len(held) == count:
                stack.push(taking.pop_all())
                return list(held.values())
        if not told:
            holders = "; ".join(f"{s.index}: {locks.holder(s.path)}" for s in places)
            taken = "every GPU is taken" if count == 1 else f"{count} GPUs are not free"
            say(f"{taken} ({holders}); waiting for {'one' if count == 1 else 'them'}")
            told = True
        time.sleep(_POLL)
