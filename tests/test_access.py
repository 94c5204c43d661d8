"""Who may connect, and who may write what: tokens, TLS, certificates, networks; against real sockets."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPSConnection
from ipaddress import ip_network
from pathlib import Path

import pytest

from linemon.access import Door, Grant, Tokens
from linemon.patterns import fits
from tests import forked
from tests.pki import Authority
from tests.running import DEADLINE_S, Running, eventually
from tests.web import get, post

Start = Callable[..., Running]


def settings(tcp: str = "", http: str = "", rest: str = "") -> str:
    return f'[tcp]\nlisten = "127.0.0.1:0"\n{tcp}\n[http]\nlisten = "127.0.0.1:0"\n{http}\n{rest}\n'


# -- patterns


@pytest.mark.parametrize(
    ("patterns", "fitting"),
    [
        (["*"], "web1 web2 db/1 !x"),
        (["web*", "!web1"], "web2"),
        (["!web1", "web*"], "web2"),
        (["!web*"], "db/1 !x"),
        (["web1"], "web1"),
        (["WEB*"], ""),
        (["d?/[0-9]", "web1"], "web1 db/1"),
        (["[!]x"], "!x"),
        (["linemon.*"], "linemon.collector"),
        (["*", "linemon.collector"], "web1 web2 db/1 !x linemon.collector"),
        (["*", "linemon.*", "!*.collector"], "web1 web2 db/1 !x"),
    ],
)
def test_patterns_of_sources(patterns: list[str], fitting: str) -> None:
    """Their order does not matter; those with `!` take away; our own sources are meant only by name."""
    names = ["web1", "web2", "db/1", "!x", "linemon.collector"]
    assert [name for name in names if fits(patterns, name)] == fitting.split()


# -- tokens

ROOMS = '[[token]]\nsecret = "rooms"\nsources = ["room*", "sys,host=h?"]\n'


def test_tokens_open_what_they_open() -> None:
    """Each secret its patterns; what is no token opens nothing."""
    tokens = Tokens([("a", ("*",)), ("b", ("room*", "x[12]"))])
    everything, rooms = tokens.find(b"a"), tokens.find(b"b")
    assert everything
    assert rooms
    assert everything.covers("anything")
    assert [rooms.covers(name) for name in ("room1", "room", "Room1", "x1", "x3", "")] == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]
    for wrong in (b"", b"A", b"a ", b"ab", b"\xff", b"a" * 100_000):
        assert tokens.find(wrong) is None
    assert not Tokens()
    assert Tokens().find(b"") is None
    assert Grant().covers("x")
    assert [Grant(("*", "!room1")).covers(name) for name in ("room1", "room2")] == [False, True]


def test_a_token_for_some_sources(start_collector: Start) -> None:
    """Rows, metrics, points, and HTTP: only to the sources of the token; the rest is rejected and counted."""
    running = start_collector(settings('token = "all"', rest=ROOMS))
    answer = running.say(
        "#errors on\n1 2\n#token rooms\n#source room1\n1 2\n#source other\n1 2\n#source roomy\n3 4\n"
        "room3.t 1\nother.t 1\nsys,host=h1 f=1\nsys,host=h7,a=b f=1\nsys,host=x f=1\n#stats\n"
    )
    assert answer.splitlines() == [
        "#error 2 token: this port asks for a #token first",
        "#error 7 token: this token may not write to 'other'",
        "#error 11 token: this token may not write to 'other.t'",
        "#error 13 token: this token may not write to 'sys,a=b,host=h7'",
        "#error 14 token: this token may not write to 'sys,host=x'",
        "#stats received=9 stored=4 rejected=5 duplicate=0 dropped=0",
    ]
    at = running.address("http")
    assert post(at, {"tag": "room1.t", "value": 1}, Authorization="Bearer rooms").status == 200
    forbidden = post(at, {"tag": "other", "value": 1}, Authorization="Bearer rooms")
    assert (forbidden.status, forbidden.json["field"]) == (403, "tag")
    assert post(at, {"tag": "other", "value": 1}, Authorization="Bearer all").status == 200
    own = {"linemon.collector"}
    assert set(running.store) - own == {"room1", "roomy", "room3.t", "sys,host=h1", "room1.t", "other"}
    eventually(lambda: running.status()["rejected"] == {"token": 6}, "counted")


def test_another_token_on_the_way(start_collector: Start) -> None:
    """The last right one counts, also for a source that was written to before."""
    running = start_collector(settings('token = "all"', rest=ROOMS))
    answer = running.say("#errors on\n#token all\n#source x\n1\n#token rooms\n2\n#token no\n3\n#token all\n4\n")
    assert [line.split(" ")[1] for line in answer.splitlines()] == ["6", "7", "8"]
    assert running.store["x"].last(9).values.tolist() == [[1.0], [4.0]]


@pytest.mark.slow
def test_guessing_a_token(start_collector: Start) -> None:
    """Each guess is a rejected line, the tenth ends the connection; the log names the host, nothing shows the guess."""
    running = start_collector(settings('token = "all"'))
    with running.connect() as sock:
        sock.sendall(b"#errors on\n" + b"#token letmein\n" * 1000 + b"#token all\nm 1\n")
        answer = sock.makefile("rb").read().decode()
    assert answer == "".join(f"#error {line} token: this #token is not one of mine\n" for line in range(2, 12))
    eventually(lambda: running.status()["rejected"] == {"token": 10}, "counted")
    status = running.status()
    assert (status["received"], {bad["line"] for bad in status["bad_lines"]}) == (10, {"#token"})
    log = (running.folder / "log").read_text()
    assert "the last from 127.0.0.1" in log
    assert "letmein" not in log
    assert "m" not in running.store


@pytest.mark.slow
def test_numbers_of_others_cannot_be_moved(start_collector: Start) -> None:
    """#seq for a source that the token does not open is refused: nobody's lines are skipped."""
    running = start_collector(settings('token = "all"', rest=ROOMS))
    assert "#ack 2" in running.say("#token all\n#source x\n#seq 1 s\n1\n")
    refused = running.say("#errors on\n#token rooms\n#source x\n#seq 900 s\n1\n")
    assert refused.splitlines()[0] == "#error 4 token: this token may not write to 'x'"
    assert "#ack 3" in running.say("#token all\n#source x\n#seq 2 s\n2\n")
    assert running.store["x"].last(9).values.tolist() == [[1.0], [2.0]]


def test_tokens_from_files_read_anew(start_collector: Start, tmp_path: Path) -> None:
    """SIGHUP takes the new one; a file that is not right then changes nothing, and the log says so."""
    file = tmp_path / "token"
    file.write_text("first\n")
    running = start_collector(settings(rest=f'[[token]]\nfile = "{file}"\n'))
    log = running.folder / "log"

    def works(token: str) -> bool:
        return post(running.address("http"), {"tag": "t", "value": 1}, Authorization=f"Bearer {token}").status == 200

    def hang_up(says: str) -> None:
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: says in log.read_text(), says)

    assert works("first")
    file.write_text("second")
    hang_up("read anew")
    assert (works("first"), works("second")) == (False, True)
    assert running.say("#token second\nm 1\n#stats\n").startswith("#stats received=1 stored=1")
    file.unlink()
    hang_up("nothing is changed: [[token]] file =")
    assert works("second")


# -- TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls(authority: Authority, name: str = "server", *, of_both: bool = False) -> str:
    cert, key = authority.issue(name)
    return f'[tls]\ncert = "{cert}"\nkey = "{key}"\n' + f'client_ca = "{authority.cert}"\n' * of_both


def connect(running: Running, context: ssl.SSLContext, port: str = "tcp") -> ssl.SSLSocket:
    raw = socket.create_connection(running.address(port), timeout=DEADLINE_S)
    return context.wrap_socket(raw, server_hostname="localhost")


def say(running: Running, context: ssl.SSLContext, data: bytes, cut: int = 0) -> None:
    """Send in TLS, and close as one should: the server does so too."""
    with connect(running, context) as sock:
        for at in range(0, len(data), cut or len(data)):
            sock.sendall(data[at : at + (cut or len(data))])
        sock.unwrap().close()


def test_lines_in_tls(start_collector: Start, authority: Authority) -> None:
    """However long the records are: the same rows; answers come back; neighbours go on."""
    running = start_collector(settings("tls = true", "tls = true", tls(authority)))
    context = authority.client()
    rows = b"".join(b"%d %d.5\n" % (i, i) for i in range(50_000))
    for name, cut in ((b"whole", 0), (b"cut", 1000), (b"care", 777)):
        wrong = b"x y\n" if name == b"care" else b""
        say(running, context, b"#source " + name + b"\n" + wrong * 100 + rows, cut)
        eventually(lambda name=name: running.store[name.decode()].rows == 50_000, "all rows")  # type: ignore[misc]
        expected = [[float(i), i + 0.5] for i in range(50_000 - 3600, 50_000)]
        assert running.store[name.decode()].last(3600).values.tolist() == expected
    with connect(running, context) as sock:
        sock.sendall(b"m 1\nm x\n#stats\n")
        assert sock.recv(200) == b"#stats received=2 stored=1 rejected=1 duplicate=0 dropped=0\n"
    connection = HTTPSConnection("localhost", running.address("http")[1], context=context, timeout=DEADLINE_S)
    connection.request("POST", "/", '{"tag": "h", "value": 1}')
    assert connection.getresponse().read() == b"path: /received value: 1.0"
    connection.close()


@pytest.mark.slow
def test_openssl_as_a_sender(start_collector: Start, authority: Authority) -> None:
    """A shell with `openssl s_client` sends lines."""
    running = start_collector(settings("tls = true", rest=tls(authority)))
    host, port = running.address()
    client = ["openssl", "s_client", "-quiet", "-no_ign_eof", "-CAfile", str(authority.cert), "-verify_return_error"]
    subprocess.run([*client, "-connect", f"{host}:{port}"], input=b"m 1\nm 2\n", capture_output=True, check=True)
    eventually(lambda: "m" in running.store and running.store["m"].rows == 2, "the rows")


@pytest.mark.slow
def test_the_agent_in_tls(start_collector: Start, authority: Authority) -> None:
    """Numbered rows with acknowledgements in TLS, certificates of both sides; whoever is not right gets nowhere."""
    cert, key = authority.issue("agent")
    both = authority.folder / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    ours = f'[agent]\ntls = true\nca = "{authority.cert}"\ncert = "{both}"\n'
    running = start_collector(settings('token = "s"\ntls = true', rest=tls(authority, of_both=True) + ours))
    _, port = running.address()

    def agent(name: str, *more: str) -> subprocess.Popen[str]:
        options = ["--to", f"localhost:{port}", "--name", name, "--interval", "0.1", "--tls", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "agent", *options],
            env={**os.environ, "LINEMON_TOKEN": "s"}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    good = agent("good", "--ca", str(authority.cert), "--cert", str(both))
    wrong = [agent("no-cert", "--ca", str(authority.cert)), agent("no-trust", "--cert", str(both))]
    eventually(lambda: "good" in running.store and running.store["good"].rows > 20, "rows of the agent")
    for each in (good, *wrong):
        each.terminate()
    assert "certificate verify failed" in wrong[1].communicate(timeout=DEADLINE_S)[1]
    for each in (good, *wrong):
        assert each.wait(DEADLINE_S) == 0
        if each.stderr:
            each.stderr.close()
    times = running.store["good"].since(0).time.astype("int64")
    assert (times[1:] > times[:-1]).all()
    assert not {"no-cert", "no-trust"} & set(running.store)
    assert running.run("send", "by-hand", "value=1").returncode == 0
    assert running.store["by-hand"].rows == 1


def test_only_who_asks_for_tls_pays_for_it() -> None:
    """Without --tls the agent does not load ssl."""
    code = "import sys, agent.__main__, linemon_sender.sender; sys.exit('ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_what_is_no_tls(start_collector: Start, authority: Authority) -> None:
    """Lines and HTTP in the clear, half a hello, a cut connection: counted, and no harm to those who are right."""
    running = start_collector(settings("tls = true", "tls = true", tls(authority)))
    context = authority.client()
    neighbour = connect(running, context)
    for data in (b"m 1\nm 2\nm 3\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01", b""):
        for port in ("tcp", "http"):
            with running.connect(port) as sock:
                sock.sendall(data)
                neighbour.sendall(b"n 1\n")
    cut = context.wrap_socket(
        socket.create_connection(running.address(), timeout=DEADLINE_S), server_hostname="localhost"
    )
    cut.sendall(b"m 1\nm 2")  # a line that was not finished may have been cut by a stranger
    eventually(lambda: "m" in running.store and running.store["m"].rows == 1, "the finished line")  # before a reset
    cut.close()
    eventually(lambda: "n" in running.store and running.store["n"].rows == 10, "the neighbour's rows")
    eventually(lambda: running.status()["rejected"].get("protocol", 0) >= 3, "counted")
    eventually(lambda: running.status()["connections"] == 1, "all others gone")
    assert running.store["m"].rows == 1
    assert len((running.folder / "log").read_text().splitlines()) <= 5
    neighbour.close()


def test_certificates_of_both_sides(start_collector: Start, authority: Authority, tmp_path: Path) -> None:
    """With client_ca a peer without a certificate that this one has signed gets nowhere."""
    running = start_collector(settings("tls = true", "tls = true", tls(authority, of_both=True)))
    (tmp_path / "evil").mkdir()
    stranger = Authority(tmp_path / "evil", "evil")
    good = authority.client(authority.issue("client"))
    bad = authority.client(stranger.issue("client"))
    say(running, good, b"m 1\n")
    eventually(lambda: "m" in running.store, "the row")
    for context in (authority.client(), bad):
        with pytest.raises((ssl.SSLError, ConnectionError)), connect(running, context) as sock:  # noqa: PT012
            sock.sendall(b"m 2\n")
            sock.recv(1)
        https = HTTPSConnection("localhost", running.address("http")[1], context=context, timeout=DEADLINE_S)
        with pytest.raises((ssl.SSLError, ConnectionError)):  # noqa: PT012  either may notice
            https.request("GET", "/state")
            https.getresponse()
        https.close()
    assert running.store["m"].rows == 1


def test_a_new_certificate(start_collector: Start, authority: Authority) -> None:
    """SIGHUP shows it to the connections that come; those that are there go on."""
    running = start_collector(settings("tls = true", "tls = true", tls(authority)))
    context = authority.client()

    def shown(port: str) -> str:
        with connect(running, context, port) as sock:
            subject = sock.getpeercert()["subject"]  # type: ignore[index]
            return str(subject[0][0][1])

    old = context.wrap_socket(
        socket.create_connection(running.address(), timeout=DEADLINE_S), server_hostname="localhost"
    )
    assert (shown("tcp"), shown("http")) == ("server", "server")
    cert, key = authority.issue("renewed")
    cert.replace(authority.folder / "server.pem")  # which is no pair with the old key
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: "nothing is changed: [tls] cert =" in (running.folder / "log").read_text(), "said so")
    assert (shown("tcp"), shown("http")) == ("server", "server")
    key.replace(authority.folder / "server.key")
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: shown("tcp") == shown("http") == "renewed", "the new certificate")
    old.sendall(b"m 1\n")
    eventually(lambda: "m" in running.store, "the old connection goes on")
    old.close()


# -- networks and numbers of connections


def test_doors() -> None:
    """Networks, IPv6 with a zone too; so many of a peer at a time; loopback is not counted."""
    door = Door([ip_network("10.0.0.0/8"), ip_network("fe80::/10"), ip_network("127.0.0.0/8")], 2)
    assert [door.enter(peer) for peer in ("10.1.2.3", "11.1.2.3", "fe80::1%eth0", "::1", "10.1.2.3", "10.1.2.3")] == [
        True, False, True, False, True, False,
    ]  # fmt: skip
    assert (door.strangers, door.crowded) == (2, 1)
    door.leave("10.1.2.3")
    assert door.enter("10.1.2.3")
    assert all(door.enter("127.0.0.1") for _ in range(10))
    assert Door([], 1).enter("2001:db8::1")


def test_networks(start_collector: Start) -> None:
    """Who is not of the networks is closed at once and counted, at all ports."""
    none = 'allow = ["192.0.2.0/24"]'
    tap = f'[[tap]]\nlisten = "127.0.0.1:0"\nsource = "m"\n{none}\n'
    running = start_collector(settings(none, none, tap))
    for port in ("tcp", "http", "tap"):
        with running.connect(port) as sock:
            assert sock.recv(1) == b""
    eventually(lambda: running.status()["strangers"] == 2, "counted")
    here = start_collector(settings('allow = ["127.0.0.0/8"]', 'allow = ["127.0.0.1/32"]'), "here")
    assert here.say("m 1\n#stats\n").startswith("#stats received=1 stored=1")
    assert get(here.address("http"), "/state").status == 200


@pytest.mark.slow
def test_one_peer_cannot_take_all_connections(start_collector: Start) -> None:
    """Beyond max_per_peer a peer's connections are closed; by an address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))  # sends nothing: asks which address we would have
        address = sock.getsockname()[0]
    running = start_collector(
        f'[tcp]\nlisten = "{address}:0"\nmax_per_peer = 3\nallow_open = true\n'
        f'[http]\nlisten = "{address}:0"\nmax_per_peer = 3\nallow_open = true\n'
    )
    socks = {port: [running.connect(port) for _ in range(5)] for port in ("tcp", "http")}
    for each in socks.values():
        assert [sock.recv(1) for sock in each[3:]] == [b"", b""]
    has(running, 3)
    for sock in (*socks["tcp"], *socks["http"]):
        sock.close()
    has(running, 0)
    with running.connect("tcp"), running.connect("http"):
        has(running, 1)


def has(running: Running, count: int) -> None:
    """Wait until the collector counts so many connections at each of its ports."""
    counters = ("connections", "http_connections")
    eventually(lambda: [running.status()[each] for each in counters] == [count, count], f"{count} connections each")


# -- what linemon check says


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ('[tcp]\nlisten = "0.0.0.0:4000"\n', 2, "lets other machines in without a token"),
        ('[http]\nlisten = "0.0.0.0:8080"\n', 2, "lets other machines in without a token"),
        ('[http]\nlisten = "0.0.0.0:8080"\nallow_open = true\n', 0, "warning: [http] listens on 0.0.0.0:8080 and asks"),
        ('[tcp]\nlisten = "0.0.0.0:4000"\ntoken = "x"\n', 0, "warning: [tcp] listens on 0.0.0.0:4000 without tls"),
        ('[[token]]\nfile = "/nonexistent"\n', 2, "[[token]] file = '/nonexistent': No such file"),
        ('[tls]\ncert = "/nonexistent"\n', 2, "[tls] cert = '/nonexistent'"),
        ('[tls]\ncert = "linemon.toml"\n', 2, "not a PEM file"),
    ],
)  # fmt: skip
def test_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int, says: str) -> None:
    """What is open is refused or warned about; files that are not there or not right are found before the start."""
    file = tmp_path / "linemon.toml"
    file.write_text(text)
    monkeypatch.chdir(tmp_path)
    done = forked.run(["check", "--config", str(file)])
    assert done.returncode == code
    assert says in done.stderr
