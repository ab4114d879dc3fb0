"""python -m fagan evaluate: a run or a folder of images, against its own or other real images."""

import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from math import isfinite, isnan

import pytest
import torch
from PIL import Image
from torch.nn import functional
from typer.testing import CliRunner

from fagan import data, environment, evaluate, faces, files, records, statistics, train
from fagan.cli import app
from fagan.config import RunConfig
from fagan.errors import UserError

SHORT = {
    "arm": "fagan",
    "architecture": "F C+A | C F+A",
    "resolution": 16,
    "width": 0.0625,
    "squeeze": 4,
    "latent_size": 16,
    "batch_size": 4,
    "images": 80,
    "steps": 2,
    "log_every": 1,
    "eval_every": 2,
    "n_track": 16,
    "n_fake": 60,
    "n_real": 64,
    "n_intervene": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module", autouse=True)
def results(tmp_path_factory):
    """One finished run of an ablation, in a results folder of its own."""
    folder = tmp_path_factory.mktemp("measure")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAGAN_CACHE", str(folder / "cache"))
        config = RunConfig.from_params(SHORT)
        train.train(config, files.run_folder("one", config.run_id, folder), lambda line: None)
        plan = {"schema": environment.SCHEMA, "ablation": "one", "runs": []}
        for seed in (0, 1):
            run = config.with_(seed=seed)
            plan["runs"].append({"run_id": run.run_id, "config": run.identity()})
        files.write_json(folder / "one" / "plan.json", plan)
        yield folder


def write_images(folder, n, seed, size=32):
    folder.mkdir()
    for i, image in enumerate(faces.render(range(n), size, seed).permute(0, 2, 3, 1)):
        Image.fromarray(image.numpy()).save(folder / f"{i:03d}.png")
    return str(folder)


def run_cli(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_a_run_is_scored_as_its_training_scored_it(results):
    """To the last digit, however many threads this process has."""
    done = run_cli("one/fagan-seed0", "--results", results, "--input-size", 64)
    assert done.exit_code == 0, done.output
    folder = results / "one" / "runs" / "fagan-seed0"
    (row,), metrics = files.read_json(folder / "scores.json"), records.read_metrics(folder)
    common = row.keys() & metrics.keys()
    assert {"fd_lite0", "kid_lite0", "n_fake", "n_real", "eval_seed", "coherence_eyes"} <= common
    assert {name: row[name] for name in common} == {name: metrics[name] for name in common}
    finite = "precision_lite0 coverage_lite0 fd_lite0_extrapolated memorisation_lite0".split()
    assert all(isfinite(row[name]) for name in finite)
    assert (row["n_train"], row["split"]) == (80, "held-out")
    assert (row["reference"], row["scored"]) == ("faces", "one/fagan-seed0")
    assert "; scored without it" in done.output
    assert "the same processor, threads and torch as the record's" in done.output


def test_a_published_run_of_another_machine_is_scored_and_nothing_is_added_to_it(results, tmp_path):
    published = tmp_path / "published" / "one"
    shutil.copytree(results / "one", published)
    folder = published / "runs" / "fagan-seed0"
    (folder / "scores.json").unlink(missing_ok=True)
    env = files.read_json(folder / "env.json")
    env |= {"processor": "another", "versions": env["versions"] | {"torch": "0.4.1"}}
    files.write_json(folder / "env.json", env)
    before = sorted(published.rglob("*"))
    done = run_cli("published/one/fagan-seed0", "--results", tmp_path, "--input-size", 32)
    assert done.exit_code == 0, done.output
    assert "published/one/fagan-seed0" in done.output.replace("\n", "")
    assert "another processor, torch than the record's: the last digits may differ" in done.output
    assert sorted(published.rglob("*")) == before


def scored(tmp_path, *arguments):
    """The first row of a folder's scores."""
    out = tmp_path / "rows.json"
    done = run_cli(*arguments, "--resolution", 32, "--input-size", 32, "--out", out)
    assert done.exit_code == 0, done.output
    return json.loads(out.read_text())[0]


def test_a_folder_is_scored_whole_against_another(tmp_path):
    one, other = write_images(tmp_path / "one", 55, 1), write_images(tmp_path / "faces", 70, 2)
    row = scored(tmp_path, one, other)
    assert (row["n_fake"], row["n_real"]) == (55, 70)  # none held out on either side
    assert (row["scored"], row["reference"], row["split"]) == ("one", "faces", "given")
    assert "coherence_eyes" not in row, "a folder that is called faces is a folder"
    same = scored(tmp_path, one, one)
    assert same["fd_lite0"] < 1e-6 < row["fd_lite0"]
    assert same["precision_lite0"] == same["coverage_lite0"] == 1
    row = scored(tmp_path, one, "faces", "--n-real", 60, "--n-fake", 50)
    assert (row["n_fake"], row["n_real"], row["reference"]) == (50, 60, "faces")
    assert row["coherence_eyes"] is not None


def test_images_that_were_not_held_out_tell_nothing_of_copies(tmp_path):
    real = data.load_all(write_images(tmp_path / "one", 55, 1), 32)
    (row,) = evaluate.scorecard(real.images, real, real, input_size=32)
    assert isnan(row["memorisation_lite0"]) and row["n_train"] == 55
    (row,) = evaluate.scorecard(real.images, real, replace(real, split="train"), input_size=32)
    assert row["memorisation_lite0"] == 0.5  # the very same images on both sides


def test_inception_has_a_row_of_its_own(tmp_path, monkeypatch):
    """A stand-in of pooled colours and of two classes: dark and light."""

    def network(images):
        return functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)

    classes = torch.stack([torch.ones(12), -torch.ones(12)]) / 100
    stand_in = evaluate.Extractor("inception", 32, 12, "none", "ab", network, classes=classes)
    monkeypatch.setattr(evaluate.report, "inception_missing", lambda: None)
    monkeypatch.setattr(evaluate.report, "inception", lambda device: stand_in)
    one, two = (data.load_all(write_images(tmp_path / str(i), 60, i), 32) for i in (1, 2))
    lite0, inception = evaluate.scorecard(one.images, two, input_size=32)
    assert lite0["extractor"] == "lite0" and not {"fid", "inception_score"} & lite0.keys()
    assert {"fid", "fid_extrapolated", "kid_inception", "recall_inception"} <= inception.keys()
    assert inception["inception_score"] >= 1 and "fd_lite0" not in inception


def test_faces_have_a_row_of_their_own_where_they_are_asked_for(results, monkeypatch):
    """A stand-in of pooled colours; without the package a line says so before images are drawn."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "face_recognition_models", None)
        patch.setattr(train, "drawn", lambda *_: pytest.fail("drawn in vain"))
        done = run_cli("one/fagan-seed0", "--results", results, "--faces")
    assert isinstance(done.exception, UserError) and "fd_face needs" in str(done.exception)

    def stand_in(crop="none", device="cpu"):
        crops.append(crop)
        network = partial(functional.adaptive_avg_pool2d, output_size=2)
        return evaluate.Extractor(
            "face", 32, 12, crop, "ab", lambda x: network(x.float()).flatten(1)
        )

    crops = []
    monkeypatch.setattr(evaluate.features, "face_path", lambda: None)
    monkeypatch.setattr(evaluate.report, "face", stand_in)
    done = run_cli("one/fagan-seed0", "--results", results, "--faces", "--input-size", 32)
    assert done.exit_code == 0, done.output
    lite0, face = files.read_json(results / "one" / "runs" / "fagan-seed0" / "scores.json")
    assert crops[-1] == "center" and "fd_face" not in lite0
    assert face["fd_face"] > 0 and "memorisation_face" not in face
    scores = statistics.final_scores(records.load_runs("one", results))
    assert scores["fd_face"].tolist() == [face["fd_face"]]


def test_mistakes_are_named(results, tmp_path):
    few = write_images(tmp_path / "few", 10, 1)
    for arguments, message in (
        (["nowhere"], "is no folder or zip, and no run: write ABLATION/RUN_ID"),
        (["one/fagan-seed1"], "fagan-seed1 has no weights"),
        (["one/fagan-seed0", "nowhere.zip"], "no folder or zip of images at"),
        ([few], "needs a reference"),
        ([few, few, "--resolution", 32], "10 images to score: a score needs at least 50"),
    ):
        done = run_cli(*arguments, "--results", results)
        assert isinstance(done.exception, UserError) and message in str(done.exception)
