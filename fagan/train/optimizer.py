"""Adam, as PyTorch computes it, without a compiler that nobody asked for."""

from inspect import unwrap

import torch

_Optimizer = torch.optim.Optimizer


class Adam(torch.optim.Adam):
    """torch.optim.Adam that does not import torch._dynamo when it is made.

    PyTorch wraps these methods so that torch.compile leaves them alone, and the wrapper imports
    the whole compiler on its first call: 4 s of every run's start. Nothing here is compiled.
    tests/test_train_speed.py holds its steps to torch.optim.Adam's, bit for bit.
    """

    # with capturable=True PyTorch warns of steps outside a graph; a run's first ones always are
    _warned_capturable_if_run_uncaptured = True

    add_param_group = unwrap(_Optimizer.add_param_group)
    state_dict = unwrap(_Optimizer.state_dict)
    load_state_dict = unwrap(_Optimizer.load_state_dict)
    zero_grad = unwrap(_Optimizer.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))
