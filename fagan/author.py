"""The author's configuration files (akanimax/fagan, attn_gan_pytorch) as a table and a run of ours.

A .conf is YAML with one key, `architecture`: the stages of one network in order, each a mapping
with a `name` and its settings (KNOWN), pairs of numbers as texts: "(128, 512)". `ignore_attn_maps`,
which drops a map that our layers do not return, is passed over.

Every setting is compared with the network that the table builds. What a stage string cannot say
(other channels, kernels, norms, activations) is refused: it would be another network under the same
name. The one exception follows the last weight, and a line says so: a generator that ends without
a tanh, a discriminator with a tanh or sigmoid on its logit. The files say nothing of the training:
the table takes the blog's (CelebA uncropped, and the defaults of RunConfig).
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import nn

from fagan import ablations
from fagan.config import RunConfig
from fagan.environment import describe
from fagan.errors import UserError, one_line, reason, shown, unknown
from fagan.evaluate import NotFinite, sample
from fagan.evaluate.sampling import draw_latents
from fagan.files import RESULTS, ablation_folder, folder_name, given_path, run_folder, write_text
from fagan.interpret import summary
from fagan.layers import FullAttention2d, SelfAttention2d
from fagan.models import Discriminator, Generator, alphas, build, parameters
from fagan.records import RunRecord
from fagan.released import from_package, load_package_file
from fagan.spectral_norm import left_out
from fagan.train import EVALUATION_SEED, save_grid, save_weights
from fagan.train.instruments import BATCH
from fagan.train.scorer import GRID

_GEOMETRY = {"channels": (), "kernel_dims": (1, 1), "stride": (1, 1), "padding": (0, 0)}
_CONVOLUTION = {"bias": True, "batch_norm": False, "spectral_norm": False, "activation": "none"}
_ATTENTION = {"bias": True, "squeeze_factor": 8, "activation": "none"}
_NORMS = {"use_spectral_norm": True, "use_batch_norm": True, "transpose_conv": False}
# {name of a stage: {setting: what the package takes where it is left out}}
KNOWN = {
    "conv": _GEOMETRY | _CONVOLUTION,
    "conv_transpose": _GEOMETRY | _CONVOLUTION,
    "full_attention": _GEOMETRY | _ATTENTION | _NORMS,
    "self_attention": {"channels": 0} | _ATTENTION,
    "ignore_attn_maps": {},
}
RECIPE = {"data": "celeba", "crop": "none"}
_ENDS = {Generator: ("tanh", "none"), Discriminator: ("none", "tanh", "sigmoid")}  # ours first
_PAIR = re.compile(r"\(\s*(\d{1,5})\s*,\s*(\d{1,5})\s*\)")
_LRELU = re.compile(r"lrelu\(\s*(\d+\.?\d*)\s*\)")


class Stage(NamedTuple):
    """A stage as the file has it; `where` names file, number (from 1) and stage."""

    where: str
    name: str
    settings: dict[str, Any]


def import_networks(
    generator: Path | str,
    discriminator: Path | str,
    name: str = "",
    weights: Sequence[Path | str] | None = None,
    results: Path = RESULTS,
) -> list[str]:
    """Write notebooks/ablations/NAME.yaml, and of weights results/NAME/runs/; lines to be printed.

    generator, discriminator: .conf files. name: by default the generator's file, or its folder
    where the file is gen.conf. weights: GAN_GEN_*.pth and GAN_DIS_*.pth. Their run is `released`
    and no average (`ema` 0), so that it computes what the package does; it has alphas and a sample
    grid, both of step 0, but no history and no scores.
    Raises UserError, with nothing written, for what cannot be read or expressed or does not fit,
    and where a table or an ablation of this name is there already.
    """
    files = given_path(generator), given_path(discriminator)
    stages = [read_stages(path) for path in files]
    if not name:
        generic = files[0].stem in ("gen", "generator")
        name = files[0].absolute().parent.name if generic else files[0].stem
    path = ablations.TABLES / f"{folder_name('ablation', name)}.yaml"
    for taken in (path, *([ablation_folder(name, results)] if weights else [])):
        if taken.exists():
            raise UserError(f"{taken} is there already; choose another name: --name NAME")
    exact = {"released": True, "ema": 0} if weights else {}
    names = " and ".join(one_line(file.name) for file in files)
    try:
        baseline = _parameters(*stages) | exact | RECIPE
        table = ablations.Table(name, f"{name}, from {names}", baseline, {name: {}}, {}, (0,))
        (run,) = ablations.configs(table)
    except UserError as error:
        raise UserError(f"{names}: {error}") from error
    notes = _compare(stages, run)
    if weights:
        _write_run(table, run, [given_path(file) for file in weights], results)
    comments = [f"From {names} by `python -m fagan import`; data and training are the blog's."]
    content = {"title": table.title, "baseline": baseline, "arms": table.arms, "seeds": 1}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    write_text(path, "".join(f"# {line}\n" for line in comments + notes) + text)
    run_line = [f"{name}/{run.run_id}: a finished run without scores"] if weights else []
    return [*notes, f"{name}: {run.architecture}, {run.resolution} pixels; {path}", *run_line]


def read_stages(path: Path) -> list[Stage]:
    """The stages of a .conf with all their settings, without ignore_attn_maps.

    Only plain YAML is read. Raises UserError naming the file, the stage and what is wrong in it.
    """
    try:
        content = yaml.safe_load(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}") from error
    except OSError:
        raise
    except Exception as error:  # PyYAML lets through whatever dates, numbers and tags raise
        raise UserError(f"{path} is not plain YAML: {reason(error)}") from error
    listed = content.get("architecture") if isinstance(content, dict) else None
    if not isinstance(listed, list) or len(content) > 1:
        raise UserError(f"{path} needs one key, `architecture`, with a list of stages")
    stages = [_stage(f"{path.name}, stage {i}", stage) for i, stage in enumerate(listed, 1)]
    stages = [stage for stage in stages if stage.name != "ignore_attn_maps"]
    if len(stages) < 2:
        raise UserError(f"{path} has {len(stages)} layers; a network here has two at least")
    return stages


def _stage(where: str, given: Any) -> Stage:
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(name, str):
        raise UserError(f"{where}: {shown(given)} is no mapping with a name")
    if name not in KNOWN:
        raise UserError(f"{where}: {unknown('stage', name, KNOWN)}")
    where, settings = f"{where} ({name})", dict(KNOWN[name])
    for key, value in given.items():
        if key != "name":
            if key not in settings:
                raise UserError(f"{where}: {unknown('setting', key, settings)}")
            settings[key] = _value(f"{where}: {key}", value, settings[key])
    if "channels" in settings and "channels" not in given:
        raise UserError(f"{where}: has no channels")
    return Stage(where, name, settings)


def _value(what: str, value: Any, default: Any) -> Any:
    """A setting of its default's type."""
    if isinstance(default, tuple):
        if isinstance(value, str) and (pair := _PAIR.fullmatch(value.strip())):
            return int(pair[1]), int(pair[2])
        raise UserError(f'{what} {shown(value)} must be a text such as "(4, 4)"')
    if isinstance(default, str):
        text = str(value).strip().lower()
        lrelu = _LRELU.fullmatch(text)
        return f"lrelu({float(lrelu[1]):g})" if lrelu else text
    if type(value) is not type(default) or (type(value) is int and not 0 < value < 100_000):
        kind = "true or false" if type(default) is bool else "a whole number, 1 to 99,999"
        raise UserError(f"{what} {shown(value)} must be {kind}")
    return value


def _parameters(generator: list[Stage], discriminator: list[Stage]) -> dict[str, Any]:
    """The parameters that the stages ask for; whether they say all of it, `_compare` finds out."""
    letters = [_letters(stages) for stages in (generator, discriminator)]
    first, inner = generator[0].settings["channels"], discriminator[1:-1]
    full = [s for s in (*generator[1:-1], *discriminator[:-1]) if s.name == "full_attention"]
    return {
        "architecture": " | ".join(map(" ".join, letters)),
        "resolution": 4 * 2 ** len(letters[0]),
        "width": first[1] / 512,
        "latent_size": first[0],
        "kernel_size": _first(full, "kernel_dims", (4, 4))[0],
        # at the image the package divides 3 channels by 1, whatever it is elsewhere
        "squeeze": _first([*generator[:-1], *inner], "squeeze_factor", 8),
        "batch_norm_discriminator": _first(inner, "use_batch_norm", True),
        "batch_norm_convolutions": _first(inner, "batch_norm", False),
    }


def _first(stages: Sequence[Stage], key: str, default: Any) -> Any:
    return next((s.settings[key] for s in stages if key in s.settings), default)


def _letters(stages: list[Stage]) -> list[str]:
    """["F", "C+A"] of all stages but the last, which is the image or the logit."""
    letters = []
    for stage in stages[:-1]:
        if stage.name != "self_attention":
            letters.append("F" if stage.name == "full_attention" else "C")
        elif not letters or letters[-1].endswith("+A"):
            raise UserError(f"{stage.where}: needs a convolution or full attention before it")
        else:
            letters[-1] += "+A"
    return letters


def _compare(files: Sequence[list[Stage]], run: RunConfig) -> list[str]:
    """A line for each activation after the last weight that is not ours; UserError for the rest."""
    notes = []
    for kind, stages in zip(_ENDS, files, strict=True):
        with torch.device("meta"), left_out():  # of any width in no memory
            ours = _described(kind(run), run.squeeze)
        for stage, (name, settings) in zip(stages, ours, strict=True):
            if stage.name != name:
                raise UserError(f"{stage.where}: not this stage: here the suite has {name}")
            for key, value in settings.items():
                theirs = stage.settings.get(key, (0, 0))  # output_padding
                if theirs == value:
                    continue
                here = f"{stage.where}: {key} is {theirs}, here the suite has {value}"
                if stage is not stages[-1] or key != "activation" or theirs not in _ENDS[kind]:
                    raise UserError(here)
                notes.append(f"{here}; the weights are the same, its output differs by that")
    return notes


def _described(network: nn.Module, squeeze: int) -> list[tuple[str, dict[str, Any]]]:
    """A network of ours, stage by stage, in the author's words.

    Of one built without its spectral norms: every stage has one, the output has none.
    """
    found = []
    for layer in network.stages:
        if not isinstance(layer, SelfAttention2d | FullAttention2d):
            found.append(_convolution(layer[0], layer[1], layer[-1]))
            continue
        inputs, query = layer.query.in_channels, layer.query.out_channels
        factor = squeeze if inputs // squeeze == query else inputs // query
        name, said = "self_attention", {"channels": inputs, "activation": "none", "bias": True}
        if isinstance(layer, FullAttention2d):
            path = _convolution(layer.convolution, layer.batch_norm, layer.activation, "use_")[1]
            name, said = "full_attention", {"transpose_conv": layer.convolution.transposed, **path}
        found.append((name, {"squeeze_factor": factor, **said}))
    name, said = _convolution(network.output, None, nn.Identity())
    return [*found, (name, said | {"activation": _ENDS[type(network)][0]})]


def _convolution(
    layer: nn.Module, norm: nn.Module | None, activation: nn.Module, use: str = ""
) -> tuple[str, dict[str, Any]]:
    slope = getattr(activation, "negative_slope", None)
    words = {nn.ReLU: "relu", nn.LeakyReLU: f"lrelu({slope})", nn.Identity: "none"}
    return "conv_transpose" if layer.transposed else "conv", {
        "channels": (layer.in_channels, layer.out_channels),
        "kernel_dims": layer.kernel_size,
        "stride": layer.stride,
        "padding": layer.padding,
        "output_padding": layer.output_padding,  # the format has none
        "bias": layer.bias is not None,
        f"{use}spectral_norm": norm is not None,
        f"{use}batch_norm": isinstance(norm, nn.BatchNorm2d),
        "activation": words[type(activation)],
    }


def _write_run(
    table: ablations.Table, run: RunConfig, files: Sequence[Path], results: Path
) -> None:
    """The author's weights as a run that is done; nothing is written before they have drawn."""
    networks, made_of = dict(zip(("generator", "discriminator"), build(run), strict=True)), {}
    for (kind, network), path in zip(networks.items(), files, strict=True):
        state = load_package_file(path)
        try:
            from_package(network, state)
        except UserError as error:
            raise UserError(f"{path.name}: {error}") from error
        if not all(tensor.isfinite().all() for tensor in state.values()):
            raise UserError(f"{path.name} holds NaN or infinity")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        made_of[kind] = {"file": one_line(path.name), "sha256": digest}
    try:
        grid = sample(networks["generator"], GRID, run.latent_size, EVALUATION_SEED)
    except NotFinite as error:
        raise UserError(f"{files[0].name}: {error}") from error
    latents = draw_latents(BATCH, run.latent_size, EVALUATION_SEED)
    gates = [{"network": "generator", **row} for row in summary(networks["generator"], latents)]
    # what a discriminator's branches carry is measured on the training's images: none are here
    layers = alphas(networks["discriminator"]).items()
    gates += [{"network": "discriminator", "layer": k, "alpha": v} for k, v in layers]

    # no step was made here; how many there were before, nobody wrote down
    place = {"step": 0, "images_seen": None}
    record = RunRecord(run_folder(table.name, run.run_id, results))
    record.begin(run, describe() | {"imported": made_of})
    record.append("alpha", [place | row for row in gates])
    save_grid(grid, record.samples / "step_0000000.png")
    save_weights(networks["generator"], record.weights)
    save_weights(networks["discriminator"], record.discriminator)
    ablations.plan(table, [run], results)
    counts = {f"parameters_{kind}": parameters(network) for kind, network in networks.items()}
    record.finish("done", **place, **counts)
