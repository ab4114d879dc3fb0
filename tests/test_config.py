"""The configuration: what it takes, what it refuses, and in which words."""

import json

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fagan.architectures import (
    ARCHITECTURES,
    RESOLUTIONS,
    STAGES,
    Stages,
    parse_stages,
    stages_of,
)
from fagan.config import DEFAULTS, LOCAL, RunConfig, read_config
from fagan.environment import ROOT
from fagan.errors import UserError


def refused(match, **params):
    with pytest.raises(UserError, match=match) as caught:
        RunConfig.from_params(params)
    assert "\n" not in str(caught.value)


def test_mistakes_are_named_with_the_remedy():
    refused("unknown parameter 'archtecture'; did you mean 'architecture'", archtecture="fagan")
    refused("unknown architecture 'sagam'; did you mean 'sagan'", architecture="sagam")
    refused("unknown stage 'X'", architecture="F X | C C", resolution=16)
    refused("unknown loss 'hing'; did you mean 'hinge'", loss="hing")
    refused("unknown data 'imagenet'", data="imagenet")
    refused("fagan cannot make 48 pixels", resolution=48)
    refused("2 stages make 16 pixels, not 64", architecture="F F | C C")
    refused("3 before the '\\|' and 2 after", architecture="F F F | C C", resolution=32)
    refused("one '\\|' between", architecture="F F | C C | C", resolution=16)
    refused("'output C' or 'output F'", architecture="F F, F | C C", resolution=16)
    refused("squeeze=600 is more than the 128 channels", squeeze=600)
    refused("heads=3 do not divide", heads=3)
    refused("steps=0 must be above 0", steps=0)
    refused("steps='many' must be a whole number", steps="many")
    refused("steps=1.5 must be a whole number", steps=1.5)
    refused("flip=1 must be true or false", flip=1)
    refused("lr_g=True must be a number", lr_g=True)
    refused("lr_g=nan must be a number", lr_g=float("nan"))
    refused("ema=1.0 must be in", ema=1)
    refused("kernel_size=9 must be 1 to 7", kernel_size=9)
    resizing = {"architecture": "C RC RF | C C C", "resolution": 32}
    refused("kernel_size=4 must be odd: the stages RC and RF", **resizing)
    refused("makes 4x4 of a latent: C or F, not R", architecture="RC C C | C C C", resolution=32)
    refused("batch_size=1 leaves batch norm", batch_size=1)
    refused("a folder's name too", arm="../../etc")
    refused("steps=10+ is beyond 4,611,686,018,427,387,904", steps=10**30)
    refused("data=folder needs its folder", data="folder")
    refused("takes no data_path", data="faces", data_path="photos")


def test_plain_numbers_are_taken_across_types():
    config = RunConfig.from_params({"steps": 2e3, "width": 1})
    assert config.steps == 2000 and isinstance(config.steps, int)
    assert config.width == 1.0 and isinstance(config.width, float)


def test_identity_leaves_the_path_out_and_nothing_else():
    here = RunConfig.from_params({"data": "folder", "data_path": "a"})
    there = RunConfig.from_params({"data": "folder", "data_path": "b"})
    assert here.hash == there.hash
    assert "data_path" not in here.identity()
    assert here.with_(seed=1).hash != here.hash
    assert here.with_(seed=1).run_id == "fagan-seed1"


def test_channels_follow_the_resolution_and_the_width():
    assert RunConfig.from_params({}).channels() == (512, 256, 128, 64)
    assert RunConfig.from_params({"resolution": 32, "width": 0.25}).channels() == (128, 64, 32)
    assert RunConfig.from_params({"resolution": 128}).channels() == (512, 256, 128, 64, 32)


def test_the_released_architecture_to_the_letter():
    assert stages_of("fagan", 64) == Stages(("F", "F", "C+A", "C+A"), ("F", "C", "F+A", "C+A"))
    assert stages_of("fagan-pure", 32).output == "F"


@pytest.mark.parametrize("resolution,stages", RESOLUTIONS.items())
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_stages_for_every_resolution(name, resolution, stages):
    assert len(stages_of(name, resolution).generator) == stages


plain = [letters for letters in STAGES if not letters.startswith("B")]
stage = st.sampled_from(plain)
first = st.sampled_from([letters for letters in plain if not letters.startswith("R")])


@given(
    st.tuples(first, stage),
    st.lists(st.tuples(stage, stage), max_size=5),
    st.sampled_from(["", ", output C", ", output F"]),
)
def test_stage_strings_are_read_back(begin, pairs, output):
    generator, discriminator = zip(begin, *pairs, strict=True)
    stages = parse_stages(f"{' '.join(generator)}{output} | {' '.join(discriminator)}")
    assert stages.generator == generator and stages.discriminator == discriminator
    assert stages.output == (output[-1] if output else "C")


def test_stages_of_residual_blocks_are_read_back():
    blocks = tuple(letters for letters in STAGES if letters.startswith("B"))
    stages = parse_stages(f"{' '.join(blocks)} | {' '.join(blocks[::-1])}")
    assert stages == Stages(blocks, blocks[::-1]) and stages.residual
    assert not parse_stages("F F+A | RF C").residual


@given(st.text(alphabet="RBFCA+| ,outp", max_size=30))
def test_no_stage_string_ends_in_a_traceback(text):
    try:
        parse_stages(text)
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("architecture", ["fagan", "fagan-pure", "sagan"])
def test_heads_that_divide_the_widths_are_taken(architecture):
    """The image-side F has one head whatever the others have: it must not refuse theirs."""
    from fagan.models import build

    for network in build(RunConfig.from_params({"architecture": architecture, "heads": 2})):
        heads = {m.heads for m in network.modules() if hasattr(m, "heads")}
        assert 2 in heads and heads <= {1, 2}


def test_the_training_notebook_shows_every_parameter_and_its_default():
    notebook = nbformat.read(ROOT / "notebooks" / "train.ipynb", as_version=4)
    cells = [c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    shown: dict = {}
    exec("\n".join(cells), {}, shown)
    del shown["ablation"], shown["results"], shown["__annotations__"]
    assert shown == DEFAULTS and list(shown) == list(DEFAULTS)


def test_a_recorded_configuration_is_read_as_what_it_was(tmp_path):
    config = RunConfig.from_params({"width": 0.5})
    for text, match in (
        ("{}", "no arm or seed"),
        ('{"arm": "a", "seed": "one"}', "seed='one' must be a whole number"),
        ('{"arm": "a", "seed": 0, "loss": "hing"}', "unknown loss 'hing'; did you mean 'hinge'"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=f"config.json is damaged .*{match}"):
            read_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config.identity() | {"newer": [1]}))
    assert read_config(tmp_path) == config.identity() | {"newer": [1]}
    assert not LOCAL & config.identity().keys()
