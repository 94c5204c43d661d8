"""What people say to a bot: STATUS, GRAPH, ACK and SILENCE, with a slash or without, in any case."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial
from typing import Final

from linemon.errors import LinemonError
from linemon.parts._aside import aside
from linemon.parts.alarms.message import plain
from linemon.parts.alarms.notifier import House
from linemon.sections import Span

HELP: Final = """\
STATUS: what fires
STATUS web1: how a source is
GRAPH web1 6h: a chart; GRAPH web1 mem.used_pct 6h: of another column
ACK 12: no more of incident 12 until it is over or gets worse
SILENCE web1 2h: nothing of a source for a while"""
SHOWN_FIRST: Final = "cpu.busy_pct"  # of a source, where no column is asked for
SPAN_S: Final = 3600.0
MOST_SPAN_S: Final = 366 * 86400.0
MOST_SILENCE_S: Final = 7 * 86400.0
MOST_NAMES: Final = 5


class Unclear(LinemonError):
    """What was said cannot be done; the text says what could."""


async def obey(house: House, text: str, by: str, dark: bool = False) -> tuple[str, bytes | None]:
    """Do what was said; what to answer, and a picture."""
    word, *words = text.split() or [""]
    name = word.removeprefix("/").partition("@")[0].upper()
    try:
        if house.answers is None:
            raise Unclear("Alarms do not run")
        if name == "STATUS":
            return house.answers.status(named(house, words[0])[0] if words else ""), None
        if name == "GRAPH" and words:
            return await _graph(house, words, dark)
        if name == "ACK" and len(words) == 1 and words[0].lstrip("#").isdecimal():
            return house.answers.ack(int(words[0].lstrip("#")), by), None
        if name == "SILENCE" and len(words) == 2:
            return house.answers.silence(words[0], _span(words[1], MOST_SILENCE_S), by), None
    except LinemonError as error:
        return str(error), None
    near = get_close_matches(name, ("STATUS", "GRAPH", "ACK", "SILENCE"), 1)
    hint = f"I do not know {plain(word)[:30]}. Did you mean {near[0]}?\n" if near and near[0] != name else ""
    return hint + HELP, None


async def _graph(house: House, words: list[str], dark: bool) -> tuple[str, bytes | None]:
    span = SPAN_S
    if len(words) > 1:
        try:
            span = _span(words[-1], MOST_SPAN_S)
            words = words[:-1]
        except Unclear:
            if len(words) > 2:
                raise
    source, columns = named(house, words[0])
    if len(words) > 1:
        column = one_of("column", words[1], columns)
    else:
        column = SHOWN_FIRST if SHOWN_FIRST in columns else next(iter(columns), "")
    picture = await aside(partial(house.picture, source, column, span, dark))
    return f"{source} {column}, the last {Span(span).text}", picture


def _span(text: str, most: float) -> float:
    try:
        if (span := Span.parse(text)) <= most:
            return float(span)
    except ValueError:
        pass
    raise Unclear(f"{plain(text)[:30]} is no span such as 30m or 6h, of {Span(most).text} at most")


def named(house: House, name: str) -> tuple[str, tuple[str, ...]]:
    """The source that is meant, and its columns. `Unclear` names those that are near."""
    sources = house.names()
    source = one_of("source", name, sources)
    return source, sources[source]


def one_of(what: str, name: str, names: Iterable[str]) -> str:
    """The one name that is meant: itself, or in another case, or a part of one alone."""
    names = list(names)
    for fits in (
        [each for each in names if each == name],
        [each for each in names if each.casefold() == name.casefold()],
        [each for each in names if name.casefold() in each.casefold()],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            break
    near = fits or get_close_matches(name, names, MOST_NAMES) or sorted(names)
    more = f" and {len(near) - MOST_NAMES} more" if len(near) > MOST_NAMES else ""
    said = ", ".join(near[:MOST_NAMES]) + more if near else "none"
    wrong = f"{plain(name)[:60]} stands for several" if fits else f"There is no {what} {plain(name)[:60]}"
    raise Unclear(f"{wrong}. {'They are' if fits else 'Near it'}: {said}")
