"""The kinds of `--read URL` that need the standard library alone."""

from __future__ import annotations

import os
import re
import select
import socket
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress

from agent.field.reader import Reader
from agent.options import UsageError, address
from linemon_sender.dialler import CONNECT_TIMEOUT, KEEP_ALIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

CHUNK = 65536  # bytes read at once
GATHER = 0.05  # seconds in which what comes in pieces is gathered
LOOK_EVERY = 0.5  # seconds from one look at a file's end to the next
MOST_OUTPUT = 65536  # bytes of a command
MOST_ANSWER = 1 << 20  # bytes of an answer to HTTP
HTTP_TIMEOUT = 10.0  # seconds


class Serial(Reader):
    """`serial:PATH?baud=115200&bits=8&parity=none&stop=1`: raw, without flow control."""

    def __init__(self, rest: str) -> None:
        path, _, query = rest.partition("?")
        super().__init__(f"serial {path}")
        said = options(query, {"baud": "115200", "bits": "8", "parity": "none", "stop": "1"})
        import termios

        self._path = path
        speed = getattr(termios, f"B{said['baud']}", None)
        if speed is None or said["bits"] not in "78" or said["stop"] not in "12":
            raise UsageError(f"--read: baud={said['baud']}, bits={said['bits']} or stop={said['stop']} is not possible")
        if said["parity"] not in ("none", "even", "odd"):
            raise UsageError(f"--read: parity={said['parity']} is none of none, even, odd")
        mode = termios.CREAD | termios.CLOCAL | (termios.CS7 if said["bits"] == "7" else termios.CS8)
        mode |= termios.CSTOPB if said["stop"] == "2" else 0
        mode |= {"none": 0, "even": termios.PARENB, "odd": termios.PARENB | termios.PARODD}[said["parity"]]
        self._mode, self._speed, self._strips = mode, speed, said["bits"] == "7"

    def read(self) -> None:
        import fcntl
        import termios

        port = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            control = termios.tcgetattr(port)[6]
            control[termios.VMIN], control[termios.VTIME] = 1, 0
            shape = [termios.ISTRIP if self._strips else 0, 0, self._mode, 0, self._speed, self._speed, control]
            termios.tcsetattr(port, termios.TCSANOW, shape)
            fcntl.ioctl(port, termios.TIOCEXCL)
            self.opened()
            while True:
                select.select([port], [], [])
                time.sleep(GATHER)
                data = os.read(port, CHUNK)
                if not data:
                    return
                self.give(data)
        except termios.error as error:
            raise OSError(*error.args) from None
        finally:
            os.close(port)


class Tcp(Reader):
    """`tcp://HOST:PORT`: a serial port behind a bridge, or whatever sends lines there."""

    def __init__(self, rest: str) -> None:
        super().__init__(f"tcp {rest}")
        self._address = address("--read tcp://", rest)

    def read(self) -> None:
        with socket.create_connection(self._address, CONNECT_TIMEOUT) as sock:
            sock.settimeout(None)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEP_ALIVE:
                if hasattr(socket, option):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            self.opened()
            while data := sock.recv(CHUNK):
                self.give(data)
                time.sleep(GATHER)


class File(Reader):
    """`file:PATH`: from its beginning or where it was left, on as it grows or is replaced. A FIFO: whoever writes."""

    def __init__(self, rest: str) -> None:
        super().__init__(f"file {rest}")
        self._path = rest
        self.mark = ""
        """INODE OFFSET of what was read before."""

    def read(self) -> None:
        with open(self._path, "rb", buffering=0) as file:
            self.opened()
            state = os.fstat(file.fileno())
            if stat.S_ISREG(state.st_mode):
                self._follow(file, state)
            else:
                while data := file.read(CHUNK):
                    self.give(data)

    def _follow(self, file: IO[bytes], state: os.stat_result) -> None:
        """Until it is replaced, or shorter than before."""
        inode, _, offset = self.mark.partition(" ")
        if inode == str(state.st_ino) and int(offset) <= state.st_size:
            file.seek(int(offset))
        is_over = False
        while True:
            if data := file.read(CHUNK):
                self.mark = f"{state.st_ino} {file.tell()}"
                self.give(data, mark=self.mark)
            elif is_over:
                self.mark = ""
                return
            else:
                time.sleep(LOOK_EVERY)
                with suppress(FileNotFoundError):  # moved away: who has it open may still write
                    now = os.stat(self._path)
                    is_over = now.st_ino != state.st_ino or now.st_size < file.tell()


class Command(Reader):
    """`exec:COMMAND`: what it prints, each time it is run; without a shell."""

    asks = True

    def __init__(self, rest: str) -> None:
        import shlex

        self._command = shlex.split(rest)
        if not self._command:
            raise UsageError("--read exec: names no command")
        super().__init__(f"command {os.path.basename(self._command[0])}")

    def read(self) -> None:
        timed_out = []
        with subprocess.Popen(  # noqa: S603 - it is the user's own command line
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        ) as process:

            def end() -> None:
                timed_out.append(True)
                os.killpg(process.pid, 9)

            timer = threading.Timer(self.every, end)
            timer.start()
            try:
                assert process.stdout is not None
                output = process.stdout.read(MOST_OUTPUT + 1)
                if len(output) > MOST_OUTPUT:
                    os.killpg(process.pid, 9)
                    raise ValueError(f"it prints more than {MOST_OUTPUT} bytes")
                code = process.wait()
            finally:
                timer.cancel()
        if timed_out:
            raise ValueError(f"it took longer than {self.every:g} s")
        if code:
            raise ValueError(f"it ended with exit code {code}")
        self.give(output, is_whole=True)


class Http(Reader):
    """`http://…` or `https://…`: what is answered."""

    asks = True

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        super().__init__(f"{parts.scheme} {parts.hostname}")
        if not parts.hostname:
            raise UsageError("--read: the URL names no host")
        place = parts.netloc.rpartition("@")[2]
        self._host = parts.hostname
        self._url = parts._replace(netloc=place, fragment="").geturl()
        self._headers = {"User-Agent": "linemon"}
        if parts.username is not None:
            import base64

            secret = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        self._opener = urllib.request.build_opener(_SameHost(self._host))

    def read(self) -> None:
        import http.client

        try:
            asked = urllib.request.Request(self._url, headers=self._headers)  # noqa: S310 - http or https
            with self._opener.open(asked, timeout=HTTP_TIMEOUT) as it:
                answer = it.read(MOST_ANSWER + 1)
        except urllib.error.HTTPError as error:
            raise ValueError(f"HTTP {error.code}") from None
        except urllib.error.URLError as error:
            raise OSError(str(getattr(error.reason, "strerror", None) or error.reason)) from None
        except http.client.HTTPException as error:
            raise ValueError(type(error).__name__) from None
        if len(answer) > MOST_ANSWER:
            raise ValueError("the answer is longer than 1 MiB")
        self.give(answer, is_whole=True)


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows to no other host: the password goes along."""

    def __init__(self, host: str) -> None:
        self._host = host

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urllib.parse.urlsplit(newurl).hostname != self._host:
            raise urllib.error.URLError("it leads to another host")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def options(query: str, known: dict[str, str]) -> dict[str, str]:
    """`A=1&B=2` over these defaults. UsageError."""
    said = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    for key in said:
        if key not in known:
            raise UsageError(f"--read: {key!r} is none of {', '.join(known)}")
    return {**known, **said}


def reader(url: str) -> Reader:
    """What reads that URL. UsageError, without what may be secret in it."""
    url = re.sub(r"\$\{(\w+)\}", lambda name: os.environ.get(name[1], ""), url)
    kind, _, rest = url.partition(":")
    if kind in ("http", "https"):
        return Http(url)
    if kind == "modbus":
        from agent.field.modbus import Modbus

        return Modbus(rest.removeprefix("//"))
    if kind == "tcp" and rest.startswith("//"):
        return Tcp(rest[2:])
    kinds: dict[str, type[Serial] | type[File] | type[Command]] = {"serial": Serial, "file": File, "exec": Command}
    if kind not in kinds or not rest:
        raise UsageError(
            "--read is none of serial:PATH, tcp://HOST:PORT, file:PATH, exec:COMMAND, http://…, modbus://HOST"
        )
    return kinds[kind](rest)
