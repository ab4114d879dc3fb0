"""The playground's page of widgets."""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from threading import RLock

from fagan.errors import UserError
from fagan.playground.pictures import enlargement, image_png, maps_html, status_html
from fagan.playground.player import DIRECTIONS, Finished, Player, Settings, finished_runs
from fagan.records import RESULTS

# A gate is dragged over this range, or as far as it was trained.
GATES = 1.0
# standard deviations of a latent
MOVES = 6.0


def playground(results: Path = RESULTS):
    """The widgets of every finished run under `results`, or one line that says how to make one."""
    import ipywidgets

    try:
        return Playground(finished_runs(results)).box
    except UserError as error:
        return ipywidgets.HTML(f"<p>{escape(str(error))}</p>")


class Playground:
    """A page of widgets over finished runs; `box` is what a notebook displays.

    Every change of a widget draws the page anew. A click on the image moves the query there.
    """

    def __init__(self, runs: list[Finished]):
        import ipywidgets
        from ipyevents import Event

        self.run = ipywidgets.Dropdown(options=[(run.name, run) for run in runs], description="run")
        self.start = ipywidgets.BoundedIntText(0, min=0, max=2**31, description="from seed")
        self.end = ipywidgets.BoundedIntText(1, min=0, max=2**31, description="to seed")
        self.share = ipywidgets.FloatSlider(0, min=0, max=1, step=0.01, description="share")
        self.moves = [
            ipywidgets.FloatSlider(0, min=-MOVES, max=MOVES, step=0.1, description=f"direction {i}")
            for i in range(1, DIRECTIONS + 1)
        ]
        self.row = ipywidgets.IntSlider(0, min=0, max=0, description="row")
        self.column = ipywidgets.IntSlider(0, min=0, max=0, description="column")
        self.again = ipywidgets.Button(description="gates as trained")
        self.gates, self.sliders = ipywidgets.VBox(), {}
        self.image, self.trained = ipywidgets.Image(format="png"), ipywidgets.Image(format="png")
        self.maps, self.status = ipywidgets.HTML(), ipywidgets.HTML()
        for image, name in ((self.image, "image"), (self.trained, "trained")):
            image.add_class(f"fagan-{name}")
        self.maps.add_class("fagan-maps")

        self.player: Player | None = None
        self._quiet = False
        # JupyterLab may hand each widget's messages to a thread of its own: one draws at a time
        self._lock = RLock()
        self.run.observe(self._choose, "value")
        for widget in (self.start, self.end, self.share, *self.moves, self.row, self.column):
            widget.observe(self._draw, "value")
        self.again.on_click(self._reset)
        self._clicks = Event(source=self.image, watched_events=["click"])
        self._clicks.on_dom_event(self._click)
        self.box = self._laid_out(ipywidgets)
        self._choose()

    def settings(self) -> Settings:
        """What the widgets say now; gates where they were trained to are left to the network."""
        return Settings(
            start=self.start.value,
            end=self.end.value,
            share=self.share.value,
            moves=tuple(slider.value for slider in self.moves),
            alphas={
                layer: slider.value
                for layer, slider in self.sliders.items()
                if slider.value != self.player.alphas[layer]
            },
            pixel=(self.row.value, self.column.value),
        )

    def _choose(self, _=None) -> None:
        """Take the chosen run, its gates as they were trained, and the pixel in the middle."""
        with self._lock:
            try:
                self.player = Player(self.run.value)
            except UserError as error:
                self.player = None
                self.status.value = f"<p>{escape(str(error))}</p>"
            else:
                self._take_gates()
                self._draw()

    def _take_gates(self) -> None:
        import ipywidgets

        self.sliders = {
            layer: ipywidgets.FloatSlider(
                alpha, min=min(-GATES, alpha), max=max(GATES, alpha), step=0.01, description=layer
            )
            for layer, alpha in self.player.alphas.items()
        }
        for slider in self.sliders.values():
            slider.observe(self._draw, "value")
        self.gates.children = tuple(self.sliders.values())
        self.again.disabled = not self.sliders
        side = self.player.resolution
        with self._silently():
            for place in (self.row, self.column):
                place.max, place.value = side - 1, side // 2

    def _draw(self, _=None) -> None:
        with self._lock:
            if self._quiet or self.player is None:
                return
            settings = self.settings()
            view = self.player.view(settings)
            gates = self.player.alphas | dict(settings.alphas)
            self.image.value = image_png(view.image, settings.pixel)
            self.trained.value = image_png(view.trained)
            self.maps.value = maps_html(view, {f"generator, {k}": v for k, v in gates.items()})
            self.status.value = status_html(view, settings.pixel)

    def _reset(self, _=None) -> None:
        with self._silently():
            for layer, slider in self.sliders.items():
                slider.value = self.player.alphas[layer]
        self._draw()

    def _click(self, event: dict) -> None:
        """A click at (dataX, dataY) of the picture, in its own pixels."""
        if self.player is None:
            return
        with self._silently():
            scale = enlargement(self.player.resolution)
            for slider, place in ((self.row, event["dataY"]), (self.column, event["dataX"])):
                slider.value = min(slider.max, max(0, int(place // scale)))
        self._draw()

    @contextmanager
    def _silently(self) -> Iterator[None]:
        """Several widgets change and the page is drawn once, afterwards."""
        with self._lock:
            self._quiet = True
            try:
                yield
            finally:
                self._quiet = False

    def _laid_out(self, ipywidgets):
        def titled(title, *widgets):
            return ipywidgets.VBox([ipywidgets.HTML(f"<b>{title}</b>"), *widgets])

        latent = titled("latent", self.start, self.end, self.share, *self.moves)
        gates = titled("gates of the generator", self.gates, self.again)
        query = titled("query: click the image, or", self.row, self.column)
        pictures = ipywidgets.HBox(
            [titled("with these gates", self.image), titled("as trained", self.trained)]
        )
        # never narrower than its sliders
        fixed = ipywidgets.Layout(flex="0 0 auto")
        controls = ipywidgets.VBox([self.run, latent, gates, query], layout=fixed)
        shown = ipywidgets.VBox([pictures, self.status, self.maps])
        return ipywidgets.HBox([controls, shown])
