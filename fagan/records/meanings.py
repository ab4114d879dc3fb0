"""What every file of an ablation and every column means: the schema as results/published states it.

{} stands for a run's id. Scores are defined in fagan.evaluate, instruments in fagan.interpret.
"""

RUN_FILES = {
    "config.json": "every parameter of the run (`python -m fagan parameters` explains each)",
    "env.json": "commit, versions, processor, device and checksums of the data, before step 0",
    "metrics.json": "final scores; written last, so it alone says that a run has ended",
    "history.csv": "losses, logits, gradient norms and scores, a row per log step",
    "alpha.csv": "every gated layer of both networks at every log step",
    "spectral.csv": "the largest singular value of every convolution at every log step",
    "timing.csv": "the only clock readings, so that all else can be compared byte by byte",
    "interventions.csv": "the score of the finished generator with gates set by hand",
    "samples/step_*.png": "the same latents at the last step, drawn by the averaged generator",
    "generator.safetensors": "the weight-averaged generator (of the runs that keep it)",
    "discriminator.safetensors": "the discriminator as it ended (of the same runs)",
}

ABLATION_FILES = {
    "plan.json": "what was asked for: the runs and their configurations",
    "reference.json": "the real images: checksum, split, and the real-against-real floor",
    "figures/": "every figure of the pages, SVG, PNG or WebP",
    "report/index.html": "the answers, the notebooks as pages, a page per run",
}

TABLE_FILES = {
    "alpha_reach.csv": "how far each network's gates went, of how far they could have",
    "answers.csv": "the answers of the first page, with their evidence as text",
    "arm_spreads.csv": "the standard deviation of every arm over its seeds, of the score and of "
    "its logarithm in %, and the pooled one",
    "attention.csv": "share, entropy and distance of every layer's attention at the last step",
    "best_and_last.csv": "the best score along each run's curve and the last",
    "blog.csv": "every comparison behind the answers, in %; `low` and `high` corrected for their "
    "number, `absolute_*` the same of the scores' differences",
    "degradations.csv": "the scores of real images that were made worse in known ways",
    "extrapolations.csv": "the Fréchet distance extrapolated to infinitely many images",
    "failures.csv": "runs without a final score, and why",
    "final_scores.csv": "the final score of every run",
    "floor_curve.csv": "the distance of real images from real images over their number",
    "generator_reach.csv": "how much of the image one cell of each generator layer moves",
    "interventions.csv": "change of the score with gates set by hand: mean and range over seeds",
    "last_alphas.csv": "the last alpha of every layer, over seeds",
    "paired_differences.csv": "every arm against the baseline at equal seeds, in %; "
    "`corrected_low` and `corrected_high` are corrected for their number, `low` and `high` are "
    "what `interval` names",
    "plateaus.csv": "how many gates came to rest",
    "receptive_fields.csv": "what part of the image each discriminator layer depends on",
    "record_agreement.csv": "recorded tables here against the published ones, value by value",
    "released_norms.csv": "the released code's spectral norm of trained weights over the right one",
    "score_agreement.csv": "final scores here against the published ones; `low` and `high` hold "
    "95 % of further runs of the arm",
    "sign_flips.csv": "what the output loses where alpha and value change their signs together",
    "spectral_norms.csv": "the last spectral norms, over layers of one role",
    "stability.csv": "wobble, divergences and worst seed of every arm",
    "stability_runs.csv": "the same of every run",
    "summary.csv": "every arm: scores over seeds, sizes, speed; `low` and `high` are what "
    "`interval` names: the seeds' range, or a 95 % interval of the mean, Student's or bootstrap",
    "train_mode.csv": "the score of samples drawn in train mode, as the released code draws them",
}

_SCORE = "of n_fake generated against n_real real images"
COLUMNS = {
    "history.csv": {
        "step": "generator updates",
        "images_seen": "real images shown to the discriminator",
        "loss_d": "mean discriminator loss since the row before",
        "loss_g": "mean generator loss since the row before",
        "d_real": "mean logit of real images since the row before",
        "d_fake": "mean logit of generated images since the row before",
        "gradient_norm_d": "Euclidean norm of the discriminator's gradient at this step",
        "gradient_norm_g": "Euclidean norm of the generator's gradient at this step",
        "fd_lite0": "Fréchet distance of Lite0 features of n_track images; empty between scorings",
        "kid_lite0": "kernel distance of the same features, mean over random subsets",
        "kid_lite0_std": "its standard deviation over these subsets",
        "coherence_eyes": "agreement of the irises: 0 unrelated, 1 as real faces (faces only)",
        "coherence_outfit": "agreement of headgear and clothing, likewise",
        "signal_eyes": "how much colour the irises carry, about 1 in real faces (faces only)",
        "signal_outfit": "how much colour headgear and clothing carry, likewise",
    },
    "alpha.csv": {
        "step": "generator updates",
        "images_seen": "real images shown to the discriminator",
        "network": "generator or discriminator",
        "layer": "kind and size of its map",
        "alpha": "the gate; the mean where every channel has one, empty where paths are joined",
        "gradient": "derivative of the loss by alpha at this step",
        "attention_energy": "root mean square of what attention adds to the output, alpha included",
        "convolution_energy": "root mean square of what the convolution, or the input, adds",
        "attention_share": "the first over the sum of both, in [0, 1]",
        "entropy": "of the attention weights, in nats, mean over queries",
        "entropy_share": "that over the logarithm of the number of keys, in [0, 1]",
        "distance": "mean distance from query to key, weighted by attention, in image pixels",
    },
    "spectral.csv": {
        "step": "generator updates",
        "images_seen": "real images shown to the discriminator",
        "network": "generator or discriminator",
        "layer": "the convolution",
        "spectral_norm": "largest singular value of the weight as used",
    },
    "timing.csv": {
        "step": "generator updates",
        "seconds": "of training steps so far, without scorings",
        "images_per_second": "since the row before",
    },
    "interventions.csv": {
        "layer": "the layer whose gate is set, or all",
        "intervention": "as trained, alpha = 0, alpha = 1 or swap",
        "fd": "Fréchet distance of Lite0 features with it",
        "change": "that minus the one as trained",
        "n_fake": "generated images",
    },
    "metrics.json": {
        "status": "done, or diverged",
        "fd_lite0": f"Fréchet distance of Lite0 features {_SCORE}",
        "kid_lite0": "kernel distance of the same features, mean over random subsets",
        "kid_lite0_std": "its standard deviation over these subsets",
        "extractor, input_size, resize, weights_sha256": "what the features are",
        "split, eval_seed": "which real images, and the seed of the latents",
        "coherence_*, signal_*": "as in history.csv, of the final images",
        "step, images_seen": "where the run ended",
        "parameters_generator, parameters_discriminator": "trained parameters",
    },
}
