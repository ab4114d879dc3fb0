"""Do the tests bite? Mistakes are made in a copy of the module, one at a time: each must be seen.

`make mutants`, or `python tests/mutants.py losses checkpoint` for files with such a name alone.
A tool for this (mutmut, cosmic-ray) makes every mistake it can think of, thousands at seconds each;
these are those that people make in such code. Exit code 1 where fewer than 95 % are caught.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("fagan", "tests", "notebooks", "workflow", "pyproject.toml")
ENOUGH = 0.95
# (file, tests that should notice): [(what stands there exactly once, the mistake)]
MUTANTS = {
    ("attention", "attention layers layers_elsewhere"): [
        ("torch.softmax(q @ k.mT, dim=-1)", "torch.softmax(q @ k.mT, dim=-2)"),
        ("torch.softmax(torch.bmm(q, k.mT), dim", "torch.softmax(torch.bmm(q, k.mT) / 2, dim"),
        ("scale=1.0", "scale=None"),
        ("torch.cat((grad, -total)", "torch.cat((grad, total)"),
        ("torch.mm(weights.T, grad[i]", "torch.mm(weights, grad[i]"),
        ("(*inputs, out)", "(*(x.detach() for x in inputs), out)"),
        ("(heads, -1)).flatten(0, 1).mT", "(-1, heads)).mT.flatten(0, 1).mT"),
    ],
    ("layers", "layers layers_elsewhere"): [
        ("x + self.alpha.to(x.dtype)", "x + self.alpha.abs().to(x.dtype)"),
        ("self.alpha.to(convolution.dtype)", "self.alpha.abs().to(convolution.dtype)"),
        ("return alpha * attention + (1 -", "return alpha * attention + (1 +"),
        ("layers = self.query, self.key,", "layers = self.key, self.query,"),
        ("dim=1 if transposed else 0)", "dim=0)"),
        ("self.pool(k), self.pool(v)", "self.pool(k), self.pool(-v)"),
        ("torch.cat((attention, convolution)", "torch.cat((convolution, attention)"),
        ("self.activation(attention), self.activation", "attention, self.activation"),
        ('self.register_buffer("alpha", torch.full((1,), float(init)))',
         "self.alpha = nn.Parameter(torch.full((1,), float(init)))"),
    ],
    ("spectral_norm", "layers"): [
        ("parametrizations.spectral_norm(convolution)",
         "parametrizations.spectral_norm(convolution, dim=0)"),
        ("self.u.data = _unit(", "self.u = _unit("),
        ("return weight / sigma", "return weight / sigma.detach()"),
        ("return weight / sigma", "return weight / sigma.sqrt()"),
    ],
    ("losses", "losses"): [
        ("F.relu(1 + fake)", "F.relu(1 - fake)"),
        ("return -fake.mean()", "return fake.mean()"),
        ("real - fake.mean(), fake", "real - fake.mean().detach(), fake"),
        ("(fake - 1).square().mean()", "(fake - 1).mean().square()"),
        ("_hinge_d(fake, real)", "_hinge_d(real, fake)"),
        ("_least_squares_g, needs_real=False", "_least_squares_g, needs_real=True"),
    ],
    ("models", "models"): [
        ("torch.manual_seed(config.seed)", "torch.manual_seed(0)"),
        ("inner = i > 0", "inner = i >= 0"),
        ("nn.LeakyReLU(0.3 if inner else 0.1)", "nn.LeakyReLU(0.1)"),
        ("(k - 1) // 2", "k // 2"),
        ("wanted else (low, middle)", "wanted else (middle, high)"),
        ("torch.tanh(self.output(", "torch.sin(self.output("),
        ("squeeze=1 if image_side else self.config.squeeze", "squeeze=1"),
    ],
    ("train/steps", "train train_speed train_instruments"): [
        ("        with torch.no_grad():\n            fake", "        if True:\n            fake"),
        ("with frozen(state.discriminator), precision", "with precision"),
        ("min(config.ema,", "max(config.ema,"),
        ("list(network.parameters()), 1 - decay)", "list(network.parameters()), decay)"),
        ("ours.copy_(theirs)", "pass"),
        ("state.step * config.n_dis + k", "state.step + k"),
        ("manual_seed(config.seed)", "manual_seed(0)"),
        ("adam(discriminator, config.lr_d)", "adam(discriminator, config.lr_g)"),
        ("(config.beta1, config.beta2)", "(config.beta2, config.beta1)"),
        ("on_real.detach().mean(), on_fake.", "on_fake.detach().mean(), on_real."),
        ("(loss_d, loss_g, on_real, on_fake)", "(loss_d, loss_g, on_fake, on_real)"),
        ("state.optimizer_g.zero_grad(set_to_none=True)", "pass"),
    ],
    ("train/checkpoint", "train"): [
        ('"discriminator", "average", "opt', '"discriminator", "opt'),
        ('"optimizer_g", "optimizer_d")', '"optimizer_g")'),
        ('state.latents.set_state(parts["latents"].cpu())', "pass"),
        ('state.sums.copy_(parts["sums"])', "pass"),
        ("os.replace(path, previous)", "pass"),
        ('parts["config"] == state.config.hash', "True"),
        ("return network.eval()", "return network.train()"),
    ],
    ("train/loop", "train train_instruments"): [
        ("(state.step - state.logged_step)", "(state.step - state.logged_step + 1)"),
        ("state.sums.zero_()", "pass"),
        ("step % config.checkpoint_every == 0", "(step + 1) % config.checkpoint_every == 0"),
        ("if state.step == 0:", "if True:"),
        ("while state.step < last", "while state.step <= last"),
        ("float(rows[-1].split", "float(rows[0].split"),
        ("not all(map(math.isfinite, values))", "any(map(math.isinf, values))"),
    ],
    ("train/instruments", "train_instruments"): [
        ("draw_latents(BATCH, state.config.latent_size, EVALUATION_SEED)",
         "draw_latents(BATCH, state.config.latent_size, state.config.seed)"),
        ("batches.images[:BATCH]", "batches.images[-BATCH:]"),
        ("found[name] = gradient.mean()", "found[name] = gradient.abs().mean()"),
    ],
    ("train/processes", "parallel"): [
        ("parts[rank()] = rows", "parts[0] = rows"),
        ("whole(mean[None]).mean()", "mean"),
        ("dist.all_reduce(flat)", "dist.all_reduce(flat.div_(2))"),
        ("return _Sum.apply(gradient)", "return gradient"),
        ("(variances + (means - mean).square())", "variances"),
        ("n / (n - 1)", "1"),
        ("self.num_batches_tracked += 1", "pass"),
        ("return SharedBatchNorm2d\n", "return norm\n"),
        ("(norm, SharedBatchNorm2d)", "(norm,)"),
    ],
    ("train/arithmetic", "train train_speed"): [
        ("        matmul.fp32_precision = before\n\n", "        pass\n\n"),
        ("torch.set_num_threads(before)", "pass"),
        ("config.exact or device.type", "device.type"),
    ],
    ("evaluate/distances", "evaluate"): [
        ("(len(x) - 1)", "len(x)"),
        ("* values[kept].sqrt()", "* values[kept]"),
        ("(a.mean - b.mean).square()", "(a.mean - b.mean).abs()"),
        ("values.append(within / (n * (n - 1))", "values.append(within / n**2"),
        ("return within / (n * (n - 1))", "return within / n**2"),
        (".add_(1).pow_(3)", ".add_(1).pow_(2)"),
    ],
    ("evaluate/ties", "evaluate_ties"): [
        ("(a - b).abs().sum()", "(a - b).sum().abs()"),
        ("(pairs - tied) / (n * (n - 1))", "(pairs) / n**2"),
        ("if k not in pair", "if k in pair"),
        (".square().mean().sqrt())", ".square().mean())"),
    ],
    ("data/batches", "data train"): [
        ("random(self.batch_size) < 0.5", "random(self.batch_size) < 0.9"),
        ("self._random(_FLIPS, step)", "self._random(_FLIPS, 0)"),
        ("spawn_key=(family, number)", "spawn_key=(family,)"),
        ("clamp(-1, 1) + 1) * 127.5).round()", "clamp(-1, 1) + 1) * 127.5)"),
    ],
    ("data/images", "data labels"): [
        ("        start = held_out\n", "        start = 0\n"),
        ("if names[i] not in broken", "if i >= 0"),
    ],
    ("data/decoding", "data"): [
        ("ImageOps.exif_transpose(image, in_place=True)", "pass"),
        (".clip(0, 65535) / 257", ".clip(0, 255)"),
        ("if grey.max() <= 1 else grey", "if grey.max() <= 2 else grey * 0"),
        ("if len(reasons) > _BROKEN_SHARE * tried", "if len(reasons) > 5"),
        ("if _DARK <= mean <= _LIGHT and", "if mean <= _LIGHT and"),
        ("np.random.default_rng(0).permutation(count).tolist()", "list(range(count))"),
        ("missing - len(good)", "missing - len(block)"),
    ],
    ("data/cache", "data"): [
        ('list(pixels.shape) != self._record["shape"] or', ""),
        ("found = hashlib.sha256(repr(tuple(images.shape)).encode())", "found = hashlib.sha256()"),
        ("if (needed := size()) > free", "if (needed := size()) > free * 99"),
        ("return Stored(path)  # another", "raise OSError  # another"),
    ],
    ("data/sources", "data"): [
        ("key=lambda entry: entry.filename", "key=lambda entry: -entry.CRC"),
        ("{name}\\0{size}\\0{time}", "{name}\\0{size}"),
        ("if stat.S_ISREG(status.st_mode)", "if status"),
        ("and not any(map(_hidden, path.parts))", "and not _hidden(path.name)"),
        ("path.suffix.lower() in SUFFIXES", "path.suffix in SUFFIXES"),
        ("if place not in seen and", "if"),
    ],
    ("resnet", "resnet"): [
        ("nn.ReLU() if i else nn.Identity()", "nn.ReLU()"),
        ("x.sum((2, 3), keepdim=True)", "x.mean((2, 3), keepdim=True)"),
        ("nn.Sequential(*branch), nn.Identity()", "nn.Sequential(*branch[1:]), nn.Identity()"),
    ],
    ("interpret/interventions", "interpret"): [
        ("1 - layer.alpha.detach()", "layer.alpha.detach()"),
        ('scores["fd"] - trained["fd"]', 'trained["fd"] - scores["fd"]'),
        ("norm.train().momentum = None", "norm.train()"),
        ("seed + 1)).to(device)", "seed)).to(device)"),
    ],
    ("interpret/maps", "interpret"): [
        ("row * recorded.grid[1] + column", "column * recorded.grid[1] + row"),
        ("entr(maps).sum(-1)", "entr(maps).sum(-2)"),
        ("+ 0.5) * resolution", ") * resolution"),
    ],
    ("interpret/fields", "interpret"): [
        ("return influence / influence.sum()", "return influence"),
        ("field > threshold * field.max()", "field > threshold * field.mean()"),
        (".abs().double().sum((0, 1))", ".double().sum((0, 1)).abs()"),
        ("return max(extents)", "return min(extents)"),
    ],
    ("interpret/branches", "interpret"): [
        ("return F.conv2d(branch, weight) if", "return branch if"),
        ("module.weight.transpose(0, 1) if", "module.weight if"),
        ("share = attention / (attention + convolution)", "share = attention / convolution"),
    ],
    ("statistics", "statistics"): [
        ("stats.t.isf(LEVEL / m / 2, df)", "stats.t.isf(LEVEL / m, df)"),
        ("fit.conf_int(LEVEL / m)", "fit.conf_int(LEVEL)"),
        ("100 * np.expm1(", "100 * np.exp("),
        ("C(arm, Treatment(baseline)) + C(seed)", "C(arm, Treatment(baseline))"),
        ("t.interval(1 - LEVEL / m, len(pair) - 1", "t.interval(1 - LEVEL / m, len(pair)"),
        ('of["lr_d"].where(in_d, of["lr_g"])', 'of["lr_g"].where(in_d, of["lr_d"])'),
        ("quantile(0.9)", "quantile(0.5)"),
        ('(frame["alpha"] - frame["start"]).abs()', 'frame["alpha"].abs()'),
        ("= pair.mean()", "= pair.sum()"),
    ],
}  # fmt: skip


def main(names: list[str]) -> int:
    chosen = {key: v for key, v in MUTANTS.items() if not names or any(n in key[0] for n in names)}
    jobs = [(*key, old, new) for key, mistakes in chosen.items() for old, new in mistakes]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        places = [Path(folder) / str(i) for i in range(len(jobs) + 1)]
        tests = " ".join(sorted({test for _, tests in chosen for test in tests.split()}))
        if why := "nothing to try" if not jobs else failure(copied(places[-1]), tests):
            print(f"on the code as it is: {why}")
            return 1
        fates = list(pool.map(judged, jobs, places))
    counts = ", ".join(f"{fates.count(fate)} {fate}" for fate in dict.fromkeys(fates))
    share = fates.count("caught") / len(jobs)
    print(f"{counts}: {share:.0%} of {len(jobs)} caught")
    return int(share < ENOUGH)


def judged(job: tuple[str, str, str, str], folder: Path) -> str:
    """One mutant's fate: "caught", "SURVIVED" or "out of date"; printed as soon as it is known."""
    file, tests, old, new = job
    start, path = perf_counter(), copied(folder) / "fagan" / f"{file}.py"
    text = path.read_text() if path.exists() else ""
    fate = "out of date"
    if text.count(old) == 1:
        path.write_text(text.replace(old, new))
        fate = "caught" if failure(folder, tests) else "SURVIVED"
    shutil.rmtree(folder)
    shown = " ".join(f"{old}  ->  {new}".split())
    print(f"{fate:11}  {perf_counter() - start:4.0f} s  {file:17}  {shown}", flush=True)
    return fate


def copied(folder: Path) -> Path:
    """The tree; its results are a link, for a test reads them at most."""
    folder.mkdir()
    for path in (ROOT / name for name in COPIED):
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, folder / path.name)
    (folder / "results").symlink_to(ROOT / "results")
    return folder


def failure(folder: Path, tests: str) -> str:
    """How these test files fail in the folder, in a line; empty where all pass."""
    files = [f"tests/test_{test}.py" for test in tests.split()]
    # no bytecode: a mutant of the same size and second would be taken for what was there before
    env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
    pipes = {"capture_output": True, "text": True, "timeout": 600}
    try:
        done = subprocess.run(command, cwd=folder, env=env, **pipes)
    except subprocess.TimeoutExpired:
        return "no end after ten minutes"
    said = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return " ".join(said) or f"exit code {done.returncode}" if done.returncode else ""


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(main(sys.argv[1:]))
