"""Commands to the parts of `linemon work`, by its socket beside the rings: one JSON line there, one back.

`{"do": "ack", "n": 3, "by": "page"}` is answered by `{"said": TEXT}`, or `{"error": TEXT}` where it could not be done.
The socket's mode lets in its owner only.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final

from linemon.errors import LinemonError
from linemon.store.status import WORK_SOCKET

WAIT_S: Final = 45.0  # for an answer: a notifier that is tested may take its time
LONGEST: Final = 65536  # bytes of a line


class NotRunning(LinemonError):
    """Nobody is there to be asked."""


def ask(folder: Path, request: dict[str, Any], part: str = "alarms", wait_s: float | None = WAIT_S) -> str:
    """What was said, of a command to the parts of this store. LinemonError says why not; it blocks."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(wait_s)
            sock.connect(str(folder / WORK_SOCKET))
            sock.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(sock.makefile("rb").readline(LONGEST) or b'{"error": "it ended meanwhile"}')
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(f"{part} are not running: `linemon status` says more") from None
    except (OSError, ValueError) as error:
        raise LinemonError(f"`linemon work` does not answer: {error}") from None
    if "error" in answer:
        raise LinemonError(answer["error"])
    return str(answer["said"])
