"""A finished run to play with: move its latent, force its gates, ask a pixel where it looks.

`playground` is the page of widgets that notebooks/playground.ipynb shows; `Player` is what it asks,
and works without widgets.
"""

from fagan.playground.pictures import image_png, map_png, maps_html, status_html
from fagan.playground.player import Finished, Player, Settings, View, finished_runs
from fagan.playground.widgets import Playground, playground

__all__ = [
    "Finished",
    "Player",
    "Playground",
    "Settings",
    "View",
    "finished_runs",
    "image_png",
    "map_png",
    "maps_html",
    "playground",
    "status_html",
]
