"""`linemon up` as a user runs it: agent to collector to page, restarts, and a clean end."""

from __future__ import annotations

import dataclasses
import json
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent.options import Options
from linemon.cli.main import parse
from linemon.config import AgentConfig, load
from linemon.store.reader import Store
from tests.pki import Authority
from tests.running import command, eventually, free_port


class Up:
    """A running `linemon up` and its places."""

    def __init__(self, folder: Path, tcp: str = "", agent: str = 'name = "host"\ninterval = 0.2\n') -> None:
        self.lines, self.tap, self.page = (free_port() for _ in range(3))
        self.config = folder / "linemon.toml"
        self.config.write_text(
            f'[store]\npath = "{folder}/store"\n[tcp]\nlisten = "127.0.0.1:{self.lines}"\ntoken = "s3cret"\n{tcp}'
            f'[http]\nlisten = "127.0.0.1:0"\n[[tap]]\nlisten = "127.0.0.1:{self.tap}"\n'
            f'[dashboard]\nlisten = "127.0.0.1:{self.page}"\n'
            f'[agent]\nto = "localhost:{self.lines}"\n{agent}'
        )
        self.log = folder / "log"
        with self.log.open("wb") as log:
            # In a session of its own, so without a terminal: SIGHUP is then no hang-up.
            self.process = subprocess.Popen(
                command("up", "--config", str(self.config)), stderr=log, stdout=log, start_new_session=True
            )
        self.store = Store(folder / "store")

    def part(self, name: str) -> psutil.Process | None:
        """The process of one part, once it runs."""
        for child in psutil.Process(self.process.pid).children():
            line = child.cmdline()
            if name in line[4:5] or (name == "agent" and line[2].endswith("/agent")):
                return child
        return None

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def wait_for_page(self) -> str:
        address = f"http://127.0.0.1:{self.page}/"
        eventually(lambda: f"the page is at {address}" in self.log.read_text(), "the page's address", 60)
        return address


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path)
    yield running
    running.end()


def test_from_agent_to_page_and_a_clean_end(up: Up) -> None:
    """The host's metrics come, the tap sends six numbers, the page answers; Ctrl-C leaves nothing behind."""
    address = up.wait_for_page()
    eventually(lambda: "host" in up.store and up.store["host"].rows > 3, "the agent's rows")
    host = up.store["host"]
    assert "cpu.busy_pct" in host.columns
    assert dict(zip(host.columns, host.units, strict=True))["mem.total_bytes"] == "B"
    with socket.create_connection(("127.0.0.1", up.tap), timeout=20) as tap:
        row = [float(token) for token in tap.recv(65536).split()]
    assert len(row) == 6
    assert 0 <= row[2] <= 100
    with urllib.request.urlopen(address) as page:
        assert b"linemon" in page.read()
    rows = subprocess.run(
        command("export", "host", "--since", "1m", "--format", "jsonl", "--config", str(up.config)),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert json.loads(rows[-1])["mem.total_bytes"] == psutil.virtual_memory().total
    parts = psutil.Process(up.process.pid).children(recursive=True)
    assert len(parts) == 4
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(30) == 0
    assert not any(part.is_running() for part in parts)
    for port in (up.lines, up.tap, up.page):
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", port)) != 0
    assert "Traceback" not in up.log.read_text()


def test_each_setting_of_the_agent_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What [agent] says is what the agent that it starts does; one that is forgotten on the way is missed here."""
    monkeypatch.delenv("LINEMON_TO", raising=False)
    authority = Authority(tmp_path)
    cert, key = authority.issue("collector")
    ours = tmp_path / "both.pem"
    ours.write_text("".join(path.read_text() for path in authority.issue("agent")))
    settings = {
        "name": "web 1",
        "token": "s3cret",
        "interval": 0.25,
        "subsamples": 3,
        "groups": ["cores", "sockets"],
        "spool": str(tmp_path / "spool"),
        "spool_bytes": 100_000,
        "spool_age": 4321.0,
        "tls": True,
        "ca": str(authority.cert),
        "cert": str(ours),
    }
    tls = f'tls = true\n[tls]\ncert = "{cert}"\nkey = "{key}"\nclient_ca = "{authority.cert}"\n'
    agent = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    up = Up(tmp_path, tls, agent)
    try:
        said = load(up.config).agent
        process = eventually(lambda: up.part("agent"), "the agent's process")
        command_line = eventually(
            lambda: line if "linemon" not in (line := process.cmdline())[3:4] else None, "the agent in place of linemon"
        )
        got = Options(command_line[3:])
        for setting in dataclasses.fields(AgentConfig):
            wanted = getattr(said, setting.name)
            assert wanted != setting.default, f"give {setting.name} a value that is not its default"
            if setting.name == "token":  # through the environment, which only its own user can read
                assert process.environ()["LINEMON_TOKEN"] == wanted
                continue
            wanted = (wanted.host, wanted.port) if setting.name == "to" else wanted
            assert getattr(got, setting.name) == wanted, setting.name
        eventually(lambda: "web 1" in up.store and up.store["web 1"].rows > 1, "rows, with token and certificate")
        assert {"cpu.busy_max_pct", "cpu.0.busy_pct", "sockets.used"} <= {*up.store["web 1"].columns}
        assert list((tmp_path / "spool").glob("*.lines"))
        assert "s3cret" not in " ".join(command_line)
    finally:
        up.end()


HARDENED = {
    "DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=read-only", "PrivateTmp=yes",
    "CapabilityBoundingSet=", "SystemCallFilter=@system-service", "MemoryDenyWriteExecute=yes", "Restart=always",
}  # fmt: skip


@pytest.mark.parametrize("part", ["up", "agent"])
def test_a_printed_unit_starts_what_it_was_printed_for(tmp_path: Path, part: str) -> None:
    """Its command is one that we take, with the same settings, whatever is in their names; and it is hardened."""
    folder = tmp_path / '100% of "it", $HOME'
    folder.mkdir()
    config = folder / "linemon.toml"
    config.write_text(
        '[tcp]\ntoken = "s3cret"\n[agent]\nname = "web 1; rm $x"\ninterval = 2.5\nspool = "/var/lib/a b"\n'
    )
    done = subprocess.run(command(part, "--config", str(config), "--print-unit"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert set(lines) >= HARDENED
    assert "s3cret" not in done.stdout
    (start,) = (line.partition("=")[2] for line in lines if line.startswith("ExecStart="))
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(start)]
    assert words[0] == sys.executable
    if part == "up":
        assert words[1:4] == ["-P", "-m", "linemon"]
        options = parse(words[4:])
        assert (options.command, options.config, options.print_unit) == ("up", config, False)
    else:
        assert words[1:3] == ["-m", "agent"]
        got = Options(words[3:])
        assert (got.name, got.interval, got.spool, got.print_unit) == ("web 1; rm $x", 2.5, "/var/lib/a b", False)


@pytest.mark.parametrize(
    ("settings", "hints"),
    [
        ("", ["[store]", "[work]"]),
        ('[store]\npath = "/run/linemon/store"\n', ["[work]"]),
        ('[store]\npath = "/srv/linemon"\n', []),
        ('[store]\npath = "/run/linemon/store"\n[work]\nstate = "/var/lib/linemon"\n', []),
    ],
)
def test_a_printed_unit_says_what_would_not_outlive_it(tmp_path: Path, settings: str, hints: list[str]) -> None:
    """Its user has no home, and /run/linemon goes with it."""
    config = tmp_path / "linemon.toml"
    config.write_text(settings)
    done = subprocess.run(command("up", "--config", str(config), "--print-unit"), capture_output=True, text=True)
    assert [line.partition(" under ")[2].split(",")[0] for line in done.stderr.splitlines()] == hints


def test_a_part_that_dies_starts_again(up: Up) -> None:
    """The collector and the agent come back after SIGKILL, and it is said; the agent goes on by itself."""
    eventually(lambda: "host" in up.store and up.store["host"].rows > 3, "the agent's rows")
    for name in ("collect", "agent", "work"):
        victim = up.part(name)
        assert victim
        victim.kill()
        eventually(lambda name=name: f"{name} was killed by SIGKILL" in up.log.read_text(), "it is said")  # type: ignore[misc]
        rows = up.store["host"].rows
        eventually(lambda rows=rows: up.store["host"].rows > rows + 3, "more rows")  # type: ignore[misc]


def test_the_parts_end_with_their_supervisor(up: Up) -> None:
    """Even where it is killed, no process is left."""
    eventually(lambda: len(psutil.Process(up.process.pid).children()) == 4, "all parts")
    parts = psutil.Process(up.process.pid).children()
    eventually(lambda: "host" in up.store, "the agent's rows")
    up.process.kill()
    up.process.wait()
    psutil.wait_procs(parts, timeout=20)
    assert not [part for part in parts if part.is_running() and part.status() != psutil.STATUS_ZOMBIE]


def test_a_wrong_setting_or_a_port_in_use_ends_it(tmp_path: Path) -> None:
    """What another start would not mend is said once; the exit code tells whose fault it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "linemon.toml"
        config.write_text(f'[store]\npath = "{tmp_path}/store"\n[tcp]\nlisten = "127.0.0.1:{port}"\n')
        out = subprocess.run(command("up", "--config", str(config)), capture_output=True, text=True, timeout=60)
    assert out.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in out.stderr
    config.write_text("[tcp]\nport = 1\n")
    out = subprocess.run(command("up", "--config", str(config)), capture_output=True, text=True, timeout=60)
    assert (out.returncode, len(out.stderr.splitlines())) == (2, 1)


def test_a_service_is_told_to_read_its_files_anew(tmp_path: Path) -> None:
    """SIGHUP without a terminal, as `systemctl reload` sends it: the collector reads them, and all goes on."""
    up = Up(tmp_path)
    try:
        up.wait_for_page()
        eventually(lambda: "host" in up.store and up.store["host"].rows > 1, "the agent's rows")
        children = {child.pid for child in psutil.Process(up.process.pid).children()}
        up.process.send_signal(signal.SIGHUP)
        eventually(lambda: "certificates and tokens read anew" in up.log.read_text(), "it is said")
        assert up.process.poll() is None
        assert {child.pid for child in psutil.Process(up.process.pid).children()} == children
    finally:
        up.end()
