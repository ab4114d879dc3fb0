"""What is given from outside runs no code, leads nowhere else, and takes no more than it may."""

import ast
import base64
import hashlib
import json
import os
import pickle
import re
import shutil
import struct
import time
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image, PngImagePlugin
from records_factory import make_ablation, make_pages
from torchvision.datasets import CIFAR10
from traitlets.config.loader import PyFileConfigLoader

from fagan import ablations, report
from fagan.config import RunConfig, UserError
from fagan.data import decode, files, load, sources
from fagan.environment import ROOT
from fagan.plain_yaml import load_yaml
from fagan.publish import publish
from fagan.records import ablation_folder, load_runs, run_folder
from fagan.runner import from_notebook
from fagan.status import progress
from fagan.train import load_weights, restore, start

SOURCES = sorted((ROOT / "fagan").rglob("*.py"))


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FAGAN_CACHE", str(tmp_path / "cache"))


def refused(match: str):
    """UserError of one line that says so."""
    return pytest.raises(UserError, match=rf"\A[^\n]*{match}[^\n]*\Z")


# What the source may not do


def calls(tree):
    """(dotted name, keyword arguments) of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            yield ast.unparse(node.func), given


def dangers(source: str) -> list[str]:
    """What would execute, or unpack to disk, what somebody else wrote."""
    tree, found = ast.parse(source), []
    banned = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "tarfile"}
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in banned]
    for name, given in calls(tree):
        last = name.split(".")[-1]
        if name == "torch.load" and given.get("weights_only") is not True:
            found.append(name)
        if name.endswith("np.load") and given.get("allow_pickle", False) is not False:
            found.append(name)
        if name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"):
            found.append(name)
        if last in ("read_pickle", "extractall", "extract", "unsafe_load", "full_load"):
            found.append(name)
        if name in ("yaml.load", "torch.hub.load", "tempfile.mktemp") or given.get("shell") is True:
            found.append(name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_nothing_given_is_executed_or_unpacked(path):
    assert dangers(path.read_text()) == []


def test_the_search_finds_what_it_looks_for():
    for source in (
        "import torch\ntorch.load(f)",
        "torch.load(f, weights_only=False)",
        "from pickle import load",
        "import pickle as p",
        "np.load(f, allow_pickle=True)",
        "yaml.load(text)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "zipfile.ZipFile(f).extractall()",
    ):
        assert dangers(source), source


# Pickles


class Payload:
    """Unpickled by a loader without protection, it leaves a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_a_tampered_cifar10_is_refused_and_never_unpickled(tmp_path):
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"], ""]]:
        (folder / name).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    config = RunConfig.from_params({"data": "cifar10", "data_path": str(tmp_path)})
    for split in ("train", "reference"):
        with refused("CIFAR-10 is not complete"):
            load(config, split)
    assert not (tmp_path / "ran").exists()
    pickle.loads((folder / "test_batch").read_bytes())  # the payload is a real one
    assert (tmp_path / "ran").exists()


def test_a_checkpoint_that_somebody_made_runs_nothing(tmp_path):
    import hashlib
    import io

    config = RunConfig.from_params({"resolution": 32, "width": 0.02, "squeeze": 1})
    state = start(config, torch.device("cpu"))
    path = tmp_path / "checkpoint.pt"
    for content, says in (
        (Payload(tmp_path / "ran"), "is no checkpoint"),
        ([1, 2], "is no checkpoint"),
        ({"config": config.hash}, "does not fit the run"),
    ):
        file = io.BytesIO()
        torch.save(content, file)
        path.write_bytes(hashlib.sha256(file.getvalue()).digest() + file.getvalue())
        with refused(says):
            restore(state, (path, tmp_path / "none"))
    path.write_bytes(path.read_bytes()[:-1])
    said = []
    assert not restore(state, (path, tmp_path / "none"), said.append)
    assert "damaged" in said[0] and not (tmp_path / "ran").exists()
    with refused("does not hold the weights"):
        load_weights(state.generator, path)


# Zips


def png(size=(4, 4), colour=0, **options) -> bytes:
    import io

    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG", **options)
    return file.getvalue()


def tree(folder: Path) -> dict[str, int]:
    """Every entry below a folder and when it was changed."""
    return {str(p): p.lstat().st_mtime_ns for p in folder.rglob("*")}


def config(path, **changes) -> RunConfig:
    params = {"data": "folder", "data_path": str(path), "resolution": 32, "n_real": 2}
    return RunConfig.from_params(params | changes)


def test_names_in_a_zip_are_labels_and_never_paths(tmp_path):
    path = tmp_path / "given" / "evil.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../../escaped.png", "/absolute.png", "C:\\x.png", "a\nb.png", "ok.png"):
            archive.writestr(name, png())
    before = tree(tmp_path)
    found = load(config(path), "train")
    assert len(found) == 4  # what begins with a dot is hidden, "../" too
    new = {Path(p).relative_to(tmp_path).parts[0] for p in tree(tmp_path).keys() - before.keys()}
    assert new == {"cache"} and not Path("/absolute.png").exists()


def test_links_and_archives_in_a_zip_are_no_images(tmp_path):
    path = tmp_path / "a.zip"
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("nested.png", (zipfile.ZipFile(tmp_path / "b.zip", "w").close(), b"PK")[1])
    with refused("2 of 2 images .*(not an image)"):
        load(config(path), "train")


def test_a_zip_that_unpacks_to_far_more_than_it_is(tmp_path, monkeypatch):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(4):
            archive.writestr(f"{i}.png", bytes(5 * 2**20))
    monkeypatch.setattr(sources, "_ZIP_BYTES", 2**20)
    with refused(r"bomb.zip would unpack to 20,971,520 bytes, 1,026 times its size"):
        load(config(path), "train")
    monkeypatch.setattr(sources, "_ZIP_ENTRIES", 3)
    with refused("has 4 entries, more than 3"):
        load(config(path), "train")


def test_entries_that_share_bytes_are_refused(tmp_path):
    path = tmp_path / "quoted.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png())
        copy = zipfile.ZipInfo("b.png")
        one = archive.infolist()[0]
        for field in ("header_offset", "CRC", "compress_size", "file_size", "compress_type"):
            setattr(copy, field, getattr(one, field))
        archive.filelist.append(copy)
        archive._didModify = True
    with refused("'a.png' and 'b.png' share bytes"):
        load(config(path), "train")


def test_a_zip_that_lies_about_sizes_is_not_believed(tmp_path):
    """The directory says 100 bytes; the entry holds 300 MB of zeros in 300 kB."""
    import tracemalloc

    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.png", "w") as file:
            for _ in range(300):
                file.write(bytes(2**20))
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    assert struct.unpack_from("<I", data, place)[0] == 300 * 2**20
    struct.pack_into("<I", data, place, 100)
    path.write_bytes(data)
    tracemalloc.start()
    with refused("1 of 1 images"):
        load(config(path), "train")
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_more_than_the_disk_holds_is_refused_before_decoding(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(8):
        (folder / f"{i}.png").write_bytes(png())
    usage = type("Usage", (), {"free": 5 * 3 * 32 * 32})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    monkeypatch.setattr(decode, "pixels", None)
    with refused(r"take 24,576 bytes, and .* has 15,360 free; take fewer \(SET=images=N\)"):
        load(config(folder), "train")
    with refused("take 61,440,000 bytes"):
        load(RunConfig.from_params({"resolution": 32}), "train")
    monkeypatch.undo()
    monkeypatch.setenv("FAGAN_CACHE", str(tmp_path / "cache"))
    assert len(load(config(folder, images=3), "train")) == 3


# Images


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def huge_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "0" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    return png(pnginfo=text)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
BROKEN = {
    "a billion pixels": (huge_png(30_000, 30_000), "more than 67,108,864 pixels"),
    "pixels that PIL would warn of": (huge_png(10_000, 10_000), "10,000 x 10,000 pixels, more"),
    "text": (text_bomb(), "too large"),
    "EPS": (EPS, "not an image"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "empty": (b"", "an empty file"),
    "cut": (png((64, 64))[:60], ""),
    "no pixels": (huge_png(0, 0), ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_image_that_asks_too_much_is_named(name, tmp_path, capfd):
    content, reason = BROKEN[name]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.png").write_bytes(content)
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        with refused(rf"1 of 1 images of 'photos' .* x\.png \(.*{reason}.*\)"):
            load(config(tmp_path / "photos"), "train")
    assert not leaked and "Warning" not in capfd.readouterr().err


def test_one_pixel_and_the_first_of_many_frames_are_images(tmp_path):
    (tmp_path / "one.png").write_bytes(png((1, 1), (9, 99, 199)))
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "blue")]
    frames[0].save(tmp_path / "many.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "many.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(tmp_path / "many.png", save_all=True, append_images=frames[1:])
    found = load(config(tmp_path), "train").images
    seen = sorted(image[:, 16, 16].tolist() for image in found)
    assert seen == [[9, 99, 199], [255, 0, 0], [255, 0, 0], [255, 0, 0]]


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(250):
        (folder / f"{i:03d}.png").write_bytes(png((2, 2), (i, i, i)))
    return folder


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_devices_and_folders_named_like_images(photos, caplog):
    os.mkfifo(photos / "pipe.png")
    (photos / "device.png").symlink_to("/dev/zero")
    (photos / "folder.png").mkdir()
    (photos / "folder.png" / "inside.png").write_bytes(png())
    (photos / "itself.png").symlink_to(photos / "itself.png")
    begun = time.monotonic()
    with refused(r"3 of 254 images .* \(a pipe or a device, not a file\)"):
        load(config(photos), "train")
    (photos / "device.png").unlink()
    found = load(config(photos), "train")
    assert sorted(found.broken) == ["itself.png", "pipe.png"] and len(found) == 249
    assert "itself.png (Too many levels of symbolic links)" in caplog.text
    assert time.monotonic() - begun < 20
    with refused("is no folder and not a readable zip"):
        load(config(photos / "pipe.png"), "train")
    with refused("is no folder and not a readable zip"):
        load(config("/dev/zero"), "train")


def test_a_file_that_cannot_be_read_is_named(photos, monkeypatch):
    real = os.open

    def denied(path, *arguments, **options):
        if str(path).endswith("007.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(files.os, "open", denied)
    assert load(config(photos), "train").broken == ("007.png",)


def test_files_and_folders_that_vanish(photos, monkeypatch, tmp_path):
    source = sources.open_source(photos)
    (photos / "007.png").unlink()
    with pytest.raises(FileNotFoundError):
        source.image(7)
    photos.rename(tmp_path / "moved")
    with refused(rf"the folder of images {photos} is gone"):
        list(decode.decoded(source, 32, "center"))
    with refused(rf"no folder or zip of images at {photos}"):
        load(config(photos), "train")


def test_links_that_multiply_and_folders_without_end(tmp_path, monkeypatch):
    begun = time.monotonic()
    for i in range(12):  # 12! paths
        (tmp_path / "links" / f"{i}").mkdir(parents=True)
        for j in range(12):
            (tmp_path / "links" / f"{i}" / f"to{j}").symlink_to(tmp_path / "links" / f"{j}")
    with refused("more than 10,000 folders in .* are reached through links"):
        load(config(tmp_path / "links"), "train")
    (tmp_path / "deep" / "/".join("d" * 110)).mkdir(parents=True)
    with refused("nested more than 100 deep"):
        load(config(tmp_path / "deep"), "train")
    assert time.monotonic() - begun < 20


NAMES = {"newline": b"a\nb.png", "bytes": b"\xff\xfe.png", "escape": b"\x1b[31m.png"}


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
@pytest.mark.parametrize("kind", NAMES)
def test_odd_names_break_no_record_no_log_and_no_line(kind, tmp_path, photos, caplog):
    odd = os.path.join(os.fsencode(photos), NAMES[kind])
    Path(os.fsdecode(odd)).write_bytes(b"no image")
    found = load(config(photos), "train")
    again = load(config(photos), "train")
    assert found.broken == again.broken == (os.fsdecode(NAMES[kind]),)
    assert caplog.text.count("\n") == 1 and caplog.text.strip().isprintable()
    caplog.text.encode()
    home = photos.rename(os.path.join(str(tmp_path), os.fsdecode(NAMES[kind][:-4])))
    name = load(config(home), "train").name
    assert name.isprintable() and name.encode()
    for path in home.glob("*.png"):
        path.write_bytes(b"no image")
    with refused("251 of 251 images") as error:
        load(config(home), "train")
    assert str(error.value).isprintable() and str(error.value).encode()


# Tables and settings


@pytest.fixture
def table(tmp_path, monkeypatch):
    (tmp_path / "tables").mkdir()
    monkeypatch.setattr(ablations.files, "TABLES", tmp_path / "tables")

    def planned(text: str | bytes):
        text = text.encode() if isinstance(text, str) else text
        (tmp_path / "tables" / "mine.yaml").write_bytes(text)
        runs = ablations.configs(ablations.load_table("mine"))
        return ablations.plan(ablations.load_table("mine"), runs, tmp_path / "results")

    return planned


LAUGHS = "l0: &l0 [x, x]\n" + "\n".join(f"l{i}: &l{i} [*l{i - 1}, *l{i - 1}]" for i in range(1, 40))
MERGES = "m0: &m0 {a: 1}\n" + "\n".join(
    f"m{i}: &m{i}\n  <<: [*m{i - 1}, *m{i - 1}]" for i in range(1, 40)
)
ARMS = "arms: {a: {}}\n"
WRONG = {
    "laughs": (ARMS + LAUGHS, "more than 10,000 values"),
    "merges": (ARMS + MERGES, "more than 10,000 values"),
    "itself": (ARMS + "title: &t [*t]", "contains itself"),
    "huge": (ARMS + "# " + "x" * 200_000, "100,001 characters"),
    "deep": (ARMS + "title: " + "[" * 5_000, "nested more than 20 deep"),
    "deep blocks": ("".join("  " * i + "a:\n" for i in range(99)), "nested more than 20 deep"),
    "code": ("!!python/object/apply:os.system [id]", "not valid YAML"),
    "bytes": (b"\xff\xfe\x00", "cannot be read"),
    "control": (ARMS + "title: \x07", "not valid YAML"),
    "a list": ("[1, 2]", "must be a mapping"),
    "no": ("arms: {no: {}}", "arm False is no text"),
    "a number": ("arms: {1: {}}", "arm 1 is no text"),
    "null": ("arms:", "`arms` must be a mapping"),
    "null arm": ("arms: {a: }", "must be a mapping of parameters"),
    "a date": (ARMS + "baseline: {steps: 2018-08-01}", "must be a whole number"),
    "no date": (ARMS + "title: 2018-99-99", "a value that cannot be read"),
    "nan": (ARMS + "baseline: {lr_g: .nan}", "lr_g=nan must be a number"),
    "inf": (ARMS + "baseline: {steps: .inf}", "steps=inf must be"),
    "batch": (ARMS + f"baseline: {{batch_size: 1{'0' * 30}}}", "is beyond 65,536"),
    "digits": (ARMS + f"baseline: {{steps: {'9' * 5000}}}", "cannot be read|is beyond"),
    "hexadecimal": (ARMS + f"baseline: {{steps: 0x{'f' * 5000}}}", "an integer of 20000 bits"),
    "memory": (ARMS + "baseline: {width: 1.0e+9}", "width=1000000000.0 is beyond 16"),
    "keys": (ARMS + "baseline: {1: 2}", "unknown parameter 1 "),
    "baseline": (ARMS + "baseline: [1]", "`baseline` must be a mapping"),
    "labels": (ARMS + "labels: abc", "`labels` must be a mapping"),
    "label": (ARMS + "labels: {a: [1]}", "is no title or label"),
    "two arms of one name": (ARMS + "baseline: {arm: b}", "'arm' is no parameter here"),
    "seeds": (ARMS + "seeds: 1000000000", "is beyond 1,000"),
    "a seed": (ARMS + f"seeds: [{10**30}]", "seed=10{30} is beyond"),
    "extends": (ARMS + "extends: [mine]", "`extends` must be the name"),
    "itself again": (ARMS + "extends: mine", "extends itself"),
    "an arm that leads out": ("arms: {../../x: {}}", "a folder's name too"),
    "an arm of dots": ("arms: {..: {}}", "a folder's name too"),
    "an arm of lines": ('arms: {"a\\nb": {}}', "a folder's name too"),
    "a long arm": (f"arms: {{{'a' * 101}: {{}}}}", "too long for a folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_is_one_line_at_once_and_writes_nothing(name, table, tmp_path):
    text, match = WRONG[name]
    begun = time.monotonic()
    with refused(match):
        table(text)
    assert time.monotonic() - begun < 5
    assert not (tmp_path / "results").exists()


def test_aliases_that_stand_for_little_are_taken(table):
    runs = table("baseline: &b {steps: 5}\narms: {a: {}, b: {<<: *b, steps: 7}}")
    assert [run.steps for run in runs] == [5, 7]


@pytest.mark.parametrize("setting", ["x=" + "[" * 9_000, "steps=!!float x", "steps=&a [*a]"])
def test_a_wrong_setting_is_one_line(setting):
    with refused("the value of"):
        ablations.parse_setting(setting)
    assert load_yaml("0.5", "x") == 0.5


# Names that become folders

OUTSIDE = ("../x", "..", ".", "", "/etc", "a/b", "published/../x", "published/", "a\0b", "a\nb")
OUTSIDE += ("-x", "a b", "~", "a" * 101, "published/published/x", None, 3)


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_results(name, tmp_path):
    with refused("is a folder's name too|too long"):
        ablation_folder(name, tmp_path)
    with refused("is a folder's name too|too long"):
        run_folder("smoke", name, tmp_path)
    for command in (load_runs, progress, ablations.planned, publish):
        with refused("is a folder's name too|too long"):
            command(name, tmp_path)
    if isinstance(name, str):
        with refused("is a folder's name too|too long"):
            from_notebook({"ablation": name, "results": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_a_published_ablation_has_its_place(tmp_path):
    assert ablation_folder("published/laptop", tmp_path) == tmp_path / "published" / "laptop"


def test_a_plan_changed_by_hand_runs_nothing_elsewhere(tmp_path):
    folder = make_ablation(tmp_path, seeds=1, diverged=(), unfinished=(), not_begun=())
    plan = json.loads((folder / "plan.json").read_text())
    for run_id in ("../../../evil", "sagan-seed7", "", None, [1]):
        changed = json.loads(json.dumps(plan))
        changed["runs"][0]["run_id"] = run_id
        (folder / "plan.json").write_text(json.dumps(changed))
        for read in (ablations.planned, progress):
            with refused("plan of tiny .* is damaged"):
                read("tiny", tmp_path)
    plan["runs"][0]["config"]["arm"] = "../evil"
    (folder / "plan.json").write_text(json.dumps(plan))
    with refused("a folder's name too"):
        progress("tiny", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"tiny"}


def test_links_are_followed_where_the_user_put_them_but_not_published(tmp_path):
    """Results may lie on another disk; a link inside an ablation could carry any file."""
    folder = make_ablation(tmp_path / "big", seeds=1, diverged=(), unfinished=(), not_begun=())
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "tiny").symlink_to(folder)
    assert len(load_runs("tiny", tmp_path / "results").runs) == 4
    make_pages(folder)
    (tmp_path / "secret").write_text("a key")
    (folder / "figures").mkdir()
    (folder / "figures" / "a.svg").symlink_to(tmp_path / "secret")
    with refused(r"figures/a.svg is a link"):
        publish("tiny", tmp_path / "results")
    (folder / "figures" / "a.svg").unlink()
    published = publish("tiny", tmp_path / "results")
    assert (published / "plan.json").exists()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    published.rename(tmp_path / "old")
    published.symlink_to(tmp_path / "elsewhere")
    with refused("is a link"):
        publish("tiny", tmp_path / "results")
    assert (tmp_path / "elsewhere" / "mine.txt").exists()


# Pages and Jupyter

EVIL = '<script>alert(1)</script><img src="http://x.example/a.png" onerror="alert(1)">'


def test_a_page_shows_what_records_say_and_loads_nothing(tmp_path):
    folder = make_ablation(
        tmp_path, seeds=1, unfinished=(), not_begun=(), diverged=("sagan-seed0",)
    )
    plan = json.loads((folder / "plan.json").read_text())
    plan |= {"title": EVIL, "labels": {arm: f"{arm} {EVIL}" for arm in ("dcgan", "sagan", "fagan")}}
    (folder / "plan.json").write_text(json.dumps(plan))
    metrics = folder / "runs" / "sagan-seed0" / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"reason": EVIL}))
    reference = json.loads((folder / "reference.json").read_text())
    (folder / "reference.json").write_text(json.dumps(reference | {"name": EVIL}))
    page = report.report("tiny", tmp_path).read_text()
    assert EVIL not in page and '<img src="http' not in page and "&lt;script&gt;" in page
    assert page.count("<script") == 1  # that of the list of runs


def rules(page):
    """The Content-Security-Policy of a page, {directive: sources}."""
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    return dict(rule.strip().split(" ", 1) for rule in policy.split(";"))


def test_every_page_forbids_what_it_does_not_hold(tmp_path):
    make_ablation(tmp_path, seeds=1)
    shutil.copytree(tmp_path / "tiny", tmp_path / "published" / "tiny")
    front = report.report("tiny", tmp_path)
    pages = {path.stem: path.read_text() for path in front.parent.rglob("*.html")}
    assert {"index", "published", "fagan-seed0"} <= set(pages)
    for name, page in pages.items():
        allowed = rules(page)
        assert allowed["default-src"] == "'none'" and allowed["img-src"] == "data:"
        assert "connect-src" not in allowed
        scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
        hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
        assert len(scripts) == (name == "index")
        assert allowed.get("script-src", "") == " ".join(f"'sha256-{h}'" for h in hashes)
    template = (ROOT / "notebooks" / "template" / "index.html.j2").read_text()
    assert "parts.head(" in template  # a notebook's page has the same head


def test_jupyter_listens_on_this_machine_alone_and_keeps_its_token():
    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    assert "--config=notebooks/jupyter_lab_config.py" in recipe and "--ip" not in recipe
    config = PyFileConfigLoader("jupyter_lab_config.py", str(ROOT / "notebooks")).load_config()
    assert config.ServerApp == {"ip": "127.0.0.1"} and "IdentityProvider" not in config
    assert not re.search(r"token|password|allow_origin|allow-root|0\.0\.0\.0", recipe)
