"""A synthetic ablation whose two runs kept their weights, for several files."""

import pytest
from records_factory import make_ablation

from fagan.config import RunConfig


@pytest.fixture(scope="session")
def ablation(tmp_path_factory):
    """Folder of a synthetic ablation; sagan-seed0 and fagan-seed0 have networks with open gates."""
    folder = make_ablation(tmp_path_factory.mktemp("machine") / "results", images=400, n_real=240)
    for arm in ("sagan", "fagan"):
        _keep_weights(folder / "runs" / f"{arm}-seed0", architecture=arm)
    return folder


def _keep_weights(folder, architecture):
    from package import open_gates

    from fagan.models import build
    from fagan.train import save_weights

    config = RunConfig(architecture=architecture, resolution=32, width=0.25)
    for network, name in zip(build(config), ("generator", "discriminator"), strict=True):
        open_gates(network)
        save_weights(network, folder / f"{name}.safetensors")
