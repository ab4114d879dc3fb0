"""Coherence: are the long-range ties of the procedural images kept?

The faces hold two exact ties between far places, drawn independently of all else: the left iris has
the colour of the right one, a quarter of the width away, and the headgear has the colour of the
clothes, 0.72 of the height away. The tied patches hold four, 4 to 28 pixels apart. A Fréchet
distance hardly sees them break (real faces 49.4, irises mismatched 52.2 at 64 pixels and
n = 1,500); these scores see nothing else.
"""

from functools import lru_cache

import torch
from torch import Tensor

from fagan import faces, ties

SOURCES = {"faces": faces, "ties": ties}


def coherence(images: Tensor, reference: Tensor, source: str = "faces") -> dict[str, float]:
    """How well `images` keep each tie, relative to real ones.

    images, reference: uint8 (N, 3, R, R) of one resolution, 500 or more of each. source: which set
    the reference is of. Returns for every tie ("eyes" and "outfit" of faces; "4", "8", "16", "28",
    the distance, of ties)
    - `coherence_TIE`: 1 - E|a - b| / E|a - b'|, with b' from another image of the same set, over
      the same of the reference. 1 = tied as in real images, 0 = independent, below 0 = further
      apart than chance. NaN where the patches hold one colour in all images, so that there is no
      chance level.
    - `signal_TIE`: the chroma in the two patches that no other patch (skin, ground, another tie)
      explains, as a root mean square over the reference's. About 1 for real images.

    **Read a coherence only where its signal is above 0.5.** Irises painted over, a heavy blur and
    a collapse to ten images all look coherent, since equal skin is equal too; their signal is near
    0. And a coherence says how well a model ties, not that it needed attention to: a convolutional
    generator can grow both eyes from one z.
    """
    if images.shape[1:] != reference.shape[1:]:
        raise ValueError(
            f"images {tuple(images.shape[1:])} against a reference {tuple(reference.shape[1:])}"
        )
    made, real = _readings(images, source), _kept_readings(reference, source)
    scores = {}
    for name, norm in real.items():
        if name.startswith("coherence") and not norm > 0:
            raise ValueError(f"the reference does not tie its {name[10:]}: it holds no {source}")
        scores[name] = made[name] / norm
    return scores


def _readings(images: Tensor, source: str) -> dict[str, float]:
    """The scores before they are put in relation to real images'."""
    colours, ties = _probes(images, SOURCES[source].probes), SOURCES[source].TIES
    found = {f"coherence_{t}": _agreement(colours[a], colours[b]) for t, (a, b) in ties.items()}
    return found | {f"signal_{t}": _signal(colours, pair) for t, pair in ties.items()}


_kept_readings = lru_cache(maxsize=2)(_readings)  # by the identity of a run's reference


def _probes(images: Tensor, read) -> dict[str, Tensor]:
    parts = [read(part) for part in images.split(1024)]  # floats of 1,024 images at a time
    return {name: torch.cat([part[name] for part in parts]).double() for name in parts[0]}


def _agreement(a: Tensor, b: Tensor) -> float:
    """1 - mean |a_i - b_i| / mean |a_i - b_j|, i != j, of colours (N, 3)."""
    n = len(a)
    tied = (a - b).abs().sum()
    pairs = sum(torch.cdist(part, b, p=1).sum() for part in a.split(1024))
    chance = float(pairs - tied) / (n * (n - 1)) if n > 1 else 0.0
    # a thousandth of a grey level: float rounding of equal images, not a spread of colours
    return 1 - float(tied) / n / chance if chance > 1e-3 / 255 else float("nan")


def _signal(colours: dict[str, Tensor], pair: tuple[str, str]) -> float:
    """Root mean square of the pair's chroma after regressing on all other patches' colours."""
    others = torch.cat([v for k, v in colours.items() if k not in pair], 1)  # (N, 15 or 30)
    others = others - others.mean(0)
    u, s, _ = torch.linalg.svd(others, full_matrices=False)
    u = u[:, s > 1e-6 * max(float(s.max()), 1.0)]  # equal images leave directions of rounding only
    chroma = torch.cat([_chroma(colours[name]) for name in pair], 1)  # (N, 4)
    chroma = chroma - chroma.mean(0)
    return float((chroma - u @ (u.T @ chroma)).square().mean().sqrt())


def _chroma(rgb: Tensor) -> Tensor:
    r, g, b = rgb.unbind(1)
    return torch.stack([r - g, (r + g) / 2 - b], 1)  # (N, 2)
