"""Whatever is given: a result, or one line that a user can act on, and nothing written elsewhere.

Bounded and the same on every run; FAGAN_FUZZ=20 tries twenty times as much, anew each time.
"""

import hashlib
import io
import json
import os
import shutil
import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from records_factory import make_ablation

from fagan import ablations, readings, tables
from fagan.cli import app
from fagan.config import FIELDS, RunConfig, UserError
from fagan.data import decode, load
from fagan.data.files import open_image
from fagan.records import load_runs, refuse_other_config
from fagan.status import progress, summary
from fagan.train import load_weights, restore, save, save_weights, start

SCALE = int(os.environ.get("FAGAN_FUZZ", "1"))


def examples(count: int):
    return settings(
        max_examples=count * SCALE,
        derandomize=SCALE == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def attempt(action, *arguments):
    """The action's value, None where it refuses; a refusal is one printable line."""
    try:
        return action(*arguments)
    except UserError as error:
        assert str(error).isprintable() and 0 < len(str(error)) < 2_100
        return None


def tree(folder: Path, but: str = "results") -> dict[str, bytes | None]:
    """Every file below a folder and its bytes, without one of its entries."""
    found = [p for p in folder.rglob("*") if p.relative_to(folder).parts[0] != but]
    return {str(p): p.read_bytes() if p.is_file() else None for p in found}


# What a user may write

NUMBERS = st.one_of(
    st.integers(-3, 300),
    st.integers(),
    st.sampled_from([2**31, 2**63, 10**30, 10**400, -(10**4000), 0.5, 1e-320, 1e300]),
    st.floats(),
)
NAMES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "..",
            ".",
            "/etc",
            "../../x",
            "a/b",
            "a\0b",
            "a\nb",
            "~",
            "~nobody",
            "x" * 300,
            "published/x",
        ]
    ),
    st.sampled_from(["smoke", "laptop", "fagan", "sagan-seed0", "published/laptop", "comparison"]),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    NAMES,
    st.dates(max_value=date(9999, 1, 1)),
    st.binary(max_size=4),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=5,
)


def plausible(name: str):
    """Values that a field takes, so that the search gets past the first refusal."""
    default, choices = FIELDS[name].default, FIELDS[name].metadata.get("choices")
    if choices:
        return st.sampled_from(choices)
    stages = st.sampled_from(
        ["fagan", "sagan-wide", "F F C+A | F F+A C+A", "C | C", "F F,output F|"]
    )
    return {"architecture": stages, "resolution": st.sampled_from([16, 32, 64, 128, 1024])}.get(
        name, st.just(default)
    )


PARAMETERS = st.fixed_dictionaries(
    {}, optional={name: plausible(name) | VALUES for name in FIELDS}
) | st.dictionaries(st.sampled_from(list(FIELDS)) | SCALARS, VALUES, max_size=4)


@examples(250)
@given(PARAMETERS)
def test_a_configuration_is_whole_or_refused(params):
    config = attempt(RunConfig.from_params, params)
    if config is not None:
        assert RunConfig.from_params(config.identity() | {"data_path": config.data_path}) == config
        assert len(config.hash) == 12 and "/" not in config.run_id
        json.dumps(config.identity(), allow_nan=False)


SETTINGS = st.one_of(
    st.text(max_size=12),
    st.builds("{}={}".format, st.sampled_from(list(FIELDS)) | NAMES, st.text(max_size=8)),
    st.sampled_from(
        ["steps=2018-99-99", "width=!!float ''", "x=" + "[" * 999, "steps=" + "9" * 5000]
    ),
)


@examples(120)
@given(SETTINGS, st.text(max_size=8) | VALUES)
def test_settings_and_seeds_are_read_or_refused(setting, seeds):
    attempt(ablations.parse_setting, setting)
    found = attempt(ablations.parse_seeds, seeds)
    assert found is None or (1 <= len(found) <= 1000 and all(type(s) is int for s in found))


TABLES = {path.stem: path.read_text() for path in ablations.TABLES.glob("*.yaml")}
SHAPED = st.fixed_dictionaries(
    {"arms": st.dictionaries(NAMES | st.sampled_from("ab"), PARAMETERS | VALUES, max_size=2)},
    optional={
        "title": VALUES,
        "baseline": PARAMETERS | VALUES,
        "labels": VALUES,
        "seeds": VALUES,
        "extends": st.sampled_from(["smoke", "fuzzed"]) | VALUES,
    },
)


@st.composite
def mutated(draw, content: bytes) -> bytes:
    """A few bytes changed, put in, taken out, or the end cut off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(["set", "insert", "remove", "cut", "repeat"]))
        if kind == "set":
            data[place : place + 1] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "remove":
            del data[place : place + draw(st.integers(1, 20))]
        elif kind == "cut":
            del data[place:]
        else:
            data[place:place] = data[place : place + 40]
    return bytes(data)


def dumped(value) -> bytes:
    try:
        return yaml.safe_dump(value).encode(errors="surrogatepass")
    except ValueError:  # a number of more digits than Python prints
        return b"arms: {a: {steps: 0x" + b"f" * 5000 + b"}}"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a file beside results/, and the tables in it."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "beside").write_text("mine")
    (folder / "tables").mkdir()
    for name, text in TABLES.items():
        (folder / "tables" / f"{name}.yaml").write_text(text)
    return folder


@examples(120)
@given(data=st.data())
def test_a_table_is_planned_or_refused_and_only_results_are_written(place, data):
    text = data.draw(
        st.one_of(
            SHAPED.map(dumped),
            VALUES.map(dumped),
            st.sampled_from(sorted(TABLES.values())).flatmap(lambda t: mutated(t.encode())),
            st.binary(max_size=60),
        )
    )
    (place / "tables" / "fuzzed.yaml").write_bytes(text)
    shutil.rmtree(place / "results", ignore_errors=True)
    before = tree(place)

    def planned():
        table = ablations.load_table("fuzzed")
        return ablations.plan(table, ablations.configs(table), place / "results")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablations.files, "TABLES", place / "tables")
        runs = attempt(planned)
        assert tree(place) == before
        assert (place / "results").exists() == (runs is not None)
        if runs:
            read = ablations.planned("fuzzed", place / "results")
            assert list(read.values()) == runs
            assert summary(progress("fuzzed", place / "results"))


ARGUMENTS = st.one_of(
    st.tuples(st.sampled_from(["status", "stale", "report", "publish", "prepare"]), NAMES),
    st.tuples(st.sampled_from(["run", "analyse", "sample"]), NAMES, NAMES),
    st.tuples(st.just("evaluate"), NAMES.map(lambda name: f"none/{name}")),
    st.tuples(
        st.just("plan"),
        NAMES,
        st.sampled_from(["--set", "--seeds", "--steps", "--data"]),
        SETTINGS | NAMES | st.integers().map(str),
    ),
    st.lists(NAMES, max_size=3).map(tuple),
)


@examples(60)
@given(ARGUMENTS)
def test_a_command_line_ends_in_a_line_and_only_results_are_written(place, arguments):
    shutil.rmtree(place / "results", ignore_errors=True)
    (place / "tables" / "fuzzed.yaml").unlink(missing_ok=True)
    before = tree(place)

    def called():
        try:
            app([*arguments, "--results", str(place / "results")])
        except SystemExit as end:  # typer's own: 2 for wrong usage, 0 at the end
            assert end.code in (0, 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        attempt(called)
    assert tree(place) == before


# Images and zips


def encoded(kind: str, **options) -> bytes:
    file = io.BytesIO()
    gradient = np.add.outer(np.arange(12), 9 * np.arange(9)).astype(np.uint8)
    image = Image.fromarray(np.stack([gradient, 255 - gradient, gradient], -1))
    image.save(file, kind, **options)
    return file.getvalue()


IMAGES = {
    kind: encoded(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA")
}
TURNED = Image.Exif()
TURNED[0x0112] = 6
IMAGES["EXIF"] = encoded("JPEG", exif=TURNED)


class Given:
    """A source of one image."""

    name, identity, names = "given", "given", ("x.png",)

    def __init__(self, content: bytes):
        self.content = content

    def image(self, index):
        return open_image(self.content)


@pytest.mark.filterwarnings("ignore")
@examples(250)
@given(st.sampled_from(sorted(IMAGES)).flatmap(lambda kind: mutated(IMAGES[kind])))
def test_a_damaged_image_is_pixels_or_a_reason(content):
    found = decode._pixels_or_reason(Given(content), 0, 32, "center")
    if isinstance(found, str):
        assert found.isprintable() and found
    else:
        assert found.shape == (3, 32, 32) and found.dtype == np.uint8


def zipped(method) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in ("a.png", "b/c.jpg"):
            archive.writestr(name, IMAGES["PNG"])
    return file.getvalue()


ZIPS = [zipped(method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


@examples(120)
@given(data=st.data())
def test_a_damaged_zip_is_a_set_or_refused(place, data):
    path = place / "given.zip"
    path.write_bytes(data.draw(st.sampled_from(ZIPS).flatmap(mutated)))
    config = RunConfig.from_params(
        {"data": "folder", "data_path": str(path), "resolution": 32, "n_real": 2}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAGAN_CACHE", str(place / "cache"))
        before = tree(place, "cache")
        found = attempt(load, config, "train")
        assert tree(place, "cache") == before
    assert found is None or 1 <= len(found) <= 2


# Records


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folder of a small ablation."""
    return make_ablation(
        tmp_path_factory.mktemp("records"),
        arms={"sagan": {"architecture": "sagan"}, "fagan": {"architecture": "fagan"}},
        seeds=1,
        steps=50,
        diverged=(),
        unfinished=("fagan-seed0",),
        not_begun=(),
        grids=1,
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def changed(draw, content: bytes) -> bytes:
    """A JSON text with one value, however deep, replaced or left out."""
    whole = inner = json.loads(content)
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = draw(st.sampled_from(keys))
        if isinstance(inner[key], dict | list) and inner[key] and draw(st.booleans()):
            inner = inner[key]
            continue
        if draw(st.integers(0, 3)):
            inner[key] = draw(JSON)
        else:
            del inner[key]
        return json.dumps(whole).encode()


def read_everything(folder: Path) -> None:
    results = folder.parent
    attempt(lambda: summary(progress("tiny", results)))
    runs = attempt(load_runs, "tiny", results)
    if runs is not None:
        attempt(tables.summary, runs)
        attempt(tables.final_scores, runs)
        attempt(tables.failures, runs)
        for reading in (readings.read_status, readings.read_scores, readings.read_curves):
            said = attempt(reading, runs)
            assert said is None or said.claim
        attempt(readings.protocol, runs)
        attempt(readings.made_with, runs)
    for run_id, config in (attempt(ablations.planned, "tiny", results) or {}).items():
        attempt(refuse_other_config, folder / "runs" / run_id, config)


FILES = ["plan.json", "reference.json"]
FILES += [
    f"runs/{run}/{name}"
    for run in ("sagan-seed0", "fagan-seed0")
    for name in (
        "config.json",
        "env.json",
        "metrics.json",
        "history.csv",
        "alpha.csv",
        "timing.csv",
    )
    if (run, name) != ("fagan-seed0", "metrics.json")
]


@examples(90)
@given(data=st.data())
def test_damaged_records_are_read_or_refused(recorded, data):
    name = data.draw(st.sampled_from(FILES))
    path, content = recorded / name, (recorded / name).read_bytes()
    options = [
        mutated(content),
        st.sampled_from([b"", b"null", b"[]", b"[" * 9999, b"\xff", b"1e999"]),
    ]
    options += 2 * [changed(content)] if name.endswith("json") else []
    before = tree(recorded.parent)
    path.write_bytes(data.draw(st.one_of(options)))
    try:
        read_everything(recorded)
    finally:
        path.write_bytes(content)
    assert tree(recorded.parent) == before


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A state, its checkpoint and its generator's weights."""
    folder = tmp_path_factory.mktemp("trained")
    params = {"resolution": 16, "architecture": "C C | C C", "width": 0.02, "latent_size": 2}
    state = start(RunConfig.from_params(params), torch.device("cpu"))
    save(state, (folder / "checkpoint.pt", folder / "previous.pt"))
    save_weights(state.generator, folder / "generator.safetensors")
    return state, folder


@examples(60)
@given(data=st.data(), honest=st.booleans())
def test_a_damaged_checkpoint_is_left_aside_or_refused(trained, data, honest):
    state, folder = trained
    content = (folder / "checkpoint.pt").read_bytes()
    size = hashlib.sha256().digest_size
    damaged = data.draw(mutated(content[size:]))
    # a checksum finds damage; with one that fits, the loader itself is on trial
    checksum = content[:size] if honest else hashlib.sha256(damaged).digest()
    path, lines = folder / "damaged.pt", []
    path.write_bytes(checksum + damaged)
    resumed = attempt(restore, state, (path, folder / "none.pt"), lines.append)
    if honest:
        assert resumed is (damaged == content[size:]) and bool(lines) is not resumed
    weights = (folder / "generator.safetensors").read_bytes()
    (folder / "damaged.safetensors").write_bytes(data.draw(mutated(weights)))
    attempt(load_weights, state.generator, folder / "damaged.safetensors")
