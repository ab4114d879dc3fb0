"""The experiment tables: a baseline, named differences from it, and seeds.

A table is notebooks/ablations/<name>.yaml:

    title: one line
    baseline:               # parameters of every run, see `python -m fagan parameters`
        architecture: sagan
    arms:                   # differences from the baseline; {} is the baseline itself
        sagan: {}
        fagan: {architecture: fagan}
    labels: {fagan: FAGAN}  # optional, for figures
    seeds: 2                # how many (0, 1, ...) or a list
    extends: laptop         # optional: start from another table; what is given here is added to it

`plan` turns a table and the user's overrides into checked RunConfigs and writes
results/<name>/plan.json, which is all that a run needs to know. Nothing here computes.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fagan.config import RunConfig, UserError, unknown
from fagan.environment import ROOT
from fagan.errors import one_line, reason, shown
from fagan.files import folder_name, given_path
from fagan.plain_yaml import CHARACTERS, load_yaml
from fagan.records import (
    RESULTS,
    SCHEMA,
    ablation_folder,
    arm_label,
    read_json,
    refuse_other_config,
    run_folder,
    write_json,
)

if TYPE_CHECKING:
    import pandas

TABLES = ROOT / "notebooks" / "ablations"
MOST_SEEDS = 1_000
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
        return next(
            (arm for arm, changes in self.arms.items() if not changes), next(iter(self.arms))
        )


def table_names() -> list[str]:
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def load_table(name: str) -> Table:
    """Read a table. Raises UserError naming what is wrong in it."""
    content = _read(name)
    where = f"notebooks/ablations/{name}.yaml"
    arms, labels, title = content.get("arms", {}), content.get("labels") or {}, content.get("title")
    baseline = content.get("baseline") or {}
    for key, value in (("arms", arms), ("baseline", baseline), ("labels", labels)):
        if not isinstance(value, dict):
            raise UserError(f"{where}: `{key}` must be a mapping, not {shown(value)}")
    _check_arms(where, arms, baseline)
    for arm in labels:
        if arm not in arms:
            raise UserError(f"{where}: label of an {unknown('arm', arm, arms)}")
    for text in (*labels.values(), title):
        if isinstance(text, dict | list) or (isinstance(text, str) and not text.strip()):
            raise UserError(f"{where}: {shown(text)} is no title or label; write a text")
    return Table(
        name=folder_name("ablation", name),
        title=one_line(str(name if title is None else title)),
        baseline=baseline,
        arms=arms,
        labels={arm: one_line(str(text)) for arm, text in labels.items()},
        seeds=parse_seeds(content.get("seeds", 1)),
    )


def _check_arms(where: str, arms: dict, baseline: dict) -> None:
    if not arms:
        raise UserError(f"{where}: `arms` must name at least one arm")
    for arm, changes in arms.items():
        if not isinstance(arm, str):  # YAML reads no, 1 and 1e3 as other things than texts
            raise UserError(f"{where}: arm {shown(arm)} is no text to YAML; write it in quotes")
        if not isinstance(changes, dict):
            raise UserError(f"{where}: arm {arm!r} must be a mapping of parameters, {{}} for none")
        if "arm" in changes or "arm" in baseline:
            raise UserError(f"{where}: 'arm' is no parameter here: the keys of `arms` are the arms")


def _read(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The YAML of a table, merged into the one it extends."""
    path = TABLES / f"{name}.yaml"
    if name not in table_names():
        raise unknown("ablation", name, table_names())
    where = f"notebooks/ablations/{name}.yaml"
    content = load_yaml(_text(path, where), where)
    if not isinstance(content, dict):
        raise UserError(f"{where} must be a mapping with the keys {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            raise UserError(f"{where}: {unknown('key', key, KEYS)}")
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise UserError(f"{where}: `extends` must be the name of a table, not {shown(base)}")
    if base in (name, *above):
        raise UserError(f"{where} extends itself")
    merged = _read(base, (name, *above))
    for key, value in content.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merged[key] | value if both else value
    return merged


def _text(path: Path, where: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(CHARACTERS + 1)  # a longer one is refused
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where} cannot be read ({reason(error)})") from error


def parse_seeds(value: Any) -> tuple[int, ...]:
    """3 or "3" -> (0, 1, 2); [0, 5] or "0,5" -> (0, 5). At most MOST_SEEDS."""
    if isinstance(value, str):
        if not re.fullmatch(r"\s*\d{1,19}(\s*,\s*\d{1,19})*\s*,?\s*", value):
            raise UserError(f"seeds {shown(value)} must be a count (3) or a list (0,1,5)")
        numbers = [int(word) for word in value.split(",") if word.strip()]
        value = numbers if "," in value else numbers[0]
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise UserError(f"seeds={shown(value)} must be at least 1")
        if value > MOST_SEEDS:
            raise UserError(f"seeds={shown(value)} is beyond {MOST_SEEDS:,}; a list names them")
        return tuple(range(value))
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    if not listed or not value or not all(type(v) is int and v >= 0 for v in value):
        raise UserError(f"seeds {shown(value)} must be a count (3) or a list ([0, 1, 5])")
    if len(value) > MOST_SEEDS:
        raise UserError(f"{len(value):,} seeds are beyond {MOST_SEEDS:,}")
    if len(set(value)) < len(value):
        raise UserError(f"seeds {list(value)} name one seed twice")
    return tuple(value)


def parse_setting(text: str) -> tuple[str, Any]:
    """`width=0.5` -> ("width", 0.5), the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"setting {shown(text)} must be name=value")
    return key.strip(), load_yaml(value, f"the value of {shown(key.strip())}")


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
        for arm, changes in table.arms.items():
            params = {"arm": arm, **table.baseline, **changes, "seed": seed, **settings}
            params["precision"] = resolve_precision(params, gpus)
            try:
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


def known_arms() -> "pandas.DataFrame":
    """A row per arm of every table that needs no images of the user's own.

    ablation, arm, label, seeds (how many) and every field of its configuration.
    """
    import pandas as pd

    rows = []
    for name in table_names():
        table = load_table(name)
        if table.baseline.get("data") == "folder":
            continue
        for run in configs(table, seeds=[0]):
            label = table.labels.get(run.arm) or arm_label(run.arm)
            rows.append(
                {"ablation": name, "label": label, "seeds": len(table.seeds), **asdict(run)}
            )
    return pd.DataFrame(rows)


def _data_settings(table: Table, data_path: str) -> dict[str, str]:
    if not os.path.exists(given_path(data_path)):
        raise UserError(f"DATA={data_path} does not exist; name a folder or a zip of images")
    data_path = given_path(data_path)
    data = table.baseline.get("data", "faces")
    # torchvision's own layout where the path holds it; anything else is a folder of images
    layout = {"celeba": "celeba/img_align_celeba", "cifar10": "cifar-10-batches-py"}.get(data)
    if not (layout and os.path.isdir(data_path / layout)):
        data = "folder"
    return {"data": data, "data_path": os.path.abspath(data_path)}


def asks_for_auto_precision(table: Table, settings: Mapping[str, Any]) -> bool:
    """Whether the precision of any run is left to be chosen."""
    arms = ({**table.baseline, **changes, **settings} for changes in table.arms.values())
    return any(params.get("precision") == "auto" for params in arms)


def resolve_precision(params: Mapping[str, Any], gpus: int | None = None) -> str:
    """`auto` is bf16 where the processor or the GPU multiplies bfloat16 itself, else fp32.

    With `exact` it is fp32. On a cluster (gpus: that a run is given there) this machine says
    nothing about the nodes: bf16 for a run that is given a GPU, fp32 for one that is not.
    """
    asked = params.get("precision", "fp32")
    if not isinstance(asked, str) or asked != "auto":
        return asked
    if params.get("exact", False):
        return "fp32"
    if gpus is not None:
        return "bf16" if gpus and params.get("device", "auto") != "cpu" else "fp32"
    import torch

    if torch.cuda.is_available() and params.get("device", "auto") != "cpu":
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
    if read_json(path) != content:
        write_json(path, content)
    return list(runs)


def planned(
    ablation: str, results: Path = RESULTS, only: str | None = None
) -> dict[str, RunConfig]:
    """run_id -> configuration, from plan.json; of the run `only` alone, if there is one so called.

    Each job of a large plan asks for its own run, so the others are not checked then.
    """
    content = read_json(ablation_folder(ablation, results) / "plan.json")
    if content is None:
        raise UserError(
            f"no plan for {ablation!r} under {results}; `python -m fagan plan {ablation}` makes it"
        )
    found = _entries(content, only)
    if found is None:
        raise UserError(
            f"the plan of {ablation} under {results} is damaged; `python -m fagan plan {ablation}` "
            "makes it again"
        )
    return found


def _entries(content: Any, only: str | None) -> dict[str, RunConfig] | None:
    """A plan's runs, each under the name that its configuration gives it; None where it is none."""
    if not isinstance(content, dict) or not isinstance(content.get("runs"), list):
        return None
    found = {}
    for run in content["runs"]:
        if not isinstance(run, dict) or not isinstance(run.get("config"), dict):
            return None
        if only is not None and run.get("run_id") != only:
            continue
        config = RunConfig.from_params(run["config"])
        # the name becomes a folder: what was written by hand must be what this code would write
        if run.get("run_id") != config.run_id:
            return None
        found[config.run_id] = config
    return found if found or only is not None else None


def planned_run(ablation: str, run_id: str, results: Path = RESULTS) -> RunConfig:
    """One run of a plan, or UserError with the nearest name."""
    found = planned(ablation, results, only=run_id)
    if run_id not in found:
        raise unknown("run", run_id, planned(ablation, results))
    return found[run_id]
