"""Coherence of the procedural faces: it sees each tie break, and only that one."""

import math

import pytest
import torch

from fagan.evaluate import coherence
from fagan.evaluate.ties import _agreement, _signal
from fagan.faces import render

N = 400


@pytest.fixture(scope="module")
def real():
    return render(range(N), 32, seed=1)


@pytest.fixture(scope="module")
def other():
    return render(range(N), 32, seed=2)


def test_real_faces_keep_both_ties(real, other):
    scores, kinds = coherence(other, real), ("coherence", "signal")
    assert scores.keys() == {f"{kind}_{tie}" for kind in kinds for tie in ("eyes", "outfit")}
    assert all(value == pytest.approx(1, abs=0.12) for value in scores.values()), scores


@pytest.mark.parametrize("tie, kept", [("eyes", "outfit"), ("outfit", "eyes")])
def test_one_broken_tie_is_seen_and_the_other_stays(real, other, tie, kept):
    broken = render(range(N), 32, seed=2, mismatch=tie)
    scores = coherence(broken, real)
    assert abs(scores[f"coherence_{tie}"]) < 0.12
    assert scores[f"coherence_{kept}"] == pytest.approx(1, abs=0.08)
    assert all(scores[f"signal_{t}"] > 0.8 for t in (tie, kept))
    half = torch.cat([broken[: N // 2], other[N // 2 :]])
    assert 0.3 < coherence(half, real)[f"coherence_{tie}"] < 0.7


def test_a_coherence_without_a_signal_is_told(real):
    """What looks coherent and is not: equal images and few images."""
    equal = coherence(torch.full_like(real, 120), real)
    collapsed = coherence(real[:10].repeat(N // 10, 1, 1, 1), real)
    for tie in ("eyes", "outfit"):
        assert math.isnan(equal[f"coherence_{tie}"]) and equal[f"signal_{tie}"] < 1e-3
        assert collapsed[f"signal_{tie}"] < 0.1


def test_what_is_kept_of_one_reference_is_not_taken_for_another(real, other):
    scores = coherence(other, real)
    assert coherence(other, real[: N // 2]) != scores and coherence(other, real) == scores


def test_agreement_equals_its_definition():
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(30, 3, generator=g).double(), torch.rand(30, 3, generator=g).double()
    b = (a + b) / 2
    tied = sum(abs(a[i, c] - b[i, c]) for i in range(30) for c in range(3)) / 30
    apart = [
        abs(a[i, c] - b[j, c]) for i in range(30) for j in range(30) for c in range(3) if i != j
    ]
    assert _agreement(a, b) == pytest.approx(float(1 - tied / (sum(apart) / (30 * 29))))


def test_what_holds_no_ties_is_no_reference(real):
    with pytest.raises(ValueError, match="tie its eyes"):
        coherence(real, torch.full_like(real, 7))
    with pytest.raises(ValueError, match="against a reference"):
        coherence(real[..., :16, :16], real)


def test_a_signal_is_the_root_mean_square_of_what_no_other_patch_explains():
    red = torch.tensor([[0.1, 0, 0], [0.3, 0, 0]], dtype=torch.double).repeat(20, 1)
    colours = {"a": red, "b": red, "ground": torch.zeros(40, 3, dtype=torch.double)}
    # chroma (r - g, (r + g) / 2 - b) about its mean: ±0.1 and ±0.05 in both patches
    assert _signal(colours, ("a", "b")) == pytest.approx(((0.1**2 + 0.05**2) / 2) ** 0.5)
