"""`python -m fagan gpu-check`: what a new GPU runs first. The checks are in gpu_check.checks."""

from pathlib import Path
from typing import Annotated

import typer

from fagan.errors import UserError, unknown
from fagan.files import RESULTS


def gpu_check(
    device: Annotated[str, typer.Option(help="cuda, or cpu: what can be checked without")] = "cuda",
    quick: Annotated[bool, typer.Option(help="under a minute: few steps, small networks")] = False,
    results: Annotated[Path, typer.Option(help="folder of all results")] = RESULTS,
) -> None:
    """Is the device right, and how fast? Writes results/bench/DEVICE-check.csv, under ten minutes.

    Layers, losses and a step of every architecture against plain float64 on the CPU, bfloat16
    against float32, two equal runs, a resumed run, leases, time and memory of a step, samples to
    look at. Ends with 0 where all is well, 1 where a check failed, 2 where there is no such device.

    Needs this repository and: torch, numpy, pillow, pandas, rich, typer, filelock, safetensors,
    pyyaml.
    """
    import torch

    if device not in ("cuda", "cpu"):
        raise unknown("device", device, ("cuda", "cpu"))
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch sees no CUDA device here; --device cpu checks what needs none")
    from fagan.gpu_check.checks import report

    raise typer.Exit(0 if report(torch.device(device), quick, results / "bench") else 1)
