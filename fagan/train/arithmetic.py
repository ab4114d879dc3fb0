"""Where a run computes, with how many threads and in which arithmetic."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch

from fagan.config import RunConfig
from fagan.errors import UserError


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


def precision(config: RunConfig, device: torch.device):
    """Autocast to bfloat16 where the configuration asks for it."""
    if config.precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def layout(config: RunConfig) -> torch.memory_format:
    """Channels last: convolutions are faster in it, and attention reads it as tokens, uncopied."""
    return torch.contiguous_format if config.exact else torch.channels_last


@contextmanager
def fast_matmul(config: RunConfig, device: torch.device) -> Iterator[str]:
    """float32 matrix products by oneDNN where that is exact here; yields "onednn" or "default".

    MKL takes its AVX2 path on AMD processors, at half of oneDNN's speed. The setting that sends
    products to oneDNN also permits it to round to bfloat16, which it does where the processor has
    the instructions: there, and with `exact`, nothing is changed.
    """
    matmul = torch.backends.mkldnn.matmul
    if config.exact or device.type != "cpu" or not onednn_is_exact():
        yield "default"
        return
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        yield "onednn"
    finally:
        matmul.fp32_precision = before


@cache
def onednn_is_exact() -> bool:
    """Does oneDNN keep float32 in matrix products when it is permitted not to? Tried, not guessed.

    Shapes are those of attention and of a wide layer: kernels are chosen by shape.
    """
    if not torch.backends.mkldnn.is_available() or torch.cpu._is_amx_tile_supported():
        return False
    matmul = torch.backends.mkldnn.matmul
    generator = torch.Generator().manual_seed(0)
    before = matmul.fp32_precision
    for shape in ((1024, 8, 1024), (1024, 1024, 64), (256, 256, 128), (512, 512, 512)):
        a, b = (torch.randn(shape[i], shape[i + 1], generator=generator) for i in (0, 1))
        plain = a @ b
        try:
            matmul.fp32_precision = "bf16"
            other = a @ b
        finally:
            matmul.fp32_precision = before
        true = a.double() @ b.double()
        if (other - true).abs().max() > 2 * (plain - true).abs().max():
            return False
    return True
