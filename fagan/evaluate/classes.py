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
    of the class's generated images that a linear discriminant takes for it, fitted on half of the
    real images, the mean over both halves; recognised_real: the same of the real images of the
    other half. NaN where a side has fewer than two images, or a class fewer than two real ones.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # 1 s: only here
    from sklearn.model_selection import StratifiedKFold

    real, known = ref.features, ref.labels
    hits, hits_real = torch.full((2, len(labels)), math.nan), torch.full((len(known),), math.nan)
    if torch.bincount(known, minlength=len(ref.classes)).min() > 1:
        halves = StratifiedKFold(2).split(real, known)
        for i, (half, other) in enumerate(halves):
            judge = LinearDiscriminantAnalysis().fit(real[half].numpy(), known[half].numpy())
            hits[i] = torch.from_numpy(judge.predict(features.numpy())).eq(labels)
            hits_real[other] = (
                torch.from_numpy(judge.predict(real[other].numpy())).eq(known[other]).float()
            )
    rows = []
    for i, name in enumerate(ref.classes):
        ours, theirs = features[labels == i], real[known == i]
        enough = min(len(ours), len(theirs)) > 1
        distance = frechet_distance(statistics(ours), statistics(theirs)) if enough else math.nan
        rows.append(
            {
                "class_name": name,
                METRICS[ref.extractor][0]: distance,
                "recognised": hits[:, labels == i].mean().item(),
                "recognised_real": hits_real[known == i].mean().item(),
                "n_fake": len(ours),
                "n_real": len(theirs),
            }
        )
    return rows
