"""Mean colours of fixed patches: what the long-range ties can be read from.

The patches lie where every face of `render` has the part in question; a generated face is measured
in the same places. A score needs more than agreement (two patches of bare skin agree too), so it is
built from all of the probes, in `fagan.evaluate`.
"""

from functools import lru_cache

import torch
from torch import Tensor

TIES = {"eyes": ("iris_left", "iris_right"), "outfit": ("gear", "cloth")}
_OVERSAMPLING = 8
_CHUNK = 512


def probes(images: Tensor) -> dict[str, Tensor]:
    """Images (N, 3, R, R), uint8 or float in [0, 1] -> mean colours, float32 (N, 3) in [0, 1].

    Keys: iris_left, iris_right (a ring between pupil and rim; left as seen), gear, cloth (both
    shoulders), skin_left, skin_right (the cheeks), background (both upper corners).
    """
    n, channels, height, width = images.shape
    if channels != 3 or height != width:
        raise ValueError(f"probes read (N, 3, R, R) images, not {tuple(images.shape)}")
    patches = _patches(width)
    weights = torch.stack(list(patches.values()), dim=-1).to(images.device)  # (R * R, 7)
    means = torch.empty(n, 3, len(patches), device=images.device)
    for start in range(0, n, _CHUNK):
        some = images[start : start + _CHUNK]
        some = some.float() / 255 if some.dtype == torch.uint8 else some.float()
        means[start : start + _CHUNK] = some.flatten(2) @ weights
    return dict(zip(patches, means.unbind(-1), strict=True))


@lru_cache(maxsize=8)
def _patches(resolution: int) -> dict[str, Tensor]:
    """The weight of every pixel in each patch: float32 (R * R,), sum 1."""
    fine = resolution * _OVERSAMPLING
    axis = (torch.arange(fine, dtype=torch.float64) + 0.5) * (2.0 / fine) - 1
    x, y = axis.view(1, -1), axis.view(-1, 1)

    def share(inside: Tensor) -> Tensor:
        pooled = torch.nn.functional.avg_pool2d(inside.double()[None, None], _OVERSAMPLING)
        return (pooled / pooled.sum()).flatten().float()

    def box(left: float, right: float, top: float, bottom: float) -> Tensor:
        return share((x > left) & (x < right) & (y > top) & (y < bottom))

    def ring(centre_x: float, centre_y: float, inner: float, outer: float) -> Tensor:
        radius = torch.sqrt((x - centre_x) ** 2 + (y - centre_y) ** 2)
        return share((radius >= inner) & (radius <= outer))

    return {
        "iris_left": ring(-0.25, -0.045, 0.04, 0.085),
        "iris_right": ring(0.25, -0.045, 0.04, 0.085),
        "gear": box(-0.2, 0.2, -0.55, -0.46),
        "cloth": (box(-0.56, -0.36, 0.86, 1.0) + box(0.36, 0.56, 0.86, 1.0)) / 2,
        "skin_left": box(-0.30, -0.14, 0.10, 0.22),
        "skin_right": box(0.14, 0.30, 0.10, 0.22),
        "background": (box(-1, -0.8, -1, -0.8) + box(0.8, 1, -1, -0.8)) / 2,
    }
