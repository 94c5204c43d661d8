"""Events as people read them: one message of those that go together. No I/O but the local time zone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from urllib.parse import quote

from linemon.parts.alarms.event import ENDS, LEVELS, Event

WORDS = {
    "warning": "Warning",
    "critical": "Critical",
    "still": "Still {level}",
    "ok": "OK",
    "flapping": "Flapping",
    "gone": "Gone",
}
MOST_LINES = 50
DAY_NS = 86400 * 10**9


class Message:
    """One or more events, oldest first. Of an incident with several only the last is said: it has all of it."""

    def __init__(
        self,
        events: Sequence[Event],
        page: str = "",
        picture: Callable[[Event, bool], bytes | None] = lambda event, dark: None,
    ) -> None:
        self.events = tuple(events)
        self.incidents = list({event.key: event for event in events}.values())
        self._page, self._picture = page.rstrip("/"), picture

    @property
    def event(self) -> Event:
        """The only one, of notifiers that are told each event alone; else the last."""
        return self.events[-1]

    @property
    def id(self) -> str:
        """The same for the same events, and for no others."""
        ids = [f"{event.key}.{event.seq}" for event in self.events]
        return ids[0] if len(ids) == 1 and len(ids[0]) <= 200 else sha256("\n".join(ids).encode()).hexdigest()[:32]

    @property
    def level(self) -> int:
        """How bad it is now: 2 where something is critical, 0 where all is over."""
        return max(0 if event.kind in ENDS else event.level for event in self.incidents)

    @property
    def title(self) -> str:
        if len(self.incidents) == 1:
            return heading(self.event)
        counts = Counter(word(event) for event in sorted(self.incidents, key=lambda e: (e.kind in ENDS, -e.level)))
        return f"{len(self.incidents)} alarms: {', '.join(counted(*each) for each in counts.items())}"

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Of each incident what the title does not say, as heading and text; of many, the first, and how many more."""
        if len(self.incidents) == 1:
            return [("", story(self.event))]
        parts = [(f"{heading(event)}.", story(event)) for event in self.incidents]
        more = len(parts) - MOST_LINES
        return [*parts[:MOST_LINES], ("", f"… and {more} more")] if more > 0 else parts

    @property
    def link(self) -> str:
        """Where to look at it; empty where linemon.toml does not say where the page is."""
        if not self._page:
            return ""
        only = len({event.source for event in self.incidents}) == 1
        what = f"source={quote(self.event.source, '', errors='replace')}" if only else "alarms=1"
        return f"{self._page}/?{what}"

    def text(self, most: int) -> str:
        """The lines and the link in at most so many characters."""
        end = f"\n{self.link}" if self.link else ""
        text = "\n".join(" ".join(part).strip() for part in self.parts)
        return (text if len(text) + len(end) <= most else text[: most - len(end) - 1] + "…") + end

    def picture(self, dark: bool = False) -> bytes | None:
        """The chart of the incident, PNG; None of several, and where there is nothing to draw. It blocks."""
        return self._picture(self.event, dark) if len(self.incidents) == 1 else None


def word(event: Event) -> str:
    return WORDS[event.kind].format(level=LEVELS[event.level])


def counted(name: str, count: int) -> str:
    name = name if name == "OK" else name.lower()
    return f"{count} {name}{'s' if name == 'warning' and count > 1 else ''}"


def heading(event: Event) -> str:
    return f"{word(event)}: {plain(event.alarm)} on {plain(event.source)}"


def story(event: Event) -> str:
    """What happened, and since when."""
    begin = clock(event.since, event.at)
    if event.kind in ENDS:
        end = event.until or event.at
        was = f"Was {LEVELS[event.level]} {begin} to {clock(end, event.at)} {zone(end)} ({length(end - event.since)})"
        what = was if event.kind == "ok" else f"It is no longer there. {was}"
    elif event.kind == "flapping":
        what = f"It comes and goes since {begin} {zone(event.since)}. Nothing more is told until it is steady"
    else:
        what = f"Since {begin} {zone(event.since)}"
    text = plain(event.text)
    return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'} {what}, #{event.n}"


def plain(text: str) -> str:
    """In one line, and without what a terminal or a mail would take for something else."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def clock(time_ns: int, now_ns: int) -> str:
    """The local time, with the date where it was not within the last day."""
    time = datetime.fromtimestamp(time_ns / 1e9).astimezone()
    return f"{time:%H:%M}" if now_ns - time_ns < DAY_NS else f"{time:%Y-%m-%d %H:%M}"


def zone(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9).astimezone().tzname() or ""


def length(span_ns: int) -> str:
    """``20 s``, ``7 min``, ``2 h 5 min``, ``3 d 4 h``."""
    seconds = max(0, round(span_ns / 1e9))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 2:
        return f"{seconds} s"
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def cut(text: str, most: int, encoding: str = "utf-8") -> str:
    """In at most so many bytes of that encoding."""
    data = text.encode(encoding)
    return text if len(data) <= most else data[: most - 4].decode(encoding, "ignore") + "…"
