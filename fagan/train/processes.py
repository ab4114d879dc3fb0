"""One run in several processes, one for each GPU: which rows are whose, and what is exchanged.

Every process holds the whole data set, draws every batch and all latents from the same seeds and
takes its own rows of them; each computes the loss of the whole batch from the logits of all. So the
run is that of one process up to rounding, and is resumed with any number of them. In a process that
belongs to no group nothing of this does anything.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fagan.evaluate import NotFinite


def count() -> int:
    """The processes of this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0: the first one scores, and writes all records."""
    return dist.get_rank() if count() > 1 else 0


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """In the group of the processes that torchrun started; yields this one's device."""
    backend = "gloo"
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    # so long because the others wait while the first one scores; torchrun ends those of a dead one
    dist.init_process_group(backend, timeout=timedelta(days=1))
    yield device
    dist.destroy_process_group()  # one that failed does not wait for the others, it ends


def own(rows: Tensor) -> Tensor:
    """This process's rows of a whole batch."""
    return rows if count() == 1 else rows.chunk(count())[rank()]


def whole(rows: Tensor) -> Tensor:
    """The rows of the whole batch. Gradients flow to this process's own: `sum_gradients` adds."""
    if count() == 1:
        return rows
    parts = list(_gathered(rows.detach()))
    parts[rank()] = rows
    return torch.cat(parts)


def averaged(mean: Tensor) -> Tensor:
    """The mean over the whole batch of what is a mean over this process's rows."""
    return mean if count() == 1 else whole(mean[None]).mean()


@torch.no_grad()
def sum_gradients(network: nn.Module) -> None:
    """The network's gradients summed over all processes; to the last bit the same in each.

    A sum and no mean: each process's loss is that of the whole batch already. It is one message
    after the backward pass and not DistributedDataParallel, which expects one forward pass for
    each backward: a discriminator's loss has two, and the generator's goes through it frozen.
    """
    if count() == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))


def told(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns in the first process, in all of them; the others only wait.

    NotFinite is raised in all of them too. What else is raised ends the first process, and
    torchrun the others.
    """
    if count() == 1:
        return function(*arguments)
    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = function(*arguments)
        except NotFinite as error:
            found[1] = error
    dist.broadcast_object_list(found, device=torch.device("cpu"))
    if found[1] is not None:
        raise found[1]
    return found[0]


def in_turn(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns; the first process is done with it before the others begin."""
    if rank() > 0:
        told(bool)
    found = function(*arguments)
    if rank() == 0:
        told(bool)
    return found


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that trains with the statistics of the whole batch, as nn.BatchNorm2d would.

    torch.nn.SyncBatchNorm takes no tensors of the CPU and cannot be differentiated twice, as a
    gradient penalty is. All processes have equally many rows.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        dtype = x.dtype
        x = x.to(torch.promote_types(dtype, torch.float32))  # of bfloat16 too
        n = count() * x.numel() // x.shape[1]
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        means, variances = _gathered(torch.stack((mean, variance))).unbind(1)  # (processes, C)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
        scale = (variance + self.eps).rsqrt()
        mean, scale = mean[:, None, None], scale[:, None, None]
        if self.weight is None:
            return ((x - mean) * scale).to(dtype)
        weight, bias = self.weight[:, None, None], self.bias[:, None, None]
        return torch.addcmul(bias, x - mean, weight * scale).to(dtype)


def share_batch_norm(*networks: nn.Module) -> None:
    """Batch norm over the whole batch, in place: modules, their names and their tensors stay."""
    if count() == 1:
        return
    for module in (m for network in networks for m in network.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = _shared(type(module))


@cache
def _shared(norm: type[nn.BatchNorm2d]) -> type[SharedBatchNorm2d]:
    """The kind of batch norm with, in its `super().forward`, that of the whole batch."""
    if norm is nn.BatchNorm2d:
        return SharedBatchNorm2d
    return type(f"Shared{norm.__name__}", (norm, SharedBatchNorm2d), {})


class _Sum(torch.autograd.Function):
    """The sum over all processes, in each of them.

    Each has the gradient of its own rows' part of the loss, and the gradient of a sum that all of
    them use is the sum of these: the same function once more, however often it is differentiated.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def _gathered(x: Tensor) -> Tensor:
    """Every process's x, (processes, *x.shape): a sum in which each has a row of its own."""
    rows = x.new_zeros(count(), *x.shape)
    rows[rank()] = x
    return _Sum.apply(rows)
