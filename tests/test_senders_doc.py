"""The senders of docs/SENDERS.md, as they stand there, against a real collector."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import Running

DOCS = (Path(__file__).parents[1] / "docs" / "SENDERS.md").read_text()
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
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
MICROPYTHON_MAIN = """
import sys
rows.append("-2\\n")
deliver("127.0.0.1", 1)  # nobody there
for number in range(1, 4):
    rows.append("%d\\n" % number)
    deliver(sys.argv[1], int(sys.argv[2]))
"""


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    assert found
    return found[1]


def values(collector: Running, source: str) -> list[float]:
    column: list[float] = collector.store[source].since(0).values[:, 0].tolist()
    return column


def feed(command: list[str], collector: Running, folder: Path, numbers: range) -> None:
    """Rows on standard input, to a port where nobody is and then to the collector."""
    host, port = collector.address()
    for at, each in ((1, numbers[:2]), (port, numbers[2:])):
        rows = "".join([f"{1_700_000_000 + number} {number}\n" for number in each])
        subprocess.run([*command, host, str(at)], input=rows, text=True, cwd=folder, timeout=30, capture_output=True)


def test_bash(collector: Running, tmp_path: Path) -> None:
    """Rows wait in the file while nobody answers, and outlive the program; none comes twice."""
    (tmp_path / "sender.sh").write_text(block("bash"))
    for numbers in (range(4), range(4, 8)):
        feed(["bash", "sender.sh"], collector, tmp_path, numbers)
    assert values(collector, "room1") == list(range(8))


def test_c(collector: Running, tmp_path: Path) -> None:
    """The same, compiled without a warning."""
    (tmp_path / "sender.c").write_text(block("c"))
    subprocess.run(["cc", "-std=gnu11", *WARNINGS, "-o", "sender", "sender.c"], cwd=tmp_path, check=True)
    for numbers in (range(4), range(4, 8)):
        feed(["./sender"], collector, tmp_path, numbers)
    assert values(collector, "room2") == list(range(8))


def test_arduino(collector: Running, tmp_path: Path) -> None:
    """Against a stand-in for Arduino's classes: what it keeps arrives once, what it dropped is counted as lost."""
    text = '#include "arduino.h"\n' + block("cpp") + ARDUINO_MAIN
    (tmp_path / "sender.cpp").write_text(text)
    include = f"-I{Path(__file__).parent}"
    subprocess.run(["c++", *WARNINGS, include, "-o", "sender", "sender.cpp"], cwd=tmp_path, check=True)
    host, port = collector.address()
    subprocess.run(["./sender", host, str(port), "7"], cwd=tmp_path, check=True, timeout=30)
    assert values(collector, "uno") == [-2, 1, 2, 3, *range(40, 100)]


@pytest.mark.parametrize("runs", [1, 2])
def test_micropython(collector: Running, tmp_path: Path, runs: int) -> None:
    """Run by CPython, with what MicroPython's sockets have, too; each run is a SENDER of its own."""
    (tmp_path / "sender.py").write_text(block("python") + MICROPYTHON_MAIN)
    host, port = collector.address()
    for _ in range(runs):
        subprocess.run([sys.executable, "sender.py", host, str(port)], cwd=tmp_path, check=True, timeout=30)
    assert values(collector, "pico") == [-2, 1, 2, 3] * runs
