"""The author's .conf files and weights: the same function here, or a line that says why not.

Two public configurations are written anew, stage by stage: akanimax/fagan, configs/fagan_1 (fagan_2
differs in its loss alone, which is no part of the file), and attn_gan_pytorch, sample 1.
"""

import sys

import pytest
import torch
import yaml
from package import open_gates

from fagan import ablations, cli
from fagan.ablations import load_table, planned_run
from fagan.author import import_networks
from fagan.config import RunConfig
from fagan.files import run_folder
from fagan.records import load_runs
from fagan.released import networks
from fagan.studies import load_networks
from fagan.train import drawn

IGNORE = {"name": "ignore_attn_maps"}
GEOMETRY = {"kernel_dims": "(4, 4)", "stride": "(2, 2)", "padding": "(1, 1)"}
FROM_LATENT = {"kernel_dims": "(4, 4)", "stride": "(1, 1)", "padding": "(0, 0)"}


def conv(channels, activation, transposed=False, norm=False, spectral=True, geometry=GEOMETRY):
    return {
        **{"name": "conv_transpose" if transposed else "conv", "channels": str(channels)},
        **geometry,
        **{"bias": True, "batch_norm": norm, "spectral_norm": spectral, "activation": activation},
    }


def up(channels, activation="relu", norm=True, **options):
    return conv(channels, activation, True, norm, **options)


def full(channels, transposed=True, norm=True, slope=0.3, squeeze=8, geometry=GEOMETRY):
    norms = {"use_spectral_norm": True, "use_batch_norm": norm, "squeeze_factor": squeeze}
    path = {"transpose_conv": transposed, "activation": f"lrelu({slope})"}
    stage = {"name": "full_attention", "channels": str(channels), **geometry, "bias": True}
    return [stage | norms | path, IGNORE]


def own(channels):
    return [
        {"name": "self_attention", "channels": channels, "bias": True, "squeeze_factor": 8},
        IGNORE,
    ]


def public(width):
    """{name: (generator, discriminator, our stages)} with the channels of a width."""
    a, b, c, d = (int(512 * width) >> i for i in range(4))
    wide = {"spectral": False, "geometry": FROM_LATENT}
    start = up((128, a), geometry=FROM_LATENT)
    tail = [up((b, c)), *own(c), up((c, d)), *own(d)]
    sagan_d = [conv((3, d), "lrelu(0.1)"), conv((d, c), "lrelu(0.1)"), conv((c, b), "lrelu(0.1)")]
    sagan_d += [*own(b), conv((b, a), "lrelu(0.1)"), *own(a), conv((a, 1), "tanh", **wide)]
    fagan_g = [*full((128, a), geometry=FROM_LATENT), *full((a, b)), *tail]
    fagan_d = [*full((3, d), False, False, 0.1, 1), conv((d, c), "lrelu(0.1)")]
    fagan_d += [*full((c, b), False), *own(b), conv((b, a), "lrelu(0.1)"), *own(a)]
    fagan_g += [up((d, 3), "tanh", False, spectral=False)]
    fagan_d += [conv((a, 1), None, **wide)]
    image = up((d, 3), None, False, spectral=False)
    right = "C C C+A C+A"
    return {
        "fagan_1": (fagan_g, fagan_d, "F F C+A C+A | F C F+A C+A"),
        "sample_1": ([start, up((a, b)), *tail, image], sagan_d, f"{right} | {right}"),
    }


@pytest.fixture(autouse=True)
def tables(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "TABLES", tmp_path / "tables")
    return tmp_path / "tables"


def write(folder, generator, discriminator):
    """gen.conf and dis.conf in a folder; their paths."""
    folder.mkdir()
    paths = folder / "gen.conf", folder / "dis.conf"
    for path, stages in zip(paths, (generator, discriminator), strict=True):
        path.write_text(yaml.safe_dump({"architecture": stages}, sort_keys=False))
    return paths


def saved(folder, width, stages):
    """The package's networks, gates and batch statistics moved, and files as the author saves."""
    made = networks(RunConfig.from_params({"architecture": stages, "width": width}))
    files = folder / "GAN_GEN_12.pth", folder / "GAN_DIS_12.pth"
    inputs = torch.randn(4, 128, 1, 1), torch.rand(4, 3, 64, 64) * 2 - 1
    for network, file, x in zip(made, files, inputs, strict=True):
        open_gates(network)
        network(x)
        torch.save(network.state_dict(), file)
    return made, files


def fagan(monkeypatch, *words):
    """The exit code of a command."""
    monkeypatch.setattr(sys, "argv", ["fagan", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


@pytest.mark.parametrize("name", public(1))
def test_the_public_configurations_become_tables(tmp_path, tables, monkeypatch, name):
    *confs, stages = public(1)[name]
    paths = write(tmp_path / name, *confs)
    assert fagan(monkeypatch, "import", *paths) == 0
    table = load_table(name)  # of its folder: the file is called gen.conf
    (run,) = ablations.configs(table)
    assert (run.architecture, run.resolution, run.width) == (stages, 64, 1.0)
    assert (run.latent_size, run.squeeze, run.released, run.data) == (128, 8, False, "celeba")
    assert fagan(monkeypatch, "plan", name, "--results", tmp_path / "results") == 0
    before = (tables / f"{name}.yaml").read_text()
    assert fagan(monkeypatch, "import", *paths) == 2  # it is there already
    assert (tables / f"{name}.yaml").read_text() == before
    assert ("the weights are the same" in before) == (name != "fagan_1")


@pytest.mark.parametrize("name", public(1))
def test_imported_weights_compute_what_the_package_computes(tmp_path, name):
    """In float64; the run opens as any other."""
    torch.manual_seed(0)
    *confs, stages = public(1 / 8)[name]
    theirs, files = saved(tmp_path, 1 / 8, stages)
    lines = import_networks(*write(tmp_path / name, *confs), "mine", files, tmp_path)
    assert lines[-1].startswith("mine/mine-seed0")

    runs = load_runs("mine", tmp_path)
    (row,) = runs.finished.to_dict("records")
    assert row["fd_lite0"] != row["fd_lite0"] and row["step"] == 0 and not len(runs.history)
    gates = [p.item() for n in theirs for k, p in n.named_parameters() if k.endswith("gamma")]
    assert sorted(runs.gates["alpha"]) == pytest.approx(sorted(gates))
    assert len(runs.samples("mine-seed0")) == 1
    ours = load_networks(runs, "mine-seed0")
    z, x = torch.randn(4, 128).double(), torch.rand(4, 3, 64, 64).double() * 2 - 1
    generator, discriminator = (network.eval().double() for network in theirs)
    torch.testing.assert_close(ours.generator.double()(z), generator(z[:, :, None, None]))
    torch.testing.assert_close(ours.discriminator.double()(x), discriminator(x).flatten())
    config = planned_run("mine", "mine-seed0", tmp_path)
    weights = run_folder("mine", "mine-seed0", tmp_path) / "generator.safetensors"
    assert drawn(config, weights, 2).shape == (2, 3, 64, 64)


def changed(place, **settings):
    """fagan_1 with other settings in one stage of its generator, counted as the files do."""
    generator, discriminator, _ = public(1)["fagan_1"]
    generator[place - 1] |= settings
    return generator, discriminator


FAGAN = public(1)["fagan_1"]
WRONG = {
    "stage 5: unknown stage 'conv_transpos'; did you mean": changed(5, name="conv_transpos"),
    "stage 5 (conv_transpose): stride [2, 2] must be a text": changed(5, stride=[2, 2]),
    "stage 5 (conv_transpose): bias 'yes' must be true": changed(5, bias="yes"),
    "stage 5 (conv_transpose): unknown setting 'groups'": changed(5, groups=2),
    "channels is (256, 100), here the suite has (256, 128)": changed(5, channels="(256, 100)"),
    "kernel_dims is (3, 3), here the suite has (4, 4)": changed(5, kernel_dims="(3, 3)"),
    "output_padding is (0, 0), here the suite has (1, 1)": changed(3, kernel_dims="(3, 3)"),
    "channels is (512, 256), here the suite has (99999": changed(1, channels="(128, 99999)"),
    "batch_norm is False, here the suite has True": changed(5, batch_norm=False),
    "activation is lrelu(0.2), here the suite has lrelu(0.3)": changed(3, activation="lrelu(0.2)"),
    "stage 3 (full_attention): use_spectral_norm is False": changed(3, use_spectral_norm=False),
    "stage 6 (self_attention): squeeze_factor is 4": changed(6, squeeze_factor=4),
    "stage 11 (conv_transpose): activation is relu": changed(11, activation="relu"),
    "stage 11 (full_attention): not this stage: here": ([*FAGAN[0][:-1], *full((64, 3))], FAGAN[1]),
    "stage 1 (self_attention): needs a convolution": (FAGAN[0][5:], FAGAN[1]),
    "both networks need the same number": (FAGAN[0][2:], FAGAN[1]),
    "has 1 layers": (FAGAN[0][:2], FAGAN[1]),
    "needs one key, `architecture`": ("conv", FAGAN[1]),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_the_suite_cannot_express_is_named_and_nothing_written(
    tmp_path, monkeypatch, capsys, words
):
    paths = write(tmp_path / "confs", *WRONG[words])
    refused(tmp_path, monkeypatch, capsys, words, *paths)


def refused(tmp_path, monkeypatch, capsys, words, *arguments):
    before = {*tmp_path.rglob("*")}
    code = fagan(monkeypatch, "import", *arguments, "--results", tmp_path / "results")
    said = capsys.readouterr().err
    assert code == 2 and words in said and said.count("\n") == 1, said
    assert {*tmp_path.rglob("*")} == before


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_name_that_leads_elsewhere(tmp_path, monkeypatch, capsys):
    paths = write(tmp_path / "confs", *FAGAN[:2])
    refused(tmp_path, monkeypatch, capsys, "is a folder's name too", *paths, "--name", "../up")


@pytest.mark.parametrize("text", [b"a: !!python/object/apply:os.system [ls]", b"\xff\xfe\x00"])
def test_a_file_that_is_no_plain_yaml(tmp_path, monkeypatch, capsys, text):
    paths = write(tmp_path / "confs", *FAGAN[:2])
    paths[0].write_bytes(text)
    refused(tmp_path, monkeypatch, capsys, "is not plain YAML", *paths)


def test_weights_that_cannot_be_taken(tmp_path, monkeypatch, capsys):
    *confs, stages = public(1 / 8)["fagan_1"]
    generator, discriminator = write(tmp_path / "confs", *confs)
    (_, judge), (first, second) = saved(tmp_path, 1 / 8, stages)

    def refuse(words, *files):
        weights = generator, discriminator, "--weights", *files
        refused(tmp_path, monkeypatch, capsys, words, *weights)

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    refuse("is not a plain PyTorch state dict", first, tmp_path / "evil.pth")
    refuse("GAN_GEN_12.pth: the file has", first, first)
    refuse("no such file", first, tmp_path / "GAN_DIS_1.pth")
    (tmp_path / "results" / "confs").mkdir(parents=True)
    refuse("is there already", first, second)
    (tmp_path / "results" / "confs").rmdir()
    torch.save(judge.state_dict() | {"model.0.gamma": torch.tensor([torch.nan])}, second)
    refuse("GAN_DIS_12.pth holds NaN", first, second)
    assert "executed" not in capsys.readouterr().out
