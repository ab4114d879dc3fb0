"""`make bench` measures what it says: its rows, its ratios, and the arithmetic of a step."""

import matplotlib
import nbformat
import pandas as pd
import pytest

from fagan.config import RunConfig
from fagan.environment import ROOT

NOTEBOOK = nbformat.read(ROOT / "notebooks" / "speed.ipynb", as_version=4)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """(the notebook's names after a quick run on tiny networks, the folder of its tables)."""
    results, names = tmp_path_factory.mktemp("results"), {}
    smaller = {'0.25, "batch_size": 16': '0.0625, "squeeze": 4, "batch_size": 4', "2048": "512"}
    smaller |= {"256 if quick": "32 if quick", "(5000, 320)": "(500, 320)"}
    matplotlib.use("agg")
    with matplotlib.rc_context():
        for cell in (c for c in NOTEBOOK.cells if c.cell_type == "code"):
            for old, new in smaller.items():
                cell.source = cell.source.replace(old, new)
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"quick": True, "threads": 1, "results": str(results)}
    return names, results / "bench"


@pytest.mark.slow
def test_a_quick_run_writes_a_row_for_every_way_of_every_network(bench):
    names, folder = bench
    (path,) = (p for p in folder.glob("cpu-*-1.csv"))
    assert {p.name.removeprefix(path.stem) for p in folder.iterdir()} == {
        *(".csv", "-parts.csv", ".svg")
    }
    steps, parts = pd.read_csv(path), pd.read_csv(folder / f"{path.stem}-parts.csv")
    ways = ["released", "plain", "fp32"] + ["bf16"] * names["bf16"]
    rows = [(a, way) for a in ("dcgan", "sagan", "fagan", "fagan-pure") for way in ways]
    assert list(zip(steps["architecture"], steps["implementation"], strict=True)) == rows
    published = pd.read_csv(ROOT / "results/published/bench/cpu-intel-xeon-processor-2.csv")
    assert set(published.columns) <= set(steps.columns)
    assert (steps["ms_low"] <= steps["ms"]).all() and (steps["ms"] <= steps["ms_high"]).all()
    assert list(steps["images_per_second"] * steps["ms"]) == pytest.approx(
        [4000] * len(rows), rel=1e-4
    )
    released = steps[steps["implementation"] == "released"]
    assert (released["speedup"] == 1).all() and (steps["share_of_peak"] > 0).all()
    assert (parts["low"] <= parts["value"]).all() and (parts["value"] > 0).all()
    assert set(parts["unit"]) == {"s", "images/s"}


@pytest.mark.slow
def test_the_arithmetic_of_a_convolutional_step_is_the_closed_form(bench):
    """2 * inputs * outputs * 4 * 4 wherever a kernel is laid, and twice that backward."""
    config = RunConfig(architecture="dcgan", resolution=32, width=0.25, batch_size=16)
    channels = config.channels()
    up = list(zip((128, *channels), (*channels, 3), (1, 4, 8, 16), strict=True))  # from z to image
    down = list(zip((3, *channels[::-1]), (*channels[::-1], 1), (16, 8, 4, 1), strict=True))
    g, d = (
        [2 * inputs * outputs * 16 * size**2 for inputs, outputs, size in layers]
        for layers in (up, down)
    )
    # D's step: G forward; D forward and backward on real and fake. G's step: G and D forward, back
    # through D to its input, through G to its weights. No gradient of a latent or of a real image.
    wanted = sum(g) + 2 * (3 * sum(d) - d[0]) + sum(g) + 2 * sum(d) + 2 * sum(g) - g[0]
    names, _ = bench
    assert names["gflop"](config) == pytest.approx(16 * wanted / 1e9, rel=1e-6)


@pytest.mark.slow
def test_the_arithmetic_of_the_released_network_is_the_known_number(bench):
    assert bench[0]["gflop"](RunConfig(loss="relativistic-hinge")) == pytest.approx(200, rel=0.03)
