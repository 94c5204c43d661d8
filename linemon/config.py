"""linemon.toml as frozen dataclasses: a section is a class, a key is a field, a default stands here once.

linemon.toml at the top of the project is the reference for people; a test holds the two together.
"""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from linemon.access import ANY_SOURCE, Tokens
from linemon.errors import ConfigError
from linemon.homes import expanded
from linemon.ports import MODES, Networks, UdpConfig, UnixConfig
from linemon.ports import Address as Address
from linemon.sections import (
    AlarmsConfig,
    DevicesConfig,
    HistoryConfig,
    QuietConfig,
    TaskConfig,
    TasksConfig,
    TokenConfig,
    WorkConfig,
)
from linemon.settings import Origins, section

FILE = "linemon.toml"


def default_folder() -> Path:
    """The store when none is configured: in memory where the system has such a place, one per user."""
    memory = Path("/dev/shm")  # noqa: S108  a folder of our own in it, which its writer checks
    return (memory if memory.is_dir() else Path(tempfile.gettempdir())) / f"linemon-{os.getuid()}"


@dataclass(frozen=True)
class StoreConfig:
    path: str = ""
    points: int = 3600
    max_sources: int = 10000
    max_columns: int = 1000
    forget_after: float = 604800.0
    sync: float = 30.0
    readable_by: str = "owner"

    def __post_init__(self) -> None:
        if self.readable_by not in MODES:
            raise ConfigError(f"[store] readable_by = {self.readable_by!r}: expected one of: {', '.join(MODES)}")

    @property
    def mode(self) -> int:
        """What the store's folder lets whom do; its files the same, but for being run."""
        return MODES[self.readable_by]

    @property
    def folder(self) -> Path:
        return expanded("[store] path", self.path) if self.path else default_folder()


@dataclass(frozen=True)
class TlsConfig:
    cert: str = ""
    key: str = ""
    client_ca: str = ""


@dataclass(frozen=True)
class TcpConfig:
    listen: Address = Address("127.0.0.1", 4000)
    token: str = ""
    max_line: int = 65536
    max_connections: int = 10000
    max_per_peer: int = 1000
    idle_timeout: float = 300.0
    tls: bool = False
    allow: Networks = ()
    allow_open: bool = False


@dataclass(frozen=True)
class HttpConfig:
    listen: Address = Address("127.0.0.1", 8080)
    max_body: int = 1048576
    max_write_body: int = 25000000
    max_metrics: int = 10000
    max_connections: int = 1000
    max_per_peer: int = 100
    idle_timeout: float = 300.0
    tls: bool = False
    allow: Networks = ()
    allow_origins: Origins = ()
    allow_open: bool = False

    @property
    def reads_are_open(self) -> bool:
        """Whether reading asks for no token."""
        return self.listen.is_loopback or self.allow_open


@dataclass(frozen=True)
class TapConfig:
    listen: Address = Address("127.0.0.1", 1027)
    source: str = ""
    columns: tuple[str, ...] = ()
    allow: Networks = ()
    allow_open: bool = False


@dataclass(frozen=True)
class PanelConfig:
    """One chart on the pages of some sources."""

    title: str = ""
    source: str = ""
    columns: tuple[str, ...] = ()
    kind: str = "lines"
    limits: tuple[float, ...] = ()
    warn: float | None = None
    crit: float | None = None

    def __post_init__(self) -> None:
        where = f"[[dashboard.panel]] {self.title!r}"
        if not self.columns:
            raise ConfigError(f'{where}: columns = []: expected a list of patterns such as ["net.*.rx_bytes_per_s"]')
        if self.kind not in PANEL_KINDS:
            raise ConfigError(f"{where}: kind = {self.kind!r}: expected one of: {', '.join(PANEL_KINDS)}")
        if self.limits and not (len(self.limits) == 2 and self.limits[0] < self.limits[1]):
            raise ConfigError(f"{where}: limits = {list(self.limits)}: expected [least, greatest], or [] for none")


PANEL_KINDS = ("lines", "step", "stacked", "mirrored")


@dataclass(frozen=True)
class DashboardConfig:
    listen: Address = Address("127.0.0.1", 5006)
    password: str = ""
    prefix: str = ""
    allow_origins: Origins = ()
    allow_open: bool = False
    archive: str = field(default="", repr=False)
    state: str = ""
    boards: str = ""
    panel: tuple[PanelConfig, ...] = ()

    @property
    def path(self) -> str:
        """Where the page is on its port: ``/``, or ``/linemon/`` below a prefix."""
        prefix = self.prefix.strip("/")
        return f"/{prefix}/" if prefix else "/"

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        return f"http://{self.listen.from_here}{self.path}"


@dataclass(frozen=True)
class AgentConfig:
    to: Address = Address("127.0.0.1", 4000)
    name: str = ""
    token: str = ""
    interval: float = 1.0
    subsamples: int = 1
    groups: tuple[str, ...] = ()
    spool: str = ""
    spool_bytes: int = 16777216
    spool_age: float = 86400.0
    tls: bool = False
    ca: str = ""
    cert: str = ""

    @property
    def source(self) -> str:
        """The name under which this machine's agent sends."""
        return self.name or os.uname().nodename


@dataclass(frozen=True)
class Config:
    """Everything that can be set; ConfigError when made with settings that must not stand together."""

    store: StoreConfig = StoreConfig()
    tcp: TcpConfig = TcpConfig()
    http: HttpConfig = HttpConfig()
    tap: tuple[TapConfig, ...] = (TapConfig(),)
    token: tuple[TokenConfig, ...] = ()
    udp: UdpConfig = UdpConfig()
    unix: UnixConfig = UnixConfig()
    tls: TlsConfig = TlsConfig()
    dashboard: DashboardConfig = DashboardConfig()
    agent: AgentConfig = AgentConfig()
    work: WorkConfig = WorkConfig()
    history: HistoryConfig = HistoryConfig()
    tasks: TasksConfig = TasksConfig()
    task: tuple[TaskConfig, ...] = ()
    alarms: AlarmsConfig = AlarmsConfig()
    alarm: tuple[dict[str, Any], ...] = ()  # as they stand there: parts/alarms/rules.py lays them over those it ships
    quiet: tuple[QuietConfig, ...] = ()
    devices: DevicesConfig = DevicesConfig()
    notify: tuple[dict[str, Any], ...] = field(default=(), repr=False)  # as they stand there: parts/alarms/notifiers
    forward: tuple[dict[str, Any], ...] = field(default=(), repr=False)  # parts/forward/targets
    subscribe: tuple[dict[str, Any], ...] = field(default=(), repr=False)  # parts/subscribe/origins
    file: Path | None = field(default=None, metadata={"internal": True})

    def __post_init__(self) -> None:
        for title, port in self.ports():
            way_out, knows_peers = "", False
            if isinstance(port, TcpConfig | HttpConfig | UdpConfig):
                way_out, knows_peers = "set [tcp] token, or ", self.knows_peers(port)
                if port.tls and not self.tls.cert:
                    raise ConfigError(f"{title} tls = true needs [tls] cert, and key where cert does not hold it")
            elif isinstance(port, DashboardConfig):
                way_out, knows_peers = "set a password, or ", bool(port.password)
            if port.listen is None or port.listen.is_loopback or port.allow_open or knows_peers:
                continue
            raise ConfigError(
                f"{title} listen = {str(port.listen)!r} lets other machines in without a token: "
                f"{way_out}set allow_open = true in {title}"
            )

    def knows_peers(self, port: TcpConfig | HttpConfig | UdpConfig) -> bool:
        """Whether whoever writes must say who they are: by a token, or by a certificate."""
        return bool(self.tcp.token or self.token or (port.tls and self.tls.client_ca))

    @property
    def state_folder(self) -> Path:
        """Where parts keep what must outlive a reboot: beside a store on disk, else in the user's own place."""
        if not self.work.state and self.store.path:
            return self.store.folder
        home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return expanded("[work] state", self.work.state or os.path.join(home, "linemon"))

    def tokens(self, key: str = "") -> Tokens:
        """All tokens, those in files as they are now, and the key of parts. ConfigError where one cannot be read."""
        every = [(self.tcp.token, ANY_SOURCE)] if self.tcp.token else []
        said = [(token.read(), token) for token in self.token]
        more = [(secret, token.sources) for secret, token in said]
        admins, enrolling = ([secret for secret, token in said if getattr(token, to)] for to in ("admin", "enrols"))
        return Tokens(every + more, key, admins, enrolling, self.devices.patterns)

    @property
    def devices_folder(self) -> Path:
        """Where devices.json is: of devices that get tokens of their own it must outlive a reboot."""
        if self.devices.path:
            return expanded("[devices] path", self.devices.path)
        return self.state_folder if any(token.enrols for token in self.token) else self.store.folder

    @property
    def dashboard_state(self) -> Path:
        """The file of what people change on the page."""
        named = expanded("[dashboard] state", self.dashboard.state) if self.dashboard.state else None
        return named or self.state_folder / "dashboard.json"

    @property
    def boards_folder(self) -> Path:
        """Where the boards of the page are."""
        named = expanded("[dashboard] boards", self.dashboard.boards) if self.dashboard.boards else None
        return named or self.dashboard_state.parent / "boards"

    def ports(self) -> list[tuple[str, TcpConfig | UdpConfig | HttpConfig | TapConfig | DashboardConfig]]:
        """The sections that listen, or could."""
        return [
            ("[tcp]", self.tcp),
            ("[udp]", self.udp),
            ("[http]", self.http),
            *(("[[tap]]", tap) for tap in self.tap),
            ("[dashboard]", self.dashboard),
        ]


LISTS: dict[str, Any] = {"tap": TapConfig, "token": TokenConfig, "task": TaskConfig, "quiet": QuietConfig}
LISTS |= dict.fromkeys(("alarm", "notify", "forward", "subscribe"), dict)  # taken as they stand


def find(path: Path | None = None) -> Path | None:
    """The file in force: the one given, else the one here, else the user's, else none (built-in defaults)."""
    if path is not None:
        return path
    home = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))  # as it is where there is no home
    return next((file for file in (Path(FILE), home / "linemon" / FILE) if file.is_file()), None)


def load(path: Path | None = None, *, secrets: bool = True) -> Config:
    """Read the settings in force; ConfigError names the key, the value and what was expected.

    `secrets`: whether each ``${VAR}`` must be in the environment; who only reads the store needs no token.
    """
    if (file := find(path)) is None:
        return Config()
    try:
        tables = tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error
    try:
        return _config({name: _filled(f"[{name}]", table, secrets) for name, table in tables.items()}, file)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _config(tables: dict[str, Any], file: Path) -> Config:
    hints = get_type_hints(Config)
    known = {f.name for f in fields(Config) if not f.metadata}
    sections: dict[str, Any] = {}
    for name, table in tables.items():
        if name not in known:
            raise ConfigError(f"unknown section [{name}]; expected one of: {', '.join(sorted(known))}")
        if name in LISTS:
            if not isinstance(table, list):
                raise ConfigError(f"[{name}] must be written [[{name}]]: there may be several")
            of = LISTS[name]
            sections[name] = tuple(each if of is dict else section(of, f"[[{name}]]", each) for each in table)
        elif isinstance(table, dict):
            sections[name] = section(hints[name], f"[{name}]", table)
        else:
            raise ConfigError(f"{name} = {table!r}: expected a section [{name}]")
    return Config(**sections, file=file)


def _filled(key: str, value: Any, secrets: bool) -> Any:
    """The value with each ``${VAR}`` in its strings from the environment; it may be absent where not `secrets`."""
    if isinstance(value, dict):
        return {name: _filled(f"{key} {name}", each, secrets) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(key, each, secrets) for each in value]
    if not isinstance(value, str):
        return value

    def found(match: re.Match[str]) -> str:
        if match[1] not in os.environ and secrets:
            raise ConfigError(f"{key}: the environment has no variable {match[1]}")
        return os.environ.get(match[1], match[0])

    return re.sub(r"\$\{(\w+)\}", found, value)
