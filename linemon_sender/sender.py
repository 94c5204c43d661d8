"""The connection to the collector: rows out of the spool, acknowledgements and complaints in.

Rows are numbered (`#seq`) and wait in the spool until the collector has said `#ack`. A connection begins with the
question how far the collector is; rows follow its answer, no more at a time than WINDOW, the next when these are
acknowledged: so a backlog goes out as fast as the collector takes it and no faster. Nothing here waits or blocks.
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import suppress

from linemon_sender.columns import first_tokens
from linemon_sender.dialler import DEAD_AFTER, Dialler
from linemon_sender.seldom import Seldom
from linemon_sender.spool import NO_RUN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from linemon_sender.device import Device
    from linemon_sender.spool import Spool
    from linemon_sender.tls import Tls

ANSWER_TIMEOUT = 10.0  # seconds until `#seq` must be answered
ALIVE_EVERY = 60.0  # seconds until an idle connection gets an empty line; a collector hangs up on who is silent
LONGEST_ANSWER = 65600  # bytes of an unfinished answer that are kept; a spec may be long
WINDOW = 65536  # bytes of rows on their way, about


class SpoolSender:
    """Sends the rows of a spool to one collector, over a connection that is made anew whenever it is lost.

    Everything but dialling happens in the caller's thread: in `turn`, and in what the selector calls.
    """

    def __init__(
        self,
        address: tuple[str, int],
        token: str,
        spool: Spool,
        selector: selectors.BaseSelector,
        log: Callable[[str], None],
        fixed: int = 0,
        lazy: bool = False,
        tls: Tls | None = None,
        device: Device | None = None,
    ) -> None:
        """`fixed`: how many columns are enough where the collector refuses them all; 0 = no fewer than all.

        `tls`: for the connection, None = in the clear.
        `lazy`: with nothing else to send, answers are read at the next turn. It saves a wake-up per row.
        `device`: what the spool's rows are from; it registers as soon as the spool knows which it is.
        """
        self._address = address
        self._where = "{}:{}".format(f"[{address[0]}]" if ":" in address[0] else address[0], address[1])
        self._token, self._spool, self._fixed, self.lazy = token, spool, fixed, lazy
        self._device = device
        self._selector, self._log = selector, log
        self._state = ""  # as the log says: "sends", "lost" or "refused"; empty: it has said nothing yet
        self.rejected = 0
        """Rows that the collector took and rejected, as it said; the log has its reasons."""
        self._reported = 0  # dropped rows that the log has told of
        self._rejects = Seldom(log)
        self._sock: socket.socket | None = None
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        selector.register(self._woken, selectors.EVENT_READ, self._wakes)
        self._dialler = Dialler(address, tls, self.wake, lambda why: self._fails(f"cannot reach {self._where}: {why}"))
        # Of the connection, which _adopt begins:
        self._run, self._number = NO_RUN, 0  # whose rows it carries, and the number of the next
        self._greeted = False  # `#seq` was answered
        self._registered = False  # `#device` was
        self._columns = self._declared = b""  # of the rows that are sent, and as the collector was told
        self._on_trial = False  # these columns are not yet accepted
        self._refused = False  # all of them were, and it gets the fixed ones
        self._unsent, self._answer = b"", b""
        self._lines = self._columns_line = 0  # sent so far; which of them was the last #columns
        # What it said of rows that it has not acknowledged, by number: it rejects them, or is about to hang up.
        self._errors: list[tuple[int, str]] = []
        self._refusal = ""  # why it does not answer `#seq`
        self._held = self._backlog = 0  # at its first answer: the number it was at, and the rows that waited
        self._moved = False  # it has acknowledged more since
        # Of each bunch of rows on its way: the number after it, its bytes, its rows, and its last line.
        self._flying: list[tuple[int, int, int, int]] = []
        self._moved_at = self._wrote_at = 0.0  # when rows were last acknowledged, and bytes sent
        self._mask = 0  # what the selector watches
        self._dialler.dial()

    def turn(self) -> None:
        """Do what is due: read answers, send what the spool has. Returns at once."""
        if self._sock is None and self._wanted() != NO_RUN and (sock := self._dialler.take()):
            self._adopt(sock)
        self._read()
        self._check_time()
        self._follow()
        if self._device and self._device.is_news and self._registered and self._run[2] == self._device.identity:
            self._write(self._device.report())
            self._flush()
        self._send()
        self._watch()

    def wake(self) -> None:
        """Have the selector call `turn`; may be called from any thread."""
        with suppress(OSError):  # full: it is being woken already
            self._waker.send(b".")

    def close(self, seconds: float = 1.0) -> None:
        """Wait so long for acknowledgements, then end the connection; what is not acknowledged is told of."""
        end = time.monotonic() + seconds
        self.lazy = False
        self.turn()
        while self._spool.waiting and (left := end - time.monotonic()) > 0:
            for key, mask in self._selector.select(left):
                key.data(mask)
        self._dialler.close()
        self._hang_up()
        self._selector.unregister(self._woken)
        self._woken.close()
        self._waker.close()
        if self._spool.waiting:
            self._log(f"ends; {self._spool.waiting} rows were not acknowledged by {self._where}")

    def abandon(self) -> None:
        """In the child of a fork: close what was inherited, without a word to the other end or to the selector."""
        self._dialler.close()
        for sock in (self._sock, self._woken, self._waker):
            if sock is not None:
                sock.close()

    # -- rows on their way

    def _wanted(self) -> tuple[str, str, str]:
        """The run that a connection is to carry now: the spool's, without SENDER where a device has no row."""
        spool = self._spool
        return (spool.source, "", spool.device) if spool.device and spool.run == NO_RUN else spool.run

    def _follow(self) -> None:
        """Have the connection carry what it is to carry."""
        wanted = self._wanted()
        source, sender, device = self._run
        if self._sock is None or wanted in (self._run, NO_RUN, (source, "", device)):
            return
        if not sender and (source, device) == (wanted[0], wanted[2]):
            self._ask()
        else:
            self._hang_up()  # an `#ack` on its way would be taken for one of the other SENDER's
            self._dialler.dial()

    def _send(self) -> None:
        """Hand rows to the socket, as many as it and the window take."""
        while self._sock is not None and self._flush() and self._greeted:
            if self._spool.run not in (self._run, NO_RUN):
                self._follow()
                return
            columns = self._spool.columns()
            if columns is None:
                if self._spool.run != self._run or self._spool.next == self._number:
                    return
                self._add(self._spool.next, 0, b"")  # the last rows are lost: it must not wait for them
                continue
            if self._on_the_way() >= WINDOW:
                return
            if columns != self._columns:
                if self._flying:
                    return  # what is refused must be about these columns
                self._declare(columns)
            limit = 1 if self._on_trial else WINDOW - self._on_the_way()
            if self._on_trial and self._flying:
                return
            number, count, lines = self._spool.take(limit)
            if count:
                self._add(number, count, lines)
            elif self._spool.next == number:
                return

    def _declare(self, columns: bytes) -> None:
        """Name the columns of the next rows; one row must be accepted before more follow."""
        self._columns, self._on_trial = columns, True
        if self._refused:
            columns = first_tokens(columns, 2 + self._fixed)
            if columns == self._declared:
                self._on_trial = False
                return
        self._declared = columns
        self._write(columns + b"\n", 1 + columns.count(b"\n"))
        self._columns_line = self._lines

    def _add(self, number: int, count: int, lines: bytes) -> None:
        if number != self._number:
            self._write(f"#seq {number} {self._run[1]}\n".encode())
        if self._refused:
            cut = [first_tokens(line, 1 + self._fixed) for line in lines.splitlines()]
            lines = b"\n".join(cut) + b"\n"
        if not self._flying:
            self._moved_at = time.monotonic()
        self._number = number + count
        self._write(lines, count)
        self._flying.append((self._number, len(lines), count, self._lines))

    def _on_the_way(self) -> int:
        return sum([size for _, size, _, _ in self._flying])

    def _write(self, lines: bytes, count: int = 1) -> None:
        self._unsent += lines
        self._lines += count

    def _flush(self) -> bool:
        """Whether all that was written is handed over."""
        if self._unsent and self._sock is not None:
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
                self._wrote_at = time.monotonic()
            except BlockingIOError:
                pass
            except OSError as error:
                self._lost(error.strerror or str(error))
        return not self._unsent

    def _check_time(self) -> None:
        if self._sock is None:
            return
        now = time.monotonic()
        if not self._greeted and not (self._registered and not self._run[1]) and now - self._moved_at > ANSWER_TIMEOUT:
            asked = "#seq" if self._run[1] else "#device"
            self._lost(self._refusal or f"it does not answer {asked}; is it linemon's collector?")
        elif (self._flying or self._unsent) and now - self._moved_at > DEAD_AFTER:
            self._lost(f"no acknowledgement for {DEAD_AFTER:g} s")
        elif (self._greeted or not self._run[1]) and not self._unsent and now - self._wrote_at > ALIVE_EVERY:
            self._write(b"\n")

    def _watch(self) -> None:
        """Have the selector tell of what must not wait until the next turn."""
        if self._sock is None:
            return
        waits = not self.lazy or not self._greeted or self._on_trial or self._spool.columns() is not None
        mask = selectors.EVENT_READ if waits else 0
        if self._unsent:
            mask |= selectors.EVENT_WRITE
        if mask == self._mask:
            return
        if self._mask:
            self._selector.unregister(self._sock)
        if mask:
            self._selector.register(self._sock, mask, lambda _: self.turn())
        self._mask = mask

    def _wakes(self, _mask: int) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)
        self.turn()

    # -- what the collector answers

    def _read(self) -> None:
        if self._sock is None:
            return
        try:
            answer = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        if not answer:
            self._lost((not self._greeted and self._refusal) or "closed by the collector")
            return
        *lines, rest = (self._answer + answer).split(b"\n")
        self._answer = rest[:LONGEST_ANSWER]
        acked = 0
        for line in lines:
            if self._sock is None:  # what was said made us hang up
                return
            if line.startswith(b"#ack ") and line[5:].strip().isdigit():
                acked = int(line[5:])
            elif line.startswith(b"#error "):
                text = line[len(b"#error ") :].decode("utf-8", "replace")
                self._heard("".join([char if char.isprintable() else "?" for char in text]))
            elif self._device and line.startswith(b"#"):
                self._told(self._device, line.rstrip(b"\r"))
        if acked:
            self._acknowledged(acked)

    def _told(self, device: Device, line: bytes) -> None:
        """What the collector wants of the device; of the one that it was before, nothing counts any more."""
        if line.startswith(b"#device "):
            self._registered = device.is_news = True
            if not self._run[1]:
                self._dialler.worked()
        if self._run[2] == device.identity:
            before = device.name
            device.hear(line)
            if device.name != before:
                self._log(f"is known to {self._where} as {device.name}")

    def _acknowledged(self, number: int) -> None:
        if self._spool.run != self._run:  # all of it was, before
            return
        if not self._spool.acknowledge(number):
            before = self._spool.dropped
            self._spool.disown()
            self._log(
                f"{self._where} holds rows up to {number} of this spool's SENDER that are not from here: is the spool "
                f"a copy? {self._spool.dropped - before} rows are dropped, later ones go under another SENDER"
            )
        self._flying = [each for each in self._flying if each[0] > number]
        rejected = [error for row, error in self._errors if row < number]
        self._errors = [each for each in self._errors if each[0] >= number]
        self.rejected += len(rejected)
        for error in rejected:
            self._complaint(error)
        self._moved_at = time.monotonic()
        if not self._greeted:
            if self._run[2] and not self._registered and not self._run[0]:
                self._lost("it registers no devices, so this one needs a name (--name)")
                return
            self._greeted = True
            self._held, self._backlog = number, self._spool.waiting
        elif not self._flying:
            self._on_trial = False
        self._moved = number > self._held
        if self._moved:  # a link that is cut again and again, but takes some rows each time, is not waited for long
            self._dialler.worked()
        if self._moved or self._state != "refused" or not self._spool.waiting:
            self._works()  # else it has only greeted, as it did before it took no row

    def _heard(self, error: str) -> None:
        """`LINE REASON`: of a directive, or of a row, which is rejected once it is acknowledged."""
        line = error.partition(" ")[0]
        for end, _, count, last in self._flying:
            if line.isdigit() and last - count < int(line) <= last:
                self._errors.append((end - 1 - (last - int(line)), error))
                return
        self._complaint(error)

    def _complaint(self, text: str) -> None:
        """Take one complaint, LINE REASON."""
        line, _, reason = text.partition(" ")
        self._refusal = self._refusal or f"it says: {reason}"
        if self._device and reason.startswith("device"):
            self._dialler.refused()
        if not self._greeted and self._device and reason.startswith("token") and self._device.forget_token():
            self._lost("it does not know this device's own token, which shows the one it was started with now")
            return
        # A host with hundreds of devices may have more columns than the collector allows. Those of every host are
        # always few enough, and a part of the columns is better than none.
        about_columns = line in (str(self._columns_line), str(self._columns_line + 1)) and "column" in reason
        if about_columns and self._fixed and not self._refused:
            self._refused, self._columns = True, b""
            self._log(f"{self._where} gets the first {self._fixed} columns, as it refuses more: {reason}")
            return
        self._rejects(f"{self._where} rejects line {line}: {reason}")

    # -- connections

    def _adopt(self, sock: socket.socket) -> None:
        """Begin a connection that the thread has made: say who sends, and ask how far the collector is."""
        self._sock = sock
        self._unsent, self._answer = b"", b""
        self._greeted = self._registered = self._on_trial = self._refused = False
        self._mask = self._lines = self._columns_line = 0
        self._errors, self._refusal, self._moved = [], "", False
        self._columns = self._declared = b""
        self._flying = []
        self._moved_at = self._wrote_at = time.monotonic()
        self._run = source, sender, device = self._wanted()
        self._write(b"#errors on\n")
        if token := (self._device.token if self._device else "") or self._token:
            self._write(f"#token {token}\n".encode())
        if source:
            self._write(f"#source {source}\n".encode())
        if device and self._device:
            self._write(f"#device {device}\n".encode())
        if sender:
            self._ask()

    def _ask(self) -> None:
        """Ask how far the collector is with the rows of the spool."""
        self._run = self._spool.run
        self._number = self._spool.rewind()
        self._moved_at = time.monotonic()
        self._write(f"#seq {self._number} {self._run[1]}\n".encode())

    def _lost(self, reason: str) -> None:
        if self._sock is None:
            return
        self._hang_up()
        took_none = self._greeted and not self._moved and bool(self._flying)
        if self._errors:
            self._fails(f"{self._where} takes no rows: {self._errors[-1][1].partition(' ')[2]}", "refused")
        else:
            self._fails(f"lost {self._where}: {reason}", "refused" if took_none else "lost")
        self._dialler.dial()

    def _hang_up(self) -> None:
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if self._mask:
            self._selector.unregister(sock)
        sock.close()

    def _fails(self, text: str, state: str = "lost") -> None:
        if self._state not in (state, "refused"):
            self._state = state
            self._log(f"{text}; rows wait in the spool until it is back")

    def _works(self) -> None:
        if self._state != "sends":
            waited = f", {self._backlog} rows waited" if self._state else ""
            self._state = "sends"
            lost = self._spool.dropped - self._reported
            dropped = f", {lost} rows were dropped" if lost else ""
            name = (self._device.name if self._device else "") or self._run[0]
            self._log(f"sends to {self._where} as {name}{waited}{dropped}")
            self._reported = self._spool.dropped
