"""Commands to the parts of `linemon work`, or to the collector, by their sockets beside the rings: one JSON line there,
one back.

`{"do": "ack", "n": 3, "by": "page"}` is answered by `{"said": ANYTHING}`, or `{"error": TEXT}` where it could not be
done. A socket's mode lets in its owner only.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final

from linemon.errors import LinemonError
from linemon.net import address_of
from linemon.store.status import COLLECT_SOCKET, WORK_SOCKET

WAIT_S: Final = 45.0  # for an answer: a notifier that is tested may take its time
LONGEST: Final = 65536  # bytes of a command
AWAY: Final = {
    WORK_SOCKET: "alarms and tasks are not running: `linemon status` says more",
    COLLECT_SOCKET: "no collector runs: `linemon up` starts one",
}


class NotRunning(LinemonError):
    """Nobody is there to be asked."""


def ask(folder: Path, request: dict[str, Any], name: str = WORK_SOCKET, wait_s: float | None = WAIT_S) -> Any:
    """What was said, of a command to those who listen beside this store. LinemonError says why not; it blocks."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(wait_s)
            with address_of(folder / name) as address:
                sock.connect(address)
            sock.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(sock.makefile("rb").readline() or b'{"error": "it ended meanwhile"}')
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(AWAY[name]) from None
    except (OSError, ValueError) as error:
        raise LinemonError(f"nobody answers by {folder / name}: {error}") from None
    if "error" in answer:
        raise LinemonError(answer["error"])
    return answer["said"]
