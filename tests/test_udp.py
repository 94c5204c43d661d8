"""Lines in datagrams."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from linemon.cli import check
from linemon.config import Config, load
from linemon.errors import ConfigError
from linemon.sections import TokenConfig
from tests.running import Running, eventually

Start = Callable[..., Running]
OWN = "linemon.collector"
OPEN = '[tcp]\nlisten = "127.0.0.1:0"\n[udp]\nlisten = "127.0.0.1:0"\n'


def send(running: Running, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, running.address("udp"))


def rejected(running: Running) -> dict[str, int]:
    found: dict[str, int] = running.status()["rejected"]
    return found


@pytest.mark.slow
def test_a_datagram_holds_whole_lines(start_collector: Start) -> None:
    """Metrics, points, put, of as many bytes as there can be; the last needs no end, and none goes on in the next."""
    running = start_collector(OPEN)
    send(
        running,
        b"\xef\xbb\xbfroom1.temperature 20.3 1700000000\r\nput sys.load 1700000000 0.5 host=h7\nm,a=b t=1,u=2i",
        b".5 7\n",
    )
    eventually(lambda: running.status()["stored"] == 3, "the lines")
    assert set(running.store) - {OWN} == {"room1.temperature", "sys.load;host=h7", "m,a=b"}
    eventually(lambda: rejected(running) == {"name": 1}, "two numbers are a row of nobody")
    long = b"".join(b"m%05d 1\n" % i for i in range(6550))
    send(running, long.ljust(65_507, b"\n"))
    eventually(lambda: running.status()["stored"] == 6553, "a long one")


def test_rows_need_their_source_in_the_datagram(start_collector: Start) -> None:
    """Pairs and JSON too; what one datagram said holds for no other, nor for another peer."""
    running = start_collector(OPEN)
    send(
        running,
        b"#source s\n#columns time cpu:%\n1700000000 5\n",
        b"1 2\n",
        b"t=5\n",
        b'{"t": 5}\n',
        b'#source p\nt=5\n{"t": 6}',
    )
    eventually(lambda: running.status()["received"] == 6, "all of them")
    assert rejected(running) == {"name": 3}
    assert set(running.store) - {OWN} == {"s", "p"}
    assert running.store["s"].units == ("%",)
    assert "#source" in running.status()["bad_lines"][-1]["error"]


def test_numbers_need_a_connection(start_collector: Start) -> None:
    """Nobody would hear what is acknowledged."""
    running = start_collector(OPEN)
    for directive in (b"#seq 1 me", b"#acks named", b"#device x"):
        send(running, b"#source s\n" + directive + b"\n1 2\n#source s\n1 2\n")
    eventually(lambda: rejected(running) == {"sequence": 6}, "the rows behind it")
    send(running, b"#stats\n#errors on\nx y\n")
    eventually(lambda: rejected(running).get("number") == 1, "asked, and not answered")


def test_a_token_comes_in_each_datagram(start_collector: Start) -> None:
    """One that opens some sources opens these."""
    running = start_collector(OPEN + '[[token]]\nsecret = "rooms"\nsources = ["room*"]\n')
    send(running, b"#token rooms\nroom1 1\nhall 2\n", b"room1 2\n", b"#token guessed\nroom1 3\n")
    eventually(lambda: rejected(running) == {"token": 4}, "hall, one without, and a wrong one with its line")
    assert running.store["room1"].since(0).values.tolist() == [[1.0]]


def test_networks(start_collector: Start) -> None:
    """What comes from others is counted, and that is all."""
    running = start_collector(OPEN + 'allow = ["10.0.0.0/8"]\n')
    send(running, b"a 1\n")
    eventually(lambda: running.status()["strangers"] == 1, "a stranger")
    assert running.status()["received"] == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_what_the_kernel_drops_is_counted(start_collector: Start) -> None:
    """Each datagram as a line; also the last ones, which none follows."""
    running = start_collector(OPEN + "buffer = 4096\n")
    os.kill(running.process.pid, signal.SIGSTOP)
    try:
        send(running, *[b"m%d 1\n" % i for i in range(1000)])
    finally:
        os.kill(running.process.pid, signal.SIGCONT)
    eventually(lambda: running.status()["received"] == 1000, "all of them")
    status = running.status()
    assert status["dropped"]["udp"] > 500
    assert status["stored"] == 1000 - status["dropped"]["udp"]


def test_it_is_taken_before_the_end(start_collector: Start) -> None:
    """What has arrived when the collector is told to end is stored."""
    running = start_collector(OPEN)
    os.kill(running.process.pid, signal.SIGSTOP)
    send(running, b"last 1\n")
    running.process.terminate()
    os.kill(running.process.pid, signal.SIGCONT)
    assert running.stop() == 0
    assert "last" in running.store


def test_open_to_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not without a token, unless it is said; `linemon check` warns then."""
    file = tmp_path / "linemon.toml"
    file.write_text('[udp]\nlisten = "0.0.0.0:8094"\n')
    with pytest.raises(ConfigError, match=r"\[udp\] listen = '0.0.0.0:8094' lets other machines in without a token"):
        load(file)
    file.write_text('[udp]\nlisten = "nowhere"\n')
    with pytest.raises(
        ConfigError, match=r'\[udp\] listen = \'nowhere\': expected an address such as .*, or "" for none'
    ):
        load(file)
    file.write_text('[udp]\nlisten = "0.0.0.0:8094"\nallow_open = true\n')
    check.warn(load(file), 1 << 30)
    assert "[udp] listens on 0.0.0.0:8094 and asks nobody" in capsys.readouterr().err
    assert Config(udp=load(file).udp, token=(TokenConfig("x"),)).udp.listen
