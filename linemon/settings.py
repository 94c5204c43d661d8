"""What stands in a section of linemon.toml -> the fields of its dataclass, whose types say what is expected."""

from __future__ import annotations

from dataclasses import is_dataclass
from ipaddress import ip_network
from math import isfinite
from typing import Any, TypeVar, get_args, get_type_hints

from linemon.access import Origin
from linemon.errors import ConfigError
from linemon.ports import Address, Networks
from linemon.sections import Names, Required, Span

Origins = tuple[Origin, ...]
Section = TypeVar("Section")


def section(cls: type[Section], title: str, table: dict[str, Any]) -> Section:
    """A section's dataclass from what stands in it; ConfigError. A field `for_` is the key ``for``."""
    hints = {name.rstrip("_"): (name, kind) for name, kind in get_type_hints(cls).items()}
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise ConfigError(f"{title} {key}: unknown setting; expected one of: {', '.join(hints)}")
        name, kind = hints[key]
        values[name] = _value(f"{title} {key}", kind, value)
    return cls(**values)


def _value(key: str, kind: Any, value: Any) -> Any:
    """The value as its field's type. ConfigError names the key, and the value where it is no secret."""
    if kind is Required and isinstance(value, bool):
        return value
    if kind in PLAIN and isinstance(value, PLAIN[kind]):
        return value
    if kind in (int, float) and not isinstance(value, bool) and isinstance(value, (int, kind)):
        if 0 < value < float("inf"):
            return kind(value)
    elif kind in (Address, Address | None) and isinstance(value, str):
        try:
            return Address.parse(value) if value or kind is Address else None
        except ValueError:
            pass
    elif kind in PARSED and isinstance(value, list):
        try:
            return tuple(map(PARSED[kind], value))
        except (ValueError, AttributeError, TypeError):
            pass
    elif kind in STRINGS and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    elif kind == float | None and _is_finite(value):
        return float(value)
    elif kind == tuple[float, ...] and isinstance(value, list) and all(_is_finite(each) for each in value):
        return tuple(map(float, value))
    elif kind == tuple[int, ...] and isinstance(value, list) and {*map(type, value)} <= {int}:
        return tuple(value)
    elif kind == Names and isinstance(value, str):
        return (value,)
    elif kind in (Span, Span | None):
        if kind != Span and value in (0, "0s", "never"):
            return None
        try:
            return Span.parse(value)
        except ValueError:
            pass
    elif (of := nested(kind)) and isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return tuple(section(of, sections_of(key), each) for each in value)
    shown = "..." if key.rpartition(" ")[2] in SECRETS else repr(value)
    raise ConfigError(f"{key} = {shown}: expected {EXPECTED.get(kind) or f'sections {sections_of(key)}'}")


def sections_of(key: str) -> str:
    """``[dashboard] panel`` -> ``[[dashboard.panel]]``, ``[[subscribe]] map`` -> ``[[subscribe.map]]``."""
    return "[[" + key.strip("[").replace("]] ", ".").replace("] ", ".") + "]]"


def nested(kind: Any) -> Any:
    """The dataclass of sections within one: of the type ``tuple[PanelConfig, ...]`` that is PanelConfig."""
    first = next(iter(get_args(kind)), None)
    return first if is_dataclass(first) else None


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


PARSED: dict[Any, Any] = {Networks: ip_network, Origins: Origin.parse}
PLAIN: dict[Any, Any] = {bool: bool, str: str, dict[str, Any]: dict}
STRINGS = (tuple[str, ...], tuple[str, ...] | None, Names, Required)
EXPECTED: dict[Any, str] = {
    bool: "true or false",
    str: "a string in quotes",
    dict[str, Any]: 'a table such as { step = "1h" }',
    int: "a whole number above 0",
    float: "a number above 0",
    float | None: "a number",
    Address: 'an address such as "127.0.0.1:4000"',
    Address | None: 'an address such as "127.0.0.1:8094", or "" for none',
    Networks: 'a list of networks such as ["10.0.0.0/8", "fd00::/8"]',
    Origins: 'a list of sites such as ["lab.example", "lab.example:8443", "https://lab.example:8443"]',
    tuple[str, ...]: 'a list of strings such as ["a", "b"]',
    tuple[str, ...] | None: 'a list of strings such as ["a", "b"]',
    Names: 'a string in quotes, or a list of strings such as ["a*", "!a1"]',
    tuple[int, ...]: "a list of whole numbers such as [123456]",
    tuple[float, ...]: "a list of numbers such as [0, 100]",
    Required: 'true or false, or a list of strings such as ["web*"]',
    Span: 'a span such as "10s", "15m", "30d", or a number of seconds above 0',
    Span | None: 'a span such as "10s", "15m", "30d", a number of seconds, or "0s" for none',
}


# Keys whose values no error shows.
SECRETS = ("token", "password", "secret", "url", "urls", "heartbeat", "argv", "archive")
