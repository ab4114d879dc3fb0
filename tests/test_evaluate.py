"""Distances against closed forms and torch-fidelity; sampling, references, scores."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fagan.data import ImageSet
from fagan.errors import UserError
from fagan.evaluate import (
    Extractor,
    NotFinite,
    Statistics,
    distances,
    enough_images,
    evaluating,
    floor,
    frechet_distance,
    kernel_distance,
    reference,
    sample,
    score,
    statistics,
)
from fagan.evaluate.sampling import draw_latents
from fagan.spectral_norm import spectral_norm


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features(n: int, dim: int = 12, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    g = generator(seed)
    scales = torch.linspace(0.2, 3, dim)
    return torch.randn(n, dim, generator=g) * scales + shift


def gaussian(mean, covariance) -> Statistics:
    mean = torch.as_tensor(mean, dtype=torch.float64)
    return Statistics(mean, torch.as_tensor(covariance, dtype=torch.float64), 100)


# ---------------------------------------------------------------- Fréchet


def test_frechet_of_commuting_covariances():
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator(), dtype=torch.float64)).Q
    a = torch.tensor([4.0, 1.0, 9.0, 0.25, 0.0, 1e-6], dtype=torch.float64)
    b = torch.tensor([1.0, 16.0, 9.0, 0.0, 2.0, 1e3], dtype=torch.float64)
    mean_a, mean_b = torch.zeros(6), torch.arange(6.0)
    distance = frechet_distance(
        gaussian(mean_a, basis * a @ basis.T), gaussian(mean_b, basis * b @ basis.T)
    )
    expected = float((mean_a - mean_b).square().sum() + (a.sqrt() - b.sqrt()).square().sum())
    assert distance == pytest.approx(expected, rel=1e-10)


def test_frechet_where_images_are_fewer_than_features():
    x, y = features(7, 40), features(9, 40, seed=1)
    a, b = statistics(x), statistics(y)
    root = torch.linalg.svdvals((x.double() - a.mean) @ (y.double() - b.mean).T)
    expected = (a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace()
    expected = float(expected - 2 * root.sum() / math.sqrt(6 * 8))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_what_is_no_number_is_named_and_never_scored():
    x = features(10)
    x[3, 2], x[7] = float("nan"), float("inf")
    for measure in (statistics, lambda z: kernel_distance(z, features(10), generator=generator())):
        with pytest.raises(NotFinite, match="2 of 10 images"):
            measure(x)
    with pytest.raises(ValueError, match="below zero"):
        frechet_distance(gaussian([0, 0], [[1, 0], [0, -1]]), gaussian([0, 0], torch.eye(2)))


# ---------------------------------------------------------------- kernel distance


def test_kernel_distance_of_whole_sets_equals_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = features(90), features(90, seed=1, shift=0.2)
    arrays = (z.double().numpy() for z in (x, y))
    expected = fidelity.kernel_mmd(*arrays, kid_kernel="poly", kid_kernel_poly_degree=3)
    mean, deviation = kernel_distance(x, y, 3, 90, generator=generator())
    assert mean == pytest.approx(float(expected), rel=1e-6)
    assert deviation == pytest.approx(0, abs=1e-9)  # one possible subset


@pytest.mark.parametrize("sizes", [(1500, 70, 30), (40, 70, 40)])
def test_kernel_distance_by_matrix_equals_the_definition(sizes):
    n, m, size = sizes
    x, y = features(n).double(), features(m, seed=1).double()
    rows = [torch.stack([torch.randperm(k)[:size] for _ in range(5)]) for k in (n, m)]
    by_matrix = distances._mmd2_by_matrix(x, y, *rows)
    torch.testing.assert_close(by_matrix, distances._mmd2_by_subset(x, y, *rows), rtol=1e-9, atol=0)


def test_what_is_kept_of_one_reference_is_not_taken_for_another():
    x, one, other = features(60), features(80, seed=1), features(80, seed=2, shift=0.5)

    def distance(y, subsets=4):
        return kernel_distance(x, y, subsets, 60, generator=generator())

    first = distance(one)
    assert distance(other) != first and distance(one) == first == distance(one.clone())
    assert distance(one, subsets=3) == distance(one.clone(), subsets=3) != first


def test_kernel_distance_is_seeded_and_capped():
    x, y = features(60), features(200, seed=1, shift=0.5)
    first, again, other = (kernel_distance(x, y, 10, 50, generator=generator(s)) for s in (0, 0, 1))
    assert first == again != other and first[1] > 0
    # capped at the smaller set: the same as asking for its size
    capped = kernel_distance(x, y, 10, 1000, generator=generator())
    assert capped == kernel_distance(x, y, 10, 60, generator=generator())


# ---------------------------------------------------------------- sampling


class Tiny(nn.Module):
    """Batch norm, PyTorch's spectral norm and the released one: all that evaluation could move."""

    def __init__(self, latent_size=20):
        super().__init__()
        self.fc = nn.utils.parametrizations.spectral_norm(nn.Linear(latent_size, 8 * 16))
        self.bn = nn.BatchNorm2d(8)
        self.up = spectral_norm(nn.ConvTranspose2d(8, 3, 4, 2, 1), released=True)

    def forward(self, z):
        x = self.fc(z).view(-1, 8, 4, 4)
        return torch.tanh(5 * self.up(self.bn(x)))


def tiny() -> Tiny:
    torch.manual_seed(3)
    network = Tiny()
    network(torch.randn(32, 20))  # batch norm's averages are no longer the start's
    return network


def test_image_i_depends_on_seed_and_i_alone():
    network = tiny()
    images = sample(network, 9, 20, seed=5, batch=9)
    assert images.shape == (9, 3, 8, 8) and images.dtype == torch.uint8
    assert images.float().std() > 20
    for n, batch in ((9, 2), (4, 4), (9, 1)):
        fewer = sample(network, n, 20, seed=5, batch=batch)
        assert (fewer.int() - images[:n].int()).abs().max() <= 1
    assert not torch.equal(images, sample(network, 9, 20, seed=6))
    # the row, not the position in the stream, also where 16 does not divide the latents
    for size in (1, 20, 128):
        torch.testing.assert_close(draw_latents(3, size, 0), draw_latents(50, size, 0)[:3])
    expected = torch.randn(7, 128, generator=generator(4))
    torch.testing.assert_close(draw_latents(7, 128, 4), expected)


def test_sampling_leaves_the_network_as_it_was_even_where_it_fails():
    network = tiny()
    network.bn.eval()  # a mode of its own, to be kept
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes, rng = [module.training for module in network.modules()], torch.get_rng_state()

    def moved():
        return [k for k, v in network.state_dict().items() if not torch.equal(v, before[k])]

    sample(network, 6, 20, seed=0, batch=4)
    assert not moved()
    with pytest.raises(RuntimeError, match="mine"), evaluating(network):
        assert not any(module.training for module in network.modules())
        network(torch.ones(4, 20))
        assert moved()  # the released norm takes its step in eval mode, too
        raise RuntimeError("mine")
    assert not moved() and modes == [module.training for module in network.modules()]
    assert torch.equal(torch.get_rng_state(), rng)


# ---------------------------------------------------------------- references, scores, floors


class Pixels:
    """A stand-in network: the images' own pixels, and a list of the images it saw."""

    def __init__(self):
        self.seen = []

    def __call__(self, images):
        self.seen += images[:, 0, 0, 0].tolist()
        return images.float().flatten(1)[:, ::16]


def stand_in(**changes) -> Extractor:
    extractor = Extractor("lite0", 8, 12, "none", "ab" * 32, Pixels())
    return replace(extractor, **changes)


def image_set(n=120, seed=0, checksum="c0ffee", split="test") -> ImageSet:
    images = torch.randint(0, 256, (n, 3, 8, 8), generator=generator(seed), dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(n, dtype=torch.uint8)  # its number, to recognise it by
    return ImageSet(images=images, checksum=checksum, split=split, name="noise")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FAGAN_CACHE", str(tmp_path))
    return tmp_path / "features"


def test_a_reference_is_computed_once_and_says_what_it_is(cache):
    data, extractor = image_set(), stand_in()
    first, again = reference(data, 50, extractor), reference(data, 50, extractor)
    chosen = sorted(extractor.network.seen)
    assert len(chosen) == 50 == len(set(chosen))
    assert chosen != list(range(50))  # a folder may be sorted by class
    assert torch.equal(first.features, extractor(data.images[chosen]))
    assert torch.equal(first.features, again.features)
    identity = (first.name, first.split, first.checksum, first.resolution, first.n_real)
    assert identity == ("noise", "test", "c0ffee", 8, 50)
    assert [p.suffix for p in cache.iterdir()] == [".npz"]


@pytest.mark.parametrize(
    ("data", "n", "changed"),
    [
        ({"checksum": "facade"}, 50, {}),
        ({}, 60, {}),
        ({}, 50, {"weights_sha256": "cd" * 32}),
        ({}, 50, {"input_size": 16}),
        ({}, 50, {"resize": "another"}),
    ],
)
def test_the_cache_key_holds_everything_that_matters(cache, data, n, changed):
    reference(image_set(), 50, stand_in())
    extractor = stand_in(network=Pixels(), **changed)
    reference(image_set(**data), n, extractor)
    assert extractor.network.seen and len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("how", ["flipped", "pickle"])
def test_a_broken_cache_file_is_made_again(cache, how):
    data, extractor = image_set(), stand_in()
    first = reference(data, 50, extractor)
    (path,) = cache.iterdir()
    if how == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        np.savez(path, features=np.array([{}], object))
    for seen in (50, 0):
        extractor.network.seen.clear()
        assert torch.equal(reference(data, 50, extractor).features, first.features)
        assert len(extractor.network.seen) == seen


def test_a_score_names_what_it_compared():
    extractor = stand_in()
    ref = reference(image_set(), 500, extractor)
    fakes = image_set(70, seed=1).images
    result = score(fakes, ref, extractor, seed=4)
    made = extractor(fakes)
    fd = frechet_distance(statistics(made), ref.statistics)
    kid, deviation = kernel_distance(made, ref.features, generator=generator(4))
    assert result == {
        "fd_lite0": fd,
        "kid_lite0": kid,
        "kid_lite0_std": deviation,
        "n_fake": 70,
        "n_real": 120,  # what there is, not what was asked for
        "extractor": "lite0",
        "input_size": 8,
        "resize": "none",
        "split": "test",
        "eval_seed": 4,
        "weights_sha256": "ab" * 32,
    }
    shuffled = score(fakes.flip(0), ref, extractor, kid=False)
    assert shuffled["fd_lite0"] == pytest.approx(fd, rel=1e-9) and "kid_lite0" not in shuffled


def test_fid_is_the_name_of_inception_alone():
    extractor = stand_in(name="inception")
    fakes, ref = image_set(50, 1).images, reference(image_set(), 60, extractor)
    state = torch.get_rng_state()
    result, again, other = (score(fakes, ref, extractor, seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert not {"fd_lite0", "kid_lite0"} & result.keys()
    # by torchmetrics, and the same as ours; its subsets, of all 50 of 60, are the seed's
    expected = frechet_distance(statistics(extractor(fakes)), ref.statistics)
    assert result["fid"] == other["fid"] == pytest.approx(expected, rel=1e-6)
    ours, _ = kernel_distance(extractor(fakes), ref.features, generator=generator())
    assert result["kid_inception"] == pytest.approx(ours, abs=3 * result["kid_inception_std"])
    assert again == result and other["kid_inception"] != result["kid_inception"]


def test_scores_of_different_makes_are_refused():
    ref = reference(image_set(), 60, stand_in())
    fakes = image_set(50, 1).images
    for change in ({"name": "inception"}, {"input_size": 16}, {"weights_sha256": "cd" * 32}):
        with pytest.raises(ValueError, match="the reference was made with"):
            score(fakes, ref, stand_in(**change))
    with pytest.raises(ValueError, match="of 4 pixels"):
        score(fakes[..., :4], ref, stand_in())


def test_the_floor_compares_images_that_the_reference_does_not_hold():
    # another split: n of the training images
    extractor = stand_in()
    ref = reference(image_set(), 60, extractor)
    extractor.network.seen.clear()
    train = image_set(200, seed=1, checksum="other", split="train")
    result = floor(train, ref, 80, extractor)
    chosen = extractor.network.seen
    assert len(set(chosen)) == 80
    expected = score(train.images[sorted(chosen)], ref, extractor)
    floors = {f"{name}_floor": expected[name] for name in ("fd_lite0", "kid_lite0")}
    assert result == pytest.approx(floors | {"n_fake": 80, "n_real": 60}, rel=1e-6)

    # a reference of the training images: two halves of them all
    ref = reference(train, 150, extractor)
    for n, expected in ((80, (80, 100)), (120, (100, 100))):
        extractor.network.seen.clear()
        result = floor(train, ref, n, extractor)
        assert (result["n_fake"], result["n_real"]) == expected
        assert len(set(extractor.network.seen)) == sum(expected) == len(extractor.network.seen)


@pytest.mark.parametrize(
    ("n_train", "n_real", "split", "ties", "message"),
    [
        (1, 1, "train", "", "noise gives 1 images to train on and 1 .*at least 4 and 2"),
        (3, 3, "train", "", "noise gives 3 images"),
        (9, 63, "held-out", "ties", "n_real=63: .* ties needs at least 64 .*; SET=n_real=64"),
        (4, 2, "held-out", "", None),
        (4, 4, "train", "", None),
    ],
)
def test_too_few_images_are_refused_and_enough_are_scored(n_train, n_real, split, ties, message):
    """The numbers that pass are those with which nothing fails later."""
    train = image_set(n_train, checksum="train", split="train")
    real = replace(image_set(n_real, seed=1, split=split), ties=ties)
    if message:
        with pytest.raises(UserError, match=message):
            enough_images(train, real)
        return
    enough_images(train, real)
    extractor = stand_in()
    ref = reference(real, 500, extractor)
    assert np.isfinite(floor(train, ref, 2, extractor)["fd_lite0_floor"])
    scores = score(image_set(2, seed=2).images, ref, extractor)
    assert np.isfinite([scores["fd_lite0"], scores["kid_lite0"]]).all()
