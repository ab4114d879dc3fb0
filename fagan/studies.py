"""What a page computes from a finished run's networks: tidy frames, maps as arrays in their cells.

A run without weights, as published records have them, has no networks and so no rows; images that
are not on this machine are None. Everything depends on weights, images and seed alone.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from fagan import data
from fagan.conditioning import labelled
from fagan.config import PROCEDURAL, RunConfig
from fagan.data import to_uint8, to_unit
from fagan.errors import UserError
from fagan.evaluate import evaluating, sample
from fagan.evaluate.sampling import draw_latents
from fagan.files import read_object
from fagan.interpret import (
    effective_receptive_field,
    field_share,
    field_size,
    force_alpha,
    gated_layers,
    map_at,
    record,
    stages,
    theoretical_receptive_field,
)
from fagan.interpret.interventions import replacing
from fagan.layers import Gated
from fagan.models import Discriminator, Generator
from fagan.records import RunRecord, Runs
from fagan.train import EVALUATION_SEED, load_generator, load_weights

# (row, column) in shares of the image. On an aligned face: the left eye, the clothes beside the
# neck and the background; the two ties of the procedural faces begin at the first two.
POINTS = ((0.48, 0.375), (0.93, 0.27), (0.1, 0.1))
LOOKS = "run_id arm seed network layer alpha query row column image map peak".split()
FLIPS = "run_id arm seed network layer kind alpha change".split()
FIELDS = (
    "run_id arm seed place layer grid source source_grid attention size share outside theory map"
).split()


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
        """The first n latents of the scored images, as the generator takes them."""
        latents = draw_latents(n, self.config.latent_size, EVALUATION_SEED)
        return labelled(self.generator, latents)

    def between(self, start: Tensor, end: Tensor, share: float) -> Tensor:
        """From one of `latents` to another: an arc, and a mixture of their classes."""
        k = self.config.latent_size
        arc, mixture = slerp(start[:, :k], end[:, :k], share), torch.lerp(start, end, share)[:, k:]
        return torch.cat((arc, mixture), dim=1)

    def shown(
        self, images: Tensor | None, chosen: slice
    ) -> Iterator[tuple[str, nn.Module, Tensor]]:
        """(name, network, inputs) of each network: latents of the sample grids, and the images.

        images: uint8 (N, 3, R, R); the discriminator is left out where there are none.
        """
        if self.generator is not None:
            yield "generator", self.generator, self.latents(chosen.stop)[chosen]
        if self.discriminator is not None and images is not None:
            yield "discriminator", self.discriminator, to_unit(images[chosen])


def networks(runs: Runs, seed: int | None = None) -> list[Networks]:
    """Of every run that has weights, by arm and seed; of one seed only where it is given."""
    table = runs.runs if seed is None else runs.runs[runs.runs["seed"] == seed]
    order = table["arm"].map(runs.arms.index)
    table = table.assign(order=order).sort_values(["order", "seed"])
    found = (load_networks(runs, run_id) for run_id in table["run_id"])
    return [run for run in found if run is not None]


def load_networks(runs: Runs, run_id: str) -> Networks | None:
    """Both networks of one run; None where neither's weights are kept."""
    record = RunRecord(runs.folder / "runs" / run_id)
    has_g, has_d = record.weights.exists(), record.discriminator.exists()
    if not has_g and not has_d:
        return None
    config = recorded_config(runs, run_id)
    return Networks(
        run_id=run_id,
        arm=config.arm,
        seed=config.seed,
        config=config,
        generator=load_generator(config, record.weights) if has_g else None,
        discriminator=load_weights(Discriminator(config), record.discriminator) if has_d else None,
    )


def recorded_config(runs: Runs, run_id: str) -> RunConfig:
    """A run's configuration as recorded; the path of its images, never recorded, from the plan."""
    identity = read_object(runs.folder / "runs" / run_id / "config.json") or {}
    if identity.get("data", "faces") not in PROCEDURAL:
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


def some_drawn(runs: Runs, n: int, made_by: Sequence[Networks] = ()) -> Tensor | None:
    """n images that a page may show: procedural ones, else what the first generator draws.

    A page can be published, and a data set's photographs are somebody else's: no figure shows one.
    None where the data are photographs and no generator is given.
    """
    if runs.procedural:
        return some_real(runs, n)
    for run in made_by:
        if run.generator is not None:
            return sample(run.generator, n, run.config.latent_size, EVALUATION_SEED)
    return None


def attention_looks(
    runs: Iterable[Networks],
    images: Tensor | None,
    points: Sequence[tuple[float, float]] = POINTS,
    index: int = 0,
) -> pd.DataFrame:
    """The map of every attention layer from each point of one image; columns LOOKS.

    The generator makes its image from latent `index` of the sample grids; the discriminator is
    shown images[index]. query: 1, 2, ...; row, column: the query's pixel. image: uint8 (R, R, 3).
    map: float64 (H', W') over the keys' grid, the mean over heads, summing to 1. peak: its largest
    weight over that of a uniform map.
    """
    rows = []
    for run in runs:
        for name, network, inputs in run.shown(images, slice(index, index + 1)):
            with torch.no_grad(), evaluating(network), record(network) as records:
                output = network(inputs)
            image = to_uint8((inputs if inputs.dim() == 4 else output)[0]).permute(1, 2, 0).numpy()
            place = run.key | {"network": name, "image": image}
            for layer, passes in records.items():
                rows += [place | row for row in _maps(layer, passes[-1], points, len(image))]
    return pd.DataFrame(rows, columns=LOOKS)


def _maps(layer: str, recorded, points, resolution: int) -> Iterator[dict]:
    alpha = math.nan if recorded.alpha is None else recorded.alpha.mean().item()
    for query, point in enumerate(points, 1):
        row, column = (int(share * resolution) for share in point)
        weights = map_at(recorded, (row, column), resolution)[0].double().mean(0)  # (H', W')
        yield {"layer": layer, "alpha": alpha, "query": query, "row": row, "column": column} | {
            "map": weights.numpy(),
            "peak": float(weights.max() * weights.numel()),
        }


def sign_flips(runs: Iterable[Networks], images: Tensor | None, n: int = 4) -> pd.DataFrame:
    """What the output loses when a layer's alpha and its value change their signs together.

    One row per layer with an alpha that is not 0; columns FLIPS. kind: "full" or "self". change:
    root mean square of the output's change over that of the output, in float64, on the first n
    latents or images. 0: the same function, so that the sign of alpha says nothing.
    """
    rows = []
    for run in runs:
        for name, network, inputs in run.shown(images, slice(0, n)):
            copy, inputs = deepcopy(network).double(), inputs.double()
            with torch.no_grad(), evaluating(copy):
                trained = copy(inputs)
                for label, layer in gated_layers(copy).items():
                    if not hasattr(layer, "alpha") or not layer.alpha.any():
                        continue
                    with _flipped(layer):
                        change = (copy(inputs) - trained).norm() / trained.norm()
                    row = {"network": name, "layer": label, "kind": label.partition(" ")[0]}
                    row |= {"alpha": layer.alpha.mean().item(), "change": change.item()}
                    rows.append(run.key | row)
    return pd.DataFrame(rows, columns=FLIPS)


@contextmanager
def _flipped(layer: Gated) -> Iterator[None]:
    """The layer with -alpha and -value, as it was afterwards."""
    project = layer.project  # the weights stay: under spectral norm their sign would cancel

    def negated(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = project(x)
        return query, key, -value

    layer.project = negated
    try:
        with replacing([(layer, "alpha", -layer.alpha.detach())]):
            yield
    finally:
        del layer.project


def discriminator_fields(
    runs: Iterable[Networks], images: Tensor | None, draws: int = 4
) -> pd.DataFrame:
    """The receptive field of every layer's middle cell over the image; columns FIELDS.

    images: uint8 (N, 3, R, R), averaged over; no rows where there are none. place: 1, 2, ... in the
    order of the forward pass, the last is the logit. grid: cells a side of the layer's output.
    attention: "as trained", or "alpha = 0", every gate closed, in networks that have one. size
    (pixels a side) and share of the image: see `interpret.field_size`. outside: the share of the
    influence that comes from where the network with closed gates has none, so by attention alone;
    NaN where a layer has no gate to close. theory: pixels a side that the convolutions alone can
    reach. map: float64 (R, R), sum 1.
    """
    rows = []
    for run in runs:
        if run.discriminator is None or images is None:
            continue
        network, inputs = run.discriminator, to_unit(images)
        for place, (name, label, grid) in enumerate(stages(network, inputs), 1):
            row = run.key | {"place": place, "layer": label or "logit", "grid": grid}
            row |= {"source": "image", "source_grid": inputs.shape[-1]}
            rows += [row | field for field in _fields(network, name, inputs, None, draws)]
    return pd.DataFrame(rows, columns=FIELDS)


def generator_reach(runs: Iterable[Networks], n: int = 8, draws: int = 4) -> pd.DataFrame:
    """What the middle pixel of the image depends on, over each earlier layer's output.

    Columns FIELDS; layer is "image", and source the layer whose output, source_grid cells a side,
    the map (source_grid, source_grid) is over; size and theory are in its cells. n latents, those
    of the sample grids.
    """
    rows = []
    for run in runs:
        if run.generator is None:
            continue
        network, latents = run.generator, run.latents(n)
        *earlier, (output, _, resolution) = stages(network, latents)
        for place, (source, label, grid) in enumerate(earlier, 1):
            row = run.key | {"place": place, "layer": "image", "grid": resolution}
            row |= {"source": label, "source_grid": grid}
            rows += [row | field for field in _fields(network, output, latents, source, draws)]
    return pd.DataFrame(rows, columns=FIELDS)


def _fields(
    network: nn.Module, layer: str, inputs: Tensor, source: str | None, draws: int
) -> Iterator[dict]:
    """As trained and, where there is a gate to close, with all of them closed."""
    gates = [hasattr(gate, "alpha") for gate in gated_layers(network).values()]
    theory = theoretical_receptive_field(network, layer, inputs, source=source)

    def field() -> Tensor:
        return effective_receptive_field(network, layer, inputs, source=source, draws=draws)

    maps = {"as trained": field()}
    if any(gates):
        with force_alpha(network, 0.0):
            maps["alpha = 0"] = field()
    closed = list(maps.values())[-1] > 0
    for attention, found in maps.items():
        yield {
            "attention": attention,
            "size": field_size(found),
            "share": field_share(found),
            "outside": found[~closed].sum().item() if all(gates) else math.nan,
            "theory": theory,
            "map": found.numpy(),
        }


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Spherical interpolation: latents (..., D) at a share in [0, 1] of the angle between two.

    A straight line between two normal latents passes nearer to 0 than any latent that a generator
    was trained on; the arc does not (White 2016, arXiv 1609.04468). The length goes evenly from one
    to the other. Where the two point the same or opposite ways there is no arc: the line is taken.
    """
    lengths = start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True)
    a, b = start / lengths[0], end / lengths[1]
    angle = torch.acos((a * b).sum(-1, keepdim=True).clamp(-1, 1))
    sine = torch.sin(angle)
    direction = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / sine
    arc = torch.lerp(*lengths, share) * direction
    return torch.where(sine < 1e-4, torch.lerp(start, end, share), arc)
