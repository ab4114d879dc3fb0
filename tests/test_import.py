"""The author's .conf files and weights: the same function here, or a line that says why not.

The public configurations are written anew, stage by stage: akanimax/fagan, configs/fagan_1 (fagan_2
differs in its loss alone, which is no part of the file), attn_gan_pytorch, samples 1 and 3. Of
sample 3 our notes have the generator alone, so it meets sample 1's discriminator; of sample 2 they
have nothing, and it is not here.
"""

import sys

import pytest
import torch
import yaml
from torch import nn

from fagan import ablations, cli
from fagan.ablations import load_table, planned_run
from fagan.author import import_networks
from fagan.records import load_runs
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
        "sample_3": ([start, *full((a, b)), *tail, image], sagan_d, f"C F C+A C+A | {right}"),
    }


def package_network(stages):
    """The package's layers in a Sequential, as the author's training script strings them."""
    layers_of = pytest.importorskip("attn_gan_pytorch.CustomLayers")
    ends = {"relu": nn.ReLU(), "tanh": nn.Tanh(), None: None}
    ends |= {f"lrelu({slope})": nn.LeakyReLU(slope) for slope in (0.1, 0.3)}
    layers = []
    for stage in stages:
        c, end = stage.get("channels"), ends[stage.get("activation")]
        if stage["name"] == "ignore_attn_maps":
            layers.append(layers_of.IgnoreAttentionMap())
            continue
        if stage["name"] == "self_attention":
            layers.append(layers_of.SelfAttention(c, None, stage["squeeze_factor"]))
            continue
        c, *geometry = (
            tuple(map(int, t[1:-1].split(","))) for t in (c, *(stage[g] for g in GEOMETRY))
        )
        if stage["name"] == "full_attention":
            kernel, stride, padding = geometry
            norms = stage["use_spectral_norm"], stage["use_batch_norm"], stage["squeeze_factor"]
            make = layers_of.FullAttention
            layers.append(make(*c, end, kernel, stage["transpose_conv"], *norms, stride, padding))
            continue
        kind = nn.ConvTranspose2d if stage["name"] == "conv_transpose" else nn.Conv2d
        parts = [kind(*c, *geometry)]
        parts = [layers_of.SpectralNorm(parts[0])] if stage["spectral_norm"] else parts
        parts += [nn.BatchNorm2d(c[1])] if stage["batch_norm"] else []
        layers.append(nn.Sequential(*parts, *([end] if end else [])))
    network = nn.Module()  # its weights are called model.0.query_conv.weight, ...
    network.model = nn.Sequential(*layers)
    return network


@pytest.fixture(autouse=True)
def tables(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "TABLES", tmp_path / "tables")
    return tmp_path / "tables"


def write(folder, *networks):
    """gen.conf and dis.conf in a folder; their paths."""
    folder.mkdir(exist_ok=True)
    paths = folder / "gen.conf", folder / "dis.conf"
    for path, stages in zip(paths, networks, strict=False):
        path.write_text(yaml.safe_dump({"architecture": stages}, sort_keys=False))
    return paths


def fagan(monkeypatch, *words):
    """The exit code of a command."""
    monkeypatch.setattr(sys, "argv", ["fagan", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


@pytest.mark.parametrize("name", public(1))
def test_the_public_configurations_become_tables(tmp_path, tables, monkeypatch, name):
    *networks, stages = public(1)[name]
    paths = write(tmp_path / name, *networks)
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
    """With open gates and moved batch statistics, in float64; the run opens as any other."""
    torch.manual_seed(0)
    *networks, _ = public(1 / 8)[name]
    theirs, files = [package_network(stages) for stages in networks], []
    z, x = torch.randn(4, 128), torch.rand(4, 3, 64, 64) * 2 - 1
    for network, inputs in zip(theirs, (z[:, :, None, None], x), strict=True):
        for key, gate in network.named_parameters():
            if key.endswith("gamma"):
                nn.init.constant_(gate, 0.4)
        network.model(inputs)
        files.append(tmp_path / f"GAN_{len(files)}_12.pth")
        torch.save(network.state_dict(), files[-1])
        network.eval().double()
    lines = import_networks(*write(tmp_path / name, *networks), "mine", files, tmp_path)
    assert lines[-1].startswith("mine/mine-seed0")

    runs = load_runs("mine", tmp_path)
    (row,) = runs.finished.to_dict("records")
    assert row["fd_lite0"] != row["fd_lite0"] and row["step"] == 0 and not len(runs.history)
    assert {round(alpha, 6) for alpha in runs.gates["alpha"]} == {0.4}
    assert len(runs.samples("mine-seed0")) == 1
    ours = load_networks(runs, "mine-seed0")
    image, logit = (
        n.model(i.double()) for n, i in zip(theirs, (z[:, :, None, None], x), strict=True)
    )
    image = image if name == "fagan_1" else image.tanh()
    torch.testing.assert_close(ours.generator.double()(z.double()), image)
    mine = ours.discriminator.double()(x.double())
    torch.testing.assert_close(mine if name == "fagan_1" else mine.tanh(), logit.flatten())
    config, folder = (
        planned_run("mine", "mine-seed0", tmp_path),
        runs.folder / "runs" / "mine-seed0",
    )
    assert drawn(config, folder / "generator.safetensors", 2).shape == (2, 3, 64, 64)


def changed(place, **settings):
    """fagan_1 with other settings in one stage of its generator, counted as the files do."""
    generator, discriminator, _ = public(1)["fagan_1"]
    generator = [dict(stage) for stage in generator]
    generator[place - 1] |= settings
    return generator, discriminator


FAGAN = public(1)["fagan_1"][:2]
WRONG = {
    "stage 5: unknown stage 'conv_transpos'; did you mean": changed(5, name="conv_transpos"),
    "stage 5 (conv_transpose): channels (256; 128) must be": changed(5, channels="(256; 128)"),
    "stage 5 (conv_transpose): stride [2, 2] must be a text": changed(5, stride=[2, 2]),
    "stage 5 (conv_transpose): bias 'yes' must be true": changed(5, bias="yes"),
    "stage 5 (conv_transpose): unknown setting 'groups'": changed(5, groups=2),
    "channels is (256, 100), here the suite has (256, 128)": changed(5, channels="(256, 100)"),
    "kernel_dims is (3, 3), here the suite has (4, 4)": changed(5, kernel_dims="(3, 3)"),
    "output_padding is (0, 0), here the suite has (1, 1)": changed(3, kernel_dims="(3, 3)"),
    "channels is (512, 256), here the suite has (99999": changed(1, channels="(128, 99999)"),
    "batch_norm is False, here the suite has True": changed(5, batch_norm=False),
    "activation is selu, here the suite has relu": changed(5, activation="selu"),
    "stage 3 (full_attention): use_spectral_norm is False": changed(3, use_spectral_norm=False),
    "activation is lrelu(0.2), here the suite has lrelu(0.3)": changed(3, activation="lrelu(0.2)"),
    "stage 6 (self_attention): squeeze_factor is 4": changed(6, squeeze_factor=4),
    "stage 11 (conv_transpose): activation is relu": changed(11, activation="relu"),
    "stage 11 (full_attention): not this stage: here": ([*FAGAN[0][:-1], *full((64, 3))], FAGAN[1]),
    "stage 1 (self_attention): needs a convolution": (FAGAN[0][5:], FAGAN[1]),
    "stage 1 (conv): not this stage": ([conv((128, 512), "relu"), *FAGAN[0][2:]], FAGAN[1]),
    "both networks need the same number": (FAGAN[0][2:], FAGAN[1]),
    "has 1 layers": (FAGAN[0][:2], FAGAN[1]),
    "needs one key, `architecture`": ("conv", FAGAN[1]),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_the_suite_cannot_express_is_named_and_nothing_written(
    tmp_path, monkeypatch, capsys, words
):
    paths = write(tmp_path / "confs", *WRONG[words])
    refused(tmp_path, monkeypatch, capsys, words.replace("(256; 128)", "'(256; 128)'"), *paths)


def refused(tmp_path, monkeypatch, capsys, words, *arguments):
    before = {*tmp_path.rglob("*")}
    code = fagan(monkeypatch, "import", *arguments, "--results", tmp_path / "results")
    said = capsys.readouterr().err
    assert code == 2 and words in said and said.count("\n") == 1, said
    assert {*tmp_path.rglob("*")} == before


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_are_no_configuration_or_weights(tmp_path, monkeypatch, capsys):
    generator, discriminator = write(tmp_path / "confs", *FAGAN)

    def refuse(words, *arguments):
        refused(tmp_path, monkeypatch, capsys, words, *arguments)

    refuse("no such file", tmp_path / "gen.conf", discriminator)
    refuse("is a folder's name too", generator, discriminator, "--name", "../up")
    bad, fits = tmp_path / "bad.conf", tmp_path / "GAN_GEN_1.pth"
    for text in (b"architecture: !!python/object/apply:os.system [ls]", b"a: [", b"\xff\xfe\x00"):
        bad.write_bytes(text)
        refuse("is not plain YAML", bad, discriminator)
    torch.save(package_network(FAGAN[0]).state_dict(), fits)
    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    weights = generator, discriminator, "--weights"
    refuse("is not a plain PyTorch state dict", *weights, tmp_path / "evil.pth", fits)
    refuse("is not a plain PyTorch state dict", *weights, fits, tmp_path / "evil.pth")
    refuse("GAN_GEN_1.pth: the file has", *weights, fits, fits)
    refuse("no such file", *weights, fits, tmp_path / "GAN_DIS_1.pth")
    fits_not = tmp_path / "GAN_DIS_2.pth"
    state = package_network(FAGAN[1]).state_dict()
    torch.save(state | {"model.0.gamma": torch.tensor([float("nan")])}, fits_not)
    refuse("GAN_DIS_2.pth holds NaN", *weights, fits, fits_not)
    (tmp_path / "results" / "confs").mkdir(parents=True)
    refuse("is there already", *weights, fits, fits)
    assert "executed" not in capsys.readouterr().out
