"""One step of training and everything that it changes: networks, optimizers, average, latents."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat

import torch
from torch import Tensor, nn

from fagan import data
from fagan.attention import force
from fagan.config import RunConfig
from fagan.losses import LOSSES, gradient_penalty
from fagan.models import Discriminator, Generator, build
from fagan.train.arithmetic import layout, precision
from fagan.train.graph import Replayed, compiled, is_captured
from fagan.train.optimizer import Adam
from fagan.train.processes import averaged, own, share_batch_norm, sum_gradients, whole

LOGGED = ("loss_d", "loss_g", "d_real", "d_fake")


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
    run_g: Callable[[Tensor], Tensor]  # both networks as a step calls them: compiled, if asked for
    run_d: Callable[[Tensor], Tensor]
    replayed: Replayed | None = None  # the updates of a step as a CUDA graph
    step: int = 0
    logged_step: int = 0
    sums: Tensor = field(default_factory=lambda: torch.zeros(len(LOGGED)))  # since logged_step

    @property
    def images_seen(self) -> int:
        return self.step * self.config.n_dis * self.config.batch_size

    def draw(self, labels: Tensor | None = None) -> Tensor:
        """Latents of one batch, (B, latent_size), with labels (B, classes) behind where given.

        Of several processes each draws all of them and takes its own rows.
        """
        shape = (self.config.batch_size, self.config.latent_size)
        latents = own(torch.randn(shape, generator=self.latents, device=self.device))
        return latents if labels is None else torch.cat((latents, labels), dim=1)


def start(config: RunConfig, device: torch.device, say=print) -> State:
    """Fresh networks and optimizers of a configuration; `say` gets a line where it falls back."""
    captured = is_captured(config, device)
    generator, discriminator = (
        network.to(device, memory_format=layout(config)) for network in build(config)
    )

    def adam(network: nn.Module, rate: float) -> torch.optim.Optimizer:
        betas = (config.beta1, config.beta2)
        return Adam(network.parameters(), rate, betas, fused=not config.exact, capturable=captured)

    called = generator, discriminator
    if config.compile == "networks" and (config.r1 or config.r2 or config.classes):
        # a compiled backward pass cannot be differentiated again, and meets vectors that changed
        say("compile=networks: left off, with a gradient penalty or class labels")
    elif config.compile == "networks":
        called = compiled(called, device, say)
    state = State(
        config=config,
        device=device,
        generator=generator,
        discriminator=discriminator,
        average=deepcopy(generator).requires_grad_(False).eval(),
        optimizer_g=adam(generator, config.lr_g),
        optimizer_d=adam(discriminator, config.lr_d),
        latents=torch.Generator(device).manual_seed(config.seed),
        run_g=called[0],
        run_d=called[1],
        sums=torch.zeros(len(LOGGED), device=device),
    )
    share_batch_norm(generator, discriminator)  # not the average: one process alone scores it
    if captured:
        state.replayed = Replayed(partial(update, state), state.latents, say)
    return state


def set_frequencies(state: State, labels: Tensor) -> None:
    """Both generators draw classes as often as the training images, int64 (N,), have them."""
    for network in (state.generator, state.average):
        counts = torch.bincount(labels, minlength=state.config.classes)
        network.frequencies.copy_(counts / len(labels))


def d_step(state: State, real: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
    """One update of the discriminator; returns (loss, mean real logit, mean fake logit).

    labels: one-hot (B, classes) of the real images; the generated ones get the same.
    """
    config, loss_of = state.config, LOSSES[state.config.loss].discriminator
    with precision(config, state.device), _twice_differentiable(state):
        with torch.no_grad():
            fake = state.run_g(state.draw(labels))
        real = real.detach().requires_grad_(config.r1 > 0)
        fake.requires_grad_(config.r2 > 0)
        on_real, on_fake = _judged(state, real, labels), _judged(state, fake, labels)
        loss = loss_of(on_real, on_fake)
        if config.matching_aware:
            # batches are cut at random, so the neighbour's label is a random one
            on_wrong = _judged(state, real, own(whole(labels).roll(1, 0)))
            loss = (loss + loss_of(on_real, on_wrong)) / 2
        if config.r1:
            loss = loss + config.r1 / 2 * averaged(gradient_penalty(on_real, real))
        if config.r2:
            loss = loss + config.r2 / 2 * averaged(gradient_penalty(on_fake, fake))
    state.optimizer_d.zero_grad(set_to_none=True)
    loss.backward()
    sum_gradients(state.discriminator)
    state.optimizer_d.step()
    return loss.detach(), on_real.detach().mean(), on_fake.detach().mean()


def g_step(state: State, real: Tensor, labels: Tensor | None = None) -> Tensor:
    """One update of the generator; returns its loss. Relativistic losses look at `real` too."""
    loss_of = LOSSES[state.config.loss]
    on_real = None
    with frozen(state.discriminator), precision(state.config, state.device):
        if loss_of.needs_real:
            with torch.no_grad():
                on_real = _judged(state, real, labels)
        on_fake = _judged(state, state.run_g(state.draw(labels)), labels)
    loss = loss_of.generator(on_real, on_fake)
    state.optimizer_g.zero_grad(set_to_none=True)
    loss.backward()
    sum_gradients(state.generator)
    state.optimizer_g.step()
    return loss.detach()


def _judged(state: State, images: Tensor, labels: Tensor | None) -> Tensor:
    """Logits of the whole batch, which the losses need; gradients flow to this process's rows."""
    return whole((state.run_d(images) if labels is None else state.run_d(images, labels)).float())


def _twice_differentiable(state: State):
    """Where a gradient is penalised: on CUDA the fused attention has no second derivative."""
    penalised = state.config.r1 > 0 or state.config.r2 > 0
    return force("plain") if penalised and state.device.type == "cuda" else nullcontext()


def update(state: State, batches: Iterable[Tensor], labels: Iterable = repeat(None)) -> None:
    """A discriminator update for every batch, one of the generator, and what is logged of them.

    This is what a CUDA graph holds: shapes never change, and no number decides what is done.
    """
    for real, theirs in zip(batches, labels, strict=False):
        loss_d, on_real, on_fake = d_step(state, real, theirs)
    loss_g = g_step(state, real, theirs)
    state.sums += torch.stack((loss_d, loss_g, on_real, on_fake))


def step_once(state: State, batches: data.Batches) -> None:
    """n_dis discriminator steps, one generator step, the average; no synchronisation."""
    config = state.config
    steps = [state.step * config.n_dis + k for k in range(config.n_dis)]
    tensors = [torch.stack([own(batches.at(i)) for i in steps])]
    if config.classes:
        tensors.append(torch.stack([own(batches.labels_at(i)) for i in steps]))
    if state.replayed:
        state.replayed(*tensors)
    else:
        update(state, *tensors)
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
