"""What a device does over several steps, how fast, and the report of all checks.

Each check takes (device, quick) and returns rows of (what, value, limit, ok).
"""

import gc
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from fagan import data, devices, environment, evaluate, faces, train
from fagan.config import RunConfig
from fagan.errors import reason
from fagan.files import write_text
from fagan.gpu_check.parity import (
    ALL,
    MARGIN,
    NARROW,
    Row,
    apart,
    below,
    bf16_against_fp32,
    layer_parity,
    loss_parity,
    measured,
    step_parity,
)

SMOKE = {"resolution": 32, "width": 0.125, "squeeze": 4, "batch_size": 8, "architecture": "fagan"}
GRAPH_LIMIT = 1e-3  # of the logged losses: a capture may choose other kernels


def repetition(device: torch.device, quick: bool) -> list[Row]:
    """Two equal runs to the bit, or the operator's name; one interrupted; one without a graph."""
    steps, config = 6 if quick else 20, RunConfig.from_params(SMOKE | {"precision": "fp32"})
    one, two = (trained(config, device, steps) for _ in range(2))
    noise = most_apart(one, two)
    named = "" if noise == 0 else nondeterministic(lambda: trained(config, device, 2))
    resumed = trained(config, device, steps, interrupted=steps // 2)
    rows = [
        Row(f"two equal runs of {steps} steps", noise, 0, noise == 0 or bool(named), named),
        # where equal runs differ, so may these
        below("resumed after a checkpoint", most_apart(one, resumed), MARGIN * noise),
    ]
    if one.replayed is None:
        return [*rows, measured("steps as a CUDA graph", float("nan"), "skipped: not on a CPU")]
    plain = trained(config.with_(graph="off"), device, steps)
    # whether there is a graph at all: a failed capture is a line and an ordinary run
    rows.append(below("steps not captured as a CUDA graph", one.replayed.replay is None, 0))
    logged = apart([one.sums], [plain.sums])
    return [*rows, below("losses as a CUDA graph and without", logged, GRAPH_LIMIT)]


def trained(config, device, steps: int, interrupted: int = 0) -> train.State:
    """A state after some steps on faces; saved, and restored to a new one, after `interrupted`."""
    images = faces.render(range(64), config.resolution, seed=0)
    batches = data.Batches(images, config.batch_size, config.seed, device=device)
    state = train.start(config, device)
    while state.step < steps:
        train.step_once(state, batches)
        if state.step == interrupted:
            with tempfile.TemporaryDirectory() as folder:
                paths = Path(folder, "checkpoint.pt"), Path(folder, "previous.pt")
                train.save(state, paths)
                state = train.start(config, device)
                train.restore(state, paths)
    return state


def most_apart(one: train.State, other: train.State) -> float:
    """The largest difference of any number of all networks."""
    pairs = (
        (value, getattr(other, name).state_dict()[key])
        for name in ("generator", "discriminator", "average")
        for key, value in getattr(one, name).state_dict().items()
    )
    found = [(a.double() - b.double()).abs().max() for a, b in pairs]
    return float(torch.stack(found).max())


def nondeterministic(run: Callable[[], object]) -> str:
    """What PyTorch warns of while something runs: the operators that are not deterministic."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
    finally:
        torch.use_deterministic_algorithms(before)
    said = (str(warning.message) for warning in caught)
    names = (re.split(r" does not have| defaults to|, but |\n", line)[0] for line in said)
    return "; ".join(sorted({name for name in names if name}))[:300]


_HOLD = """
import sys
from fagan import devices
devices.installed = lambda: [devices.Slot("0", sys.argv[1])]
with devices.lease(say=lambda line: print("waits", flush=True)):
    print("holds", flush=True)
    sys.stdin.read()
"""


def one_lease(device: torch.device, quick: bool) -> list[Row]:
    """Two processes ask for one stand-in device: the second waits until the first has ended."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-c", _HOLD, f"gpu-check-{Path(name).name}"]
        start = partial(subprocess.Popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        environ = {**os.environ, devices.GPUS: "", "PYTHONPATH": str(environment.ROOT)}
        environ.pop(devices.VISIBLE, None)
        with start(command, env=environ) as first:
            said = [first.stdout.readline().strip()]
            with start(command, env=environ) as second:
                said.append(second.stdout.readline().strip())
                first.communicate()
                said.append(second.communicate()[0].strip())
    well = said == ["holds", "waits", "holds"]
    rows = [below("leases of one device beyond the first", 0 if well else 1, 0, ", ".join(said))]
    if device.type == "cuda":
        missing = torch.cuda.device_count() - len(devices.slots())
        rows.append(below("devices that nvidia-smi does not list", missing, 0))
    return rows


def speed(device: torch.device, quick: bool) -> list[Row]:
    """Milliseconds, peak memory and busy share of a step, every architecture at 64 pixels."""
    cuda, rows = device.type == "cuda", []
    small = NARROW if quick else {"batch_size": 32}
    ways = {"fp32": {}, "bf16": {"precision": "bf16"}} if cuda else {"fp32": {}}
    for name in ALL:
        for way, changes in ways.items():
            config = RunConfig.from_params(small | changes | {"architecture": name})
            rows += _timed(f"{name} {way}", config, device, 2 if quick or not cuda else 20)
            gc.collect()  # a captured step holds its state in a ring
    if cuda and not quick:
        config = RunConfig(architecture="fagan", precision="bf16", compile="networks")
        rows += _timed("fagan bf16, compiled", config, device, 20)
    return rows


def _timed(what: str, config: RunConfig, device: torch.device, steps: int) -> list[Row]:
    images = faces.render(range(config.batch_size), config.resolution, seed=0)
    batches = data.Batches(images, config.batch_size, 0, device=device)
    state = train.start(config, device)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(6 if cuda else 1):  # warmed up, and captured
        train.step_once(state, batches)
    wait = torch.cuda.synchronize if cuda else lambda: None

    def run() -> float:
        wait()
        start = time.perf_counter()
        for _ in range(steps):
            train.step_once(state, batches)
        wait()
        return time.perf_counter() - start

    before = time.process_time()
    seconds = run()
    share = (time.process_time() - before) / seconds / torch.get_num_threads()
    rows = [measured(f"{what}: ms a step", 1e3 * seconds / steps, f"batch {config.batch_size}")]
    if cuda:
        rows.append(measured(f"{what}: peak MB", torch.cuda.max_memory_allocated(device) / 1e6))
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            seconds = run()
        share = sum(e.self_device_time_total for e in profile.key_averages()) / seconds / 1e6
    return [*rows, measured(f"{what}: busy share", share)]


def samples(device: torch.device, quick: bool, path: Path) -> list[Row]:
    """A grid of what the generator draws after 500 steps, to be looked at; images must vary."""
    steps = 10 if quick else 500
    state = trained(RunConfig.from_params(SMOKE | {"lr_g": 2e-4}), device, steps)
    images = evaluate.sample(state.average, 64, state.config.latent_size, 0, device=str(device))
    train.save_grid(images, path)
    alike = 1 / max(float(images.double().std(0).mean()), 1e-9)  # of values up to 255
    return [below(f"samples after {steps} steps, 1 / their spread", alike, 1.0, path.name)]


def stem(device: torch.device) -> str:
    """The device as a file name, by the rule of notebooks/speed.ipynb; its own tables end so."""
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else environment.processor()
    words = re.findall("[a-z0-9]+", re.sub(r"\((r|tm)\)", "", name.lower()))
    threads = [] if cuda else [str(torch.get_num_threads())]
    return "-".join([device.type, *words, *threads, "check"])


CHECKS = (layer_parity, loss_parity, step_parity, bf16_against_fp32, repetition, one_lease, speed)


def report(device: torch.device, quick: bool, folder: Path) -> bool:
    """Run every check, print the table and write it and the samples; whether all is well.

    A check that raises is a row that failed: it costs no other.
    """
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    name = stem(device)
    rows: list[Row] = []
    for check in (*CHECKS, partial(samples, path=folder / f"{name}-samples.png")):
        start, what = time.perf_counter(), getattr(check, "__name__", "samples")
        try:
            rows += check(device, quick)
        except Exception as error:  # whatever a driver, a kernel or a compiler raises
            nan = float("nan")
            rows.append(Row(what, nan, nan, False, f"{type(error).__name__}: {reason(error)}"))
        print(f"{what}: {time.perf_counter() - start:.1f} s", flush=True)
    table = Table("what", "value", "limit", "", "note", title=name)
    for row in rows:
        table.add_row(
            row.what, f"{row.value:.3g}", f"{row.limit:.3g}", "ok" if row.ok else "FAILED", row.note
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    write_text(folder / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))
    failed = sum(not row.ok for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} well; {folder / name}.csv")
    return not failed
