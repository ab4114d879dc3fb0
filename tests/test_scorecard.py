"""python -m fagan evaluate: a run or a folder of images, against its own or other real images."""

import json
import shutil

import pytest
from PIL import Image
from typer.testing import CliRunner

from fagan import ablations, evaluate, faces, records, scorecard, train
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
    folder = tmp_path_factory.mktemp("scorecard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAGAN_CACHE", str(folder / "cache"))
        config = RunConfig.from_params(SHORT)
        train.train(config, records.run_folder("one", config.run_id, folder), lambda line: None)
        plan = {"schema": records.SCHEMA, "ablation": "one", "runs": []}
        for seed in (0, 1):
            run = config.with_(seed=seed)
            plan["runs"].append({"run_id": run.run_id, "config": run.identity()})
        records.write_json(folder / "one" / "plan.json", plan)
        yield folder


def write_images(folder, n, seed, size=32):
    folder.mkdir()
    for i, image in enumerate(faces.render(range(n), size, seed).permute(0, 2, 3, 1)):
        Image.fromarray(image.numpy()).save(folder / f"{i:03d}.png")
    return str(folder)


def run_cli(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_a_run_is_scored_as_its_weights_draw(results):
    done = run_cli("one/fagan-seed0", "--results", results, "--input-size", 64)
    assert done.exit_code == 0, done.output
    (row,) = json.loads((results / "one" / "runs" / "fagan-seed0" / "scores.json").read_text())
    metrics = records.read_json(results / "one" / "runs" / "fagan-seed0" / "metrics.json")
    for name in ("fd_lite0", "kid_lite0", "n_fake", "n_real", "eval_seed", "coherence_eyes"):
        assert row[name] == metrics[name], name
    config = ablations.planned_run("one", "fagan-seed0", results)
    generator = train.load_generator(
        config, results / "one" / "runs" / "fagan-seed0" / "generator.safetensors"
    )
    images = evaluate.sample(generator, 60, 16, seed=train.EVALUATION_SEED)
    extractor = evaluate.lite0(64)
    from fagan import data

    real = data.load(config, "reference")
    reference = evaluate.reference(real, 64, extractor)
    expected = evaluate.score(images, reference, extractor, train.EVALUATION_SEED)
    assert row["fd_lite0"] == pytest.approx(expected["fd_lite0"], rel=1e-9)
    for name in ("kid_lite0", "precision_lite0", "coverage_lite0", "fd_lite0_extrapolated",
                 "memorisation_lite0", "coherence_eyes", "n_train"):  # fmt: skip
        assert row[name] is not None, name
    assert (row["n_fake"], row["n_real"], row["split"]) == (60, 64, "held-out")
    assert (row["reference"], row["scored"]) == ("faces", "one/fagan-seed0")
    assert "fd_lite0" in done.output and "scored with fd_lite0 alone" in done.output


def test_a_published_run_is_scored_and_nothing_is_added_to_it(results, tmp_path):
    published = tmp_path / "published" / "one"
    shutil.copytree(results / "one", published)
    (published / "runs" / "fagan-seed0" / "scores.json").unlink(missing_ok=True)
    before = sorted(published.rglob("*"))
    done = run_cli("published/one/fagan-seed0", "--results", tmp_path, "--input-size", 32)
    assert done.exit_code == 0, done.output
    assert "published/one/fagan-seed0" in done.output.replace("\n", "")
    assert sorted(published.rglob("*")) == before
    out = tmp_path / "scores.json"
    options = ("--results", tmp_path, "--input-size", 32, "--out", out)
    assert run_cli("published/one/fagan-seed0", *options).exit_code == 0
    assert json.loads(out.read_text())[0]["fd_lite0"] > 0


def test_a_folder_is_scored_whole_against_another(tmp_path):
    one, other = write_images(tmp_path / "one", 55, 1), write_images(tmp_path / "two", 70, 2)
    (row,) = scorecard.score_images(one, other, resolution=32, input_size=32)
    assert (row["n_fake"], row["n_real"]) == (55, 70)  # none held out on either side
    assert (row["scored"], row["reference"], row["split"]) == ("one", "two", "given")
    (same,) = scorecard.score_images(one, one, resolution=32, input_size=32)
    assert same["fd_lite0"] < 1e-6 < row["fd_lite0"]
    assert same["precision_lite0"] == same["coverage_lite0"] == 1
    out = tmp_path / "rows.json"
    options = ("--resolution", 32, "--input-size", 32, "--n-fake", 50, "--out", out)
    assert run_cli(one, "faces", "--n-real", 60, *options).exit_code == 0
    (row,) = json.loads(out.read_text())
    assert (row["n_fake"], row["n_real"], row["reference"]) == (50, 60, "faces")
    assert row["coherence_eyes"] is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "is no folder or zip, and no run: write ABLATION/RUN_ID"),
        (["one/fagan-seed7"], "unknown run 'fagan-seed7'"),
        (["one/fagan-seed1"], "fagan-seed1 has no weights"),
        (["one/fagan-seed0", "--n-fake", 9], "9 generated images: a score needs at least 50"),
        (["one/fagan-seed0", "nowhere.zip"], "no folder or zip of images at nowhere.zip"),
    ],
)
def test_mistakes_are_named(results, arguments, message):
    done = run_cli(*arguments, "--results", results)
    assert isinstance(done.exception, UserError) and message in str(done.exception)


def test_a_folder_needs_a_reference_and_enough_images(tmp_path):
    few = write_images(tmp_path / "few", 10, 1)
    done = run_cli(few)
    assert "needs a reference" in str(done.exception)
    with pytest.raises(UserError, match="10 images in few: a score needs at least 50"):
        scorecard.score_images(few, "faces", resolution=32)
