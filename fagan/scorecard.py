"""The `evaluate` command: every score of a finished run, or of a folder of images."""

from pathlib import Path

from torch import Tensor

from fagan import data, evaluate, train
from fagan.ablations import planned_run
from fagan.config import DATA, RunConfig
from fagan.environment import read_environment, same_kind
from fagan.records import RESULTS, run_folder


def score_run(
    ablation: str,
    run_id: str,
    reference: str = "",
    *,
    n_fake: int = 0,
    n_real: int = 0,
    input_size: int = 128,
    seed: int | None = None,
    results: Path = RESULTS,
) -> list[dict]:
    """Scores of a finished run's generator, against its own held-out images unless told otherwise.

    n_fake, n_real: 0 takes the run's, as seed None does: at its input size, 64, these are then the
    scores of its metrics.json, on the same kind of machine to the last digit; a line says whether
    this is one. Memorisation is judged only against the run's own data.
    Raises UserError where the run is unknown or has no weights yet.
    """
    config, folder = planned_run(ablation, run_id, results), run_folder(ablation, run_id, results)
    seed = train.EVALUATION_SEED if seed is None else seed
    n_real = n_real or config.n_real
    wanted = config.with_(n_real=n_real)
    with train.threads(config.threads):
        images = train.drawn(config, folder / "generator.safetensors", n_fake, seed)
        if reference:
            real, trained = _real(reference, wanted), None
        else:
            # with another n_real, others of a user's own images would be the held-out ones
            real = data.load(config if config.data == "folder" else wanted, "reference")
            trained = data.load(config, "train")
        others = same_kind(read_environment(folder) | {"threads": config.threads})
        name, ask = f"{ablation}/{run_id}", {"n_real": n_real, "input_size": input_size}
        rows = _scored(name, images, real, trained, seed=seed, device=_device(config), **ask)
    if others:
        print(f"another {', '.join(others)} than the record's: the last digits may differ")
    else:
        print("the same processor, threads and torch as the record's: so are the last digits")
    return rows


def score_images(
    images: str,
    reference: str,
    *,
    resolution: int = 64,
    n_fake: int = 0,
    n_real: int = 5_000,
    input_size: int = 128,
    seed: int = 0,
) -> list[dict]:
    """Scores of a folder or zip of images, all of them or n_fake chosen at random.

    reference: a folder or zip too, or "faces", "cifar10", "celeba". Both sides are cropped to a
    centred square and resized to `resolution`.
    """
    config = RunConfig.from_params({"resolution": resolution, "n_real": n_real})
    found = data.load_all(images, resolution, limit=n_fake)
    ask = {"n_real": n_real, "input_size": input_size, "seed": seed, "device": _device(config)}
    return _scored(found.name, found.images, _real(reference, config), None, **ask)


def _real(reference: str, config: RunConfig) -> data.ImageSet:
    """Real images by the name of a data set, or all that a folder or zip holds."""
    if reference in DATA and reference != "folder":
        return data.load(config.with_(data=reference, data_path=""), "reference")
    return data.load_all(reference, config.resolution, config.crop)


def _device(config: RunConfig) -> str:
    return str(train.pick_device(config))


def _scored(name: str, images: Tensor, real: data.ImageSet, trained, **ask) -> list[dict]:
    if missing := evaluate.inception_missing():
        print(f"{missing}; scored with fd_lite0 alone")
    return [{"scored": name} | row for row in evaluate.scorecard(images, real, trained, **ask)]
