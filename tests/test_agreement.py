"""One record of an ablation held against another: equal digits, intervals, and what is left out."""

import shutil

import numpy as np
import pandas as pd
import pytest
from records_factory import make_ablation

from fagan import readings, tables
from fagan.records import load_runs, read_json, write_json


@pytest.fixture
def pair(tmp_path):
    """(load, change): load() is (here, published), change(run_id, file, **values) changes here."""
    arms = {"sagan": {"architecture": "sagan"}, "fagan": {"architecture": "fagan"}}
    whole = {"diverged": (), "unfinished": (), "not_begun": ()}
    folder = make_ablation(tmp_path, arms=arms, seeds=2, grids=1, **whole)
    shutil.copytree(folder, tmp_path / "published" / "tiny")

    def load():
        return load_runs("tiny", tmp_path), load_runs("published/tiny", tmp_path)

    def change(run_id, file, **values):
        path = folder / "runs" / run_id / file
        write_json(path, read_json(path) | values)

    return load, change


def test_a_copy_is_equal_to_the_last_digit(pair):
    here, published = pair[0]()
    scores, records = tables.score_agreement(here, published), tables.record_agreement(*pair[0]())
    assert set(scores["verdict"]) == {"equal"} and len(scores) == 4 * 6
    assert (records["values"] == records["equal"]).all() and records["values"].min() > 0
    assert set(records["table"]) == {
        "history.csv",
        "alpha.csv",
        "spectral.csv",
        "interventions.csv",
    }
    reading = readings.read_agreement(here, published)
    assert reading.claim == "This clone repeats the published numbers to the last digit"
    assert "4 runs, 24 final scores: 24 equal" in reading.text
    assert "same conditions" in reading.text


def test_one_digit_under_the_same_conditions_is_a_difference(pair):
    load, change = pair
    change("fagan-seed0", "metrics.json", fd_lite0=np.nextafter(70.0, 71.0))
    scores = tables.score_agreement(*load()).set_index(["run_id", "metric"])["verdict"]
    assert scores["fagan-seed0", "fd_lite0"] == "differs"
    assert (scores == "differs").sum() == 1
    reading = readings.read_agreement(*load())
    assert reading.claim == "1 of 24 final scores differ where they should repeat"
    assert "these differ: fagan-seed0 fd_lite0" in reading.text


def test_on_another_processor_the_interval_decides(pair):
    load, change = pair
    for run_id in ("fagan-seed0", "fagan-seed1"):
        change(run_id, "env.json", processor="another")
    change("fagan-seed0", "metrics.json", fd_lite0=75.0)
    change("fagan-seed1", "metrics.json", fd_lite0=150.0)
    here, published = load()
    scores = tables.score_agreement(here, published).set_index(["run_id", "metric"])
    assert scores.loc[("fagan-seed0", "fd_lite0"), "verdict"] == "inside"
    assert scores.loc[("fagan-seed1", "fd_lite0"), "verdict"] == "outside"
    reading = readings.read_agreement(here, published)
    assert reading.claim == "1 of 24 final scores lie outside the published seeds' interval"
    assert "Outside: fagan-seed1 fd_lite0" in reading.text
    assert "processor (a processor and another here, a processor published)" in reading.text
    table = tables.conditions(here, published).set_index("condition")
    assert table.index[~table["same"].astype(bool)].tolist() == ["processor"]


def test_the_interval_is_that_of_one_more_run(pair):
    _, published = pair[0]()
    # two arms of two seeds: sagan 80 and 86, fagan 70 and 74; pooled variance (18 + 8) / 2
    low, high = tables.prediction_intervals(published, "fd_lite0")["fagan"]
    reach = 4.302652729911275 * np.sqrt(13.0) * np.sqrt(1.5)  # Student's t, 2 degrees of freedom
    assert (low, high) == pytest.approx((72 - reach, 72 + reach))


def test_one_seed_an_arm_has_no_interval(tmp_path):
    make_ablation(tmp_path, seeds=1, unfinished=(), diverged=(), not_begun=())
    assert tables.prediction_intervals(load_runs("tiny", tmp_path), "fd_lite0") == {}


def test_the_first_step_that_differs_is_named(pair):
    load, _ = pair
    path = load()[0].folder / "runs" / "fagan-seed0" / "history.csv"
    lines = path.read_text().splitlines()
    cells = lines[11].split(",")
    lines[11] = ",".join([*cells[:2], "9.5", *cells[3:]])
    path.write_text("\n".join(lines[:-1]) + "\n")  # and the last row is lost
    records = tables.record_agreement(*load()).set_index(["run_id", "table"])
    row = records.loc[("fagan-seed0", "history.csv")]
    assert row["step"] == int(cells[0]) and 0 < row["equal"] < row["values"] - 1
    assert pd.isna(records.loc[("fagan-seed1", "history.csv"), "step"])
    reading = readings.read_agreement(*load())
    assert reading.claim.startswith("The published final scores repeat to the last digit, not")


def test_another_configuration_is_not_compared(pair):
    load, change = pair
    change("sagan-seed0", "config.json", steps=800)
    change("sagan-seed1", "config.json", threads=8)  # the same experiment
    here, published = load()
    assert tables.other_configurations(here, published) == {"sagan-seed0": ["steps"]}
    scores = tables.score_agreement(here, published)
    assert set(scores["run_id"]) == {"sagan-seed1", "fagan-seed0", "fagan-seed1"}
    text = readings.read_agreement(here, published).text
    assert "1 with another configuration than the published run (steps)" in text
    assert "threads (1 and 8 here, 1 published)" in text


def test_what_is_in_one_record_only_is_said(pair):
    load, change = pair
    change("fagan-seed0", "metrics.json", fd_lite0=None)
    (load()[0].folder / "runs" / "fagan-seed1" / "metrics.json").unlink()
    here, published = load()
    scores = tables.score_agreement(here, published).set_index(["run_id", "metric"])["verdict"]
    assert scores["fagan-seed0", "fd_lite0"] == "one-sided"
    assert set(scores["fagan-seed1"]) == {"one-sided"}
    text = readings.read_agreement(here, published).text
    assert "7 scores are in one of the two records only" in text
