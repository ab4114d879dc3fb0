"""Many runs: what is read of them all at once is what reading one after the other gives."""

import pandas as pd
import pytest

from fagan.bench import scale
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.records import TABLES, load_runs, newest_rows
from fagan.status import progress, summary


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A results folder with 50 runs."""
    results = tmp_path_factory.mktemp("many")
    scale.write_runs(results, 50)
    return results


def one_by_one(runs, name):
    """A table the slow, obvious way."""
    frames = []
    for row in runs.runs.itertuples():
        path = runs.folder / "runs" / row.run_id / f"{name}.csv"
        if path.exists():
            frames.append(pd.read_csv(path).reindex(columns=TABLES[name]))
            for column in ("seed", "arm", "run_id"):
                frames[-1].insert(0, column, getattr(row, column))
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("name", TABLES)
def test_all_runs_at_once_are_one_after_the_other(many, name):
    runs = load_runs(scale.ABLATION, many)
    table = getattr(runs, name)
    pd.testing.assert_frame_equal(table, one_by_one(runs, name))
    assert table["run_id"].nunique() == 50 == len(runs.runs)


def test_runs_of_different_headers_keep_the_plans_order(tmp_path):
    scale.write_runs(tmp_path, 6)
    for run_id in ("fagan-seed0", "sagan-seed2"):  # as an older schema wrote it
        path = tmp_path / scale.ABLATION / "runs" / run_id / "alpha.csv"
        lines = [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()]
        path.write_text("\n".join(lines) + "\n")
    runs = load_runs(scale.ABLATION, tmp_path)
    pd.testing.assert_frame_equal(runs.alpha, one_by_one(runs, "alpha"))
    assert runs.alpha.query("run_id == 'fagan-seed0'")["distance"].isna().all()


def test_a_line_that_is_being_written_is_not_read_and_damage_is_named(tmp_path):
    scale.write_runs(tmp_path, 4)
    path = tmp_path / scale.ABLATION / "runs" / "sagan-seed1" / "timing.csv"
    whole = path.read_text()
    path.write_text(whole + "1550,1")
    timing = load_runs(scale.ABLATION, tmp_path).timing
    assert timing["step"].max() == 1500 and len(timing) == 4 * scale.LOG_STEPS
    path.write_text(whole + "1550,1,2,3,4,5\n")
    with pytest.raises(UserError, match=r"sagan-seed1/timing\.csv is damaged"):
        load_runs(scale.ABLATION, tmp_path)


def test_the_last_rows_come_first_whatever_the_block(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("step,x\n" + "".join(f"{i},{'y' * (i % 40)}\n" for i in range(500)) + "500,")
    for block in (1, 7, 64, 8_192):
        monkeypatch.setattr("fagan.records.tails.BLOCK", block)
        assert [int(row["step"]) for row in newest_rows(path)] == list(range(499, -1, -1))
    assert next(newest_rows(path)) == {"step": "499", "x": "y" * 19}
    for text in ("", "step,x", "step,x\n", "step,x\n5"):
        path.write_text(text)
        assert list(newest_rows(path)) == []
    assert list(newest_rows(tmp_path / "none.csv")) == []


def test_status_reads_the_ends_of_all(many):
    runs = progress(scale.ABLATION, many)
    assert summary(runs) == "50 of 50 done"
    assert {(run.step, run.steps) for run in runs} == {(1500, 1500)}
    table = load_runs(scale.ABLATION, many)
    last = table.alpha.query("step == 1500 and network == 'generator'").groupby("run_id")["alpha"]
    assert {run.run_id: run.alpha_g for run in runs} == last.max().to_dict()


def test_the_bench_measures_every_part(tmp_path):
    parts = {part: (unit, values) for part, unit, values in scale.measure_scale(tmp_path, 4, 6)}
    assert list(parts)[:4] == [
        "plan of 6 runs", "records of 4 runs", "status of 4 runs", "graph of 4 runs",
    ]  # fmt: skip
    assert all(value > 0 for _, values in parts.values() for value in values)


def test_a_run_is_checked_by_itself(many, monkeypatch):
    """A job of a large plan does not check the configurations of all others."""
    from fagan import ablations

    checked = []
    monkeypatch.setattr(RunConfig, "_check", lambda self: checked.append(self.run_id))
    assert ablations.planned_run(scale.ABLATION, "fagan-seed7", many).seed == 7
    assert checked == ["fagan-seed7"]
