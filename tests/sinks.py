"""Peers that notifiers tell: an HTTP server that keeps what it is sent, a mail server, Telegram's Bot API, a broker."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.running import eventually, free_port, program

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Request:
    path: str
    headers: Message
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class HttpSink:
    """Keeps the requests that it has answered with 2xx in `taken`, and all in `seen`."""

    def __init__(self, port: int = 0) -> None:
        self.seen: list[Request] = []
        self.taken: list[Request] = []
        self.answers: deque[Answer] = deque()  # the next ones; then always `answer`
        self.answer: Callable[[Request], Answer] = lambda request: (200, {}, b"{}")
        self.hangs = threading.Event()
        self._freed = threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.path, self.headers, body)
                sink.seen.append(request)
                if sink.hangs.is_set():
                    sink._freed.wait(30)
                    return
                status, headers, said = sink.answers.popleft() if sink.answers else sink.answer(request)
                if status < 300:
                    sink.taken.append(request)
                with suppress(ConnectionError):  # who asked has gone
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(said)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(said)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = False
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def free(self) -> None:
        """No longer hang."""
        self.hangs.clear()
        self._freed.set()

    def close(self) -> None:
        self.free()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class BotApi(HttpSink):
    """Telegram's Bot API, as far as a bot that tells and listens sees it: limits, refusals, long polls."""

    TOKEN = "123456:AAsecretOfTheBot"

    def __init__(self) -> None:
        self.chats: dict[int, str] = {}  # number -> "", or why it cannot be written to
        self.said: list[tuple[int, str, bytes]] = []  # chat, text or caption, picture
        self.webhook = False
        self._updates: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self._pollers = 0
        self.limited = 0  # seconds until more is taken
        self.moved: dict[int, int] = {}  # groups that have another number now
        self.is_open = True
        super().__init__()
        self.answer = self._answer

    def close(self) -> None:
        with self._more:
            self.is_open = False
            self._more.notify_all()
        super().close()

    def update(self, chat: int, text: str, kind: str = "message", sender: int = 0, **more: Any) -> None:
        """Somebody says something."""
        with self._more:
            message = {"message_id": 1, "chat": {"id": chat}, "text": text, "date": int(time.time())}
            message |= {"from": {"id": sender or chat, "username": "ann"}, **more}
            self._updates.append({"update_id": 700 + len(self._updates), kind: message})
            self._more.notify_all()

    def _answer(self, request: Request) -> Answer:
        token, _, method = request.path.removeprefix("/bot").rpartition("/")
        if token != self.TOKEN:
            return error(401, "Unauthorized")
        fields, picture = fields_of(request)
        if method == "getUpdates":
            return self._poll(fields)
        text = fields.get("text", fields.get("caption", ""))
        chat = int(fields["chat_id"])
        if self.limited:
            return error(429, f"Too Many Requests: retry after {self.limited}", retry_after=self.limited)
        if chat in self.moved:
            words = "Bad Request: group chat was upgraded to a supergroup chat"
            return error(400, words, migrate_to_chat_id=self.moved[chat])
        if chat not in self.chats:
            return error(400, "Bad Request: chat not found")
        if why := self.chats[chat]:
            status, _, words = why.partition(" ")
            return error(int(status), words)
        if fields.get("parse_mode"):
            return error(400, "Bad Request: can't parse entities: Can't find end of the entity")
        length = len(text.encode("utf-16-le")) // 2
        if method == "sendMessage" and not 1 <= length <= 4096:
            return error(400, "Bad Request: message is too long" if text else "Bad Request: message text is empty")
        if method == "sendPhoto" and length > 1024:
            return error(400, "Bad Request: message caption is too long")
        if method == "sendPhoto" and not picture.startswith(b"\x89PNG"):
            return error(400, "Bad Request: IMAGE_PROCESS_FAILED")
        self.said.append((chat, text, picture))
        return 200, {}, json.dumps({"ok": True, "result": {"message_id": len(self.said)}}).encode()

    def _poll(self, fields: dict[str, Any]) -> Answer:
        if self.webhook:
            return error(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook")
        with self._more:
            self._pollers += 1
            mine = self._pollers
            self._more.notify_all()
            offset, kinds = fields.get("offset", 0), fields.get("allowed_updates", ["message"])

            def found() -> list[dict[str, Any]]:
                return [u for u in self._updates if u["update_id"] >= offset and set(u) & set(kinds)][:100]

            over = lambda: found() or not self.is_open or self._pollers > mine  # noqa: E731
            self._more.wait_for(over, fields.get("timeout", 0))
            if self._pollers > mine:
                return error(409, "Conflict: terminated by other getUpdates request")
            return 200, {}, json.dumps({"ok": True, "result": found()}).encode()


def fields_of(request: Request) -> tuple[dict[str, Any], bytes]:
    """The fields of JSON or of a form, and its picture."""
    kind = request.headers["Content-Type"]
    if kind == "application/json":
        return request.json, b""
    mail = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.body, policy=default)
    fields: dict[str, Any] = {}
    picture = b""
    for part in mail.iter_parts():
        name, data = str(part.get_param("name", header="content-disposition")), part.get_payload(decode=True)
        assert isinstance(data, bytes)
        if part.get_filename():
            picture = data
        else:
            fields[name] = data.decode()
    return fields, picture


def error(status: int, description: str, **parameters: Any) -> Answer:
    """As the Bot API says it."""
    said = {"ok": False, "error_code": status, "description": description}
    return status, {}, json.dumps({**said, **({"parameters": parameters} if parameters else {})}).encode()


@dataclass
class MailSink:
    """A mail server. With a certificate: STARTTLS, or TLS from the first byte. With a user: AUTH."""

    cert: tuple[Path, Path] | None = None
    user: str = ""
    password: str = ""
    taken: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    replies: deque[str] = field(default_factory=deque)  # to the next mails; then always `reply`; empty: taken
    reply: str = ""
    to: dict[str, str] = field(default_factory=dict)  # replies to recipients
    hangs: threading.Event = field(default_factory=threading.Event)
    at_once: bool = False  # TLS

    def __post_init__(self) -> None:
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # it says all that passes
        sink = self
        context = None
        if self.cert:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self.cert)

        class Handler:
            async def handle_RCPT(  # noqa: N802
                self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
            ) -> str:
                if reply := sink.to.get(address):
                    return reply
                envelope.rcpt_tos.append(address)
                return "250 OK"

            async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
                while sink.hangs.is_set():
                    await asyncio.sleep(0.02)
                if reply := sink.replies.popleft() if sink.replies else sink.reply:
                    return reply
                assert isinstance(envelope.content, bytes)
                mail = message_from_bytes(envelope.content, policy=default)
                sink.taken.append((list(envelope.rcpt_tos), mail))
                return "250 OK"

        def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
            assert isinstance(data, LoginPassword)
            right = (data.login, data.password) == (sink.user.encode(), sink.password.encode())
            return AuthResult(success=right, handled=False)

        self._controller = Controller(
            Handler(),
            hostname="127.0.0.1",
            port=free_port(),
            ssl_context=context if self.at_once else None,
            tls_context=None if self.at_once else context,
            require_starttls=context is not None and not self.at_once,
            authenticator=authenticate,
            auth_required=bool(self.user),
            auth_require_tls=context is not None and not self.at_once,
        )
        self._controller.start()
        self.port = self._controller.port

    def close(self) -> None:
        self.hangs.clear()
        self._controller.stop()


class Broker:
    """Mosquitto, unmodified."""

    def __init__(self, folder: Path, more: str = "allow_anonymous true") -> None:
        self._folder, self._more, self.port = folder, more, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def pause(self) -> None:
        """It hangs until `start`."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def start(self) -> None:
        """Start it, or let it go on."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            return
        file = self._folder / "mosquitto.conf"
        file.write_text(f"listener {self.port} 127.0.0.1\n{self._more}\n")
        with (self._folder / "mosquitto.log").open("ab") as log:
            command = [program("mosquitto", "mosquitto"), "-c", str(file)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._answers, "the broker")
        assert self._process.poll() is None, self.log

    @property
    def log(self) -> str:
        return (self._folder / "mosquitto.log").read_text()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    close = stop
