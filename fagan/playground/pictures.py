"""Images and maps of the playground as PNGs and HTML."""

import io
from base64 import b64encode
from collections.abc import Mapping
from html import escape

import numpy as np

from fagan.playground.player import View

# Screen pixels: how wide an image (by enlarging to a whole multiple) and a map are shown.
IMAGE_WIDTH, MAP_WIDTH = 384, 128
MARK, EDGE = (213, 94, 0), (255, 255, 255)
# share of the image's light that is left where a layer does not look at all
DIM = 0.25


def enlargement(resolution: int) -> int:
    """Screen pixels of a picture that show one pixel of the image."""
    return max(1, IMAGE_WIDTH // resolution)


def image_png(image: np.ndarray, pixel: tuple[int, int] | None = None) -> bytes:
    """uint8 (R, R, 3) enlarged, with a frame around one pixel (row, column), as a PNG."""
    scale = enlargement(len(image))
    large = image.repeat(scale, axis=0).repeat(scale, axis=1)
    if pixel is not None:
        for wider, color in ((2, EDGE), (1, MARK)):
            row, column = (scale * place for place in pixel)
            top, left = max(0, row - wider), max(0, column - wider)
            bottom, right = row + scale + wider, column + scale + wider
            kept = large[row : row + scale, column : column + scale].copy()
            large[top:bottom, left:right] = color
            large[row : row + scale, column : column + scale] = kept
    return _png(large)


def map_png(image: np.ndarray, weights: np.ndarray) -> bytes:
    """An image as bright as a layer looks at it: weights (H, W), the strongest at full light.

    Of the image's own size; H and W divide it.
    """
    light = DIM + (1 - DIM) * weights / weights.max()
    rows, columns = (len(image) // cells for cells in weights.shape)
    light = light.repeat(rows, axis=0).repeat(columns, axis=1)[..., None]
    return _png((image * light).astype(np.uint8))


def maps_html(view: View, alphas: Mapping[str, float]) -> str:
    """Every layer's map with its name, its gate and how much sharper than uniform it is."""
    if not view.maps:
        return "<p>This network has no attention.</p>"
    cells = []
    for name, weights in view.maps.items():
        peak = f"peak {weights.max() * weights.size:.1f} × uniform"
        gate = f"alpha {signed(alphas[name])}, " if name in alphas else ""
        url = "data:image/png;base64," + b64encode(map_png(view.image, weights)).decode()
        cells.append(
            f'<figure style="margin:0;width:{MAP_WIDTH + 16}px">'
            f'<img src="{url}" width="{MAP_WIDTH}" style="image-rendering:pixelated" '
            f'alt="Where {escape(name)} looks">'
            f'<figcaption style="font-size:12px;line-height:1.35">'
            f"{escape(name)}<br>{gate}{peak}</figcaption></figure>"
        )
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(cells)}</div>'


def status_html(view: View, pixel: tuple[int, int]) -> str:
    """One line: the asked pixel, what the gates changed, what the discriminator says."""
    parts = [f"query: row {pixel[0]}, column {pixel[1]}"]
    parts.append(f"the gates change the image by {view.change:.1f} grey levels")
    if view.logit is not None:
        parts.append(f"logit of the discriminator: {signed(view.logit)}")
    return f"<p>{'; '.join(parts)}</p>"


def signed(value: float) -> str:
    """Two places and a real minus sign."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
