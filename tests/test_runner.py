"""The training template and what stands between papermill and a configuration."""

import json

import pytest
from records_factory import make_ablation

from fagan import runner, workflow
from fagan.ablations import planned
from fagan.config import RunConfig
from fagan.errors import UserError

BOOK = json.loads(runner.TEMPLATE.read_text())
CODE = [cell for cell in BOOK["cells"] if cell["cell_type"] == "code"]
PARAMETERS = next(c for c in CODE if "parameters" in c["metadata"].get("tags", []))


def defaults():
    namespace = {}
    exec("".join(PARAMETERS["source"]), namespace)
    return {k: v for k, v in namespace.items() if not k.startswith("__")}


def test_the_template_is_typed_explained_and_without_outputs():
    assert not any(cell["outputs"] or cell["execution_count"] for cell in CODE)
    for line in PARAMETERS["source"]:
        if not line.startswith("#"):
            name, rest = line.split(":", 1)
            assert name.isidentifier() and "=" in rest and "  # " in rest, line


def test_papermill_can_read_every_line():
    """papermill drops a parameter whose line it cannot parse, with no more than a warning."""
    from papermill.inspection import inspect_notebook

    assert set(inspect_notebook(str(runner.TEMPLATE))) == set(defaults())


def test_differences_and_defaults_give_the_configuration_back(tmp_path):
    wanted = RunConfig.from_params({"arm": "a", "steps": 7, "flip": True, "resolution": 32})
    told = runner._differences("smoke", wanted, tmp_path)
    assert set(told) == {"ablation", "results", "arm", "steps", "flip", "resolution"}
    config, ablation, results = runner.from_notebook(defaults() | told)
    assert (config, ablation, results) == (wanted, "smoke", tmp_path)
    inside = runner._differences("smoke", wanted, runner.ROOT / "results")
    assert inside["results"] == "results"


def test_a_misspelt_parameter_is_refused_where_papermill_goes_on():
    with pytest.raises(UserError, match="unknown parameter 'stpes'; did you mean 'steps'"):
        runner.from_notebook(defaults() | {"stpes": 5})
    # what IPython and imports leave in a namespace is no parameter
    runner.from_notebook(defaults() | {"_i1": "x", "In": [], "json": json, "quit": exit})


def test_the_machine_chooses_the_ablation(monkeypatch, tmp_path):
    """CUDA cannot be had here, so its presence is pretended."""
    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FAGAN_DATA", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert workflow.choose_ablation(None)[0] == "laptop"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    name, why = workflow.choose_ablation(None)
    assert name == "faces64" and "data/celeba" in why and "\n" not in why
    assert workflow.choose_ablation("somewhere")[0] == "celeba64"
    (tmp_path / "data" / "celeba" / "img_align_celeba").mkdir(parents=True)
    assert workflow.choose_ablation(None)[0] == "celeba64"


def test_the_drawing_cells_survive_a_run_without_gates_that_diverged_at_once(tmp_path, monkeypatch):
    import IPython.display
    import matplotlib

    matplotlib.use("Agg")
    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: shown.append(data))
    made = {"arms": {"dcgan": {"architecture": "dcgan"}}, "seeds": 1, "grids": 1, "images": 96}
    make_ablation(tmp_path, **made, diverged=("dcgan-seed0",), unfinished=(), not_begun=())
    config = next(iter(planned("tiny", tmp_path).values()))
    space = {"config": config, "ablation_name": "tiny", "results_folder": tmp_path}
    cells = ["".join(cell["source"]) for cell in CODE]
    after = next(i for i, source in enumerate(cells) if "plots.use_style()" in source)
    for source in cells[after:]:
        exec(source, space)
    assert [data["text/plain"].split()[0] for data in shown] == ["Learning", "The", "32"]
