"""The run directory: atomic, truncated where a run resumes, refused where it is another's."""

import json

import pytest

from fagan.config import RunConfig, UserError
from fagan.records import (
    ALPHA,
    HISTORY,
    RunRecord,
    load_runs,
    read_json,
    refuse_other_config,
    write_json,
)

CONFIG = RunConfig.from_params({"resolution": 32, "width": 0.25})


@pytest.fixture
def record(tmp_path):
    record = RunRecord(tmp_path / "results" / "a" / "runs" / CONFIG.run_id)
    record.begin(CONFIG, {"commit": "c0"})
    for step in (0, 10, 20):
        record.history(step=step, images_seen=step * 32, loss_d=0.1 + step)
        record.alpha(
            {"step": step, "images_seen": 0, "network": n, "layer": "full 4x4", "alpha": 0.5}
            for n in ("generator", "discriminator")
        )
        record.timing(step=step, seconds=step / 7, images_per_second=3.0)
    return record


def test_columns_are_the_schema(record):
    assert (record.folder / "history.csv").read_text().splitlines()[0] == ",".join(HISTORY)
    assert (record.folder / "alpha.csv").read_text().splitlines()[0] == ",".join(ALPHA)


def test_a_run_begun_under_another_schema_is_not_continued(record):
    env = read_json(record.folder / "env.json")
    write_json(record.folder / "env.json", env | {"schema": 1})
    before = (record.folder / "history.csv").read_text()
    with pytest.raises(UserError, match="wrote schema 1, this one writes 2; delete the folder"):
        record.begin(CONFIG, {}, resumed=True, step=10)
    assert (record.folder / "history.csv").read_text() == before


def test_records_of_the_first_schema_are_read_and_what_they_lack_is_missing(record):
    results, alpha = record.folder.parents[2], record.folder / "alpha.csv"
    env = read_json(record.folder / "env.json")
    write_json(record.folder / "env.json", env | {"schema": 1})
    alpha.write_text("step,images_seen,network,layer,alpha\n0,0,generator,full 4x4,0.5\n")
    runs = load_runs("a", results)
    assert tuple(runs.alpha.columns[4:]) == ALPHA and runs.alpha["entropy"].isna().all()
    assert runs.gates["alpha"].tolist() == [0.5] and runs.interventions.empty


def test_a_field_that_is_newer_than_a_record_had_its_default(record):
    recorded = read_json(record.folder / "config.json")
    del recorded["exact"]
    write_json(record.folder / "config.json", recorded)
    refuse_other_config(record.folder, CONFIG)
    with pytest.raises(UserError, match="recorded with exact=False, now exact=True"):
        refuse_other_config(record.folder, CONFIG.with_(exact=True))


def test_truncate_keeps_what_the_checkpoint_saw_and_drops_a_torn_line(record):
    with (record.folder / "history.csv").open("a") as file:
        file.write("10,5")  # a line that a crash cut short, though its step looks kept
    record.truncate(10)
    rows = (record.folder / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "0", "10"]
    assert len((record.folder / "alpha.csv").read_text().splitlines()) == 1 + 4


def test_a_fresh_start_leaves_nothing_of_the_old_run(record):
    record.finish("done", fd_lite0=1.0)
    (record.samples / "step_0000010.png").write_bytes(b"x")
    record.weights.write_bytes(b"x")
    record.begin(CONFIG, {"commit": "c1"})
    left = sorted(p.relative_to(record.folder).as_posix() for p in record.folder.rglob("*"))
    assert left == ["config.json", "env.json", "samples"]


def test_a_resumed_run_keeps_its_environment_and_says_with_what_it_went_on(record):
    record.begin(CONFIG, {"commit": "c1", "source_fingerprint": "f1"}, resumed=True, step=10)
    env = read_json(record.folder / "env.json")
    assert env["commit"] == "c0"
    assert [(again["commit"], again["step"]) for again in env["resumed"]] == [("c1", 10)]
    assert (record.folder / "history.csv").read_text().count("\n") == 3


def test_another_configuration_is_refused_with_both_values(record):
    before = (record.folder / "history.csv").read_text()
    with pytest.raises(UserError, match=r"recorded with steps=75972, now steps=5 is asked"):
        record.begin(CONFIG.with_(steps=5), {})
    assert (record.folder / "history.csv").read_text() == before


def test_json_never_holds_nan_and_is_never_half_written(tmp_path):
    path = tmp_path / "m.json"
    write_json(path, {"a": float("nan"), "b": [1.5, float("inf")]})
    assert json.loads(path.read_text()) == {"a": None, "b": [1.5, None]}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text())["b"][0] == 1.5
    assert list(tmp_path.iterdir()) == [path]
    path.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(path)


def test_runs_are_read_back_to_the_last_digit(record):
    value = 0.1 + 0.2
    record.history(step=30, images_seen=960, loss_d=value)
    record.finish("done", fd_lite0=value, step=30)
    runs = load_runs("a", record.folder.parents[2])
    assert runs.history["loss_d"].iloc[-1] == value
    assert runs.history["fd_lite0"].isna().all()
    row = runs.runs.iloc[0]
    assert (row["status"], row["fd_lite0"], row["arm"], row["seed"]) == ("done", value, "fagan", 0)
    assert set(runs.alpha["network"]) == {"generator", "discriminator"}


def test_an_unfinished_run_is_unfinished_and_its_score_missing(record):
    runs = load_runs("a", record.folder.parents[2]).runs
    assert runs["status"].tolist() == ["unfinished"]
    assert "fd_lite0" not in runs or runs["fd_lite0"].isna().all()


def test_other_schema_and_missing_results_are_refused(record, tmp_path):
    results = record.folder.parents[2]
    with pytest.raises(UserError, match="no runs under"):
        load_runs("b", results)
    write_json(record.folder / "env.json", {"schema": 99})
    with pytest.raises(UserError, match="records of schema 99"):
        load_runs("a", results)
