"""Tied patches: each distance can be broken by itself, and the coherence sees it and no other."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fagan.errors import UserError
from fagan.evaluate import coherence
from fagan.ties import DISTANCES, probes, render

N = 600
score = partial(coherence, source="ties")


@pytest.fixture(scope="module")
def real():
    return render(range(N), 32, seed=1)


@pytest.fixture(scope="module")
def other():
    return render(range(N), 32, seed=2)


def test_an_image_depends_on_its_index_alone(other):
    assert torch.equal(render([599, 0, 7], 32, seed=2), other[[599, 0, 7]])
    assert len(torch.unique(other.flatten(1), dim=0)) == N
    assert not torch.equal(render([0], 32, seed=3), other[:1])


@pytest.mark.parametrize("distance", DISTANCES)
def test_untying_changes_the_right_patch_of_one_pair(distance):
    unit = 2  # pixels, of which 32 are the width
    whole, broken = (render(range(50), 32 * unit, untied=d) for d in (None, distance))
    rows, columns = np.nonzero((whole != broken).any(0).any(0).numpy())
    assert len(set(zip(rows, columns, strict=True))) == (3 * unit) ** 2
    assert columns.min() == (14 + distance // 2) * unit and columns.max() < 31 * unit
    row = 8 * DISTANCES.index(distance) + 2
    assert rows.min() == row * unit and rows.max() == (row + 3) * unit - 1
    # the patch that it was tied to lies so many pixels to the left
    left, right = (probes(whole)[f"{side}_{distance}"] for side in ("left", "right"))
    shifted = whole[:, :, rows.min(), columns.min() - distance * unit]
    assert (shifted / 255 - left).abs().max() < 0.06
    assert (left - right).abs().max() < 0.02  # the grain of two means


def test_pairs_are_independent_of_all_else(other):
    """No colour predicts another pair's or the ground's: correlations of 600 are below 0.16."""
    found = {name: colour.mean(1) for name, colour in probes(other).items()}
    for a in found:
        for b in found:
            tied = a.partition("_")[2] == b.partition("_")[2]
            if not tied and not a.startswith(b[:6]):
                assert abs(np.corrcoef(found[a], found[b])[0, 1]) < 0.16, (a, b)


def test_real_images_keep_every_tie(real, other):
    scores = score(other, real)
    assert {f"{kind}_{d}" for kind in ("coherence", "signal") for d in DISTANCES} == {*scores}
    assert all(value == pytest.approx(1, abs=0.08) for value in scores.values()), scores


@pytest.mark.parametrize("distance", DISTANCES)
def test_one_broken_tie_is_seen_in_proportion_and_no_other(real, other, distance):
    broken = render(range(N), 32, seed=2, untied=distance)
    seen = score(broken, real)
    assert abs(seen[f"coherence_{distance}"]) < 0.08
    assert all(seen[f"signal_{d}"] > 0.9 for d in DISTANCES)
    kept = [seen[f"coherence_{d}"] for d in DISTANCES if d != distance]
    assert kept == pytest.approx([1, 1, 1], abs=0.02)
    some = torch.cat([broken[: N // 4], other[N // 4 :]])
    assert score(some, real)[f"coherence_{distance}"] == pytest.approx(0.75, abs=0.08)


def test_a_coherence_without_a_chance_level_is_undefined(real, other):
    constant = score(torch.full_like(real, 120), real)
    assert all(math.isnan(constant[f"coherence_{d}"]) for d in DISTANCES)
    collapsed = score(other[:10].repeat(N // 10, 1, 1, 1), real)
    blurred = F.interpolate(F.avg_pool2d(other.float(), 16), scale_factor=16).to(torch.uint8)
    for scores in (constant, collapsed, score(blurred, real)):
        assert all(scores[f"signal_{d}"] < 0.5 for d in DISTANCES)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(UserError, match="multiples of 32 pixels"):
        render([0], 40)
    with pytest.raises(UserError, match="distance 5"):
        render([0], 32, untied=5)
