"""Devices: they register, are told apart, get settings and specs, and what is kept of them is kept."""

from __future__ import annotations

import json
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from linemon.access import Tokens
from linemon.errors import LinemonError
from linemon.lines.devices import Devices
from linemon.lines.session import Session
from linemon.store.asking import ask as command
from linemon.store.devices import Device, DeviceBook
from linemon.store.specs import Specs
from linemon.store.status import COLLECT_SOCKET
from tests import forked
from tests.pki import Authority
from tests.running import DEADLINE_S, Running, eventually
from tests.test_store import in_a_small_disk
from tests.web import Answer, ask, get, post

Start = Callable[..., Running]


class Peer:
    """A device's connection."""

    def __init__(self, running: Running, hello: str = "", source: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(running.address(), DEADLINE_S, (source, 0))
        self._answers = self.sock.makefile("rb")
        self.say(hello)

    def say(self, text: str) -> None:
        self.sock.sendall(text.encode())

    def hear(self) -> str:
        """The next answer; empty at the end."""
        return self._answers.readline().decode().removesuffix("\n")

    def close(self) -> None:
        self._answers.close()
        self.sock.close()


@contextmanager
def peer(running: Running, hello: str = "", source: str = "127.0.0.1") -> Iterator[Peer]:
    there = Peer(running, hello, source)
    try:
        yield there
    finally:
        there.close()


def devices(running: Running) -> list[dict[str, Any]]:
    done = running.run("devices", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def device(running: Running, name: str) -> dict[str, Any]:
    [found] = [each for each in devices(running) if each["name"] == name]
    return found


# -- who they are


def test_a_device_has_its_name_for_ever(start_collector: Start, tmp_path: Path) -> None:
    """Whatever it calls itself later, also after `kill -9` of the collector."""
    running = start_collector()
    with peer(running, "#source room\n#device meter 42\n1\n") as there:
        assert there.hear() == "#device room"
    with peer(running, "#source other\n#device meter 42\n2\n") as there:
        assert there.hear() == "#device room"
    eventually(lambda: running.store["room"].rows == 2, "rows of both connections")
    running.process.kill()
    running.process.wait(DEADLINE_S)
    running = start_collector()
    with peer(running, "#device meter 42\n3\n") as there:
        assert there.hear() == "#device room"
        found = device(running, "room")
        assert (found["product"], found["serial"], found["connected"]) == ("meter", "42", True)
    eventually(lambda: not device(running, "room")["connected"], "an end")


def test_two_devices_of_one_name_are_two_sources(collector: Running) -> None:
    with (
        peer(collector, "#source raspberrypi\n#device host aaaa1\n") as one,
        peer(collector, "#source raspberrypi\n#device host bbbb2\n") as two,
    ):
        assert [one.hear(), two.hear()] == ["#device raspberrypi", "#device raspberrypi.bbbb"]
    assert device(collector, "raspberrypi.bbbb")["wanted"] == "raspberrypi"
    assert "asked for the name raspberrypi" in collector.run("devices").stdout


def test_a_clone_is_refused_and_named(collector: Running) -> None:
    """It says why without being asked, gets no acknowledgement, and the first one goes on."""
    hello = "#source web1\n#device host 42\n#seq 1 x\n1\n"
    with peer(collector, hello) as first:
        assert [first.hear(), first.hear()] == ["#device web1", "#ack 2"]
        with peer(collector, hello.replace("x", "y"), "127.0.0.2") as second:
            assert second.hear() == "#error 2 device: this device is connected already"
            assert second.hear() == ""
        first.say("2\n")
        assert first.hear() == "#ack 3"
    assert device(collector, "web1")["clone"] == "127.0.0.2"
    assert collector.store["web1"].rows == 2


def test_a_connection_that_goes_on_takes_the_place_of_the_one_that_hangs(collector: Running) -> None:
    """Whose numbers it continues from the same address; with other numbers it is refused."""
    hello = "#source web1\n#device host 42\n#seq 1 x\n"
    with peer(collector, hello) as first:
        assert first.hear() == "#device web1"
        with peer(collector, hello) as again:
            assert [first.hear(), first.hear()[:16]] == ["#ack 1", "#error 3 device:"]
            assert [again.hear(), device(collector, "web1")["clone"]] == ["#device web1", None]
    with peer(collector, hello) as first:
        assert first.hear() == "#device web1"
        with peer(collector, hello.replace("x", "y")) as other:
            assert other.hear() == "#error 3 device: this device is connected already"
        with peer(collector, "#source web1\n#device host 42\n1\n") as unnumbered:
            assert unnumbered.hear() == "#error 3 device: this device is connected already"
        with peer(collector, hello) as second:
            assert [second.hear(), second.hear()] == ["#device web1", "#ack 1"]
            assert first.hear() == "#ack 1"
            assert first.hear().startswith("#error 3 device: another connection")
            assert first.hear() == ""
    eventually(lambda: collector.status()["rejected"].get("device") == 1, "the row that had no number is counted")
    assert device(collector, "web1")["clone"] == "127.0.0.1"


@pytest.mark.slow
def test_a_silent_connection_is_replaced(start_collector: Start) -> None:
    """One that was not heard from for 10 s, or three of its intervals."""
    running = start_collector()
    with peer(running, '#device host 42\n#is 0 {"interval": 0.1}\n', "127.0.0.2") as first:
        first.hear()
        with peer(running, "#device host 42\n") as second:
            assert second.hear().startswith("#error")
        eventually(lambda: registered(running, "#device host 42\n"), "10 s of silence", 20)


def registered(running: Running, hello: str) -> bool:
    with peer(running, hello) as there:
        return there.hear().startswith("#device")


def test_too_many_devices_are_refused(start_collector: Start) -> None:
    running = start_collector("[devices]\nmax_devices = 1\n")
    with peer(running, "#device p 1\n") as one, peer(running, "#device p 2\n") as two:
        assert one.hear() == "#device p.1"
        assert two.hear() == "#error 1 device: there are max_devices = 1 already"
    assert [each["name"] for each in devices(running)] == ["p.1"]


def test_block_unblock_and_forget(collector: Running) -> None:
    """A block ends the connection at once, and outlives that it is forgotten."""
    with peer(collector, "#device p 1\n") as there:
        there.hear()
        assert collector.run("devices", "--block", "p.1").returncode == 0
        assert there.hear() == "#error 1 device: it is blocked here"
        assert there.hear() == ""
    assert collector.run("devices", "--forget", "p.1").returncode == 0
    with peer(collector, "#device p 1\n") as there:
        assert there.hear() == "#error 1 device: it is blocked here"
    assert "blocked" in collector.run("devices").stdout
    assert collector.run("devices", "--unblock", "p.1").returncode == 0
    assert registered(collector, "#device p 1\n")
    with peer(collector, "#device p 2\n") as there:
        there.hear()
        assert collector.run("devices", "--forget", "p.2").returncode == 0
        assert there.hear().startswith("#error 1 device: it is forgotten here")
    assert [each["name"] for each in devices(collector)] == ["p.1"]
    assert collector.run("devices", "--block", "nobody").returncode == 1
    assert collector.run("devices", "--block", "a", "--forget", "b").returncode == 2


# -- who may


ENROLS = """
[tcp]
listen = "127.0.0.1:0"
token = "all"
[[token]]
secret = "enrol"
enrols = true
"""


def test_an_enrolment_token_gives_a_device_its_own(start_collector: Start) -> None:
    """Good for its own source alone, kept as a hash, issued again only until it was shown."""
    running = start_collector(ENROLS)
    with peer(running, "#token enrol\n#device meter 42\n") as there:
        assert there.hear() == "#device meter.42"
        lost = there.hear().removeprefix("#token ")
    with peer(running, "#token enrol\n#device meter 42\n") as there:
        assert there.hear() == "#device meter.42"
        own = there.hear().removeprefix("#token ")
    assert own != lost
    kept = (running.store_path / "devices.json").read_text()
    assert sha256(own.encode()).hexdigest() in kept
    assert own not in kept + (running.folder / "log").read_text(errors="replace")
    assert stat.S_IMODE((running.store_path / "devices.json").stat().st_mode) == 0o600
    with peer(running, f"#errors on\n#token {lost}\n") as there:
        assert there.hear() == "#error 2 token: this #token is not one of mine"
    with peer(running, f"#errors on\n#token {own}\n#device meter 42\n1\n#source other\n2\n#mark x\n") as there:
        assert there.hear() == "#device meter.42"
        assert there.hear().startswith("#error 6 token: this token may not write to 'other'")
        assert there.hear().startswith("#error 7 token")
    eventually(lambda: running.store["meter.42"].rows == 1, "its row")
    with peer(running, f"#token {own}\n#device meter 43\n") as there:
        assert there.hear() == "#error 2 device: this token is another device's own"
    with peer(running, "#token enrol\n#device meter 42\n") as there:
        assert "has a token of its own" in there.hear()
    running.process.kill()
    running.process.wait(DEADLINE_S)
    running = start_collector()
    with peer(running, f"#token {own}\n#device meter 42\n") as there:
        assert there.hear() == "#device meter.42"
    assert running.run("devices", "--forget", "meter.42").returncode == 0
    with peer(running, "#token enrol\n#device meter 42\n") as there:
        assert [there.hear(), there.hear()[:7]] == ["#device meter.42", "#token "]
    running.run("devices", "--block", "meter.42")
    with peer(running, f"#errors on\n#token {own}\n#source meter.42\n5\n") as there:
        assert there.hear().startswith("#error 2 token")


@pytest.mark.slow
def test_a_device_that_comes_while_the_disk_is_full(tmp_path: Path) -> None:
    """It is refused before its rows are taken, and comes again; those that are known go on."""
    found = in_a_small_disk(
        "1m",
        """
        import json
        from contextlib import suppress
        from tests.test_devices import ENROLS, Running, devices, peer
        settings = ENROLS + f'[devices]\\npath = "{disk}"\\n'
        running = Running(Path("FOLDER"), settings)
        said = {}

        def come(serial, key, secret="enrol"):
            hello = f"#token {secret}\\n#device meter {serial}\\n"
            with peer(running, hello + f"#columns v\\n#seq 1 {key}\\n7\\n8\\n") as there:
                said[key] = [there.hear()]
                while said[key][-1] not in ("", "#ack 3"):
                    said[key].append(there.hear())

        try:
            come("1", "first")
            own = said["first"][1].removeprefix("#token ")
            with suppress(OSError), open(disk / "left", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            last = 2  # until the page that the registry has is full, too
            while come(str(last), "full") or not said["full"][0].startswith("#error"):
                last += 1
            come("1", "known", own)
            listed = [each["name"] for each in devices(running)]
            (disk / "left").unlink()
            come(str(last), "again")
            running.process.kill()
            running.process.wait(20)
            running = Running(Path("FOLDER"), settings)
            kept = [each["name"] for each in devices(running)]
            rows = {name: running.store[name].rows for name in kept}
            print(json.dumps({"said": said, "listed": listed, "kept": kept, "rows": rows, "last": last}))
        finally:
            running.stop()
        """.replace("FOLDER", str(tmp_path / "near")),
    )
    said, last = found["said"], found["last"]
    assert said["full"][0].startswith("#error 2 device: cannot write")
    assert said["full"][1:] == [""]  # it is closed, and no row was acknowledged
    for key, number in (("first", 1), ("known", 1), ("again", last)):
        assert (said[key][0], said[key][-1]) == (f"#device meter.{number}", "#ack 3")
    assert "#token " in said["again"][1]
    names = [f"meter.{number}" for number in range(1, last + 1)]
    assert found["listed"] in (names[:-1], names)  # there may have been room for who it is, and none for its token
    assert found["kept"] == names
    assert found["rows"] == {name: 4 if name == "meter.1" else 2 for name in names}


def test_rows_of_who_did_not_register_are_rejected(start_collector: Start, tmp_path: Path) -> None:
    """By lines of all kinds, at every door; outputs of parts and what linemon says of itself are let through."""
    path = tmp_path / "lines"
    running = start_collector(f'[devices]\nrequired = true\n[unix]\npath = "{path}"\n[udp]\nlisten = "127.0.0.1:0"\n')
    with peer(running, "#errors on\n1\nroom 5\n#source p.1\n2\n#source web~normal\n3\na=1\n") as there:
        assert [there.hear().split(":")[0] for _ in range(3)] == [f"#error {n} device" for n in (2, 3, 5)]
    with peer(running, "#device p 1\n1\n2\n") as there:
        there.hear()
    eventually(lambda: running.store["p.1"].rows == 2, "rows of the device")
    eventually(lambda: running.store["web~normal"].rows >= 1, "outputs")
    assert post(running.address("http"), {"tag": "room", "value": 1}).status == 400
    assert post(running.address("http"), b"room 1\n", "/api/lines").status == 400
    assert post(running.address("http"), b"m,t=1 f=1\n", "/write").status == 400
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        sock.connect(str(path))
        sock.sendall(b"room 5\n")
        datagrams.sendto(b"room 5\n", running.address("udp"))
        eventually(lambda: running.status()["rejected"] == {"device": 8}, "all of them are counted")
    assert {"p.1", "web~normal"} <= set(running.store.sources()) <= {"p.1", "web~normal", "linemon.collector"}


def test_patterns_of_sources_that_devices_alone_write(start_collector: Start) -> None:
    running = start_collector('[devices]\nrequired = ["web*"]\n')
    with peer(running, "#errors on\nroom 5\nweb1 5\n") as there:
        assert there.hear().startswith("#error 3 device: 'web1' takes rows of its registered device only")
    # A sender of before that numbers its rows keeps them.
    with peer(running, "#errors on\n#source web1\n#seq 1 x\n5\n") as there:
        assert there.hear().startswith("#error 3 device")
        assert there.hear().startswith("#error 4 device")
        there.sock.shutdown(socket.SHUT_WR)
        assert there.hear() == ""


def test_others_that_write_to_a_devices_source_are_counted(collector: Running) -> None:
    with peer(collector, "#device p 1\n1\n") as there:
        there.hear()
        collector.say("#source p.1\n5\n")
        eventually(lambda: device(collector, "p.1")["foreign"] == 1, "one connection")


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines",
    [
        "p.1 5\np.1 6\n",
        "other 1\nput p.1 -1 5\n",
        "p.1 value=5\np.1 value=6,x=7\n",
        "#source p.1\nvalue=5\nvalue=6\nvalue=7 x=8\nx=1\n",
        '#source p.1\n{"value": 5}\n{"value": 6}\n',
        "#source p.1\n5\n#source other\n1\n#source p.1\n6\n",
    ],
)
def test_others_are_counted_once_whatever_kind_of_lines_they_send(collector: Running, lines: str) -> None:
    """Each connection, also where it brings columns; the device itself is none of them."""
    with peer(collector, "#device p 1\n#columns value\n1\n") as there:
        there.hear()
        said: list[str] = []
        for _ in range(2):
            said.append(collector.say(lines))
            eventually(lambda: device(collector, "p.1")["foreign"] >= len(said), "it is counted")
            assert device(collector, "p.1")["foreign"] == len(said)
        there.say("p.1 9\nvalue=3\n")
        eventually(lambda: collector.store["p.1"].last(1).values[0, 0] == 3, "it is stored")
        assert device(collector, "p.1")["foreign"] == 2


# -- settings


def test_a_setting_is_applied_reported_and_marked(collector: Running) -> None:
    with peer(collector, '#source web1\n#device host 42\n#is 0 {"interval": 1, "columns": []}\n') as there:
        there.hear()
        eventually(lambda: device(collector, "web1")["reported"], "its settings")
        assert collector.run("set", "web1", "interval=0.5", "groups=cores,top", 'columns=["a", "b"]').returncode == 0
        word, version, said = there.hear().split(" ", 2)
        assert (word, version) == ("#set", "1")
        assert json.loads(said) == {"interval": 0.5, "groups": "cores,top", "columns": ["a", "b"]}
        waiting = device(collector, "web1")
        assert waiting["waiting_since"]
        assert (waiting["version"], waiting["reported_version"]) == (1, 0)
        assert collector.run("set", "web1", "interval=0.5", "--wait", "0.05s").returncode == 1
        there.say('#is 1 {"interval": 0.5, "groups": "cores,top", "refused": {"columns": "there is no b"}}\n')
        done = collector.run("set", "web1", "interval=0.5", "--wait", "20s")  # as it is: nothing is sent again
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        found = device(collector, "web1")
        assert (found["waiting_since"], found["refused"]) == (None, {"columns": "there is no b"})
        assert "refused: there is no b" in collector.run("devices").stdout
        [mark] = collector.store.marks()
        assert (mark.source, mark.kind) == ("web1", "setting")
        assert mark.text == 'interval = 0.5; groups = "cores,top"; columns refused: there is no b'
        assert collector.run("set", "web1", "interval=", "groups=", "columns=").returncode == 0
        assert there.hear() == "#set 2 {}"


def test_a_list_may_be_said_with_commas(collector: Running) -> None:
    """Before the device has ever said that it has one, too."""
    assert registered(collector, "#device p 1\n")
    assert collector.run("set", "p.1", "groups=cores,top").returncode == 0
    with peer(collector, '#device p 1\n#is 0 {"groups": []}\n') as there:
        assert [there.hear(), there.hear()[:7]] == ["#device p.1", "#set 1 "]
        there.say('#is 1 {"groups": ["cores", "top"]}\n')
        assert collector.run("set", "p.1", "groups=cores, top", "--wait", "20s").returncode == 0
        found = device(collector, "p.1")
        assert found["desired"] == found["reported"] == {"groups": ["cores", "top"]}
        assert found["version"] == 1
        assert collector.run("set", "p.1", "groups=top").returncode == 0
        assert there.hear() == '#set 2 {"groups":["top"]}'


def test_a_wish_waits_for_a_device_that_is_away(start_collector: Start) -> None:
    """Also while the collector is killed; and comes again where the device starts anew and has forgotten it."""
    running = start_collector()
    assert registered(running, "#device p 1\n")
    assert running.run("set", "p.*", "interval=5").returncode == 0
    running.process.kill()
    running.process.wait(DEADLINE_S)
    running = start_collector()
    with peer(running, '#device p 1\n#is 0 {"interval": 1}\n') as there:
        assert [there.hear(), there.hear()] == ["#device p.1", '#set 1 {"interval":5}']
        there.say('#is 1 {"interval": 5}\n#stats\n')
        there.hear()
    with peer(running, '#device p 1\n#is 1 {"interval": 5}\n#stats\n') as there:
        assert [there.hear()[:7] for _ in range(2)] == ["#device", "#stats "]
    with peer(running, '#device p 1\n#is 0 {"interval": 1}\n') as there:
        assert [there.hear(), there.hear()] == ["#device p.1", '#set 1 {"interval":5}']


def test_what_cannot_be_set_is_said(collector: Running) -> None:
    assert registered(collector, "#device p 1\n")
    for settings, code, says in (
        (["x=1"], 0, ""),
        (["x"], 2, "expected KEY=VALUE"),
        (["refused=1"], 1, "'refused' is no name of a setting"),
        (["x=" + "y" * 17000], 1, "more than 16384 bytes"),
        (["x=1", "--wait", "soon"], 2, "expected a span"),
    ):
        done = collector.run("set", "p.1", *settings)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    done = collector.run("set", "nobody", "x=1")
    assert (done.returncode, "no device fits 'nobody'" in done.stderr) == (1, True)


def test_a_wish_goes_out_at_once_while_rows_flow(collector: Running) -> None:
    """Also to a connection that sends rows of one shape and nothing else, and does not send again."""
    with peer(collector, "#source web1\n#device host 42\n#seq 1 x\n1 2\n") as there:
        there.hear()
        for n in range(3):
            there.say("3 4\n")
            eventually(lambda n=n: collector.store["web1"].rows == n + 2, "rows")  # type: ignore[misc]
        began = time.monotonic()
        collector.run("set", "web1", "interval=2")
        while not (answer := there.hear()).startswith("#set"):
            assert answer.startswith("#ack")
        assert time.monotonic() - began < 5


# -- specs

SPEC = 'version = "{}"\n[read]\nkind = "text"\n[[column]]\nname = "t"\npattern = "(.*)"\n{}'


@pytest.mark.slow
def test_a_spec_is_pushed_when_it_changes(start_collector: Start, tmp_path: Path) -> None:
    """The file of the product, else the longest pattern; what is wrong is logged, and the one before stays."""
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "meter.toml").write_text(SPEC.format("1", ""))
    (specs / "met*.toml").write_text(SPEC.format("any", ""))
    running = start_collector(f'[devices]\nspecs = "{specs}"\n')
    with peer(running, "#device meter 1\n") as there, peer(running, "#device meteo 1\n") as other:
        there.hear()
        word, version, said = there.hear().split(" ", 2)
        assert (word, version) == ("#spec", "1")
        assert json.loads(said)["column"] == [{"name": "t", "pattern": "(.*)"}]
        assert [other.hear(), other.hear()[:10]] == ["#device meteo.1", "#spec any "]
        there.say('#spec 1\n#is 0 {"refused": {"spec": "a pattern that takes too long"}}\n')
        eventually(lambda: "spec refused: a pattern that takes" in running.run("devices").stdout, "why it is refused")
        eventually(lambda: device(running, "meter.1")["spec"]["version"] == "1", "what it works with")
        (specs / "meter.toml").write_text(SPEC.format("1", "scale = 2\n"))
        log = running.folder / "log"
        eventually(lambda: "its version is still 1" in log.read_text(), "a word of it in the log")
        (specs / "meter.toml").write_text("version = 3\n")
        eventually(lambda: "version = 3: expected a string" in log.read_text(), "a word of it in the log")
        assert device(running, "meter.1")["spec"] == {"version": "1", "offered": "1"}
        (specs / "meter.toml").write_text(SPEC.format("2", "scale = 2\n"))
        began = time.monotonic()
        assert there.hear().startswith("#spec 2 ")
        assert time.monotonic() - began < 5
        assert device(running, "meter.1")["spec"] == {"version": "1", "offered": "2"}
        assert "offered 2" in running.run("devices").stdout


@pytest.mark.parametrize(
    ("product", "file"),
    [("meter", "meter"), ("meter-2", "meter-*"), ("metal", "met*"), ("x", "*"), ("a/b", "a%2Fb"), ("../meter", "*")],
)
def test_which_file_is_a_products_spec(tmp_path: Path, product: str, file: str) -> None:
    for name in ("meter", "meter-*", "met*", "*", "a%2Fb"):
        (tmp_path / f"{name}.toml").write_text(f'version = "{name}"\n')
    found = Specs(tmp_path).find(product)
    assert found
    assert found.version == file


# -- what is kept


def test_a_registry_that_is_damaged_is_kept_aside(tmp_path: Path) -> None:
    book = DeviceBook(tmp_path)
    for serial in "123":
        book.keep(Device("p", serial, f"p.{serial}"))
    book.close()
    lines = (tmp_path / "devices.json").read_bytes().splitlines(keepends=True)
    (tmp_path / "devices.json").write_bytes(lines[0] + b"x" + lines[1] + lines[2] + b"torn")
    book = DeviceBook(tmp_path)
    assert sorted(each.name for each in book) == ["p.1", "p.3"]
    assert (tmp_path / "devices.json.damaged").exists()
    book.close()
    assert len((tmp_path / "devices.json").read_bytes().splitlines()) == 2


def test_the_registry_does_not_grow_with_what_is_said(tmp_path: Path) -> None:
    book = DeviceBook(tmp_path)
    one = Device("p", "1", "p.1")
    for n in range(5000):
        one.version = n
        book.keep(one)
    assert len((tmp_path / "devices.json").read_bytes().splitlines()) < 2000
    book.close()
    book = DeviceBook(tmp_path)
    assert [each.version for each in book] == [4999]
    book.forget(*book)
    book.close()
    assert DeviceBook(tmp_path).count == 0


def test_a_registry_that_another_collector_has(start_collector: Start, tmp_path: Path) -> None:
    start_collector(f'[devices]\npath = "{tmp_path / "shared"}"\n')
    with pytest.raises(AssertionError, match=r"another collector .* has .*devices\.json: set .devices. path"):
        start_collector(f'[devices]\npath = "{tmp_path / "shared"}"\n', name="two")


def test_commands_reach_a_collector_in_a_deep_folder(start_collector: Start) -> None:
    """Whose path is longer than a socket's address may be."""
    running = start_collector(name="f" * 100)
    assert len(str(running.store_path)) > 110
    assert registered(running, "#device p 10\n")
    assert registered(running, "#device p 9\n")
    assert [each["name"] for each in devices(running)] == ["p.9", "p.10"]


# -- by HTTP


def put(running: Running, name: str, body: object, **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(running.address("http"), "PUT", f"/api/devices/{name}/settings", data, **headers)


def test_settings_by_http(collector: Running) -> None:
    with peer(collector, '#source web/1\n#device host 42\n#is 0 {"interval": 1, "groups": []}\n') as there:
        there.hear()
        eventually(lambda: device(collector, "web/1")["reported"], "its settings")
        answer = put(collector, "web%2F1", {"interval": 0.5, "groups": ["cores"]})
        assert (answer.status, answer.json) == (
            200,
            {
                "name": "web/1",
                "version": 1,
                "desired": {"interval": 0.5, "groups": ["cores"]},
                "reported": {"interval": 1, "groups": []},
                "refused": {},
            },
        )
        assert there.hear() == '#set 1 {"interval":0.5,"groups":["cores"]}'
        assert put(collector, "web%2F1", {"groups": None}).json["desired"] == {"interval": 0.5}
        assert there.hear() == '#set 2 {"interval":0.5}'
        assert get(collector.address("http"), "/api/devices").json == devices(collector)
    for name, body, status in (
        ("nobody", {}, 404),
        ("web%2F1", b"{", 400),
        ("web%2F1", [], 400),
        ("web%2F1", b'{"a": NaN}', 400),
        ("web%2F1", b'{"a": 1e999}', 400),
        ("web%2F1", {"a": "x" * 16384}, 400),
        ("web%2F1", {"a b": 1}, 400),
        ("a/b", {}, 404),
    ):
        assert put(collector, name, body).status == status, (name, body)
    assert put(collector, "web%2F1", {}, Origin="http://evil.example").status == 403
    assert get(collector.address("http"), "/api/devices/web%2F1/settings").status == 405


def test_who_may_set_by_http(start_collector: Start) -> None:
    """Where tokens are asked for, one with admin = true; the collector's own user always, by the socket."""
    running = start_collector(ENROLS + '[[token]]\nsecret = "boss"\nadmin = true\n')
    with peer(running, "#token all\n#device p 1\n") as there:
        there.hear()
        statuses = [
            put(running, "p.1", {"a": 1}, **({"Authorization": f"Bearer {secret}"} if secret else {})).status
            for secret in ("", "wrong", "all", "enrol", "boss")
        ]
        assert statuses == [401, 401, 403, 403, 200]
        assert there.hear() == '#set 1 {"a":1}'
        assert running.run("set", "p.1", "a=2").returncode == 0
        assert there.hear() == '#set 2 {"a":2}'


def test_check_says_what_is_wrong_with_a_spec(tmp_path: Path) -> None:
    """And where the tokens of devices are kept, whose store is in memory."""
    specs, config = tmp_path / "specs", tmp_path / "linemon.toml"
    config.write_text(f'[devices]\nspecs = "{specs}"\n[[token]]\nsecret = "x"\nenrols = true\n')

    def check() -> tuple[int, str]:
        done = forked.run(["check", "--config", str(config)])
        return done.returncode, done.stdout + done.stderr

    code, said = check()
    assert (code, "specs'" in said and "there is no such folder" in said) == (2, True)
    specs.mkdir()
    (specs / "meter.toml").write_text(SPEC.format("1", ""))
    code, said = check()
    assert code == 0, said
    assert "devices:   up to 10000, in " in said
    assert "the store is in memory: tokens of devices are kept in " in said
    (specs / "meter.toml").write_text(SPEC.format("1", "scale = 'x'\n"))
    code, said = check()
    assert (code, "meter.toml: [[column]] t: scale = 'x': expected a number" in said) == (2, True), said


def test_a_token_is_told_in_private_only() -> None:
    """In the clear to another machine it is not: others may read it."""

    class Link:
        def __init__(self, is_private: bool) -> None:
            self.is_private = is_private

        def silent_s(self) -> float:
            return 0.0

        def wake(self) -> None:
            """It is looked at below."""

    for is_private in (True, False):
        session = Session("10.0.0.7", 65536, Tokens([("e", ("*",))], enrolling=["e"]))
        session.link = Link(is_private)
        session.said(b"#token e")
        Devices().said(session, b"#device", b"p 1", 0)
        answers = session.to_send().decode().splitlines()
        assert [each.split()[0] for each in answers] == ["#device"] + ["#token"] * is_private


def test_a_unit_that_changes_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A ring keeps the unit it has: rows before and after would be of two."""
    (tmp_path / "meter.toml").write_text(SPEC.format("1", 'unit = "W"\n'))
    specs = Specs(tmp_path)
    (tmp_path / "meter.toml").write_text(SPEC.format("2", 'unit = "kW"\n'))
    assert specs.refresh()
    assert "version 2 has another unit for t" in caplog.text
    assert not specs.refresh()


def test_specs_that_come_with_linemon(collector: Running) -> None:
    with peer(collector, "#device sdm630 1\n") as there:
        there.hear()
        assert there.hear().startswith("#spec ")


# -- killed, encrypted, by other doors


@pytest.mark.slow
def test_nothing_that_was_said_is_lost_by_a_kill(start_collector: Start) -> None:
    """`kill -9` at any moment: names that devices were told and wishes that were taken are there."""
    running = start_collector(ENROLS)
    told: dict[str, str] = {}  # the name of each serial
    wished: dict[str, int] = {}
    own: dict[str, str] = {}  # tokens
    for turn in range(3):
        done = threading.Event()

        def work(running: Running = running, turn: int = turn, done: threading.Event = done) -> None:
            with suppress(OSError, ValueError, AssertionError, LinemonError):
                for n in range(10_000):
                    serial = f"{turn}.{n}"
                    with peer(running, f"#token enrol\n#source room{n % 7}\n#device p {serial}\n") as there:
                        name, token = there.hear(), there.hear()
                        if not token:
                            return
                        told[serial], own[serial] = name.removeprefix("#device "), token.removeprefix("#token ")
                    command(
                        running.store_path, {"do": "set", "name": told[serial], "settings": {"n": n}}, COLLECT_SOCKET
                    )
                    wished[serial] = n
                    if n == 20:
                        done.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert done.wait(DEADLINE_S)
        running.process.kill()
        running.process.wait(DEADLINE_S)
        thread.join()
        running = start_collector()
        known = {each["serial"]: each for each in devices(running)}
        assert {serial: known[serial]["name"] for serial in told} == told
        assert {serial: known[serial]["desired"].get("n") for serial in wished} == wished
    assert len(set(told.values())) == len(told) > 60
    for serial in ("0.3", "2.20"):
        with peer(running, f"#token {own[serial]}\n#device p {serial}\n") as there:
            assert there.hear() == f"#device {told[serial]}"
            assert there.hear().startswith("#set 1 ")


def test_a_device_by_tls(start_collector: Start, tmp_path: Path) -> None:
    """Told a wish while it says nothing itself."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("server")
    running = start_collector(
        f'[tcp]\nlisten = "127.0.0.1:0"\ntls = true\n[tls]\ncert = "{cert}"\nkey = "{key}"\n[agent]\ntls = true\n'
    )
    with authority.client().wrap_socket(running.connect(), server_hostname="127.0.0.1") as sock:
        sock.sendall(b"#device p 1\n1 2\n3 4\n")
        with sock.makefile("rb") as answers:
            assert answers.readline() == b"#device p.1\n"
            assert running.run("set", "p.1", "interval=5").returncode == 0
            assert answers.readline() == b'#set 1 {"interval":5}\n'
            assert running.run("devices", "--block", "p.1").returncode == 0
            assert answers.readline() == b"#error 3 device: it is blocked here\n"
            assert answers.read() == b""


def test_a_device_by_a_unix_socket(start_collector: Start, tmp_path: Path) -> None:
    running = start_collector(f'[unix]\npath = "{tmp_path / "lines"}"\n')
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(tmp_path / "lines"))
        sock.sendall(b"#device p 1\n1\n")
        with sock.makefile("rb") as answers:
            assert answers.readline() == b"#device p.1\n"
            assert running.run("set", "p.1", "interval=5").returncode == 0
            assert answers.readline() == b'#set 1 {"interval":5}\n'
            assert device(running, "p.1")["address"].startswith("unix")


def test_a_body_is_no_device(collector: Running) -> None:
    """It has no connection that goes on."""
    answer = post(collector.address("http"), b"#device p 1\n1\n", "/api/lines")
    assert (answer.status, "needs a connection" in answer.text) == (400, True)
    assert devices(collector) == []


@pytest.mark.slow
def test_a_device_that_does_not_read_is_told_the_newest(collector: Running) -> None:
    """However often it is set meanwhile; and the collector keeps no more of it than that."""
    with peer(collector, "#device p 1\n#is 0 {}\n") as there:
        eventually(lambda: device(collector, "p.1")["reported"] == {}, "it registers")
        text = "x" * 15_000
        for n in range(1500):  # more than the kernel keeps
            wish = {"do": "set", "name": "p.1", "settings": {"n": n, "text": text}}
            command(collector.store_path, wish, COLLECT_SOCKET)
        heard: list[str] = []
        while not heard or '"n":1499' not in heard[-1]:
            heard.append(there.hear())
        assert len(heard) < 1500, "all of them waited somewhere"
