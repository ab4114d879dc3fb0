"""What may be published and what is refused, with nothing half copied."""

import json

import pytest
import records_factory

from fagan import publish
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.records import read_json, write_json


@pytest.fixture
def finished(tmp_path):
    """A finished synthetic ablation with a page; returns (results, its folder)."""
    results = tmp_path / "results"
    folder = records_factory.make_ablation(
        results,
        arms={"sagan": {}, "fagan": {"architecture": "fagan"}},
        seeds=2,
        diverged=("sagan-seed1",),
        unfinished=(),
        not_begun=(),
    )
    for name in ("figures", "tables", "report"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "report" / "index.html").write_text("<p>an answer</p>")
    for network in ("generator", "discriminator"):
        (folder / "runs" / "fagan-seed0" / f"{network}.safetensors").write_bytes(b"weights")
    return results, folder


def refused(results, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        publish.publish("tiny", results, **options)
    assert "\n" not in str(caught.value)
    assert not (results / "published").exists() or not list((results / "published").iterdir())


def test_records_and_pages_are_copied_and_the_data_path_is_not(finished):
    results, folder = finished
    plan = read_json(folder / "plan.json")
    plan["runs"][0]["config"] |= {"data": "folder", "data_path": "somewhere/private"}
    write_json(folder / "plan.json", plan)
    target = publish.publish("tiny", results, weights=("fagan-seed0",))
    assert target == results / "published" / "tiny"
    assert (target / "report" / "index.html").read_text() == "<p>an answer</p>"
    for run in ("sagan-seed0", "sagan-seed1", "fagan-seed0", "fagan-seed1"):
        for name in ("history.csv", "metrics.json", "env.json", "spectral.csv"):
            original = (folder / "runs" / run / name).read_bytes()
            assert (target / "runs" / run / name).read_bytes() == original
        assert len(list((target / "runs" / run / "samples").iterdir())) == 1
        ended = run != "sagan-seed1"  # which diverged
        assert (target / "runs" / run / "interventions.csv").exists() is ended
    copied = {path.parent.name for path in target.glob("runs/*/*.safetensors")}
    assert copied == {"fagan-seed0"}
    assert len(list(target.glob("runs/*/*.safetensors"))) == 2
    assert "data_path" not in json.dumps(read_json(target / "plan.json"))
    # again replaces what was there
    (target / "old").write_text("x")
    publish.publish("tiny", results)
    assert not (target / "old").exists()


def test_what_is_not_worth_citing_is_refused(finished):
    results, folder = finished
    env = folder / "runs" / "fagan-seed1" / "env.json"
    good = read_json(env)
    write_json(env, good | {"dirty": True})
    refused(results, "uncommitted changes")
    write_json(env, good | {"dirty": None})
    refused(results, "uncommitted changes or outside git")
    write_json(env, good | {"source_fingerprint": "other"})
    refused(results, "made by different code")
    write_json(env, good)
    metrics = folder / "runs" / "fagan-seed1" / "metrics.json"
    text = metrics.read_text()
    metrics.unlink()
    refused(results, "1 runs of tiny have not ended")
    metrics.write_text(text)
    publish.publish("tiny", results)


def test_paths_and_sizes_are_refused(finished, monkeypatch):
    results, folder = finished
    page = folder / "report" / "index.html"
    page.write_text(f"<img src='{ROOT}/results/a.png'>")
    refused(results, r"report/index\.html holds this machine's path")
    page.write_text("x" * 100)
    monkeypatch.setattr(publish, "FILE_LIMIT", 99)
    refused(results, "is over")
    monkeypatch.setattr(publish, "FILE_LIMIT", 5_000_000)
    monkeypatch.setattr(publish, "TOTAL_LIMIT", 99)
    refused(results, "MB to publish")
