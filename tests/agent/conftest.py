"""Real agent processes, real sockets, and recorded readings of psutil."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent import sampler
from agent.sampler import Sampler
from tests.forked import AGENTS, Forked

KIB = 1024  # what /proc counts memory in
DEADLINE = 45.0  # seconds until a test gives up on something that comes at once but on a busy machine
REPOSITORY = Path(__file__).parents[2]


def _until(condition: Callable[[], Any], what: str = "it") -> Any:
    end = time.monotonic() + DEADLINE
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {DEADLINE} s for {what}"
        time.sleep(0.01)
    return result


class Agent:
    """A running agent, forked, or started anew where Python is told something; its standard error goes to a file."""

    process: Forked | subprocess.Popen[bytes]

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self._log = folder / f"agent-{len(list(folder.iterdir()))}.log"
        with self._log.open("w") as log, open(os.devnull, "r+b") as nothing:
            if "PYTHONPYCACHEPREFIX" in environment:
                command = [sys.executable, "-m", "agent", *options]
                env = os.environ | environment
                self.process = subprocess.Popen(command, cwd=REPOSITORY, env=env, stderr=log, stdout=nothing)
            else:
                files = [nothing.fileno(), nothing.fileno(), log.fileno()]
                self.process = AGENTS.start(options, files, 0, **environment)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def says(self, text: str) -> str:
        """The first whole line of the log that holds the text, awaited."""
        lines: list[str] = _until(
            lambda: [line for line in self.log.splitlines() if text in line],
            f"{text!r} in the log:\n{self.log}",
        )
        return lines[0]

    @property
    def port(self) -> int:
        return int(self.says("listens on").rpartition(":")[2])

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


class Lines:
    """One end of a TCP connection, read line by line; once `#seq` is said, it acknowledges what it has read."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(DEADLINE)
        self._rest = b""
        self.number = 0  # of the next row; 0: nobody numbers rows here
        self.acknowledges = True

    def line(self) -> str:
        while b"\n" not in self._rest:
            more = self.sock.recv(65536)
            assert more, f"ended after {self._rest!r}"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        if line.startswith(b"#seq "):
            self.number = int(line.split()[1])
            self.acknowledge()
        elif self.number and line and not line.startswith(b"#"):
            self.number += 1
            self.acknowledge()
        return line.decode()

    def acknowledge(self) -> None:
        if self.acknowledges:
            self.sock.sendall(b"#ack %d\n" % self.number)

    def row(self) -> list[float]:
        """The next row's numbers; directives before it are passed over."""
        while (line := self.line()).startswith("#"):
            pass
        return [float(token) for token in line.split()]

    def columns(self) -> list[str]:
        """The next #columns line's names with their units, time left out."""
        while not (line := self.line()).startswith("#columns "):
            pass
        assert line.split()[1] == "time"
        return line.split()[2:]


class Server:
    """A port that stands in for the collector's."""

    def __init__(self, port: int = 0) -> None:
        self.sock = socket.create_server(("127.0.0.1", port))
        self.sock.settimeout(DEADLINE)
        self.port: int = self.sock.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._accepted: list[Lines] = []

    def accept(self) -> Lines:
        self._accepted.append(Lines(self.sock.accept()[0]))
        return self._accepted[-1]

    def close(self) -> None:
        for lines in self._accepted:
            lines.sock.close()
        self.sock.close()


@pytest.fixture
def until() -> Callable[..., Any]:
    """Poll a condition until it holds, and give its value; fail after a deadline."""
    return _until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Start agents with these options; what still runs at the end is killed."""
    folder = tmp_path / "logs"
    folder.mkdir()
    agents: list[Agent] = []

    def start_one(*options: str, **environment: str) -> Agent:
        agents.append(Agent(folder, *options, **environment))
        return agents[-1]

    yield start_one
    for agent in agents:
        agent.process.kill()
        agent.process.wait()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Open ports that stand in for the collector's."""
    servers: list[Server] = []

    def open_one(port: int = 0) -> Server:
        servers.append(Server(port))
        return servers[-1]

    yield open_one
    for server in servers:
        server.close()


@pytest.fixture
def dial() -> Iterator[Callable[..., Lines]]:
    """Connect to a port of this host."""
    connections: list[Lines] = []

    def connect(port: int, receive_buffer: int = 0) -> Lines:
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", port))
        connections.append(Lines(sock))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.sock.close()


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as made:
        yield made


@pytest.fixture
def turn(selector: selectors.BaseSelector) -> Callable[[], None]:
    """Let the selector's callbacks run until nothing more happens for 20 ms."""

    def turn_until_idle() -> None:
        while ready := selector.select(0.02):
            for key, mask in ready:
                key.data(mask)

    return turn_until_idle


CpuTimes = namedtuple("CpuTimes", "user nice system idle iowait irq softirq steal guest guest_nice")
Net = namedtuple(
    "Net", "bytes_sent bytes_recv packets_sent packets_recv errin errout dropin dropout", defaults=(0, 0, 0, 0, 0, 0)
)
Disk = namedtuple(
    "Disk", "read_count write_count read_bytes write_bytes busy_time read_time write_time", defaults=(0, 0)
)
Part = namedtuple("Part", "device mountpoint fstype opts")
Usage = namedtuple("Usage", "total used free percent")
Sensor = namedtuple("Sensor", "label current high critical")


class Recorded:
    """A host's readings as psutil gives them, to be changed by the test; None stands for a raise.

    `proc`: the folder where they also stand as the kernel writes them; None = psutil alone has them.
    """

    def __init__(self, proc: Path | None = None) -> None:
        self.proc = proc
        self.make = SimpleNamespace(cpu=CpuTimes, net=Net, disk=Disk, part=Part, usage=Usage, sensor=Sensor)
        self.readings: dict[str, Any] = {
            "cpu_times": CpuTimes(100.0, 0.0, 50.0, 800.0, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0),
            "getloadavg": (0.5, 0.25, 0.125),
            "virtual_memory": SimpleNamespace(
                total=1000 * KIB, available=600 * KIB, cached=200 * KIB, buffers=50 * KIB
            ),
            "swap_memory": SimpleNamespace(total=0, used=0),
            "net_io_counters": {"lo": Net(9, 9), "eth0": Net(1000, 2000), "veth12": Net(5, 5)},
            "disk_io_counters": {"vda": Disk(10, 20, 4096, 8192, 100), "vda1": Disk(10, 20, 4096, 8192, 100)},
            "cpu_stats": SimpleNamespace(ctx_switches=1000, interrupts=500),
            "cpu_count": 2,
            "cpu_freq": [SimpleNamespace(current=2600.0)],
            "pids": [1, 2, 3],
            "disk_partitions": [Part("/dev/vda1", "/", "ext4", "rw")],
            "sensors_temperatures": {"coretemp": [Sensor("Package id 0", 41.25, 90.0, 100.0)]},
            "memory_info": SimpleNamespace(rss=12_000_000),
        }
        self.usage: dict[str, Any] = {"/": Usage(100, 30, 70, 30.0)}
        self.asked: list[str] = []
        self.seconds = 1000.0  # the monotonic clock
        self.asleep = 0.0  # what the wall clock is ahead of it by, beyond 1.7e9

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self.readings:
            raise AttributeError(name)

        def answer(**_options: Any) -> Any:
            self.asked.append(name)
            if self.readings[name] is None:
                raise OSError(f"no {name} today")
            return self.readings[name]

        return answer

    def write(self) -> None:
        """Have the readings stand in /proc as well; one that raises there is something that is no number."""
        if self.proc is None:
            return
        (self.proc / "net").mkdir(parents=True, exist_ok=True)
        for file, text in self.files().items():
            (self.proc / file).write_text(text, errors="surrogateescape")

    def files(self) -> dict[str, str]:
        """The text of each file."""
        times, stats, memory, nets, disks = map(self._reading, IN_PROC)
        cpu = "cpu  none" if times is None else f"cpu  {' '.join(str(round(100 * each)) for each in times)}"
        counts = "ctxt none" if stats is None else f"intr {stats.interrupts} 0 7 0\nctxt {stats.ctx_switches}"
        kib = ["none"] * 4
        if memory is not None:
            kib = [f"{each // KIB:8d} kB" for each in (memory.total, memory.available, memory.buffers, memory.cached)]
        return {
            "stat": f"{cpu}\n{cpu.replace('cpu ', 'cpu0')}\n{counts}\nbtime 1700000000\n",
            "meminfo": "MemTotal:  {}\nMemFree:  9 kB\nMemAvailable:  {}\nBuffers:  {}\nCached:  {}\n"
            "SwapCached:  7 kB\nSReclaimable:  0 kB\n".format(*kib),
            "net/dev": NET_HEAD + ("none\n" if nets is None else "".join(_net_line(*each) for each in nets.items())),
            "diskstats": "none\n" if disks is None else "".join(_disk_line(*each) for each in disks.items()),
        }

    def is_in_proc(self, name: str) -> bool:
        """Whether it is read there."""
        return self.proc is not None and name in IN_PROC

    def _reading(self, name: str) -> Any:
        if name in self.readings and self.readings[name] is None:
            return None
        got = getattr(self, name)()
        return {} if got is None else got  # as psutil says that there is no disk

    def Process(self) -> Recorded:  # noqa: N802 - as psutil spells it
        return self

    def disk_usage(self, path: str) -> Any:
        return self.usage[path]

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return 1.7e9 + self.seconds + self.asleep


IN_PROC = ("cpu_times", "cpu_stats", "virtual_memory", "net_io_counters", "disk_io_counters")
NET_HEAD = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier "
    "compressed\n"
)


def _net_line(name: str, net: Any) -> str:
    received = f"{net.bytes_recv} {net.packets_recv} {net.errin} {net.dropin} 71 72 73 74"
    return f"{name:>6}: {received} {net.bytes_sent} {net.packets_sent} {net.errout} {net.dropout} 75 76 77 78\n"


def _disk_line(name: str, disk: Any) -> str:
    read = f"{disk.read_count} 81 {disk.read_bytes // 512} {disk.read_time}"
    written = f"{disk.write_count} 82 {disk.write_bytes // 512} {disk.write_time}"
    return f" 254       0 {name} {read} {written} 0 {disk.busy_time} 83 0 0 0 0 84 85\n"


@pytest.fixture(params=["psutil", "proc"])
def recorded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorded:
    """One core's readings, a second's worth of which the test adds by itself; read in both ways that there are."""
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=200, f_ffree=150))
    monkeypatch.setattr(sampler, "PATIENCE", DEADLINE)  # however busy this machine is, a row waits for its slow groups
    return Recorded(tmp_path / "proc" if request.param == "proc" else None)


class Host:
    """A sampler on recorded readings, one sample per second."""

    def __init__(self, recorded: Any, system: Path, **options: Any) -> None:
        self.recorded, self.log = recorded, list[str]()
        recorded.write()
        self.sampler = Sampler(
            recorded, self.log.append, recorded.monotonic, recorded.wall, system=str(system), **options
        )

    def set(self, **readings: Any) -> None:
        self.recorded.readings.update(readings)

    def sample(self, seconds: float = 1.0) -> dict[str, float] | None:
        """All columns, missing ones as nan; None where there is no row."""
        self.recorded.seconds += seconds
        self.recorded.write()
        sampled = self.sampler.sample(7)
        if sampled is None:
            return None
        at, values = sampled
        assert at == self.recorded.wall()
        assert values.keys() <= self.sampler.columns.keys()
        return {name: values.get(name, float("nan")) for name in self.sampler.columns}

    def subsample(self, seconds: float) -> None:
        """A reading between two samples."""
        self.recorded.seconds += seconds
        self.recorded.write()
        self.sampler.subsample()

    def row(self, seconds: float = 1.0) -> dict[str, float]:
        row = self.sample(seconds)
        assert row is not None
        return row


@pytest.fixture
def host(recorded: Recorded, tmp_path: Path) -> Host:
    """A host of one disk with one partition, whose first (rowless) sample is taken."""
    (tmp_path / "sys/block/vda" / "slaves").mkdir(parents=True)
    made = Host(recorded, tmp_path)
    assert made.sample() is None
    return made


@pytest.fixture
def make_host(recorded: Recorded, tmp_path: Path) -> Callable[..., Host]:
    """Hosts on the same readings, with options of the sampler; `system` is the folder of proc and sys."""

    def make(system: Path = tmp_path, **options: Any) -> Host:
        return Host(recorded, system, **options)

    return make
