"""What a run records of its layers. That it leaves no trace in training: tests/test_train.py."""

import pytest
import torch
from test_train import CPU, TINY, cache, quiet, rows  # noqa: F401

from fagan import data, evaluate, interpret, train
from fagan.config import RunConfig
from fagan.train.instruments import BATCH, Instruments
from fagan.train.scorer import Scorer


def config(**changes):
    own = {"steps": 6, "eval_every": 3, "images": 64, "n_intervene": 20, "lr_d": 1e-2}
    return RunConfig.from_params(TINY | own | changes)


@pytest.fixture(scope="module")
def started():
    """A state after some steps, and its instruments."""
    state = train.start(config(), CPU)
    batches = data.Batches(data.load(config(), "train").images, 4, 0)
    for _ in range(3):
        train.step_once(state, batches)
    return state, batches, Instruments(state, batches)


def test_gradients_are_those_of_the_last_backward_pass(started):
    state, _, instruments = started
    found = {(r["network"], r["layer"]): r["gradient"] for r in instruments.gates()}
    for name in ("generator", "discriminator"):
        for layer, module in interpret.gated_layers(getattr(state, name)).items():
            assert found[name, layer] == module.alpha.grad.item() != 0
    norms = instruments.gradient_norms()
    for key, network in (("g", state.generator), ("d", state.discriminator)):
        total = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        assert norms[f"gradient_norm_{key}"] == pytest.approx(float(total.norm()), rel=1e-5)


def test_what_the_networks_are_shown_is_the_same_in_every_run(started):
    _, batches, instruments = started
    other = Instruments(train.start(config(seed=5, loss="relativistic"), CPU), batches)
    assert torch.equal(instruments.inputs["discriminator"], data.to_unit(batches.images[:BATCH]))
    for name, shown in instruments.inputs.items():
        assert torch.equal(shown, other.inputs[name])


def test_without_interventions_or_attention_there_are_no_rows(started, tmp_path):
    assert Scorer(config(n_intervene=0), CPU).intervene(started[0]) == []
    train.train(config(architecture="C C | C C", steps=2), tmp_path, quiet)
    assert rows(tmp_path / "interventions.csv") == rows(tmp_path / "alpha.csv") == []
    assert len(rows(tmp_path / "spectral.csv")) > 0


def test_a_wrong_inception_file_is_refused_before_the_training(tmp_path, monkeypatch):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"something else")
    monkeypatch.setenv("FAGAN_INCEPTION", str(weights))
    with pytest.raises(evaluate.features.UserError, match="was not loaded"):
        train.train(config(), tmp_path / "run", quiet)
    assert not (tmp_path / "run" / "config.json").exists()
