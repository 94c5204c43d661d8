"""What a page's address says: it holds the whole view, so that a view is a link.

`/` the overview; `?source=NAME` a source; `?plot=SOURCE:COLUMN,…` columns laid over each other, `&beside=1` side by
side, `?histogram=` in place of it how often their values come; `?xy=SOURCE:X,Y` one over another;
`?runs=SOURCE:COLUMN,…&mark=TEXT&last=5` what came after each of the newest marks with a text, over each other;
`?health=1` the collector; `?alarms=1` what fires; `?devices=1` the devices; `?groups=1` what moves together;
`&shift=7d` the same of a week before behind it; `&window=5m`, or `&from=…&to=…`, epoch ms or as a person types times,
`&hide=COLUMN,…`, and `&chart=TITLE`, one chart alone, which only the browser reads. In `plot`, `runs` and `hide` a
comma, a colon or a percent sign of a name is percent-encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from linemon.sections import Span

DAY = 86400
WINDOWS = {
    "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600,
    "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "1y": 365 * DAY, "all": 0,
}  # fmt: skip
DEFAULT_WINDOW = "5m"
MAX_PLOT = 80  # columns in one comparison
SHIFTS = {"1h": "an hour", "1d": "a day", "7d": "a week", "28d": "four weeks"}  # in the menu
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
    shift: Span | None = None
    shape: str = ""
    misread: str = ""  # what `shift` said, where that is no span
    mark: str = ""
    last: int = DEFAULT_RUNS


def parse(arguments: Mapping[str, Sequence[bytes]]) -> View:
    """The view that the arguments of a request ask for; what makes no sense is as if it were not there."""

    def say(name: str) -> str:
        values = arguments.get(name)
        return values[0].decode(errors="replace") if values else ""

    shape = next((each for each in ("xy", "histogram") if each in arguments), "")
    source, plot = say("source"), _pair(say("xy")) if shape == "xy" else _plot(say(shape or "runs") or say("plot"))
    asked: dict[str, object] = {each: say(each) for each in ("health", "alarms", "devices", "groups", "source")}
    asked["runs"], asked["compare"] = "runs" in arguments, shape or "plot" in arguments
    kind = next((kind for kind, is_asked in asked.items() if is_asked), "overview")
    window, shift, last = say("window"), _span(say("shift")), say("last")
    return View(
        kind,
        source,
        plot,
        bool(say("beside")),
        window if window in WINDOWS else "all" if kind == "runs" else DEFAULT_WINDOW,
        shift,
        shape if kind == "compare" else "",
        "" if shift else say("shift"),
        say("mark"),
        min(max(int(last), 1), MAX_RUNS) if last.isdecimal() else DEFAULT_RUNS,
    )


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
