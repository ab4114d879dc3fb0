"""Scores and sample grids while a run trains and when it ends."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fagan import data, evaluate
from fagan.config import RunConfig
from fagan.records import RunRecord
from fagan.train.steps import State, precision

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

    def track(self, state: State, record: RunRecord, say) -> dict[str, float]:
        """Write the sample grid of this step and return the scores for history.csv."""
        config = self.config
        grid = self._sample(state.average, GRID)
        save_grid(grid, record.samples / f"step_{state.step:07d}.png")
        scores = self._score(self._sample(state.average, config.n_track))
        say(
            f"step {state.step}/{config.steps}  fd_lite0 {scores['fd_lite0']:.1f}  "
            f"kid_lite0 {scores['kid_lite0']:.4f}"
        )
        return scores

    def final(self, state: State, say) -> dict[str, Any]:
        """The scores of metrics.json: n_fake images, and FID where the Inception weights are."""
        images = self._sample(state.average, self.config.n_fake)
        scores = self._score(images)
        if evaluate.inception_available():
            extractor = evaluate.inception(device=self.device)
            reference = evaluate.reference(self.real, self.config.n_real, extractor)
            inception = evaluate.score(images, reference, extractor, EVALUATION_SEED)
            scores |= {k: v for k, v in inception.items() if k.startswith(("fid", "kid"))}
            scores["inception_sha256"] = inception["weights_sha256"]
        return scores

    def _sample(self, generator: nn.Module, n: int) -> Tensor:
        with precision(self.config, torch.device(self.device)):
            return evaluate.sample(
                generator, n, self.config.latent_size, EVALUATION_SEED, device=self.device
            )

    def _score(self, images: Tensor) -> dict[str, Any]:
        scores = evaluate.score(images, self.reference, self.extractor, EVALUATION_SEED)
        if self.config.data == "faces":
            scores |= evaluate.coherence(images, self.real.images)
        return scores


def save_grid(images: Tensor, path: Path) -> None:
    """uint8 (N, 3, R, R) as an 8-column PNG."""
    from PIL import Image
    from torchvision.utils import make_grid

    path.parent.mkdir(parents=True, exist_ok=True)
    grid = make_grid(images, nrow=8, padding=0)  # (3, rows * R, 8 * R)
    Image.fromarray(grid.permute(1, 2, 0).numpy()).save(path)
