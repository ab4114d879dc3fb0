"""The configuration: what it takes, what it refuses, and in which words."""

import json

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fagan.architectures import Stages, parse_stages, stages_of
from fagan.config import DEFAULTS, LOCAL, RunConfig, read_config
from fagan.environment import ROOT
from fagan.errors import UserError


@pytest.mark.parametrize(
    "words,params",
    [
        ("unknown parameter 'widht'; did you mean 'width'", {"widht": 1}),
        ("unknown architecture 'sagam'; did you mean 'sagan'", {"architecture": "sagam"}),
        ("unknown stage 'X'", {"architecture": "F X | C C"}),
        ("unknown loss 'hing'; did you mean 'hinge'", {"loss": "hing"}),
        ("fagan cannot make 48 pixels", {"resolution": 48}),
        ("2 stages make 16 pixels, not 64", {"architecture": "F F | C C"}),
        ("3 before the '|' and 2 after", {"architecture": "F F F | C C"}),
        ("one '|' between", {"architecture": "F F | C C | C"}),
        ("'output C' or 'output F'", {"architecture": "F F, F | C C"}),
        ("a latent: C or F, not R", {"architecture": "RC C | C C"}),
        ("kernel_size=4 must be odd", {"architecture": "C RC | C C", "resolution": 16}),
        ("kernel_size=9 must be 1 to 7", {"kernel_size": 9}),
        ("squeeze=600 is more than the 128 channels", {"squeeze": 600}),
        ("heads=3 do not divide", {"heads": 3}),
        ("steps=0 must be above 0", {"steps": 0}),
        ("steps=1.5 must be a whole number", {"steps": 1.5}),
        ("steps=1000000000000000000000 is beyond", {"steps": 10**21}),
        ("flip=1 must be true or false", {"flip": 1}),
        ("lr_g=True must be a number", {"lr_g": True}),
        ("lr_g=nan must be a number", {"lr_g": float("nan")}),
        ("ema=1.0 must be in", {"ema": 1}),
        ("batch_size=1 leaves batch norm", {"batch_size": 1}),
        ("a folder's name too", {"arm": "../../etc"}),
        ("data=folder needs its folder", {"data": "folder"}),
        ("takes no data_path", {"data": "faces", "data_path": "photos"}),
    ],
)
def test_a_mistake_is_named_in_a_line(words, params):
    with pytest.raises(UserError) as caught:
        RunConfig.from_params(params)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_plain_numbers_are_taken_across_types():
    config = RunConfig.from_params({"steps": 2e3, "width": 1})
    assert config.steps == 2000 and isinstance(config.steps, int)
    assert config.width == 1.0 and isinstance(config.width, float)


def test_identity_leaves_the_path_out_and_nothing_else():
    here = RunConfig.from_params({"data": "folder", "data_path": "a"})
    assert here.with_(data_path="b").hash == here.hash != here.with_(seed=1).hash
    assert here.identity().keys() == DEFAULTS.keys() - {"data_path"} == DEFAULTS.keys() - LOCAL


def test_the_released_architecture_to_the_letter():
    assert stages_of("fagan", 64) == Stages(("F", "F", "C+A", "C+A"), ("F", "C", "F+A", "C+A"))


@given(st.text(alphabet="RBFCA+| ,outp", max_size=30))
def test_no_stage_string_ends_in_a_traceback(text):
    try:
        parse_stages(text)
    except UserError as error:
        assert "\n" not in str(error)


def test_the_training_notebook_shows_every_parameter_and_its_default():
    notebook = nbformat.read(ROOT / "notebooks" / "train.ipynb", as_version=4)
    cells = [c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    shown: dict = {}
    exec("\n".join(cells), {}, shown)
    del shown["ablation"], shown["results"], shown["__annotations__"]
    assert shown == DEFAULTS and list(shown) == list(DEFAULTS)


def test_a_recorded_configuration_is_read_as_what_it_was(tmp_path):
    recorded = RunConfig.from_params({"width": 0.5}).identity() | {"newer": [1]}
    (tmp_path / "config.json").write_text(json.dumps(recorded))
    assert read_config(tmp_path) == recorded
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json is damaged .*no arm or seed"):
        read_config(tmp_path)
