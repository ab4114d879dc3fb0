"""Scores and sample grids while a run trains and when it ends."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fagan import data, evaluate, interpret
from fagan.conditioning import labelled, spread_classes
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.evaluate.sampling import draw_latents, drawn_from
from fagan.files import replacing
from fagan.records import RunRecord
from fagan.train.arithmetic import fast_matmul, layout, pick_device, precision, threads
from fagan.train.checkpoint import load_generator
from fagan.train.steps import State

# Scores and sample grids use it in every run of every ablation: arms meet the same latents.
EVALUATION_SEED = 1_000_003
GRID = 64


class Scorer:
    """Scores and sample grids of one run, against one reference."""

    def __init__(self, config: RunConfig, device: torch.device):
        self.config = config
        self.device = str(device)
        self.extractor = evaluate.lite0(device=self.device)
        self.real = data.load(config, "reference")
        self.reference = evaluate.reference(self.real, config.n_real, self.extractor)
        self._drawn: tuple[int, Tensor | None, Tensor | None] = (-1, None, None)

    def track(self, state: State, record: RunRecord, say) -> dict[str, float]:
        """Write the sample grid of this step and return the scores for history.csv."""
        config = self.config
        images, features = self._draw(state)
        save_grid(images[:GRID], record.samples / f"step_{state.step:07d}.png")
        scores = self._score(images[: config.n_track], features[: config.n_track])
        say(
            f"step {state.step}/{config.steps}  fd_lite0 {scores['fd_lite0']:.1f}  "
            f"kid_lite0 {scores['kid_lite0']:.4f}"
        )
        return scores

    def final(self, state: State) -> dict[str, Any]:
        """The scores of metrics.json: n_fake images, and FID where the Inception weights are."""
        images, features = (x[: self.config.n_fake] for x in self._draw(state))
        scores = self._score(images, features)
        if evaluate.inception_missing() is None:
            extractor = evaluate.inception(device=self.device)
            reference = evaluate.reference(self.real, self.config.n_real, extractor)
            inception = evaluate.score(images, reference, extractor, EVALUATION_SEED)
            scores |= {k: v for k, v in inception.items() if k.startswith(("fid", "kid"))}
            scores["inception_sha256"] = inception["weights_sha256"]
        return scores

    def by_class(self, state: State, record: RunRecord) -> None:
        """classes.csv, of the images of the final scores, and classes.png, a row a class."""
        if not self.config.classes:
            return
        save_grid(self._rows_of_classes(state), record.class_sheet)
        _, features = self._draw(state)
        features = features[: self.config.n_fake]
        labels = spread_classes(len(features), state.average.frequencies.cpu())
        record.classes(evaluate.by_class(features, labels, self.reference))

    def _rows_of_classes(self, state: State) -> Tensor:
        """A grid with one class a row, 8 latents for all classes and then 8 others."""
        row = torch.arange(GRID) // 8
        latents = draw_latents(GRID, self.config.latent_size, EVALUATION_SEED)
        latents = latents[row // self.config.classes * 8 + torch.arange(GRID) % 8]
        latents = labelled(state.average, latents, row % self.config.classes)
        with precision(self.config, torch.device(self.device)):
            return drawn_from(state.average, latents, device=self.device)

    def intervene(self, state: State) -> list[dict]:
        """The scores with gates set by hand, at n_intervene images: rows of interventions.csv and,
        with the coherences, of closed_ties.csv."""
        n = self.config.n_intervene
        if not n or not interpret.gated_layers(state.average):
            return []
        with precision(self.config, torch.device(self.device)):
            rows = interpret.interventions(
                state.average,
                self._alone,
                n=n,
                latent_size=self.config.latent_size,
                seed=EVALUATION_SEED,
                device=self.device,
            )
        return [row | {"n_fake": n} for row in rows]

    def _alone(self, images: Tensor) -> dict[str, float]:
        """What is scored of a generator whose gates were set by hand."""
        scores = evaluate.score(images, self.reference, self.extractor, EVALUATION_SEED, kid=False)
        found = {"fd": scores["fd_lite0"]}
        if self.config.data == "ties":
            found |= evaluate.coherence(images, self.real.images, self.real.ties)
        return found

    def _draw(self, state: State) -> tuple[Tensor, Tensor]:
        """Images of the average at this step and their features; drawn once a step.

        The last step's are scored twice, for the curve and for metrics.json: it draws for both.
        """
        step, images, features = self._drawn
        if step != state.step:
            config = self.config
            last = state.step == config.steps
            n = max(GRID, config.n_track, config.n_fake if last else 0)
            with precision(config, torch.device(self.device)):
                images = evaluate.sample(
                    state.average, n, config.latent_size, EVALUATION_SEED, device=self.device
                )
            features = self.extractor(images)
            self._drawn = state.step, images, features
        return images, features

    def _score(self, images: Tensor, features: Tensor) -> dict[str, Any]:
        scores = evaluate.score(
            images, self.reference, self.extractor, EVALUATION_SEED, features=features
        )
        if self.real.ties:
            scores |= evaluate.coherence(images, self.real.images, self.real.ties)
        return scores


def drawn(
    config: RunConfig,
    weights: Path,
    n: int = 0,
    seed: int = EVALUATION_SEED,
    class_: int | None = None,
) -> Tensor:
    """n images (0: the run's n_fake) of a finished run's generator: uint8 (n, 3, R, R).

    class_: the number of the one class to draw, where the run has classes.
    Drawn as the training draws what it scores: rounding alone would make another number. Raises
    UserError where there are no weights, and where there is no such class.
    """
    if class_ is not None and not 0 <= class_ < config.classes:
        raise UserError(
            f"{config.run_id} has no class {class_}: it knows {config.classes or 'no'} classes"
        )
    if not weights.exists():
        raise UserError(f"{config.run_id} has no weights: {weights} is written when a run is done")
    device = pick_device(config)
    generator = load_generator(config, weights).to(device, memory_format=layout(config))
    n = n or config.n_fake
    labels = None if class_ is None else torch.full((n,), class_)
    with threads(config.threads), fast_matmul(config, device), precision(config, device):
        return evaluate.sample(
            generator, n, config.latent_size, seed, device=str(device), labels=labels
        )


def save_grid(images: Tensor, path: Path) -> None:
    """uint8 (N, 3, R, R) as an 8-column PNG; places without an image are black."""
    from PIL import Image

    columns = min(8, len(images))
    images = torch.cat((images, images.new_zeros(-len(images) % columns, *images.shape[1:])))
    rows = images.unflatten(0, (-1, columns))  # (rows, columns, 3, R, R)
    grid = rows.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (rows * R, columns * R, 3)
    with replacing(path) as file:
        Image.fromarray(grid.numpy()).save(file, "PNG")
