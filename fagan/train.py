"""The training loop: a discriminator step, a generator step, an average, a record.

Two time-scale Adam (TTUR), the losses of `fagan.losses`, a moving average of the generator's
weights for everything that is scored or shown. On the CPU a run's numbers depend on its
configuration alone: batches are a function of (seed, step), latents come from one generator that
the checkpoint holds, and scores draw from generators of their own.
"""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fagan import data, environment, evaluate
from fagan.config import RunConfig, UserError
from fagan.losses import LOSSES
from fagan.models import Discriminator, Generator, alphas, build, parameters
from fagan.records import HISTORY, RunRecord, read_json, refuse_other_config

# Scores and sample grids use it in every run of every ablation: arms meet the same latents.
EVALUATION_SEED = 1_000_003
GRID = 64
LOGGED = ("loss_d", "loss_g", "d_real", "d_fake")


class Diverged(Exception):
    """A loss, a logit or an image is NaN or infinite."""


@dataclass
class State:
    """Everything that a step changes."""

    config: RunConfig
    device: torch.device
    generator: Generator
    discriminator: Discriminator
    average: Generator  # moving average of the generator's weights
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer
    latents: torch.Generator
    step: int = 0
    logged_step: int = 0
    sums: Tensor = field(default_factory=lambda: torch.zeros(len(LOGGED)))  # since logged_step

    @property
    def images_seen(self) -> int:
        return self.step * self.config.n_dis * self.config.batch_size

    def draw(self) -> Tensor:
        """Latents of one batch, (B, latent_size)."""
        shape = (self.config.batch_size, self.config.latent_size)
        return torch.randn(shape, generator=self.latents, device=self.device)


def start(config: RunConfig, device: torch.device) -> State:
    """Fresh networks and optimizers of a configuration."""
    # channels last: convolutions are faster in it, and attention reads it as tokens without a copy
    generator, discriminator = (
        network.to(device, memory_format=torch.channels_last) for network in build(config)
    )

    def adam(network: nn.Module, rate: float) -> torch.optim.Optimizer:
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(network.parameters(), rate, betas, fused=device.type == "cuda")

    return State(
        config=config,
        device=device,
        generator=generator,
        discriminator=discriminator,
        average=deepcopy(generator).requires_grad_(False).eval(),
        optimizer_g=adam(generator, config.lr_g),
        optimizer_d=adam(discriminator, config.lr_d),
        latents=torch.Generator(device).manual_seed(config.seed),
        sums=torch.zeros(len(LOGGED), device=device),
    )


def d_step(state: State, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One update of the discriminator; returns (loss, mean real logit, mean fake logit)."""
    loss_of = LOSSES[state.config.loss].discriminator
    with precision(state.config, state.device):
        with torch.no_grad():
            fake = state.generator(state.draw())
        on_real, on_fake = state.discriminator(real), state.discriminator(fake)
    on_real, on_fake = on_real.float(), on_fake.float()
    loss = loss_of(on_real, on_fake)
    state.optimizer_d.zero_grad(set_to_none=True)
    loss.backward()
    state.optimizer_d.step()
    return loss.detach(), on_real.detach().mean(), on_fake.detach().mean()


def g_step(state: State, real: Tensor) -> Tensor:
    """One update of the generator; returns its loss. Relativistic losses look at `real` too."""
    loss_of = LOSSES[state.config.loss]
    on_real = None
    with frozen(state.discriminator), precision(state.config, state.device):
        if loss_of.needs_real:
            with torch.no_grad():
                on_real = state.discriminator(real).float()
        on_fake = state.discriminator(state.generator(state.draw()))
    loss = loss_of.generator(on_real, on_fake.float())
    state.optimizer_g.zero_grad(set_to_none=True)
    loss.backward()
    state.optimizer_g.step()
    return loss.detach()


def step_once(state: State, batches: data.Batches) -> None:
    """n_dis discriminator steps, one generator step, the average; no synchronisation."""
    config = state.config
    for k in range(config.n_dis):
        real = batches.at(state.step * config.n_dis + k)
        loss_d, on_real, on_fake = d_step(state, real)
    loss_g = g_step(state, real)
    state.sums += torch.stack((loss_d, loss_g, on_real, on_fake))
    state.step += 1
    # until it has seen a few times its own horizon, the average forgets the random start faster
    decay = min(config.ema, state.step / (state.step + 9)) if config.ema else 0.0
    update_average(state.average, state.generator, decay)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * network; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for ours, theirs in zip(average.buffers(), network.buffers(), strict=True):
        ours.copy_(theirs)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """No gradients for the network's parameters; gradients still flow through it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def precision(config: RunConfig, device: torch.device):
    """Autocast to bfloat16 where the configuration asks for it."""
    if config.precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def pick_device(config: RunConfig) -> torch.device:
    """The device that `config.device` means here."""
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise UserError("device=cuda, but PyTorch sees no CUDA device here; use device=cpu or auto")
    return torch.device("cuda" if cuda and config.device != "cpu" else "cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """A fixed number of CPU threads: sums round differently with another."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------------------------- one run


def train(config: RunConfig, folder: Path | str, say=print) -> dict[str, Any]:
    """Train, score and record one run; continue where a checkpoint is. Returns metrics.json.

    A finished run is returned as it stands. `say` gets a line per evaluation.
    Raises UserError where the folder holds another configuration's run.
    """
    record = RunRecord(Path(folder))
    device = pick_device(config)
    refuse_other_config(record.folder, config)
    done = read_json(record.folder / "metrics.json")
    if done is not None:
        say(f"{config.run_id} is {done['status']} already")
        return done
    with threads(config.threads):
        images, scorer = data.load(config, "train"), Scorer(config, device)
        state = start(config, device)
        checkpoint = record.folder / "checkpoint.pt"
        resumed = restore(state, checkpoint)
        record.begin(config, _environment(config, device, images, scorer), resumed, state.step)
        if resumed:
            say(f"continuing at step {state.step}")
        batches = data.Batches(
            images.images, config.batch_size, config.seed, flip=config.flip, device=str(device)
        )
        try:
            metrics = _loop(state, batches, record, scorer, say)
            save_weights(state.average, record.weights)
        except (Diverged, evaluate.NotFinite) as error:
            say(f"{config.run_id} diverged at step {state.step}: {error}")
            metrics = {"status": "diverged", "reason": str(error)}
        metrics |= {
            "step": state.step,
            "images_seen": state.images_seen,
            "parameters_generator": parameters(state.generator),
            "parameters_discriminator": parameters(state.discriminator),
        }
        record.finish(**metrics)
        checkpoint.unlink(missing_ok=True)
    return read_json(record.folder / "metrics.json")


def _loop(state: State, batches: data.Batches, record: RunRecord, scorer: "Scorer", say) -> dict:
    config, last = state.config, state.config.steps
    if state.step == 0:
        _record(state, record, scorer.track(state, record, say))
    clock, clock_step, seconds = time.perf_counter(), state.step, _seconds_before(record)
    while state.step < last:
        step_once(state, batches)
        step = state.step
        scored = step % config.eval_every == 0 or step == last
        if step % config.log_every == 0 or scored:
            logged = _means(state)
            spent = time.perf_counter() - clock
            seconds += spent
            rate = (step - clock_step) * config.n_dis * config.batch_size / spent
            scores = scorer.track(state, record, say) if scored else {}
            _record(state, record, logged | scores)
            record.timing(step=step, seconds=round(seconds, 3), images_per_second=round(rate, 2))
            clock, clock_step = time.perf_counter(), step
        if step % config.checkpoint_every == 0 and step < last:
            save(state, record.folder / "checkpoint.pt")
    return {"status": "done", **scorer.final(state, say)}


def _means(state: State) -> dict[str, float]:
    """The logged means since the last row; the one synchronisation of the loop."""
    values = (state.sums / (state.step - state.logged_step)).tolist()
    state.sums.zero_()
    state.logged_step = state.step
    if not all(map(math.isfinite, values)):
        raise Diverged(", ".join(f"{k}={v:g}" for k, v in zip(LOGGED, values, strict=True)))
    return dict(zip(LOGGED, values, strict=True))


def _record(state: State, record: RunRecord, values: dict[str, float]) -> None:
    place = {"step": state.step, "images_seen": state.images_seen}
    record.history(**place, **{k: v for k, v in values.items() if k in HISTORY})
    networks = {"generator": state.generator, "discriminator": state.discriminator}
    record.alpha(
        {**place, "network": network, "layer": layer, "alpha": value}
        for network, module in networks.items()
        for layer, value in alphas(module).items()
    )


def _seconds_before(record: RunRecord) -> float:
    """Training seconds that an interrupted run has spent already."""
    path = record.folder / "timing.csv"
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    return float(rows[-1].split(",")[1]) if rows else 0.0


class Scorer:
    """Scores and sample grids of one run, against one reference."""

    def __init__(self, config: RunConfig, device: torch.device):
        self.config = config
        self.device = str(device)
        self.extractor = evaluate.lite0(device=self.device)
        self.real = data.load(config, "reference")
        self.reference = evaluate.reference(self.real, config.n_real, self.extractor)

    def track(self, state: State, record: RunRecord, say) -> dict[str, float]:
        """Write the sample grid of this step and return the scores for history.csv."""
        config = self.config
        grid = self._sample(state.average, GRID)
        save_grid(grid, record.samples / f"step_{state.step:07d}.png")
        scores = self._score(self._sample(state.average, config.n_track))
        say(
            f"step {state.step}/{config.steps}  fd_lite0 {scores['fd_lite0']:.1f}  "
            f"kid_lite0 {scores['kid_lite0']:.4f}"
        )
        return scores

    def final(self, state: State, say) -> dict[str, Any]:
        """The scores of metrics.json: n_fake images, and FID where the Inception weights are."""
        images = self._sample(state.average, self.config.n_fake)
        scores = self._score(images)
        if evaluate.inception_available():
            extractor = evaluate.inception(device=self.device)
            reference = evaluate.reference(self.real, self.config.n_real, extractor)
            inception = evaluate.score(images, reference, extractor, EVALUATION_SEED)
            scores |= {k: v for k, v in inception.items() if k.startswith(("fid", "kid"))}
            scores["inception_sha256"] = inception["weights_sha256"]
        return scores

    def _sample(self, generator: nn.Module, n: int) -> Tensor:
        return evaluate.sample(
            generator, n, self.config.latent_size, EVALUATION_SEED, device=self.device
        )

    def _score(self, images: Tensor) -> dict[str, Any]:
        scores = evaluate.score(images, self.reference, self.extractor, EVALUATION_SEED)
        if self.config.data == "faces":
            scores |= evaluate.coherence(images, self.real.images)
        return scores


def save_grid(images: Tensor, path: Path) -> None:
    """uint8 (N, 3, R, R) as an 8-column PNG."""
    from torchvision.io import write_png
    from torchvision.utils import make_grid

    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(make_grid(images, nrow=8, padding=0), str(path))


def save_weights(network: nn.Module, path: Path) -> None:
    """The network's tensors as safetensors."""
    from safetensors.torch import save_file

    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    save_file(state, path)


def load_generator(config: RunConfig, path: Path) -> Generator:
    """The generator of a finished run, in eval mode."""
    from safetensors.torch import load_file

    generator = Generator(config)
    generator.load_state_dict(load_file(path))
    return generator.eval()


# --------------------------------------------------------------------------------- checkpoints

_PARTS = ("generator", "discriminator", "average", "optimizer_g", "optimizer_d")


def save(state: State, path: Path) -> None:
    """Everything that continuing needs, written whole or not at all."""
    parts = {name: getattr(state, name).state_dict() for name in _PARTS}
    parts |= {
        "config": state.config.hash,
        "step": state.step,
        "logged_step": state.logged_step,
        "latents": state.latents.get_state(),
        "sums": state.sums,
    }
    temporary = path.with_suffix(".part")
    torch.save(parts, temporary)
    os.replace(temporary, path)


def restore(state: State, path: Path) -> bool:
    """Continue a state from its checkpoint; False where there is none of this configuration."""
    if not path.exists():
        return False
    parts = torch.load(path, map_location=state.device, weights_only=True)
    if parts["config"] != state.config.hash:
        return False
    for name in _PARTS:
        getattr(state, name).load_state_dict(parts[name])
    state.latents.set_state(parts["latents"].cpu())
    state.step, state.logged_step = parts["step"], parts["logged_step"]
    state.sums.copy_(parts["sums"])
    return True


def _environment(
    config: RunConfig, device: torch.device, images: data.ImageSet, scorer: Scorer
) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else environment.processor()
    return environment.describe() | {
        "device": device.type,
        "device_name": name,
        "data_name": images.name,
        "data_checksum": images.checksum,
        "n_train": len(images.images),
        "broken_images": len(images.broken),
        "reference_split": scorer.real.split,
        "reference_checksum": scorer.real.checksum,
    }
