"""What the playground asks a finished run, without a widget."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fagan.data import to_uint8
from fagan.errors import UserError
from fagan.evaluate import evaluating
from fagan.evaluate.sampling import draw_latents
from fagan.interpret import force_alpha, gated_layers, map_at, record
from fagan.layers import FullAttention2d
from fagan.records import RESULTS, load_runs, read_json
from fagan.studies import Networks, load_networks, slerp

# sliders that move the latent
DIRECTIONS = 4


@dataclass(frozen=True)
class Finished:
    """A finished run that kept its generator."""

    ablation: str
    run_id: str
    results: Path

    @property
    def name(self) -> str:
        return f"{self.ablation} / {self.run_id}"


@dataclass(frozen=True)
class Settings:
    """What the widgets say.

    start, end: seeds of two latents; share: how far on the arc between them, in [0, 1]. moves:
    along the first directions of `Player.directions`, in standard deviations of a latent. alphas:
    layers of the generator with the gate that each is given. pixel: (row, column) of the image.
    """

    start: int = 0
    end: int = 1
    share: float = 0.0
    moves: Sequence[float] = ()
    alphas: Mapping[str, float] = field(default_factory=dict)
    pixel: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class View:
    """What the networks make of Settings.

    image, trained: uint8 (R, R, 3), with the gates as set and as trained, of the same latent.
    maps: {"generator, full 8x8": (H', W')}, where each layer looks from the pixel, mean over heads,
    summing to 1; the discriminator is shown `image`. logit: the discriminator's, None without one.
    """

    image: np.ndarray
    trained: np.ndarray
    maps: dict[str, np.ndarray]
    logit: float | None

    @property
    def change(self) -> float:
        """Mean absolute change by the gates, in grey levels of 256."""
        return float(np.abs(self.image.astype(float) - self.trained).mean())


def finished_runs(results: Path = RESULTS) -> list[Finished]:
    """Every finished run under `results` or its published/ that kept its generator's weights.

    Raises UserError where there is none, saying what would make one.
    """
    results, found, lost = Path(results), [], 0
    for folder in (results, results / "published"):
        for metrics in sorted(folder.glob("*/runs/*/metrics.json")):
            run = metrics.parent
            if (read_json(metrics) or {}).get("status") != "done":
                continue
            if (run / "generator.safetensors").exists():
                found.append(Finished(run.parents[1].name, run.name, folder))
            else:
                lost += 1
    if not found:
        without = f"{lost} finished runs under {results.name}/ kept no weights" if lost else ""
        raise UserError(
            f"{without or f'no run under {results.name}/ is finished'}; "
            "`make ablations ABLATION=smoke` makes two in a minute"
        )
    return found


class Player:
    """One finished run, on the CPU. Raises UserError where its weights cannot be read."""

    def __init__(self, run: Finished):
        self.networks = _load(run)
        self.generator = self.networks.generator
        self.resolution = self.networks.config.resolution
        self.alphas = {
            label: layer.alpha.mean().item()
            for label, layer in gated_layers(self.generator).items()
            if hasattr(layer, "alpha")
        }
        self.directions = directions(self.generator, DIRECTIONS)

    def latent(self, settings: Settings) -> Tensor:
        """(1, latent_size)."""
        size = self.networks.config.latent_size
        ends = (draw_latents(1, size, seed) for seed in (settings.start, settings.end))
        z = slerp(*ends, settings.share)
        for move, direction in zip(settings.moves, self.directions, strict=False):
            z = z + move * direction
        return z

    def view(self, settings: Settings) -> View:
        """Image, maps and logit of these settings."""
        z = self.latent(settings)
        maps: dict[str, np.ndarray] = {}
        with ExitStack() as forced:
            for layer, alpha in settings.alphas.items():
                forced.enter_context(force_alpha(self.generator, alpha, layer))
            made = self._watched("generator", self.generator, z, settings.pixel, maps)
        judge, logit = self.networks.discriminator, None
        if judge is not None:
            logit = self._watched("discriminator", judge, made, settings.pixel, maps).item()
        trained = self._drawn(z) if settings.alphas else _image(made)
        return View(_image(made), trained, maps, logit)

    def _drawn(self, z: Tensor) -> np.ndarray:
        with torch.no_grad(), evaluating(self.generator):
            return _image(self.generator(z))

    def _watched(self, name: str, network: nn.Module, x: Tensor, pixel, maps: dict) -> Tensor:
        with torch.no_grad(), evaluating(network), record(network) as records:
            out = network(x)
        for layer, passes in records.items():
            weights = map_at(passes[-1], pixel, self.resolution)[0].mean(0)  # (H', W')
            maps[f"{name}, {layer}"] = weights.numpy()
        return out


def _load(run: Finished) -> Networks:
    runs = load_runs(run.ablation, run.results, run.run_id)
    networks = load_networks(runs, run.run_id)
    if networks is None or networks.generator is None:
        raise UserError(f"{run.name} kept no generator; run it anew")
    return networks


def directions(generator: nn.Module, n: int) -> Tensor:
    """The n unit directions (n, latent_size) that the first convolution amplifies most.

    Left singular vectors of its weight, as in SeFa (Shen and Zhou 2021, arXiv 2007.06600); the sign
    is such that the largest entry is positive.
    """
    stage = generator.stages[0]
    first = stage.convolution if isinstance(stage, FullAttention2d) else stage[0]
    with evaluating(generator):  # reading a weight under spectral norm is a step of its iteration
        weight = first.weight.detach().flatten(1)  # (latent_size, outputs * kernel)
    vectors = torch.linalg.svd(weight, full_matrices=False).U[:, :n].T
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()


def _image(made: Tensor) -> np.ndarray:
    return to_uint8(made[0]).permute(1, 2, 0).numpy()
