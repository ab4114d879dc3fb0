"""A synthetic ablation with known numbers, written by the same RunRecord as a real one.

    make_ablation(tmp_path / "results")     results/tiny: 4 arms x 3 seeds, one diverged, one
                                            unfinished, one never begun

The curves are closed forms plus seeded noise; the sample grids are random blobs.
"""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fagan.config import RunConfig
from fagan.environment import SCHEMA
from fagan.files import ablation_folder, run_folder, write_json, write_text
from fagan.records import RunRecord

ARMS = {
    "dcgan": {"architecture": "dcgan"},
    "sagan": {"architecture": "sagan"},
    "fagan": {"architecture": "fagan"},
    "fagan-relativistic": {"architecture": "fagan", "loss": "relativistic-hinge"},
}
LABELS = {
    "dcgan": "DCGAN",
    "dcgan-wide": "DCGAN wide",
    "sagan": "SAGAN",
    "sagan-wide": "SAGAN wide",
    "sagan-1": "SAGAN one-layer",
    "fagan": "FAGAN",
    "fagan-pure": "FAGAN pure",
    "fagan-relativistic": "FAGAN relativistic",
}
LAYERS = {
    "sagan": (("self 16x16", "self 32x32"), ("self 8x8", "self 4x4")),
    "fagan": (
        ("full 4x4", "full 8x8", "self 16x16"),
        ("full 16x16", "full 8x8", "self 8x8", "self 4x4"),
    ),
}
PARAMETERS = {"dcgan": (350_000, 180_000), "sagan": (360_000, 190_000), "fagan": (508_000, 236_000)}
FLOOR = {"track": 44.0, "final": 21.0}
# what the final score of (arm, seed) is: closed forms for the tests
FINAL = {"dcgan": 90.0, "sagan": 80.0, "fagan": 70.0, "fagan-relativistic": 74.0}
SEED_EFFECT = (0.0, 4.0, -1.0, 2.0, 1.0)


def final_score(arm: str, seed: int) -> float:
    base = FINAL.get(arm, 60.0 + 5 * (sum(map(ord, arm)) % 9))
    return base + SEED_EFFECT[seed % len(SEED_EFFECT)] * (1.5 if arm == "sagan" else 1.0)


def make_ablation(
    results: Path,
    ablation: str = "tiny",
    arms: dict[str, dict] | None = None,
    seeds: int = 3,
    steps: int = 400,
    resolution: int = 32,
    diverged: Sequence[str] = ("sagan-seed2",),
    unfinished: Sequence[str] = ("fagan-relativistic-seed1",),
    not_begun: Sequence[str] = ("fagan-relativistic-seed2",),
    grids: int = 4,
    data_path: str = "",
    **params,
) -> Path:
    """Write results/<ablation>; its folder. **params are fields of every RunConfig."""
    arms = ARMS if arms is None else arms
    folder, planned = ablation_folder(ablation, results), []
    for arm, own in arms.items():
        for seed in range(seeds):
            config = RunConfig.from_params(
                {
                    "arm": arm,
                    "seed": seed,
                    "resolution": resolution,
                    "width": 0.25,
                    "steps": steps,
                    "log_every": steps // 50,
                    "eval_every": steps // 50 * 5,
                }
                | params
                | own
            )
            asked = asdict(config) | {"data_path": data_path}
            planned.append({"run_id": config.run_id, "config": asked})
            if config.run_id not in not_begun:
                _write_run(
                    config,
                    run_folder(ablation, config.run_id, results),
                    diverged,
                    unfinished,
                    grids,
                )
    plan = {"schema": SCHEMA, "ablation": ablation, "title": "A synthetic ablation"}
    plan |= {"baseline": "sagan", "runs": planned}
    labels = {arm: label for arm, label in LABELS.items() if arm in arms}
    write_json(
        folder / "plan.json", plan | {"baseline": "sagan", "labels": labels, "runs": planned}
    )
    reference = {
        "name": "faces",
        "split": "reference",
        "checksum": "0" * 12,
        "resolution": resolution,
    }
    for when, n_fake in (("track", 2000), ("final", 5000)):
        reference[when] = {"fd_lite0_floor": FLOOR[when], "kid_lite0_floor": 0.0001}
        reference[when] |= {"n_fake": n_fake, "n_real": 5000}
    write_json(folder / "reference.json", reference)
    return folder


def _write_run(config, folder, diverged, unfinished, grids):
    rng = np.random.default_rng([config.seed, *map(ord, config.arm)])
    record = RunRecord(folder)
    record.begin(
        config,
        {
            "commit": "0123456789abcdef",
            "dirty": False,
            "source_fingerprint": "abcdef012345",
            "processor": "a processor",
            "python": "3.11",
            "versions": {"torch": "2.15"},
        },
    )
    stopped = config.run_id in diverged or config.run_id in unfinished
    last = int(config.steps * (0.56 if stopped else 1)) // config.log_every * config.log_every
    final, kind = final_score(config.arm, config.seed), config.architecture
    layers = [
        (network, layer, rng.normal(0, 1))
        for network, names in zip(
            ("generator", "discriminator"), LAYERS.get(kind.split("-")[0], ((), ())), strict=True
        )
        for layer in names
    ]
    for step in range(0, last + 1, config.log_every):
        done = step / config.steps
        images = step * config.batch_size
        row = {"step": step, "images_seen": images, "loss_d": 2 - done + rng.normal(0, 0.1)}
        row |= {"loss_g": done + rng.normal(0, 0.1), "d_real": 0.5, "d_fake": -0.5}
        row |= {"gradient_norm_d": 3 - done, "gradient_norm_g": 1 + done}
        if step % config.eval_every == 0:
            row |= _scores(final * 1.15 + 300 * math.exp(-5 * done), done, rng)
        record.append("history", [row])
        gates = [
            {"step": step, "images_seen": images, "network": network, "layer": layer}
            | {"alpha": _alpha(config, network, drift, done)}
            | _instruments(layer, config.resolution, drift, done)
            for network, layer, drift in layers
        ]
        record.append("alpha", gates)
        if step % config.eval_every == 0:
            norms = [
                {"step": step, "images_seen": images, "network": network, "layer": f"{layer}.query"}
                | {"spectral_norm": 1 + done * abs(drift)}
                for network, layer, drift in layers
            ]
            record.append("spectral", norms)
        speed = {"dcgan": 900, "sagan": 650}.get(kind.split("-")[0], 340)
        pace = {"seconds": images / speed, "images_per_second": speed + rng.normal(0, 5)}
        record.append("timing", [{"step": step} | pace])
    for i in range(grids):
        step = round(last * i / max(1, grids - 1))
        _grid(rng, config.resolution, step / config.steps).save(
            record.samples / f"step_{step:07d}.png"
        )
    sizes = PARAMETERS.get(kind.split("-")[0], (400_000, 200_000))
    common = {"parameters_generator": sizes[0], "parameters_discriminator": sizes[1]}
    if config.run_id in diverged:
        record.finish(
            "diverged",
            reason="loss_d=inf",
            step=last,
            images_seen=last * config.batch_size,
            **common,
        )
    elif config.run_id not in unfinished:
        scores = _scores(final, 1.0, rng) | {"fd_lite0": final}
        record.interventions(_interventions(layers, final))
        record.finish(
            "done",
            step=config.steps,
            images_seen=config.steps * config.batch_size,
            **scores,
            **common,
            n_fake=5000,
            n_real=5000,
            extractor="lite0",
            input_size=64,
            resize="bilinear, antialias",
            split="reference",
            eval_seed=0,
        )


def _alpha(config, network, drift, done):
    rate = config.lr_g if network == "generator" else config.lr_d
    return 0.5 * rate * config.steps * math.tanh(drift) * done**0.8


def _instruments(layer, resolution, drift, done):
    """What the instruments read: attention that grows, sharpens and looks nearer."""
    size = int(layer.split("x")[-1])
    share = 0.3 * done * abs(math.tanh(drift))
    uniform = math.log(size * size)
    return {
        "gradient": 0.01 * drift * (1 - done),
        "attention_energy": share,
        "convolution_energy": 1 - share,
        "attention_share": share,
        "entropy": uniform * (1 - 0.4 * done),
        "entropy_share": 1 - 0.4 * done,
        "distance": 0.52 * resolution * (1 - 0.5 * done),
    }


def _interventions(layers, final):
    """alpha = 0 costs 10 a layer and 30 for all; alpha = 1 and the swap cost more."""
    names = [layer for network, layer, _ in layers if network == "generator"]
    rows = [{"layer": "all", "intervention": "as trained", "fd": final, "change": 0.0}]
    for kind, cost in (("alpha = 0", 10.0), ("alpha = 1", 40.0), ("swapped", 35.0)):
        able = [n for n in names if kind != "swapped" or n.startswith("full")]
        for layer, change in [*((n, cost) for n in able), *([("all", 3 * cost)] if able else [])]:
            row = {"layer": layer, "intervention": kind, "fd": final + change, "change": change}
            rows.append(row)
    return [row | {"n_fake": 500} for row in rows] if names else []


def _scores(value, done, rng):
    return {
        "fd_lite0": value * (1 + rng.normal(0, 0.02)),
        "kid_lite0": value / 2e4,
        "kid_lite0_std": value / 2e5,
        "coherence_eyes": 0.9 * done + rng.normal(0, 0.02),
        "coherence_outfit": 0.7 * done + rng.normal(0, 0.02),
        "signal_eyes": 0.8 * done,
        "signal_outfit": 0.9 * done,
    }


def _grid(rng, size, done):
    """8 x 8 discs that come out of the noise, as a PIL image."""
    from PIL import Image

    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    disc = np.clip((0.6 - np.hypot(x, y)) * 8, 0, 1)[..., None]
    cells = []
    for _ in range(64):
        ground, face = rng.uniform(0, 255, (2, 3))
        noise = rng.uniform(0, 255, (size, size, 3))
        cells.append(done * (ground + (face - ground) * disc) + (1 - done) * noise)
    rows = [np.concatenate(cells[8 * i : 8 * i + 8], axis=1) for i in range(8)]
    return Image.fromarray(np.concatenate(rows).clip(0, 255).astype(np.uint8))


def make_pages(folder: Path, later: float = 0) -> None:
    """The pages of a finished ablation, newer than its records: as many as there are notebooks."""
    from fagan import pages

    for name in pages.notebooks():
        write_text(folder / "analysis" / f"{name}.html", "<p>a page</p>")
    write_json(folder / pages.PAGES, dict.fromkeys(pages.notebooks()))
    os.utime(folder / pages.PAGES, (time.time() + later,) * 2)
