"""`linemon.Sender` against a real collector: any thread, no waiting, nothing lost."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import linemon
from linemon.errors import LineError
from tests.running import Running, eventually


def address(collector: Running) -> str:
    return "{}:{}".format(*collector.address())


def test_rows_of_many_threads(collector: Running) -> None:
    """Each thread's rows arrive, in its order; names and units with them."""
    columns = {"thread": "", "number": "", "level": "°C"}
    with linemon.Sender("room1", columns, to=address(collector)) as sender:

        def work(thread: int) -> None:
            for number in range(500):
                sender.send(thread, number, float("nan"))

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sender.flush(20.0)
        assert sender.waiting == sender.dropped == 0
    source = collector.store["room1"]
    assert source.columns == ("thread", "number", "level")
    assert source.units == ("", "", "°C")
    values = source.since(0).values
    assert len(values) == 2000
    for thread in range(4):
        assert values[values[:, 0] == thread, 1].tolist() == list(range(500))
    assert np.isnan(values[:, 2]).all()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (1649859909, "2022-04-13T14:25:09"),
        (1649859909250, "2022-04-13T14:25:09.250"),
        (1649859909123456789, "2022-04-13T14:25:09.123456789"),
        (1649859909.25, "2022-04-13T14:25:09.250"),
    ],
)
def test_times(collector: Running, given: float, stored: str) -> None:
    """Seconds, or whole numbers of smaller units, told apart by their size."""
    with linemon.Sender("room1", to=address(collector)) as sender:
        sender.send(1, time=given)
        assert sender.flush(20.0)
    assert collector.store["room1"].last(1).time[0] == np.datetime64(stored, "ns")


def test_send_does_not_wait(start_collector: Callable[..., Running], tmp_path: Path) -> None:
    """Without a collector rows wait; they arrive when it comes."""
    collector = start_collector()
    to = address(collector)
    (tmp_path / "one" / "linemon.toml").write_text(
        (tmp_path / "one" / "linemon.toml").read_text().replace('listen = "127.0.0.1:0"', f'listen = "{to}"', 1)
    )
    collector.stop()
    sender = linemon.Sender("room1", to=to)
    begun = time.process_time()
    for number in range(1000):
        sender.send(number)
    assert time.process_time() - begun < 1.0
    assert sender.waiting == 1000
    assert not sender.flush(0.05)
    collector = start_collector()
    assert sender.flush(30.0)
    sender.close()
    assert collector.store["room1"].since(0).values[:, 0].tolist() == list(range(1000))


def test_a_spool_outlives_a_killed_process(collector: Running, tmp_path: Path) -> None:
    """What it had taken when it was killed is sent by the next one."""
    script = (
        "import linemon, os, sys\n"
        "sender = linemon.Sender('room1', to='127.0.0.1:1', spool=sys.argv[1])\n"
        "for number in range(100): sender.send(number)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "spool")], timeout=30)
    with linemon.Sender("room1", to=address(collector), spool=tmp_path / "spool") as sender:
        sender.send(100)
        assert sender.flush(20.0)
    assert collector.store["room1"].since(0).values[:, 0].tolist() == list(range(101))


def test_what_is_sent_last_arrives(collector: Running) -> None:
    """A script that just ends has sent its rows."""
    script = "import linemon, sys; linemon.Sender('room1', to=sys.argv[1]).send(7)"
    subprocess.run([sys.executable, "-c", script, address(collector)], check=True, timeout=30)
    assert collector.store["room1"].last(1).values.tolist() == [[7.0]]


def test_wrong_use(caplog: pytest.LogCaptureFixture) -> None:
    """Errors name what was wrong, at once."""
    with pytest.raises(LineError, match="temp"):
        linemon.Sender("room1", ["temp", "temp"])
    with pytest.raises(LineError):
        linemon.Sender("room\n1")
    for columns in (["time"], ["a b"], ["a:b"], [""], []):
        with pytest.raises(LineError):
            linemon.Sender("room1", columns)
    with pytest.raises(ValueError, match="'nowhere' is not HOST:PORT"):
        linemon.Sender("room1", to="nowhere")
    with caplog.at_level(logging.INFO), linemon.Sender("room1", ["a", "b"], to="127.0.0.1:1") as sender:
        with pytest.raises(ValueError, match="1 values for the 2 columns"):
            sender.send(1)
        with pytest.raises(ValueError, match="infinite"):
            sender.send(1, float("inf"))
        with pytest.raises(LineError):
            sender.send(1, 2, time=-5.0)
        eventually(lambda: "cannot reach 127.0.0.1:1" in caplog.text, "the reason in the log")
    with pytest.raises(ValueError, match="closed"):
        sender.send(1, 2)
