"""A step launched at once: its updates as a CUDA graph, its networks through torch.compile."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fagan.config import RunConfig
from fagan.errors import reason
from fagan.train import processes

# Ordinary calls before the capture: in the first ones cuDNN, cuBLAS and Adam allocate and choose.
WARM_UP = 3


def is_captured(config: RunConfig, device: torch.device) -> bool:
    """Whether a run's steps are to become a CUDA graph.

    `exact` takes no fast path. The released spectral norm replaces its vectors by others, in other
    places of memory, and a graph would go on reading the first. Of several processes no capture has
    been tried.
    """
    if config.exact or config.released or processes.count() > 1:
        return False
    return device.type == "cuda" and config.graph == "auto"


class Replayed:
    """`function(*tensors)`, called as it is three times, from then on replayed as a CUDA graph.

    tensors: images (n_dis, B, 3, R, R) and, with classes, labels (n_dis, B, classes), copied to
    where the graph reads them; every call has the shapes of the first. `generator` is registered
    with the graph: each replay draws on. The first three calls are steps of the run like all
    others, and capturing computes nothing, so that warming up changes no weight, no buffer of batch
    norm or spectral norm and no optimizer that would have to be put back. What the function changes
    stays where it is in memory from the first call on: a checkpoint is loaded before. Where the
    capture fails `say` gets a line, and the calls stay as they are.

    Source: PyTorch's CUDA semantics, whole-network capture; warm-up and capture share one side
    stream, as in torch.cuda.make_graphed_callables.
    """

    def __init__(self, function: Callable[..., None], generator: torch.Generator, say=print):
        self.function = function
        self.generator = generator
        self.say = say
        self.calls = 0
        self.replay: Callable[[], None] | None = None

    def __call__(self, *tensors: Tensor) -> None:
        if self.calls == 0:
            self.tensors = tuple(map(torch.empty_like, tensors))
        for ours, theirs in zip(self.tensors, tensors, strict=True):
            ours.copy_(theirs)
        if self.calls == WARM_UP:
            self.replay = self._captured()
        self.calls += 1
        (self.replay or self._plain)()

    def _plain(self) -> None:
        if self.calls == 1:
            self.stream = torch.cuda.Stream()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.function(*self.tensors)
        torch.cuda.current_stream().wait_stream(self.stream)

    def _captured(self) -> Callable[[], None] | None:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.function(*self.tensors)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.say(f"no CUDA graph: {reason(error)}; the steps are launched one by one")
            return None
        return graph.replay


def compiled(networks: tuple[nn.Module, ...], device: torch.device, say=print) -> tuple:
    """The networks through torch.compile; as they are, and a line, where no compiler works."""
    if processes.count() > 1:
        say("compile=networks: left off, as several processes train this run")
        return networks
    try:
        torch.compile(lambda x: x.sin())(torch.zeros(8, device=device))
    except Exception as error:  # of Triton, of a C++ compiler that is not there, of the system
        say(f"compile=networks: no compiler works here ({reason(error)}); it is left off")
        return networks
    return tuple(map(torch.compile, networks))
