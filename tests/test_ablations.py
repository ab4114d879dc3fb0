"""The tables that are shipped, and what a wrong one or a wrong override gets."""

import pytest

from fagan import ablations
from fagan.config import UserError
from fagan.files import read_json, write_json
from fagan.models import build, parameters

SHIPPED = tuple(sorted(path.stem for path in ablations.TABLES.glob("*.yaml")))


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """A folder of tables under a root of its own; returns a writer."""
    monkeypatch.setattr(ablations, "TABLES", tmp_path)

    def write(name, text):
        (tmp_path / f"{name}.yaml").write_text(text)

    return write


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_tables_make_valid_runs(name, tmp_path):
    table = ablations.load_table(name)
    (tmp_path / "images").mkdir()
    of_a_folder = table.baseline.get("data") == "folder"
    runs = ablations.configs(table, data_path=str(tmp_path / "images") if of_a_folder else None)
    assert len(runs) == len(table.arms) * len(table.seeds)
    assert len({run.run_id for run in runs}) == len(runs)
    assert table.arms[table.baseline_arm] == {}
    assert set(table.labels) == set(table.arms)
    for run in runs[: len(table.arms)]:
        assert all(map(parameters, build(run)))  # every arm can really be built


def test_celeba_is_the_blogs_recipe():
    fagan = {run.arm: run for run in ablations.configs(ablations.load_table("celeba64"))}["fagan"]
    assert (fagan.resolution, fagan.batch_size, fagan.crop, fagan.width) == (64, 32, "none", 1.0)
    assert (fagan.lr_g, fagan.lr_d, fagan.beta1, fagan.beta2) == (1e-4, 4e-4, 0.0, 0.9)


def test_overrides():
    table = ablations.load_table("smoke")
    runs = ablations.configs(table, seeds=(3, 5), settings={"steps": 7})
    assert {run.seed for run in runs} == {3, 5} and {run.steps for run in runs} == {7}
    assert ablations.parse_seeds("3") == (0, 1, 2)
    assert ablations.parse_seeds("0,5") == (0, 5)
    assert ablations.parse_seeds("5,") == (5,)
    assert ablations.parse_setting("width=0.5") == ("width", 0.5)
    assert ablations.parse_setting("flip=true") == ("flip", True)
    for bad in ("0", "a", "1,1", "-1", [], [True]):
        with pytest.raises(UserError, match="seeds"):
            ablations.parse_seeds(bad)
    with pytest.raises(UserError, match="name=value"):
        ablations.parse_setting("width")


def test_a_folder_replaces_the_faces_and_is_not_recorded(tmp_path):
    (tmp_path / "photos").mkdir()
    table = ablations.load_table("laptop")
    run = ablations.configs(table, data_path=str(tmp_path / "photos"))[0]
    assert run.data == "folder" and run.data_path == str(tmp_path / "photos")
    assert str(tmp_path) not in str(run.identity())
    with pytest.raises(UserError, match="does not exist"):
        ablations.configs(table, data_path=str(tmp_path / "nowhere"))
    (tmp_path / "root" / "celeba" / "img_align_celeba").mkdir(parents=True)
    celeba = ablations.load_table("celeba64")
    assert ablations.configs(celeba, data_path=str(tmp_path / "root"))[0].data == "celeba"
    assert ablations.configs(celeba, data_path=str(tmp_path / "photos"))[0].data == "folder"


def test_a_plan_is_written_once_and_refuses_another_configuration(tmp_path):
    table = ablations.load_table("smoke")
    runs = ablations.plan(table, ablations.configs(table), tmp_path)
    path = tmp_path / "smoke" / "plan.json"
    stamp = path.stat().st_mtime_ns
    ablations.plan(table, runs, tmp_path)
    assert path.stat().st_mtime_ns == stamp
    assert ablations.planned("smoke", tmp_path) == {run.run_id: run for run in runs}
    with pytest.raises(UserError, match="unknown run 'fagan-seed9'; did you mean 'fagan-seed0'"):
        ablations.planned_run("smoke", "fagan-seed9", tmp_path)

    folder = tmp_path / "smoke" / "runs" / "fagan-seed0"
    folder.mkdir(parents=True)
    (run,) = (run for run in runs if run.run_id == folder.name)
    write_json(folder / "config.json", run.identity() | {"steps": 12})
    before = read_json(path)
    with pytest.raises(UserError, match="recorded with steps=12, now steps=13 is asked for"):
        ablations.plan(table, ablations.configs(table, settings={"steps": 13}), tmp_path)
    assert read_json(path) == before


def test_a_table_extends_another(tables):
    tables("base", "baseline: {steps: 5, seed: 0}\narms: {a: {}}\nlabels: {a: A}\nseeds: 2\n")
    tables("more", "extends: base\nbaseline: {steps: 9}\narms: {b: {heads: 2}}\n")
    table = ablations.load_table("more")
    assert table.baseline == {"steps": 9, "seed": 0}
    assert table.arms == {"a": {}, "b": {"heads": 2}}
    assert (table.labels, table.seeds, table.baseline_arm) == ({"a": "A"}, (0, 1), "a")
    tables("loop", "extends: pool\narms: {a: {}}\n")
    tables("pool", "extends: loop\narms: {a: {}}\n")
    with pytest.raises(UserError, match="extends itself"):
        ablations.load_table("loop")


@pytest.mark.parametrize(
    "text,match",
    [
        ("arms: [", "not valid YAML"),
        ("arms: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("arms: &a [*a]", "`arms` must be a mapping"),
        ("arm: {a: {}}", "unknown key 'arm'; did you mean 'arms'"),
        ("title: t", "at least one arm"),
        ("arms: {a: 3}", "arm 'a' must be a mapping"),
        ("arms: {a: {}}\nlabels: {b: B}", "unknown arm 'b'"),
        ("arms: {a: {}, b: {}}\nlabels: {a: b}", "two arms share the label 'b'"),
        ("arms: {no: {}}", "arm False is no text to YAML; write it in quotes"),
        ("arms: {a: {arm: b}}", "'arm' is no parameter here"),
        ("arms: {../x: {}}\n", "a folder's name too"),
        ("arms: {a: {}}\ntitle: 2018-99-99", "a value that cannot be read"),
        ("arms: {a: {}}\nseeds: 0", "seeds=0"),
        ("arms: {a: {}, b: {resolution: 32}}", "differ in resolution"),
    ],
)
def test_wrong_tables_are_named(tables, text, match):
    tables("bad", text)
    with pytest.raises(UserError, match=match) as caught:
        ablations.configs(ablations.load_table("bad"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "params,gpus,chosen",
    [
        ({}, None, "fp32"),
        ({"precision": "bf16", "exact": True}, None, "bf16"),  # asked for: refused later
        ({"precision": "auto", "exact": True}, 1, "fp32"),
        ({"precision": "auto"}, 1, "bf16"),
        ({"precision": "auto"}, 0, "fp32"),
        ({"precision": "auto", "device": "cpu"}, 1, "fp32"),
    ],
)
def test_the_precision_that_auto_means(params, gpus, chosen):
    assert ablations.resolve_precision(params, gpus) == chosen


@pytest.mark.parametrize("able", [False, True])
def test_the_precision_of_this_processor(monkeypatch, able):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: able)
    assert ablations.resolve_precision({"precision": "auto"}) == ("bf16" if able else "fp32")


def test_a_damaged_plan_is_named(tmp_path):
    table = ablations.load_table("smoke")
    ablations.plan(table, ablations.configs(table), tmp_path)
    path = tmp_path / "smoke" / "plan.json"
    whole = read_json(path)
    for runs in ([], {}, None, [1], [{"run_id": "x"}], [whole["runs"][0] | {"run_id": "../x"}]):
        write_json(path, whole | {"runs": runs})
        with pytest.raises(UserError, match=r"the plan of smoke .* is damaged"):
            ablations.planned("smoke", tmp_path)
    with pytest.raises(UserError, match=r"no plan for 'laptop' .*`make ablations ABLATION=laptop`"):
        ablations.planned("laptop", tmp_path)
