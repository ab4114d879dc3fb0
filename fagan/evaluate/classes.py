"""Scores of each class by itself, and whether the images of a class are recognised as such."""

import math

import torch
from torch import Tensor

from fagan.evaluate.distances import frechet_distance, statistics
from fagan.evaluate.scoring import METRICS, Reference


def by_class(features: Tensor, labels: Tensor, ref: Reference) -> list[dict]:
    """A row for each class of the reference, from features (N, D) and labels int64 (N,) of images.

    The Fréchet distance is that of the class's own images from the real ones of the class: few, so
    compare it between runs of one data set and not with the distance of all. recognised: the share
    of the class's generated images that a linear discriminant of the real ones takes for the class;
    recognised_real: the same of real images, each by a discriminant of the other half. NaN where a
    side has fewer than two images.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # 1 s: only here
    from sklearn.model_selection import cross_val_predict

    real, known, judge = ref.features, ref.labels, LinearDiscriminantAnalysis()
    halves = cross_val_predict(judge, real.numpy(), known.numpy(), cv=2)
    taken = judge.fit(real.numpy(), known.numpy()).predict(features.numpy())
    taken, taken_real = torch.from_numpy(taken), torch.from_numpy(halves)
    rows = []
    for i, name in enumerate(ref.classes):
        ours, theirs = features[labels == i], real[known == i]
        enough = min(len(ours), len(theirs)) > 1
        distance = frechet_distance(statistics(ours), statistics(theirs)) if enough else math.nan
        rows.append(
            {
                "class_name": name,
                METRICS[ref.extractor][0]: distance,
                "recognised": _share(taken[labels == i] == i),
                "recognised_real": _share(taken_real[known == i] == i),
                "n_fake": len(ours),
                "n_real": len(theirs),
            }
        )
    return rows


def _share(hits: Tensor) -> float:
    return hits.float().mean().item()  # NaN of none
