"""Scores of generated images against a reference, with everything that makes them comparable."""

import torch
from torch import Tensor

from fagan.data import ImageSet
from fagan.errors import UserError
from fagan.evaluate.distances import frechet_distance, kernel_distance, statistics
from fagan.evaluate.features import Extractor
from fagan.evaluate.references import Reference, choose

# extractor -> what its Fréchet and kernel distances are called. FID means Inception.
METRICS = {"lite0": ("fd_lite0", "kid_lite0"), "inception": ("fid", "kid_inception")}


def score(
    fakes: Tensor,
    ref: Reference,
    extractor: Extractor,
    seed: int = 0,
    kid: bool = True,
    features: Tensor | None = None,
) -> dict:
    """Fréchet and kernel distance of generated images from the reference.

    fakes: uint8 (N, 3, R, R). Returns `fd_lite0`, `kid_lite0`, `kid_lite0_std` (or `fid`,
    `kid_inception`, `kid_inception_std`; the kernel distance only with `kid`), lower is better,
    and beside them n_fake, n_real, extractor, input_size, resize, split, eval_seed and
    weights_sha256. The seed chooses the kernel distance's subsets and nothing else. Where the
    images' features (N, D) by this extractor are at hand, they are taken as they are.

    Raises ValueError where the reference was made with another extractor or resolution.
    """
    _check_same(ref, extractor)
    if fakes.shape[-1] != ref.resolution:
        raise ValueError(f"images of {fakes.shape[-1]} pixels, a reference of {ref.resolution}")
    if features is None:
        features = extractor(fakes)
    elif len(features) != len(fakes):
        raise ValueError(f"{len(features)} features for {len(fakes)} images")
    return {
        **_distances(features, ref.features, extractor, seed, kid, ref.statistics),
        "n_fake": len(fakes),
        "n_real": ref.n_real,
        "extractor": extractor.name,
        "input_size": extractor.input_size,
        "resize": extractor.resize,
        "split": ref.split,
        "eval_seed": seed,
        "weights_sha256": extractor.weights_sha256,
    }


LEAST = 2  # images a side: a covariance needs two


def enough_images(train: ImageSet, real: ImageSet) -> None:
    """UserError, with the number that works, where the scores of a run could not be computed.

    To be asked before step 0: a run must not train to its end and fail there.
    """
    shared = real.split == train.split  # then the floor is between two halves of the training set
    if len(train) < (2 * LEAST if shared else 1) or len(real) < LEAST:
        raise UserError(
            f"{train.name} gives {len(train)} images to train on and {len(real)} to score against; "
            f"the least that can be scored are {2 * LEAST} images in all, and some thousands are "
            "needed for a score that means something"
        )


def floor(train: ImageSet, ref: Reference, n: int, extractor: Extractor, seed: int = 0) -> dict:
    """The score of real images: what a perfect generator would get at these sizes.

    n training images, chosen by the seed, against the reference. Where the reference had to be
    taken from the training images (its split is theirs), two disjoint halves of them are compared
    instead, so that no image meets itself. Returns `fd_lite0_floor`, `kid_lite0_floor` (or
    `fid_floor`, `kid_inception_floor`), and n_fake and n_real as really used. Fewer images raise a
    Fréchet floor: compare it with scores of the same sizes.
    """
    _check_same(ref, extractor)
    total, real = len(train.images), ref.features
    if ref.split == train.split:
        generator = torch.Generator().manual_seed(seed)
        one, other = torch.randperm(total, generator=generator).chunk(2)
        chosen = one[:n]
        real = extractor(train.images[other[: ref.n_real]])
    else:
        chosen = choose(total, n, seed)
    features = extractor(train.images[chosen])
    distances = _distances(features, real, extractor, seed)
    frechet, kernel = METRICS[extractor.name]
    return {
        f"{frechet}_floor": distances[frechet],
        f"{kernel}_floor": distances[kernel],
        "n_fake": len(features),
        "n_real": len(real),
    }


def _distances(fake, real, extractor, seed, kid=True, real_statistics=None) -> dict[str, float]:
    frechet, kernel = METRICS[extractor.name]
    real_statistics = real_statistics or statistics(real)
    values = {frechet: frechet_distance(statistics(fake), real_statistics)}
    if kid:
        generator = torch.Generator().manual_seed(seed)
        mean, deviation = kernel_distance(fake, real, generator=generator)
        values |= {kernel: mean, f"{kernel}_std": deviation}
    return values


def _check_same(ref: Reference, extractor: Extractor) -> None:
    for name, made_with in (
        ("name", ref.extractor),
        ("input_size", ref.input_size),
        ("weights_sha256", ref.weights_sha256),
    ):
        if getattr(extractor, name) != made_with:
            raise ValueError(
                f"the reference was made with {name} {made_with!r}, "
                f"the extractor has {getattr(extractor, name)!r}"
            )
