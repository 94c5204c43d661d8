"""A socket beside the rings by which a process takes commands; linemon/store/asking.py has the other end."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from linemon.errors import LinemonError
from linemon.net import listen_unix
from linemon.store.asking import LONGEST

log = logging.getLogger(__name__)

SAY_S: Final = 5.0  # for a command to come
Command = Callable[[dict[str, Any]], Awaitable[Any]]  # what is said must be JSON


class Commands:
    """Listens at `path` until closed; `find` gives the commands there are now."""

    def __init__(self, path: Path, find: Callable[[], dict[str, Command]]) -> None:
        """OSError where it cannot listen, as where another process does."""
        self._path, self._find = path, find
        self._sock: socket.socket = listen_unix(path, 0o600)
        self._inode = path.stat().st_ino
        self._tasks: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def is_gone(self) -> bool:
        """Whether the store was taken away, and the socket with it."""
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
        for task in self._tasks:
            task.cancel()
        if not self.is_gone():
            with suppress(OSError):
                self._path.unlink()

    def _accept(self) -> None:
        with suppress(OSError):  # it was gone before we came
            sock, _ = self._sock.accept()
            sock.setblocking(False)
            task = asyncio.get_running_loop().create_task(self._serve(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=LONGEST)
        try:
            line = await asyncio.wait_for(reader.readline(), SAY_S)
            writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
            await writer.drain()
        except (TimeoutError, OSError, ValueError):  # it says nothing, too much, or has gone
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        commands = self._find()
        try:
            request = json.loads(line)
            command = commands[request["do"]]
        except (ValueError, KeyError, TypeError):
            return {"error": f'expected a line such as {{"do": NAME}}; there are: {", ".join(sorted(commands))}'}
        try:
            return {"said": await command(request)}
        except LinemonError as error:
            return {"error": str(error)}
        except Exception:
            log.exception("a bug, met by the command %s", request["do"])
            return {"error": "a bug in linemon; its log says more"}
