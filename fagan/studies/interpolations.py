"""The ways between fixed latents, as a finished generator draws them."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from fagan.data import to_uint8
from fagan.evaluate import evaluating
from fagan.studies.networks import Networks

INTERPOLATIONS = "run_id arm seed frame done images change".split()
BATCH = 64


def slerp(start: Tensor, end: Tensor, share: Tensor | float) -> Tensor:
    """Spherical interpolation: latents (..., D) at a share in [0, 1] of the angle between two.

    A straight line between two normal latents passes nearer to 0 than any latent that a generator
    was trained on; the arc does not (White 2016, arXiv 1609.04468). The length goes evenly from one
    to the other. Where the two point the same or opposite ways there is no arc: the line is taken.
    """
    share = torch.as_tensor(share, dtype=start.dtype)
    lengths = start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True)
    a, b = start / lengths[0], end / lengths[1]
    angle = torch.acos((a * b).sum(-1, keepdim=True).clamp(-1, 1))
    sine = torch.sin(angle)
    direction = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / sine
    arc = torch.lerp(*lengths, share) * direction
    return torch.where(sine < 1e-4, torch.lerp(start, end, share), arc)


def closed_path(latents: Tensor, stops: int, between: int) -> Tensor:
    """Round trips through `stops` latents each: (N * stops, D) -> (stops * between, N, D).

    Trip i starts at latent i and goes on through i + N, i + 2 N, ...; the frame after the last
    would be the first.
    """
    corners = latents.unflatten(0, (stops, -1))  # (stops, N, D)
    legs = zip(corners, corners.roll(-1, dims=0), strict=True)
    shares = torch.arange(between) / between
    return torch.cat([torch.stack([slerp(a, b, s) for s in shares]) for a, b in legs])


def interpolations(
    runs: Sequence[Networks], tracks: int = 8, stops: int = 3, between: int = 8
) -> pd.DataFrame:
    """Round trips of every generator through the first tracks * stops latents of its sample grids.

    One row per frame; columns INTERPOLATIONS. done: the share of the trip before this frame.
    images: uint8 (tracks, R, R, 3). change: mean absolute change from the frame before, the last
    one for the first, in grey levels of 256. Runs without a generator have no rows.
    """
    rows = []
    for run in runs:
        if run.generator is None:
            continue
        path = closed_path(run.latents(tracks * stops), stops, between)  # (frames, N, D)
        # cached: spectral norm divides its weights once, not once a batch
        with torch.no_grad(), evaluating(run.generator), parametrize.cached():
            drawn = [to_uint8(run.generator(z)) for z in path.flatten(0, 1).split(BATCH)]
        made = torch.cat(drawn).unflatten(0, path.shape[:2])  # (frames, N, 3, R, R)
        moved = (made.float() - made.roll(1, dims=0).float()).abs().mean((1, 2, 3, 4))
        for i, (images, change) in enumerate(zip(made, moved.tolist(), strict=True)):
            images = images.permute(0, 2, 3, 1).numpy()
            row = {"frame": i, "done": i / len(made), "images": images, "change": change}
            rows.append(run.key | row)
    return pd.DataFrame(rows, columns=INTERPOLATIONS)
