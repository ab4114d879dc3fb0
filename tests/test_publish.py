"""What may be published and what is refused, with nothing half copied."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest
import records_factory

from fagan import publish, readings
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.records import load_runs, read_json, write_json
from fagan.report import report
from fagan.tables import write


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
    (folder / "figures").mkdir()
    (folder / "tables").mkdir()
    (folder / "tables" / "summary.csv").write_text("arm,mean\nsagan,1.0\n")
    records_factory.make_pages(folder)
    for network in ("generator", "discriminator"):
        (folder / "runs" / "fagan-seed0" / f"{network}.safetensors").write_bytes(b"weights")
    return results, folder


def refused(results, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        publish.publish("tiny", results, **options)
    assert "\n" not in str(caught.value)
    assert not (results / "published").exists() or not list((results / "published").iterdir())


def test_records_and_pages_are_copied(finished):
    results, folder = finished
    target = publish.publish("tiny", results, weights=("fagan-seed0",))
    assert target == results / "published" / "tiny"
    assert "4 of" not in (front := (target / "report" / "index.html").read_text())
    assert "3 of 4 runs are done (1 diverged)" in front and "published.html" not in front
    assert (target / "report" / "tables" / "summary.csv").exists()
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
    again = {"step": 20, "commit": "c", "dirty": False}
    write_json(env, good | {"resumed": [again | {"source_fingerprint": "other"}]})
    refused(results, "made by different code")
    same = {"source_fingerprint": good["source_fingerprint"]}
    write_json(env, good | {"resumed": [again | same | {"dirty": True}]})
    refused(results, "uncommitted changes")
    write_json(env, good)
    metrics = folder / "runs" / "fagan-seed1" / "metrics.json"
    text = metrics.read_text()
    metrics.unlink()
    refused(results, "1 runs of tiny have not ended")
    metrics.write_text(text)
    refused(results, "older than its records")  # the run ended anew
    records_factory.make_pages(folder)
    publish.publish("tiny", results)


def test_paths_and_sizes_are_refused(finished, monkeypatch):
    results, folder = finished
    table = folder / "tables" / "summary.csv"
    table.write_text(f"arm,path\nsagan,{ROOT}/results/a.png\n")
    refused(results, r"tables/summary\.csv holds this machine's path")
    table.write_text("arm\nsagan\n")
    monkeypatch.setattr(publish, "FILE_LIMIT", 99)
    refused(results, "is over")
    monkeypatch.setattr(publish, "FILE_LIMIT", 5_000_000)
    monkeypatch.setattr(publish, "TOTAL_LIMIT", 99)
    refused(results, "MB to publish")


def with_notebook(folder, run):
    """A run with the notebook that made it; as those of photographs do, it shows some."""
    book = nbformat.v4.new_notebook()
    book.cells.append(nbformat.v4.new_markdown_cell("# One run\n\ntraining images: SECRET"))
    nbformat.write(book, folder / "runs" / run / "train.ipynb")


def of_photographs(folder, path="somewhere/private"):
    """The ablation as if it had been run on a folder of images."""
    plan = read_json(folder / "plan.json")
    for run in plan["runs"]:
        run["config"] |= {"data": "folder", "data_path": path}
    write_json(folder / "plan.json", plan)
    for path in folder.glob("runs/*/config.json"):
        write_json(path, read_json(path) | {"data": "folder"})


def test_photographs_stay_where_they_are(finished):
    results, folder = finished
    with_notebook(folder, "fagan-seed0")
    page = results / "published" / "tiny" / "report" / "runs" / "fagan-seed0.html"
    publish.publish("tiny", results)
    assert "SECRET" in page.read_text()
    publish.publish("tiny", results, notebooks=False)
    assert "SECRET" not in page.read_text()
    of_photographs(folder)
    records_factory.make_pages(folder)
    before = page.read_text()
    with pytest.raises(UserError, match="show photographs of its data set"):
        publish.publish("tiny", results, notebooks=True)
    assert page.read_text() == before  # refused, with what was published in its place
    target = publish.publish("tiny", results)
    assert "SECRET" not in page.read_text()
    assert "data_path" not in json.dumps(read_json(target / "plan.json"))
    assert not list((results / "published").glob(".*"))


def test_without_notebooks_what_a_page_carries_is_not_there_twice(finished):
    results, folder = finished
    for name in ("final_scores.svg", "samples_seed0.png", "progress_fagan.png", "film_fagan.webp"):
        (folder / "figures" / name).write_bytes(b"picture")
    target = publish.publish("tiny", results, notebooks=False)
    assert not list(target.glob("runs/*/samples"))
    kept = {path.name for path in (target / "figures").iterdir()}
    assert kept == {"final_scores.svg", "samples_seed0.png"}
    page = (target / "report" / "runs" / "fagan-seed0.html").read_text()
    assert "data:image/png;base64," in page
    target = publish.publish("tiny", results)
    assert len(list(target.glob("runs/*/samples/*.png"))) == 4
    assert len(list((target / "figures").iterdir())) == 4


def test_the_front_page_tells_what_a_published_ablation_of_more_seeds_answers(finished):
    results, _ = finished
    arms = {"sagan": {}, "fagan": {"architecture": "fagan"}, "dcgan": {"architecture": "dcgan"}}
    options = {"unfinished": (), "not_begun": (), "diverged": ()}
    larger = records_factory.make_ablation(results, "larger", arms=arms, seeds=3, **options)
    records_factory.make_pages(larger)
    question = readings.answers(load_runs("tiny", results))[0].question
    answer = readings.Answer(question, "Nothing is shown", "", 3, "comparison", "blog.csv", "0 [1]")
    write(readings.answers_table([answer]), larger / "tables" / "answers.csv")
    assert "Nothing is shown" not in report("tiny", results).read_text()
    publish.publish("larger", results)
    front = report("tiny", results)
    text = front.read_text()
    assert text.count("3 arms, 3 seeds an arm") == 1 and "<b>Nothing is shown</b>" in text
    link = "../../published/larger/report/index.html"
    assert f'href="{link}"' in text and (front.parent / link).resolve().is_file()
    # from the published page the same link leads elsewhere
    target = publish.publish("tiny", results) / "report"
    link = "../../larger/report/index.html"
    assert f'href="{link}"' in (target / "index.html").read_text()
    assert (target / link).resolve().is_file()
    # not from another data set, nor from the smaller to the larger
    assert "Nothing is shown" not in report("larger", results).read_text()
    (results / "published" / "broken").mkdir()
    (results / "published" / "broken" / "plan.json").write_text("{")
    assert "Nothing is shown" in report("tiny", results).read_text()
    reference = results / "published" / "larger" / "reference.json"
    write_json(reference, read_json(reference) | {"checksum": "other"})
    assert "Nothing is shown" not in report("tiny", results).read_text()


def test_what_was_published_stays_until_the_new_is_in_its_place(finished, monkeypatch):
    results, _ = finished
    target = publish.publish("tiny", results)
    (target / "old").write_text("published before")

    def fails(*arguments):
        raise OSError("no more")

    monkeypatch.setattr(publish, "write_pages", fails)
    with pytest.raises(OSError, match="no more"):
        publish.publish("tiny", results)
    monkeypatch.undo()
    rename = Path.rename

    def not_the_new(self, to):
        if self.name == ".tiny.part":
            fails()
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", not_the_new)
    with pytest.raises(OSError, match="no more"):
        publish.publish("tiny", results)
    monkeypatch.undo()
    assert (target / "old").read_text() == "published before"
    target.rename(target.with_name(".tiny.old"))  # as if it had been killed between two renames
    publish.publish("tiny", results)
    assert (target / "report" / "index.html").exists() and not (target / "old").exists()
    assert not list((results / "published").glob(".*"))


def test_only_what_belongs_to_the_plan_goes_along(finished):
    results, folder = finished
    stray = folder / "runs" / "fagan-seed7"
    shutil.copytree(folder / "runs" / "fagan-seed1", stray)
    (folder / "tables" / ".summary.csv.1234.tmp").write_text("half a table")
    (folder / "figures" / "notes.txt").write_text("a private thought")
    target = publish.publish("tiny", results)
    names = {path.name for path in target.rglob("*")}
    assert not names & {"fagan-seed7", ".summary.csv.1234.tmp", "notes.txt"}
    with pytest.raises(UserError, match=r"unknown run 'fagn-seed0'.*fagan-seed0"):
        publish.publish("tiny", results, weights=("fagn-seed0",))


def test_a_path_of_the_images_is_not_published(finished):
    results, folder = finished
    of_photographs(folder, "/mnt/secret/photos")
    (folder / "tables" / "summary.csv").write_text("file\n/mnt/secret/photos/1.png\n")
    records_factory.make_pages(folder)
    refused(results, r"summary\.csv holds this machine's path /mnt/secret/photos")
