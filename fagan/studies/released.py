"""What habits of the released code do to finished networks: its samples and its spectral norm."""

from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from torch import nn

from fagan import data, evaluate
from fagan.errors import UserError
from fagan.evaluate import NotFinite
from fagan.records import Runs
from fagan.studies.networks import Networks, recorded_config
from fagan.train import EVALUATION_SEED

MODES = "run_id arm seed n_fake n_real batch fd_eval fd_train".split()
NORMS = "run_id arm seed layer inputs outputs ratio".split()


def train_mode_scores(runs: Runs, networks: Iterable[Networks], batch: int = 64) -> pd.DataFrame:
    """FD-Lite0 of a finished generator's images in eval mode and in train mode; columns MODES.

    The released code draws its samples in train mode, where batch norm takes its statistics from
    the batch at hand. The same latents and batches for both, as many as of an intervention. No rows
    where the reference images are not on this machine; no row where a network's images hold NaN or
    infinity.
    """
    rows, extractor = [], evaluate.lite0()
    for run in networks:
        if run.generator is None:
            continue
        try:
            real = data.load(recorded_config(runs, run.run_id), "reference")
        except UserError:
            break
        reference = evaluate.reference(real, run.config.n_real, extractor)
        n = run.config.n_intervene or run.config.n_track
        row = run.key | {"n_fake": n, "n_real": reference.n_real, "batch": batch}
        try:
            for name, train_mode in (("fd_eval", False), ("fd_train", True)):
                images = evaluate.sample(
                    run.generator,
                    n,
                    run.config.latent_size,
                    EVALUATION_SEED,
                    batch,
                    train_mode=train_mode,
                )
                found = evaluate.score(images, reference, extractor, EVALUATION_SEED, kid=False)
                row[name] = found["fd_lite0"]
        except NotFinite:
            continue
        rows.append(row)
    return pd.DataFrame(rows, columns=MODES)


def released_norms(networks: Sequence[Networks]) -> pd.DataFrame:
    """How far the released spectral norm is off for transposed convolutions; columns NORMS.

    It flattens the weight (inputs, outputs, k, k) along dimension 0, as a convolution's; the matrix
    of a transposed one has its rows along dimension 1. ratio: what it would divide the generators'
    trained weights by, over the correct norm; above 1 it holds the layer back, below 1 it lets go.
    """
    rows = []
    for run in networks:
        modules = run.generator.named_modules() if run.generator is not None else ()
        for name, layer in modules:
            if not isinstance(layer, nn.ConvTranspose2d) or not _is_normed(layer):
                continue
            with torch.no_grad(), evaluate.evaluating(layer):
                weight = layer.weight.double()
            released = torch.linalg.matrix_norm(weight.flatten(1), 2)
            correct = torch.linalg.matrix_norm(weight.transpose(0, 1).flatten(1), 2)
            row = run.key | {"layer": name, "inputs": weight.shape[0], "outputs": weight.shape[1]}
            rows.append(row | {"ratio": (released / correct).item()})
    return pd.DataFrame(rows, columns=NORMS)


def _is_normed(layer: nn.Module) -> bool:
    return "weight" in getattr(layer, "parametrizations", {})
