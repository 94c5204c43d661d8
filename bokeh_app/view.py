"""What a page's address says: it holds the whole view, so that a view is a link.

`/` the overview; `?source=NAME` a source; `?plot=SOURCE:COLUMN,…` columns laid over each other, `&beside=1` side by
side, `?histogram=` in place of it how often their values come; `?xy=SOURCE:X,Y` one over another;
`?runs=SOURCE:COLUMN,…&mark=TEXT&last=5` what came after each of the newest marks with a text, over each other;
`?measure=COLUMN` one of all sources that have it, `&small=1` a chart for each, `&find=` of some; `?board=NAME` a board,
`&host=web1` of that host; `?health=1` the collector; `?alarms=1` what fires; `?devices=1` the devices; `?groups=1` what
moves together; `&shift=7d` the same of a week before behind it. Only the browser reads `&window=5m`, or
`&from=…&to=…`, epoch ms or as a person types times, `&hide=COLUMN,…`, `&chart=TITLE`, one chart alone, and `&wall=1`, a
wall. In `plot`, `runs` and `hide` a comma, a colon or a percent sign of a name is percent-encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from linemon.boards import DAY, WINDOWS
from linemon.sections import Span

DEFAULT_WINDOW = "5m"
MAX_PLOT = 80  # columns in one comparison
SHIFTS = {"1h": "an hour", "1d": "a day", "7d": "a week", "28d": "four weeks"}  # in the menu
KINDS = ("health", "alarms", "devices", "groups", "measure", "board", "source")  # each an argument of its name
MAX_SHIFT_S = 100 * 365 * DAY
DEFAULT_RUNS, MAX_RUNS = 5, 20


@dataclass(frozen=True)
class View:
    """One view. `plot` holds (source, column); `shape` is "xy" or "histogram" where a figure of them is wanted, too.

    Of runs `mark` is how the texts of their marks begin.
    """

    kind: str
    source: str = ""
    plot: tuple[tuple[str, str], ...] = ()
    is_beside: bool = False
    window: str = DEFAULT_WINDOW
    is_own_window: bool = False  # as the address says it
    shift: Span | None = None
    board: str = ""
    host: str = ""  # what stands for {host} on a board
    shape: str = ""
    misread: str = ""  # what `shift` said, where that is no span
    mark: str = ""
    last: int = DEFAULT_RUNS
    measure: str = ""
    find: str = ""  # of a measure: only sources with these words in their names
    is_small: bool = False  # of a measure: a small chart for each
    sight: tuple[float, ...] = ()  # from, to in epoch ms; empty = live


def parse(arguments: Mapping[str, Sequence[bytes]]) -> View:
    """The view that the arguments of a request ask for; what makes no sense is as if it were not there."""

    def say(name: str) -> str:
        values = arguments.get(name)
        return values[0].decode(errors="replace") if values else ""

    shape = next((each for each in ("xy", "histogram") if each in arguments), "")
    source, plot = say("source"), _pair(say("xy")) if shape == "xy" else _plot(say(shape or "runs") or say("plot"))
    asked: dict[str, object] = {each: say(each) for each in KINDS}
    asked["runs"], asked["compare"] = "runs" in arguments, shape or "plot" in arguments
    kind = next((kind for kind, is_asked in asked.items() if is_asked), "overview")
    window, shift, last = say("window"), _span(say("shift")), say("last")
    return View(
        kind,
        source=source,
        plot=plot,
        is_beside=bool(say("beside")),
        window=window if window in WINDOWS else "all" if kind == "runs" else DEFAULT_WINDOW,
        is_own_window=window in WINDOWS,
        shift=shift,
        misread="" if shift else say("shift"),
        shape=shape if kind == "compare" else "",
        mark=say("mark"),
        last=min(max(int(last), 1), MAX_RUNS) if last.isdecimal() else DEFAULT_RUNS,
        board=say("board"),
        host=say("host"),
        measure=say("measure"),
        find=say("find"),
        is_small=bool(say("small")),
        sight=_sight(say("from"), say("to")),
    )


def _sight(start: str, end: str) -> tuple[float, ...]:
    """As the page writes it: what a person typed is read by the browser."""
    if not all(text.replace(".", "", 1).isdecimal() for text in (start, end)):
        return ()
    found = float(start), float(end)
    return found if found[0] < found[1] else ()


def _span(text: str) -> Span | None:
    try:
        span = Span.parse(text)
    except ValueError:
        return None
    return span if span <= MAX_SHIFT_S else None


def _pair(text: str) -> tuple[tuple[str, str], ...]:
    """The first two; where the second one names no source it is of the same as the first."""
    first, comma, second = text.partition(",")
    source, colon, _ = first.rpartition(":")
    return _plot(f"{first},{source}:{second}" if comma and colon and ":" not in second else text)[:2]


def _plot(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in text.split(","):
        source, colon, column = part.rpartition(":")
        if part:
            pairs.append((unquote(source), unquote(column)) if colon else (unquote(column), "value"))
    return tuple(dict.fromkeys(pairs))[:MAX_PLOT]
