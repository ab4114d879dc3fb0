"""The machine that is measured: its name, its peak, its memory."""

import ctypes
import gc
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fagan import environment

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Machine:
    """A device and what its matrix products reach."""

    device: str  # "cpu" or "cuda"
    name: str
    threads: int
    peak_fp32: float  # GFLOP/s of a square matrix product
    peak_bf16: float

    @property
    def slug(self) -> str:
        """The name of this machine's files."""
        words = re.sub(r"\(r\)|\(tm\)", "", self.name.lower())
        words = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
        return f"{self.device}-{words}" + (f"-{self.threads}" if self.device == "cpu" else "")

    def describe(self) -> dict:
        return asdict(self)


def measure_machine(device: torch.device, threads: int) -> Machine:
    """Name and measured peak of a device; the CPU's with the threads that are set now."""
    cuda = device.type == "cuda"
    return Machine(
        device=device.type,
        name=torch.cuda.get_device_name(device) if cuda else environment.processor(),
        threads=threads,
        peak_fp32=_peak(device, torch.float32),
        peak_bf16=_peak(device, torch.bfloat16),
    )


def _peak(device: torch.device, dtype: torch.dtype, repeats: int = 8) -> float:
    """GFLOP/s of the best of some products of square matrices that fill the device."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    seconds = [timed(lambda: a @ b, device) for _ in range(2 + repeats)]
    return 2 * n**3 / min(seconds) / 1e9


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that one call takes, the device's share included."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class PeakMemory:
    """Bytes that the process holds above what it held when this was made, at their highest.

    On the CPU the kernel's high-water mark of the resident set, which counts what libraries
    allocate behind PyTorch's back; Linux only. On CUDA the allocator's.
    """

    def __init__(self, device: torch.device):
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            self.base = torch.cuda.memory_allocated(device)
        elif self.measurable:
            ctypes.CDLL(None).malloc_trim(0)  # what earlier work freed is no part of the base
            self.base = _resident("VmRSS")

    @property
    def measurable(self) -> bool:
        return self.device.type == "cuda" or (sys.platform == "linux" and CLEAR.exists())

    def of(self, work: Callable[[], object]) -> float | None:
        """Run the work; megabytes above the base at its highest, None where that is not known."""
        if not self.measurable:
            work()
            return None
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            work()
            return (torch.cuda.max_memory_allocated(self.device) - self.base) / 1e6
        CLEAR.write_text("5")  # resets the high-water mark
        work()
        return (_resident("VmHWM") - self.base) / 1e6


def _resident(key: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key + ":"))
    return int(line.split()[1]) * 1024


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available
