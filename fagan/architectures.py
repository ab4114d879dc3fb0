"""The stages that make up each architecture, and the strings that name them."""

import math
from dataclasses import dataclass
from functools import cache

from fagan.errors import UserError, nearest

# The stages of every named architecture, keyed by the number of stages before the output layer:
# 3 at 32 pixels, 4 at 64, 5 at 128. Generator from the latent outward, discriminator from the image
# inward. F = full attention, C = convolution, +A = self-attention after it. "output F" makes the
# generator's last layer a full attention layer too. RC and RF resize by 2 and keep the size in the
# layer itself, k x k at stride 1: nearest neighbours before it in the generator, means of 2 x 2
# after it in the discriminator. At stride 2 a kernel of 1 or 2 leaves holes or seams in the image.
# B and BF are residual blocks that double or halve, without or with full attention inside
# (fagan.resnet); a network is made of them alone.
ARCHITECTURES: dict[str, dict[int, str]] = {
    # no attention: the floor
    "dcgan": {
        3: "C C C | C C C",
        4: "C C C C | C C C C",
        5: "C C C C C | C C C C C",
    },
    # the reference package's SAGAN (attn_gan_pytorch, samples/sample_celeba/configs/1)
    "sagan": {
        3: "C C+A C+A | C C+A C+A",
        4: "C C C+A C+A | C C C+A C+A",
        5: "C C C+A C+A C | C C C C+A C+A",
    },
    # one self-attention layer in each network, as the blog describes SAGAN
    "sagan-1": {
        3: "C C C+A | C+A C C",
        4: "C C C C+A | C+A C C C",
        5: "C C C C+A C | C C+A C C C",
    },
    # the author's released FAGAN (akanimax/fagan, configs/fagan_1 = fagan_2), 64 px to the letter
    "fagan": {
        3: "F F C+A | F F+A C+A",
        4: "F F C+A C+A | F C F+A C+A",
        5: "F F C+A C+A C | C F C F+A C+A",
    },
    # the blog's definition: a GAN made of just these layers
    "fagan-pure": {
        3: "F F F, output F | F F F",
        4: "F F F F, output F | F F F F",
        5: "F F F F F, output F | F F F F F",
    },
    # SAGAN's residual networks without attention
    "resnet": {
        3: "B B B | B B B",
        4: "B B B B | B B B B",
        5: "B B B B B | B B B B B",
    },
    # SAGAN as published (arXiv 1805.08318; google/self-attention-gan), its attention Google's
    "sagan-resnet": {
        3: "B B+A B | B+A B B",
        4: "B B B+A B | B+A B B B",
        5: "B B B+A B B | B B+A B B B",
    },
    # full attention for the block's convolution at the same place, on a map of the same size
    "fagan-resnet": {
        3: "B BF B | B BF B",
        4: "B B BF B | B BF B B",
        5: "B B BF B B | B B BF B B",
    },
}
# Parameter-matched controls, (stages, target): those stages, widened until G and D each hold as
# many parameters as the target of the same resolution and width.
MATCHED = {
    "dcgan-wide": ("dcgan", "fagan"),
    "dcgan-wider": ("dcgan", "fagan-pure"),
    "sagan-wide": ("sagan", "fagan"),
    "resnet-wide": ("resnet", "fagan-resnet"),
}
STAGES = ("C", "F", "RC", "RF", "C+A", "F+A", "RC+A", "RF+A", "B", "BF", "B+A", "BF+A")
RESOLUTIONS = {32: 3, 64: 4, 128: 5}


@dataclass(frozen=True)
class Stages:
    """The parsed form of a stage string: one entry of STAGES per stage and network."""

    generator: tuple[str, ...]
    discriminator: tuple[str, ...]
    output: str = "C"

    @property
    def residual(self) -> bool:
        return self.generator[0].startswith("B")


def parse_stages(text: str) -> Stages:
    """`"F F C+A, output F | F C F+A"` -> Stages. Raises UserError naming the part that is wrong."""
    halves = text.split("|")
    if len(halves) != 2:
        raise UserError(
            f"stages {text!r} need one '|' between generator and discriminator, "
            'as in "F F C+A | F F+A C+A"'
        )
    left, output = halves[0], "C"
    if "," in left:
        left, tail = left.split(",", 1)
        words = tail.split()
        if len(words) != 2 or words[0] != "output" or words[1] not in ("C", "F"):
            raise UserError(f"{tail.strip()!r} in stages {text!r}: write 'output C' or 'output F'")
        output = words[1]
    generator, discriminator = tuple(left.split()), tuple(halves[1].split())
    for letter in (*generator, *discriminator):
        if letter not in STAGES:
            raise UserError(f"unknown stage {letter!r} in {text!r} (known: {', '.join(STAGES)})")
    if not generator or len(generator) != len(discriminator):
        raise UserError(
            f"stages {text!r} have {len(generator)} before the '|' and {len(discriminator)} "
            "after it; both networks need the same number"
        )
    if generator[0].startswith("R"):
        raise UserError(f"the first stage of {text!r} makes 4x4 of a latent: C or F, not R")
    blocks = {letter.startswith("B") for letter in (*generator, *discriminator)}
    if len(blocks) > 1 or (blocks == {True} and output == "F"):
        raise UserError(f"residual stages (B, BF) in {text!r} go with no others, nor with output F")
    return Stages(generator, discriminator, output)


@cache  # of every run of a plan, again and again
def stages_of(architecture: str, resolution: int) -> Stages:
    """The stages of a named architecture or of a user's own stage string at a resolution."""
    base, _ = MATCHED.get(architecture, (architecture, None))
    if base in ARCHITECTURES:
        if resolution not in RESOLUTIONS:
            raise UserError(
                f"{architecture} cannot make {resolution} pixels "
                f"(it makes {', '.join(map(str, RESOLUTIONS))})"
            )
        return parse_stages(ARCHITECTURES[base][RESOLUTIONS[resolution]])
    if "|" not in architecture:
        known = [*ARCHITECTURES, *MATCHED]
        raise UserError(
            f"unknown architecture {architecture!r}{nearest(architecture, known)} "
            f'(known: {", ".join(known)}, or stages such as "F F C+A | F F+A C+A")'
        )
    stages = parse_stages(architecture)
    made = 4 * 2 ** len(stages.generator)
    if made != resolution:
        raise UserError(
            f"{len(stages.generator)} stages make {made} pixels, not {resolution}: "
            f"set resolution={made} or give {max(1, int(math.log2(max(resolution, 8) / 4)))} stages"
        )
    return stages
