"""Do the scores notice what they must notice? Real images, made worse in known ways."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

import pandas as pd
import torch
from torch import Tensor

from fagan import data, evaluate, faces
from fagan.config import RunConfig
from fagan.data import ImageSet
from fagan.errors import UserError
from fagan.evaluate.references import choose
from fagan.records import Runs
from fagan.studies.networks import recorded_config

# Images a side at most: those of a final score by default.
MOST = 5_000
# Images of every degraded set: three times the features' 320, few enough for 20 sets in seconds.
IMAGES = 1_000
NEIGHBOURS = 5
# blur: sigma in shares of the image's side; noise: grey levels; contamination: share of the images;
# collapse: distinct images left, in shares of all; broken ties: share of faces with unlike eyes
LEVELS = {
    "blur": (1 / 64, 1 / 32, 1 / 16),
    "noise": (4, 8, 16),
    "contamination": (0.05, 0.1, 0.2, 0.5),
    "mode collapse": (1 / 2, 1 / 5, 1 / 20, 1 / 100),
    "broken ties": (0.1, 0.25, 0.5, 1.0),
}
FLOOR = "none"


@dataclass(frozen=True, eq=False)
class RealImages:
    """Two disjoint sets of an ablation's real images: one is scored, one is the reference."""

    scored: ImageSet
    reference: ImageSet

    @property
    def name(self) -> str:
        return self.reference.name


def real_images(runs: Runs) -> RealImages | None:
    """Training images to score against the ablation's reference; None where they are not here.

    Where the reference had to be taken from the training images, the two halves of these. At most
    the reference images of a run and MOST on each side.
    """
    try:
        config = recorded_config(runs, runs.runs["run_id"].iloc[0])
        train, reference = data.load(config, "train"), data.load(config, "reference")
    except UserError:
        return None
    if reference.split != train.split:
        return RealImages(_some(train, config), _some(reference, config))
    order = torch.randperm(len(train), generator=_seeded(0))
    halves = order[: len(train) // 2], order[len(train) // 2 :]
    sides = [
        _some(replace(train, images=train.images[half], checksum=f"{train.checksum}-{i}"), config)
        for i, half in enumerate(halves)
    ]
    return RealImages(*sides)


def _some(images: ImageSet, config: RunConfig) -> ImageSet:
    n = min(MOST, config.n_real, len(images))
    if n == len(images):
        return images
    chosen = images.images[choose(len(images), n)]
    return replace(images, images=chosen, checksum=f"{images.checksum}-{n}")


def degradations(real: RealImages, n: int = IMAGES, seed: int = 0, draws: int = 5) -> pd.DataFrame:
    """Every score of n real images under each of LEVELS, all of the same n images.

    One row per set: kind, level, step (1, 2, ... from mild to severe), n_fake, n_real, the scores
    of `evaluate.score` and `evaluate.manifold_scores`, and for procedural faces those of
    `evaluate.coherence`; "broken ties" has rows for these only. kind "none": the floor, `draws`
    choices of n images, step 0, 1, ...; the first are the images that the other rows degrade. n is
    at most half of the scored images, so that the choices differ.
    """
    n = min(n, len(real.scored) // 2)
    extractor = _Remembering(real.scored)
    ref = evaluate.reference(real.reference, len(real.reference), extractor.extractor)
    rows = []
    for kind, level, step, images in _sets(real, n, seed, draws):
        features = extractor(images)
        scores = evaluate.score(images, ref, extractor.extractor, seed, features=features)
        row = {"kind": kind, "level": level, "step": step}
        row |= {name: scores[name] for name in ("n_fake", "n_real", "fd_lite0", "kid_lite0")}
        # as many real images as degraded ones: balls of the k-th neighbour depend on both numbers
        same = ref.features[choose(len(ref.features), n)]
        k = min(NEIGHBOURS, len(images) - 1, len(same) - 1)
        row |= evaluate.manifold_scores(same, features, k)
        if real.name == "faces":
            row |= evaluate.coherence(images, real.reference.images[:IMAGES])
        rows.append(row)
    return pd.DataFrame(rows)


def _sets(
    real: RealImages, n: int, seed: int, draws: int
) -> Iterator[tuple[str, float, int, Tensor]]:
    """(kind, level, step, images uint8 (n, 3, R, R)), the undegraded ones first."""
    shown = real.scored.images
    for draw in range(draws):
        yield FLOOR, 0.0, draw, shown[choose(len(shown), n, seed + draw)]
    images = shown[choose(len(shown), n, seed)]
    other = {"contamination": _other_kind(real, n)}
    if real.name == "faces":
        eyes = faces.render(range(n), images.shape[-1], faces.TRAIN_SEED, mismatch="eyes")
        other["broken ties"] = eyes
    side = images.shape[-1]
    degrade = evaluate.degradations
    for kind, levels in LEVELS.items():
        for step, level in enumerate(levels, 1):
            generator = _seeded(seed)
            if kind == "blur":
                level = level * side  # pixels
                worse = degrade.blur(images, level)
            elif kind == "noise":
                worse = degrade.noise(images, level, generator=generator)
            elif kind in other:
                worse = degrade.contaminated(images, level, other[kind], generator=generator)
            elif kind == "broken ties":
                continue
            else:
                level = max(1, round(level * n))  # images
                worse = degrade.mode_collapse(images, level, generator=generator)
            yield kind, float(level), step, worse


def _other_kind(real: RealImages, n: int) -> Tensor:
    """n images of another kind: faces upside down among the procedural ones, those elsewhere."""
    if real.name == "faces":
        return real.scored.images[choose(len(real.scored), n, seed=1)].flip(2)
    return faces.render(range(n), real.scored.images.shape[-1], faces.REFERENCE_SEED)


def floor_curve(real: RealImages, seed: int = 0) -> pd.DataFrame:
    """Real against real at n_fake = n_real = n: columns n, fd, kid."""
    scored, reference = _features(real)
    most = min(len(scored), len(reference))
    sizes = [n for n in (50, 100, 200, 500, 1000, 2000, 5000) if n < 0.8 * most] + [most]
    return pd.DataFrame(
        evaluate.floor_curve(scored, reference, sizes, generator=_seeded(seed)),
    )


def extrapolations(real: RealImages, seed: int = 0, share: float = 0.1) -> pd.DataFrame:
    """Fréchet distances of subsets of n real images, as they are and with a `share` contaminated.

    One row per set and n: images ("real images" or the contamination in words), n, fd, and of the
    line through the set's rows in 1/n: value (at infinitely many), slope, standard_error.
    """
    scored, reference = _features(real)
    other = _Remembering()(_other_kind(real, round(share * len(scored))))
    # another seed than the subsets': with theirs, the first subset would hold them all
    places = torch.randperm(len(scored), generator=_seeded(seed + 1))[: len(other)]
    mixed = scored.clone()
    mixed[places] = other
    statistics = evaluate.statistics(reference)
    rows = []
    for name, features in (
        ("real images", scored),
        (f"{100 * share:.0f} % of another kind", mixed),
    ):
        fit = evaluate.extrapolated_frechet(features, statistics, generator=_seeded(seed))
        line = {"value": fit.value, "slope": fit.slope, "standard_error": fit.standard_error}
        rows += [{"images": name, "n": n, "fd": fd} | line for n, fd in fit.points]
    return pd.DataFrame(rows)


def _features(real: RealImages) -> tuple[Tensor, Tensor]:
    """Of both sides, kept on disk between calls."""
    extractor = evaluate.lite0()
    return tuple(
        evaluate.reference(side, len(side), extractor).features
        for side in (real.scored, real.reference)
    )


class _Remembering:
    """An extractor that computes an image's features once, however many sets hold it.

    Those of `known` are kept on disk between processes.
    """

    def __init__(self, known: ImageSet | None = None) -> None:
        self.extractor = evaluate.lite0()
        self._known: dict[bytes, Tensor] = {}
        if known is not None:
            features = evaluate.reference(known, len(known), self.extractor).features
            self._known = dict(zip(_names(known.images), features, strict=True))

    def __call__(self, images: Tensor) -> Tensor:
        names = _names(images)
        new = {name: i for i, name in enumerate(names) if name not in self._known}
        if new:
            made = self.extractor(images[list(new.values())])
            self._known |= dict(zip(new, made, strict=True))
        return torch.stack([self._known[name] for name in names])


def _names(images: Tensor) -> list[bytes]:
    return [blake2b(image.tobytes(), digest_size=16).digest() for image in images.numpy()]


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
