"""`--read`: real agents, and devices on pseudo-terminals, sockets, files, pipes, commands and Modbus."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
import tomllib
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.options import Options
from linemon.cli.agent import arguments
from linemon.config import AgentConfig, Config
from tests.centre import Centre
from tests.meters import P1_SERIAL, iec, p1
from tests.running import free_port

SPECS = Path(__file__).parents[2] / "linemon" / "specs"
P1 = "dsmr5.ISk-M550E-1012"
Start = Callable[..., Any]


def shipped(name: str) -> Any:
    return tomllib.loads((SPECS / f"{name}.toml").read_text())


def text_spec(version: str = "1", *columns: dict[str, Any], **read: str) -> dict[str, Any]:
    made = list(columns) or [{"name": "t", "pattern": "t=([^ ]+)"}]
    return {"version": version, "read": {"kind": "text", **read}, "column": made}


@pytest.fixture
def centre() -> Iterator[Centre]:
    made = Centre()
    yield made
    made.close()


@pytest.fixture
def read(start: Start, centre: Centre, tmp_path: Path) -> Start:
    """Start an agent that reads, and keeps what it must in a folder of the test's."""

    def start_one(url: str, *options: str, **environment: str) -> Any:
        environment.setdefault("XDG_STATE_HOME", str(tmp_path / "state"))
        return start("--to", centre.address, "--read", url, *options, **environment)

    return start_one


class Meter:
    """Says something again and again on a pseudo-terminal, at 20 a second."""

    def __init__(self, says: Callable[[int], bytes]) -> None:
        self.says = says
        self.count = 0
        self._far, near = os.openpty()
        tty.setraw(near)
        self.url = f"serial:{os.ttyname(near)}?baud=115200"
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        os.set_blocking(self._far, False)
        while not self._ends.wait(0.05):
            try:
                os.write(self._far, self.says(self.count))
                self.count += 1
            except BlockingIOError:  # nobody reads yet
                pass

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        os.close(self._far)


@pytest.fixture
def meter() -> Iterator[Callable[[Callable[[int], bytes]], Meter]]:
    made: list[Meter] = []

    def make(says: Callable[[int], bytes]) -> Meter:
        made.append(Meter(says))
        return made[-1]

    yield make
    for each in made:
        each.close()


def at(count: int) -> str:
    """A stamp of the count-th second."""
    return time.strftime("%y%m%d%H%M%SW", time.gmtime(1291890620 + 3600 + count))


def test_a_smart_meter_registers_itself_and_gets_its_spec(read: Start, centre: Centre, meter: Any) -> None:
    """From its telegrams alone: product, serial, and rows with their own times."""
    centre.specs[P1] = shipped("dsmr5.*")
    read(meter(lambda count: p1(count / 1000, at(count))).url)
    rows = centre.wait_rows(20)
    assert set(centre.devices) == {f"{P1} {P1_SERIAL}"}
    assert {row.spec for row in rows} == {"1"}
    assert all(row.values["power_import"] == row.values["time"] - 1291890620 for row in rows)
    assert rows[0].values["agent.rejected_records"] == rows[0].values["agent.dropped_rows"] == 0
    assert not [line for line in centre.lines if line.startswith("#source")]  # it brings no name


def test_without_a_spec_readings_are_kept_and_it_says_so(read: Start, centre: Centre, meter: Any) -> None:
    """It registers and waits; once there is one, what was read before becomes rows, too."""
    agent = read(meter(lambda count: p1(count / 1000, at(count))).url)
    centre.until(lambda: centre.devices)
    agent.says(f"keeps what it reads until the collector has a spec for {P1}")
    before = time.time()
    centre.until(lambda: time.time() > before + 1)
    assert not centre.rows
    centre.specs[P1] = shipped("dsmr5.*")
    centre.push()
    rows = centre.wait_rows(20)
    numbers = [round(row.values["power_import"]) for row in rows]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] < 5


def test_readings_kept_in_a_folder_outlive_kill_9(read: Start, centre: Centre, tmp_path: Path) -> None:
    """Also by the agent's next process, which knows who it is before it has read anything."""
    (tmp_path / "old").write_bytes(iec(1.0))
    spool = ("--spool", str(tmp_path / "spool"))
    agent = read(f"file:{tmp_path}/old", *spool)
    agent.says("keeps what it reads")
    centre.until(lambda: centre.devices)
    agent.stop(9)
    (tmp_path / "old").unlink()
    centre.specs["iec62056.EMH-ED300L"] = shipped("iec62056.*")
    read(f"file:{tmp_path}/old", *spool)
    (row,) = centre.wait_rows(1)
    assert row.values["energy_import"] == 1.0


def test_a_meter_that_is_replaced_by_another_product(read: Start, centre: Centre, meter: Any) -> None:
    """At run time: it registers anew, and rows of before and after are each right, by their own specs."""
    centre.specs = {P1: shipped("dsmr5.*"), "iec62056.EMH-ED300L": shipped("iec62056.*")}
    one = meter(lambda count: p1(0.5, at(count)))
    agent = read(one.url)
    centre.wait_rows(5)
    one.says = lambda count: iec(float(count))
    other = centre.wait_rows(5, lambda row: row.device.startswith("iec62056"))
    assert centre.devices == [f"{P1} {P1_SERIAL}", "iec62056.EMH-ED300L 1126150012345"]
    assert [row.values["power"] for row in other] == [0.31] * len(other)
    assert all(row.values["power_import"] == 500 for row in centre.rows if row.device.startswith("dsmr5"))
    assert "is iec62056.EMH-ED300L 1126150012345" in agent.log


def test_a_telegram_that_is_damaged_makes_no_other_device(read: Start, centre: Centre, meter: Any) -> None:
    """Where no CRC vouches for it, another product or serial counts when it is said twice in a row."""
    centre.specs["iec62056.EMH-ED300L"] = shipped("iec62056.*")
    damaged = iec(5.0).replace(b"1126150012345", b"112\x3f150012345")
    read(meter(lambda count: damaged if count % 10 == 5 else iec(float(count))).url)
    rows = centre.wait_rows(15)
    assert len(centre.devices) == 1
    assert rows[-1].values["agent.rejected_records"] >= 1


def test_a_spec_that_changes_is_in_force_at_once(read: Start, centre: Centre, meter: Any) -> None:
    """Rows before and after are each right, and say by which version they were made; nothing is lost between."""
    centre.specs["x"] = text_spec("1", {"name": "n", "pattern": r"n=(\d+)"})
    read(meter(lambda count: f"n={count}\n".encode()).url, "--product", "x", "--serial", "1")
    centre.wait_rows(5)
    centre.specs["x"] = text_spec("2", {"name": "n10", "pattern": r"n=(\d+)", "scale": 10})
    centre.push()
    centre.wait_rows(5, lambda row: row.spec == "2")
    numbers = [row.values["n"] if row.spec == "1" else row.values["n10"] / 10 for row in centre.rows]
    assert numbers == list(range(round(numbers[0]), round(numbers[0]) + len(numbers)))


def test_a_wrong_spec_is_refused_and_the_one_before_stays(read: Start, centre: Centre, meter: Any) -> None:
    centre.specs["x"] = text_spec("1")
    read(meter(lambda _: b"t=5\n").url, "--product", "x", "--serial", "1")
    centre.wait_rows(3)
    centre.specs["x"] = {"version": "2", "read": {"kind": "modbus"}, "column": [{"name": "a", "register": 40001}]}
    centre.push()
    refused = centre.until(lambda: [said for _, said in centre.reports if "refused" in said])
    assert refused[0]["refused"] == {"spec": "[read] kind = 'modbus', but it is read by serial"}
    count = len(centre.rows)
    assert {row.spec for row in centre.wait_rows(count + 5)} == {"1"}


@pytest.mark.slow
def test_a_pattern_that_never_ends_is_refused(read: Start, centre: Centre, meter: Any) -> None:
    """The agent goes on, and keeps what it reads for a better spec."""
    centre.specs["x"] = text_spec("1", {"name": "t", "pattern": "^(a+)+$"})
    read(meter(lambda _: b"a" * 40 + b"!\n").url, "--product", "x", "--serial", "1")
    refused = centre.until(lambda: [said for _, said in centre.reports if "refused" in said])
    assert refused[0]["refused"] == {"spec": "its patterns take longer than 1 s"}
    centre.specs["x"] = text_spec("2", {"name": "t", "pattern": "(a+)", "values": {"a" * 40: 1}})
    centre.push()
    assert centre.wait_rows(5)[0].spec == "2"


@pytest.mark.slow
def test_settings_of_a_meter(read: Start, centre: Centre, meter: Any) -> None:
    """Its interval thins out what it says; columns leave out others; what it cannot do is refused with a reason."""
    centre.specs["x"] = text_spec("1", *[{"name": name, "pattern": f"{name}=(.)"} for name in "ab"])
    read(meter(lambda _: b"a=1 b=2\n").url, "--product", "x", "--serial", "1")
    centre.wait_rows(3)
    assert centre.until(lambda: centre.reports)[-1] == (0, {"interval": 0, "columns": ["*"]})
    version = centre.set(interval=0.5, columns=["b"], groups="top", colour="red")
    is_so = centre.until(lambda: [said for number, said in centre.reports if number == version])[0]
    assert is_so == {
        "interval": 0.5,
        "columns": ["b"],
        "refused": dict.fromkeys(["groups", "colour"], "it has interval, columns"),
    }
    thinned = centre.wait_rows(4, lambda row: row.values["a"] != row.values["a"])
    times = [row.values["time"] for row in thinned]
    assert all(0.45 < later - sooner < 0.75 for sooner, later in itertools.pairwise(times))
    version = centre.set()  # all wishes are taken back
    assert centre.until(lambda: [said for number, said in centre.reports if number == version])[0]["interval"] == 0


@pytest.mark.slow
def test_a_bridge_that_cuts(read: Start, centre: Centre) -> None:
    """A serial port behind TCP: it is dialled again; a record that was cut is counted and no row."""
    centre.specs["x"] = text_spec("1", {"name": "n", "pattern": r"n=(\d+)"})
    bridge = socket.create_server(("127.0.0.1", 0))
    agent = read(f"tcp://127.0.0.1:{bridge.getsockname()[1]}", "--product", "x", "--serial", "1")
    for number in range(3):
        with bridge.accept()[0] as sock:
            sock.sendall(f"n={number}\nn=99".encode())
    sock = bridge.accept()[0]
    sock.sendall(b"n=3\n")
    rows = centre.wait_rows(4)
    assert [row.values["n"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1].values["agent.rejected_records"] == 3
    assert agent.log.count("tries again") == 3
    sock.close()
    bridge.close()


def test_a_port_that_is_not_there_yet(read: Start, centre: Centre, tmp_path: Path) -> None:
    """It is tried again, and the log says so once."""
    centre.specs["x"] = text_spec()
    agent = read(f"file:{tmp_path}/later", "--product", "x", "--serial", "1")
    agent.says("cannot read file")
    (tmp_path / "later").write_text("t=1\n")
    assert centre.wait_rows(1)[0].values["t"] == 1
    assert agent.log.count("cannot read") == 1


@pytest.mark.slow
def test_a_file_that_grows_and_is_replaced(read: Start, centre: Centre, tmp_path: Path) -> None:
    """From its beginning; each line once, over restarts of the agent too."""
    centre.specs["x"] = text_spec("1", {"name": "n", "pattern": r"n=(\d+)"})
    path = tmp_path / "log"
    path.write_text("n=0\nn=1\nn=")
    options = ("--product", "x", "--serial", "1", "--spool", str(tmp_path / "spool"))
    agent = read(f"file:{path}", *options)
    centre.wait_rows(2)
    with path.open("a") as file:
        file.write("2\nn=")
    centre.wait_rows(3)
    agent.stop()
    with path.open("a") as file:
        file.write("3\n")
    read(f"file:{path}", *options)
    centre.wait_rows(4)
    path.rename(tmp_path / "log.1")
    path.write_text("n=4\n")
    assert [row.values["n"] for row in centre.wait_rows(5)] == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_history_read_twice_gives_each_row_once(read: Start, centre: Centre, tmp_path: Path) -> None:
    """By the records' own times: over readings of it, restarts of the agent, and with newer ones among the old."""
    time_of_it = {"name": "at", "pattern": "at=([^ ]+)", "time": True}
    centre.specs["x"] = text_spec("1", time_of_it, {"name": "n", "pattern": r"n=(\d+)"})
    history = [f"at=2026-01-01T00:00:{number:02} n={number}\n" for number in range(20)]
    (tmp_path / "a").write_text("".join(history[:10]))
    source = tmp_path / "history"
    source.write_text("".join(history[:10]))
    options = ("--product", "x", "--serial", "1", "--spool", str(tmp_path / "spool"))
    agent = read(f"file:{source}", *options)
    centre.wait_rows(10)
    for upto in (10, 15):
        replaced = tmp_path / "new"
        replaced.write_text("".join(history[:upto]))
        replaced.rename(source)
    centre.wait_rows(15)
    agent.stop(9)
    replaced.write_text("".join(history))
    replaced.rename(source)
    read(f"file:{source}", *options)
    rows = centre.wait_rows(20)
    assert [row.values["n"] for row in rows] == list(range(20))
    assert rows[7].values["time"] == 1767225607


def test_a_record_stamped_ahead_holds_up_nobody(read: Start, centre: Centre, tmp_path: Path) -> None:
    """A clock that is wrong once: later records are newer than those before it."""
    time_of_it = {"name": "at", "pattern": "at=([^ ]+)", "time": True}
    centre.specs["x"] = text_spec("1", time_of_it, {"name": "n", "pattern": r"n=(\d+)"})
    years = ("2026-01-01", "2099-01-01", "2026-01-02", "2026-01-01", "2026-01-03")
    (tmp_path / "log").write_text("".join([f"at={year} n={number}\n" for number, year in enumerate(years)]))
    agent = read(f"file:{tmp_path}/log", "--product", "x", "--serial", "1")
    assert [row.values["n"] for row in centre.wait_rows(4)] == [0, 1, 2, 4]
    agent.says("is not newer than the newest that was sent, and not sent again")


def test_a_unit_that_reads_a_serial_port(tmp_path: Path) -> None:
    """It has a name of its own, beside the host's, and may open the port."""
    command = [sys.executable, "-m", "agent", "--read", "serial:/dev/ttyUSB0", "--print-unit"]
    unit = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "systemctl enable --now linemon-device" in unit
    assert "\nSupplementaryGroups=dialout\n" in unit
    assert "PrivateDevices=no" in unit


def test_a_fifo(read: Start, centre: Centre, tmp_path: Path) -> None:
    """Whoever writes, one after the other."""
    centre.specs["x"] = text_spec()
    os.mkfifo(tmp_path / "pipe")
    read(f"file:{tmp_path}/pipe", "--product", "x", "--serial", "1")
    for number in range(3):
        (tmp_path / "pipe").write_text(f"t={number}\n")  # waits for the reader
        centre.wait_rows(number + 1)
    assert [row.values["t"] for row in centre.rows] == [0, 1, 2]


@pytest.mark.slow
def test_a_command_is_asked_at_the_interval(read: Start, centre: Centre, tmp_path: Path) -> None:
    """As often as the spec says, and from then on as is wished."""
    centre.specs["x"] = text_spec("1", every="0.2s")
    read(f"exec:{sys.executable} -c \"print('t=5')\"", "--product", "x", "--serial", "1")
    centre.wait_rows(5)
    assert centre.reports[-1][1]["interval"] == 0.2
    version = centre.set(interval=0.7)
    centre.until(lambda: [number for number, _ in centre.reports if number == version])
    times = [row.values["time"] for row in centre.wait_rows(len(centre.rows) + 4)]
    assert times[-1] - times[-4] > 1.4  # three intervals, whatever each start of the command takes


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("false", "it ended with exit code 1"),
        ("yes", "it prints more than 65536 bytes"),
        ("./none", "No such file"),
        ("sleep 100", "it took longer than 0.2 s"),
    ],
)
def test_commands_that_fail(read: Start, centre: Centre, command: str, says: str) -> None:
    """The log says once why; it is asked again."""
    centre.specs["x"] = text_spec("1", every="0.2s")
    agent = read(f"exec:{command}", "--product", "x", "--serial", "1")
    agent.says(says)


class Web:
    """Answers HTTP with JSON, and notes the passwords that it was shown."""

    def __init__(self) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        web, self.answer, self.shown, self.location = self, b'{"a": {"b": 1}}', list[str](), ""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.shown.append(self.headers.get("Authorization", ""))
                self.send_response(302 if web.location else 200)
                if web.location:
                    self.send_header("Location", web.location)
                self.end_headers()
                self.wfile.write(web.answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    yield made
    made.server.shutdown()
    made.server.server_close()


def json_spec(**column: Any) -> dict[str, Any]:
    columns = [{"name": "b", "path": "a.b", **column}]
    return {"version": "1", "read": {"kind": "json", "every": "0.2s"}, "column": columns}


def test_json_by_http(read: Start, centre: Centre, web: Web) -> None:
    """Its password comes from the environment, and is seen neither in the log nor by the collector."""
    centre.specs["x"] = json_spec()
    url = f"http://me:${{SECRET}}@127.0.0.1:{web.port}/status"
    agent = read(url, "--product", "x", "--serial", "1", SECRET="s3cret")
    assert centre.wait_rows(2)[1].values["b"] == 1
    assert web.shown[0] == "Basic bWU6czNjcmV0"
    web.answer = b'{"a": [1'
    agent.says("gives no row: Expecting ',' delimiter")
    web.answer = json.dumps([{"a": {"b": 7}}, {"a": {"b": 8}}]).encode()
    assert centre.wait_rows(1, lambda row: row.values["b"] == 8)[0].values["agent.rejected_records"] > 0
    web.location = f"http://localhost:{web.port}/"
    agent.says("it leads to another host")
    assert "s3cret" not in agent.log + "".join(centre.lines)


class Slave:
    """A real Modbus server, pymodbus's, in a process of its own."""

    SCRIPT = """
import asyncio, struct, sys
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import StartAsyncTcpServer
words = lambda number: list(struct.unpack(">2H", struct.pack(">f", number)))
block = ModbusSequentialDataBlock(1, words(230.5) + words(50.0) + [65535, 7])
device = ModbusDeviceContext(ir=block, hr=block, co=ModbusSequentialDataBlock(1, [True]))
asyncio.run(StartAsyncTcpServer(ModbusServerContext(device, single=True), address=("127.0.0.1", int(sys.argv[1]))))
"""

    def __init__(self) -> None:
        self.port = free_port()
        self.again()

    def again(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", self.SCRIPT, str(self.port)])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def slave() -> Iterator[Slave]:
    made = Slave()
    yield made
    made.kill()


MODBUS = [
    {"name": "voltage", "unit": "V", "register": 30001, "type": "float32"},
    {"name": "frequency", "unit": "Hz", "register": 30003, "type": "float32"},
    {"name": "signed", "register": "holding:4", "type": "int16", "scale": 0.5},
    {"name": "relay", "register": 1},
    {"name": "beyond", "register": "holding:5", "type": "uint32"},
]


def test_registers_of_a_modbus_server(read: Start, centre: Centre, slave: Slave) -> None:
    """A register that it does not have is missing, and costs itself; a server that was away is asked again."""
    centre.specs["meter"] = {"version": "1", "read": {"kind": "modbus", "every": "0.2s"}, "column": MODBUS}
    agent = read(f"modbus://127.0.0.1:{slave.port}?unit=1", "--product", "meter", "--serial", "1")
    values = centre.wait_rows(2)[1].values
    assert [values[name] for name in ("voltage", "frequency", "signed", "relay")] == [230.5, 50.0, -0.5, 1.0]
    assert values["beyond"] != values["beyond"]
    slave.kill()
    agent.says("asks again")
    slave.again()
    agent.says("reads modbus")
    count = len(centre.rows)
    centre.wait_rows(count + 2)


@pytest.mark.slow
def test_a_cut_link_and_a_centre_that_comes_later(read: Start, centre: Centre, meter: Any, tmp_path: Path) -> None:
    """Rows wait in the spool, go once, and the spec of before is worked by meanwhile."""
    centre.specs["x"] = text_spec("1", {"name": "n", "pattern": r"n=(\d+)"})
    read(meter(lambda count: f"n={count}\n".encode()).url, "--product", "x", "--serial", "1")
    for _ in range(3):
        count = len(centre.rows)
        centre.wait_rows(count + 5)
        centre.cut()
    centre.wait_rows(len(centre.rows) + 5)
    numbers = [round(row.values["n"]) for row in centre.rows]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_collector_that_knows_no_devices(read: Start, centre: Centre, meter: Any, tmp_path: Path) -> None:
    """It takes the rows of a device that has a name, and a spec from before."""
    centre.specs["x"] = text_spec()
    one = meter(lambda _: b"t=5\n")
    agent = read(one.url, "--product", "x", "--serial", "1", "--name", "meter1")
    centre.wait_rows(2)
    agent.stop()
    centre.knows_devices = False
    count = len(centre.rows)
    read(one.url, "--product", "x", "--serial", "1", "--name", "meter1")
    centre.wait_rows(count + 5)
    assert "#source meter1" in centre.lines


@pytest.mark.slow
def test_a_device_that_is_refused_keeps_its_rows(read: Start, centre: Centre, meter: Any) -> None:
    """It asks again after ten seconds and ever more seldom; then its rows go, each once."""
    centre.refuses = "device: blocked"
    read(meter(lambda _: b"t=5\n").url, "--product", "x", "--serial", "1")
    centre.until(lambda: len(centre.dialled) == 2)
    assert centre.dialled[1] - centre.dialled[0] > 9.9
    centre.refuses = ""


def test_linemon_agent_says_nothing_of_this_host_to_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """[agent] is about this machine: its name and spool are not the meter's."""
    monkeypatch.delenv("LINEMON_TO", raising=False)
    config = Config(agent=AgentConfig(name="web1", spool="/var/x", groups=("cores",)))
    options = Options(arguments(config, ["--read", "file:x"]))
    assert (options.has_name, options.spool, options.groups) == (False, "", ())
    assert options.to == ("127.0.0.1", 4000)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--read", "ftp://x"], "--read is none of serial:PATH"),
        (["--read", "serial:/dev/x?baud=12"], "baud=12"),
        (["--read", "serial:/dev/x?speed=9600"], "'speed' is none of baud, bits, parity, stop"),
        (["--read", "tcp://x"], "is not HOST:PORT"),
        (["--read", "exec:"], "--read is none of"),
        (["--read", "modbus://x:502?unit=300"], "unit=300 is not 0 to 255"),
        (["--read", "file:x", "--listen", "127.0.0.1:0"], "--listen does not go with --read"),
        (["--read", "file:x", "--product", "a b"], "--product 'a b' is not 1 to 64 bytes without blanks"),
        (["--read", "file:x", "--product", "a", "--serial", "x" * 65], "is not 1 to 64 bytes"),
        (["--product", "a"], "--product and --serial go with --read"),
    ],
    ids=str,
)
def test_wrong_options_of_reading(start: Start, tmp_path: Path, options: list[str], says: str) -> None:
    """One line, exit 2."""
    agent = start(*options, XDG_STATE_HOME=str(tmp_path))
    assert agent.process.wait(15) == 2
    assert says in agent.log
    assert len(agent.log.splitlines()) == 1
