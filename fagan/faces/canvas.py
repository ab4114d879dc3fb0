"""A batch of pictures being painted: coordinates, signed distances and their anti-aliased coverage.

Shapes are closed-form signed distances (negative inside) in half widths of the picture, so an edge
costs one clamp at any resolution. Every operation is one correctly rounded float32 operation per
pixel; that is what makes a pixel the same in every batch and with any number of threads.
"""

from functools import cached_property

import torch
from torch import Tensor

from fagan.faces.attributes import OPTIONS


class Canvas:
    """N pictures of R x R pixels over [-1, 1] x [-1, 1], x to the right and y down.

    `x` and `y` are the face's own coordinates, (N, 1, R, R): the picture's, rolled about the point
    between the eyes. `image` is float32 (N, 3, R, R) in about [0, 1].
    """

    def __init__(self, attributes: dict[str, Tensor], resolution: int):
        self._attributes = attributes
        self._pixel = 2.0 / resolution
        axis = (torch.arange(resolution, dtype=torch.float32) + 0.5) * self._pixel - 1
        self.picture_x, self.picture_y = axis.view(1, 1, 1, -1), axis.view(1, 1, -1, 1)
        roll = self.value("roll")
        self.x = self.picture_x + roll * (self.picture_y + 0.05)
        self.y = self.picture_y - roll * self.picture_x
        count = len(attributes["roll"])
        self.image = torch.zeros(count, 3, resolution, resolution)
        self._scratch = torch.empty_like(self.image)

    def value(self, name: str) -> Tensor:
        """A number of each face: (N, 1, 1, 1)."""
        return self._attributes[name].view(-1, 1, 1, 1)

    def colour(self, name: str) -> Tensor:
        """A colour of each face: (N, 3, 1, 1)."""
        return self._attributes[name].view(-1, 3, 1, 1)

    def kind(self, name: str, *options: str) -> Tensor:
        """Whether a choice fell on one of the options: boolean (N, 1, 1, 1)."""
        chosen = self.value(name)
        first, *others = (OPTIONS[name].index(option) for option in options)
        found = chosen == first
        for other in others:
            found = found | (chosen == other)
        return found

    def coverage(self, distance: Tensor, softness: float = 0.0) -> Tensor:
        """The share of each pixel inside a shape, in [0, 1]; `softness` widens the edge."""
        return torch.clamp(0.5 - distance / (self._pixel + softness), 0, 1)

    def paint(self, colour: Tensor | float, coverage: Tensor) -> None:
        """Blend a colour, (N, 3 or 1, 1 or R, 1 or R) or a grey, over the image."""
        # Not lerp_: it may fuse its multiplication and addition in some lanes and not in others,
        # and which pixel falls in which lane depends on the batch and on the threads.
        torch.sub(colour, self.image, out=self._scratch)
        self.image.add_(self._scratch.mul_(coverage))

    # Geometry that more than one painter needs.

    @cached_property
    def light(self) -> Tensor:
        """Brightness of a slanted light, about 1."""
        slant = self.value("light_x") * self.x + self.value("light_y") * self.y
        return 1 + self.value("light") * slant

    @cached_property
    def head_x(self) -> Tensor:
        """Horizontal offset from the head's axis."""
        return self.x - self.value("yaw")

    @cached_property
    def beside_head(self) -> Tensor:
        """Distance from the head's axis: both sides are mirror images in it."""
        return self.head_x.abs()

    @cached_property
    def head_y(self) -> Tensor:
        """Vertical offset from the head's centre."""
        return self.y - (-0.1 + self.value("pitch"))

    @cached_property
    def jaw_x(self) -> Tensor:
        """`head_x` stretched toward the chin, which narrows the jaw."""
        below = torch.clamp(self.head_y / self.value("head_half_height"), 0, 1)
        return self.head_x * (1 + self.value("jaw") * below**2)

    @cached_property
    def head(self) -> Tensor:
        """Distance to the outline of the head."""
        half_width, half_height = self.value("head_half_width"), self.value("head_half_height")
        return ellipse(self.jaw_x, self.head_y, half_width, half_height)

    @cached_property
    def lit_head(self) -> Tensor:
        """The light on the head, which falls off toward its outline."""
        across = self.jaw_x / self.value("head_half_width")
        along = self.head_y / self.value("head_half_height")
        return self.light * (1.02 - 0.16 * torch.clamp(across**2 + along**2 - 0.45, 0, 1))

    @cached_property
    def eye_x(self) -> Tensor:
        """Horizontal offset from the nearer eye, positive away from the nose."""
        return self.x.abs() - self.value("eye_x")

    @cached_property
    def eye_y(self) -> Tensor:
        return self.y - self.value("eye_y")

    @cached_property
    def mouth_x(self) -> Tensor:
        return self.x - self.value("yaw") * 1.5

    @cached_property
    def mouth_centre_y(self) -> Tensor:
        return self.value("mouth_y") + self.value("pitch")

    @cached_property
    def curls(self) -> Tensor:
        """How far waves push the hair's edge outward."""
        return bump(self.y * 4.5 + 0.3) * 0.03 * self.value("hair_wave")

    @cached_property
    def afro(self) -> Tensor:
        """Distance to an afro's uneven circle."""
        x, y = self.x, self.y
        radius = torch.sqrt(self.head_x**2 + (y + 0.18) ** 2 + 1e-6)
        uneven = 0.022 * bump(x * 3.3 + y * 2.1) + 0.022 * bump(x * 2.3 - y * 3.7)
        return radius - (0.72 + 0.9 * self.value("hair_volume")) - uneven

    def cap(self, wider: float = 0.0, higher: float = 0.0) -> Tensor:
        """Distance to the top of the head with its hair on."""
        volume = self.value("hair_volume")
        return ellipse(
            self.head_x,
            self.head_y,
            self.value("head_half_width") + volume * 0.55 + wider,
            self.value("head_half_height") + volume + higher,
        )


def ellipse(x: Tensor, y: Tensor, half_width, half_height) -> Tensor:
    """Distance to an ellipse about the origin of (x, y), exact to first order at its edge."""
    across, along = x / half_width, y / half_height
    level = across * across + along * along - 1
    gradient = torch.sqrt((across / half_width) ** 2 + (along / half_height) ** 2)
    return level / (2 * gradient + 1e-4)


def capsule(x: Tensor, y: Tensor, start: tuple, end: tuple, radius: float) -> Tensor:
    """Distance to a line from start to end with round ends; the points are pairs (x, y)."""
    run, rise = end[0] - start[0], end[1] - start[1]
    from_x, from_y = x - start[0], y - start[1]
    along = torch.clamp((from_x * run + from_y * rise) / (run * run + rise * rise + 1e-6), 0, 1)
    return torch.sqrt((from_x - along * run) ** 2 + (from_y - along * rise) ** 2 + 1e-9) - radius


def bump(t: Tensor) -> Tensor:
    """A smooth wave of period 1 in [0, 1]; sin() differs between CPU types, this does not."""
    return 1 - 4 * (t - torch.floor(t) - 0.5) ** 2
