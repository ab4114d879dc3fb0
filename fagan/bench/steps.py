"""Training steps, ours against the released package's, interleaved in one process."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import median, quantiles

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fagan import faces, train
from fagan.architectures import stages_of
from fagan.bench.machine import Machine, PeakMemory, free_memory, synchronize, timed
from fagan.bench.released import Released
from fagan.config import RunConfig
from fagan.data import to_unit

# what is timed -> (what it is, its share of the configuration)
IMPLEMENTATIONS = {
    "released": ("the released package", {}),
    "plain": ("this module, exact=true", {"exact": True}),
    "fp32": ("this module", {}),
    "bf16": ("this module, bfloat16 autocast", {"precision": "bf16"}),
}
ARCHITECTURES = ("fagan", "sagan", "fagan-pure")
LOSSES = ("relativistic-hinge", "hinge")
RESOLUTIONS = (64, 32)
# a step of the package holds about this many B x N x N float32 maps of every attention layer
MAPS_HELD = 6


@dataclass(frozen=True)
class Case:
    """One comparison: the same architecture, images and loss on every side."""

    architecture: str
    resolution: int
    loss: str
    batch_size: int = 32
    width: float = 1.0

    def config(self, threads: int, **changes) -> RunConfig:
        return RunConfig.from_params(
            {
                "architecture": self.architecture,
                "resolution": self.resolution,
                "loss": self.loss,
                "batch_size": self.batch_size,
                "width": self.width,
                "threads": threads,
            }
            | changes
        )

    def __str__(self) -> str:
        return f"{self.architecture} {self.resolution}px {self.loss}"


def cases(batch_size: int = 32, quick: bool = False) -> Iterator[Case]:
    """Every comparison; `quick` keeps those whose attention is small."""
    for architecture in ARCHITECTURES:
        for resolution in RESOLUTIONS:
            if quick and (resolution > 32 or architecture == "fagan-pure"):
                continue
            for loss in LOSSES:
                yield Case(architecture, resolution, loss, batch_size)


class Ours:
    """The module's step, with the average that every run keeps."""

    def __init__(self, config: RunConfig, device: torch.device):
        self.state = train.start(config, device)

    def step(self, real: Tensor) -> None:
        train.d_step(self.state, real)
        train.g_step(self.state, real)
        train.update_average(self.state.average, self.state.generator, 0.999)


def measure(
    case: Case,
    machine: Machine,
    rounds: int = 3,
    seconds: float = 15.0,
    say: Callable[[str], None] = print,
) -> list[dict]:
    """One row per implementation of a case: time, throughput, share of peak, memory.

    Each round steps every implementation once, in an order that rotates, so that a machine that
    slows down slows all of them. `rounds` is the least; more are taken until `seconds` are spent.
    What needs more memory than is free is left out, and said.
    """
    device = torch.device(machine.device)
    with train.threads(machine.threads), train.fast_matmul(case.config(1), device):
        real = _images(case.batch_size, case.resolution).to(device)
        chosen = dict(_that_fit(case, machine, say))
        sides, memory = {}, {}
        for name, make in chosen.items():
            sides[name], memory[name] = _warm(make, real, device)
        times = _interleaved(sides, real, device, rounds, seconds)
        work = arithmetic(case.config(1))
    rows = []
    for name, seconds_each in times.items():
        low, _, high = quantiles(seconds_each, n=4)
        middle = median(seconds_each)
        peak = machine.peak_bf16 if name == "bf16" else machine.peak_fp32
        row = {
            "architecture": case.architecture,
            "resolution": case.resolution,
            "batch_size": case.batch_size,
            "loss": case.loss,
            "implementation": name,
            "ms": 1e3 * middle,
            "ms_low": 1e3 * low,
            "ms_high": 1e3 * high,
            "rounds": len(seconds_each),
            "images_per_second": case.batch_size / middle,
            "gflop": work,
            "gflop_per_second": work / middle,
            "share_of_peak": work / middle / peak,
            "peak_memory_mb": memory[name],
        }
        if "released" in times:
            pairs = zip(times["released"], seconds_each, strict=True)
            row["speedup"] = median(theirs / ours for theirs, ours in pairs)
            if memory[name] is not None:
                row["memory_share"] = memory[name] / memory["released"]
        rows.append(row)
    return rows


def arithmetic(config: RunConfig) -> float:
    """Useful GFLOP of one training step: the plain paths' convolutions and products, counted.

    Each discriminator pass once; what chunked attention computes again is not counted.
    """
    # of a batch of two, as it grows with the batch; exact takes fp32 and the plain paths
    small = replace(config, batch_size=2, exact=True, precision="fp32", threads=1)
    with train.threads(1), FlopCounterMode(display=False) as counter:
        state = train.start(small, torch.device("cpu"))
        for _ in range(small.n_dis):
            train.d_step(state, _images(2, small.resolution))
        train.g_step(state, _images(2, small.resolution))
    return counter.get_total_flops() * config.batch_size / 2 / 1e9


def _images(n: int, resolution: int) -> Tensor:
    return to_unit(faces.render(range(n), resolution, seed=0))


def _that_fit(case: Case, machine: Machine, say) -> Iterable[tuple[str, Callable]]:
    """(implementation, how to build it) for all whose attention maps fit into free memory."""
    device = torch.device(machine.device)
    needed = MAPS_HELD * _map_bytes(case)
    for name, (_, changes) in IMPLEMENTATIONS.items():
        if name in ("released", "plain") and needed > 0.8 * free_memory(device):
            say(f"{case}: {name} left out, it needs about {needed / 1e9:.0f} GB of memory")
            continue
        config = case.config(machine.threads, **changes)
        side = Released if name == "released" else Ours
        yield name, lambda side=side, config=config: side(config, device)


def _map_bytes(case: Case) -> int:
    """Bytes of one float32 attention map of the batch, summed over all attention layers."""
    stages = stages_of(case.architecture, case.resolution)
    n = len(stages.generator)
    sizes = [4 * 2**i for i, s in enumerate(stages.generator) for c in s if c in "FA"]
    sizes += [2 ** (n + 1 - i) for i, s in enumerate(stages.discriminator) for c in s if c in "FA"]
    sizes += [case.resolution] * (stages.output == "F")
    return sum(4 * case.batch_size * size**4 for size in sizes)


def _warm(make: Callable, real: Tensor, device: torch.device):
    """(a side that has taken two steps, the peak memory of the second)."""
    memory = PeakMemory(device)
    side = make()
    side.step(real)  # the optimizers' state comes with the first step
    return side, memory.of(lambda: side.step(real))


def _interleaved(sides, real, device, rounds, seconds) -> dict[str, list[float]]:
    # a GPU works behind the clock's back: time several of its steps at once
    repeats = 20 if device.type == "cuda" else 1
    times: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    while len(times[names[0]]) < rounds or sum(map(sum, times.values())) * repeats < seconds:
        for name in names:

            def work(side=sides[name]):
                for _ in range(repeats):
                    side.step(real)

            times[name].append(timed(work, device) / repeats)
        names = names[1:] + names[:1]
    synchronize(device)
    return times
