"""Scores that need classes: the Inception Score's probabilities, and data with labels."""

import math

import torch
from torch import Tensor

from fagan.evaluate.distances import NotFinite, frechet_distance, statistics


def inception_score(logits: Tensor, splits: int = 10, seed: int = 2020) -> tuple[float, float]:
    """exp E KL(p(y|x) || p(y)): mean and standard deviation over the splits. Higher is better.

    logits: (N, C), of torch-fidelity's layer "logits_unbiased" where the score is to compare with
    the literature's (for probabilities p, give p.log()). The images are shuffled by the seed
    (torch-fidelity's own by default) and cut into `splits` parts, 10 in the literature. Between 1
    (every image the same prediction, however sure) and C (sure of each, and all classes equally
    often). It knows no reference: it sees neither memorisation nor a lack of diversity within
    classes, and means little on data that are not ImageNet's.

    Source: Salimans et al., arXiv 1606.03498, section 4; computed by torch-fidelity's function.
    Raises NotFinite (a ValueError) for NaN or infinity, ValueError for another shape or for splits
    that are not in 1..N.
    """
    if logits.dim() != 2 or not 1 <= splits <= len(logits):
        raise ValueError(f"{splits} splits of logits {tuple(logits.shape)}, which must be (N, C)")
    if not torch.isfinite(logits).all():
        raise NotFinite("the logits hold NaN or infinity")
    from torch_fidelity import metric_isc  # 4 s: only here

    found = metric_isc.isc_features_to_metric(logits.cpu(), splits, shuffle=True, rng_seed=seed)
    return found[metric_isc.KEY_METRIC_ISC_MEAN], found[metric_isc.KEY_METRIC_ISC_STD]


def per_class_frechet(
    fake: Tensor, fake_labels: Tensor, real: Tensor, real_labels: Tensor
) -> list[dict[str, float]]:
    """The Fréchet distance within each class: rows {label, n_fake, n_real, fd}, by rising label.

    fake (N, D), real (M, D): features; the labels are integers (N,) and (M,), those of the fakes
    from the condition that they were made for, or from a classifier. A row for each label on
    either side; fd is NaN, missing, where a side holds fewer than two images of it. Classes are
    small: their distances carry a large bias in 1/n, so compare them at equal n_fake and n_real.

    Source: the intra-FID of Miyato and Koyama, arXiv 1802.05637.
    Raises like `statistics`, and ValueError where labels and features differ in number.
    """
    for labels, features in ((fake_labels, fake), (real_labels, real)):
        if labels.shape != features.shape[:1]:
            raise ValueError(f"labels {tuple(labels.shape)} of {len(features)} images")
    rows = []
    for label in torch.cat([fake_labels, real_labels]).unique().tolist():
        ours, theirs = fake[fake_labels == label], real[real_labels == label]
        enough = min(len(ours), len(theirs)) >= 2
        fd = frechet_distance(statistics(ours), statistics(theirs)) if enough else math.nan
        rows.append({"label": label, "n_fake": len(ours), "n_real": len(theirs), "fd": fd})
    return rows
