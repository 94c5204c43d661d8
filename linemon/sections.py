"""Sections of linemon.toml: tokens, devices, and those for what `linemon work` runs. The others are in config.py."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from linemon.access import ANY_SOURCE
from linemon.errors import ConfigError
from linemon.homes import expanded
from linemon.ports import Address

UNITS_S: Final = {"y": 31536000, "w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
SPAN: Final = re.compile("".join(rf"(?:(\d{{1,9}}(?:\.\d{{1,9}})?){unit})?" for unit in UNITS_S), re.ASCII)
WEB: Final = re.compile(r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/[!-~]*)?")  # an address
MAX_STEPS: Final = 25  # a tier's step in steps of the one before: so many of its rows a window may have to reduce


class Span(float):
    """A time in seconds, written as `text`: the largest unit of which it is a whole number."""

    @classmethod
    def parse(cls, said: Any) -> Span:
        """From a number of seconds, or a string such as ``1h30m``; ValueError if it is neither, or not above 0."""
        if isinstance(said, str):
            if not (parts := SPAN.fullmatch(said)):
                raise ValueError(said)
            lengths = zip(parts.groups(), UNITS_S.values(), strict=True)
            said = float(sum(Fraction(count) * length for count, length in lengths if count))
        if isinstance(said, bool) or not isinstance(said, (int, float)) or not (isfinite(said) and said > 0):
            raise ValueError(said)
        return cls(said)

    @property
    def ns(self) -> int:
        return round(self * 10**9)

    @property
    def text(self) -> str:
        """``90s``, ``1m``, ``15m``, ``2d``: a name of a folder, too."""
        unit = next((unit for unit in "dhm" if self % UNITS_S[unit] == 0), "s")
        return f"{self / UNITS_S[unit]:g}{unit}"


@dataclass(frozen=True)
class TokenConfig:
    secret: str = ""
    file: str = ""
    sources: tuple[str, ...] = ANY_SOURCE
    admin: bool = False
    enrols: bool = False

    def __post_init__(self) -> None:
        if bool(self.secret) == bool(self.file):
            raise ConfigError("[[token]] needs either a secret or a file that holds it")

    def read(self) -> str:
        """The secret, as the file holds it now. ConfigError where there is none."""
        try:
            secret = self.secret or expanded("[[token]] file", self.file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"[[token]] file = {self.file!r}: {getattr(error, 'strerror', '') or error}") from error
        if not secret or not secret.isprintable():
            raise ConfigError(f"[[token]] file = {self.file!r}: expected a secret in one line")
        return secret


Required = bool | tuple[str, ...]  # patterns of sources; true: of all
NO_OUTPUTS: Final = "!*~*"  # nor `linemon.…`, of which a wildcard does not speak


@dataclass(frozen=True)
class DevicesConfig:
    path: str = ""
    name: str = "{product}.{serial}"
    specs: str = ""
    required: Required = False
    max_devices: int = 10000

    def __post_init__(self) -> None:
        try:
            first, second = (self.name.format(product="p", serial=serial) for serial in "12")
        except (ValueError, LookupError, AttributeError, TypeError):
            first = second = ""
        if first == second or not first.isprintable():
            raise ConfigError(f'[devices] name = {self.name!r}: expected a name such as "{{product}}.{{serial}}"')

    @property
    def patterns(self) -> tuple[str, ...]:
        """Of the sources that only their registered devices write."""
        named = ("*",) * self.required if isinstance(self.required, bool) else self.required
        return (*named, NO_OUTPUTS) if named else ()

    @property
    def specs_folder(self) -> Path | None:
        return expanded("[devices] specs", self.specs) if self.specs else None


@dataclass(frozen=True)
class WorkConfig:
    enabled: bool = True
    state: str = ""
    to: Address | None = None
    token: str = ""
    tls: bool = False
    ca: str = ""
    cert: str = ""

    def __post_init__(self) -> None:
        if (self.tls or self.ca) and not self.to:
            raise ConfigError("[work] tls and ca go with to: this file's own collector is known by its certificate")


@dataclass(frozen=True)
class TierConfig:
    """Buckets of one length: how long they are, and how long they are kept."""

    step: Span = Span(60)
    keep: Span = Span(172800)
    sources: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if self.step % 1:
            raise ConfigError(f"[[history.tier]] step = {self.step:g}: expected whole seconds")
        if self.keep < 2 * self.step:
            raise ConfigError(f"[[history.tier]] keep = {self.keep.text!r}: expected two of {self.step.text} or more")

    @property
    def points(self) -> int:
        """How many buckets are kept."""
        return -int(-self.keep // self.step)


IN_MEMORY = (TierConfig(),)
ON_DISK = tuple(
    TierConfig(Span.parse(step), Span.parse(keep))
    for step, keep in (("10s", "1d"), ("1m", "30d"), ("15m", "2y"), ("6h", "10y"))
)


@dataclass(frozen=True)
class HistoryConfig:
    enabled: bool = True
    path: str = ""
    every: Span = Span(10)
    grace: Span = Span(2)
    share: float = 0.25
    tier: tuple[TierConfig, ...] = ()

    def __post_init__(self) -> None:
        for finer, coarser in zip(self.tier, self.tier[1:], strict=False):
            steps = coarser.step / finer.step
            if steps % 1 or not 1 < steps <= MAX_STEPS:
                raise ConfigError(
                    f"[[history.tier]] step = {coarser.step.text!r} after {finer.step.text!r}: expected the finest "
                    f"first, and each step 2 to {MAX_STEPS} times the one before, a whole number of them"
                )
        if self.share > 1:
            raise ConfigError(f"[history] share = {self.share:g}: expected a number above 0, at most 1")

    @property
    def tiers(self) -> tuple[TierConfig, ...]:
        """What is kept, the finest first."""
        return self.tier or (ON_DISK if self.path else IN_MEMORY)

    def folder(self, store: Path) -> Path:
        """Where the tiers lie, of the store in this folder."""
        return expanded("[history] path", self.path) if self.path else store / "history"


Names = str | tuple[str, ...]  # one, or a list of them
NO_DATA: Final = ("keep", "ok", "alarm")


@dataclass(frozen=True)
class AlarmsConfig:
    enabled: bool = True
    state: str = ""
    late: Span = Span(60)
    flap: int = 4
    flap_quiet: Span = Span(1800)
    max_instances: int = 20000
    group_wait: Span = Span(10)
    max_per_hour: int = 30
    heartbeat: str = field(default="", repr=False)
    page: str = ""

    def __post_init__(self) -> None:
        for key in ("heartbeat", "page"):
            if (url := getattr(self, key)) and not WEB.fullmatch(url):
                raise ConfigError(
                    f'[alarms] {key}: expected an address such as "https://lab.example/x", or "" for none'
                )


@dataclass(frozen=True)
class AlarmConfig:
    """One [[alarm]]; what its texts mean, linemon/parts/alarms/rules.py says. A span of None: none."""

    name: str = ""
    source: Names = ("*",)
    columns: Names = ()
    having: str = ""
    devices: bool = False
    value: str = "last()"
    warning: str = ""
    critical: str = ""
    clear: str = ""
    only_if: str = ""
    critical_if: str = ""
    for_: Span | None = None
    keep: Span | None = None
    no_data: str = "keep"
    no_data_after: Span | None = None
    repeat: Span | None = None
    needs: str = ""
    notify: tuple[str, ...] | None = None
    text: str = ""
    unit: str = ""
    once: bool = False
    enabled: bool = True

    def __post_init__(self) -> None:
        if self.no_data not in NO_DATA:
            raise ConfigError(f"no_data = {self.no_data!r}: expected one of: {', '.join(NO_DATA)}")
        if self.repeat is not None and self.repeat < 60:
            raise ConfigError(f"repeat = {self.repeat.text!r}: expected 'never', or a span of 1m or more")


DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BELOW: Final = ("critical", "all")


@dataclass(frozen=True)
class QuietConfig:
    """Hours in which messages wait; `zone` empty: the collector's own."""

    days: str = "mon-sun"
    from_: str = ""
    to: str = ""
    below: str = "critical"
    source: Names = ("*",)
    alarm: Names = ("*",)
    zone: str = ""

    def __post_init__(self) -> None:
        for key, value in (("from", self.from_), ("to", self.to)):
            if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
                raise ConfigError(f"[[quiet]] {key} = {value!r}: expected a time of day such as '22:00'")
        if self.below not in BELOW:
            raise ConfigError(f"[[quiet]] below = {self.below!r}: expected one of: {', '.join(BELOW)}")
        if not self.weekdays:
            raise ConfigError(f"[[quiet]] days = {self.days!r}: expected days such as 'mon-fri' or 'sat,sun'")
        check_zone("[[quiet]]", self.zone)

    @property
    def weekdays(self) -> frozenset[int]:
        return weekdays(self.days)


def weekdays(said: str) -> frozenset[int]:
    """Of ``mon-fri`` or ``sat,sun``; Monday is 0. Empty where it is neither."""
    found: set[int] = set()
    for part in said.split(","):
        first, _, last = part.strip().partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            return frozenset()
        at, end = DAYS.index(first), DAYS.index(last or first)
        found |= {day % 7 for day in range(at, (end if end >= at else end + 7) + 1)}
    return frozenset(found)


def check_zone(where: str, zone: str) -> None:
    """ConfigError unless it is one, or empty."""
    try:
        ZoneInfo(zone or "UTC")
    except (ValueError, OSError, KeyError):
        raise ConfigError(f"{where} zone = {zone!r}: expected a zone such as 'Europe/Berlin'") from None


@dataclass(frozen=True)
class TasksConfig:
    enabled: bool = True
    workers: int = 1
    dask: str = ""
    allow_open: bool = False
    state: str = ""
    budget: float = 0.05
    save: Span = Span(60)
    memory: int = 536870912

    def __post_init__(self) -> None:
        if self.budget > 1:
            raise ConfigError(f"[tasks] budget = {self.budget:g}: expected a number above 0, at most 1")
        if not self.dask:
            return
        if not (found := CLUSTER.fullmatch(self.dask)):
            raise ConfigError(f"[tasks] dask = {self.dask!r}: expected an address such as 'tcp://127.0.0.1:8786'")
        if found[1] == "tcp" and not self.allow_open and not Address.parse(found[2]).is_loopback:
            raise ConfigError(
                f"[tasks] dask = {self.dask!r} sends code and rows over the net for everybody to read and change: "
                "use tls://, or set allow_open = true in [tasks]"
            )


CLUSTER: Final = re.compile(r"(tcp|tls)://((?:[\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})")


@dataclass(frozen=True)
class TaskConfig:
    """One [[task]]; what its strings mean, linemon/parts/tasks/plan.py says."""

    name: str = ""
    run: str = ""
    inputs: tuple[str, ...] = ()
    when: str = ""
    zone: str = ""
    over: Span = Span(1209600)
    timeout: Span = Span(60)
    after: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    enabled: bool = True


PLACE: Final = re.compile(r"\{(\w+)(\.\.\.)?\}")
PAYLOADS: Final = ("auto", "number", "json", "influx", "lines")
TEXTS: Final = {"on": 1, "off": 0, "online": 1, "offline": 0, "true": 1, "false": 0}


@dataclass(frozen=True)
class MapConfig:
    """One [[subscribe.map]]: topics of one shape, and how they become lines."""

    topic: str = ""
    source: str = ""
    payload: str = "auto"
    time: str = ""
    skip: tuple[str, ...] = ()
    texts: dict[str, Any] = field(default_factory=TEXTS.copy)
    retained: bool = False

    def __post_init__(self) -> None:
        where, places = f"[[subscribe.map]] {self.topic!r}", PLACE.findall(self.topic)
        levels = self.topic.split("/")
        wrong = [each for each in levels if set("{}+#") & set(each) and not PLACE.fullmatch(each)]
        if not self.topic or wrong or any("..." in each for each in levels[:-1]):
            raise ConfigError(f"{where}: expected levels that are words or {{x}}, the last one perhaps {{x...}}")
        unknown = {name for name, _ in PLACE.findall(self.source)} - {name for name, _ in places}
        if unknown or not (self.source or self.payload in ("influx", "lines")):
            raise ConfigError(
                f"{where} source = {self.source!r}: expected a name, with {{x}} for what stands in `topic`"
            )
        if self.payload not in PAYLOADS:
            raise ConfigError(f"{where} payload = {self.payload!r}: expected one of: {', '.join(PAYLOADS)}")
        for text, value in self.texts.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(f"{where} texts: {text} = {value!r}: expected a number")
