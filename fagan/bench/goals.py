"""What the project set out to reach, held against what the bench has measured."""

from dataclasses import dataclass

import pandas as pd

from fagan.bench import scale

CELEBA, EPOCHS = 202_599, 12  # the blog's training
START_UP = "run: command to the first step done"


@dataclass(frozen=True)
class Target:
    """A number and the side of its limit on which it should lie."""

    name: str
    limit: float
    measured: float | None
    at_least: bool = True
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        """None where it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def describe(self) -> dict:
        return {
            "target": self.name,
            "limit": f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}".strip(),
            "measured": self.measured,
            "met": self.met,
        }


def targets(device: str, steps: pd.DataFrame, parts: pd.DataFrame) -> list[Target]:
    """The targets that a device has; those of what was left out are not measured."""
    return _cuda(steps) if device == "cuda" else _cpu(steps, parts)


def _cpu(steps: pd.DataFrame, parts: pd.DataFrame) -> list[Target]:
    wanted = {
        ("fagan", "fp32"): (4.5, 2.2),
        ("fagan", "bf16"): (7, 3.5),
        ("sagan", "fp32"): (1.5, 1.2),
    }
    found = [
        Target(
            f"{architecture}, 64 pixels, {loss}, {precision}: steps against the released package",
            limit,
            _step(steps, architecture, loss, precision, "speedup"),
        )
        for (architecture, precision), limits in wanted.items()
        for loss, limit in zip(("relativistic-hinge", "hinge"), limits, strict=True)
    ]
    for loss in ("relativistic-hinge", "hinge"):
        share = _step(steps, "fagan", loss, "fp32", "memory_share")
        name = f"fagan, 64 pixels, {loss}: peak memory against the released package"
        found.append(Target(name, 0.5, share, at_least=False))
    for part, limit in (
        (START_UP, 6),
        ("Fréchet distance, 320 features", 0.1),
        ("Fréchet distance, 2048 features", 5),
        (scale.name_of("plan", scale.PLANNED), 20),
        (scale.name_of("records", scale.RUNS), 5),
        (scale.name_of("status", scale.RUNS), 2),
    ):
        values = parts.loc[parts["part"] == part, "value"] if len(parts) else []
        measured = float(values.iloc[0]) if len(values) else None
        found.append(Target(part, limit, measured, at_least=False, unit="s"))
    return found


def _cuda(steps: pd.DataFrame) -> list[Target]:
    row = ("fagan", "relativistic-hinge")
    rate = _step(steps, *row, "bf16", "images_per_second")
    minutes = None if rate is None else CELEBA * EPOCHS / rate / 60
    name = "fagan, 64 pixels, batch 64, relativistic-hinge, bf16"
    return [
        Target(f"{name}: images/s against the released package", 8,
               _step(steps, *row, "bf16", "speedup")),
        Target(f"{name}: peak memory against the released package", 1 / 3,
               _step(steps, *row, "bf16", "memory_share"), at_least=False),
        Target(f"{name}: share of the time that the GPU is busy", 0.9,
               _step(steps, *row, "bf16", "device_busy"), unit=""),
        Target("the blog's training (12 epochs of CelebA) at that rate", 4, minutes,
               at_least=False, unit="min"),
    ]  # fmt: skip


def _step(steps, architecture, loss, implementation, column) -> float | None:
    """A number of the 64-pixel case, None where it was not measured."""
    chosen = steps.query(
        "architecture == @architecture and resolution == 64 and loss == @loss "
        "and implementation == @implementation"
    )
    if column not in chosen or chosen.empty or pd.isna(chosen[column].iloc[0]):
        return None
    return float(chosen[column].iloc[0])
