"""The training loop: a discriminator step, a generator step, an average, a record.

Two time-scale Adam (TTUR), the losses of `fagan.losses`, a moving average of the generator's
weights for everything that is scored or shown. On the CPU a run's numbers depend on its
configuration alone: batches are a function of (seed, step), latents come from one generator that
the checkpoint holds, and scores draw from generators of their own.
"""

from fagan.train.arithmetic import fast_matmul, pick_device, threads
from fagan.train.checkpoint import load_generator, load_weights, restore, save, save_weights
from fagan.train.instruments import Instruments
from fagan.train.loop import train
from fagan.train.scorer import EVALUATION_SEED, drawn, save_grid
from fagan.train.steps import (
    State,
    d_step,
    g_step,
    set_frequencies,
    start,
    step_once,
    update_average,
)
