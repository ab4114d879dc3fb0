"""The playground: its pictures against the networks, and its page in a real browser."""

import io
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from package import open_gates
from PIL import Image
from records_factory import make_ablation

from fagan.data import to_uint8
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.interpret import force_alpha, gated_layers, map_at, record
from fagan.models import build
from fagan.playground import (
    Finished,
    Player,
    Playground,
    Settings,
    finished_runs,
    image_png,
    map_png,
    playground,
)
from fagan.playground.pictures import DIM, EDGE, MARK
from fagan.records import load_runs
from fagan.studies import recorded_config
from fagan.train import save_weights

NOTEBOOK = ROOT / "notebooks" / "playground.ipynb"
LAB_CONFIG = ROOT / "notebooks" / "jupyter_lab_config.py"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
DIGEST = """async image => {
    const bytes = await (await fetch(image.src)).arrayBuffer();
    return Array.from(new Uint8Array(bytes)).reduce((h, b) => (31 * h + b) % 4294967291, 7) + "";
}"""
ARMS = {
    "dcgan": {"architecture": "dcgan"},
    "fagan": {"architecture": "fagan"},
    "concat": {"architecture": "F F C | C F C", "merge": "concat"},
    "channel": {"architecture": "sagan", "alpha": "channel"},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Finished runs with weights of four arms, one without its weights, one that diverged."""
    results = tmp_path_factory.mktemp("playground")
    small = {"width": 0.125, "squeeze": 4, "images": 400, "n_real": 300}
    arms = ARMS | {"lost": {"architecture": "dcgan"}, "stopped": {"architecture": "dcgan"}}
    make_ablation(results, arms=arms, seeds=1, grids=0, diverged=("stopped-seed0",), **small)
    runs = load_runs("tiny", results)
    for arm in ("stopped", *ARMS):
        folder = runs.folder / "runs" / f"{arm}-seed0"
        both = build(recorded_config(runs, folder.name))
        for network, name in zip(both, ("generator", "discriminator"), strict=True):
            open_gates(network)
            save_weights(network, folder / f"{name}.safetensors")
    return results


@pytest.fixture(scope="module")
def players(results):
    return {run.run_id.removesuffix("-seed0"): Player(run) for run in finished_runs(results)}


@pytest.fixture
def page(results):
    """The widgets, with the released network chosen."""
    page = Playground(finished_runs(results))
    page.run.value = next(run for run in finished_runs(results) if run.run_id == "fagan-seed0")
    return page


# Runs


def test_runs_to_choose_from_are_finished_and_have_weights(results, players):
    assert set(players) == set(ARMS)
    assert finished_runs(results)[0].name.startswith("tiny / ")


def test_published_runs_are_found(results, tmp_path):
    shutil.copytree(results / "tiny", tmp_path / "published" / "tiny")
    assert {run.results for run in finished_runs(tmp_path)} == {tmp_path / "published"}


def test_nothing_to_play_with_is_one_line(results, tmp_path):
    with pytest.raises(UserError, match=r"no run under .* is finished; `make ablations ABLATION=s"):
        finished_runs(tmp_path)
    lost = tmp_path / "tiny" / "runs" / "lost-seed0"
    shutil.copytree(results / "tiny" / "runs" / "lost-seed0", lost)
    with pytest.raises(UserError, match=r"1 finished runs under .* kept no weights; `make ab"):
        finished_runs(tmp_path)
    assert "kept no weights" in playground(tmp_path).value


def test_spoilt_weights_are_one_line_and_another_run_can_be_chosen(results, tmp_path):
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    spoilt = tmp_path / "tiny" / "runs" / "fagan-seed0" / "generator.safetensors"
    spoilt.write_bytes(spoilt.read_bytes()[:1000])
    runs = finished_runs(tmp_path)
    with pytest.raises(UserError, match=r"fagan-seed0/generator.safetensors does not hold"):
        Player(Finished("tiny", "fagan-seed0", tmp_path))
    page = Playground(runs)
    page.run.value = next(run for run in runs if run.run_id == "fagan-seed0")
    assert "does not hold the weights" in page.status.value and "\n" not in page.status.value
    page.share.value = 0.3  # nothing to draw, nothing fails
    page.run.value = next(run for run in runs if run.run_id == "dcgan-seed0")
    assert "query" in page.status.value


# What is drawn


def test_an_image_is_what_the_generator_draws_on_the_arc(players):
    player = players["fagan"]
    generator = player.generator
    one, other = (player.latent(Settings(start=seed)) for seed in (3, 8))
    assert player.latent(Settings(start=3, end=8, share=1.0)) == pytest.approx(other, abs=1e-5)
    between = Settings(start=3, end=8, share=0.5)
    with torch.no_grad():
        made = to_uint8(generator(player.latent(between)))[0].permute(1, 2, 0).numpy()
    view = player.view(between)
    assert (view.image == made).all() and (view.trained == made).all() and view.change == 0
    assert not torch.equal(one, other)


def test_moves_go_along_unit_directions_that_the_first_layer_amplifies(players):
    for player in players.values():
        directions = player.directions
        assert directions @ directions.T == pytest.approx(torch.eye(4), abs=1e-5)
        still, moved = (player.latent(Settings(moves=m)) for m in ((), (0, 2.5)))
        assert moved - still == pytest.approx(2.5 * directions[1:2], abs=1e-5)
    stage = players["dcgan"].generator.stages[0][0]
    with torch.no_grad():
        gains = [(d @ stage.weight.flatten(1)).norm() for d in players["dcgan"].directions]
        random = torch.nn.functional.normalize(torch.randn(16, 128), dim=1)
        others = (random @ stage.weight.flatten(1)).norm(dim=1)
    assert gains == sorted(gains, reverse=True) and gains[-1] > others.max()


def test_maps_are_those_of_the_networks_with_gates_as_set(players):
    player, settings = players["fagan"], Settings(alphas={"full 4x4": -0.5}, pixel=(20, 5))
    before = {k: v.clone() for k, v in player.generator.state_dict().items()}
    view = player.view(settings)
    assert all(torch.equal(v, before[k]) for k, v in player.generator.state_dict().items())
    with torch.no_grad(), force_alpha(player.generator, -0.5, "full 4x4"):
        with record(player.generator) as records:
            made = player.generator(player.latent(settings))
        assert (view.image == to_uint8(made)[0].permute(1, 2, 0).numpy()).all()
        for layer, passes in records.items():
            wanted = map_at(passes[0], (20, 5), 32)[0].mean(0)
            assert view.maps[f"generator, {layer}"] == pytest.approx(wanted.numpy(), abs=1e-6)
        with record(player.networks.discriminator) as records:
            logit = player.networks.discriminator(made).item()
    judged = {f"discriminator, {layer}" for layer in records}
    assert judged == {name for name in view.maps if name.startswith("discriminator")} and judged
    assert view.logit == pytest.approx(logit, rel=1e-5)
    assert view.change > 0.1


def test_networks_without_gates_are_drawn_too(players):
    assert players["dcgan"].view(Settings()).maps == {} == players["dcgan"].alphas
    assert players["concat"].alphas == {} and players["concat"].view(Settings()).maps
    layers = gated_layers(players["channel"].generator)
    mean = {name: layer.alpha.mean().item() for name, layer in layers.items()}
    assert players["channel"].alphas == pytest.approx(mean)


def test_a_picture_marks_the_pixel_and_leaves_it_readable():
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(image_png(image, (31, 4)))))
    assert shown.shape == (384, 384, 3)
    assert (shown[31 * 12 : 32 * 12, 4 * 12 : 5 * 12] == image[31, 4]).all()
    assert (shown[375, 4 * 12 - 1] == MARK).all() and (shown[375, 4 * 12 - 2] == EDGE).all()
    assert (shown[6::12, 6::12] == image).all()


def test_a_map_is_brightest_where_the_weight_is():
    image = np.full((8, 8, 3), 200, np.uint8)
    weights = np.array([[0.5, 0.25], [0.25, 0.0]])
    shown = np.asarray(Image.open(io.BytesIO(map_png(image, weights))))
    assert shown.shape == image.shape
    assert shown[0, 0, 0] == 200 and shown[7, 7, 0] == int(DIM * 200)
    assert shown[0, 7, 0] == shown[7, 0, 0] == int((1 + DIM) / 2 * 200)


# Widgets


def test_a_widget_that_moves_draws_anew(page):
    for widget, value in (
        (page.share, 0.7),
        (page.start, 9),
        (page.moves[2], 3.0),
        (page.sliders["full 8x8"], -0.8),
        (page.row, 2),
    ):
        image, maps = page.image.value, page.maps.value
        widget.value = value
        assert page.image.value != image and page.maps.value != maps
    assert page.settings() == Settings(9, 1, 0.7, (0, 0, 3.0, 0), {"full 8x8": -0.8}, (2, 16))


def test_a_click_asks_that_pixel(page):
    drawn = []
    page.image.observe(lambda change: drawn.append(change["new"]), "value")
    page._click({"dataX": 12 * 7 + 3, "dataY": 12 * 30 + 11.5})
    assert page.settings().pixel == (30, 7) and len(drawn) == 1
    assert "row 30, column 7" in page.status.value
    page._click({"dataX": 384, "dataY": -1})  # the picture's border belongs to its last pixel
    assert page.settings().pixel == (0, 31)


def test_gates_go_back_to_what_was_trained(page):
    trained = page.image.value
    for slider in page.sliders.values():
        slider.value = 0.9
    assert page.image.value != trained and "by 0.0 grey" not in page.status.value
    page.again.click()
    assert page.image.value == trained and page.settings().alphas == {}


def test_widgets_that_move_at_once_leave_the_network_as_it_was_trained(page):
    """JupyterLab handles the messages of every widget on a thread of its own."""
    trained, shut = page.trained.value, threading.Barrier(3)

    def drag(widget, values):
        shut.wait()
        for value in values:
            widget.value = value

    moved = (page.sliders["full 4x4"], page.sliders["full 8x8"], page.row)
    paths = [np.linspace(-1, 0.5, 12), np.linspace(0.9, -0.4, 12), range(3, 15)]
    threads = [threading.Thread(target=drag, args=pair) for pair in zip(moved, paths, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert page.trained.value == trained
    assert "row 14" in page.status.value and page.settings().alphas == {
        "full 4x4": 0.5,
        "full 8x8": pytest.approx(-0.4),
    }
    fresh = Player(page.run.value).view(page.settings())
    assert page.image.value == image_png(fresh.image, (14, 16))


# The notebook


def small(notebook: Path, results: Path, target: Path) -> Path:
    """The notebook with its parameter set."""
    book = nbformat.read(notebook, as_version=4)
    cell = next(c for c in book.cells if "parameters" in c.metadata.get("tags", []))
    cell.source = f"results = {str(results)!r}"
    nbformat.write(book, target)
    return target


def test_the_notebook_is_short_and_holds_no_outputs():
    book = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(book.cells) <= 8 and all(len(cell.source.splitlines()) <= 14 for cell in code)
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("kind", ["finished", "empty"])
def test_the_notebook_runs(kind, results, tmp_path):
    from nbclient import NotebookClient

    folder = results if kind == "finished" else tmp_path
    book = nbformat.read(small(NOTEBOOK, folder, tmp_path / "a.ipynb"), as_version=4)
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]
    widget = "application/vnd.jupyter.widget-view+json"
    assert sum(widget in out.get("data", {}) for out in outputs) == 1
    if kind == "finished":
        assert sum("image/png" in out.get("data", {}) for out in outputs) == 1
    else:
        assert outputs[-1].text.count("\n") == 1 and "make ablations" in outputs[-1].text


# The page in a browser


@pytest.fixture(scope="module")
def lab(results, tmp_path_factory):
    """JupyterLab as `make lab` starts it, beside a copy of the notebook: (address, token)."""
    home = tmp_path_factory.mktemp("lab")
    small(NOTEBOOK, results, home / "playground.ipynb")
    token, log = secrets.token_hex(16), home / "lab.log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "jupyterlab", f"--config={LAB_CONFIG}", "--no-browser"]
    command += [f"--notebook-dir={home}", f"--port={port}", f"--IdentityProvider.token={token}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with log.open("wb") as file:
        server = subprocess.Popen(
            command,
            cwd=home,
            env=os.environ | own | {"PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(server, port, log)
            yield f"http://127.0.0.1:{port}", token
        finally:
            server.terminate()
            server.wait(20)


def wait_for(server, port, log, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip(f"no browser is installed here ({', '.join(CHROMIUMS)})")
    switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=switches)
        yield browser
        browser.close()


@pytest.mark.slow
def test_the_page_answers_a_reader_in_jupyterlab(lab, browser, tmp_path):
    """Run all cells, choose a run, move the latent, click a pixel, drag a gate."""
    address, token = lab
    page, asked = browser.new_page(viewport={"width": 1500, "height": 1300}), []
    page.set_default_timeout(60_000)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/lab/tree/playground.ipynb?token={token}")
    trained = page.locator("img.fagan-trained")
    image, status = page.locator("img.fagan-image"), page.get_by_text("query: row")
    try:
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator('.lm-Menu [data-command="runmenu:run-all"]').click()
        status.first.wait_for()
        content = picture(page, image)
        page.locator(".widget-dropdown select").select_option("tiny / fagan-seed0")
        page.get_by_text("full 8x8").first.wait_for()
        content = changed(page, image, content)
        press(page, "share", "ArrowRight")
        content = changed(page, image, content)
        image.click(position={"x": 12 * 20 + 6, "y": 12 * 5 + 6})
        page.get_by_text("query: row 5, column 20").first.wait_for()
        content = changed(page, image, content)
        before = picture(page, trained)
        for _ in range(10):
            press(page, "full 8x8", "ArrowLeft")
            content = changed(page, image, content)
        assert picture(page, trained) == before
        captions = page.locator(".fagan-maps figcaption").all_inner_texts()
        assert len(captions) == 3 + 4 and all("uniform" in caption for caption in captions)
    finally:
        page.screenshot(path=tmp_path / "page.png")
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not elsewhere
    page.close()


def picture(page, image) -> str:
    """A digest of the bytes that an image shows."""
    return image.evaluate(DIGEST)


def changed(page, image, before: str) -> str:
    """Wait until the image shows other bytes; their digest."""
    end = time.monotonic() + 30
    while (now := picture(page, image)) == before:
        assert time.monotonic() < end, "the image did not change"
        page.wait_for_timeout(50)
    return now


def press(page, slider: str, key: str) -> None:
    box = page.locator(".widget-slider").filter(has_text=slider).first
    box.locator(".noUi-handle").press(key)
