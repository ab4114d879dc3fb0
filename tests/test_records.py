"""The run directory: atomic, truncated where a run resumes, refused where it is another's."""

import csv
import gzip
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from records_factory import FINAL, make_ablation

from fagan.config import RunConfig, refuse_other_config
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.files import read_json, write_json
from fagan.records import ALPHA, KEYS, METRICS, TABLES, TEXTS, RunRecord, load_runs, makers

CONFIG = RunConfig.from_params({"resolution": 32, "width": 0.25})
ALL_DONE = {"diverged": (), "unfinished": (), "not_begun": ()}


@pytest.fixture
def record(tmp_path):
    record = RunRecord(tmp_path / "results" / "a" / "runs" / CONFIG.run_id)
    record.begin(CONFIG, {"commit": "c0"})
    for step in (0, 10, 20):
        record.append("history", [{"step": step, "images_seen": step * 32, "loss_d": 0.1 + step}])
        gates = [
            {"step": step, "images_seen": 0, "network": n, "layer": "full 4x4", "alpha": 0.5}
            for n in ("generator", "discriminator")
        ]
        record.append("alpha", gates)
        record.append("timing", [{"step": step, "seconds": step / 7, "images_per_second": 3.0}])
    return record


def test_every_column_is_explained():
    explained = (ROOT / "docs" / "records.md").read_text()
    for column in {name for columns in TABLES.values() for name in columns}:
        assert f"`{column}`" in explained, column


def test_a_run_begun_under_another_schema_is_not_continued(record):
    env = read_json(record.folder / "env.json")
    write_json(record.folder / "env.json", env | {"schema": 1})
    before = (record.folder / "history.csv").read_text()
    with pytest.raises(UserError, match=r"begun with schema 1, now it is 2; .* delete the folder"):
        record.begin(CONFIG, {}, resumed=True, step=10)
    assert (record.folder / "history.csv").read_text() == before


def test_records_of_the_first_schema_are_read_and_what_they_lack_is_missing(record):
    results, alpha = record.folder.parents[2], record.folder / "alpha.csv"
    env = read_json(record.folder / "env.json")
    write_json(record.folder / "env.json", env | {"schema": 1})
    alpha.write_text("step,images_seen,network,layer,alpha\n0,0,generator,full 4x4,0.5\n")
    runs = load_runs("a", results)
    assert list(runs.alpha) == [*KEYS, *ALPHA] and runs.alpha["entropy"].isna().all()
    assert runs.gates["alpha"].tolist() == [0.5] and runs.interventions.empty


def test_a_field_that_is_newer_than_a_record_had_its_default(record):
    recorded = read_json(record.folder / "config.json")
    del recorded["exact"]
    write_json(record.folder / "config.json", recorded)
    refuse_other_config(record.folder, CONFIG)
    with pytest.raises(UserError, match="recorded with exact=False, now exact=True"):
        record.begin(CONFIG.with_(exact=True), {})


def test_truncate_keeps_what_the_checkpoint_saw(record):
    record.truncate(10)
    rows = (record.folder / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "0", "10"]
    assert len((record.folder / "alpha.csv").read_text().splitlines()) == 1 + 4


TAILS = ["10,5", "10,1\n", "x" + "," * 14 + "\n", "10" + "," * 15 + "\n", "\0\0"]


@pytest.mark.parametrize("tail", TAILS)
def test_truncate_drops_a_line_that_is_no_row(record, tail):
    path = record.folder / "history.csv"
    record.truncate(10)
    whole = path.read_text()
    path.write_text(whole + tail)
    record.truncate(10)
    assert path.read_text() == whole
    path.write_text("step,ima")  # not even a header
    record.truncate(10)
    assert not path.exists()


def test_a_fresh_start_leaves_nothing_of_the_old_run(record):
    record.finish("done", fd_lite0=1.0)
    (record.samples / "step_0000010.png").write_bytes(b"x")
    record.weights.write_bytes(b"x")
    record.interventions([{"layer": "all"}])
    record.begin(CONFIG, {"commit": "c1"})
    left = sorted(p.relative_to(record.folder).as_posix() for p in record.folder.rglob("*"))
    assert left == ["config.json", "env.json", "samples"]


def test_interventions_are_written_once(record):
    for fd in (1.0, 2.0):
        record.interventions([{"layer": "all", "fd": fd}])
    assert load_runs("a", record.folder.parents[2]).interventions["fd"].tolist() == [2.0]


def test_a_resumed_run_keeps_its_environment_and_says_with_what_it_went_on(record):
    record.begin(CONFIG, {"commit": "c1", "source_fingerprint": "f1"}, resumed=True, step=10)
    env = read_json(record.folder / "env.json")
    assert env["commit"] == "c0"
    assert [(again["commit"], again["step"]) for again in env["resumed"]] == [("c1", 10)]
    assert (record.folder / "history.csv").read_text().count("\n") == 3
    plan = {"runs": [{"run_id": CONFIG.run_id, "config": {}}]}
    write_json(record.folder.parents[1] / "plan.json", plan)
    made = makers("a", record.folder.parents[2])
    assert made["commit"].tolist() == ["c0", "c1"] and made["run_id"].nunique() == 1


def test_json_never_holds_nan_and_what_cannot_be_written_leaves_the_old(tmp_path):
    path = tmp_path / "m.json"
    write_json(path, {"a": float("nan"), "b": [1.5, float("inf")]})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": None, "b": [1.5, None]}
    path.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(path)


def test_runs_are_read_back_to_the_last_digit(record):
    value = 0.1 + 0.2
    record.append("history", [{"step": 30, "images_seen": 960, "loss_d": value}])
    record.finish("done", fd_lite0=value, step=30)
    runs = load_runs("a", record.folder.parents[2])
    assert runs.history["loss_d"].iloc[-1] == value
    assert runs.history["step"].tolist() == [0, 10, 20, 30]
    assert runs.history["fd_lite0"].isna().all()
    row = runs.runs.iloc[0]
    assert (row["status"], row["fd_lite0"], row["arm"], row["seed"]) == ("done", value, "fagan", 0)
    assert set(runs.alpha["network"]) == {"generator", "discriminator"}


def test_a_line_that_is_being_written_is_not_read(record):
    with (record.folder / "history.csv").open("a") as file:
        file.write("30,960,0.")
    assert load_runs("a", record.folder.parents[2]).history["step"].tolist() == [0, 10, 20]


def test_an_unfinished_run_is_unfinished_and_its_score_missing(record):
    runs = load_runs("a", record.folder.parents[2])
    assert runs.runs["status"].tolist() == ["unfinished"] and runs.finished.empty
    assert set(METRICS) <= set(runs.runs) and not (runs.runs["fd_lite0"] < 1e9).any()


def test_every_frame_has_the_arms_in_the_tables_order(tmp_path):
    make_ablation(tmp_path, seeds=2, not_begun=("dcgan-seed0",), diverged=("sagan-seed1",))
    runs = load_runs("tiny", tmp_path)
    assert runs.arms == ("dcgan", "sagan", "fagan", "fagan-relativistic")
    for name in ("runs", *TABLES):
        frame = getattr(runs, name)
        assert list(frame)[:4] == KEYS, name
        assert list(frame["label"].cat.categories) == list(runs.labels.values())
        assert frame["label"].cat.ordered and frame["label"].notna().all()
        assert frame["arm"].map(runs.labels).eq(frame["label"].astype(str)).all()
    assert runs.labels["fagan-relativistic"] == "FAGAN relativistic"
    assert set(runs.finished["run_id"]) == set(runs.runs["run_id"]) - {
        "sagan-seed1",
        "fagan-relativistic-seed1",
    }
    assert runs.finished.set_index("run_id")["fd_lite0"]["fagan-seed0"] == FINAL["fagan"]
    one = load_runs("tiny", tmp_path, "fagan-seed1")
    assert one.arms == ("fagan",) and set(one.history["run_id"]) == {"fagan-seed1"}


def test_other_schema_and_missing_results_are_refused(record, tmp_path):
    results = record.folder.parents[2]
    with pytest.raises(UserError, match="no runs under"):
        load_runs("b", results)
    write_json(record.folder / "env.json", {"schema": 99})
    with pytest.raises(UserError, match="records of schema 99"):
        load_runs("a", results)


DAMAGE = {
    "history.csv": "step,loss_d\n0,many\n",
    "alpha.csv": "step,network\n0,generator,1,2,3\n4,5\n6,7,8,9,10,11,12\n",
    "metrics.json": '{"status": "finished", "step": 3}',
    "config.json": '{"arm": "fagan", "seed": 0, "width": "wide"}',
    "env.json": "[]",
    "scores.json": "[3]",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_named_in_one_line(record, name):
    (record.folder / name).write_text(DAMAGE[name])
    with pytest.raises(UserError, match=rf"\A[^\n]*{name} is damaged[^\n]*\Z"):
        load_runs("a", record.folder.parents[2])


def test_the_score_of_faces_is_read_where_evaluate_left_it(record):
    face = {"fd_face": 0.25, "precision_face": 0.9, "recall_face": 0.5}
    assert "fd_face" not in load_runs("a", record.folder.parents[2]).runs
    write_json(record.folder / "scores.json", [{"fd_lite0": 3.0, "recall_lite0": 0.1}, face])
    found = load_runs("a", record.folder.parents[2]).runs.iloc[0]
    assert found[[*face]].to_dict() == face and "recall_lite0" not in found


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """An ablation with rows in every table."""
    arms = {"sagan": {"architecture": "sagan"}, "fagan": {"architecture": "fagan"}}
    results = tmp_path_factory.mktemp("records")
    folder = make_ablation(results, arms=arms, seeds=1, steps=50, grids=0, **ALL_DONE)
    tie = {"distance": 4, "coherence": 0.5, "signal": 0.9}
    for run in folder.glob("runs/*"):
        RunRecord(run).append("ties", [{"step": step} | tie for step in (0, 50)])
        RunRecord(run).append("closed_ties", [{"layer": "all", "intervention": "alpha = 0"} | tie])
        RunRecord(run).classes([{"class_name": "cap", "fd_lite0": 9.5, "recognised": 0.8}])
    return folder


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_any_cell_may_be_missing(two_runs, tmp_path, name, every):
    """Frames compare, sort and group whatever is empty; what is missing is NaN and never pd.NA."""
    folder = shutil.copytree(two_runs, tmp_path / "tiny")
    run = folder / "runs" / "fagan-seed0"
    head, *rows = csv.reader((run / f"{name}.csv").read_text().splitlines())
    words = ["", "NA", "nan", "NaN", "None"]
    for i, row in enumerate(rows):  # one cell in a row, by turns
        row[i % len(row)] = words[(i + i // len(row)) % len(words)]
    rows = [[""] * len(head)] * len(rows) if every else rows
    with (run / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
    for path in folder.glob("runs/*/metrics.json") if every else ():
        write_json(path, dict.fromkeys(read_json(path)) | {"status": "done", "step": 50})
    runs = load_runs("tiny", tmp_path)
    assert (runs.finished["fd_lite0"] > 0).sum() == (0 if every else 2)
    assert not any(cell is pd.NA for cell in runs.runs.to_numpy().ravel())
    for table, columns in TABLES.items():
        _compare(getattr(runs, table), columns)


def _compare(frame, columns):
    for column in columns:
        missing = frame[column].isna()
        assert not any(cell is pd.NA for cell in frame[column]), column
        same = frame[column] == ("generator" if column in TEXTS else 0.5)
        assert same.dtype == bool and not same[missing].any()
        if column not in TEXTS:
            assert not ((frame[column] > -1e300) & missing).any()
    first = frame[columns[0]]
    frame[first == first.max()].sort_values("label")
    frame.groupby("label", observed=True).mean(numeric_only=True)


def test_a_class_may_be_called_none(tmp_path):
    folder = make_ablation(tmp_path, seeds=1, steps=50, **ALL_DONE)
    names = ["NA", "None", "cat"]
    for run in folder.glob("runs/*"):
        RunRecord(run).classes([{"class_name": name, "fd_lite0": 9.5} for name in names])
    classes = load_runs("tiny", tmp_path).classes
    assert sorted(set(classes["class_name"])) == names and classes["recognised"].isna().all()


def test_a_packed_table_is_read_as_it_was(tmp_path):
    """As `make publish` leaves the longest ones."""
    folder = make_ablation(tmp_path, seeds=1, grids=0)
    before = load_runs("tiny", tmp_path)
    for path in [*folder.glob("runs/*/alpha.csv"), *folder.glob("runs/*/spectral.csv")]:
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    after = load_runs("tiny", tmp_path)
    assert len(before.alpha) and len(before.spectral)
    pd.testing.assert_frame_equal(after.alpha, before.alpha)
    pd.testing.assert_frame_equal(after.spectral, before.spectral)
