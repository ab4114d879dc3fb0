"""One short function per part of a face, listed back to front in PAINTERS.

Each takes the canvas, reads the attributes that it needs and paints. Numbers without a name are the
drawing itself: positions and sizes in half widths of the picture, shares of a colour.
"""

import torch
from torch import Tensor

from fagan.faces.canvas import Canvas, bump, capsule, ellipse

_BLUSH = torch.tensor([0.92, 0.38, 0.36]).view(1, 3, 1, 1)
_GOLD = torch.tensor([0.95, 0.83, 0.35]).view(1, 3, 1, 1)
_INSIDE_GRIN = torch.tensor([0.38, 0.08, 0.10]).view(1, 3, 1, 1)
_INSIDE_OPEN = torch.tensor([0.30, 0.06, 0.08]).view(1, 3, 1, 1)
_LIP_OF_SKIN = torch.tensor([0.78, 0.42, 0.42]).view(1, 3, 1, 1)
_LIP_PAINT = torch.tensor([0.12, 0.0, 0.03]).view(1, 3, 1, 1)


def background(c: Canvas) -> None:
    """A gradient between two colours: linear, radial, or linear with a disc on it."""
    x, y = c.picture_x, c.picture_y
    from_centre = (x - c.value("background_x")) ** 2 + (y - c.value("background_y")) ** 2
    share = torch.clamp(0.5 + 0.5 * (y + c.value("background_slope") * x), 0, 1)
    disc = c.coverage(torch.sqrt(from_centre + 1e-6) - 0.55, 0.02)
    with_disc = torch.clamp(share * 0.7 + 0.3 * disc, 0, 1)
    share = torch.where(c.kind("background", "radial"), (from_centre * 0.45).clamp(0, 1), share)
    share = torch.where(c.kind("background", "disc"), with_disc, share)
    start, end = c.colour("background_start"), c.colour("background_end")
    c.image.copy_(start + (end - start) * share)


def back_hair(c: Canvas) -> None:
    """What is seen of the hair behind the head; the bald have none."""
    y, beside, curls = c.y, c.beside_head, c.curls
    half_width, volume = c.value("head_half_width"), c.value("hair_volume")
    half_height = c.value("head_half_height")

    bob_half_width = half_width + volume + 0.06 + curls
    bob = torch.maximum(ellipse(c.head_x, y + 0.05, bob_half_width, 0.68), y - 0.42)
    edge = half_width + volume + 0.01 + curls + 0.1 * torch.clamp(y, 0, 1)
    strands = torch.maximum(torch.maximum(beside - edge, -(y + 0.15)), y - 1.2)
    crown = ellipse(c.head_x, y + 0.1, half_width + volume + 0.02, half_height + volume)
    styles = {
        "bob": bob,
        "long": torch.minimum(strands, crown),
        "afro": c.afro,
        "pigtails": ellipse(
            beside - (half_width + 0.16), y - 0.16, 0.15 + volume * 0.5, 0.26 + volume
        ),
        "bun": ellipse(c.head_x, y + 0.84, 0.2 + volume, 0.16 + volume),
    }
    colour = c.colour("hair") * (0.72 * c.light)
    for style, distance in styles.items():
        c.paint(colour, c.coverage(distance) * (c.kind("back_hair", style) & ~_bald(c)))


def body(c: Canvas) -> None:
    """Neck, clothes with their neckline, and the shadow of the chin."""
    x, y, skin, cloth = c.x, c.y, c.colour("skin"), c.colour("clothing_colour")
    neck_half_width = c.value("neck_half_width")
    beside_neck = x.abs() - neck_half_width
    neck = torch.maximum(beside_neck - 0.25 * torch.clamp(y - 0.52, 0, 1), 0.25 - y)
    c.paint(skin * (0.80 * c.light), c.coverage(neck))

    torso = ellipse(x, y - 1.27, c.value("shoulder_half_width"), 0.62)
    stripe = torch.clamp((bump(y * 5.2 + 0.1) - 0.55) * 6, 0, 1)
    stripes = 1 - 0.22 * c.kind("clothing", "striped") * stripe
    c.paint(cloth * c.light.clamp(0.85, 1.15) * stripes, c.coverage(torso))

    scoop = ellipse(x, y - 0.62, neck_half_width + 0.07, 0.17)
    crew = ellipse(x, y - 0.6, neck_half_width + 0.02, 0.1)
    neckline = torch.where(c.kind("neckline", "v"), x.abs() * 0.9 + (y - 0.92), scoop)
    neckline = torch.where(c.kind("neckline", "crew"), crew, neckline)
    c.paint(cloth * 0.72, c.coverage(neckline - 0.03) * c.coverage(torso))
    c.paint(skin * (0.86 * c.light), c.coverage(neckline) * c.coverage(torso - 0.02))

    shadow = c.coverage(ellipse(x - c.value("yaw") * 0.7, y - 0.47, 0.26, 0.14), 0.12)
    on_neck = c.coverage(beside_neck) * c.coverage(y - 0.72, 0.1)
    c.paint(skin * 0.62, shadow * 0.55 * on_neck)


def ears(c: Canvas) -> None:
    """A mirrored pair."""
    skin, size, half_width = c.colour("skin"), c.value("ear_size"), c.value("head_half_width")
    outer = ellipse(c.beside_head - half_width * 0.98, c.y - 0.02, size * 0.75, size * 1.25)
    inner = ellipse(c.beside_head - half_width * 0.99, c.y - 0.03, size * 0.35, size * 0.7)
    c.paint(skin * (0.9 * c.light), c.coverage(outer))
    c.paint(skin * 0.68, c.coverage(inner, 0.02) * 0.7)


def head(c: Canvas) -> None:
    """The face's skin with blush and freckles, and the earrings that hang before it."""
    x, y, skin, yaw = c.x, c.y, c.colour("skin"), c.value("yaw")
    face = c.coverage(c.head)
    c.paint((skin * c.lit_head).clamp(0, 1), face)

    cheeks = ellipse((x - yaw * 1.2).abs() - 0.3, y - 0.16, 0.13, 0.09)
    c.paint(_BLUSH, c.coverage(cheeks, 0.1) * c.value("blush") * face)

    dots = torch.clamp((bump(x * 13 + y * 5) + bump(y * 15 - x * 6) - 1.62) * 4, 0, 1)
    freckled = c.coverage(ellipse((x - yaw).abs() - 0.24, y - 0.14, 0.13, 0.07), 0.05)
    c.paint(skin * 0.66, dots * freckled * c.kind("freckles", "some") * 0.45)

    lobe = c.y - 0.02 - c.value("ear_size") * 1.25
    drops = ellipse(c.beside_head - c.value("head_half_width") * 1.02, lobe - 0.02, 0.04, 0.045)
    c.paint(_GOLD, c.coverage(drops) * c.kind("earrings", "gold"))


def beard(c: Canvas) -> None:
    """A moustache, with or without a full beard around the chin."""
    beside_mouth = c.mouth_x.abs()
    above_chin = 0.40 - 1.5 * torch.clamp(beside_mouth - 0.2, 0, 1)
    chin = torch.maximum(c.head - 0.015, -(c.y - above_chin))
    lip = ellipse(beside_mouth - 0.085, c.y - c.mouth_centre_y + 0.068, 0.105, 0.038)
    colour = c.colour("hair") * 0.8 * c.lit_head
    c.paint(colour, c.coverage(chin, 0.02) * c.kind("beard", "full") * 0.96)
    c.paint(colour, c.coverage(lip, 0.01) * c.kind("beard", "moustache", "full"))


def nose(c: Canvas) -> None:
    """A button, or a line down to the tip; both with a highlight."""
    skin, half_width = c.colour("skin"), c.value("nose_half_width")
    tip_x, tip_y = c.value("yaw") * 1.7, c.value("nose_y") + c.value("pitch")
    button = ellipse(c.x - tip_x, c.y - tip_y, half_width, 0.028)
    c.paint(skin * 0.7, c.coverage(button, 0.02) * 0.75 * c.kind("nose", "button"))

    line = c.kind("nose", "line")
    right = tip_x + half_width * 0.6
    ridge = capsule(c.x, c.y, (tip_x * 0.6, -0.02), (right, tip_y), 0.010)
    base = capsule(c.x, c.y, (tip_x - half_width * 0.5, tip_y + 0.008), (right, tip_y), 0.012)
    c.paint(skin * 0.68, c.coverage(ridge, 0.012) * 0.7 * line)
    c.paint(skin * 0.68, c.coverage(base, 0.012) * 0.8 * line)

    shine = ellipse(c.x - tip_x, c.y - tip_y + 0.05, half_width * 0.5, 0.03)
    c.paint((skin * 1.15).clamp(0, 1), c.coverage(shine, 0.04) * 0.5)


def mouth(c: Canvas) -> None:
    """Closed (smile, neutral, frown), a grin with teeth, or a round open mouth."""
    x, y, centre_y = c.mouth_x, c.y, c.mouth_centre_y
    half_width, curve = c.value("mouth_half_width"), c.value("mouth_curve")
    across = x / half_width
    outside = x.abs() - half_width
    lips = c.value("lips")
    colour = c.colour("skin") * _LIP_OF_SKIN + lips * _LIP_PAINT

    smile, neutral, frown = (c.kind("mouth", k).float() for k in ("smile", "neutral", "frown"))
    closed = c.kind("mouth", "smile", "neutral", "frown")
    bend = 0.07 * (smile + neutral * 0.15 - frown * 0.7) * curve
    line_y = centre_y + bend * (0.5 - across * across)
    line = torch.maximum((y - line_y).abs() - 0.016 - 0.006 * lips, outside)
    lower_lip = ellipse(x, y - line_y - 0.035, half_width * 0.55, 0.022)
    c.paint(colour * 0.8, c.coverage(line) * closed)
    c.paint(colour, c.coverage(lower_lip, 0.01) * closed * (0.35 + 0.6 * lips))

    grinning = c.kind("mouth", "grin")
    top = centre_y - 0.035 - 0.025 * (across * across - 0.5)
    bottom = centre_y + 0.115 * curve * (1 - across * across) + 0.01 - 0.03 * across * across
    grin = torch.maximum(torch.maximum(top - y, y - bottom), outside)
    teeth = torch.maximum(grin + 0.004, y - top - 0.05)
    c.paint(colour * 0.85, c.coverage(grin - 0.018) * grinning)
    c.paint(_INSIDE_GRIN, c.coverage(grin) * grinning)
    c.paint(0.97, c.coverage(teeth) * grinning)

    is_open = c.kind("mouth", "open")
    rim = ellipse(x, y - centre_y, 0.062 * curve + 0.02, 0.07 * curve)
    inside = ellipse(x, y - centre_y, 0.040 * curve + 0.012, 0.048 * curve)
    c.paint(colour * 0.8, c.coverage(rim) * is_open)
    c.paint(_INSIDE_OPEN, c.coverage(inside) * is_open)


def eyes(c: Canvas) -> None:
    """Both eyes in one mirrored pass: only the iris colour is told apart by its side."""
    right = c.x >= 0
    side = torch.where(right, 1.0, -1.0)
    half_width, half_height = c.value("eye_half_width"), c.value("eye_half_height")
    tilted_y = c.eye_y + c.value("eye_tilt") * c.eye_x * 0.5
    socket = ellipse(c.eye_x, tilted_y, half_width + 0.02, half_height + 0.03)
    c.paint(c.colour("skin") * 0.7, c.coverage(socket, 0.04) * 0.45)
    outline = ellipse(c.eye_x, tilted_y, half_width, half_height)
    white = c.coverage(outline)
    c.paint(0.965, white)

    gaze_x = c.x - side * c.value("eye_x") - c.value("gaze_x")
    gaze_y = c.y - c.value("eye_y") - c.value("gaze_y")
    radius, iris_radius = torch.sqrt(gaze_x**2 + gaze_y**2 + 1e-9), c.value("iris_radius")
    iris = torch.where(right, c.colour("iris_right"), c.colour("iris_left"))
    glint = torch.sqrt((gaze_x - 0.03) ** 2 + (gaze_y + 0.035) ** 2 + 1e-9) - 0.019
    c.paint(iris * 0.6, c.coverage(radius - iris_radius) * white)
    c.paint(iris, c.coverage(radius - iris_radius * 0.88) * white)
    c.paint(0.04, c.coverage(radius - iris_radius * 0.36) * white)
    c.paint(1.0, c.coverage(glint) * white)

    lid_width = 0.012 + 0.010 * c.value("lashes")
    lid = torch.maximum(outline.abs() - lid_width, tilted_y + 0.25 * half_height)
    c.paint(c.colour("hair") * 0.3, c.coverage(lid) * 0.9)


def brows(c: Canvas) -> None:
    """A mirrored pair of arcs over the eyes."""
    centre_y = c.value("brow_y") + 0.35 * c.value("pitch")
    arc = centre_y + 0.25 * c.value("brow_slope") * c.eye_x + 0.9 * c.eye_x * c.eye_x
    beyond_ends = c.eye_x.abs() - c.value("eye_half_width") * 0.92
    brow = torch.maximum((c.y - arc).abs() - c.value("brow_half_width"), beyond_ends)
    c.paint(c.colour("hair") * 0.62, c.coverage(brow) * 0.95)


def _bald(c: Canvas) -> Tensor:
    return c.kind("front_hair", "bald")


def _hairline(c: Canvas) -> Tensor:
    """The height y above which the forehead is hair, by style."""
    across, beside, parting, shift = (
        c.head_x,
        c.beside_head,
        c.value("parting"),
        c.value("hairline"),
    )
    zigzag = 0.05 * bump(c.x * 3.1 + parting * 5)
    fringe = -0.34 + shift + zigzag + 0.75 * torch.clamp(beside - 0.33, 0, 1)
    centre = -0.555 + 0.95 * (across - 0.25 * parting).abs() + 0.5 * across**2 + shift
    from_parting = across - parting
    swept = torch.where(parting > 0, from_parting, -from_parting)
    slope = torch.where(swept > 0, 1.05 * swept, -0.42 * swept + 0.35 * swept * swept)
    side = -0.52 + shift + slope
    back = -0.50 + shift + 0.9 * across**2 + 0.3 * zigzag
    line = torch.where(c.kind("front_hair", "centre part"), centre, fringe)
    line = torch.where(c.kind("front_hair", "side part"), side, line)
    return torch.where(c.kind("front_hair", "swept back"), back, line)


def front_hair(c: Canvas) -> None:
    """Hair over the forehead with strands and a shine, and the side locks of long hair."""
    across, y, hair = c.head_x, c.y, c.colour("hair")
    volume, wave, parting = c.value("hair_volume"), c.value("hair_wave"), c.value("parting")
    haired = ~_bald(c)
    front = torch.maximum(torch.maximum(c.cap(), y - _hairline(c)), y - 0.12)
    spread = across * (2.2 + 2 * wave) / (1.25 - torch.clamp(y + 0.9, 0, 0.9))
    strands = 1 + 0.13 * (bump(spread + parting * 3) - 0.6)
    shine = 1 + 0.22 * c.coverage((y + 0.47 - 0.35 * across**2).abs() - 0.03, 0.09)
    c.paint((hair * c.light * strands * shine).clamp(0, 1), c.coverage(front) * haired)

    edge = c.beside_head - c.value("head_half_width") - volume * 0.1
    length = torch.maximum(-y - 0.25, y - 0.62 - c.curls * 2)
    locks = torch.maximum(edge.abs() - 0.07 - 0.4 * c.curls, length)
    colour = (hair * c.light * (0.92 + 0.1 * bump(c.x * 5))).clamp(0, 1)
    c.paint(colour, c.coverage(locks, 0.01) * (c.kind("back_hair", "long") & haired))


def headgear(c: Canvas) -> None:
    """A headband, a beanie with its pompon, or a cap with its seams and brim."""
    across, y, gear = c.head_x, c.y, c.colour("headgear_colour")
    band, beanie, cap = (c.kind("headgear", k) for k in ("headband", "beanie", "cap"))
    lit = gear * (1.0 + 0.12 * (c.light - 1))
    arc = 0.28 * across**2
    dome = c.cap(wider=0.025, higher=0.03)
    # a headband goes around an afro, a hat sits in it
    dome = torch.where(c.kind("back_hair", "afro") & band, torch.minimum(dome, c.afro), dome)

    from_edge = (y - arc + 0.505).abs() - c.value("band_half_width")
    c.paint(lit, c.coverage(torch.maximum(dome, from_edge)) * band)
    c.paint(gear * 0.75, c.coverage(torch.maximum(dome, from_edge.abs() - 0.008)) * band)

    hat = torch.maximum(dome - 0.02, y - arc * 0.8 + 0.36)
    seams = torch.maximum(hat, (across.abs() - 0.27).abs() - 0.012)
    c.paint(lit, c.coverage(hat) * (beanie | cap))
    c.paint(gear * 0.78, c.coverage(seams) * cap * 0.8 * c.coverage(y + 0.42))

    fold = torch.maximum(dome - 0.035, (y - arc * 0.8 + 0.385).abs() - 0.045)
    fluff = 0.02 * bump(c.x * 9) * bump(y * 9)
    pompon = torch.sqrt(across**2 + (y + 0.86) ** 2 + 1e-6) - 0.11 - fluff
    brim = ellipse(across - c.value("yaw"), y + 0.335, c.value("head_half_width") * 0.92, 0.085)
    c.paint(gear * 0.70 + 0.22, c.coverage(fold) * beanie)
    c.paint(gear * 0.70 + 0.25, c.coverage(pompon) * beanie)
    c.paint(gear * 0.62, c.coverage(brim) * cap)


def glasses(c: Canvas) -> None:
    """Two mirrored lenses, round or square, with bridge, temples and a reflection."""
    x, y, radius = c.eye_x, c.eye_y, c.value("glasses_radius")
    worn = c.kind("glasses", "round", "square")
    round_lens = torch.sqrt(x**2 + (y - 0.01) ** 2 + 1e-9) - radius
    square_lens = torch.maximum(x.abs(), (y - 0.01).abs() * 1.22) - radius * 0.93
    lens = torch.where(c.kind("glasses", "square"), square_lens, round_lens)

    bar = (y + 0.02).abs() - 0.016
    centre, from_middle = c.value("eye_x"), c.x.abs()
    bridge = torch.maximum(bar, from_middle - (centre - radius))
    temples = torch.maximum(bar, centre + radius - from_middle)
    temples = torch.maximum(temples, c.beside_head - c.value("head_half_width"))
    frame = torch.minimum(torch.minimum(lens.abs() - 0.017, bridge), temples)
    reflection = torch.maximum(lens + 0.02, (x + y * 0.7 - 0.07).abs() - 0.02)
    c.paint(c.value("glasses_grey"), c.coverage(frame) * worn)
    c.paint(1.0, c.coverage(reflection, 0.01) * worn * 0.22)


PAINTERS = (
    background,
    back_hair,
    body,
    ears,
    head,
    beard,
    nose,
    mouth,
    eyes,
    brows,
    front_hair,
    headgear,
    glasses,
)
