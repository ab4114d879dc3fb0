"""The real side of a score: features of a fixed choice of real images, kept on disk."""

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fagan.data import ImageSet, cache_folder
from fagan.evaluate.distances import Statistics, statistics
from fagan.evaluate.features import Extractor
from fagan.files import replacing

# Counted up when an extractor's code changes the last digits of features: kept ones are made again.
FEATURES_CODE = 2


@dataclass(frozen=True, eq=False)
class Reference:
    """Features of n_real real images, and everything that says which."""

    features: Tensor = field(repr=False)  # float32 (n_real, D)
    statistics: Statistics = field(repr=False)
    name: str
    split: str
    checksum: str  # of the data
    resolution: int
    n_real: int  # images really used: at most what the set holds
    extractor: str
    input_size: int
    weights_sha256: str


def reference(image_set: ImageSet, n_real: int, extractor: Extractor) -> Reference:
    """The reference of a score: n_real images of the set, or all where it holds fewer.

    The choice is random, since folders are often sorted by class, and the same on every call. The
    features are kept under `cache_folder()/features`, keyed by data checksum, resolution, count
    and extractor; a broken file is made again.
    """
    indices = choose(len(image_set.images), n_real)
    resolution = image_set.images.shape[-1]
    key = {
        "code": FEATURES_CODE,
        "data": image_set.checksum,
        "resolution": resolution,
        "images": len(image_set.images),
        "n_real": len(indices),
        "extractor": extractor.name,
        "input_size": extractor.input_size,
        "resize": extractor.resize,
        "weights_sha256": extractor.weights_sha256,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    path = (
        cache_folder()
        / "features"
        / f"{extractor.name}-{extractor.input_size}-n{len(indices)}-{digest}.npz"
    )
    shape = (len(indices), extractor.dim)
    features = _load(path, shape)
    if features is None:
        features = extractor(image_set.images[indices])
        _save(path, features)
    return Reference(
        features=features,
        statistics=statistics(features),
        name=image_set.name,
        split=image_set.split,
        checksum=image_set.checksum,
        resolution=resolution,
        n_real=len(indices),
        extractor=extractor.name,
        input_size=extractor.input_size,
        weights_sha256=extractor.weights_sha256,
    )


def choose(total: int, n: int, seed: int = 0) -> Tensor:
    """min(n, total) of the indices below total, chosen at random by the seed, in rising order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(total, generator=generator)[:n].sort().values


def _load(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """The kept features, or None where there are none that can be trusted."""
    try:
        with np.load(path, allow_pickle=False) as file:  # a zip: each read checks a CRC
            features = file["features"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    if features.dtype != np.float32 or features.shape != shape:
        return None
    return torch.from_numpy(features)


def _save(path: Path, features: Tensor) -> None:
    """Whole or not at all: runs that start together may write the same file."""
    with replacing(path) as file:
        np.savez(file, features=features.numpy())
