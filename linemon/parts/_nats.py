"""NATS JetStream as a bus of blocks of lines: what the forward that fills it and the subscription share.

A bus is STREAM, of so many partitions: the streams STREAM-0, STREAM-1 … with a subject STREAM.0, STREAM.1 … each. A
source is always in the same one of them, so the number of partitions never changes; each stream's metadata says it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote
from zlib import crc32

from linemon.parts._far import Away, Denied
from linemon.parts._secrets import bare, split
from linemon.ports import Address
from linemon_sender.tls import Tls

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js.api import StreamInfo

SECRET: Final = ("password", "token")
PORT: Final = 4222
STREAM: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
SERVER: Final = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(:(\d+))?")
PARTITIONS: Final = "linemon-partitions"  # the key in the metadata of a stream
ONE_SERVER: Final = 10074  # the server's code for: it keeps one replica only
RECONNECT_S: Final = 0.25

Found = TypeVar("Found")


@dataclass(frozen=True)
class Access:
    """The keys of linemon.toml that say who we are to a bus, and whom we trust."""

    user: str = ""
    password: str = ""
    token: str = ""
    creds: str = ""
    ca: str = ""


class Bus(NamedTuple):
    """A bus by its address, ``nats://USER:PASSWORD@HOST:4222,HOST:4222/STREAM``; ``natss://`` is TLS."""

    servers: tuple[Address, ...]
    stream: str
    user: str = ""
    password: str = ""
    is_tls: bool = False

    @classmethod
    def parse(cls, key: str, text: str) -> Bus:
        """ValueError where the setting of this key is no such address."""
        try:
            login, hosts, path, query = split(text)
            said, stream = [SERVER.fullmatch(each) for each in hosts.split(",")], path.strip("/")
            if not all(said) or not STREAM.fullmatch(stream) or query:
                raise ValueError
            servers = tuple(Address.parse(f"{each[1]}:{each[3] or PORT}") for each in said if each)
        except ValueError:
            raise ValueError(
                f"{key} = {bare(text)!r}: expected an address such as 'nats://a:4222,b:4222/STREAM', STREAM of 1 to "
                "64 letters, digits, _ or -"
            ) from None
        user, _, password = login.partition(":")
        return cls(servers, stream, unquote(user), unquote(password), text.startswith("natss:"))

    def name(self, partition: int) -> str:
        """The stream of a partition."""
        return f"{self.stream}-{partition}"

    def subject(self, partition: int) -> str:
        return f"{self.stream}.{partition}"


def partition_of(source: str, partitions: int) -> int:
    """Where a source is, by its name over there."""
    return crc32(source.encode()) % partitions


def doubts(bus: Bus, settings: Access) -> list[str]:
    """For `linemon check`. ImportError where the library is not there."""
    import nats  # noqa: F401

    is_secret = bus.is_tls or all(server.is_loopback for server in bus.servers)
    if (settings.password or settings.token or bus.password) and not is_secret:
        return [f"it sends its password or token to {bus.servers[0].host} without tls: others may read it"]
    return []


async def connect(bus: Bus, settings: Access, seconds: float) -> Client:
    """A connection that finds another server by itself.

    Away, Denied; ImportError where the library is not there.
    """
    import nats
    from nats.errors import AuthorizationError

    scheme = "tls" if bus.is_tls else "nats"
    options: dict[str, Any] = {}
    if bus.is_tls:
        try:
            options["tls"] = Tls("", settings.ca).context()
        except OSError as error:
            raise Away(error.strerror or str(error)) from None
    if user := settings.user or bus.user:
        options |= {"user": user, "password": settings.password or bus.password}
    if settings.token:
        options["token"] = settings.token
    if settings.creds:
        options["user_credentials"] = settings.creds
    last: list[Exception] = []

    async def heed(error: Exception) -> None:  # else the library logs tracebacks
        last[:] = [error]

    async def nothing() -> None:
        pass

    making = nats.connect(
        [f"{scheme}://{server}" for server in bus.servers],
        name="linemon",
        error_cb=heed,
        disconnected_cb=nothing,
        reconnected_cb=nothing,
        closed_cb=nothing,
        connect_timeout=2,
        reconnect_time_wait=RECONNECT_S,
        max_reconnect_attempts=-1,
        ping_interval=10,
        **options,
    )
    try:
        return await asyncio.wait_for(making, seconds)
    except (TimeoutError, OSError, nats.errors.Error) as error:
        why = last[0] if last else error
        if isinstance(why, AuthorizationError) or "authorization" in str(why).lower():
            raise Denied(f"it does not let us in: {why}") from None
        raise Away(str(why) or type(why).__name__) from None


async def asked(question: Coroutine[Any, Any, Found]) -> Found:
    """What the bus answers. Away where it does not, Denied where it refuses."""
    import nats
    from nats.js.errors import APIError, NotFoundError, ServerError, ServiceUnavailableError

    try:
        return await question
    except NotFoundError as error:
        raise Away(f"it has that no more: {error.description}") from None
    except (ServerError, ServiceUnavailableError) as error:
        raise Away(error.description or "no server of it has JetStream's lead now") from None
    except APIError as error:
        raise Denied(f"it refuses: {error.description} ({error.err_code})") from None
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise Away(f"it does not answer: {error or type(error).__name__}") from None


async def look(client: Client, bus: Bus, partition: int) -> StreamInfo | None:
    """The stream of a partition, None where there is none."""
    from nats.js.errors import NotFoundError

    async def info() -> StreamInfo | None:
        try:
            return await client.jetstream().stream_info(bus.name(partition))
        except NotFoundError:
            return None

    return await asked(info())


def partitions_of(info: StreamInfo) -> int:
    """How many its bus has. Denied where the stream is not one of linemon's."""
    said = (info.config.metadata or {}).get(PARTITIONS, "")
    if not said.isdecimal():
        raise Denied(
            f"the stream {info.config.name} does not say how many partitions there are: linemon did not make it"
        )
    return int(said)
