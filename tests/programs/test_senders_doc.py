"""The senders of docs/SENDERS.md, as they stand there, against a real collector."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import Running, eventually

DOCS = (Path(__file__).parents[2] / "docs" / "SENDERS.md").read_text()
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
ARDUINO = ["c++", f"-I{Path(__file__).parents[1]}", "-x", "c++"]
ARDUINO_MAIN = """
int main(int, char **argv) {
  Client client;
  srandom(atoi(argv[3]));
  sender = "uno-" + String(random(2147483647L));
  add("-2");
  deliver(client, "127.0.0.1", 1);  // nobody there
  for (int n = 1; n <= 3; n++) { add(String(n)); deliver(client, argv[1], atoi(argv[2])); }
  for (int n = 0; n < 100; n++) add(String(n));  // more than it keeps
  deliver(client, argv[1], atoi(argv[2]));
}
"""
PLAIN_ARDUINO_MAIN = """
int main(int, char **argv) {
  Client client;
  for (int n = 0; n < 4; n++) {
    send(client, argv[1], atoi(argv[2]), n);
    if (n == 2) client.stop();
  }
}
"""
MICROPYTHON_MAIN = """
import sys
rows.append("-2\\n")
deliver("127.0.0.1", 1)  # nobody there
for number in range(1, 4):
    rows.append("%d\\n" % number)
    deliver(sys.argv[1], int(sys.argv[2]))
"""

PLAIN, NUMBERED = 0, 1


def block(language: str, which: int) -> str:
    """The code of a language: the plain sender, or the one that loses nothing."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    assert len(found) == 2
    return found[which]


def values(collector: Running, source: str) -> list[float]:
    column: list[float] = collector.store[source].since(0).values[:, 0].tolist()
    return column


def eventually_values(collector: Running, source: str, count: int) -> list[float]:
    """Those of a sender that is not told when its rows are there."""
    return eventually(
        lambda: found if source in collector.store and len(found := values(collector, source)) >= count else None,
        f"{count} rows of {source}",
    )


def compile_(compiler: list[str], text: str, folder: Path) -> None:
    """Make ./sender of it, without a warning."""
    subprocess.run([*compiler, *WARNINGS, "-o", "sender", "-"], input=text, text=True, cwd=folder, check=True)


@pytest.fixture
def micropython() -> str:
    program = Path(sys.executable).with_name("micropython")
    if not program.exists():
        pytest.skip("MicroPython comes as a wheel for Linux on x86-64 and up to Python 3.14 only")
    return str(program)


def feed(command: list[str], collector: Running, folder: Path, numbers: range, row: str = "{1} {0}\n") -> None:
    """Rows on standard input, to a port where nobody is and then to the collector."""
    host, port = collector.address()
    for at, each in ((1, numbers[:2]), (port, numbers[2:])):
        rows = "".join([row.format(number, 1_700_000_000 + number) for number in each])
        subprocess.run([*command, host, str(at)], input=rows, text=True, cwd=folder, timeout=30, capture_output=True)


@pytest.mark.parametrize("language", ["bash", "c", "python", "cpp"])
def test_the_plain_ones_have_ten_lines(language: str) -> None:
    """As the document says."""
    assert len([line for line in block(language, PLAIN).splitlines() if line]) <= 10


def test_plain_bash(collector: Running, tmp_path: Path) -> None:
    """Rows as they come; without a collector it says so and ends."""
    (tmp_path / "plain.sh").write_text(block("bash", PLAIN))
    feed(["bash", "plain.sh"], collector, tmp_path, range(4), "{0}\n")
    assert eventually_values(collector, "room1", 2) == [2, 3]


def test_plain_c(collector: Running, tmp_path: Path) -> None:
    """The same, compiled without a warning."""
    compile_(["cc", "-std=gnu11", "-x", "c"], block("c", PLAIN), tmp_path)
    feed(["./sender"], collector, tmp_path, range(4), "{0}\n")
    assert eventually_values(collector, "room2", 2) == [2, 3]


def test_plain_arduino(collector: Running, tmp_path: Path) -> None:
    """It connects once, and again when it must."""
    compile_(ARDUINO, '#include "arduino.h"\n' + block("cpp", PLAIN) + PLAIN_ARDUINO_MAIN, tmp_path)
    host, port = collector.address()
    subprocess.run(["./sender", host, str(port)], cwd=tmp_path, check=True, timeout=30)
    assert eventually_values(collector, "uno", 4) == [0, 1, 2, 3]


def test_plain_micropython(collector: Running, tmp_path: Path, micropython: str) -> None:
    """A value each; where nobody is, the error is the caller's."""
    main = "import sys\nfor n in range(3): send(sys.argv[1], int(sys.argv[2]), n)\n"
    main += "try: send('127.0.0.1', 1, 3)\nexcept OSError: print('nobody')\n"
    (tmp_path / "plain.py").write_text(block("python", PLAIN) + main)
    host, port = collector.address()
    command = [micropython, "plain.py", host, str(port)]
    done = subprocess.run(command, cwd=tmp_path, check=True, timeout=30, capture_output=True, text=True)
    assert done.stdout == "nobody\n"
    assert eventually_values(collector, "pico.level", 3) == [0, 1, 2]


def test_bash(collector: Running, tmp_path: Path) -> None:
    """Rows wait in the file while nobody answers, and outlive the program; none comes twice."""
    (tmp_path / "sender.sh").write_text(block("bash", NUMBERED))
    for numbers in (range(4), range(4, 8)):
        feed(["bash", "sender.sh"], collector, tmp_path, numbers)
    assert values(collector, "room1") == list(range(8))


def test_c(collector: Running, tmp_path: Path) -> None:
    """The same, compiled without a warning."""
    compile_(["cc", "-std=gnu11", "-x", "c"], block("c", NUMBERED), tmp_path)
    for numbers in (range(4), range(4, 8)):
        feed(["./sender"], collector, tmp_path, numbers)
    assert values(collector, "room2") == list(range(8))


def test_arduino(collector: Running, tmp_path: Path) -> None:
    """Against a stand-in for Arduino's classes: what it keeps arrives once, what it dropped is counted as lost."""
    compile_(ARDUINO, '#include "arduino.h"\n' + block("cpp", NUMBERED) + ARDUINO_MAIN, tmp_path)
    host, port = collector.address()
    subprocess.run(["./sender", host, str(port), "7"], cwd=tmp_path, check=True, timeout=30)
    assert values(collector, "uno") == [-2, 1, 2, 3, *range(40, 100)]


@pytest.mark.parametrize("runs", [1, 2])
def test_micropython(collector: Running, tmp_path: Path, micropython: str, runs: int) -> None:
    """What waited arrives, and each run is a SENDER of its own."""
    (tmp_path / "sender.py").write_text(block("python", NUMBERED) + MICROPYTHON_MAIN)
    host, port = collector.address()
    for _ in range(runs):
        subprocess.run([micropython, "sender.py", host, str(port)], cwd=tmp_path, check=True, timeout=30)
    assert values(collector, "pico") == [-2, 1, 2, 3] * runs


def test_a_device_in_micropython(collector: Running, tmp_path: Path, micropython: str) -> None:
    """docs/DEVICES.md has it in twenty lines: it registers, is set, and says what it refuses."""
    text = (Path(__file__).parents[2] / "docs" / "DEVICES.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 20
    main = (
        "\nimport sys\ncount = iter(range(1000000))\ndevice(sys.argv[1], int(sys.argv[2]), '7', lambda: next(count))\n"
    )
    (tmp_path / "device.py").write_text(code + main)
    host, port = collector.address()
    with subprocess.Popen([micropython, "device.py", host, str(port)], cwd=tmp_path) as process:
        try:
            assert eventually_values(collector, "pico.7", 1) == [0]
            done = collector.run("set", "pico.7", "interval=0.05", "colour=red", "--wait", "20s")
            assert done.stderr == "linemon: pico.7 refuses colour: unknown\n"
            assert eventually_values(collector, "pico.7", 20)[:20] == list(range(20))
            (said,) = json.loads(collector.run("devices", "--json").stdout)
            assert said["reported"] == {"interval": 0.05}
            assert said["refused"] == {"colour": "unknown"}
        finally:
            process.kill()
