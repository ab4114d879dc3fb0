"""The experiment tables: a baseline, named differences from it, and seeds.

A table is notebooks/ablations/<name>.yaml:

    title: one line
    baseline:               # parameters of every run, see `python -m fagan parameters`
        architecture: sagan
    arms:                   # differences from the baseline; {} is the baseline itself
        sagan: {}
        fagan: {architecture: fagan}
    labels: {fagan: FAGAN}  # optional, for figures; an arm without one is shown by its name
    seeds: 2                # how many (0, 1, ...) or a list
    extends: laptop         # optional: start from another table; what is given here is added to it

`plan` turns a table and the user's overrides into checked RunConfigs and writes
results/<name>/plan.json, which is all that a run needs to know. Nothing here computes.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fagan.config import LABELLED, RunConfig, refuse_other_config
from fagan.environment import ROOT, SCHEMA
from fagan.errors import UserError, one_line, reason, shown, unknown
from fagan.files import (
    RESULTS,
    ablation_folder,
    command_for,
    folder_name,
    given_path,
    read_object,
    run_folder,
    write_json,
)

TABLES = ROOT / "notebooks" / "ablations"
KEYS = ("title", "baseline", "arms", "labels", "seeds", "extends")
# The arms of one table are compared with one another, so they share what a score depends on.
SHARED = ("data", "resolution", "crop", "images", "n_track", "n_fake", "n_real")


@dataclass(frozen=True)
class Table:
    """One experiment table, as written."""

    name: str
    title: str
    baseline: dict[str, Any]
    arms: dict[str, dict[str, Any]]
    labels: dict[str, str]
    seeds: tuple[int, ...]

    @property
    def baseline_arm(self) -> str:
        """The arm that differs in nothing, else the first."""
        return next((arm for arm, own in self.arms.items() if not own), next(iter(self.arms)))


def table_names() -> list[str]:
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def load_table(name: str) -> Table:
    """Read a table. Raises UserError naming what is wrong in it."""
    content, where = _read(name), f"notebooks/ablations/{name}.yaml"
    baseline, arms, labels = (content.get(key) or {} for key in ("baseline", "arms", "labels"))
    for key, value in (("arms", arms), ("baseline", baseline), ("labels", labels)):
        if not isinstance(value, dict):
            raise UserError(f"{where}: `{key}` must be a mapping, not {shown(value)}")
    if not arms:
        raise UserError(f"{where}: `arms` must name at least one arm")
    for arm, own in arms.items():
        if not isinstance(arm, str):  # YAML reads no, 1 and 1e3 as other things than texts
            raise UserError(f"{where}: arm {shown(arm)} is no text to YAML; write it in quotes")
        if not isinstance(own, dict):
            raise UserError(f"{where}: arm {arm!r} must be a mapping of parameters, {{}} for none")
        if "arm" in own or "arm" in baseline:
            raise UserError(f"{where}: 'arm' is no parameter here: the keys of `arms` are the arms")
    labels = {arm: one_line(str(label)) for arm, label in labels.items()}
    for arm in labels:
        if arm not in arms:
            raise UserError(f"{where}: label of an {unknown('arm', arm, arms)}")
    given = [labels.get(arm, arm) for arm in arms]
    if len(set(given)) < len(given):
        raise UserError(f"{where}: two arms share the label {max(given, key=given.count)!r}")
    title, seeds = one_line(str(content.get("title") or name)), parse_seeds(content.get("seeds", 1))
    return Table(folder_name("ablation", name), title, baseline, arms, labels, seeds)


def _read(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The YAML of a table, merged into the one it extends."""
    if name not in table_names():
        raise unknown("ablation", name, table_names())
    where = f"notebooks/ablations/{name}.yaml"
    content = _yaml((TABLES / f"{name}.yaml").read_bytes(), where)
    if not isinstance(content, dict):
        raise UserError(f"{where} must be a mapping with the keys {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            raise UserError(f"{where}: {unknown('key', key, KEYS)}")
    base = content.pop("extends", None)
    if base is None:
        return content
    if base in (name, *above):
        raise UserError(f"{where} extends itself")
    merged = _read(base, (name, *above))
    for key, value in content.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merged[key] | value if both else value
    return merged


def _yaml(text: str | bytes, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    except Exception as error:  # PyYAML lets through whatever dates, numbers and tags raise
        raise UserError(f"{where} holds a value that cannot be read: {reason(error)}") from error


def parse_seeds(value: Any) -> tuple[int, ...]:
    """3 or "3" -> (0, 1, 2); [0, 5] or "0,5" -> (0, 5)."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,18}(\s*,\s*\d{1,18})*\s*,?\s*", value):
        numbers = [int(word) for word in value.split(",") if word.strip()]
        value = numbers if "," in value else numbers[0]
    if type(value) is int and not 1 <= value <= 1_000:
        raise UserError(f"seeds={value} must be a count from 1 to 1,000; a list names others (0,5)")
    seeds = list(range(value)) if type(value) is int else value
    if not isinstance(seeds, list) or not seeds or any(type(s) is not int or s < 0 for s in seeds):
        raise UserError(f"seeds {shown(value)} must be a count (3) or a list (0,1,5)")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds {shown(seeds)} name one seed twice")
    return tuple(seeds)


def parse_setting(text: str) -> tuple[str, Any]:
    """`width=0.5` -> ("width", 0.5), the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"setting {shown(text)} must be name=value")
    return key.strip(), _yaml(value, f"the value of {shown(key.strip())}")


def configs(
    table: Table,
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    data_path: str | None = None,
    gpus: int | None = None,
) -> list[RunConfig]:
    """All runs of a table, seed by seed so that every arm has a result early.

    gpus: that a run is given on a cluster; None where the runs are on this machine.
    """
    settings = dict(settings or {})
    for name, remedy in (("seed", "--seeds (SEEDS=0,1,5)"), ("arm", "the table's arms")):
        if name in settings:
            raise UserError(f"{name} is no setting of every run: take {remedy}")
    if data_path:
        settings |= _data_settings(table, data_path)
    runs = []
    for seed in seeds or table.seeds:
        for arm, own in table.arms.items():
            params = {"arm": arm, **table.baseline, **own, "seed": seed, **settings}
            params["precision"] = resolve_precision(params, gpus)
            try:
                params |= _classes(params)
                runs.append(RunConfig.from_params(params))
            except UserError as error:
                raise UserError(f"arm {arm!r} of {table.name}: {error}") from error
    for name in SHARED:
        values = list(dict.fromkeys(getattr(run, name) for run in runs))
        if len(values) > 1:
            raise UserError(
                f"the arms of {table.name} differ in {name} ({', '.join(map(str, values))}): "
                "their scores could not be compared; make two tables"
            )
    return runs


def _data_settings(table: Table, data_path: str) -> dict[str, str]:
    path, data = given_path(data_path), table.baseline.get("data", "faces")
    if not path.exists():
        raise UserError(f"DATA={data_path} does not exist; name a folder or a zip of images")
    # torchvision's own layout where the path holds it; anything else is a folder of images
    layout = {"celeba": "celeba/img_align_celeba", "cifar10": "cifar-10-batches-py"}.get(data)
    if not (layout and (path / layout).is_dir()):
        data = "folder"
    return {"data": data, "data_path": os.path.abspath(path)}


def _classes(params: Mapping[str, Any]) -> dict[str, int]:
    """How many classes the data of a run have, where it asks for labels and does not say."""
    if params.get("conditioning", "none") == "none" or "classes" in params:
        return {}
    data, path = params.get("data", "faces"), params.get("data_path", "")
    if data not in LABELLED or not isinstance(path, str) or (data == "folder" and not path):
        return {}  # the configuration says what is wrong
    from fagan.data import class_names  # torch: only here

    return {"classes": len(class_names(data, path))}


def asks_for_auto_precision(table: Table, settings: Mapping[str, Any]) -> bool:
    """Whether the precision of any run is left to be chosen."""
    arms = ({**table.baseline, **own, **settings} for own in table.arms.values())
    return any(params.get("precision") == "auto" for params in arms)


def resolve_precision(params: Mapping[str, Any], gpus: int | None = None) -> Any:
    """`auto` is bf16 where the processor or the GPU multiplies bfloat16 itself, else fp32.

    With `exact` it is fp32. On a cluster (gpus: that a run is given there) this machine says
    nothing about the nodes: bf16 for a run that is given a GPU, fp32 for one that is not.
    """
    asked, on_gpu = params.get("precision", "fp32"), params.get("device", "auto") != "cpu"
    if asked != "auto":
        return asked
    if params.get("exact", False):
        return "fp32"
    if gpus is not None:
        return "bf16" if gpus and on_gpu else "fp32"
    import torch

    if torch.cuda.is_available() and on_gpu:
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


def plan(table: Table, runs: Sequence[RunConfig], results: Path = RESULTS) -> list[RunConfig]:
    """Write results/<name>/plan.json; refuse where a run was recorded with another config."""
    for run in runs:
        refuse_other_config(run_folder(table.name, run.run_id, results), run)
    content = {
        "schema": SCHEMA,
        "ablation": table.name,
        "title": table.title,
        "baseline": table.baseline_arm,
        "labels": table.labels,
        "runs": [{"run_id": run.run_id, "config": dict(vars(run))} for run in runs],
    }
    path = ablation_folder(table.name, results) / "plan.json"
    if read_object(path) != content:
        write_json(path, content)
    return list(runs)


def planned(ablation: str, results: Path = RESULTS) -> dict[str, RunConfig]:
    """run_id -> configuration, from plan.json."""
    content = read_object(ablation_folder(ablation, results) / "plan.json")
    if content is None:
        raise UserError(
            f"no plan for {ablation!r} under {results}; `{command_for(ablation)}` makes one"
        )
    try:
        found = {r["run_id"]: RunConfig.from_params(r["config"]) for r in content["runs"]}
    except (AttributeError, KeyError, TypeError):
        found = {}
    # the name becomes a folder: what was written by hand must be what this code would write
    if not found or any(config.run_id != name for name, config in found.items()):
        raise UserError(
            f"the plan of {ablation} under {results} is damaged; `python -m fagan plan {ablation}` "
            "makes it again"
        )
    return found


def planned_run(ablation: str, run_id: str, results: Path = RESULTS) -> RunConfig:
    """One run of a plan, or UserError with the nearest name."""
    found = planned(ablation, results)
    if run_id not in found:
        raise unknown("run", run_id, found)
    return found[run_id]
