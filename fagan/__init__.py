"""FAGAN: the Full Attention GAN, its layers, its ablations and their analysis.

>>> from fagan import FullAttention2d, SelfAttention2d, alphas     # doctest: +SKIP

Nothing heavy is imported until a name is asked for.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "FullAttention2d": "layers",
    "SelfAttention2d": "layers",
    "Generator": "models",
    "Discriminator": "models",
    "alphas": "models",
    "RunConfig": "config",
    "load_runs": "records",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(f"fagan.{_HOME[name]}"), name)
    raise AttributeError(f"module 'fagan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
