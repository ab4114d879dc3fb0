"""One run: train, score, record; continue where a checkpoint is."""

import math
import time
from pathlib import Path
from typing import Any

import torch

from fagan import data, environment, evaluate, locks
from fagan.config import RunConfig, refuse_other_config
from fagan.errors import UserError, explained
from fagan.models import parameters
from fagan.records import HISTORY, RUNNER_LOCK, TRAIN_LOCK, RunRecord, read_metrics, tied
from fagan.train import processes
from fagan.train.arithmetic import fast_matmul, pick_device, threads
from fagan.train.checkpoint import restore, save, save_weights
from fagan.train.instruments import Instruments
from fagan.train.launch import launch
from fagan.train.scorer import Scorer
from fagan.train.steps import LOGGED, State, set_frequencies, start, step_once

ORPHAN = 30.0  # seconds in which the kernel of a runner that was killed has ended too


class Diverged(Exception):
    """A loss, a logit or an image is NaN or infinite."""


def train(config: RunConfig, folder: Path | str, say=print) -> dict[str, Any]:
    """Train, score and record one run; continue where a checkpoint is. Returns metrics.json.

    A finished run is returned as it stands. `say` gets a line per evaluation. Raises UserError
    where the folder holds another configuration's run, where another process trains in it (an
    orphan has half a minute to end), and where memory or disk space is short.
    """
    record = RunRecord(Path(folder))
    device = pick_device(config)
    count = _processes(config, device)
    refuse_other_config(record.folder, config)
    try:
        with _explained(config, record), locks.lock(record.folder / TRAIN_LOCK, ORPHAN):
            done = read_metrics(record.folder)
            if done is not None:
                say(f"{config.run_id} is {done['status']} already")
                return done
            if count > 1:
                launch(config, record.folder, count, say)
            else:
                _train(config, device, record, say)
    except locks.Held as error:
        raise UserError(
            f"{record.folder} is in use ({error}): two trainings cannot share it; "
            "wait, or end that one"
        ) from error
    # under the runner the notebook goes on: until it is whole, the training must not be lost
    if locks.holder(record.folder / RUNNER_LOCK) is None:
        record.drop_checkpoints()
    return read_metrics(record.folder)


def take_part(config: RunConfig, folder: Path, say=print) -> None:
    """`train` in one of several processes; whoever launched them holds the run's lock."""
    record = RunRecord(folder)
    with _explained(config, record), processes.joined(pick_device(config)) as device:
        _train(config, device, record, say if processes.rank() == 0 else lambda _: None)


def _processes(config: RunConfig, device: torch.device) -> int:
    """How many are to train this run, each on a GPU; UserError where that cannot be."""
    count = environment.gpus_per_run()
    config.refuse_uneven(count)
    here = torch.cuda.device_count() if device.type == "cuda" else 0
    if count > max(1, here):
        raise UserError(f"GPUS_PER_RUN={count} asks for more than the {here} GPUs of this run")
    return count


def _explained(config: RunConfig, record: RunRecord):
    return explained(
        record.folder,
        f"batch_size={config.batch_size} ({config.resolution} pixels, width {config.width:g}): "
        f"lower batch_size or width, n_fake ({config.n_fake}) if it came with the last scores, "
        "or the runs at once (CORES)",
    )


def _train(config: RunConfig, device: torch.device, record: RunRecord, say) -> None:
    """Write everything from config.json to metrics.json; of several processes the first does."""
    first = processes.rank() == 0
    missing = evaluate.inception_missing()
    if missing:
        say(f"{missing}; this run has fd_lite0 alone")
    with threads(config.threads), fast_matmul(config, device) as matmul:
        images = data.load(config, "train")
        evaluate.enough_images(images, data.load(config, "reference"))
        scorer = Scorer(config, device) if first else None
        state = start(config, device, say)
        if config.classes:
            set_frequencies(state, images.labels)
        resumed = processes.in_turn(restore, state, record.checkpoints, say)
        if first:
            made_with = _environment(config, device, images, scorer) | {"fp32_matmul": matmul}
            record.begin(config, made_with, resumed, state.step)
        if resumed:
            say(f"continuing at step {state.step}")
        batches = data.Batches(
            images.images,
            config.batch_size,
            config.seed,
            flip=config.flip,
            device=str(device),
            labels=images.labels,
            classes=config.classes,
        )
        try:
            instruments = Instruments(state, batches)
            metrics = _loop(state, batches, record, scorer, instruments, say)
            if first:
                record.interventions(scorer.intervene(state))
                scorer.by_class(state, record)
                save_weights(state.average, record.weights)
                save_weights(state.discriminator, record.discriminator)
        except (Diverged, evaluate.NotFinite) as error:
            say(f"{config.run_id} diverged at step {state.step}: {error}")
            metrics = {"status": "diverged", "reason": str(error)}
        metrics |= {
            "step": state.step,
            "images_seen": state.images_seen,
            "parameters_generator": parameters(state.generator),
            "parameters_discriminator": parameters(state.discriminator),
        }
        if first:
            record.finish(**metrics)


def _loop(
    state: State,
    batches: data.Batches,
    record: RunRecord,
    scorer: Scorer | None,
    instruments: Instruments,
    say,
) -> dict:
    config, last, first = state.config, state.config.steps, scorer is not None

    def track() -> dict[str, float]:
        return scorer.track(state, record, say)

    if state.step == 0:
        scores = processes.told(track)
        if first:
            _record(state, record, instruments, scores)
    clock, clock_step, seconds = time.perf_counter(), state.step, _seconds_before(record)
    while state.step < last:
        step_once(state, batches)
        step = state.step
        scored = step % config.eval_every == 0 or step == last
        if step % config.log_every == 0 or scored:
            logged = _means(state) | instruments.gradient_norms()
            spent = time.perf_counter() - clock
            seconds += spent
            rate = (step - clock_step) * config.n_dis * config.batch_size / spent
            scores = processes.told(track) if scored else {}
            row = {"step": step, "seconds": round(seconds, 3), "images_per_second": round(rate, 2)}
            if first:
                _record(state, record, instruments, logged | scores)
                record.append("timing", [row])
            clock, clock_step = time.perf_counter(), step
        if first and (step % config.checkpoint_every == 0 or step == last):
            record.sync()
            save(state, record.checkpoints)
    return {"status": "done", **processes.told(lambda: scorer.final(state))}


def _means(state: State) -> dict[str, float]:
    """The logged means since the last row; the one synchronisation of the loop."""
    values = (state.sums / (state.step - state.logged_step)).tolist()
    state.sums.zero_()
    state.logged_step = state.step
    if not all(map(math.isfinite, values)):
        raise Diverged(", ".join(f"{k}={v:g}" for k, v in zip(LOGGED, values, strict=True)))
    return dict(zip(LOGGED, values, strict=True))


def _record(
    state: State, record: RunRecord, instruments: Instruments, values: dict[str, float]
) -> None:
    place = {"step": state.step, "images_seen": state.images_seen}
    record.append("history", [place | {k: v for k, v in values.items() if k in HISTORY}])
    record.append("alpha", instruments.gates())
    record.append("spectral", instruments.spectral())
    if rows := tied({"step": state.step}, values):
        record.append("ties", rows)


def _seconds_before(record: RunRecord) -> float:
    """Training seconds that an interrupted run has spent already."""
    path = record.folder / "timing.csv"
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    return float(rows[-1].split(",")[1]) if rows else 0.0


def _environment(
    config: RunConfig, device: torch.device, images: data.ImageSet, scorer: Scorer
) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else environment.processor()
    return environment.describe() | {
        "device": device.type,
        "device_name": name,
        "processes": processes.count(),
        "data_name": images.name,
        "data_checksum": images.checksum,
        "n_train": len(images.images),
        "broken_images": len(images.broken),
        **({"classes": list(images.classes)} if images.classes else {}),
        "reference_split": scorer.real.split,
        "reference_checksum": scorer.real.checksum,
    }
