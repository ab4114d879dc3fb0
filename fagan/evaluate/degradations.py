"""Images made worse in a known way: what a score must notice before it may rank models.

All take and return uint8 (N, 3, H, W) and leave their input as it was. A generator with the same
seed gives the same noise and the same choice at every strength, so that only the strength differs.
"""

import math

import torch
from torch import Tensor

_PIECE = 1024  # images held as floats at a time


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur; sigma in pixels, 0 = none. The kernel reaches 3 sigma, mirrored at the edge.

    Raises ValueError where 3 sigma exceeds the image, or sigma is negative.
    """
    _check(images)
    reach = math.ceil(3 * sigma)
    if not 0 <= reach < min(images.shape[2:]):
        raise ValueError(f"sigma={sigma} for images of {tuple(images.shape[2:])} pixels")
    if reach == 0 or not len(images):
        return images.clone()
    from torchvision.transforms.v2.functional import gaussian_blur  # 2 to 4 s: only here

    size, sigmas = [2 * reach + 1] * 2, [float(sigma)] * 2
    return torch.cat([gaussian_blur(part, size, sigmas) for part in images.split(_PIECE)])


def noise(images: Tensor, std: float, *, generator: torch.Generator) -> Tensor:
    """Independent Gaussian noise in every pixel and channel; std in grey levels of 255.

    Clamped to 0..255, so the pixels' real deviation stays below std near black and white.
    """
    _check(images)
    if std < 0:
        raise ValueError(f"std={std} is negative")
    noisy = torch.empty_like(images)
    for rows in torch.arange(len(images)).split(_PIECE):
        drawn = torch.randn(images[rows].shape, generator=generator) * std
        noisy[rows] = (images[rows] + drawn).round_().clamp_(0, 255).to(torch.uint8)
    return noisy


def contaminated(
    images: Tensor, share: float, other: Tensor, *, generator: torch.Generator
) -> Tensor:
    """round(share * N) of the images, at random places, replaced by images of another kind.

    share: 0 to 1. other: uint8 (M, 3, H, W) of the same size, drawn without replacement; raises
    ValueError where it holds too few. A larger share replaces the same images and more.
    """
    _check(images)
    if other.dtype != torch.uint8 or other.shape[1:] != images.shape[1:]:
        raise ValueError(f"{other.dtype} {tuple(other.shape)} among {tuple(images.shape)} images")
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} is not in 0..1")
    count = round(share * len(images))
    if count > len(other):
        raise ValueError(f"{count} other images wanted, {len(other)} given")
    places = torch.randperm(len(images), generator=generator)[:count]
    chosen = torch.randperm(len(other), generator=generator)[:count]
    mixed = images.clone()
    mixed[places] = other[chosen]
    return mixed


def dropped_classes(images: Tensor, labels: Tensor, dropped) -> Tensor:
    """The images (K, 3, H, W), in order, whose label is not among `dropped`, an iterable of labels.

    labels: integers (N,). K < N, and a Fréchet distance falls with n: cut what you compare to one
    number of images. Raises ValueError where no image would be left.
    """
    _check(images)
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels {tuple(labels.shape)} of {len(images)} images")
    gone = torch.isin(labels, torch.tensor(list(dropped), dtype=labels.dtype))
    if gone.all():
        raise ValueError("every image's class is dropped")
    return images[~gone]


def mode_collapse(images: Tensor, k: int, *, generator: torch.Generator) -> Tensor:
    """N images that are copies of only k, drawn at random, each as often as the others (+-1).

    Raises ValueError where k is not in 1..N. A larger k keeps the same images and more.
    """
    _check(images)
    if not 1 <= k <= len(images):
        raise ValueError(f"k={k} of {len(images)} images")
    kept = torch.randperm(len(images), generator=generator)[:k]
    return images[kept[torch.arange(len(images)) % k]]


def _check(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}"
        )
