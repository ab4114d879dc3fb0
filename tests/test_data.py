"""Any images become the same tensor on every machine; batches are a function of (seed, step)."""

import multiprocessing
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fagan import faces, ties
from fagan.config import RunConfig
from fagan.data import (
    Batches,
    ImageSet,
    cache,
    decoding,
    load,
    load_all,
    sources,
    to_uint8,
    to_unit,
)
from fagan.errors import UserError


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FAGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FAGAN_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "pictures"
    path.mkdir()
    return path


def config(path: Path | str = "", **changes) -> RunConfig:
    params = {"data": "folder", "data_path": str(path), "resolution": 32, "n_real": 2}
    return RunConfig.from_params(params | changes)


def flat(colour, size=(8, 8), mode="RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def fill(folder: Path, count: int) -> None:
    """Images that can be told apart: number i is grey level i, up to 255."""
    for i in range(count):
        flat((i % 256,) * 3).save(folder / f"{i:03d}.png")


def numbers(found: ImageSet) -> list[int]:
    """Which of `fill`'s images these are."""
    return found.images[:, 0, 16, 16].tolist()


def only(path: Path, **changes) -> torch.Tensor:
    """The one image of a folder as (3, R, R)."""
    (image,) = load(config(path, **changes), "train").images
    return image


# Decoding


def palette() -> Image.Image:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return image


def transparent(image: Image.Image, colour) -> Image.Image:
    image.info["transparency"] = colour
    return image


def of_array(value, dtype) -> Image.Image:
    return Image.fromarray(np.full((8, 8), value, dtype))


MODES = {
    # name: (image, file format, RGB expected, tolerance)
    "1": (flat(1, mode="1"), "png", (255, 255, 255), 0),
    "RGB transparent": (transparent(flat((10, 20, 30)), (10, 20, 30)), "png", (255, 255, 255), 0),
    "CMYK jpeg": (flat((0, 255, 255, 0), mode="CMYK"), "jpg", (255, 0, 0), 3),
    "P gif": (palette(), "gif", (200, 100, 50), 0),
    "P transparent": (transparent(palette(), 1), "png", (255, 255, 255), 0),
    "RGBA": (flat((255, 0, 0, 51), mode="RGBA"), "png", (255, 204, 204), 1),
    # PIL's own conversion would make these white
    "I;16": (of_array(51_400, np.uint16), "png", (200, 200, 200), 0),
    "I": (of_array(32768, np.int32), "tif", (128, 128, 128), 1),
    "F": (of_array(0.5, np.float32), "tif", (128, 128, 128), 1),
    "F to 255": (of_array(128.0, np.float32), "tif", (128, 128, 128), 0),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_rgb(name, folder):
    image, suffix, expected, tolerance = MODES[name]
    image.save(folder / f"image.{suffix}")
    error = only(folder).int() - torch.tensor(expected).view(3, 1, 1)
    assert error.abs().max() <= tolerance


def test_exif_orientation_is_applied(folder):
    upright = Image.new("RGB", (64, 64), "red")
    upright.paste("blue", (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "image.jpg", exif=exif)
    assert only(folder)[:, [4, 28], [4, 4]].argmax(0).tolist() == [2, 0]


@pytest.mark.parametrize("size", [(33, 20), (20, 47)])
def test_the_crop_is_of_whole_pixels_before_the_resize(size, folder):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    image.save(folder / "image.png")
    width, height = image.size
    left, top = (width - min(size)) // 2, (height - min(size)) // 2
    square = image.crop((left, top, left + min(size), top + min(size)))
    for crop, cropped in (("center", square), ("none", image)):
        expected = np.asarray(cropped.resize((32, 32), Image.Resampling.LANCZOS))
        assert (only(folder, crop=crop).numpy() == expected.transpose(2, 0, 1)).all()


DEEP = {
    # name: (value, dtype, suffix, what is told)
    "12 bits in 16": (4_095, np.uint16, "png", "hold 0 to 4,095, of which 65,535 is white"),
    "16 bits": (40_000, np.uint16, "png", ""),
    "white pages": (254, np.uint8, "png", "mean of 25"),
    "black pages": (5, np.uint8, "png", "mean of 5.0 of 255 (8-bit files)"),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_set_that_comes_out_black_or_white_is_told_once(name, folder, caplog):
    value, dtype, suffix, told = DEEP[name]
    values = np.full((20, 20), value, dtype)
    values[0, 0] = 0
    for i in range(6):
        Image.fromarray(values).save(folder / f"{i}.{suffix}")
    load_all(folder, 16)
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == bool(told) and told in "".join(said)
    assert "pictures" in "".join(said) or not told


# Sources


def pack(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def nested(folder: Path) -> None:
    fill(folder, 12)
    for i, place in enumerate(["b ü", "a/deep", "A"]):
        (folder / place).mkdir(parents=True)
        flat((100 + i, 0, 0)).save(folder / place / "x.PNG")


def test_a_zip_is_its_folder(folder, tmp_path):
    nested(folder)
    archive = pack(folder, tmp_path / "pack.zip", "inside/a folder/")
    for split in ("train", "reference"):
        unpacked, packed = load(config(folder), split), load(config(archive), split)
        assert torch.equal(unpacked.images, packed.images)
        assert unpacked.checksum == packed.checksum
        assert (unpacked.name, packed.name) == ("pictures", "pack")
    assert set(os.listdir(tmp_path)) == {"cache", "pack.zip", "pictures"}


def test_names_are_sorted_and_hidden_files_are_left_out(folder, tmp_path):
    nested(folder)
    for junk in ("__MACOSX/a.png", ".hidden/a.png", ".a.png", "notes.txt", "a/labels.csv"):
        (folder / junk).parent.mkdir(exist_ok=True)
        (folder / junk).write_text("no image")
    os.mkfifo(folder / "pipe.png")
    # each folder once, whatever links there
    (folder / "loop").symlink_to(folder)
    (folder / "a" / "up").symlink_to(folder)
    (folder / "linked").symlink_to(folder / "a")
    expected = [*(f"{i:03d}.png" for i in range(12)), "A/x.PNG", "a/deep/x.PNG", "b ü/x.PNG"]
    assert sources.open_source(folder).names == expected
    assert sources.open_source(pack(folder, tmp_path / "pack.zip")).names == expected


def test_where_a_folder_lies_does_not_matter(folder, tmp_path):
    nested(folder)
    before = sources.open_source(folder).identity
    moved = folder.rename(tmp_path / "elsewhere")
    assert sources.open_source(moved).identity == before
    os.utime(moved / "b ü" / "x.PNG", ns=(0, 0))
    assert sources.open_source(moved).identity != before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no folder or zip of images"),
        (lambda path: (path.mkdir(), (path / "a.txt").write_text("")), "no images in"),
        (lambda path: path.write_bytes(b"PK\x03\x04 no zip"), "not a readable zip"),
    ],
)
def test_no_images_are_one_line_that_says_what_to_do(tmp_path, make, message):
    path = tmp_path / "source.zip"
    make(path)
    with pytest.raises(UserError, match=message) as error:
        load(config(path), "train")
    assert "\n" not in str(error.value)


# Broken images


def test_a_few_broken_images_are_named_and_left_out(folder, caplog):
    """Also one whose name is no text: no record breaks, and no line."""
    fill(folder, 300)
    (folder / "100.png").write_text("<html>404</html>")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    odd = os.fsdecode(b"a\nb \xff\xfe \x1b[31m.png")
    (folder / odd).write_bytes(b"no image")
    found, reference = load(config(folder), "train"), load(config(folder), "reference")
    assert sorted(found.broken) == sorted(["100.png", "gone.png", odd])
    assert len(found) + len(reference) == 299
    assert load(config(folder), "train").broken == found.broken  # the cache remembers them
    assert "100.png (not an image)" in caplog.text and "gone.png (No such file" in caplog.text
    assert str(folder) not in caplog.text
    lines = caplog.text.splitlines()
    assert len(lines) == 3 and all(line.isprintable() for line in lines)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def test_more_than_one_percent_broken_is_refused(folder, cache_folder):
    fill(folder, 202)
    for name in ("007", "008", "009"):
        damage(folder / f"{name}.png")
    with pytest.raises(UserError, match=r"3 of 202 images of 'pictures' .*00[789]\.png"):
        load(config(folder), "train")
    assert not list(cache_folder.glob("*.npy")) and not list(cache_folder.glob(".*.tmp"))


def test_a_broken_image_does_not_shorten_a_capped_set(folder):
    fill(folder, 110)
    first = numbers(load(config(folder, images=100), "train"))
    damage(folder / f"{first[3]:03d}.png")
    second = numbers(load(config(folder, images=100), "train"))
    assert len(second) == 100 and second[:-1] == [i for i in first if i != first[3]]


# Splits


@pytest.mark.parametrize(("n_real", "images"), [(10, 0), (10, 7), (11, 0), (30, 7), (500, 0)])
def test_the_reference_is_held_out_where_there_is_enough(folder, n_real, images):
    """Of 40 images: 10 are a fourth, 11 are more, and then the reference is of those trained on."""
    fill(folder, 40)
    wanted = config(folder, n_real=n_real, images=images)
    train, reference = load(wanted, "train"), load(wanted, "reference")
    held_out, places = n_real == 10, set(numbers(reference))
    assert (train.split, reference.split) == ("train", "held-out" if held_out else "train")
    left = 30 if held_out else 40
    assert len(train) == min(images or left, left)
    assert len(places) == len(reference) == min(n_real, 10 if held_out else len(train))
    assert len(set(numbers(train))) == len(train)
    assert not places & set(numbers(train)) if held_out else places <= set(numbers(train))
    assert numbers(reference) != sorted(places)  # a sample, not the first ten
    assert (train.checksum == reference.checksum) == (numbers(train) == numbers(reference))
    # the run's seed has no part in it, nor where it is held out the cap on the training images
    again = config(folder, n_real=n_real, seed=5, images=8 if held_out else images)
    assert load(again, "reference").checksum == reference.checksum


# The cache


@pytest.fixture
def decodings(monkeypatch) -> list:
    """Grows by one with every image that is decoded."""
    seen, real = [], decoding.pixels
    monkeypatch.setattr(decoding, "pixels", lambda *a: (seen.append(0), real(*a))[1])
    return seen


def test_images_are_decoded_once(folder, decodings):
    fill(folder, 20)
    first = load(config(folder), "train")
    second = load(config(folder), "train")
    load(config(folder, n_real=5), "reference")
    assert len(decodings) == 20
    assert torch.equal(first.images, second.images) and first.checksum == second.checksum
    # what changes the pixels makes another set
    load(config(folder, crop="none"), "train")
    load(config(folder, resolution=64), "train")
    flat((9, 9, 9), size=(9, 9)).save(folder / "003.png")
    load(config(folder), "train")
    assert len(decodings) == 80


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("how", ["cut", "zeros", "gone"])
def test_a_damaged_cache_is_made_again(folder, cache_folder, decodings, suffix, how):
    fill(folder, 5)
    before = load(config(folder), "train").images.clone()
    (path,) = cache_folder.glob(f"*{suffix}")
    content = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes(content[:-1] if how == "cut" else bytes(len(content)))
    for _ in range(2):
        assert torch.equal(load(config(folder), "train").images, before)
    assert len(decodings) == 10


def test_a_cache_of_another_shape_is_made_again(folder, cache_folder):
    fill(folder, 5)
    load(config(folder), "train")
    (path,) = cache_folder.glob("*.npy")
    np.save(path, np.zeros((4, 3, 32, 32), np.uint8))
    assert len(load(config(folder), "train")) == 5


def test_what_a_killed_process_left_is_swept_and_a_living_ones_file_stays(folder, cache_folder):
    fill(folder, 5)
    cache_folder.mkdir()
    old, young = cache_folder / ".a.npy.1.tmp", cache_folder / ".b.npy.2.tmp"
    for path in (old, young):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    load(config(folder), "train")
    assert young.exists() and not old.exists()


def load_and_count(path: Path) -> tuple[str, str, int]:
    """In a process of its own: the checksums of both splits, and how many images it decoded."""
    counted, real = [], decoding.pixels

    def slowly(*arguments):
        counted.append(0)
        time.sleep(0.005)
        return real(*arguments)

    decoding.pixels = slowly
    run = config(path, n_real=15)
    return load(run, "train").checksum, load(run, "reference").checksum, len(counted)


def test_two_processes_at_once_decode_once(folder, cache_folder):
    fill(folder, 60)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        one, other = pool.map(load_and_count, [folder, folder], chunksize=1)
    assert one[:2] == other[:2]
    assert one[2] + other[2] == 60
    assert sorted(path.suffix for path in cache_folder.iterdir()) == [".json", ".lock", ".npy"]


def test_no_room_is_one_line_before_anything_is_decoded(folder, tmp_path, monkeypatch):
    fill(folder, 5)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 999}))
        patch.setattr(decoding, "pixels", None)
        with pytest.raises(UserError, match=r"take 15,360 bytes, and .* has 999 free; take fewer"):
            load(config(folder), "train")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FAGAN_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set FAGAN_CACHE"):
        load(config(folder), "train")


def test_the_checksum_is_of_pixels_and_shape(folder):
    fill(folder, 12)
    found = load(config(folder), "train")
    copy = found.images.clone()
    assert found.checksum == cache.checksum(copy) and len(found.checksum) == 12
    copy[5, 1, 2, 3] += 1
    assert found.checksum != cache.checksum(copy) != cache.checksum(copy.view(-1, 3, 64, 16))


# Sources that are not the user's own


@pytest.mark.parametrize("source", [faces, ties])
def test_drawn_images_are_rendered_once_from_two_seeds(source, monkeypatch):
    name = source.__name__.split(".")[1]
    run = RunConfig.from_params({"data": name, "resolution": 32, "images": 12, "n_real": 8})
    train, reference = load(run, "train"), load(run, "reference")
    assert torch.equal(train.images, source.render(range(12), 32, source.TRAIN_SEED))
    assert torch.equal(reference.images, source.render(range(8), 32, source.REFERENCE_SEED))
    assert not torch.equal(train.images[:8], reference.images)
    assert (train.name, train.split, reference.split) == (name, "train", "held-out")
    assert train.ties == reference.ties == name
    monkeypatch.setattr(source, "render", None)
    assert torch.equal(load(run, "train").images, train.images)


class FakeCifar10:
    url = "https://example.org/cifar"

    def __init__(self, root, train, download):
        rng = np.random.default_rng(int(train))
        self.data = rng.integers(0, 256, (60 if train else 30, 32, 32, 3), np.uint8)
        self.targets = (self.data[:, 0, 0, 0] % 10).tolist()


def test_cifar10_keeps_its_published_splits(monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", FakeCifar10)
    run = RunConfig.from_params({"data": "cifar10", "resolution": 32, "n_real": 10})
    train, reference = load(run, "train"), load(run, "reference")
    assert (train.name, train.split, reference.split) == ("cifar10", "train", "test")

    def rows(images):
        return {image.tobytes() for image in images}

    published, test = (FakeCifar10("", part, False).data.transpose(0, 3, 1, 2) for part in (1, 0))
    assert rows(train.images.numpy()) == rows(published) and len(train) == 60
    assert rows(reference.images.numpy()) < rows(test) and len(reference) == 10
    assert rows(reference.images.numpy()) != rows(test[:10])
    for part in ("train", "reference"):
        part = load(run.with_(conditioning="projection", classes=10), part)
        assert part.labels.equal(part.images[:, 0, 0, 0].long() % 10) and part.classes[9] == "truck"
    assert len(load(run.with_(images=25), "train")) == 25
    # a cached set needs the data set no longer
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", None)
    assert load(run, "train").checksum == train.checksum


def test_celeba_is_read_from_where_torchvision_keeps_it(tmp_path, monkeypatch):
    place = tmp_path / "data" / "celeba" / "img_align_celeba"
    place.mkdir(parents=True)
    fill(place, 9)

    class FakeCelebA:
        def __init__(self, root, split, download):
            assert Path(root) == tmp_path / "data"
            self.filename = [f"{i:03d}.png" for i in (range(6) if split == "train" else (6, 7, 8))]

    monkeypatch.setattr(torchvision.datasets, "CelebA", FakeCelebA)
    monkeypatch.setenv("FAGAN_DATA", str(tmp_path / "data"))
    run = RunConfig.from_params({"data": "celeba", "resolution": 32, "n_real": 2})
    assert sorted(numbers(load(run, "train"))) == list(range(6))
    reference = load(run, "reference")
    assert set(numbers(reference)) < {6, 7, 8} and len(reference) == 2
    assert reference.split == "test"


@pytest.mark.parametrize(
    ("data", "kind", "way_out"),
    [("cifar10", "CIFAR10", "DOWNLOAD=1.* or unpack http"), ("celeba", "CelebA", "data=folder")],
)
def test_a_missing_data_set_says_how_to_get_it(data, kind, way_out, tmp_path, monkeypatch):
    def unreachable(self):
        raise OSError("<urlopen error no route to host>\nsecond line")

    monkeypatch.chdir(tmp_path)
    run = RunConfig.from_params({"data": data})
    with pytest.raises(UserError, match=f"not complete in data; .*{way_out}"):
        load(run, "train")
    monkeypatch.setattr(getattr(torchvision.datasets, kind), "download", unreachable)
    with pytest.raises(UserError, match=r"could not be downloaded .*no route to host") as error:
        load(run, "train", download=True)
    assert "\n" not in str(error.value)


# Batches


def numbered(count: int, size: int = 4) -> torch.Tensor:
    """uint8 (N, 3, size, size), number i holding i in every pixel but one column of zeros."""
    found = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, size, size)
    found[..., 0] = 0
    return found


def seen(batch: torch.Tensor) -> list[int]:
    return to_uint8(batch)[:, 0, 0, 1].tolist()


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 50), batch_size=st.integers(1, 60), seed=st.integers(0, 2**40))
def test_every_epoch_holds_every_image_once(count, batch_size, seed):
    """And a batch is a function of seed and step alone, whatever was drawn before."""
    batches = Batches(numbered(count), batch_size, seed)
    steps = -(-3 * count // batch_size)
    row = [number for step in range(steps) for number in seen(batches.at(step))]
    assert len(row) == steps * batch_size
    for epoch in range(3):
        assert sorted(row[epoch * count : (epoch + 1) * count]) == list(range(count))
    used = Batches(numbered(count), batch_size, seed, flip=True)
    for step in (seed % 10_000, steps - 1, 0):
        resumed = Batches(numbered(count), batch_size, seed, flip=True)
        assert torch.equal(used.at(step), resumed.at(step))


def test_seeds_and_epochs_differ():
    first, other = (Batches(numbered(200), 200, seed) for seed in (0, 1))
    assert seen(first.at(0)) != seen(other.at(0))
    assert seen(first.at(0)) != seen(first.at(1))
    assert seen(first.at(0)) != sorted(seen(first.at(0)))
    # consecutive seeds do not walk through each other's epochs
    assert seen(first.at(1)) != seen(other.at(0))


def test_half_of_the_images_are_mirrored():
    pixels = numbered(101)[1:]  # number 0 is its own mirror
    plain, flipped = Batches(pixels, 100, 0), Batches(pixels, 100, 0, flip=True)
    mirrored = torch.zeros(20, 100)
    for step in range(20):
        one, other = plain.at(step), flipped.at(step)
        mirrored[step] = (one.flip(-1) == other).flatten(1).all(1)
        assert (mirrored[step].bool() ^ (one == other).flatten(1).all(1)).all()
    assert 0.45 < mirrored.mean() < 0.55
    assert (mirrored.mean(1) - 0.5).abs().max() < 0.2
    # no place in the batch is always mirrored, or never
    assert (mirrored.mean(0) - 0.5).abs().max() < 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_gives_the_same_batches():
    pixels = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    here, there = (Batches(pixels, 32, 0, flip=True, device=d) for d in ("cpu", "cuda"))
    assert there.images.is_cuda and there.images.dtype == torch.uint8
    for step in range(4):
        assert torch.equal(here.at(step), there.at(step).cpu())


def test_bytes_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_unit(levels)), levels) and to_unit(levels).dtype == torch.float32
    assert to_unit(levels)[[0, 255]].tolist() == [-1, 1]
    assert to_uint8(torch.tensor([-9.0, -1.0, 0.999, 1.0, 9.0])).tolist() == [0, 0, 255, 255, 255]
    nearest = torch.tensor([100.4, 100.6]) / 127.5 - 1
    assert to_uint8(nearest).tolist() == [100, 101]
    assert to_uint8(to_unit(levels).bfloat16()).dtype == torch.uint8
