"""One GPU per run, by a lease that ends with its holder.

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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fagan import locks
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
    """Hold a device for one run; None where there is none, or none is wanted.

    Waits while all of them are taken. From here on this process and what it starts see that device
    alone, so a process takes one lease in its life.
    """
    places = slots() if wanted else []
    if not places:
        yield None
        return
    with ExitStack() as stack:
        slot = _first_free(places, stack, say)
        os.environ[VISIBLE] = slot.uuid
        yield slot


def _first_free(places: list[Slot], stack: ExitStack, say) -> Slot:
    told = False
    while True:
        for slot in places:
            try:
                stack.enter_context(locks.lock(slot.path, timeout=0))
                return slot
            except locks.Held:
                continue
        if not told:
            holders = "; ".join(f"{s.index}: {locks.holder(s.path)}" for s in places)
            say(f"every GPU is taken ({holders}); waiting for one")
            told = True
        time.sleep(_POLL)
