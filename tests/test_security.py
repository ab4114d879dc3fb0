"""What is given runs no code and leads nowhere else; pages and Jupyter open nothing."""

import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from traitlets.config.loader import PyFileConfigLoader

from fagan import ablations
from fagan.config import RunConfig
from fagan.data import load
from fagan.environment import ROOT
from fagan.errors import UserError
from fagan.records import load_runs
from fagan.train import load_weights, restore, start

# what would execute, unpack to disk or read without end what somebody else wrote: by ruff's rules,
# and the rest
RULES = "S102,S301,S302,S307,S506,S602,S605"
OTHERS = re.compile(
    r"torch\.load\((?!.*weights_only=True)|torch\.hub\.load|allow_pickle=True|\.extract(?:all)?\("
    r"|MAX_IMAGE_PIXELS|(?:import|from) (?:pickle|dill|marshal|shelve|joblib)"
)
BAD = """\
import numpy as np, pandas, subprocess, torch, yaml, zipfile
from pickle import load
torch.load(f)
torch.load(f, weights_only=False)
np.load(f, allow_pickle=True)
yaml.load(text)
eval(text)
subprocess.run(text, shell=True)
zipfile.ZipFile(f).extractall()
pandas.read_pickle(f)
Image.MAX_IMAGE_PIXELS = None
"""


def dangers(folder: Path) -> set[tuple[str, int]]:
    """(file, line) of what must not be there."""
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", RULES]
    ruff += ["--output-format", "json", str(folder)]
    said = json.loads(subprocess.run(ruff, capture_output=True, text=True).stdout)
    found = {(fault["filename"], fault["location"]["row"]) for fault in said}
    for path in folder.rglob("*.py"):
        lines = enumerate(path.read_text().splitlines(), 1)
        found |= {(str(path), i) for i, line in lines if OTHERS.search(line)}
    return found


def test_nothing_given_is_executed_or_unpacked(tmp_path):
    assert dangers(ROOT / "fagan") == set()
    (tmp_path / "bad.py").write_text(BAD)
    assert {line for _, line in dangers(tmp_path)} == set(range(2, 12)), "the search finds them"


class Payload:
    """Unpickled by a loader without protection, it leaves a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_a_checkpoint_that_somebody_made_runs_nothing(tmp_path):
    state = start(
        RunConfig.from_params({"resolution": 32, "width": 0.02, "squeeze": 1}), torch.device("cpu")
    )
    path, file = tmp_path / "checkpoint.pt", io.BytesIO()
    torch.save(Payload(tmp_path / "ran"), file)
    path.write_bytes(hashlib.sha256(file.getvalue()).digest() + file.getvalue())
    with pytest.raises(UserError):
        restore(state, (path, tmp_path / "none"))
    path.write_bytes(file.getvalue())
    with pytest.raises(UserError):
        load_weights(state.generator, path)
    assert not (tmp_path / "ran").exists()


def test_names_in_a_zip_are_labels_and_never_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("FAGAN_CACHE", str(tmp_path / "cache"))
    path, png = tmp_path / "given" / "evil.zip", io.BytesIO()
    path.parent.mkdir()
    Image.new("RGB", (4, 4)).save(png, "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../../escaped.png", "/absolute.png", "C:\\x.png", "a\nb.png", "ok.png"):
            archive.writestr(name, png.getvalue())
    before = set(tmp_path.rglob("*"))
    params = {"data": "folder", "data_path": str(path), "resolution": 32, "n_real": 2}
    load(RunConfig.from_params(params), "train")
    new = {p.relative_to(tmp_path).parts[0] for p in set(tmp_path.rglob("*")) - before}
    assert new == {"cache"} and not Path("/absolute.png").exists()


@pytest.mark.parametrize("run_id", ["../../../evil", None])
def test_a_plan_changed_by_hand_reads_nothing_elsewhere(run_id, tmp_path):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "config.json").write_text('{"arm": "evil", "seed": 0}')
    plan = tmp_path / "results" / "tiny" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text(json.dumps({"runs": [{"run_id": run_id, "config": {}}]}))
    for read in (load_runs, ablations.planned):
        with pytest.raises(UserError):
            read("tiny", tmp_path / "results")


def test_jupyter_listens_on_this_machine_alone_and_keeps_its_token():
    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    assert "--config=notebooks/jupyter_lab_config.py" in recipe and "--ip" not in recipe
    config = PyFileConfigLoader("jupyter_lab_config.py", str(ROOT / "notebooks")).load_config()
    assert config.ServerApp == {"ip": "127.0.0.1"} and "IdentityProvider" not in config
    assert not re.search(r"token|password|allow_origin|allow-root|0\.0\.0\.0", recipe)
