"""The files and columns of a run directory. docs/records.md explains every column."""

SCORES = (
    *("fd_lite0", "kid_lite0", "kid_lite0_std"),
    *("coherence_eyes", "coherence_outfit", "signal_eyes", "signal_outfit"),  # of faces only
)
FACE = ("fd_face", "precision_face", "recall_face")  # by `python -m fagan evaluate --faces`
HISTORY = (
    *("step", "images_seen", "loss_d", "loss_g", "d_real", "d_fake"),
    *("gradient_norm_d", "gradient_norm_g", *SCORES),
)
ALPHA = (
    *("step", "images_seen", "network", "layer", "alpha", "gradient", "attention_energy"),
    *("convolution_energy", "attention_share", "entropy", "entropy_share", "distance"),
)
SPECTRAL = ("step", "images_seen", "network", "layer", "spectral_norm")
TIMING = ("step", "seconds", "images_per_second")
TIES = ("step", "distance", "coherence", "signal")  # of data=ties only
INTERVENTIONS = ("layer", "intervention", "fd", "change", "n_fake")
CLOSED_TIES = ("layer", "intervention", "distance", "coherence", "signal")  # of data=ties only
CLASSES = ("class_name", "fd_lite0", "recognised", "recognised_real", "n_fake", "n_real")
# tables that grow during a run, each with the step in its first column
GROWING = {"history": HISTORY, "alpha": ALPHA, "spectral": SPECTRAL, "timing": TIMING, "ties": TIES}
ENDING = {"interventions": INTERVENTIONS, "closed_ties": CLOSED_TIES, "classes": CLASSES}
TABLES = GROWING | ENDING
TEXTS = (
    "network",
    "layer",
    "intervention",
    "class_name",
)  # the columns of TABLES that hold no numbers
METRICS = (*SCORES, "step", "images_seen", "reason")  # in every frame of runs
MISSING = ["", "nan", "NaN", "None", "NA", "N/A", "null", "NULL"]  # as a cell of numbers says it
KEYS = ["run_id", "arm", "seed", "label"]  # the first columns of every frame
ENDED = ("done", "diverged")
# of a run under way: its last two states, the locks of its notebook and of that notebook's kernel
CHECKPOINTS = ("checkpoint.pt", "previous-checkpoint.pt")
RUNNER_LOCK, TRAIN_LOCK = "run.lock", "train.lock"
WORKFLOW_LOCK = "workflow.lock"  # of the ablation: the command that does what is left of it
