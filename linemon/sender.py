"""`linemon.Sender`: rows of one's own to a collector, nothing lost and nothing twice.

The spool and the connection are the agent's; here they get a thread and a lock.
"""

from __future__ import annotations

import atexit
import bisect
import logging
import math
import numbers
import operator
import os
import selectors
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, SupportsFloat, SupportsIndex

from linemon import when
from linemon.config import Address
from linemon.errors import LineError
from linemon.lines import wire
from linemon_sender.columns import columns_line
from linemon_sender.device import Device, State
from linemon_sender.sender import SpoolSender
from linemon_sender.spool import MAX_AGE, MAX_BYTES, Spool
from linemon_sender.tls import Tls

TYPES: Final = {float: "a number", int: "a whole number", str: "a string", bool: "true or false", list: "a list"}
TURN_S: Final = 1.0  # between two looks at what is due, where nothing happens
log = logging.getLogger("linemon.sender")


class Sender:
    """Sends rows of one source from any thread; `send` never waits for the network.

        with linemon.Sender("room1", {"temperature": "°C", "humidity": "%"}, to="10.0.0.1:4000") as room1:
            room1.send(20.3, 45.0)

    Rows wait in the spool until the collector has them: in memory, or with `spool` in a folder of this sender's own,
    where they outlive the process, also a killed one. What goes wrong on the way is logged as `linemon.sender`.

    It belongs to the process that made it. In the child of a fork (gunicorn's workers, multiprocessing) it raises
    RuntimeError: two processes cannot share one connection, one numbering and one folder. Make one in each process
    (gunicorn: in `post_fork`), with a folder of its own if any. The parent's goes on as if nothing had been.
    """

    def __init__(
        self,
        source: str,
        columns: Sequence[str] | Mapping[str, str] = ("value",),
        *,
        to: str = "",
        token: str = "",
        spool: str | os.PathLike[str] = "",
        spool_bytes: int = MAX_BYTES,
        spool_age: float = MAX_AGE,
        tls: bool = False,
        ca: str | os.PathLike[str] = "",
        cert: str | os.PathLike[str] = "",
        device: tuple[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        accept: Callable[[str, Any], Any] | None = None,
    ) -> None:
        """Rows of `columns`, names or names with their units, for `source`.

        `to`: host:port of the collector, else $LINEMON_TO, else 127.0.0.1:4000; `token`: else $LINEMON_TOKEN.
        `spool_bytes` and `spool_age` (seconds) bound what waits; the newest are kept.
        `tls`: speak TLS; the collector must show a certificate for the host of `to` that `ca` has signed (a PEM file;
        empty = whom this machine trusts). `cert`: one of ours with its key, where the collector asks for it.
        `device`: product and serial, with which it registers (docs/DEVICES.md); its name then is the collector's, its
        own token is kept in the folder `spool`. `settings`: what it works with, unless the collector wishes otherwise;
        look at the attribute `settings` for what counts. `accept(key, wish)` gives the value for a wish, or raises
        ValueError with the reason why not; without it a wish must be of the setting's type. It is called in another
        thread.
        LineError for a name that the line language has no place for, ValueError for a wrong address, columns that are
        no list of strings, `ca` or `cert` without `tls`, or what is no product or serial;
        linemon_sender.spool.SpoolError where the folder cannot be used.
        """
        if isinstance(columns, (str, bytes)) or not all(isinstance(name, str) for name in columns):
            raise ValueError(f"columns = {columns!r}: expected a list of names, or a dict of names with their units")
        units = dict(columns) if isinstance(columns, Mapping) else {}
        names = list(columns)
        for token in (text for name in names for text in (name, units.get(name, ""))):
            if set(token) & set(": \t\r\n"):
                raise LineError("name", f"{token!r} holds a colon or a blank")
        wire.columns(["time", *names])
        named = {name: units.get(name, "") for name in names}
        try:
            address = Address.parse(to or os.environ.get("LINEMON_TO") or "127.0.0.1:4000")
        except ValueError as error:
            raise ValueError(f"to = {str(error)!r} is not HOST:PORT") from None
        if (ca or cert) and not tls:
            raise ValueError("ca and cert go with tls=True")
        self.source = wire.source_name(source)
        self.columns = tuple(named)
        self._header = columns_line(named)
        self._lock = threading.Condition()
        self._closed = self._woken = False
        self._pid = os.getpid()
        self._selector = selectors.DefaultSelector()
        self._came, self._accept = dict(settings or {}), accept or self._same_type
        self.settings: dict[str, Any] = self._came
        """What it works with: as it came, or as the collector wishes. A new dict for each change."""
        folder = os.fspath(spool)
        state = State(os.path.join(folder, "device"), log.warning) if folder else None
        as_device = Device(*device, self._apply, log.info, state) if device else None
        identity = as_device.identity if as_device else ""
        self._spool = Spool(self.source, folder, spool_bytes, spool_age, log.warning, device=identity)
        token = token or os.environ.get("LINEMON_TOKEN", "")
        secret = Tls(address.host, os.fspath(ca), os.fspath(cert)) if tls else None
        self._connection = SpoolSender(
            (address.host, address.port), token, self._spool, self._selector, _log, tls=secret, device=as_device
        )
        self._thread = threading.Thread(target=self._run, name=f"linemon.Sender {source}", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        _open.add(self)

    def send(self, *values: float, time: SupportsIndex | SupportsFloat | None = None) -> None:
        """Send one row: a number for each column, nan where one is missing.

        `time`: since the epoch, in seconds, or a whole number of ms, us or ns, which is kept exactly; else now.
        ValueError for anything else: no number, before 1970, beyond int64 nanoseconds. RuntimeError after a fork.
        """
        self._check_process()
        if len(values) != len(self.columns):
            raise ValueError(f"{len(values)} values for the {len(self.columns)} columns of {self.source}")
        numbers = [repr(float(value)) for value in values]
        if "inf" in numbers or "-inf" in numbers:
            raise ValueError("a value is infinite, for which there is no number; nan stands for a missing one")
        row = " ".join([_time(time), *numbers]).encode()
        with self._lock:
            if self._closed:
                raise ValueError("this sender is closed")
            self._spool.append(row, self._header)
            if not self._woken:
                self._woken = True
                self._connection.wake()

    @property
    def waiting(self) -> int:
        """Rows that the collector has not acknowledged."""
        return self._look(lambda: self._spool.waiting)

    @property
    def dropped(self) -> int:
        """Rows that were lost here: they waited too long, were too many, or their file cannot be read any more."""
        return self._look(lambda: self._spool.dropped)

    @property
    def rejected(self) -> int:
        """Rows that the collector rejected. Its reasons are logged: the first, then one a minute."""
        return self._look(lambda: self._connection.rejected)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until no row waits: True; False if one still does after `timeout` seconds.

        True means that the collector has taken each row, stored it or rejected it (`rejected` counts these), and that
        what was lost here is in `dropped`.
        """
        self._check_process()
        with self._lock:
            return self._lock.wait_for(lambda: not self._spool.waiting, timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Wait `timeout` seconds for the last rows to be acknowledged, and end. Done at the interpreter's end, too.

        In the child of a fork there is nothing to end.
        """
        if self._pid != os.getpid():
            return
        if not self._closed:
            self.flush(timeout)
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._connection.wake()
        self._thread.join()
        self._connection.close(0.0)
        self._spool.close()
        self._selector.close()
        atexit.unregister(self.close)
        _open.discard(self)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _apply(self, wishes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Work by these wishes, and as it came where there is none; what counts, and what is refused."""
        settings, refused = dict(self._came), {}
        for key, wish in wishes.items():
            try:
                if key not in settings:
                    raise ValueError(f"it has {', '.join(settings) or 'no settings'}")
                settings[key] = self._accept(key, wish)
            except ValueError as error:
                refused[key] = str(error)
        self.settings = settings
        return settings, refused

    def _same_type(self, key: str, wish: Any) -> Any:
        came = type(self._came[key])
        if came is float and type(wish) is int:
            wish = float(wish)
        if type(wish) is not came:
            raise ValueError(f"expected {TYPES.get(came, came.__name__)}, such as {self._came[key]!r}")
        return wish

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise RuntimeError(
                f"this linemon.Sender belongs to process {self._pid}, which this one was forked from: make one here"
            )

    def _look(self, count: Callable[[], int]) -> int:
        self._check_process()
        with self._lock:
            return count()

    def _forked(self) -> None:
        """In the child: what stayed open would keep the parent's connection and folder from ending with it."""
        self._connection.abandon()
        self._spool.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._closed:
            ready = self._selector.select(TURN_S)
            with self._lock:
                self._woken = False
                for key, mask in ready:
                    key.data(mask)
                self._connection.turn()
                if not self._spool.waiting:
                    self._lock.notify_all()


def _log(text: str) -> None:
    log.log(logging.INFO if text.startswith(("sends to", "is known")) else logging.WARNING, text)


def _time(at: SupportsIndex | SupportsFloat | None) -> str:
    """A time as the line language has it. LineError for what is none."""
    if at is None:
        return f"{time.time():.6f}"
    try:
        whole = operator.index(at)  # type: ignore[arg-type]  # an int of whatever kind
    except TypeError:
        if not isinstance(at, numbers.Real) or not math.isfinite(at):
            raise LineError("time", f"time = {at!r} is no number of seconds, ms, us or ns since the epoch") from None
        text = f"{float(at):.6f}"
    else:
        text = str(whole)
        if whole >= 0 and whole * when.UNIT_NS[bisect.bisect(when.LIMITS, whole)] <= when.INT64_MAX:
            return text
    if when.time_ns(text.encode()) is None:  # raises what is wrong with it
        raise LineError("time", f"time = {at!r} lies before 1970")
    return text


_open: weakref.WeakSet[Sender] = weakref.WeakSet()


def _forked() -> None:
    for sender in list(_open):
        sender._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
