"""Each event as JSON on a program's standard input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from linemon.parts.alarms.message import Message
from linemon.parts.alarms.notifier import Later, Notifier, Refused

SECRET = ("argv",)
TEMPFAIL: Final = 75  # EX_TEMPFAIL of sysexits.h


@dataclass(frozen=True)
class Settings:
    argv: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError('argv = []: expected a program and its arguments such as ["/usr/local/bin/page", "ops"]')


class Notify(Notifier):
    """No shell. What it says on stderr, its last line, is shown where it fails."""

    ALONE = True

    def host(self) -> str:
        return str(os.path.basename(self.settings.argv[0]))

    def tell(self, message: Message) -> None:
        """Exit 0: told. 75, or killed after `timeout`: not now. Else: refused."""
        what = self.host()
        try:
            process = subprocess.Popen(  # noqa: S603  the user's own
                self.settings.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Refused(f"{what} cannot be started: {error.strerror}") from None
        with process:
            try:
                _, said = process.communicate(json.dumps(message.event.as_json()).encode() + b"\n", self.timeout)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise Later(f"{what} has not ended within {self.timeout:g} s") from None
        if process.returncode:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            text = f"{what} exits {process.returncode}: {last}"
            raise Later(text, whole=False) if process.returncode == TEMPFAIL else Refused(text)
