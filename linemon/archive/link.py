"""Connections to an archive: its address, sessions, and what their errors mean. Names as PostgreSQL takes them."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from linemon.errors import LinemonError, StoreError

if TYPE_CHECKING:
    import psycopg

SCHEMES: Final = ("postgresql", "postgres")
SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
NAME_BYTES: Final = 63  # of a name in PostgreSQL
CONNECT_S: Final = 10
# A host that vanishes keeps its session, and with it the lock, no longer than a minute.
ALIVE: Final = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}


class ArchiveAway(StoreError):
    """It cannot be reached, or the connection broke: later it may be there again."""


class ArchiveRefuses(StoreError):
    """It is there and does not let us: somebody must do something."""


@dataclass(frozen=True)
class Place:
    """Where an archive is: `url` for libpq, and the schema of its tables."""

    url: str = field(repr=False)
    schema: str

    @classmethod
    def parse(cls, url: str, user: str = "", password: str = "") -> Place:
        """From ``postgresql://user:password@host/db?schema=linemon&sslmode=require``; ValueError says what is wrong."""
        parts = urlsplit(url)
        said = parse_qsl(parts.query, keep_blank_values=True)
        schema = dict(said).get("schema", "linemon")
        if parts.scheme not in SCHEMES or not SCHEMA.fullmatch(schema):
            raise ValueError("expected postgresql://HOST/DATABASE, and as schema= small letters, digits and _")
        info, _, hosts = parts.netloc.rpartition("@")
        if user:
            info = quote(user, "") + (f":{quote(password, '')}" if password else "")
        query = urlencode([(key, value) for key, value in said if key != "schema"])
        netloc = f"{info}@{hosts}" if info else hosts
        return cls(parts._replace(netloc=netloc, query=query).geturl(), schema)

    def __str__(self) -> str:
        """Without user, password, and what else there is."""
        parts = urlsplit(self.url)
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def doubts(self) -> list[str]:
        """For `linemon check`: what is allowed and perhaps not meant."""
        parts = urlsplit(self.url)
        is_near = parts.hostname in (None, "localhost", "127.0.0.1", "::1")
        is_sure = dict(parse_qsl(parts.query)).get("sslmode") == "verify-full"
        return (
            [] if is_near or is_sure else [f"{self} is not asked who it is: ?sslmode=verify-full would have it say so"]
        )

    def cleaned(self, text: str) -> str:
        """The text of an error in one line, without the user and the password that it may have in it."""
        info = urlsplit(self.url).netloc.rpartition("@")[0]
        user, _, password = info.partition(":")
        for secret, shown in ((unquote(password), "***"), (password, "***"), (f'"{unquote(user)}"', '"***"')):
            text = text.replace(secret, shown) if secret.strip('"') else text
        return " ".join(text.split())[:300]


def quoted(name: str) -> str:
    """A name of a table or a column as SQL has it. One of too many bytes ends in ``~`` and its checksum."""
    data = name.encode()
    if len(data) > NAME_BYTES:
        name = data[: NAME_BYTES - 9].decode(errors="ignore") + f"~{zlib.crc32(data):08x}"
    return '"' + name.replace('"', '""') + '"'


def number(text: str) -> int:
    """A number of 32 bits, signed, for a text: the keys of advisory locks."""
    return int.from_bytes(zlib.crc32(text.encode()).to_bytes(4), signed=True)


def connect(place: Place, **settings: int | str) -> psycopg.Connection[Any]:
    """A session that commits each statement. ArchiveAway, ArchiveRefuses; LinemonError without psycopg."""
    try:
        import psycopg  # an optional extra: only who has an archive needs it
    except ImportError:
        raise LinemonError(f"an archive needs psycopg: {sys.executable} -m pip install 'psycopg[binary]'") from None
    with translated(place):
        connection = psycopg.connect(
            place.url,
            autocommit=True,
            connect_timeout=CONNECT_S,
            client_encoding="utf8",
            application_name="linemon",
            prepare_threshold=None,  # a pooler may give us another session each time
        )
        wanted = {"timezone": "UTC", "datestyle": "ISO", **ALIVE, **settings}
        for name, value in wanted.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
        encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise ArchiveRefuses(f"{place}: the database is {encoding}: expected UTF8")
    return connection


@contextmanager
def translated(place: Place) -> Iterator[None]:
    """Errors of psycopg as ours."""
    import psycopg
    from psycopg import errors

    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise ArchiveRefuses(
            f"{place}: {place.cleaned(str(error))}: GRANT CREATE ON DATABASE, or on its schemas, to this user"
        ) from None
    except psycopg.OperationalError as error:  # includes what a server says that is full, stops, or waits too long
        refuses = re.search(r"password|role .* does not exist|database .* does not exist|pg_hba", str(error))
        kind = ArchiveRefuses if refuses else ArchiveAway
        raise kind(f"{place}: {place.cleaned(str(error))}") from None
    except psycopg.Error as error:
        raise StoreError(f"{place}: {place.cleaned(str(error))}") from None


def psycopg_error() -> type[Exception]:
    """What psycopg raises."""
    import psycopg

    return psycopg.Error
