"""What can go wrong, as one small tree.

LinemonError
├── AskedWrongly     a command asks for something that cannot be
├── ConfigError      linemon.toml is wrong (also a ValueError)
├── LineError        one line of a sender is wrong; carries the reason it is counted under (also a ValueError)
└── StoreError       the store cannot be used
    ├── OtherVersion     it has another version's format
    ├── StoreGone        it was taken away under its collector
    └── UnknownSource    no source of that name (also a KeyError)
"""

from __future__ import annotations


class LinemonError(Exception):
    """The root of all errors that linemon raises on purpose."""


class AskedWrongly(LinemonError):
    """A command asks for something that cannot be, such as a time that is none."""


class ConfigError(LinemonError, ValueError):
    """A setting is unknown or wrong; the text names the key, the value and what was expected."""


class LineError(LinemonError, ValueError):
    """One line cannot be taken.

    ``reason`` is the short word that it is counted under, one of `REASONS`; the text is for a person.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class StoreError(LinemonError):
    """The store cannot be opened or holds something that linemon did not write."""


class OtherVersion(StoreError):
    """Another version of linemon wrote it: it is whole, but not for us."""


class StoreGone(StoreError):
    """The store was removed or replaced under its collector, which is to be started again: it makes a new one."""


class UnknownSource(StoreError, KeyError):
    """The store has no source of that name."""

    __str__ = Exception.__str__  # KeyError would show the repr of the text


def show(token: bytes) -> str:
    """A token as an error may quote it: printable, not too long."""
    text = repr(token.decode(errors="replace"))
    return text if len(text) <= 60 else text[:56] + "...'"


# Every reason a line may be rejected for, and what it means to the sender.
REASONS = {
    "number": "a token is not a number of the line language",
    "time": "a token is not a time, or lies before 1970 or beyond int64 nanoseconds",
    "tokens": "more or fewer tokens than the kind of line or its columns ask for",
    "syntax": "an Influx line or a JSON point that is not one",
    "fields": "an Influx line without a numeric field",
    "columns": "the columns do not fit the source",
    "name": "not a valid name of a source or a column, or not a valid unit",
    "text": "not UTF-8",
    "length": "longer than max_line, or than max_body by HTTP",
    "token": "no token, or one that does not open this source",
    "max_sources": "one source more than max_sources",
    "device": "of a device that was refused, or to a source that takes its registered device's rows only",
    "sequence": "on a connection that numbers its lines: no row of its source, or after a #seq that was refused",
    "mark": "a #mark without a text, or with one that is too long, or too many a second",
    "store_full": "no room left in the store's folder",
    "comment": "not rejected: a comment that looks like a directive",
    "protocol": "the peer speaks HTTP or TLS, not lines",
}
