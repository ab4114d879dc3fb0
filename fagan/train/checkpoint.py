"""What is written so that a run can go on, or be sampled from."""

import hashlib
import io
import os
from pathlib import Path

import torch
from torch import nn

from fagan.config import RunConfig
from fagan.errors import UserError, reason
from fagan.files import replacing
from fagan.models import Generator
from fagan.train.steps import State

_CHECKSUM = hashlib.sha256().digest_size
_PARTS = ("generator", "discriminator", "average", "optimizer_g", "optimizer_d")


def save(state: State, paths: tuple[Path, Path]) -> None:
    """Everything that continuing needs, written whole or not at all, with a checksum before it.

    paths: of the checkpoint and of the one before, which is kept until the next.
    """
    path, previous = paths
    parts = {name: getattr(state, name).state_dict() for name in _PARTS}
    parts |= {
        "config": state.config.hash,
        "step": state.step,
        "logged_step": state.logged_step,
        "latents": state.latents.get_state(),
        "sums": state.sums,
    }
    content = io.BytesIO()
    torch.save(parts, content)
    with replacing(path) as file:
        file.write(hashlib.sha256(content.getbuffer()).digest())
        file.write(content.getbuffer())
        file.flush()  # a full disk is noticed here, with both of the others in their places
        if path.exists():
            os.replace(path, previous)


def restore(state: State, paths: tuple[Path, Path], say=print) -> bool:
    """Continue a state from its checkpoint, or from the one before where it is damaged.

    False where there is none of this configuration that is whole. `say` gets a line about each
    damaged one. The checksum finds damage; against a file that somebody made, only tensors and
    plain values are unpickled. Raises UserError where such a file does not fit.
    """
    for path in paths:
        if not path.exists():
            continue
        content = path.read_bytes()
        checksum, content = content[:_CHECKSUM], content[_CHECKSUM:]
        if hashlib.sha256(content).digest() != checksum:
            say(f"{path.name} is damaged (its checksum is wrong): removed")
            path.unlink()  # or the next save would put it in the place of the one before
            continue
        try:
            parts = torch.load(io.BytesIO(content), map_location=state.device, weights_only=True)
            if parts["config"] == state.config.hash:
                _continue(state, parts)
                return True
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # torch raises a dozen kinds; half of it may be loaded
            raise UserError(
                f"{path} is no checkpoint, or does not fit the run that it names "
                f"({reason(error)}); delete it to run anew"
            ) from error
    return False


def _continue(state: State, parts: dict) -> None:
    for name in _PARTS:
        getattr(state, name).load_state_dict(parts[name])
    state.latents.set_state(parts["latents"].cpu())
    state.step, state.logged_step = parts["step"], parts["logged_step"]
    state.sums.copy_(parts["sums"])


def save_weights(network: nn.Module, path: Path) -> None:
    """The network's tensors as safetensors."""
    from safetensors.torch import save

    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    with replacing(path) as file:
        file.write(save(state))


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """The network in eval mode with the tensors of a safetensors file; UserError if they misfit."""
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(path))
    except Exception as error:  # safetensors, torch and the system raise their own
        raise UserError(
            f"{path} does not hold the weights of this network ({reason(error)}); "
            "delete its run's folder to train it anew"
        ) from error
    return network.eval()


def load_generator(config: RunConfig, path: Path) -> Generator:
    """The generator of a finished run, in eval mode; UserError where the file is another's."""
    return load_weights(Generator(config), path)
