"""What reads a device: one thread that opens, reads, and opens anew, and hands on what it read."""

from __future__ import annotations

import collections
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before it is opened again
WAITING = 1000  # readings not yet taken, at most


class Reading:
    """What was read at once."""

    def __init__(self, data: Any, is_whole: bool, mark: str = "") -> None:
        """`data`: bytes, or {name of column: number} of Modbus; `is_whole`: nothing follows that belongs to it.

        `mark`: from where to go on after a restart.
        """
        self.at = time.time()
        self.data, self.is_whole, self.mark = data, is_whole, mark


class Reader:
    """A kind of device. It says nothing of what it reads, and nothing that is secret."""

    asks = False
    """It is asked, every so often; else it speaks when it wants."""

    def __init__(self, name: str) -> None:
        """`name`: for the log, what it is and where."""
        self.name = name
        self.every = 10.0
        """Seconds from one question to the next."""
        self._taken: collections.deque[Reading] = collections.deque()
        self._log: Callable[[str], None] = print
        self._wake: Callable[[], None] = lambda: None
        self._changed, self._room = threading.Event(), threading.Event()
        self._is_open = self._gave = False

    def start(self, log: Callable[[str], None], wake: Callable[[], None]) -> None:
        """Read from now on; `wake` is called, in another thread, when there is something to take."""
        self._log, self._wake = log, wake
        threading.Thread(target=self._ask if self.asks else self._listen, daemon=True).start()

    def take(self) -> list[Reading]:
        """What was read since."""
        taken = [self._taken.popleft() for _ in range(len(self._taken))]
        self._room.set()
        return taken

    def ask_every(self, seconds: float) -> None:
        """Ask so often, from now on."""
        self.every = seconds
        self._changed.set()

    def read(self) -> None:
        """Where it `asks`: ask once. Else open, and `give` what is read until it ends. OSError or ValueError."""
        raise NotImplementedError

    def opened(self) -> None:
        """It is there, and will be read."""
        self._is_open = True
        self._log(f"reads {self.name}")

    def give(self, data: Any, is_whole: bool = False, mark: str = "") -> None:
        """Hand on what was read."""
        while len(self._taken) >= WAITING:  # a file is read faster than it is worked off
            self._room.clear()
            self._room.wait(1.0)
        self._gave = True
        self._taken.append(Reading(data, is_whole, mark))
        self._wake()

    def _listen(self) -> None:
        pause, said = SHORTEST_PAUSE, ""
        while True:
            self._is_open = self._gave = False
            reason = self._try() or "it ended"
            if self._gave:
                self.give(b"", is_whole=True)  # what was read in part stays a part
                pause = SHORTEST_PAUSE
            if self._is_open or reason != said:
                self._log(f"cannot read {self.name}: {reason}; tries again")
            said = reason
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _ask(self) -> None:
        due, said = time.monotonic(), ""
        while True:
            reason = self._try()
            if reason != said:
                self._log(f"cannot read {self.name}: {reason}; asks again" if reason else f"reads {self.name} again")
            said = reason
            due = max(due + self.every, time.monotonic())
            while (left := due - time.monotonic()) > 0:
                if self._changed.wait(left):
                    self._changed.clear()
                    due = min(due, time.monotonic() + self.every)

    def _try(self) -> str:
        """Read; why it failed."""
        try:
            self.read()
        except (OSError, ValueError, EOFError) as error:  # also those of ssl, http.client (which is none), termios
            return str(getattr(error, "strerror", None) or error) or type(error).__name__
        return ""
