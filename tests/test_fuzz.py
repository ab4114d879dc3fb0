"""Whatever is given: a result, or one line that a user can act on, and nothing written elsewhere.

Bounded and the same on every run; FAGAN_FUZZ=20 tries twenty times as much, anew each time.
"""

import io
import json
import os
import shutil
import zipfile
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from records_factory import make_ablation

from fagan import ablations
from fagan.config import FIELDS, RunConfig, refuse_other_config
from fagan.data import load
from fagan.errors import UserError
from fagan.records import load_runs, makers

SCALE = int(os.environ.get("FAGAN_FUZZ", "1"))


def examples(count: int):
    return settings(
        max_examples=count * SCALE, derandomize=SCALE == 1, deadline=None, database=None
    )


def attempt(action, *arguments):
    """The action's value, None where it refuses; a refusal is one printable line."""
    try:
        return action(*arguments)
    except UserError as error:
        assert str(error).isprintable() and 0 < len(str(error)) < 2_100
        return None


# What a user may write

NUMBERS = st.integers(-3, 300) | st.integers() | st.floats() | st.sampled_from([2**63, 10**30])
ODD = ["..", "/etc", "../../x", "a/b", "a\0b", "a\nb", "~", "x" * 300, "published/x", "smoke"]
NAMES = st.text(max_size=8) | st.sampled_from(ODD)
SCALARS = st.none() | st.booleans() | NUMBERS | NAMES | st.dates(max_value=date(9999, 1, 1))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=5,
)


def plausible(name: str):
    """Values that a field takes, so that the search gets past the first refusal."""
    stages = ["fagan", "sagan-wide", "F F C+A | F F+A C+A", "C | C", "F F,output F|"]
    given = {"architecture": stages, "resolution": [16, 32, 64, 128, 1024]}.get(name)
    return st.sampled_from(given or FIELDS[name].metadata.get("choices") or [FIELDS[name].default])


PARAMETERS = st.fixed_dictionaries(
    {}, optional={name: plausible(name) | VALUES for name in FIELDS}
) | st.dictionaries(st.sampled_from(list(FIELDS)) | SCALARS, VALUES, max_size=4)


@examples(80)
@given(PARAMETERS)
def test_a_configuration_is_whole_or_refused(params):
    config = attempt(RunConfig.from_params, params)
    if config is not None:
        assert RunConfig.from_params(config.identity() | {"data_path": config.data_path}) == config
        assert len(config.hash) == 12 and "/" not in config.run_id
        json.dumps(config.identity(), allow_nan=False)


TABLES = {path.stem: path.read_text() for path in ablations.TABLES.glob("*.yaml")}
SHAPED = st.fixed_dictionaries(
    {"arms": st.dictionaries(NAMES | st.sampled_from("ab"), PARAMETERS | VALUES, max_size=2)},
    optional={
        **dict.fromkeys(("title", "labels", "seeds"), VALUES),
        "baseline": PARAMETERS | VALUES,
        "extends": st.sampled_from(["smoke", "fuzzed"]) | VALUES,
    },
)


@st.composite
def mutated(draw, content: bytes) -> bytes:
    """A few bytes changed, put in, taken out, or the end cut off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        end = draw(st.sampled_from([place, place + 1, place + 20, len(data)]))
        data[place:end] = draw(st.binary(max_size=4))
    return bytes(data)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a file beside results/, and the tables in it."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "beside").write_text("mine")
    (folder / "tables").mkdir()
    for name, text in TABLES.items():
        (folder / "tables" / f"{name}.yaml").write_text(text)
    return folder


def unplanned(place: Path) -> dict[str, bytes | None]:
    """Every file of the place and its bytes, without its results."""
    found = [p for p in place.rglob("*") if p.relative_to(place).parts[0] != "results"]
    return {str(p): p.read_bytes() if p.is_file() else None for p in found}


@examples(60)
@given(data=st.data())
def test_a_table_is_planned_or_refused_and_only_results_are_written(place, data):
    shipped = st.sampled_from(sorted(TABLES.values())).flatmap(lambda t: mutated(t.encode()))
    text = data.draw((SHAPED | VALUES).map(lambda v: yaml.safe_dump(v).encode()) | shipped)
    (place / "tables" / "fuzzed.yaml").write_bytes(text)
    shutil.rmtree(place / "results", ignore_errors=True)
    before = unplanned(place)

    def planned():
        table = ablations.load_table("fuzzed")
        return ablations.plan(table, ablations.configs(table), place / "results")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablations, "TABLES", place / "tables")
        runs = attempt(planned)
        assert unplanned(place) == before
        assert (place / "results").exists() == (runs is not None)
        if runs:
            assert list(ablations.planned("fuzzed", place / "results").values()) == runs


# Zips


def zipped(method) -> bytes:
    image, file = io.BytesIO(), io.BytesIO()
    Image.linear_gradient("L").resize((12, 9)).convert("RGB").save(image, "PNG")
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in ("a.png", "b/c.jpg"):
            archive.writestr(name, image.getvalue())
    return file.getvalue()


ZIPS = [zipped(method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


@examples(50)
@given(data=st.data())
def test_a_damaged_zip_is_a_set_or_refused(place, data):
    path = place / "given.zip"
    path.write_bytes(data.draw(st.sampled_from(ZIPS).flatmap(mutated)))
    params = {"data": "folder", "data_path": str(path), "resolution": 32, "n_real": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAGAN_CACHE", str(place / "cache"))
        found = attempt(load, RunConfig.from_params(params), "train")
    assert found is None or 1 <= len(found) <= 2


# Records


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folder of a small ablation: a run that is done and one that is not."""
    arms = {"sagan": {"architecture": "sagan"}, "fagan": {"architecture": "fagan"}}
    some = {"diverged": (), "unfinished": ("fagan-seed0",), "not_begun": ()}
    folder = tmp_path_factory.mktemp("records")
    return make_ablation(folder, arms=arms, seeds=1, steps=50, grids=1, **some)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
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


NAMED = ["plan.json", "reference.json"]
NAMED += [f"runs/sagan-seed0/{name}.json" for name in ("config", "env", "metrics")]
NAMED += [f"runs/fagan-seed0/{name}.csv" for name in ("history", "alpha")]


@examples(50)
@given(name=st.sampled_from(NAMED), data=st.data())
def test_damaged_records_are_read_or_refused(recorded, name, data):
    path, content = recorded / name, (recorded / name).read_bytes()
    texts = mutated(content) | st.sampled_from([b"", b"null", b"[]", b"[" * 9999, b"\xff"])
    path.write_bytes(data.draw(texts | changed(content) if name.endswith("json") else texts))
    try:
        runs = attempt(load_runs, "tiny", recorded.parent)
        assert runs is None or set(runs.finished["run_id"]) <= {"sagan-seed0"}
        attempt(makers, "tiny", recorded.parent)
        for run_id, config in (attempt(ablations.planned, "tiny", recorded.parent) or {}).items():
            attempt(refuse_other_config, recorded / "runs" / run_id, config)
    finally:
        path.write_bytes(content)
