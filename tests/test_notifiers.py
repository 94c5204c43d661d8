"""Notifiers against their peers: the suite of tests/notifiers.py for each, and what is each one's own."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from linemon.config import load
from linemon.errors import ConfigError
from linemon.parts.alarms.message import Message
from linemon.parts.alarms.notifiers import build
from linemon.parts.alarms.pen import DARK
from linemon.store.writer import StoreWriter
from tests.notifiers import FIRST, OTHER, Conformance, Post, RefusingConformance, over, raised
from tests.pki import Authority
from tests.running import eventually, free_port, program
from tests.sinks import BotApi, Broker, HttpSink, MailSink, Request
from tests.test_messages import House

pytestmark = pytest.mark.slow  # it starts other people's programs

SECRET = "s3cretOfTheHook"


def wait_of(post: Post) -> float:
    """How long what waits will wait, in seconds."""
    letters, again = post.outbox._desks["it"].waiting.due(time.monotonic())
    assert not letters
    return again - time.monotonic()


def body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part
    return str(part.get_content())


class TestWebhook(RefusingConformance):
    secrets = (SECRET, "T0ken/B0x")
    is_for_machines = True

    def open(self) -> None:
        self.sink = HttpSink()

    def close(self) -> None:
        self.sink.close()

    def settings(self) -> str:
        return f'kind = "webhook"\nurl = "http://127.0.0.1:{self.sink.port}/T0ken/B0x"\nsecret = "{SECRET}"'

    def told(self) -> list[str]:
        return [request.body.decode() for request in self.sink.taken]

    def fail(self) -> None:
        self.sink.answer = lambda request: (500, {}, self.echo(request))

    def refuse(self) -> None:
        self.sink.answer = lambda request: (403, {}, self.echo(request))

    def hang(self) -> None:
        self.sink.hangs.set()

    def work(self) -> None:
        self.sink.free()
        self.sink.answer = lambda request: (200, {}, b"")

    def echo(self, request: Request) -> bytes:
        return f"no {request.path} for {SECRET}".encode()

    def test_what_it_posts(self) -> None:
        """JSON, signed, with a key that is the same each time it is tried; each event by itself."""
        post = self.start()
        self.sink.answers.extend([(503, {"Retry-After": "0"}, b""), (429, {"Retry-After": "0"}, b"")])
        post.put(FIRST, over())
        post.until_sent(2)
        keys = [request.headers["Idempotency-Key"] for request in self.sink.seen]
        assert keys == [f"{FIRST.key}/1"] * 3 + [f"{FIRST.key}/2"]
        first, last = self.sink.taken
        assert first.headers["X-Linemon-Signature"] == hmac.new(SECRET.encode(), first.body, hashlib.sha256).hexdigest()
        assert first.json == {
            "key": FIRST.key, "seq": 1, "n": 12, "state": "warning", "level": 1, "alarm": "disk full", "source": "web1",
            "column": "fs./.used_pct", "value": 91.5, "unit": "%", "since": "2026-11-18T11:06:40.000Z", "until": None,
            "at": "2026-11-18T11:06:41.000Z", "text": "web1: fs./.used_pct is 92 %",
        }  # fmt: skip
        assert (last.json["state"], last.json["until"]) == ("ok", "2026-11-18T11:13:40.000Z")

    def test_it_follows_no_redirect(self) -> None:
        """A POST that is led elsewhere would be a GET, and the secret path be told to others."""
        post = self.start()
        self.sink.answers.append((302, {"Location": f"http://127.0.0.1:{self.sink.port}/elsewhere"}, b""))
        post.put(FIRST)
        post.until(lambda state: state["dead"] == 1, "it is refused")
        assert len(self.sink.seen) == 1

    def test_retry_after_wins(self) -> None:
        """A peer that asks for an hour is left alone, with all that waits."""
        post = self.start()
        self.sink.answers.append((429, {"Retry-After": "3600"}, b""))
        post.put(FIRST, OTHER)
        post.until(lambda state: state["failed"] == 1, "it is asked")
        assert wait_of(post) > 3500


class TestNtfy(TestWebhook):
    secrets = ("tk_s3cret", "my-s3cret-topic")
    is_for_machines = False

    def settings(self) -> str:
        return f'kind = "ntfy"\nurl = "http://127.0.0.1:{self.sink.port}/my-s3cret-topic"\ntoken = "tk_s3cret"'

    def told(self) -> list[str]:
        return [f"{request.headers['Title']}\n{request.body.decode()}" for request in self.sink.taken]

    def echo(self, request: Request) -> bytes:
        return f"no {request.headers['Authorization']} at {request.path}".encode()

    def test_what_it_posts(self) -> None:
        """Title, priority, tags and link in headers; a title beyond ASCII as JSON; several incidents as one."""
        post = self.start('page = "https://lab.example/linemon"')
        post.put(FIRST)
        post.until_sent(1)
        post.put(raised())
        post.until_sent(2)
        post.put(over(seq=3))
        post.until_sent(3)
        priorities = [request.headers["Priority"] for request in self.sink.taken]
        assert priorities == ["4", "5", "3"]
        first = self.sink.taken[0]
        assert first.headers["Title"] == "Warning: disk full on web1"
        assert first.headers["Tags"] == "warning"
        assert first.headers["Click"] == "https://lab.example/linemon/?source=web1"
        assert first.headers["Authorization"] == "Bearer tk_s3cret"
        post.put(replace(OTHER, source="Küche", text="Küche: zu heiß"))
        post.until_sent(4)
        last = self.sink.taken[-1]
        assert last.path == "/"
        assert last.json["topic"] == "my-s3cret-topic"
        assert last.json["title"] == "Warning: memory on Küche"
        assert last.json["message"].startswith("Küche: zu heiß. Since ")


class TestCommand(RefusingConformance):
    secrets = ("s3cretArgument",)
    is_for_machines = True

    def open(self) -> None:
        self.mode, self.out = self.folder / "mode", self.folder / "out"
        self.program = self.folder / "page"
        self.program.write_text(
            f'#!/bin/sh\nfor i in 1; do m=$(cat {self.mode}); [ "$m" = hang ] && sleep 30; done\n'
            f'[ "$m" = 0 ] && cat >> {self.out} || cat > /dev/null\necho "no $1" >&2\nexit $m\n'
        )
        self.program.chmod(0o755)
        self.work()

    def close(self) -> None:
        pass

    def settings(self) -> str:
        return f'kind = "command"\nargv = ["{self.program}", "s3cretArgument"]'

    def told(self) -> list[str]:
        return self.out.read_text().splitlines() if self.out.exists() else []

    def fail(self) -> None:
        self.mode.write_text("75")

    def refuse(self) -> None:
        self.mode.write_text("1")

    def hang(self) -> None:
        self.mode.write_text("hang")

    def work(self) -> None:
        self.mode.write_text("0")

    def test_nobody_is_there(self) -> None:
        """A program that is not there will never be."""
        post = self.start(settings=self.settings().replace("page", "no-such-page"))
        post.put(FIRST)
        post.until(lambda state: state["dead"] == 1, "it is refused")
        assert post.of()["error"] == "no-such-page cannot be started: No such file or directory"
        self.hidden(post)

    def test_names_are_no_shell(self) -> None:
        """What a sender calls its source is JSON on stdin, and nothing else."""
        name = f"$(touch {self.folder}/pwned);`x`"
        post = self.start()
        post.put(replace(FIRST, source=name))
        post.until_sent(1)
        assert json.loads(self.told()[0])["source"] == name
        assert not (self.folder / "pwned").exists()


class TestMail(RefusingConformance):
    secrets = ("p4ssword",)

    def open(self) -> None:
        authority = Authority(self.folder)
        self.ca, self.cert = authority.cert, authority.issue("server")
        self.sink = MailSink(self.cert, "ann", "p4ssword")

    def close(self) -> None:
        self.sink.close()

    def settings(self) -> str:
        return (
            f'kind = "mail"\nhost = "127.0.0.1:{self.sink.port}"\nstarttls = true\nca = "{self.ca}"\nuser = "ann"\n'
            'password = "p4ssword"\nfrom = "linemon@lab.example"\nto = ["ops@lab.example", "bob@lab.example"]'
        )

    def told(self) -> list[str]:
        return [f"{mail['Subject']}\n{body(mail, 'plain')}" for _, mail in self.sink.taken]

    def fail(self) -> None:
        self.sink.reply = "451 try again, p4ssword"

    def refuse(self) -> None:
        self.sink.reply = "554 never, p4ssword"

    def hang(self) -> None:
        self.sink.hangs.set()

    def work(self) -> None:
        self.sink.hangs.clear()
        self.sink.reply = ""

    def test_a_mail(self) -> None:
        """Its id is the same each time it is tried, and those of an incident are one thread."""
        post = self.start()
        self.sink.replies.append("451 greylisted")
        post.put(FIRST)
        post.until_sent(1)
        post.put(raised())
        post.until_sent(2)
        post.put(over(seq=3))
        post.until_sent(3)
        (to, first), (_, second), (_, third) = self.sink.taken
        assert to == ["ops@lab.example", "bob@lab.example"]
        assert first["Message-ID"] == f"<{FIRST.key}.1@linemon>"
        assert first["References"] is None
        assert second["Message-ID"] == f"<{FIRST.key}.2@linemon>"
        assert second["References"] == third["References"] == first["Message-ID"]
        assert first["Auto-Submitted"] == "auto-generated"
        assert first["Subject"] == "Warning: disk full on web1"
        assert first["From"] == "linemon@lab.example"
        assert [part.get_content_type() for part in first.walk()] == [
            "multipart/alternative",
            "text/plain",
            "text/html",
        ]

    def test_a_mail_has_the_picture(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Within the HTML, by its id; the plain text beside it."""
        monkeypatch.setattr("linemon.parts.alarms.picture.Pictures.of", lambda *_: b"\x89PNG...")
        post = self.start('page = "https://lab.example/"')
        post.put(FIRST)
        post.until_sent(1)
        mail = self.sink.taken[0][1]
        kinds = ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]
        parts = list(mail.walk())
        assert [part.get_content_type() for part in parts] == kinds
        assert parts[4].get_content() == b"\x89PNG..."
        assert f'src="cid:{parts[4]["Content-ID"].strip("<>")}"' in body(mail, "html")
        assert 'href="https://lab.example/?source=web1"' in body(mail, "html")

    def test_only_who_has_not_taken_it_is_told_again(self) -> None:
        """One recipient is greylisted, another refused: the third has one mail."""
        post = self.start(settings=self.settings().replace('"bob@', '"carl@lab.example", "bob@'))
        self.sink.to = {"bob@lab.example": "450 later", "carl@lab.example": "550 no such user"}
        post.put(FIRST)
        post.until(lambda state: state["failed"] >= 2, "it is tried")
        del self.sink.to["bob@lab.example"]
        post.until(lambda state: not state["waiting"], "it is over")
        assert [to for to, _ in self.sink.taken] == [["ops@lab.example"], ["bob@lab.example"]]

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (("p4ssword", "wr0ng-password"), "answers 535 5.7.8"),
            (('ca = "', '#ca = "'), "certificate that is not trusted"),
            (("starttls = true", ""), "127.0.0.1"),
        ],
    )
    def test_what_will_never_do_is_said(self, change: tuple[str, str], says: str) -> None:
        """A wrong password, a certificate of nobody, a server that wants TLS: refused at the first try."""
        post = self.start(settings=self.settings().replace(*change))
        post.put(FIRST)
        post.until(lambda state: state["dead"] == 1, "it is refused")
        assert says in post.of()["error"]
        assert "wr0ng" not in json.dumps(post.state()) + self.caplog.text

    def test_tls_from_the_first_byte(self) -> None:
        self.sink.close()
        self.sink = MailSink(self.cert, "ann", "p4ssword", at_once=True)
        post = self.start(settings=self.settings().replace("starttls", "tls"))
        post.put(FIRST)
        post.until_sent(1)
        assert len(self.sink.taken) == 1

    def test_names_make_no_headers(self) -> None:
        """A source and a text with line breaks, in whatever script, stay what they are."""
        post = self.start()
        post.put(replace(FIRST, source="a\r\nBcc: x@y.z", alarm="Temperatur zu hoch – Küche", text="<b>a\r\n\r\nb</b>"))
        post.until_sent(1)
        to, mail = self.sink.taken[0]
        assert len(to) == 2
        assert mail["Bcc"] is None
        assert mail["Subject"] == "Warning: Temperatur zu hoch – Küche on a Bcc: x@y.z"
        assert "&lt;b&gt;a b&lt;/b&gt;" in body(mail, "html")


class TestTelegram(RefusingConformance):
    secrets = (BotApi.TOKEN, BotApi.TOKEN.partition(":")[2])

    def open(self) -> None:
        self.api = BotApi()
        self.api.chats = {5: "", -7: ""}

    def close(self) -> None:
        self.api.close()

    def settings(self, chats: str = "[5]") -> str:
        return f'kind = "telegram"\ntoken = "{BotApi.TOKEN}"\nchats = {chats}\napi = "http://127.0.0.1:{self.api.port}"'

    def told(self) -> list[str]:
        return [text for _, text, _ in self.api.said]

    def fail(self) -> None:
        self.api.chats[5] = f"500 Internal at /bot{BotApi.TOKEN}/"

    def refuse(self) -> None:
        self.api.chats[5] = f"403 Forbidden: bot {BotApi.TOKEN} was blocked by the user"

    def hang(self) -> None:
        self.api.hangs.set()

    def work(self) -> None:
        self.api.free()
        self.api.chats[5] = ""

    def test_it_waits_as_long_as_it_is_asked_to(self) -> None:
        """429 says how long."""
        post = self.start()
        eventually(lambda: self.api.seen, "it listens")
        self.api.limited = 3600
        post.put(FIRST)
        post.until(lambda state: state["failed"] == 1, "it is tried")
        assert wait_of(post) > 3500

    def test_one_chat_of_two(self) -> None:
        """One that has blocked the bot costs the other nothing; what failed for now is told to that one alone."""
        post = self.start(settings=self.settings("[5, -7]"))
        self.api.chats[-7] = "502 Bad Gateway"
        post.put(FIRST)
        post.until(lambda state: state["failed"] >= 2, "it is tried")
        self.api.chats[-7] = ""
        post.until_sent(1)
        assert [chat for chat, _, _ in self.api.said] == [5, -7]
        self.api.chats[-7] = "403 Forbidden: bot was kicked from the group chat"
        post.put(raised())
        post.until(lambda state: state["dead"] == 1, "it is refused")
        assert [chat for chat, _, _ in self.api.said] == [5, -7, 5]

    def test_names_are_no_markup(self) -> None:
        """`_`, `*` and `<` stand there as they are, and what is too long is cut."""
        post = self.start()
        post.put(replace(FIRST, source="a_b*c", text="<b> _x " + "🌡" * 5000))
        post.until_sent(1)
        text = self.told()[0]
        assert text.startswith("Warning: disk full on a_b*c\n<b> _x 🌡")
        assert len(text.encode("utf-16-le")) // 2 > 3900

    def test_a_wrong_token_is_said_without_it(self) -> None:
        post = self.start(settings=self.settings().replace(BotApi.TOKEN, "999:wrongButS3cret"))
        post.put(FIRST)
        post.until(lambda state: state["dead"] == 1, "it is refused")
        assert post.of()["error"] == "127.0.0.1 answers 401 Unauthorized"
        eventually(lambda: "trouble" in post.of(), "commands are not heard")
        assert "S3cret" not in json.dumps(post.state()) + self.caplog.text

    def test_a_second_poller_is_said(self) -> None:
        """409: commands are not heard, and the state says why; messages go all the same."""
        self.api.webhook = True
        post = self.start()
        eventually(lambda: "409 Conflict" in post.of().get("trouble", ""), "it says why")
        post.put(FIRST)
        post.until_sent(1)
        self.api.webhook = False
        eventually(lambda: "trouble" not in post.of(), "it hears again")

    def test_a_group_that_got_another_number(self) -> None:
        """400 with `migrate_to_chat_id`: the message says what to set."""
        post = self.start(settings=self.settings("[-9]"))
        self.api.answers.append((200, {}, b'{"ok":true,"result":[]}'))
        self.api.moved[-9] = -1009
        post.put(FIRST)
        post.until(lambda state: state["dead"] == 1, "it is refused")
        assert "chats should have -1009" in post.of()["error"]


class TestTelegramsCommands:
    """What people say to the bot, through the Bot API."""

    @pytest.fixture(autouse=True)
    def bot(self, tmp_path: Path) -> Iterator[None]:
        self.folder, self.api, self.house, self.posts = tmp_path, BotApi(), House(), list[Post]()
        self.api.chats = {5: "", 6: ""}
        writer = StoreWriter(tmp_path / "store", 100, 10)
        ring = writer.bind("web1", ("cpu.busy_pct",), ("%",))
        values = np.array([[time.time_ns() - i * 10**9, np.float64(i).view(np.int64)] for i in range(60, 0, -1)])
        ring.arena.append_to(ring.entry.slot, values)
        yield
        for post in self.posts:
            post.stop()
        self.api.close()
        writer.close()

    def start(self, more: str = "") -> Post:
        settings = f'kind = "telegram"\ntoken = "{BotApi.TOKEN}"\napi = "http://127.0.0.1:{self.api.port}"\n'
        self.posts.append(
            Post(
                self.folder,
                f'[alarms]\ngroup_wait = 0.05\n[[notify]]\nname = "it"\n{settings}chats = [5]\n{more}',
                self.house,
            )
        )
        eventually(lambda: len(self.api.seen) > 1, "it has looked what came before, and listens")
        return self.posts[-1]

    def answers(self, count: int) -> list[tuple[int, str]]:
        eventually(lambda: len(self.api.said) >= count, f"{count} answers")
        return [(chat, text) for chat, text, _ in self.api.said]

    def test_commands_are_done_once(self) -> None:
        """In order, with who said it; also not again by who starts after it."""
        self.start()
        self.api.update(5, "/ack 12")
        self.api.update(5, "silence web1 2h")
        assert self.answers(2) == [(5, "#12 is acknowledged"), (5, "silent")]
        assert self.house.asked == [("ack", 12, "ann by it"), ("silence", "web1", 7200.0, "ann by it")]
        self.posts.pop().stop()
        self.api.seen.clear()
        self.start()
        self.api.update(5, "status web1")
        assert self.answers(3)[2:] == [(5, "web1: OK")]
        assert len(self.house.asked) == 3

    def test_what_was_said_while_it_was_away(self) -> None:
        """It is not done, and said so; also where it is more than one answer holds."""
        for _ in range(130):
            self.api.update(5, "ack 12")
        self.start()
        assert self.answers(1) == [(5, "130 commands came while I was away: send them again")]
        self.api.update(5, "status")
        assert self.answers(2)[1] == (5, "all: OK")
        assert self.house.asked == [("status", "")]

    def test_strangers_hear_nothing(self) -> None:
        """Another chat, another user of a chat, what is edited or forwarded or of a channel; they are counted."""
        post = self.start("users = [5]")
        self.api.update(6, "ack 1")
        self.api.update(5, "ack 2", sender=9)
        self.api.update(5, "ack 3", kind="edited_message")
        self.api.update(5, "ack 4", kind="channel_post")
        self.api.update(5, "ack 5", forward_date=1)
        self.api.update(5, "ack 6")
        assert self.answers(1) == [(5, "#6 is acknowledged")]
        assert self.house.asked == [("ack", 6, "ann by it")]
        assert post.of()["strangers"] == 2

    def test_too_many_commands(self) -> None:
        """Twenty a minute; the others are counted."""
        post = self.start()
        for _ in range(25):
            self.api.update(5, "status")
        eventually(lambda: post.of().get("ignored") == 5, "they are counted")
        assert len(self.answers(20)) == 20

    def test_a_graph(self) -> None:
        """A picture of the rows, drawn here, in the colours that are set."""
        self.start("dark = true")
        self.api.update(5, "GRAPH web1 5m")
        assert self.answers(1) == [(5, "web1 cpu.busy_pct, the last 5m")]
        with Image.open(io.BytesIO(self.api.said[0][2])) as image:
            assert image.size == (1280, 640)
            assert image.convert("RGB").getpixel((2, 2)) == DARK.card

    def test_an_incident_has_a_picture(self) -> None:
        """And a mail has it, too; see `test_a_mail_has_the_picture`."""
        post = self.start()
        now = time.time_ns()
        event = replace(FIRST, column="cpu.busy_pct", since=now - 30 * 10**9, at=now, text="web1: " + "x" * 3000)
        post.put(event)
        post.until_sent(1)
        _, text, picture = self.api.said[0]
        assert picture.startswith(b"\x89PNG")
        assert len(text) <= 1024

    def test_without_a_picture_where_it_is_not_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """400 to a photo: the text goes alone."""
        monkeypatch.setattr("linemon.parts.alarms.picture.Pictures.of", lambda *_: b"no PNG")
        post = self.start()
        post.put(FIRST)
        post.until_sent(1)
        assert self.api.said == [(5, f"Warning: disk full on web1\n{Message([FIRST]).text(1000)}", b"")]


class TestApprise(Conformance):
    secrets = ("us3r", "p4ssw0rd", "s3cretPath")

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def kept_for_good(cls) -> None:
        """The library makes a pool of threads with its first message, and keeps it."""
        apprise = pytest.importorskip("apprise")
        one = apprise.Apprise()
        one.add("json://127.0.0.1:1")
        one.notify("x")

    def open(self) -> None:
        self.sink, self.second = HttpSink(), HttpSink()

    def close(self) -> None:
        self.sink.close()
        self.second.close()

    def nowhere(self) -> str:
        return self.settings().replace(str(self.sink.port), str(free_port()))

    def settings(self) -> str:
        return f'kind = "apprise"\nurls = ["json://us3r:p4ssw0rd@127.0.0.1:{self.sink.port}/s3cretPath"]'

    def told(self) -> list[str]:
        return [f"{request.json['title']}\n{request.json['message']}" for request in self.sink.taken]

    def fail(self) -> None:
        self.sink.answer = lambda request: (500, {}, b"no")

    def hang(self) -> None:
        self.sink.hangs.set()

    def work(self) -> None:
        self.sink.free()
        self.sink.answer = lambda request: (200, {}, b"")

    def test_only_who_has_not_taken_it_is_told_again(self) -> None:
        """Each address for itself: JSON takes it at once, ntfy later."""
        more = f', "ntfy://127.0.0.1:{self.second.port}/topic"]'
        self.second.answer = lambda request: (429, {}, b"")
        post = self.start(settings=self.settings().replace("]", more))
        post.put(FIRST)
        post.until(lambda state: state["failed"] >= 2, "it is tried")
        assert "urls[1] was not taken" in post.of()["error"]
        self.second.answer = lambda request: (200, {}, b"{}")
        post.until_sent(1)
        assert len(self.sink.taken) == len(self.second.taken) == 1

    def test_nobody_is_there(self) -> None:
        """It says no more than that."""
        post = self.start(settings=self.nowhere())
        post.put(FIRST)
        post.until(lambda state: state["failed"] >= 2, "it is tried")
        assert "urls[0] was not taken" in post.of()["error"]
        self.hidden(post)

    def test_an_address_that_it_does_not_know(self) -> None:
        """`linemon check` says which, and not what it is."""
        file = self.folder / "linemon.toml"
        file.write_text('[[notify]]\nname = "it"\nkind = "apprise"\nurls = ["nosuch://s3cretPath"]\n')
        with pytest.raises(ConfigError, match=r"'it' urls\[0\]: Apprise takes no such address"):
            build(load(file))["it"].check()


class TestMqtt(Conformance):
    secrets = ("br0kerPass",)
    timeout = 1.0
    is_for_machines = True

    def open(self) -> None:
        pytest.importorskip("paho.mqtt.client")
        passwords = self.folder / "passwords"
        subprocess.run(
            [program("mosquitto_passwd", "mosquitto"), "-b", "-c", str(passwords), "ann", "br0kerPass"], check=True
        )
        # As root it would become another user, who could not read it.
        self.broker = Broker(self.folder, f"user root\nallow_anonymous false\npassword_file {passwords}")
        self.heard: list[tuple[str, dict[str, Any] | str, bool]] = []
        self.listener = self.listen()

    def listen(self) -> Any:
        """Somebody else, who hears all."""
        from paho.mqtt import client as paho

        version = getattr(paho, "CallbackAPIVersion", None)
        client: Any = paho.Client(version.VERSION2) if version else paho.Client()
        client.username_pw_set("ann", "br0kerPass")

        def heard(client: Any, userdata: Any, message: Any) -> None:
            text = message.payload.decode()
            said = json.loads(text) if text.startswith("{") else text
            self.heard.append((message.topic, said, bool(message.retain)))

        client.on_message = heard
        client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", self.broker.port)
        client.loop_start()
        return client

    def close(self) -> None:
        self.listener.disconnect()
        self.listener.loop_stop()
        self.listener = None
        self.broker.close()

    def settings(self) -> str:
        return f'kind = "mqtt"\nbroker = "127.0.0.1:{self.broker.port}"\nuser = "ann"\npassword = "br0kerPass"'

    def told(self) -> list[str]:
        """Once each: who was away itself hears what is retained."""
        found = {(said["key"], said["seq"]): said for _, said, _ in self.heard if isinstance(said, dict)}
        return [json.dumps(said) for said in found.values()]

    def fail(self) -> None:
        self.broker.stop()

    def hang(self) -> None:
        self.broker.pause()

    def work(self) -> None:
        self.broker.start()

    def test_the_present_state_is_retained(self) -> None:
        """Who comes later has it; names are escaped; the broker says when we are gone."""
        post = self.start()
        post.put(FIRST)
        post.put(over())
        post.until_sent(2)
        self.heard.clear()
        later = self.listen()
        topic = "linemon/alarm/disk%20full/web1/fs.%2F.used_pct"

        def retained() -> dict[str, Any] | None:
            return next((said for t, said, kept in self.heard if t == topic and kept and isinstance(said, dict)), None)

        said = eventually(retained, "it is retained")
        assert (said["state"], said["key"], said["seq"]) == ("ok", FIRST.key, 2)
        assert ("linemon/state", "online", True) in self.heard
        self.end(post)
        eventually(lambda: ("linemon/state", "offline", False) in self.heard, "it says that we are gone")
        later.disconnect()
        later.loop_stop()

    def test_a_broker_that_lets_it_not_in(self) -> None:
        """It says so, and it is told when it does: a password may be mended at the broker."""
        post = self.start(settings=self.settings().replace("br0kerPass", "wr0ng"))
        post.put(FIRST)
        eventually(lambda: "127.0.0.1 refuses us" in post.of().get("error", ""), "it says so")
        assert post.state()["waiting"] == 1
        assert "wr0ng" not in json.dumps(post.state()) + self.caplog.text

    def test_tls(self) -> None:
        """`mqtts://`, with whose certificate `ca` says."""
        authority = Authority(self.folder)
        cert, key = authority.issue("server")
        broker = Broker(self.folder, f"user root\nallow_anonymous true\ncertfile {cert}\nkeyfile {key}")
        try:
            address = f'broker = "mqtts://127.0.0.1:{broker.port}"'
            post = self.start(settings=f'kind = "mqtt"\n{address}\nca = "{authority.cert}"')
            post.put(FIRST)
            post.until_sent(1)
            self.end(post)
            post = self.start(settings=f'kind = "mqtt"\n{address}')
            post.put(OTHER)
            post.until(lambda state: state["dead"] == 1, "it is refused")
            assert "127.0.0.1 has a certificate that is not trusted" in post.of()["error"]
            self.end(post)
        finally:
            broker.close()

    def test_mqttwarn_reads_it(self) -> None:
        """Unmodified, it forwards our messages by their topic and what is in them."""
        pytest.importorskip("mqttwarn")
        out = self.folder / "forwarded"
        (self.folder / "mqttwarn.ini").write_text(
            f"[defaults]\nhostname = '127.0.0.1'\nport = {self.broker.port}\nusername = 'ann'\n"
            f"password = 'br0kerPass'\nclientid = 'warn'\nlaunch = file\n"
            f"[config:file]\ntargets = {{'out': ['{out}']}}\nappend_newline = True\n"
            "[linemon/alarm/#]\ntargets = file:out\nformat = {alarm} on {source} is {state}: {text}\n"
        )
        post = self.start()
        post.put(FIRST)
        post.until_sent(1)
        with (self.folder / "mqttwarn.log").open("wb") as log:
            run = "import mqttwarn.commands as c; c.run()"
            command = [sys.executable, "-c", run, f"--config-file={self.folder}/mqttwarn.ini"]
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        try:
            wanted = "disk full on web1 is warning: web1: fs./.used_pct is 92 %\n"
            eventually(lambda: out.exists() and out.read_text() == wanted, "it has read what was retained", 40)
            post.put(over())
            eventually(lambda: "is ok" in out.read_text(), "and what comes")
        finally:
            process.terminate()
            process.wait(10)
