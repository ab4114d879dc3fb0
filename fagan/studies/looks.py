"""Where the attention of trained networks looks, and whether the sign of its gate can matter."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import pandas as pd
import torch
from torch import Tensor, nn

from fagan.data import to_uint8, to_unit
from fagan.evaluate import evaluating
from fagan.interpret import gated_layers, map_at, record
from fagan.layers import Gated
from fagan.studies.networks import Networks

# (row, column) in shares of the image. On an aligned face: the left eye, the clothes beside the
# neck and the background; the two ties of the procedural faces begin at the first two.
POINTS = ((0.48, 0.375), (0.93, 0.27), (0.1, 0.1))
LOOKS = "run_id arm seed network layer alpha query row column image map peak".split()


def attention_looks(
    runs: Sequence[Networks],
    real: Tensor | None,
    points: Sequence[tuple[float, float]] = POINTS,
    index: int = 0,
) -> pd.DataFrame:
    """The map of every attention layer from each point of one image; columns LOOKS.

    The generator makes its image from latent `index` of the sample grids; the discriminator is
    shown real[index], uint8 (N, 3, R, R), or, where real is None, that image. query: 1, 2, ...;
    row, column: the query's pixel. image: uint8 (R, R, 3). map: float64 (H', W') over the keys'
    grid, the mean over heads, summing to 1. peak: its largest weight over that of a uniform map.
    """
    rows = []
    for run in runs:
        for name, network, inputs in _shown(run, real, range(index, index + 1)):
            with torch.no_grad(), evaluating(network), record(network) as records:
                output = network(inputs)
            picture = inputs if inputs.dim() == 4 else output
            image = to_uint8(picture[0]).permute(1, 2, 0).numpy()  # (R, R, 3)
            place = run.key | {"network": name, "image": image}
            for layer, passes in records.items():
                rows += [place | row for row in _maps(layer, passes[-1], points, len(image))]
    return pd.DataFrame(rows, columns=LOOKS)


def _shown(run: Networks, real: Tensor | None, chosen: range):
    """(name, network, its inputs (n, ...)) of the networks that can be shown something."""
    made = None
    if run.generator is not None:
        latents = run.latents(chosen.stop)[chosen.start :]
        yield "generator", run.generator, latents
        if real is None and run.discriminator is not None:
            with torch.no_grad(), evaluating(run.generator):
                made = run.generator(latents)
    images = made if real is None else to_unit(real[chosen.start : chosen.stop])
    if run.discriminator is not None and images is not None:
        yield "discriminator", run.discriminator, images


def _maps(layer: str, recorded, points, resolution: int) -> Iterator[dict]:
    alpha = None if recorded.alpha is None else recorded.alpha.mean().item()
    for query, point in enumerate(points, 1):
        row, column = (int(share * resolution) for share in point)
        weights = map_at(recorded, (row, column), resolution)[0].double().mean(0)  # (H', W')
        yield {
            "layer": layer,
            "alpha": alpha,
            "query": query,
            "row": row,
            "column": column,
            "map": weights.numpy(),
            "peak": float(weights.max() * weights.numel()),
        }


FLIPS = "run_id arm seed network layer kind alpha change".split()


def sign_flips(runs: Sequence[Networks], real: Tensor | None, n: int = 4) -> pd.DataFrame:
    """What the output loses when a layer's alpha and its value change their signs together.

    One row per layer with an alpha that is not 0; columns FLIPS. kind: "full" or "self". change:
    root mean square of the output's change over that of the output, in float64, on the first n
    latents or real images (made ones where real is None). 0: the same function, so that the sign
    of alpha says nothing.
    """
    rows = []
    for run in runs:
        for name, network, inputs in _shown(run, real, range(n)):
            copy, inputs = deepcopy(network).double(), inputs.double()
            with torch.no_grad(), evaluating(copy):
                trained = copy(inputs)
                for label, layer in gated_layers(copy).items():
                    if not hasattr(layer, "alpha") or not layer.alpha.any():
                        continue
                    with flipped(layer):
                        change = copy(inputs) - trained
                    rows.append(
                        run.key
                        | {"network": name, "layer": label, "kind": label.partition(" ")[0]}
                        | {"alpha": layer.alpha.mean().item()}
                        | {"change": _rms(change) / _rms(trained)}
                    )
    return pd.DataFrame(rows, columns=FLIPS)


@contextmanager
def flipped(layer: Gated) -> Iterator[None]:
    """The layer with -alpha and -value, as it was afterwards."""
    project = layer.project  # the weights stay: under spectral norm their sign would cancel

    def negated(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = project(x)
        return query, key, -value

    alpha = layer.alpha
    opposite = -alpha.detach()
    try:
        layer.alpha = nn.Parameter(opposite) if isinstance(alpha, nn.Parameter) else opposite
        layer.project = negated
        yield
    finally:
        layer.alpha = alpha
        del layer.project


def _rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()
