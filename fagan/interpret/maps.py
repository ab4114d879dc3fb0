"""Attention maps: where one pixel looks, how far, and how sharply.

A map is (..., N, M): for each of N queries, weights over M keys that sum to 1. Positions are
numbered row by row on a grid; a grid of H x W cells covers the image evenly, so a cell of an R x R
image is R / H by R / W pixels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fagan.errors import UserError
from fagan.interpret.recording import Recorded

# Numbers of a map held at once while its statistics are taken: 16 MiB in float32.
BLOCK = 2**22


@dataclass(frozen=True)
class AttentionStatistics:
    """Means over batch, heads and queries.

    entropy        nats; 0 for a map with one key, log M for a uniform one over M keys
    entropy_share  entropy / log M, to compare layers of different sizes; NaN where M = 1
    distance       expected distance from a query to its keys, in image pixels
    """

    entropy: float
    entropy_share: float
    distance: float


def cell_of(pixel: tuple[int, int], grid: tuple[int, int], resolution: int) -> tuple[int, int]:
    """The cell (row, column) of a layer's grid that holds an image's pixel (row, column).

    Raises UserError for a pixel outside the image.
    """
    if not all(0 <= coordinate < resolution for coordinate in pixel):
        raise UserError(f"pixel {tuple(pixel)} is outside an image of {resolution} x {resolution}")
    return tuple(c * cells // resolution for c, cells in zip(pixel, grid, strict=True))


def map_at(recorded: Recorded, pixel: tuple[int, int], resolution: int) -> Tensor:
    """Where the layer looks from an image's pixel (row, column): (B, heads, H', W'), summing to 1.

    H' x W' is the grid of the keys. `resolution`: pixels a side of the image that the network takes
    (discriminator) or makes (generator).
    """
    row, column = cell_of(pixel, recorded.grid, resolution)
    query = row * recorded.grid[1] + column
    return recorded.map_of(slice(query, query + 1)).squeeze(2).unflatten(-1, recorded.key_grid)


def attention_entropy(maps: Tensor) -> Tensor:
    """Entropy of each query's map in nats: maps (..., N, M) -> (..., N), in [0, log M]."""
    return torch.special.entr(maps).sum(-1)


def attention_distance(
    maps: Tensor, query_grid: tuple[int, int], key_grid: tuple[int, int], resolution: int
) -> Tensor:
    """Expected distance of each query from its keys in image pixels: maps (..., N, M) -> (..., N).

    Euclidean, between the centres of the cells, weighted by the map. Where the keys' grid is
    coarser, no key lies at the query and even the sharpest map has a distance above 0.
    Source of the measure: Dosovitskiy et al. 2021 (arXiv 2010.11929), figure 7.
    """
    return _expected_distance(
        maps, cell_centres(query_grid, resolution), cell_centres(key_grid, resolution)
    )


def attention_statistics(
    recorded: Recorded, resolution: int, most: int | None = None
) -> AttentionStatistics:
    """Mean entropy and distance of one recorded pass, without ever holding the whole map.

    most: at most about so many of the positions are asked, spread evenly; all where it is None.
    """
    batch, keys = recorded.key.shape[0], math.prod(recorded.key_grid)
    queries = math.prod(recorded.grid)
    device = recorded.query.device
    starts = cell_centres(recorded.grid, resolution).to(device)
    ends = cell_centres(recorded.key_grid, resolution).to(device)
    entropy = distance = torch.zeros((), dtype=torch.float64, device=device)
    # an odd stride visits every column of a grid whose width is a power of two
    stride = 1 if most is None or queries <= most else -(-queries // most) | 1
    block = stride * max(1, BLOCK // (batch * recorded.heads * keys))
    for start in range(0, queries, block):
        part = slice(start, start + block, stride)
        maps = recorded.map_of(part)  # (B, heads, n, M)
        entropy = entropy + attention_entropy(maps).sum(dtype=torch.float64)
        distance = distance + _expected_distance(maps, starts[part], ends).sum(dtype=torch.float64)
    count = batch * recorded.heads * len(range(0, queries, stride))
    nats = entropy.item() / count
    return AttentionStatistics(
        entropy=nats,
        entropy_share=nats / math.log(keys) if keys > 1 else math.nan,
        distance=distance.item() / count,
    )


def query_dependence(recorded: Recorded, most: int = 64) -> float:
    """How much a map depends on who asks: the mean total variation distance, in [0, 1], between the
    maps of two different queries of one image and head.

    0: every query looks at the same places. 1: no two queries share a key. most: at most about so
    many of the positions are compared with each other, spread evenly. NaN with fewer than two.
    """
    queries = math.prod(recorded.grid)
    # odd, as above
    stride = 1 if queries <= most else -(-queries // most) | 1
    maps = recorded.map_of(slice(None, None, stride))  # (B, heads, n, M)
    n = maps.shape[2]
    distances = torch.cdist(maps, maps, p=1) / 2  # (B, heads, n, n), 0 on the diagonal
    return (distances.mean() * n / (n - 1)).item() if n > 1 else math.nan


def cell_centres(grid: tuple[int, int], resolution: int) -> Tensor:
    """Centres (row, column) of a grid's cells in image pixels, (H * W, 2) in float64."""
    rows, columns = (
        (torch.arange(cells, dtype=torch.float64) + 0.5) * resolution / cells for cells in grid
    )
    return torch.cartesian_prod(rows, columns)


def _expected_distance(maps: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    # exact: cdist's faster way, a matrix product, loses half the digits of a small distance
    distances = torch.cdist(starts, ends, compute_mode="donot_use_mm_for_euclid_dist")  # (N, M)
    return (maps * distances.to(maps)).sum(-1)
