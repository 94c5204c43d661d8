"""Lines in over TCP."""

from __future__ import annotations

import logging
import ssl

from linemon.access import Door, Tokens
from linemon.config import Address, Config
from linemon.doors import House, Port, guards, reach
from linemon.lines.pace import LEAST
from linemon.net import listen
from linemon.streams import LinePort

log = logging.getLogger(__name__)


def start(house: House) -> Port:
    port = TcpPort(house)
    house.serve(port.run())
    log.info("lines on %s, store in %s", port.address, house.config.store.folder)
    return port


def check(config: Config) -> list[str]:
    said = [f"lines in:  {config.tcp.listen}, {guards(config, config.tcp)}, {reach(config.tcp.listen)}"]
    if config.store.points < 4 * LEAST:
        said.append(f"           readers of rings below {4 * LEAST} points may miss rows of a backlog")
    return said


class TcpPort(LinePort):
    """The line port."""

    def __init__(self, house: House) -> None:
        self._config = config = house.config.tcp
        self.renew(house.tokens, house.tls)
        door = Door(config.allow, config.max_per_peer)
        listening = listen(config.listen.host, config.listen.port)
        super().__init__(house, listening, door, config.max_connections, config.idle_timeout)

    @property
    def address(self) -> str:
        return str(Address(self._config.listen.host, self.listener.port))

    def addresses(self) -> dict[str, str | list[str]]:
        return {"tcp": self.address}

    def renew(self, tokens: Tokens, tls: ssl.SSLContext | None) -> None:
        self.tokens = tokens
        self.tls = tls if self._config.tls else None
