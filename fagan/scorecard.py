"""Every score of a finished run, or of a folder of images, against real images.

What training records follows a run; this is for final numbers: more images, a larger input, and all
scores of `evaluate.full_report`. One row per extractor.
"""

from pathlib import Path

from torch import Tensor

from fagan import data, evaluate, train
from fagan.ablations import planned_run
from fagan.config import DATA, RunConfig, UserError
from fagan.records import RESULTS, run_folder

LEAST = 50  # images a side: below, a covariance of 320 features says nothing at all


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
    scores of its metrics.json, on the same kind of machine to the last digit. Memorisation is
    judged only against the run's own data.
    Raises UserError where the run is unknown or has no weights yet.
    """
    config = planned_run(ablation, run_id, results)
    seed = train.EVALUATION_SEED if seed is None else seed
    weights = run_folder(ablation, run_id, results) / "generator.safetensors"
    if not weights.exists():
        raise UserError(f"{run_id} has no weights: {weights} is written when a run is done")
    config = config.with_(n_real=n_real or config.n_real)
    where = train.pick_device(config)
    device = str(where)
    generator = train.load_generator(config, weights).to(device)
    n = _enough(n_fake or config.n_fake, "generated images")
    # drawn as the training draws what it scores: rounding alone would make another number
    generator = generator.to(memory_format=train.layout(config))
    with (
        train.threads(config.threads),
        train.fast_matmul(config, where),
        train.precision(config, where),
    ):
        images = evaluate.sample(generator, n, config.latent_size, seed, device=device)
    own = not reference
    real = data.load(config, "reference") if own else _reference(reference, config, config.n_real)
    trained = data.load(config, "train") if own else None
    name = {"scored": f"{ablation}/{run_id}"}
    return [
        name | row for row in _rows(images, real, trained, config.n_real, input_size, seed, device)
    ]


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
    device = str(train.pick_device(config))
    scored = data.load_all(images, resolution, limit=n_fake)
    _enough(len(scored), f"images in {scored.name}")
    real = _reference(reference, config, n_real)
    name = {"scored": scored.name}
    rows = _rows(scored.images, real, None, n_real, input_size, seed, device)
    return [name | row for row in rows]


def _reference(reference: str, config: RunConfig, n_real: int) -> data.ImageSet:
    """Real images by the name of a data set, or all that a folder or zip holds."""
    if reference in DATA and reference != "folder":
        return data.load(config.with_(data=reference, data_path="", n_real=n_real), "reference")
    return data.load_all(reference, config.resolution, config.crop)


def _rows(
    images: Tensor,
    real: data.ImageSet,
    trained: data.ImageSet | None,
    n_real: int,
    input_size: int,
    seed: int,
    device: str,
) -> list[dict]:
    _enough(len(real), f"images in {real.name}")
    rows = []
    extractors = [evaluate.lite0(input_size, device)]
    logits = None
    missing = evaluate.inception_missing()
    if missing:
        print(f"{missing}; scored with fd_lite0 alone")
    else:
        extractors.append(evaluate.inception(device))
        logits = evaluate.inception_logits(device)(images)
    for extractor in extractors:
        reference = evaluate.reference(real, n_real, extractor)
        scores = evaluate.full_report(
            images,
            reference,
            extractor,
            trained,
            real if real.name == "faces" else None,
            logits if extractor.name == "inception" else None,
            seed=seed,
        )
        rows.append({"reference": real.name} | scores)
    return rows


def _enough(n: int, what: str) -> int:
    if n < LEAST:
        raise UserError(f"{n} {what}: a score needs at least {LEAST} on each side")
    return n
