"""Lines in over a Unix socket, as over TCP. Its file's mode says who may write: no token is asked for."""

from __future__ import annotations

import contextlib
import logging

from linemon.access import Door, Tokens
from linemon.config import Config
from linemon.doors import House, Port
from linemon.net import listen_unix
from linemon.streams import LinePort

log = logging.getLogger(__name__)


def start(house: House) -> Port:
    if not house.config.unix.path:
        return Port()
    port = UnixPort(house)
    house.serve(port.run())
    log.info("lines on %s", house.config.unix.file)
    return port


def check(config: Config) -> list[str]:
    if not config.unix.path:
        return []
    who = {"owner": "its owner", "group": "its group", "everyone": "everyone on this machine"}
    return [f"Unix:      {config.unix.file}, {who[config.unix.writable_by]} may write"]


class UnixPort(LinePort):
    """The line port in the file system."""

    def __init__(self, house: House) -> None:
        config = house.config.unix
        self._file = config.file
        listening = listen_unix(self._file, config.mode)
        self._inode = self._file.stat().st_ino
        self.tokens = Tokens(required=house.config.devices.patterns)  # none is asked for
        super().__init__(
            house, listening, Door((), config.max_connections), config.max_connections, config.idle_timeout
        )

    def addresses(self) -> dict[str, str | list[str]]:
        return {"unix": str(self._file)}

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            if self._file.stat().st_ino == self._inode:  # not another's, which was put in its place
                self._file.unlink()
