"""The playground without a screen: its widgets moved by hand, its pictures held to the networks."""

import io

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

from fagan import ablations, train
from fagan.config import RunConfig
from fagan.data import to_uint8
from fagan.environment import ROOT
from fagan.faces import OPTIONS
from fagan.interpret import force_alpha, map_at, record
from fagan.records import load_runs
from fagan.studies import load_networks

NOTEBOOK = nbformat.read(ROOT / "notebooks" / "playground.ipynb", as_version=4)
RUN = "published/laptop/fagan-seed0"


def executed(results, run):
    """The notebook's names, its cells run in this process."""
    names = {}
    for cell in NOTEBOOK.cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
        if "parameters" in cell.metadata.get("tags", []):
            names.update(results=str(results), run=run)
    return names


@pytest.fixture(scope="module")
def code():
    return executed("results", RUN)


@pytest.fixture
def page(code):
    return code["Playground"](RUN)


@pytest.fixture(scope="module")
def networks():
    runs = load_runs("published/laptop", ROOT / "results", "fagan-seed0")
    return load_networks(runs, "fagan-seed0")


def shown(picture):
    """A widget's PNG as an image of 32 pixels a side, one from the middle of each square."""
    return np.asarray(Image.open(io.BytesIO(picture.value)))[5::10, 5::10]


def image_of(network, z):
    with torch.no_grad():
        return to_uint8(network(z)[0]).permute(1, 2, 0).numpy()


def test_it_runs_in_a_kernel():
    book, place = nbformat.from_dict(NOTEBOOK), {"metadata": {"path": str(ROOT)}}
    NotebookClient(book, timeout=120, resources=place).execute()
    (widgets,) = [out for cell in book.cells for out in cell.get("outputs", [])]
    assert "application/vnd.jupyter.widget-view+json" in widgets["data"]


@pytest.mark.parametrize(
    ("run", "said"), [("laptop/fagn", "unknown run 'laptop/fagn'"), (RUN, "kept its weights")]
)
def test_what_is_not_there_is_one_line(run, said, tmp_path, capsys):
    executed("results" if run != RUN else tmp_path, run)
    line = capsys.readouterr().out
    assert said in line and line.count("\n") == 1


def test_a_gate_changes_the_picture_as_it_changes_the_network(page, networks):
    z = networks.latents(64)[7:8]
    page.start.value = 7
    assert (shown(page.pictures[0]) == image_of(networks.generator, z)).all()
    page.sliders["full 4x4"].value = -0.75
    with force_alpha(networks.generator, -0.75, "full 4x4"):
        wanted = image_of(networks.generator, z)
    assert (wanted != image_of(networks.generator, z)).any()
    assert (shown(page.pictures[0]) == wanted).all()
    assert (shown(page.pictures[1]) == image_of(networks.generator, z)).all()
    page.reset.click()
    assert (shown(page.pictures[0]) == image_of(networks.generator, z)).all()


def test_a_walk_ends_at_the_other_latent(page, networks):
    page.start.value, page.end.value, page.walk.value = 3, 8, 1.0
    end = image_of(networks.generator, networks.latents(64)[8:9]).astype(int)
    assert abs(shown(page.pictures[0]) - end).max() <= 1


def test_the_map_is_the_layers_own(page, networks):
    page.layer.value, page.row.value, page.column.value = "generator, full 8x8", 4, 25
    with torch.no_grad(), record(networks.generator) as passes:
        networks.generator(networks.latents(1))
    weights = map_at(passes["full 8x8"][0], (4, 25), 32)[0].mean(0).numpy()
    _, maps = page.player.look(networks.latents(1), (4, 25))
    assert maps["generator, full 8x8"] == pytest.approx(weights, abs=1e-6)
    image, lit = shown(page.pictures[0]).astype(int), shown(page.pictures[2]).astype(int)
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    cell = slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4)
    assert (image[cell] == lit[cell]).all() and (lit <= image).all() and (lit < image).any()


def test_a_chosen_class_is_drawn(tmp_path):
    """A run with class labels: the class of the latent, and then a chosen one."""
    tiny = {"resolution": 32, "width": 0.125, "squeeze": 4, "latent_size": 16, "batch_size": 4}
    few = {"steps": 1, "images": 64, "n_real": 64, "n_fake": 64, "n_track": 16, "n_intervene": 0}
    classes = {"arm": "sagan", "architecture": "sagan", "conditioning": "concat", "classes": 3}
    run = RunConfig.from_params(tiny | few | classes)
    table = ablations.Table("tiny", "Labels", {}, {"sagan": {}}, {}, (0,))
    ablations.plan(table, [run], tmp_path)
    train.train(run, tmp_path / "tiny" / "runs" / "sagan-seed0", say=lambda _: None)
    page = executed(tmp_path, "tiny/sagan-seed0")["page"]
    network = load_networks(load_runs("tiny", tmp_path), "sagan-seed0")
    assert [name for name, _ in page.kind.options] == ["of the latent", *OPTIONS["headgear"]]
    z = network.latents(64)[:1]
    assert (shown(page.pictures[0]) == image_of(network.generator, z)).all()
    page.kind.value = 2
    z[:, 16:] = torch.eye(3)[2]
    assert (shown(page.pictures[0]) == image_of(network.generator, z)).all()
