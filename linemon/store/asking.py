"""Commands to the parts of `linemon work`, by its socket beside the rings: one JSON line there, one back; and to the
collector, by its HTTP port.

`{"do": "ack", "n": 3, "by": "page"}` is answered by `{"said": TEXT}`, or `{"error": TEXT}` where it could not be done.
The socket's mode lets in its owner only.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.ports import Address
from linemon.store.folder import read_key
from linemon.store.status import WORK_SOCKET, read_status

WAIT_S: Final = 45.0  # for an answer: a notifier that is tested may take its time
LONGEST: Final = 65536  # bytes of a line
POST_S: Final = 5.0  # for an answer of the collector


class NotRunning(LinemonError):
    """Nobody is there to be asked."""


def ask(folder: Path, request: dict[str, Any]) -> str:
    """What was said, of a command to the parts of this store. LinemonError says why not; it blocks."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(WAIT_S)
            sock.connect(str(folder / WORK_SOCKET))
            sock.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(sock.makefile("rb").readline(LONGEST) or b'{"error": "it ended meanwhile"}')
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning("alarms are not running: `linemon status` says more") from None
    except (OSError, ValueError) as error:
        raise LinemonError(f"`linemon work` does not answer: {error}") from None
    if "error" in answer:
        raise LinemonError(answer["error"])
    return str(answer["said"])


def post(config: Config, path: str, bodies: Iterable[dict[str, Any]]) -> None:
    """POST these to the collector of this machine, with the secret of parts. LinemonError where it is away, or refuses
    one; those after it are not posted. It blocks.
    """
    store = config.store.folder
    address = Address.parse(read_status(store).get("http", str(config.http.listen))).from_here
    if config.http.tls:
        context = ssl.create_default_context(cafile=config.tls.cert)
        context.check_hostname = False  # it is the one of this file's certificate, whatever name that has
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            address.host, address.port, timeout=POST_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=POST_S)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {read_key(store)}"}
    try:
        for body in bodies:
            connection.request("POST", path, json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != http.client.OK:
                raise LinemonError(_error_of(said))
    except (OSError, http.client.HTTPException) as error:
        raise LinemonError(f"the collector at {address} does not answer: {error}; does it run?") from None
    finally:
        connection.close()


def _error_of(said: bytes) -> str:
    try:
        return str(json.loads(said)["error"])
    except (ValueError, KeyError, TypeError):
        return said[:200].decode(errors="replace")
