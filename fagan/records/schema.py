"""Names and columns: what the writer and the reader share."""

from pathlib import Path

from fagan.files import folder_name

# 2 added the instruments: columns and files that a reader finds empty in records of schema 1
SCHEMA, READS = 2, (1, 2)
# Scores are empty at log steps without an evaluation; coherence and signal exist for faces only.
SCORES = (
    "fd_lite0",
    "kid_lite0",
    "kid_lite0_std",
    "coherence_eyes",
    "coherence_outfit",
    "signal_eyes",
    "signal_outfit",
)
HISTORY = (
    "step",
    "images_seen",
    "loss_d",
    "loss_g",
    "d_real",
    "d_fake",
    "gradient_norm_d",  # of all weights, at the log step itself
    "gradient_norm_g",
    *SCORES,
)
# Instruments on a fixed batch, in eval mode; gradient: of the loss by alpha, at that very step.
ALPHA = (
    "step",
    "images_seen",
    "network",
    "layer",
    "alpha",
    "gradient",
    "attention_energy",
    "convolution_energy",
    "attention_share",
    "entropy",
    "entropy_share",
    "distance",
)
SPECTRAL = ("step", "images_seen", "network", "layer", "spectral_norm")
TIMING = ("step", "seconds", "images_per_second")
INTERVENTIONS = ("layer", "intervention", "fd", "change", "n_fake")
# tables that grow during a run, each with the step in its first column
GROWING = {"history": HISTORY, "alpha": ALPHA, "spectral": SPECTRAL, "timing": TIMING}
TABLES = GROWING | {"interventions": INTERVENTIONS}

# of a run that is under way: its last two states, and the locks (fagan.locks) of the process that
# executes its notebook and of the one that trains, which is that notebook's kernel
CHECKPOINTS = ("checkpoint.pt", "previous-checkpoint.pt")
RUNNER_LOCK, TRAIN_LOCK = "run.lock", "train.lock"
WORKFLOW_LOCK = "workflow.lock"  # of the ablation: the command that does what is left of it

RESULTS, PUBLISHED = Path("results"), "published"


def ablation_folder(ablation: str, results: Path = RESULTS) -> Path:
    """The folder of an ablation, "published/NAME" for one of those that came with the repository.

    The one place where names become paths: UserError for a name that could lead elsewhere. A link
    that a user put at results/, at an ablation or at a run (to a larger disk) is followed.
    """
    folder, name = Path(results), ablation
    if isinstance(ablation, str) and ablation.startswith(f"{PUBLISHED}/"):
        folder, name = folder / PUBLISHED, ablation.removeprefix(f"{PUBLISHED}/")
    return folder / folder_name("ablation", name)


def command_for(ablation: str) -> str:
    """The command that makes what `ablation_folder` names."""
    name = ablation.removeprefix(f"{PUBLISHED}/")
    return f"make {'ablations' if name == ablation else 'publish'} ABLATION={name}"


def run_folder(ablation: str, run_id: str, results: Path = RESULTS) -> Path:
    """The folder of a run; UserError as for `ablation_folder`."""
    return ablation_folder(ablation, results) / "runs" / folder_name("run", run_id)
