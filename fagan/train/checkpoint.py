"""What is written so that a run can go on, or be sampled from."""

from pathlib import Path

import torch
from torch import nn

from fagan.config import RunConfig
from fagan.files import replacing
from fagan.models import Generator
from fagan.train.steps import State

_PARTS = ("generator", "discriminator", "average", "optimizer_g", "optimizer_d")


def save(state: State, path: Path) -> None:
    """Everything that continuing needs, written whole or not at all."""
    parts = {name: getattr(state, name).state_dict() for name in _PARTS}
    parts |= {
        "config": state.config.hash,
        "step": state.step,
        "logged_step": state.logged_step,
        "latents": state.latents.get_state(),
        "sums": state.sums,
    }
    with replacing(path) as file:
        torch.save(parts, file)


def restore(state: State, path: Path) -> bool:
    """Continue a state from its checkpoint; False where there is none of this configuration."""
    if not path.exists():
        return False
    parts = torch.load(path, map_location=state.device, weights_only=True)
    if parts["config"] != state.config.hash:
        return False
    for name in _PARTS:
        getattr(state, name).load_state_dict(parts[name])
    state.latents.set_state(parts["latents"].cpu())
    state.step, state.logged_step = parts["step"], parts["logged_step"]
    state.sums.copy_(parts["sums"])
    return True


def save_weights(network: nn.Module, path: Path) -> None:
    """The network's tensors as safetensors."""
    from safetensors.torch import save

    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    with replacing(path) as file:
        file.write(save(state))


def load_generator(config: RunConfig, path: Path) -> Generator:
    """The generator of a finished run, in eval mode."""
    from safetensors.torch import load_file

    generator = Generator(config)
    generator.load_state_dict(load_file(path))
    return generator.eval()
