"""Alarms from a row to a phone, through real processes: what people see and say, and what nobody may see."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.running import Running, Work, eventually, free_port
from tests.sinks import BotApi, HttpSink, MailSink

pytestmark = pytest.mark.slow

SECRETS = (
    BotApi.TOKEN,
    BotApi.TOKEN.partition(":")[2],
    "s3cretHook",
    "s3cret/Path",
    "p4ssword",
    "s3cretTopic",
    "s3cretBeat",
)
RULE = '[[alarm]]\nname = "hot"\nsource = "room*"\ncolumns = "t"\nwarning = "> 80"\ncritical = "> 95"\n'


class Told:
    """A collector, `linemon work`, and those who are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bot, self.hook, self.mail = BotApi(), HttpSink(), MailSink()
        self.bot.chats = {5: ""}
        telegram = f'token = "{BotApi.TOKEN}"\nchats = [5]\napi = "http://127.0.0.1:{self.bot.port}"'
        hook = f'url = "http://127.0.0.1:{self.hook.port}/s3cret/Path"\nsecret = "s3cretHook"'
        mail = f'host = "127.0.0.1:{self.mail.port}"\nto = ["ops@lab.example"]\nuser = "ann"\npassword = "p4ssword"'
        away = f'url = "http://127.0.0.1:{free_port()}/s3cretTopic"'
        settings = f'[work]\nstate = "{folder}/state"\n[alarms]\ngroup_wait = "0.5s"\n'
        settings += f'heartbeat = "http://127.0.0.1:{self.hook.port}/s3cretBeat"\n{RULE}'
        for kind, keys in (("telegram", telegram), ("webhook", hook), ("mail", mail), ("ntfy", away)):
            settings += f'[[notify]]\nname = "{kind}"\nkind = "{kind}"\n{keys}\n'
        self.collector = Running(folder / "one", settings)
        self.work = Work(self.collector.config, "alarms")

    def start(self) -> None:
        self.work.start()
        eventually((self.collector.store_path / "alarms.json").exists, "it judges")

    def row(self, value: float) -> None:
        self.collector.say(f"#source room1\n#columns t:C\n{value}\n")

    def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.collector.run("alarms", "--json").stdout)
        return found

    def say(self, text: str) -> tuple[str, bytes]:
        """To the bot; what it answers."""
        count = len(self.bot.said)
        self.bot.update(5, text)
        eventually(lambda: len(self.bot.said) > count, f"an answer to {text}")
        return self.bot.said[-1][1:]

    def shown(self) -> str:
        """All that can be looked at: commands, HTTP, files but linemon.toml."""
        runs = [
            self.collector.run(*each.split()) for each in ("status", "status --json", "alarms", "alarms log", "check")
        ]
        runs += [self.collector.run("alarms", "test", name) for name in ("telegram", "webhook", "mail", "ntfy")]
        found = "".join(each.stdout + each.stderr for each in runs)
        for path in self.folder.rglob("*"):
            if path.is_file() and path.name != "linemon.toml":
                found += path.read_bytes().decode(errors="replace")
        return found

    def stop(self) -> None:
        self.work.stop()
        self.collector.stop()
        for each in (self.bot, self.hook, self.mail):
            each.close()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path)
    yield told
    told.stop()


def test_from_a_row_to_a_phone_and_back(told: Told) -> None:
    """A message with the chart of what happened; commands that ask for more, and have no more told."""
    told.start()
    told.row(50)
    told.row(85)
    eventually(lambda: told.bot.said, "it is told")
    _, text, png = told.bot.said[0]
    title, story = text.splitlines()
    assert title == "Warning: hot on room1"
    assert story.startswith("room1 t: 85 C. Since ")
    assert story.endswith("#1")
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (1280, 640)
    assert "85" in told.say("status ROOM1")[0]
    assert told.say("GRAPH room1 5m")[1].startswith(b"\x89PNG")
    assert "room1" in told.say("ack 1")[0]
    eventually(lambda: [each["acked"] for each in told.listed()] != [None], "it is shown")
    assert told.listed()[0]["acked"]["by"] == "ann by telegram"
    assert "room1" in told.say("silence room1 2h")[0]
    told.row(50)
    eventually(lambda: not told.listed(), "it is over")
    assert told.say("STATUS")[1] == b""
    assert not any(text.startswith("OK") for _, text, _ in told.bot.said)


def test_no_secret_is_shown(told: Told) -> None:
    """Not by a server that says them again, not by one that refuses, nor by one that is not there."""
    told.bot.chats[5] = f"403 Forbidden: bot{BotApi.TOKEN} was blocked"
    told.hook.answer = lambda request: (500, {}, request.path.encode() + b" s3cretHook" * bool(request.body))
    told.mail.reply = "554 p4ssword"
    told.start()
    told.row(85)
    states = ("mail", "ntfy", "telegram", "webhook")

    def failing() -> bool:
        part = json.loads(told.collector.run("status", "--json").stdout)[0]
        return set(part.get("notifiers", ())) == set(states) and (
            part.get("outbox.dead"),
            part.get("outbox.waiting"),
        ) == (2, 2)

    eventually(failing, "all fail")
    shown = told.shown()
    assert "403 Forbidden" in shown
    for secret in SECRETS:
        assert secret not in shown, shown[max(0, shown.index(secret) - 300) : shown.index(secret) + 60]


def test_a_secret_that_is_not_there(told: Told) -> None:
    """`${VAR}` that the environment lacks is named, and not the text around it."""
    text = told.collector.config.read_text().replace('secret = "s3cretHook"', 'secret = "s3cretHook${NO_SUCH}"')
    told.collector.config.write_text(text)
    done = told.collector.run("check")
    assert done.returncode == 2
    assert "the environment has no variable NO_SUCH" in done.stderr
    assert "s3cret" not in done.stderr
