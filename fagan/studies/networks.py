"""The networks of finished runs, and the inputs that they are shown."""

from dataclasses import dataclass

from torch import Tensor

from fagan import data
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.evaluate.sampling import draw_latents
from fagan.models import Discriminator, Generator
from fagan.records import RunRecord, Runs, read_object
from fagan.train import EVALUATION_SEED, load_generator, load_weights


@dataclass(frozen=True, eq=False)
class Networks:
    """Both networks of one run, in eval mode on the CPU; None where its weights are not kept.

    generator: the weight average, which is what was scored. discriminator: as it ended.
    """

    run_id: str
    arm: str
    seed: int
    config: RunConfig
    generator: Generator | None
    discriminator: Discriminator | None

    @property
    def key(self) -> dict[str, str | int]:
        """The first columns of every study's rows."""
        return {"run_id": self.run_id, "arm": self.arm, "seed": self.seed}

    def latents(self, n: int) -> Tensor:
        """The first n latents of the sample grids, (n, latent_size)."""
        return draw_latents(n, self.config.latent_size, EVALUATION_SEED)


def networks(runs: Runs, seed: int | None = None) -> list[Networks]:
    """Of every run that has weights, by arm and seed; of one seed only where it is given."""
    found = []
    for arm in runs.arms:
        own = runs.runs[runs.runs["arm"] == arm].sort_values("seed")
        for run_id, run_seed in zip(own["run_id"], own["seed"], strict=True):
            if seed is None or run_seed == seed:
                loaded = load_networks(runs, run_id)
                if loaded is not None:
                    found.append(loaded)
    return found


def load_networks(runs: Runs, run_id: str) -> Networks | None:
    """Both networks of one run; None where neither's weights are kept."""
    generator, discriminator = _weights(runs, run_id)
    if not generator.exists() and not discriminator.exists():
        return None
    config = recorded_config(runs, run_id)
    return Networks(
        run_id=run_id,
        arm=config.arm,
        seed=config.seed,
        config=config,
        generator=load_generator(config, generator) if generator.exists() else None,
        discriminator=_load_discriminator(config, discriminator),
    )


def without_weights(runs: Runs, seed: int | None = None) -> list[str]:
    """Ids of the runs of which a network's weights are missing."""
    own = runs.runs if seed is None else runs.runs[runs.runs["seed"] == seed]
    return [
        run_id
        for run_id in own["run_id"]
        if not all(path.exists() for path in _weights(runs, run_id))
    ]


def recorded_config(runs: Runs, run_id: str) -> RunConfig:
    """A run's configuration as recorded; the path of its images, never recorded, from the plan."""
    identity = read_object(runs.folder / "runs" / run_id / "config.json") or {}
    if identity.get("data", "faces") != "faces":
        plan = read_object(runs.folder / "plan.json") or {}
        paths = {run["run_id"]: run["config"].get("data_path") for run in plan.get("runs", [])}
        # a name that is no file, so that loading says what is missing; networks need no images
        unknown = "images-of-the-run" if identity["data"] == "folder" else ""
        identity = identity | {"data_path": paths.get(run_id) or unknown}
    return RunConfig.from_params(identity)


def some_real(runs: Runs, n: int) -> Tensor | None:
    """The first n reference images of an ablation, uint8; None where they are not on this machine.

    A folder's images lie in a shuffled order, the procedural faces are drawn independently.
    """
    try:
        config = recorded_config(runs, runs.runs["run_id"].iloc[0])
        return data.load(config, "reference").images[:n].clone()
    except UserError:
        return None


def some_drawn(runs: Runs, n: int) -> Tensor | None:
    """`some_real` where the images are procedural; None for photographs.

    A page can be published, and a data set's photographs are somebody else's: no figure shows one.
    """
    return some_real(runs, n) if set(runs.runs["data"]) == {"faces"} else None


def _load_discriminator(config: RunConfig, path) -> Discriminator | None:
    if not path.exists():
        return None
    return load_weights(Discriminator(config), path)


def _weights(runs: Runs, run_id: str):
    record = RunRecord(runs.folder / "runs" / run_id)
    return record.weights, record.discriminator
