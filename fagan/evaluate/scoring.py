"""The real side of a score, kept on disk, and the scores of generated images against it."""

import hashlib
import json
import warnings
import zipfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fagan.data import ImageSet, cache_folder
from fagan.errors import UserError
from fagan.evaluate.distances import Statistics, frechet_distance, kernel_distance, statistics
from fagan.evaluate.features import Extractor
from fagan.files import replacing

# extractor -> what its Fréchet and kernel distances are called. FID means Inception.
METRICS = {
    "lite0": ("fd_lite0", "kid_lite0"),
    "face": ("fd_face", "kid_face"),
    "inception": ("fid", "kid_inception"),
}
# Raise it when an extractor's code changes the last digits of features: kept ones are made again.
FEATURES_CODE = 2
# for a coherence: its signal regresses on 15 colours of faces, on 30 of tied patches
LEAST = {"faces": 32, "ties": 64}


@dataclass(frozen=True, eq=False)
class Reference:
    """Features of n_real real images, and everything that says which."""

    features: Tensor = field(repr=False)  # float32 (n_real, D)
    name: str
    split: str
    checksum: str  # of the data
    resolution: int
    n_real: int  # images really used: at most what the set holds
    extractor: str
    input_size: int
    weights_sha256: str
    classes: tuple[str, ...] = ()
    labels: Tensor | None = field(default=None, repr=False)  # int64 (n_real,)

    @cached_property
    def statistics(self) -> Statistics:
        return statistics(self.features)


def enough_images(train: ImageSet, real: ImageSet) -> None:
    """UserError, with the number that works, where the scores of a run would lack images.

    To be asked before step 0: a run must not train to its end and fail there. A Fréchet distance, a
    kernel distance and the floor, which may have to halve the training images, need two a side.
    """
    if len(train) < 4 or len(real) < 2:
        raise UserError(
            f"{train.name} gives {len(train)} images to train on and {len(real)} to score against: "
            "at least 4 and 2 are needed, and some thousands for a score that means something"
        )
    if real.ties and len(real) < (least := LEAST[real.ties]):
        raise UserError(
            f"n_real={len(real)}: the coherence of {real.ties} needs at least {least} reference "
            f"images; SET=n_real={least}"
        )


def reference(image_set: ImageSet, n_real: int, extractor: Extractor) -> Reference:
    """The reference of a score: n_real images of the set, or all where it holds fewer.

    The choice is random, since folders are often sorted by class, and the same on every call. The
    features are kept under `cache_folder()/features`, keyed by data checksum, resolution, count
    and extractor; a broken file is made again.
    """
    indices = choose(len(image_set), n_real)
    resolution = image_set.images.shape[-1]
    key = {
        "code": FEATURES_CODE,
        "data": image_set.checksum,
        "resolution": resolution,
        "images": len(image_set),
        "n_real": len(indices),
        "extractor": extractor.name,
        "input_size": extractor.input_size,
        "resize": extractor.resize,
        "weights_sha256": extractor.weights_sha256,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    name = f"{extractor.name}-{extractor.input_size}-n{len(indices)}-{digest}.npz"
    path = cache_folder() / "features" / name
    features = _kept(path, (len(indices), extractor.dim))
    if features is None:
        features = extractor(image_set.images[indices])
        with replacing(path) as file:
            np.savez(file, features=features.numpy())
    return Reference(
        features=features,
        name=image_set.name,
        split=image_set.split,
        checksum=image_set.checksum,
        resolution=resolution,
        n_real=len(indices),
        extractor=extractor.name,
        input_size=extractor.input_size,
        weights_sha256=extractor.weights_sha256,
        classes=image_set.classes,
        labels=None if image_set.labels is None else image_set.labels[indices],
    )


def choose(total: int, n: int, seed: int = 0) -> Tensor:
    """min(n, total) of the indices below total, chosen at random by the seed, in rising order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(total, generator=generator)[:n].sort().values


def _kept(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """The kept features, or None where there are none that can be trusted."""
    try:
        with np.load(path, allow_pickle=False) as file:  # a zip: each read checks a CRC
            features = file["features"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    if features.dtype != np.float32 or features.shape != shape:
        return None
    return torch.from_numpy(features)


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
    features = extractor(fakes) if features is None else features
    return {
        **_distances(features, ref, extractor, seed, kid),
        "n_fake": len(fakes),
        "n_real": ref.n_real,
        "extractor": extractor.name,
        "input_size": extractor.input_size,
        "resize": extractor.resize,
        "split": ref.split,
        "eval_seed": seed,
        "weights_sha256": extractor.weights_sha256,
    }


def floor(train: ImageSet, ref: Reference, n: int, extractor: Extractor, seed: int = 0) -> dict:
    """The score of real images: what a perfect generator would get at these sizes.

    n training images, chosen by the seed, against the reference. Where the reference had to be
    taken from the training images (its split is theirs), two disjoint halves of them are compared
    instead, so that no image meets itself. Returns `fd_lite0_floor`, `kid_lite0_floor` (or
    `fid_floor`, `kid_inception_floor`), and n_fake and n_real as really used. Fewer images raise a
    Fréchet floor: compare it with scores of the same sizes.
    """
    _check_same(ref, extractor)
    if ref.split == train.split:
        generator = torch.Generator().manual_seed(seed)
        one, other = torch.randperm(len(train), generator=generator).chunk(2)
        chosen, other = one[:n], other[: ref.n_real]
        ref = replace(ref, features=extractor(train.images[other]), n_real=len(other))
    else:
        chosen = choose(len(train), n, seed)
    distances = _distances(extractor(train.images[chosen]), ref, extractor, seed)
    floors = {f"{name}_floor": distances[name] for name in METRICS[extractor.name]}
    return floors | {"n_fake": len(chosen), "n_real": ref.n_real}


def _distances(
    fake: Tensor, ref: Reference, extractor: Extractor, seed: int, kid: bool = True
) -> dict[str, float]:
    frechet, kernel = METRICS[extractor.name]
    if extractor.name == "inception":
        values = _by_torchmetrics(fake, ref.features, seed, kid)
    else:
        values = [frechet_distance(statistics(fake), ref.statistics)]
        if kid:
            generator = torch.Generator().manual_seed(seed)
            values += kernel_distance(fake, ref.features, generator=generator)
    return dict(zip((frechet, kernel, f"{kernel}_std"), values, strict=False))


class _Given(nn.Identity):
    """Features in the place of the network that torchmetrics would ask for them."""

    def __init__(self, dim: int):
        super().__init__()
        self.num_features = dim


def _by_torchmetrics(fake: Tensor, real: Tensor, seed: int, kid: bool) -> list[float]:
    """[FID] or [FID, KID, its deviation] of Inception features (N, 2048) and (M, 2048)."""
    from torchmetrics.image.fid import FrechetInceptionDistance  # 5 s: only here
    from torchmetrics.image.kid import KernelInceptionDistance

    network = _Given(fake.shape[1])
    metrics = [FrechetInceptionDistance(network)]
    if kid:
        size = min(1000, len(fake), len(real))
        metrics.append(_quietly(KernelInceptionDistance, network, subset_size=size))
    values = []
    for metric in metrics:
        metric.update(real.double(), real=True)
        metric.update(fake.double(), real=False)
        with torch.random.fork_rng(devices=[]):  # it draws its subsets from the global generator
            torch.manual_seed(seed)
            values += torch.stack([torch.as_tensor(metric.compute())]).flatten().tolist()
    return values


def inception_score(features: Tensor, extractor: Extractor, seed: int = 0) -> dict[str, float]:
    """`inception_score` and its deviation over 10 parts, of Inception's features (N, 2048).

    exp E KL(p(y|x) || p(y)), higher is better: between 1 and the number of classes. It knows no
    reference, and means little on data that are not ImageNet's. Source: Salimans et al.,
    arXiv 1606.03498; computed by torchmetrics.
    """
    from torchmetrics.image.inception import InceptionScore

    metric = _quietly(InceptionScore, nn.Identity())
    metric.update((features @ extractor.classes.T).double())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, deviation = metric.compute()
    return {"inception_score": float(mean), "inception_score_std": float(deviation)}


def _quietly(metric: type, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it holds all features, as we do too
        return metric(*arguments, **options)


def _check_same(ref: Reference, extractor: Extractor) -> None:
    ours = (extractor.name, extractor.input_size, extractor.weights_sha256)
    theirs = (ref.extractor, ref.input_size, ref.weights_sha256)
    if ours != theirs:
        raise ValueError(f"the reference was made with {theirs}, the extractor is {ours}")
