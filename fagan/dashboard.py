"""`python -m fagan status`: a table of what every run is doing, for a terminal or a pipe.

It reads records and writes nothing, so it may look from anywhere that sees the results folder: from
another terminal, from a cluster's login node.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fagan.errors import UserError
from fagan.records import ENDED, RESULTS
from fagan.status import FAILED, INTERRUPTED, Progress, Watcher, duration, summary

REFRESH = 2.0  # seconds between looks at the records
ROWS = 40  # of an ablation where there is no terminal whose height could say
# What a reader must see, in this order; where not all runs fit, the others are counted.
URGENT = ("running", INTERRUPTED, FAILED, "diverged")
CALM = ("done", "waiting")
ACTIVE = ("running", INTERRUPTED)
STYLES = {"running": "green", INTERRUPTED: "yellow", FAILED: "red", "diverged": "magenta"}
MISSING = "–"
GAP = 2  # cells between columns


@dataclass(frozen=True)
class Column:
    """A column of the table: its text of a run."""

    title: str
    text: Callable[[Progress], str]
    right: bool = True
    needed: int = 0  # where the terminal is narrow, the lowest go first


def _number(form: str, value: float | None) -> str:
    return MISSING if value is None else form.format(value)


def _rate(value: float | None) -> str:
    return _number("{:,.0f}" if value is None or value >= 10 else "{:.1f}", value)


COLUMNS = (
    Column("run", lambda run: run.run_id, right=False, needed=9),
    Column("state", lambda run: run.state, right=False, needed=8),
    Column("step", lambda run: f"{run.step:,}/{run.steps:,}", needed=7),
    Column("images/s", lambda run: _rate(run.images_per_second), needed=4),
    Column(
        "left",
        lambda run: MISSING if run.seconds_left is None else duration(run.seconds_left),
        needed=6,
    ),
    Column("fd_lite0", lambda run: _number("{:,.1f}", run.fd_lite0), needed=5),
    Column("alpha G", lambda run: _number("{:+.3f}", run.alpha_g), needed=3),
    Column("alpha D", lambda run: _number("{:+.3f}", run.alpha_d), needed=3),
    Column("device", lambda run: run.device or MISSING, right=False, needed=2),
)
WHY = Column("why", lambda run: run.reason.split("\n")[0], right=False)
SHORTEST_WHY = 20  # cells; in less room a reason says nothing
REASONS = 3  # lines below a table that has no room for the reasons


def chosen(runs: Sequence[Progress], room: int | None) -> tuple[list[Progress], list[Progress]]:
    """(runs to show, the rest), each in its order: what is active first, then what went wrong.

    All of them where they fit into `room` rows, or where room is None; else only those of URGENT,
    and as many of these as fit.
    """
    order = (*URGENT, *CALM)

    def rank(run: Progress) -> int:
        return order.index(run.state) if run.state in order else len(order)

    ranked = sorted(runs, key=rank)  # stable: within a state the order of the plan
    if room is None or len(ranked) <= room:
        return ranked, []
    urgent = sum(run.state in URGENT for run in ranked)
    shown = min(urgent, max(room - 1, 0))  # a row goes to the count of the rest
    return ranked[:shown], ranked[shown:]


def table(runs: Sequence[Progress], width: int | None = None) -> Table:
    """The table of some runs; with a width, without the columns that do not fit into it.

    Only a reason is cut short, and a run's name where nothing else is left.
    """
    columns = list(COLUMNS)
    while width is not None and len(columns) > 1 and _width(_table(runs, columns)) > width:
        columns.remove(min(reversed(columns), key=lambda column: column.needed))
    made = _table(runs, columns)
    if any(run.reason for run in runs):
        room = None if width is None else width - _width(made) - GAP
        if room is None or room >= SHORTEST_WHY:
            made = _table(runs, [*columns, WHY], room)
    return made


def _table(runs: Sequence[Progress], columns: Sequence[Column], why: int | None = None) -> Table:
    """why: cells that a reason may take."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column in columns:
        justify = "right" if column.right else "left"
        made.add_column(column.title, justify=justify, no_wrap=True, overflow="ellipsis")
    for run in runs:
        cells = [Text(column.text(run)) for column in columns]
        if why is not None:
            cells[-1].truncate(why, overflow="ellipsis")
        made.add_row(*cells, style=STYLES.get(run.state, ""))
    return made


_RULER = Console(width=10_000, color_system=None)  # wider than any table: measures what one wants


def _width(made: Table) -> int:
    """Cells that a table takes if nothing is cut short."""
    return Measurement.get(_RULER, _RULER.options, made).maximum


def view(
    name: str,
    runs: Sequence[Progress],
    width: int | None = None,
    room: int | None = None,
    note: str = "",
) -> Group:
    """An ablation: its counts, the table of `chosen` runs, a count of the rest; room 0: a line."""
    shown, rest = chosen(runs, room)
    parts = [Text(f"{name}: {summary(list(runs))}{note}", style="bold")]
    if shown:
        made = table(shown, width)
        parts.append(made)
        if made.columns[-1].header != WHY.title:
            parts += _reasons(shown, width)
    if rest and room:
        counts = Counter(run.state for run in rest)
        words = ", ".join(f"{n:,} {state}" for state, n in counts.items())
        parts.append(Text(f"... and {words}" if shown else f"{words} (--all lists them)"))
    return Group(*parts)


def _reasons(runs: Sequence[Progress], width: int) -> list[Text]:
    """What the table had no room for: the first failures, a line each."""
    lines = [Text(f"{run.run_id}: {WHY.text(run)}") for run in runs if run.reason][:REASONS]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def planned_ablations(results: Path = RESULTS) -> list[str]:
    """Every ablation of a results folder that has a plan. Raises UserError where there is none."""
    names = sorted(path.parent.name for path in Path(results).glob("*/plan.json"))
    if not names:
        raise UserError(f"no ablation is planned under {results}; `make ablations` begins one")
    return names


class Overview:
    """Some ablations, looked at again and again."""

    def __init__(self, ablations: Sequence[str], results: Path = RESULTS):
        self.watchers = [Watcher(name, results) for name in ablations]

    def look(self, width: int | None, room: int | None) -> tuple[Group, bool]:
        """(what to show now, whether every run has ended).

        Of several ablations only those with something to see have a table, the others a line.
        """
        looks = [(watcher.ablation, watcher.look()) for watcher in self.watchers]
        ended = all(run.state in (*ENDED, FAILED) for _, runs in looks for run in runs)
        if len(looks) == 1:
            return view(*looks[0], width, room), ended
        active = {name for name, runs in looks if any(run.state in ACTIVE for run in runs)}
        each = None if room is None else max((room - len(looks)) // max(len(active), 1), 1)
        views = [view(*look, width, each if look[0] in active else 0) for look in looks]
        return Group(*views), ended


def show(
    ablations: Sequence[str], results: Path = RESULTS, once: bool = False, every_run: bool = False
) -> None:
    """Print the status of ablations; on a terminal follow it until every run has ended or Ctrl-C.

    once, or no terminal: the table as plain text. every_run: all rows, once.
    Leaving with Ctrl-C is no failure: the runs go on.
    """
    overview = Overview(ablations, results)
    console = Console(highlight=False)
    if every_run or once or not console.is_terminal:
        room = None if every_run else ROWS
        shown, _ = overview.look(console.width if console.is_terminal else None, room)
        if not console.is_terminal:  # a pipe has no width to keep to
            console = Console(highlight=False, width=_RULER.width)
        for part in _flat(shown):
            _print(console, part)
        return
    try:
        _follow(console, overview)
    except KeyboardInterrupt:
        return


def _flat(group: Group):
    for part in group.renderables:
        if isinstance(part, Group):
            yield from _flat(part)
        else:
            yield part


def _print(console: Console, part) -> None:
    """Print without the blanks with which a table fills its lines."""
    if console.is_terminal:
        console.print(part)
        return
    with console.capture() as capture:
        console.print(part)
    for line in capture.get().splitlines():
        print(line.rstrip())


def room_of(console: Console) -> int:
    """Rows of a table that a terminal has room for."""
    # the counts may take two lines; the header, the count of the rest and the cursor one each
    return max(console.height - 5 - REASONS, 1)


def _follow(console: Console, overview: Overview) -> None:
    def look():
        return overview.look(console.width, room_of(console))

    shown, ended = look()
    with Live(shown, console=console, auto_refresh=False) as live:
        while not ended:
            time.sleep(REFRESH)
            shown, ended = look()
            live.update(shown, refresh=True)
