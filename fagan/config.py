"""The configuration of one run: a frozen dataclass that refuses what it does not know.

Everything that changes a run's numbers is a field here, so that two runs differ exactly where their
config.json differ. Nothing in this file needs torch: a plan of a thousand runs is made in seconds.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from fagan.architectures import MATCHED, Stages, stages_of
from fagan.errors import UserError, nearest, shown, unknown
from fagan.files import damaged, folder_name, read_object

LOSSES = (
    *("standard", "least-squares", "hinge", "relativistic", "relativistic-hinge"),
    "relativistic-pairing",
)
DATA = ("faces", "ties", "folder", "cifar10", "celeba")
PROCEDURAL = ("faces", "ties")  # drawn by this package, with ties that a score can read
LABELLED = ("faces", "folder", "cifar10")  # a face's class is the kind of its headgear
# what a network of residual blocks has only one way, or not at all
_NOT_RESIDUAL = "kernel_size batch_norm_discriminator batch_norm_convolutions released".split()
MOST = 2**62  # no number is larger: beyond it seeds and steps overflow


def _f(default, doc: str, **metadata):
    return field(default=default, metadata={"doc": doc, **metadata})


@dataclass(frozen=True)
class RunConfig:
    """One run. Build it with `from_params`, which checks; defaults are the blog's recipe."""

    arm: str = _f("fagan", "name of the arm in its experiment table")
    # networks
    architecture: str = _f("fagan", "a name of architectures.ARCHITECTURES or a stage string")
    resolution: int = _f(64, "pixels a side")
    width: float = _f(1.0, "channel multiplier")
    latent_size: int = _f(128, "components of z")
    kernel_size: int = _f(4, "kernel of the full attention layers, and of RC and RF stages, 1 to 7")
    squeeze: int = _f(8, "query and key have channels // squeeze")
    alpha_init: float = _f(0.0, "value of every gate before step 0")
    alpha: str = _f("learned", "the gates", choices=("learned", "frozen", "channel"))
    merge: str = _f("alpha", "how the two paths join", choices=("alpha", "concat"))
    heads: int = _f(1, "attention heads")
    self_attention: str = _f("package", "variant of +A", choices=("package", "google"))
    attention_spectral_norm: bool = _f(False, "spectral norm on query, key and value too")
    batch_norm_discriminator: bool = _f(
        True, "batch norm in the discriminator's inner F layers, as released"
    )
    batch_norm_convolutions: bool = _f(
        False, "batch norm in the discriminator's inner C layers too"
    )
    conditioning: str = _f(
        "none", "what is done with class labels", choices=("none", "concat", "projection")
    )
    classes: int = _f(0, "classes of the data; counted when the table is planned")
    released: bool = _f(False, "the released package's spectral norm, wrong gradient included")
    # data
    data: str = _f("faces", "source of the images", choices=DATA)
    data_path: str = _f("", "folder or zip of the images; never recorded", local=True)
    crop: str = _f("center", "how an image becomes a square", choices=("center", "none"))
    images: int = _f(0, "training images at most; 0 for all (faces and ties: 20,000)")
    flip: bool = _f(False, "mirror half of the training images")
    # training
    loss: str = _f("hinge", "loss on logits", choices=LOSSES)
    matching_aware: bool = _f(False, "real images with a random label are fakes too, half of them")
    r1: float = _f(0.0, "half of it times the squared gradient of the logits at real images")
    r2: float = _f(0.0, "the same at generated images")
    batch_size: int = _f(32, "images a step")
    steps: int = _f(75_972, "generator steps; 12 epochs of CelebA at batch 32")
    n_dis: int = _f(1, "discriminator steps per generator step")
    lr_g: float = _f(1e-4, "Adam's rate for the generator")
    lr_d: float = _f(4e-4, "Adam's rate for the discriminator")
    beta1: float = _f(0.0, "Adam")
    beta2: float = _f(0.9, "Adam")
    ema: float = _f(0.999, "decay a step of the generator's weight average; 0 for none")
    exact: bool = _f(False, "the plain paths everywhere, which the fast ones are compared with")
    precision: str = _f("fp32", "arithmetic of the networks", choices=("fp32", "bf16"))
    seed: int = _f(0, "of weights, latents and batches")
    threads: int = _f(1, "CPU threads; they change the last digits, so they are part of the run")
    device: str = _f("auto", "where it runs", choices=("auto", "cpu", "cuda"))
    graph: str = _f("auto", "a step as one CUDA graph, where it can be", choices=("auto", "off"))
    compile: str = _f("off", "what torch.compile compiles", choices=("off", "networks"))
    # records
    log_every: int = _f(50, "steps between rows of history.csv")
    eval_every: int = _f(2_000, "steps between scores and sample grids")
    checkpoint_every: int = _f(1_000, "steps between checkpoints")
    n_track: int = _f(2_000, "generated images per score during training")
    n_fake: int = _f(5_000, "generated images of the final scores")
    n_real: int = _f(5_000, "reference images")
    n_intervene: int = _f(500, "generated images per score with gates set by hand; 0 for none")

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "RunConfig":
        """Build from plain values; refuse unknown keys and bad values with one line.

        Integers are accepted for floats and whole floats for integers; nothing else is converted.
        """
        values = {}
        for key, value in params.items():
            if key not in FIELDS:
                raise UserError(
                    f"unknown parameter {shown(key)}{nearest(key, FIELDS)} "
                    "(`python -m fagan parameters` lists them)"
                )
            values[key] = typed(key, value)
        config = cls(**values)
        config._check()
        return config

    def _check(self) -> None:
        stages = stages_of(self.architecture, self.resolution)
        positive = (
            "width latent_size squeeze heads batch_size steps n_dis lr_g lr_d threads "
            "log_every eval_every checkpoint_every"
        ).split()
        for name in positive:
            if not getattr(self, name) > 0:
                raise UserError(f"{name}={getattr(self, name)} must be above 0")
        for name in ("n_track", "n_fake", "n_real"):
            if getattr(self, name) < 2:
                raise UserError(f"{name}={getattr(self, name)} must be at least 2")
        for name in ("beta1", "beta2", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} must be in [0, 1)")
        if not 1 <= self.kernel_size <= 7:
            raise UserError(f"kernel_size={self.kernel_size} must be 1 to 7")
        resized = any(s.startswith("R") for s in (*stages.generator, *stages.discriminator))
        if resized and self.kernel_size % 2 == 0:
            raise UserError(
                f"kernel_size={self.kernel_size} must be odd: the stages RC and RF of "
                f"{self.architecture!r} keep the size"
            )
        for name in ("images", "seed", "n_intervene", "classes", "r1", "r2"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}={getattr(self, name)} must not be negative")
        if self.n_intervene == 1:
            raise UserError("n_intervene=1 has no covariance: 0 for none, or at least 2")
        if self.exact and self.precision != "fp32":
            raise UserError(f"exact=true computes in fp32, not {self.precision}: precision=fp32")
        if self.batch_size < 2:
            raise UserError("batch_size=1 leaves batch norm nothing to average; give at least 2")
        folder_name("arm", self.arm)
        for name in _NOT_RESIDUAL if stages.residual else ():
            if getattr(self, name) != DEFAULTS[name]:
                value = shown(getattr(self, name))
                raise UserError(f"{name}={value} is no option of residual networks (B and BF)")
        if self.architecture in MATCHED:
            _, target = MATCHED[self.architecture]
            replace(self, architecture=target)._check()  # it is measured against that network
        for letters, channels in self._attending(stages):
            if self.squeeze > channels:
                raise UserError(
                    f"squeeze={self.squeeze} is more than the {channels} channels of a {letters} "
                    f"stage of {self.architecture!r} at width {self.width:g}; "
                    f"give squeeze <= {channels} or a larger width"
                )
            # an output F gives 3 channels and always has one head
            query = channels // self.squeeze
            if letters != "output F" and query % self.heads:
                raise UserError(
                    f"heads={self.heads} do not divide the {query} query channels of a {letters} "
                    f"stage of {self.architecture!r}; lower heads or squeeze"
                )
        if self.data == "folder" and not self.data_path:
            raise UserError("data=folder needs its folder or zip: DATA=path/to/images")
        if self.data in PROCEDURAL and self.data_path:
            raise UserError(f"data={self.data} is drawn and takes no data_path; set data=folder")
        self._check_labels()

    def _check_labels(self) -> None:
        if self.conditioning == "none":
            if self.classes or self.matching_aware:
                raise UserError(
                    "classes and matching_aware belong to conditioning=concat or projection"
                )
        elif self.data not in LABELLED:
            raise UserError(
                f"conditioning={self.conditioning}: data={self.data} has no class labels "
                f"({', '.join(LABELLED)} have)"
            )
        elif self.classes < 2:
            raise UserError(
                f"conditioning={self.conditioning} needs at least two classes, not {self.classes}"
            )

    def channels(self, width: float | None = None) -> tuple[int, ...]:
        """The generator's channels from the latent outward; the discriminator's are the reverse."""
        stages = stages_of(self.architecture, self.resolution)
        n = len(stages.generator)
        widest = 32 << n if stages.residual else 512  # residual: as published, 64 at the image
        return tuple(max(1, round((widest >> i) * (width or self.width))) for i in range(n))

    def _attending(self, stages: Stages):
        """(letters, channels from which query and key are made) of every attention layer."""
        g = self.channels()
        d = g[::-1]
        # a generator's block attends behind its first convolution
        into = g if stages.residual else (self.latent_size, *g[:-1])
        for letters, before, after in (
            *zip(stages.generator, into, g, strict=True),
            # the image-side F is always possible: as released, it has squeeze 1 and one head
            *zip(stages.discriminator, (None, *d[:-1]), d, strict=True),
        ):
            if "F" in letters and before is not None:
                yield letters, before
            if letters.endswith("+A"):
                yield letters, after
        if stages.output == "F":
            yield "output F", g[-1]

    def refuse_uneven(self, processes: int) -> None:
        """UserError where so many processes cannot take equal parts of a batch."""
        if processes > 1 and self.batch_size % processes:
            raise UserError(
                f"GPUS_PER_RUN={processes} does not divide batch_size={self.batch_size} of "
                f"{self.run_id}"
            )

    @property
    def run_id(self) -> str:
        """The run's folder: arm and seed. What else it holds is in its config.json."""
        return f"{self.arm}-seed{self.seed}"

    def identity(self) -> dict[str, Any]:
        """What config.json holds: every field but the local ones (a path is not a result)."""
        return {k: v for k, v in vars(self).items() if k not in LOCAL}  # all plain values

    @property
    def hash(self) -> str:
        """12 hex digits of the identity."""
        text = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def with_(self, **changes) -> "RunConfig":
        """A checked copy."""
        return type(self).from_params(asdict(self) | changes)


FIELDS = {f.name: f for f in fields(RunConfig)}
DEFAULTS = {name: f.default for name, f in FIELDS.items()}
LOCAL = frozenset(f.name for f in fields(RunConfig) if f.metadata.get("local"))


def typed(name: str, value: Any) -> Any:
    """The value of a parameter as its field's type; UserError for another type or beyond bounds."""
    f = FIELDS[name]
    kind = type(f.default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is bool:
        ok = isinstance(value, bool)
    elif kind is int:
        ok = number and (isinstance(value, int) or value.is_integer())
    elif kind is float:
        ok = number and (isinstance(value, int) or math.isfinite(value))
    else:
        ok = isinstance(value, str)
    if not ok:
        raise UserError(f"{name}={shown(value)} must be {_NAMES[kind]} ({f.metadata['doc']})")
    if number and abs(value) > MOST:
        raise UserError(f"{name}={shown(value)} is beyond {MOST:,} ({f.metadata['doc']})")
    choices = f.metadata.get("choices")
    if choices and value not in choices:
        raise unknown(name, value, choices)
    return kind(value)


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a run: its arm, its seed and whatever else its code recorded.

    UserError where a field has another type; one that is newer or older than this code is left.
    """
    path = folder / "config.json"
    config = read_object(path)
    if config is None or not {"arm", "seed"} <= config.keys():
        raise damaged(path, "no arm or seed")
    try:
        return config | {k: typed(k, v) for k, v in config.items() if k in FIELDS}
    except UserError as error:
        raise damaged(path, str(error)) from error


def refuse_other_config(folder: Path, config: RunConfig) -> None:
    """UserError naming the first field in which the recorded configuration differs."""
    recorded = read_object(Path(folder) / "config.json")
    if recorded is None:
        return
    wanted = config.identity()
    # a field that is newer than the record had its default then
    recorded = {k: v for k, v in DEFAULTS.items() if k in wanted} | recorded
    for key in sorted(recorded.keys() | wanted.keys()):
        old, new = recorded.get(key), wanted.get(key)
        if old != new:
            raise UserError(
                f"{folder} was recorded with {key}={shown(old)}, now {key}={shown(new)} is asked "
                "for; ask for the recorded value, move the folder away, or delete it to run anew"
            )
