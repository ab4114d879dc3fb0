"""A table and a user's overrides as checked configurations."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fagan.ablations.files import Table, load_table, table_names
from fagan.config import RunConfig, UserError
from fagan.files import given_path
from fagan.records import arm_label

if TYPE_CHECKING:
    import pandas

# The arms of one table are compared with one another, so they share what a score depends on.
SHARED = ("data", "resolution", "crop", "images", "n_track", "n_fake", "n_real")


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
