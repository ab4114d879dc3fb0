"""A step that a GPU can run ahead with: no synchronisation, one graph, compiled networks.

No GPU can be had here. What a CUDA graph demands of a step (one buffer for its batches, nothing
that moves in memory, nothing that asks the device) is held on the CPU; the capture is not run.
"""

from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from test_train import CPU, cache, config, real_images  # noqa: F401
from torch.utils._python_dispatch import TorchDispatchMode

from fagan import train
from fagan.data import Batches
from fagan.train import graph, steps

CUDA = torch.device("cuda")


class Synchronisations(TorchDispatchMode):
    """The operators that a host waits for: those that bring a number or a size back to it."""

    BRING_BACK = (
        "_local_scalar_dense item nonzero nonzero_static is_nonzero masked_select equal unique_dim "
        "_unique _unique2 unique_consecutive bincount allclose"
    ).split()

    def __init__(self):
        super().__init__()
        self.found, self.seen = [], 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, operator.overloadpacket.__name__
        self.seen += 1
        # tensors made of Python's numbers or NumPy's are lifted, and copied to the device
        copied = name == "_to_copy" and kwargs.get("device", args[0].device) != args[0].device
        if copied or name in (*self.BRING_BACK, "lift_fresh"):
            self.found.append(name)
        # a boolean index is a nonzero in disguise
        if name in ("index", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        ):
            self.found.append("index by a mask")
        return operator(*args, **kwargs)


def batches(flip=False):
    images = torch.randint(0, 256, (12, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    return Batches(images.to(torch.uint8), 4, 0, flip=flip)


@pytest.mark.parametrize(
    ("loss", "precision"),
    [("hinge", "fp32"), ("relativistic-hinge", "bf16"), ("standard", "fp32")],
)
def test_no_step_waits_for_the_device(loss, precision):
    state, images = train.start(config(loss=loss, precision=precision, n_dis=2), CPU), batches(True)
    with Synchronisations() as mode:
        for _ in range(3):
            train.step_once(state, images)
    # Indices and flips of each batch come from NumPy. On CUDA they are copied from pinned memory
    # (Batches._moved), which the device does by itself when it gets there: nobody waits.
    assert mode.seen > 1000 and mode.found == ["lift_fresh"] * 2 * 6


def test_no_update_asks_for_a_number(monkeypatch):
    """On the meta device there is none, and .cpu() and .tolist() are errors."""
    state = train.start(config(loss="relativistic-hinge"), CPU)
    for network in (state.generator, state.discriminator):
        network.to("meta")
    state.sums = state.sums.to("meta")
    monkeypatch.setattr(train.State, "draw", lambda *_: torch.empty(4, 16, device="meta"))
    for optimizer in (state.optimizer_g, state.optimizer_d):  # the test before has seen its step
        monkeypatch.setattr(optimizer, "step", lambda: None)
    real = torch.empty(2, 4, 3, 16, 16, device="meta")
    steps.update(state, real)
    monkeypatch.setattr(steps, "g_step", lambda *_: state.sums.tolist())
    with pytest.raises(NotImplementedError):
        steps.update(state, real)


def test_what_waits_is_seen():
    x = torch.ones(3)
    with Synchronisations() as mode:
        bool(x[0] > 0)  # as .item() does
        x.to("meta")  # as .cpu() does of a tensor on a device
        x[x > 0]
        torch.tensor(0.5)
    assert mode.found == ["_local_scalar_dense", "_to_copy", "index by a mask", "lift_fresh"]


class OnCPU(graph.Replayed):
    """Its buffer and its order of calls, without streams and without a capture."""

    def _plain(self):
        self.function(*self.tensors)

    def _captured(self):
        return lambda: self.function(*self.tensors)


def captured(state):
    state.replayed = OnCPU(partial(steps.update, state), state.latents)
    return state


def tensors(state):
    """Everything that a step changes, by name."""
    networks = ("generator", "discriminator", "average")
    found = {
        f"{name} {key}": value
        for name in networks
        for key, value in getattr(state, name).state_dict().items()
    }
    for name in ("optimizer_g", "optimizer_d"):
        for i, values in getattr(state, name).state_dict()["state"].items():
            found |= {f"{name} {i} {key}": value for key, value in values.items()}
    return found | {"sums": state.sums, "latents": state.latents.get_state()}


def differing(one, other):
    one, other = tensors(one), tensors(other)
    assert one.keys() == other.keys() and len(one) > 100
    return [name for name, value in one.items() if not torch.equal(value, other[name])]


def test_a_step_from_the_graphs_buffer_is_the_step_bit_for_bit(tmp_path):
    plain, replayed = (train.start(config(n_dis=2), CPU) for _ in range(2))
    captured(replayed)
    images, paths = batches(True), (tmp_path / "checkpoint.pt", tmp_path / "previous.pt")
    for step in range(graph.WARM_UP + 3):
        train.step_once(plain, images)
        train.step_once(replayed, images)
        if step == 1:
            train.save(replayed, paths)
    assert replayed.replayed.replay and differing(plain, replayed) == []
    # and where it goes on from a checkpoint, warmed up anew
    resumed = captured(train.start(config(n_dis=2), CPU))
    assert train.restore(resumed, paths)
    while resumed.step < plain.step:
        train.step_once(resumed, images)
    assert differing(plain, resumed) == []


def test_nothing_that_a_step_changes_moves_in_memory():
    """A graph writes where its tensors were when it was captured."""
    state, images = captured(train.start(config(), CPU)), batches()
    for _ in range(graph.WARM_UP):
        train.step_once(state, images)
    # the average is no part of the graph, and reads the generator where it is
    before = {k: v.data_ptr() for k, v in tensors(state).items() if k != "latents"}
    buffer = state.replayed.tensors[0].data_ptr()
    for _ in range(2):
        train.step_once(state, images)
    assert before == {k: v.data_ptr() for k, v in tensors(state).items() if k != "latents"}
    assert state.replayed.tensors[0].data_ptr() == buffer


def test_what_cannot_be_captured_is_not():
    assert graph.is_captured(config(device="auto"), CUDA)
    assert not graph.is_captured(config(), CPU) and train.start(config(), CPU).replayed is None
    for changes in ({"graph": "off"}, {"exact": True}, {"released": True}):
        assert not graph.is_captured(config(**changes), CUDA)


def test_a_capture_that_fails_is_a_line_and_the_run_goes_on(monkeypatch):
    @contextmanager
    def refused(*_, **__):
        yield
        raise RuntimeError("operation not permitted when stream is capturing\nCompile with ...")

    made = SimpleNamespace(register_generator_state=lambda generator: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: made)
    monkeypatch.setattr(torch.cuda, "graph", refused)
    said, calls = [], []

    class Refused(graph.Replayed):
        stream = None

        def _plain(self):
            calls.append("plain")

    step = Refused(lambda batches: calls.append("captured"), None, said.append)
    for _ in range(graph.WARM_UP + 2):
        step(torch.zeros(1))
    assert calls == ["plain"] * graph.WARM_UP + ["captured"] + ["plain"] * 2
    assert said == [
        "no CUDA graph: operation not permitted when stream is capturing; "
        "the steps are launched one by one"
    ]


@pytest.mark.slow
def test_compiled_networks_take_the_same_steps(monkeypatch):
    """Traced by torch.compile, run by PyTorch: the code that Inductor writes takes minutes."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    said = []
    small = partial(config, architecture="C F | F C")
    plain, fast = (train.start(small(compile=c), CPU, said.append) for c in ("off", "networks"))
    assert fast.run_g is not fast.generator and plain.run_d is plain.discriminator and said == []
    found = []
    for state in (plain, fast):
        loss, *_ = train.d_step(state, real_images())
        found.append([loss, *(p.grad for p in state.discriminator.parameters())])
        loss = train.g_step(state, real_images())
        found[-1] += [loss, *(p.grad for p in state.generator.parameters())]
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_without_a_compiler_there_is_a_line_and_the_networks_as_they_are(monkeypatch):
    def none(_):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", none)
    said = []
    state = train.start(config(compile="networks"), CPU, said.append)
    assert said == ["compile=networks: no compiler works here (no C++ compiler); it is left off"]
    assert (state.run_g, state.run_d) == (state.generator, state.discriminator)
