"""`linemon.Sender` against a real collector: any thread, no waiting, nothing lost."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linemon
from linemon.errors import LineError
from tests.pki import Authority
from tests.running import Running, eventually
from tests.test_store import in_a_small_disk


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
        (np.int64(1649859909123456789), "2022-04-13T14:25:09.123456789"),
        (np.uint32(1649859909), "2022-04-13T14:25:09"),
        (np.float64(1649859909.25), "2022-04-13T14:25:09.250"),
    ],
)
def test_times(collector: Running, given: Any, stored: str) -> None:
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


@pytest.mark.slow
def test_a_spool_whose_folder_is_removed(start_collector: Callable[..., Running], tmp_path: Path) -> None:
    """What was in it is lost, counted once, and the collector is told; what came after goes out at once."""
    collector = start_collector()
    to = address(collector)
    config = tmp_path / "one" / "linemon.toml"
    config.write_text(config.read_text().replace('listen = "127.0.0.1:0"', f'listen = "{to}"', 1))
    folder = tmp_path / "spool"
    sender = linemon.Sender("room1", to=to, spool=folder, spool_bytes=65536)
    sender.send(0)
    assert sender.flush(20.0)
    collector.stop()
    for number in range(1, 1000):
        sender.send(number)
    shutil.rmtree(folder)
    for number in range(1000, 2000):
        sender.send(number)
    collector = start_collector()
    assert sender.flush(30.0)
    assert 999 <= sender.dropped < 1200  # the file that was open took some more
    assert sender.waiting == 0
    stored = collector.store["room1"].since(0).values[:, 0].tolist()
    assert stored == [0, *range(1 + sender.dropped, 2000)]
    eventually(lambda: collector.status()["lost"] == sender.dropped, "the collector to know what was lost")
    sender.send(2000)
    assert sender.flush(5.0)
    sender.close()


@pytest.mark.slow
def test_a_store_without_room() -> None:
    """The collector greets, refuses the rows and hangs up: said once. With room again all are stored, once."""
    found = in_a_small_disk(
        "3m",
        """
        import json, logging
        import linemon
        from tests.running import Running, eventually
        said = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        logging.getLogger("linemon.sender").addHandler(handler)
        logging.getLogger("linemon.sender").setLevel(logging.INFO)
        running = Running(disk, 'points = 600\\n')
        try:
            host, port = running.address()
            left = disk / "left"
            with open(left, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            sender = linemon.Sender("new", to=f"{host}:{port}")
            for number in range(200):
                sender.send(number)
            attempts = set()
            dialler = sender._connection._dialler
            eventually(lambda: len(attempts.add(dialler._attempted) or attempts) == 4, "three refusals")
            waiting = sender.waiting
            left.unlink()
            flushed = sender.flush(40.0)
            rows = running.store["new"].since(0).values[:, 0].tolist()
            print(json.dumps({"waiting": waiting, "flushed": flushed, "dropped": sender.dropped, "said": said,
                              "rejected": sender.rejected, "rows": rows}))
            sender.close()
        finally:
            running.stop()
        """,
    )
    assert found["waiting"] == 200
    assert found["flushed"]
    assert (found["dropped"], found["rejected"]) == (0, 0)
    assert found["rows"] == list(range(200))
    first, refused, again = found["said"]
    assert first.startswith("sends to")
    assert "takes no rows" in refused
    assert "no room" in refused
    assert again == f"{first}, 200 rows waited"


def test_rejected_rows_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`flush` is true when the collector has judged all rows; how many it refused can be read, and why is logged."""
    collector = Running(tmp_path / "collector", "max_columns = 2\n")
    try:
        with linemon.Sender("room1", ["a", "b", "c"], to=address(collector)) as sender:
            for number in range(10):
                sender.send(number, 2, 3)
            assert sender.flush(20.0)
            assert (sender.rejected, sender.dropped, sender.waiting) == (10, 0, 0)
        assert "rejects line" in caplog.text
    finally:
        collector.stop()


FORKING = """
import linemon, os, sys, time, warnings
sender = linemon.Sender("room1", ["who", "number"], to=sys.argv[1], spool=sys.argv[2])
for number in range(20): sender.send(0, number)
assert sender.flush(20.0)
child = os.fork()
if child == 0:
    for use in (lambda: sender.send(1, 1), lambda: sender.flush(1.0), lambda: sender.waiting, lambda: sender.rejected):
        try: use()
        except RuntimeError as error: assert "belongs to process" in str(error)
        else: os._exit(3)
    with linemon.Sender("room1", ["who", "number"], to=sys.argv[1], spool=sys.argv[3]) as own:
        for number in range(100): own.send(1, number)
        assert own.flush(20.0)
    sender.close()
    sys.exit(0)  # runs what is registered for the end
for number in range(20, 120):
    sender.send(0, number)
    time.sleep(0.002)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert sender.flush(20.0)
assert (sender.waiting, sender.dropped, sender.rejected) == (0, 0, 0)
"""


@pytest.mark.slow
def test_a_fork(collector: Running, tmp_path: Path) -> None:
    """In the child it raises; nothing of the parent is lost or doubled, and the child may have one of its own."""
    arguments = [address(collector), str(tmp_path / "parent"), str(tmp_path / "child")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    values = collector.store["room1"].since(0).values
    for who, count in ((0, 120), (1, 100)):
        assert values[values[:, 0] == who, 1].tolist() == list(range(count))
    status = collector.status()
    assert (status["rejected"], status["duplicate"], status["lost"]) == ({}, 0, 0)


@pytest.mark.slow
def test_a_child_keeps_nothing_of_its_parent(collector: Running, tmp_path: Path) -> None:
    """Where the parent dies and its child lives on, the connection ends and the folder is free."""
    script = (
        "import linemon, os, sys, time\n"
        "sender = linemon.Sender('room1', to=sys.argv[1], spool=sys.argv[2])\n"
        "sender.send(1)\n"
        "assert sender.flush(20.0)\n"
        "child = os.fork()\n"
        "if child == 0: os.close(1); time.sleep(60)\n"
        "print(child)\n"
        "sys.stdout.flush()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", script, address(collector), str(tmp_path / "spool")]
    child = int(subprocess.run(command, stdout=subprocess.PIPE, timeout=30).stdout)
    try:
        with linemon.Sender("room1", to=address(collector), spool=tmp_path / "spool") as sender:
            sender.send(2)
            assert sender.flush(20.0)
        eventually(lambda: collector.status()["connections"] == 0, "the end of the parent's connection")
    finally:
        os.kill(child, signal.SIGKILL)
    assert collector.store["room1"].since(0).values[:, 0].tolist() == [1, 2]


def test_what_is_sent_last_arrives(collector: Running) -> None:
    """A script that just ends has sent its rows."""
    script = "import linemon, sys; linemon.Sender('room1', to=sys.argv[1]).send(7)"
    subprocess.run([sys.executable, "-c", script, address(collector)], check=True, timeout=30)
    assert collector.store["room1"].last(1).values.tolist() == [[7.0]]


@pytest.mark.slow
def test_in_tls(start_collector: Callable[..., Running], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With certificates of both sides; where one is missing or a stranger's, rows wait and it is said why."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    cert, key = authority.issue("collector")
    ours = tmp_path / "both.pem"
    ours.write_text("".join(path.read_text() for path in authority.issue("room1")))
    tls = f'tls = true\n[tls]\ncert = "{cert}"\nkey = "{key}"\nclient_ca = "{authority.cert}"\n'
    collector = start_collector(f'[tcp]\nlisten = "127.0.0.1:0"\n{tls}')
    to = f"localhost:{collector.address()[1]}"
    with linemon.Sender("room1", to=to, tls=True, ca=authority.cert, cert=ours) as sender:
        for number in range(2000):
            sender.send(number)
        assert sender.flush(20.0)
    assert collector.store["room1"].since(0).values[:, 0].tolist() == list(range(2000))
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("CERTIFICATE_VERIFY_FAILED", {"tls": True, "ca": stranger.cert, "cert": ours}),
        ("/no/such.pem: No such file", {"tls": True, "ca": "/no/such.pem"}),
        (f"{authority.cert}: ", {"tls": True, "ca": authority.cert, "cert": authority.cert}),  # has no key
        ("lost localhost", {"tls": True, "ca": authority.cert}),
        ("lost localhost", {}),
    ]
    for said, options in wrong:
        caplog.clear()
        sender = linemon.Sender("room2", to=to, **options)
        sender.send(1)
        eventually(lambda said=said: said in caplog.text, said)  # type: ignore[misc]
        assert sender.waiting == 1
        sender.close(0)
    assert "room2" not in collector.store
    with pytest.raises(ValueError, match="tls=True"):
        linemon.Sender("room2", ca=authority.cert)


def test_as_a_device(collector: Running, tmp_path: Path) -> None:
    """It registers, works by what is wished at the centre, and says what it refuses."""

    def accept(key: str, wish: Any) -> Any:
        if key == "interval" and not 1 <= wish <= 60:
            raise ValueError("expected 1 to 60 seconds")
        return wish

    came = {"interval": 10.0, "mode": "day"}
    options: dict[str, Any] = {"to": address(collector), "spool": tmp_path / "spool", "device": ("sensor", "A17")}
    with linemon.Sender("roof", ("t",), **options, settings=came, accept=accept) as roof:
        roof.send(1.0)
        assert roof.flush(20.0)
        done = collector.run("set", "roof", "interval=5", "mode=night", "--wait", "10s")
        assert done.returncode == 0, done.stderr
        assert roof.settings == {"interval": 5, "mode": "night"}
        collector.run("set", "roof", "interval=500", "colour=red", "--wait", "10s")
        assert roof.settings == {**came, "mode": "night"}
        (said,) = json.loads(collector.run("devices", "--json").stdout)
        assert (said["name"], said["product"], said["serial"]) == ("roof", "sensor", "A17")
        assert said["refused"] == {"interval": "expected 1 to 60 seconds", "colour": "it has interval, mode"}
    with linemon.Sender("roof", ("t",), **options, settings=came) as roof:  # by their types
        eventually(lambda: roof.settings["mode"] == "night", "the wish, after a restart")
        assert roof.settings["interval"] == 500.0
        collector.run("set", "roof", "mode=7", "--wait", "10s")
        (said,) = json.loads(collector.run("devices", "--json").stdout)
        assert said["refused"]["mode"] == "expected a string, such as 'day'"


def test_wrong_use(caplog: pytest.LogCaptureFixture) -> None:
    """Errors name what was wrong, at once."""
    with pytest.raises(LineError, match="temp"):
        linemon.Sender("room1", ["temp", "temp"])
    with pytest.raises(LineError):
        linemon.Sender("room\n1")
    for columns in (["time"], ["a b"], ["a:b"], [""], []):
        with pytest.raises(LineError):
            linemon.Sender("room1", columns)
    for no_list in ("temperature", b"temperature", [1, 2]):
        with pytest.raises(ValueError, match="expected a list of names"):
            linemon.Sender("room1", no_list)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'nowhere' is not HOST:PORT"):
        linemon.Sender("room1", to="nowhere")
    with caplog.at_level(logging.INFO), linemon.Sender("room1", ["a", "b"], to="127.0.0.1:1") as sender:
        with pytest.raises(ValueError, match="1 values for the 2 columns"):
            sender.send(1)
        with pytest.raises(ValueError, match="infinite"):
            sender.send(1, float("inf"))
        for wrong in (
            -5.0,
            -5,
            -1,
            np.int64(-5),
            10**19,
            float("nan"),
            float("inf"),
            "1649859909",
            np.datetime64(1, "s"),
        ):
            with pytest.raises(LineError):
                sender.send(1, 2, time=wrong)  # type: ignore[arg-type]
        assert sender.waiting == 0
        eventually(lambda: "cannot reach 127.0.0.1:1" in caplog.text, "the reason in the log")
    with pytest.raises(ValueError, match="closed"):
        sender.send(1, 2)
