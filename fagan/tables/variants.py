"""Arms by what they are, not by what they are called: which two differ in one thing alone?"""

from collections.abc import Collection, Iterator
from dataclasses import fields
from itertools import permutations

import pandas as pd

from fagan.config import DEFAULTS, MATCHED, RunConfig, stages_of
from fagan.records import Runs

# what a run is, without what it is called and drawn from
CONFIG = tuple(f.name for f in fields(RunConfig) if f.name not in ("arm", "seed", "data_path"))
SIZES = ("parameters_generator", "parameters_discriminator")
# of two networks that are said to be equally large
EQUAL_SIZE = 0.05
# cells a side of what is called a low resolution
LOW = 8

Pair = tuple[str, str]


def arm_configs(runs: Runs) -> pd.DataFrame:
    """By arm: label, every field of the configuration, and `parameters` of both networks."""
    frame = runs.runs.reindex(columns=["arm", "label", *CONFIG, *SIZES])
    # a field that is newer than a record had its default then
    frame = frame.fillna({name: DEFAULTS[name] for name in CONFIG})
    frame["parameters"] = frame[list(SIZES)].astype(float).sum(axis=1, min_count=2)
    return frame.groupby("arm", sort=False).first().reindex(runs.arms)


def differing(one: pd.Series, other: pd.Series) -> set[str]:
    """The fields in which two configurations differ, without those that one of them never uses."""
    used = set(CONFIG) - idle(one) - idle(other)
    return {name for name in used if one[name] != other[name]}


def attention_layers(config: pd.Series) -> tuple[int, int]:
    """How many full and how many self-attention layers both networks have."""
    stages = stages_of(config["architecture"], int(config["resolution"]))
    letters = "".join((*stages.generator, stages.output, *stages.discriminator))
    return letters.count("F"), letters.count("A")


def gated_kind(config: pd.Series) -> str:
    """What the gates of a generator belong to: "full", "self", or "" where a layer has none.

    "full" where the generator has a full attention layer with a gate, beside which it may have
    self-attention layers; full layers whose paths are concatenated have no gate.
    """
    stages = stages_of(config["architecture"], int(config["resolution"]))
    letters = "".join((*stages.generator, stages.output))
    if "F" in letters:
        return "full" if config["merge"] == "alpha" else ""
    return "self" if "A" in letters else ""


def idle(config: pd.Series) -> set[str]:
    """The fields that say nothing about these networks: they lack the layers to use them."""
    full, self_ = attention_layers(config)
    unused = set() if full else {"kernel_size", "merge"}
    if not self_:
        unused.add("self_attention")
    if not full and not self_:
        unused |= {"squeeze", "heads", "alpha", "alpha_init", "attention_spectral_norm"}
    stages = stages_of(config["architecture"], int(config["resolution"]))
    if not any("F" in x for x in stages.discriminator[1:]):  # the image side never has one
        unused.add("batch_norm_discriminator")
    return unused


def is_pure(config: pd.Series) -> bool:
    """Nothing but full attention layers, the blog's definition."""
    stages = stages_of(config["architecture"], int(config["resolution"]))
    return {*stages.generator, *stages.discriminator, stages.output} == {"F"}


def plain_arms(arms: pd.DataFrame) -> pd.DataFrame:
    """Those whose layers are as the blog's and the package's are by default."""
    kept = pd.Series(True, index=arms.index)
    for name in ("merge", "alpha", "self_attention", "kernel_size", "batch_norm_discriminator"):
        kept &= arms[name] == DEFAULTS[name]
    return arms[kept]


def pairs_in(arms: pd.DataFrame, *names: str) -> Iterator[Pair]:
    """Ordered pairs of arms that differ in all these fields and in no other."""
    for one, other in permutations(arms.index, 2):
        if differing(arms.loc[one], arms.loc[other]) == set(names):
            yield one, other


def kernel_pairs(arms: pd.DataFrame) -> list[Pair]:
    """Each kernel size against the blog's, with equal channels: nets of full attention alone.

    Where none has the blog's, against the smallest.
    """
    return _of_one_kernel(arms, _pairs_of_pure(arms, "kernel_size"))


def sized_kernel_pairs(arms: pd.DataFrame) -> list[Pair]:
    """The same with equally many parameters: channels make up for the kernel."""
    found = _pairs_of_pure(arms, "kernel_size", "width")
    return _of_one_kernel(arms, [pair for pair in found if equal_size(arms, *pair)])


def _pairs_of_pure(arms: pd.DataFrame, *names: str) -> list[Pair]:
    return list(pairs_in(arms[[is_pure(arm) for _, arm in arms.iterrows()]], *names))


def _of_one_kernel(arms: pd.DataFrame, pairs: list[Pair]) -> list[Pair]:
    """Those whose second arm has the blog's kernel size, or else the smallest."""
    sizes = {other: arms.loc[other, "kernel_size"] for _, other in pairs}
    blogs = DEFAULTS["kernel_size"]
    base = blogs if blogs in sizes.values() else min(sizes.values(), default=0)
    return [pair for pair in pairs if sizes[pair[1]] == base]


def equal_size(arms: pd.DataFrame, one: str, other: str) -> bool:
    """Whether both networks together hold as many parameters, within EQUAL_SIZE.

    Not of tables that were never run: their sizes are not known here, so any counts as equal.
    """
    sizes = arms.loc[[one, other]].get("parameters", pd.Series(dtype=float)).dropna()
    return len(sizes) < 2 or sizes.max() / sizes.min() < 1 + EQUAL_SIZE


def pure_pairs(arms: pd.DataFrame) -> list[Pair]:
    """Networks of full attention alone against DCGAN and the package's SAGAN, of any width."""
    plain = plain_arms(arms)
    without = plain.index[plain["architecture"].isin(["dcgan", "sagan", *MATCHED])]
    return [
        (one, other)
        for one, arm in plain.iterrows()
        for other in without
        if is_pure(arm) and differing(arm, plain.loc[other]) <= {"architecture", "width"}
    ]


def self_pairs(arms: pd.DataFrame) -> list[Pair]:
    """SAGAN's claim: the package's SAGAN against DCGAN, as wide and as large."""
    return _architectures(arms, ("sagan",), ("dcgan",)) + _architectures(
        arms, ("sagan-wide",), ("dcgan-wide",)
    )


def full_pairs(arms: pd.DataFrame) -> list[Pair]:
    """The blog's claim: the released FAGAN against SAGAN, as wide and as large, and DCGAN wide."""
    return _architectures(arms, ("fagan",), ("sagan", "sagan-wide", "dcgan-wide"))


def _architectures(
    arms: pd.DataFrame, ours: Collection[str], theirs: Collection[str]
) -> list[Pair]:
    """Pairs of these architectures that differ in nothing else, their options as by default."""
    plain = plain_arms(arms)
    return [
        (one, other)
        for one, other in pairs_in(plain, "architecture")
        if plain.loc[one, "architecture"] in ours and plain.loc[other, "architecture"] in theirs
    ]


def relativistic_pairs(arms: pd.DataFrame) -> list[Pair]:
    """A relativistic loss against the same network with the loss that it makes relativistic."""
    return [
        (one, other)
        for one, other in pairs_in(arms, "loss")
        if arms.loc[one, "loss"].startswith("relativistic")
        and not arms.loc[other, "loss"].startswith("relativistic")
    ]


def gate_pairs(arms: pd.DataFrame) -> list[Pair]:
    """Gates that are frozen, per channel or start elsewhere, against one that is learned from 0."""
    return [
        (one, other)
        for names in (("alpha",), ("alpha", "alpha_init"), ("alpha_init",))
        for one, other in pairs_in(arms, *names)
        if arms.loc[other, "alpha"] == "learned" and arms.loc[other, "alpha_init"] == 0
    ]


def concat_pairs(arms: pd.DataFrame) -> list[Pair]:
    """Concatenated paths against a gate."""
    return [pair for pair in pairs_in(arms, "merge") if arms.loc[pair[0], "merge"] == "concat"]


def low_pairs(arms: pd.DataFrame) -> list[Pair]:
    """Attention in the generator's stages of LOW cells and fewer against convolution there."""
    return [
        (one, other)
        for one, other in pairs_in(arms, "architecture")
        if _lower(arms.loc[one], arms.loc[other])
    ]


def _lower(one: pd.Series, other: pd.Series) -> bool:
    with_, without = (stages_of(c["architecture"], int(c["resolution"])) for c in (one, other))
    if (with_.discriminator, with_.output) != (without.discriminator, without.output):
        return False
    changed = [
        (4 * 2**place <= LOW and "F" in mine and theirs == "C")
        for place, (mine, theirs) in enumerate(zip(with_.generator, without.generator, strict=True))
        if mine != theirs
    ]
    return bool(changed) and all(changed)


def released_pairs(arms: pd.DataFrame) -> list[Pair]:
    """The released spectral norm against the correct one."""
    return [pair for pair in pairs_in(arms, "released") if arms.loc[pair[0], "released"]]


def batch_norm_pairs(arms: pd.DataFrame) -> list[Pair]:
    """Batch norm in the discriminator, as released, against none."""
    name = "batch_norm_discriminator"
    return [pair for pair in pairs_in(arms, name) if arms.loc[pair[0], name]]
