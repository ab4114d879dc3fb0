"""What a run does beside its steps: start, score, read images; and the smallest whole ablation."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from fagan import data, evaluate, faces, models, train
from fagan.bench.machine import Machine
from fagan.bench.scale import measure_scale
from fagan.bench.timing import Parts, fagan, repeated, start_fagan
from fagan.config import RunConfig
from fagan.errors import UserError

ABLATION = "smoke"
RUN = "fagan-seed0"


def measure_parts(machine: Machine, say: Callable[[str], None] = print) -> list[dict]:
    """One row per part: median, least and most of some repetitions, with its unit."""
    with tempfile.TemporaryDirectory() as folder, train.threads(machine.threads):
        rows = []
        for measure in (_data, _evaluation, _instruments, _ablation, _start_up, measure_scale):
            for part, unit, values in measure(Path(folder)):
                row = {"part": part, "value": median(values), "low": min(values)}
                rows.append(row | {"high": max(values), "unit": unit, "n": len(values)})
                say(f"{part}: {row['value']:.3g} {unit}")
    return rows


def _data(folder: Path, n: int = 512, batch: int = 32) -> Parts:
    """JPEG files -> memory-mapped cache -> batches."""
    from PIL import Image

    source = folder / "images"
    source.mkdir()
    for i, image in enumerate(faces.render(range(n), 128, seed=0).permute(0, 2, 3, 1)):
        Image.fromarray(image.numpy()).save(source / f"{i:05d}.jpg")
    config = RunConfig.from_params({"data": "folder", "data_path": str(source), "resolution": 64})
    before = os.environ.get("FAGAN_CACHE")
    os.environ["FAGAN_CACHE"] = str(folder / "cache")
    try:

        def decode():
            shutil.rmtree(folder / "cache", ignore_errors=True)
            data.load(config, "train")

        rates = [n / seconds for seconds in repeated(decode, 3)]
        yield "JPEG of 128 pixels to cached 64", "images/s", rates
        yield "cached images opened", "s", repeated(lambda: data.load(config, "train"))
        images = data.load(config, "train").images.clone()
    finally:
        if before is None:
            del os.environ["FAGAN_CACHE"]
        else:
            os.environ["FAGAN_CACHE"] = before
    batches = data.Batches(images, batch, seed=0)
    steps = 200
    cut = repeated(lambda: [batches.at(step) for step in range(steps)])
    yield "batches of 64 pixels", "images/s", [steps * batch / seconds for seconds in cut]


def _evaluation(folder: Path, n: int = 1024) -> Parts:
    """Sampling, features and distances of a score."""
    config = RunConfig.from_params({"resolution": 32, "width": 0.25})
    generator, _ = models.build(config)

    def sample():
        return evaluate.sample(generator, n, config.latent_size, seed=0)

    yield "sampling fagan, 32 pixels, width 1/4", "images/s", [n / s for s in repeated(sample, 3)]
    images, extractor = sample(), evaluate.lite0()
    seconds = repeated(lambda: extractor(images), 3)
    yield "Lite0 features at 64 pixels", "images/s", [n / s for s in seconds]
    draws = torch.Generator().manual_seed(0)
    for dim in (320, 2048):
        a, b = (
            evaluate.statistics(torch.randn(5_000, dim, generator=draws) * scale)
            for scale in (1.0, 1.1)
        )
        seconds = repeated(lambda a=a, b=b: evaluate.frechet_distance(a, b), 3)
        yield f"Fréchet distance, {dim} features", "s", seconds
    x, y = (torch.randn(5_000, 320, generator=draws) for _ in range(2))

    def kernel():
        evaluate.kernel_distance(x, y, generator=torch.Generator().manual_seed(0))

    yield "kernel distance, 5,000 images of 320 features", "s", repeated(kernel, 3)


def _instruments(folder: Path, steps: int = 10) -> Parts:
    """What reading the layers at a log step costs, as a share of the steps between two of them."""
    config = RunConfig.from_params({"resolution": 32, "width": 0.25, "images": 64, "log_every": 25})
    device = torch.device("cpu")
    batches = data.Batches(faces.render(range(64), 32, seed=0), config.batch_size, seed=0)
    state = train.start(config, device)
    instruments = train.Instruments(state, batches)

    def read():
        instruments.gates(), instruments.spectral(), instruments.gradient_norms()

    step = median(repeated(lambda: train.step_once(state, batches), steps))
    shares = [100 * seconds / (config.log_every * step) for seconds in repeated(read, steps)]
    yield "instruments at every 25th step, fagan, 32 pixels, width 1/4", "% of a step", shares


def _ablation(folder: Path) -> Parts:
    """Two short runs, three analysis pages and the report, from nothing."""
    start = time.perf_counter()
    fagan("ablations", ABLATION, "--results", str(folder / "ablation"))
    yield "smoke ablation, from nothing to its report", "s", [time.perf_counter() - start]


def _start_up(folder: Path, times: int = 3) -> Parts:
    """From the command to the first step of a run, by the files that a run writes."""
    results = folder / "start"
    settings = ["steps=4", "log_every=1", "eval_every=4"]
    options = [word for setting in settings for word in ("--set", setting)]
    fagan("plan", ABLATION, "--seeds", "1", *options, "--results", str(results))
    fagan("prepare", ABLATION, "--results", str(results))
    run = results / ABLATION / "runs" / RUN
    # file -> what has been done once it is there
    marks = {
        "env.json": "run: command to networks and data ready",
        "history.csv": "run: command to step 0 scored",
        "timing.csv": "run: command to the first step done",
    }
    seconds: dict[str, list[float]] = {mark: [] for mark in marks.values()}
    for _ in range(times):
        shutil.rmtree(run, ignore_errors=True)
        start = time.perf_counter()
        process = start_fagan("run", ABLATION, RUN, "--results", str(results))
        waiting = dict(marks)
        while waiting:
            for name in [name for name in waiting if (run / name).exists()]:
                seconds[waiting.pop(name)].append(time.perf_counter() - start)
            if process.poll() is not None and waiting:
                raise UserError(f"the bench's run ended without {', '.join(waiting)}")
            time.sleep(0.005)
        process.wait()
    for mark, values in seconds.items():
        yield mark, "s", values
