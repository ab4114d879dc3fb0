"""What a run records of its layers while it trains: read on a fixed batch, without a trace."""

import torch
from torch import Tensor, nn

from fagan import data, interpret
from fagan.conditioning import labelled
from fagan.evaluate.sampling import draw_latents
from fagan.train.arithmetic import precision
from fagan.train.scorer import EVALUATION_SEED
from fagan.train.steps import State

# Images of the fixed batch: the means over it are steady at 8, and a forward pass of 8 is a small
# part of a step.
BATCH = 8


class Instruments:
    """Readings of both networks as they are at the moment, not of the average."""

    def __init__(self, state: State, batches: data.Batches):
        self.state = state
        latents = draw_latents(BATCH, state.config.latent_size, EVALUATION_SEED)
        latents = labelled(state.average, latents)
        # the first images of the set, the same in every run of an ablation
        images = data.to_unit(batches.images[:BATCH])
        self.inputs = {"generator": latents.to(state.device), "discriminator": images}

    def gates(self) -> list[dict]:
        """Rows of alpha.csv: each layer's gate, its gradient, its branches and its attention."""
        rows = []
        for network, module in self._networks():
            gradients = _alpha_gradients(module)
            with precision(self.state.config, self.state.device):
                layers = interpret.summary(module, self.inputs[network])
            for row in layers:
                gradient = gradients.get(row["layer"])
                rows.append({**self._place(network), **row, "gradient": gradient})
        return rows

    def spectral(self) -> list[dict]:
        """Rows of spectral.csv: the largest singular value of every convolution's weight."""
        return [
            {**self._place(network), "layer": layer, "spectral_norm": value}
            for network, module in self._networks()
            for layer, value in interpret.spectral_norms(module).items()
        ]

    def gradient_norms(self) -> dict[str, float]:
        """The norm of each network's last gradient, over all its weights."""
        return {f"gradient_norm_{name[0]}": _norm(module) for name, module in self._networks()}

    def _networks(self) -> list[tuple[str, nn.Module]]:
        return [(name, getattr(self.state, name)) for name in ("generator", "discriminator")]

    def _place(self, network: str) -> dict:
        state = self.state
        return {"step": state.step, "images_seen": state.images_seen, "network": network}


def _alpha_gradients(network: nn.Module) -> dict[str, float]:
    """Of each trained gate, as the last backward pass left it; the mean of an alpha per channel."""
    found = {}
    for name, layer in interpret.gated_layers(network).items():
        gradient: Tensor | None = getattr(getattr(layer, "alpha", None), "grad", None)
        if gradient is not None:
            found[name] = gradient.mean().item()
    return found


def _norm(network: nn.Module) -> float:
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).item()
