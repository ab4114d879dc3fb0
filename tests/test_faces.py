"""The faces are a pure function of (seed, index), and their two ties hold exactly."""

import numpy as np
import pytest
import torch

from fagan.config import UserError
from fagan.faces import attributes, probes, render
from fagan.faces.attributes import OPTIONS

# Faces of seed 0 at 32 pixels as the first version of the painters drew them, chosen so that every
# option of every choice occurs: mean red, green and blue, then the grey of 8 x 8 pixel blocks.
DRAWN = {
    0: ((117.56, 128.07, 89.39), (141.20, 104.97, 118.20, 146.71),
        (97.37, 117.43, 113.68, 118.38), (65.18, 167.10, 156.61, 66.31),
        (91.08, 95.75, 93.27, 93.52)),
    56: ((159.35, 172.95, 136.24), (164.61, 168.57, 155.03, 106.21),
        (187.48, 165.51, 163.89, 131.68), (189.84, 177.12, 174.68, 130.48),
        (164.82, 159.32, 150.08, 109.54)),
    128: ((128.02, 70.99, 108.55), (120.22, 133.93, 132.83, 116.92),
        (107.51, 96.19, 96.15, 106.42), (97.75, 77.04, 79.40, 94.94),
        (97.05, 97.63, 94.92, 91.47)),
    2: ((137.21, 106.54, 94.82), (174.64, 143.15, 121.78, 107.06),
        (165.05, 103.61, 102.22, 93.73), (137.26, 106.17, 121.40, 79.11),
        (97.99, 81.74, 91.19, 79.60)),
    30: ((163.06, 99.00, 110.19), (145.14, 147.16, 141.24, 140.06),
        (129.28, 111.41, 110.47, 132.70), (114.11, 115.11, 116.93, 139.12),
        (107.37, 106.36, 106.72, 122.16)),
    22: ((135.10, 116.83, 108.27), (158.39, 69.90, 76.82, 174.41),
        (117.24, 100.43, 96.27, 122.11), (120.53, 84.21, 88.83, 133.88),
        (158.75, 122.65, 124.80, 171.82)),
    6: ((192.38, 158.21, 161.53), (206.23, 194.76, 195.67, 217.79),
        (170.00, 134.41, 138.23, 179.61), (165.23, 133.42, 148.42, 170.66),
        (177.17, 153.12, 157.36, 189.21)),
    23: ((126.79, 140.24, 120.30), (183.31, 151.06, 140.00, 122.79),
        (178.87, 107.29, 110.23, 124.10), (165.12, 110.75, 110.74, 111.93),
        (126.80, 108.88, 108.95, 104.98)),
}  # fmt: skip


def test_the_faces_are_the_ones_they_have_always_been():
    # Other rounding moves a few values in a million by one grey level; this tolerance sees six of
    # a block's 192 values move by one.
    images = render(list(DRAWN), 32).double()
    for image, (colour, *blocks) in zip(images, DRAWN.values(), strict=True):
        assert torch.allclose(image.mean((1, 2)), torch.tensor(colour).double(), atol=0.03)
        grey = image.mean(0).view(4, 8, 4, 8).mean((1, 3))
        assert torch.allclose(grey, torch.tensor(blocks).double(), atol=0.03)
    found = attributes(list(DRAWN))
    for name, options in OPTIONS.items():  # and the table shows every one
        assert set(found[name].tolist()) == set(range(len(options))), name


def test_a_face_does_not_depend_on_its_batch():
    # more than the 16 of 64 pixels that are painted at once, and the largest seed
    indices, seed = [*range(20), 2**40, 3, 2**32], 2**64 - 1
    together = render(indices, 64, seed)
    assert torch.equal(together.flip(0), render(indices[::-1], 64, seed))
    for place in (0, 15, 16, 20, 22):
        assert torch.equal(together[[place]], render([indices[place]], 64, seed))
    assert torch.equal(together[3], together[21])
    assert not torch.equal(render([0], 64), together[:1])


def test_the_number_of_threads_changes_nothing_and_is_left_alone():
    before, with_one = torch.get_num_threads(), render(range(8), 64)
    try:
        torch.set_num_threads(2)
        assert torch.equal(with_one, render(range(8), 64))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_same_face_at_every_resolution():
    small, large = (render(range(4), resolution).float() for resolution in (32, 256))
    assert (torch.nn.functional.avg_pool2d(large, 8) - small).abs().mean() < 5


def test_what_cannot_be_drawn_is_refused():
    for resolution in (15, 257):
        with pytest.raises(UserError, match=f"not {resolution}"):
            render([0], resolution)
    with pytest.raises(UserError, match="did you mean 'eyes'"):
        render([0], 32, mismatch="eye")
    with pytest.raises(UserError, match="seed -1"):
        render([0], 32, seed=-1)
    for indices in ([-1], [0.5]):
        with pytest.raises(ValueError, match="whole numbers"):
            render(indices, 32)


# The ties


def test_the_ties_are_exact_and_each_mismatch_breaks_one():
    tied = attributes(range(500))
    for mismatch, one, other in (
        ("eyes", "iris_right", "iris_left"),
        ("outfit", "headgear_colour", "clothing_colour"),
    ):
        assert torch.equal(tied[one], tied[other])
        broken = attributes(range(500), mismatch=mismatch)
        assert (broken[one] != broken[other]).any(1).all()
        assert [name for name in tied if not torch.equal(tied[name], broken[name])] == [one]


def test_a_mismatch_changes_only_its_own_pixels():
    tied = render(range(64), 64)
    eyes = (render(range(64), 64, mismatch="eyes") != tied).any(0).any(0)
    rows, columns = eyes.nonzero().unbind(1)
    assert 22 <= rows.min() and rows.max() <= 38 and columns.min() >= 32
    outfit = (render(range(64), 64, mismatch="outfit") != tied).any(0).any(0)
    assert outfit[:24].any() and not outfit[28:].any()


def test_no_attribute_predicts_a_tied_colour():
    found = attributes(range(4000))
    tied = {"iris_left", "iris_right", "headgear_colour", "clothing_colour"}
    rest = [found[name].double().view(4000, -1) for name in found if name not in tied]
    rest = torch.cat(rest, 1)

    def strongest(name: str, others: torch.Tensor) -> float:
        together = torch.cat([found[name].double(), others], 1)
        return torch.corrcoef(together.T)[:3, 3:].abs().max().item()

    assert strongest("iris_left", torch.cat([rest, found["clothing_colour"].double()], 1)) < 0.07
    assert strongest("clothing_colour", rest) < 0.07


def test_the_probes_are_mean_colours_of_their_places():
    # red = x, green = y, blue = 0.25: the mean colour of a patch is its centre
    axis = (torch.arange(64) + 0.5) / 32 - 1
    x, y = axis.expand(64, 64), axis.view(-1, 1).expand(64, 64)
    image = torch.stack([(x + 1) / 2, (y + 1) / 2, torch.full((64, 64), 0.25)])
    centres = {
        "iris_left": (-0.25, -0.045),
        "iris_right": (0.25, -0.045),
        "gear": (0.0, -0.505),
        "cloth": (0.0, 0.93),
        "skin_left": (-0.22, 0.16),
        "skin_right": (0.22, 0.16),
        "background": (0.0, -0.9),
    }
    found = probes(torch.stack([image, 1 - image]))
    assert found.keys() == centres.keys()
    for name, (centre_x, centre_y) in centres.items():
        expected = torch.tensor([(centre_x + 1) / 2, (centre_y + 1) / 2, 0.25])
        assert torch.allclose(found[name][0], expected, atol=2e-3), name
        assert torch.allclose(found[name][1], 1 - expected, atol=2e-3), name


def test_the_probes_read_bytes_as_floats_and_any_number_of_images():
    images = render(range(520), 16)  # more than are read at once
    found, as_floats = probes(images), probes(images.float() / 255)
    last = probes(images[510:])
    for name, colours in found.items():
        assert torch.allclose(colours, as_floats[name], atol=1e-6)
        assert torch.allclose(colours[510:], last[name], atol=1e-6)


def test_the_choices_fall_as_often_as_stated():
    found = attributes(range(8000), seed=7)
    for name, expected in {
        "headgear": (0.5, 0.28, 0.22),
        "glasses": (0.7, 0.15, 0.15),
        "mouth": (0.34, 0.28, 0.18, 0.1, 0.1),
        "front_hair": (0.26, 0.22, 0.26, 0.18, 0.08),
    }.items():
        shares = np.bincount(found[name].numpy(), minlength=len(expected)) / 8000
        assert np.allclose(shares, expected, atol=0.025), name
    # only the short-haired grow beards
    assert (found["back_hair"][found["beard"] > 0] == OPTIONS["back_hair"].index("short")).all()
    assert (found["beard"] > 0).any()
