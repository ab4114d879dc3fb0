"""A synthetic ablation with its analyses executed and its report made, for several files."""

import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from package import open_gates
from records_factory import make_ablation

from fagan import report
from fagan.config import RunConfig
from fagan.models import build
from fagan.records import read_json, write_json
from fagan.train import save_weights

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="session")
def ablation(tmp_path_factory):
    """Folder of a synthetic ablation with its analyses and its report made.

    Two runs kept their weights, one its notebook, and of the published records beside it one score
    is another.
    """
    results = tmp_path_factory.mktemp("machine") / "results"
    private = str(results / "private" / "photos.zip")
    folder = make_ablation(results, data_path=private, images=400, n_real=240)
    for arm in ("sagan", "fagan"):
        _keep_weights(folder / "runs" / f"{arm}-seed0", architecture=arm)
    nbformat.write(_run_notebook(), folder / "runs" / "fagan-seed0" / "train.ipynb")
    published = results / "published" / "tiny"
    shutil.copytree(folder, published)
    metrics = published / "runs" / "dcgan-seed1" / "metrics.json"
    write_json(metrics, read_json(metrics) | {"fd_lite0": 95.0})
    # the answers read what the receptive-field page writes
    for notebook in sorted(report.analyses(), key=lambda name: name == "blog"):
        report.analyse("tiny", notebook, results)
    report.report("tiny", results)
    return folder


def _keep_weights(folder, architecture):
    config = RunConfig(architecture=architecture, resolution=32, width=0.25)
    for network, name in zip(build(config), ("generator", "discriminator"), strict=True):
        open_gates(network)
        save_weights(network, folder / f"{name}.safetensors")


def _run_notebook():
    """What a run leaves: a line, a message, a picture without a text alternative, a last value."""
    outputs = [
        new_output("stream", name="stdout", text="step 40/400  \x1b[1mfd_lite0\x1b[0m 90.0\n"),
        new_output("stream", name="stderr", text="a message\n"),
        new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure size 10x10>"}),
        new_output("execute_result", {"text/html": TABLE}),
    ]
    return new_notebook(
        cells=[
            new_markdown_cell("# One run"),
            new_code_cell("train(config)", outputs=outputs, execution_count=1),
        ]
    )


# as pandas writes a frame
TABLE = (
    '<table border="1" class="dataframe"><thead><tr style="text-align: right;"><th></th>'
    "<th>value</th></tr></thead><tbody><tr><th>a</th><td>last</td></tr></tbody></table>"
)
