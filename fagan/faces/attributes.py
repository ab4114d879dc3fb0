"""What each face looks like: attributes drawn from a counter-based hash of (seed, index).

Nothing is a stream: column k of face i is a function of (seed, i, k) alone, so any face can be made
at any time, in any order, without the ones before it.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from fagan.errors import UserError, unknown

TRAIN_SEED = 0
REFERENCE_SEED = 1
MISMATCHES = ("eyes", "outfit")

# Independent families of uniforms under one seed.
_ATTRIBUTES, _MISMATCHED, _NOISE = 0, 7, 11
_COLUMNS = 96
_SKIN_JITTER, _HAIR_JITTER = slice(90, 93), slice(93, 96)

# sRGB in 0..255, from light to dark: a skin is a mixture of two neighbours.
_SKINS = np.array(
    [
        (255, 226, 203),
        (246, 206, 174),
        (231, 184, 146),
        (208, 154, 113),
        (168, 114, 77),
        (122, 78, 52),
        (86, 54, 38),
    ],
    np.float32,
)
# sRGB in 0..255 and how common it is: ten natural colours and four dyed ones.
_HAIRS = (
    ((26, 22, 24), 0.17),
    ((52, 35, 28), 0.15),
    ((92, 59, 38), 0.14),
    ((133, 84, 46), 0.10),
    ((150, 62, 32), 0.06),
    ((196, 106, 44), 0.06),
    ((212, 168, 92), 0.09),
    ((236, 212, 150), 0.06),
    ((176, 176, 182), 0.04),
    ((228, 228, 232), 0.03),
    ((222, 106, 158), 0.03),
    ((76, 124, 206), 0.03),
    ((58, 158, 150), 0.02),
    ((132, 82, 178), 0.02),
)

# Everything after the colours, in the order in which it takes its column of uniforms: a pair is the
# range of a number, a dict the options of a choice with their probabilities. Changing the order, or
# inserting a line anywhere but at the end, changes every face. Lengths are in half widths of the
# picture, which spans [-1, 1] both ways with y pointing down.
_DRAWN: dict[str, tuple[float, float] | dict[str, float]] = {
    "background": {"linear": 0.45, "radial": 0.3, "disc": 0.25},
    "background_slope": (-0.8, 0.8),
    "background_x": (-0.8, 0.8),
    "background_y": (-0.8, 0.2),
    "roll": (-0.06, 0.06),
    "yaw": (-0.055, 0.055),
    "pitch": (-0.03, 0.03),
    "head_half_width": (0.47, 0.56),
    "head_half_height": (0.58, 0.65),
    "jaw": (-0.04, 0.30),
    "eye_x": (0.235, 0.262),
    "eye_y": (-0.055, -0.035),
    "eye_half_width": (0.145, 0.178),
    "eye_half_height": (0.088, 0.135),
    "iris_radius": (0.094, 0.112),
    "gaze_x": (-0.022, 0.022),
    "gaze_y": (-0.012, 0.012),
    "eye_tilt": (-0.16, 0.2),
    "lashes": (0.25, 1.0),
    "brow_y": (-0.245, -0.205),
    "brow_slope": (-0.3, 0.3),
    "brow_half_width": (0.014, 0.032),
    "nose_half_width": (0.035, 0.075),
    "nose_y": (0.12, 0.17),
    "nose": {"button": 0.5, "line": 0.5},
    "mouth": {"smile": 0.34, "grin": 0.28, "neutral": 0.18, "open": 0.1, "frown": 0.1},
    "mouth_half_width": (0.12, 0.22),
    "mouth_y": (0.272, 0.312),
    "mouth_curve": (0.5, 1.0),
    "lips": (0.0, 1.0),
    "reserved": (-0.05, 0.03),  # drawn, never painted: its column holds the next ones in place
    "blush": (0.0, 0.4),
    "front_hair": {
        "fringe": 0.26,
        "centre part": 0.22,
        "side part": 0.26,
        "swept back": 0.18,
        "bald": 0.08,
    },
    "back_hair": {
        "short": 0.32,
        "bob": 0.17,
        "long": 0.19,
        "afro": 0.1,
        "pigtails": 0.12,
        "bun": 0.1,
    },
    "parting": (-0.3, 0.3),
    "hair_volume": (0.05, 0.12),
    "hair_wave": (0.0, 1.0),
    "hairline": (-0.04, 0.05),
    "headgear": {"headband": 0.5, "beanie": 0.28, "cap": 0.22},
    "band_half_width": (0.075, 0.10),
    "clothing": {"plain": 0.6, "striped": 0.4},
    "glasses": {"none": 0.7, "round": 0.15, "square": 0.15},
    "glasses_grey": (0.05, 0.35),
    "glasses_radius": (0.2, 0.225),
    "beard": {"none": 0.76, "moustache": 0.1, "full": 0.14},
    "earrings": {"none": 0.7, "gold": 0.3},
    "ear_size": (0.08, 0.12),
    "shoulder_half_width": (0.72, 0.95),
    "neck_half_width": (0.15, 0.2),
    "neckline": {"scoop": 0.4, "v": 0.35, "crew": 0.25},
    "freckles": {"none": 0.85, "some": 0.15},
    "light_x": (-1.0, 1.0),
    "light_y": (-1.0, -0.1),
    "light": (0.07, 0.2),
    "noise": (0.2, 1.0),
}
OPTIONS: dict[str, tuple[str, ...]] = {
    name: tuple(drawn) for name, drawn in _DRAWN.items() if isinstance(drawn, dict)
}


def attributes(
    indices: Iterable[int] | Tensor, seed: int = TRAIN_SEED, mismatch: str | None = None
) -> dict[str, Tensor]:
    """The attributes of N faces, each a function of (seed, index) alone.

    Numbers are float32 (N,), choices int64 (N,) that index OPTIONS[name], colours float32 (N, 3) in
    [0, 1]: skin, hair, iris_left, iris_right, clothing_colour, headgear_colour, background_start,
    background_end. Two ties hold exactly, iris_left = iris_right and headgear_colour =
    clothing_colour, and both colours are independent of everything else. `mismatch` ("eyes" or
    "outfit") draws one of the two anew and leaves every other attribute as it was.
    """
    if mismatch is not None and mismatch not in MISMATCHES:
        raise unknown("mismatch", mismatch, MISMATCHES)
    indices = as_indices(indices)
    uniforms = counter_uniforms(seed, indices, _COLUMNS, _ATTRIBUTES)
    columns = iter(uniforms.T)
    found = _colours(uniforms, columns)
    if mismatch is not None:
        # these columns stand apart, so that an unbroken face draws exactly what it always drew
        anew = counter_uniforms(seed, indices, 6, _MISMATCHED).T
        if mismatch == "eyes":
            found["iris_right"] = _iris(*anew[:3])
        else:
            found["headgear_colour"] = _outfit(*anew[3:])
    for name, drawn in _DRAWN.items():
        uniform = next(columns)
        if isinstance(drawn, dict):
            bounds = np.cumsum(list(drawn.values()))[:-1]
            found[name] = np.searchsorted(bounds, uniform, side="right")
        else:
            low, high = drawn
            found[name] = low + (high - low) * uniform
    # A beard runs into any hair longer than short.
    short = found["back_hair"] == OPTIONS["back_hair"].index("short")
    found["beard"] = np.where(short, found["beard"], OPTIONS["beard"].index("none"))
    return {
        name: torch.from_numpy(np.ascontiguousarray(values))
        for name, values in found.items()
        if name != "reserved"
    }


def as_indices(indices: Iterable[int] | Tensor) -> np.ndarray:
    """Face numbers as uint64 (N,)."""
    if not isinstance(indices, np.ndarray | Tensor | range):
        indices = list(indices)
    found = np.asarray(indices)
    if found.size and (not np.issubdtype(found.dtype, np.integer) or found.min() < 0):
        raise ValueError("the indices of faces are whole numbers from 0")
    return found.reshape(-1).astype(np.uint64)


def noise(seed: int, indices: np.ndarray, resolution: int) -> Tensor:
    """The sensor noise of N pictures before scaling: float32 (N, 3, R, R), uniform in (0, 1]."""
    uniforms = counter_uniforms(seed, indices, 3 * resolution * resolution, _NOISE)
    return torch.from_numpy(uniforms).view(-1, 3, resolution, resolution)


def _colours(uniforms: np.ndarray, columns) -> dict[str, np.ndarray]:
    """The colours, float32 (N, 3) in [0, 1]; takes the first fifteen columns."""
    tone = next(columns) * (len(_SKINS) - 1.001)
    darker = tone.astype(int)
    share = (tone - darker)[:, None]
    skins = _SKINS / 255
    skin = skins[darker] * (1 - share) + skins[darker + 1] * share
    skin = skin * (1 + 0.05 * (uniforms[:, _SKIN_JITTER] - 0.5))

    hairs = np.array([colour for colour, _ in _HAIRS], np.float32) / 255
    bounds = np.cumsum([common for _, common in _HAIRS])
    kind = np.minimum(np.searchsorted(bounds, next(columns), side="right"), len(hairs) - 1)
    hair = hairs[kind] * (0.85 + 0.3 * next(columns))[:, None]
    hair = hair + 0.04 * (uniforms[:, _HAIR_JITTER] - 0.5)

    iris = _iris(next(columns), next(columns), next(columns))
    outfit = _outfit(next(columns), next(columns), next(columns))

    hue = next(columns)
    start = from_hsv(hue, 0.05 + 0.5 * next(columns), 0.55 + 0.43 * next(columns))
    hue = hue + (-0.16 + 0.32 * next(columns))
    end = from_hsv(hue, 0.1 + 0.5 * next(columns), 0.35 + 0.5 * next(columns))
    return {
        "skin": skin.clip(0, 1),
        "hair": hair.clip(0, 1),
        "iris_left": iris,
        "iris_right": iris,
        "clothing_colour": outfit,
        "headgear_colour": outfit,
        "background_start": start,
        "background_end": end,
    }


def _iris(hue, saturation, value) -> np.ndarray:
    return from_hsv(hue, 0.55 + 0.4 * saturation, 0.45 + 0.45 * value)


def _outfit(hue, saturation, value) -> np.ndarray:
    return from_hsv(hue, 0.35 + 0.6 * saturation, 0.45 + 0.5 * value)


def from_hsv(hue, saturation, value) -> np.ndarray:
    """Hue in turns, saturation and value in [0, 1], all (N,) -> RGB (N, 3) in [0, 1]."""
    sextant = (hue % 1.0) * 6.0

    def channel(shift: float) -> np.ndarray:
        around = (shift + sextant) % 6.0
        return value - value * saturation * np.clip(np.minimum(around, 4.0 - around), 0.0, 1.0)

    return np.stack([channel(5.0), channel(3.0), channel(1.0)], -1)


def counter_uniforms(seed: int, indices: np.ndarray, columns: int, stream: int) -> np.ndarray:
    """Uniforms in (0, 1], float32 (N, columns), each a function of (seed, stream, index, column).

    A splitmix64 counter: the three odd constants are those of its reference implementation and of
    two well-mixed 64-bit multipliers, one per coordinate.
    """
    if not 0 <= seed < 2**64:
        raise UserError(f"the faces' seed {seed} must be from 0 to 2**64 - 1")
    word = np.uint64
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is the point
        start = word(seed) * word(0x9E3779B97F4A7C15) + word(stream) * word(0xD1B54A32D192ED03)
        face = _mix(indices[:, None] * word(0xA24BAED4963EE407) + _mix(start + word(1)))
        counter = np.arange(1, columns + 1, dtype=word) * word(0x9E3779B97F4A7C15)
        bits = _mix(face + counter) >> word(40)
    return (bits.astype(np.float32) + 0.5) / np.float32(1 << 24)


def _mix(z: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014), modulo 2**64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
