"""README's commands, as they stand: on the default ports, in a network and a /dev/shm of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOST = os.uname().nodename

# In the namespace: `linemon up` in the background, then what comes on standard input, then Ctrl-C.
INSIDE = """\
set -eu
ip link set lo up
mount -t tmpfs tmpfs /dev/shm
linemon up 2> up.log &
up=$!
for i in $(seq 300); do grep -q 'the page is at' up.log && break; sleep 0.1; done
for i in $(seq 300); do linemon sources 2>/dev/null | grep -q HOST && break; sleep 0.1; done
. ./commands.sh
kill -INT $up
wait $up
"""

pytestmark = pytest.mark.timeout(240)  # it starts a dozen programs, each of which takes seconds on a busy machine


def blocks() -> list[str]:
    """The indented blocks of README, in order."""
    text = (ROOT / "README.md").read_text()
    return [
        re.sub("^    ", "", block, flags=re.M).strip()
        for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M)
    ]


def block(start: str) -> str:
    (found,) = [each for each in blocks() if each.startswith(start)]
    return found


def run(folder: Path, commands: str) -> str:
    """What the commands print, beside a `linemon up` with default settings."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("a network of its own needs root, and the programs unshare and ip")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "linemon").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m linemon "$@"\n')
    (programs / "linemon").chmod(0o755)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / ".venv" / "bin" / "python").chmod(0o755)
    (folder / "commands.sh").write_text(commands)
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", INSIDE.replace("HOST", HOST)],
        cwd=folder, capture_output=True, text=True, timeout=200,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + (folder / "up.log").read_text()
    return done.stdout


def test_send_a_line(tmp_path: Path) -> None:
    """Each kind of line that is shown is stored; HTTP takes a point and gives it back."""
    kinds = "".join(re.split(r"\s{3,}", line)[0] + "\n" for line in block("12.5 2400.0").splitlines())
    (tmp_path / "kinds").write_text(kinds)
    (tmp_path / "room1.csv").write_text("time,temperature\n2026-11-25 19:00:00,20.3\n")
    (tmp_path / "web1.log").write_text("12.5 40.1\n12.6 40.2\n")
    csv, follow = (line.partition(" #")[0] for line in block("linemon send room1 --csv").splitlines())
    commands = [
        block("echo "),
        "nc -q1 127.0.0.1 4000 < kinds",
        block("printf "),
        "linemon send web1 cpu=12.5 mem=40.1",
        block("curl -d"),
        'curl -s "http://127.0.0.1:8080/api/rows?source=room1.temperature"',
        csv,
        f"timeout -s INT 10 {follow} || true",
        "linemon sources --json > sources.json",
    ]
    out = run(tmp_path, "\n".join(commands))
    assert re.findall(r"stored \d+, rejected \d+", out) == [f"stored {n}, rejected 0" for n in (1, 1, 2)]
    assert '"values":[[20.3,20.3,20.3]]' in out
    listed = (tmp_path / "sources.json").read_text()
    assert '"sys,host=h7"' in listed
    assert '"rejected": 1' not in listed


def test_read_it_back(tmp_path: Path) -> None:
    """The tap's six numbers, the Python session, the export, and a program of one's own."""
    session = "\n".join(
        line.removeprefix(">>> ") for line in block(".venv/bin/python").splitlines() if line.startswith(">>> ")
    )
    (tmp_path / "session.py").write_text(session + "\nprint('read', len(rows), rows.columns)\n")
    (tmp_path / "own.py").write_text("import linemon\n" + block("with linemon.Sender"))
    commands = [
        f"timeout 3 {block('nc 127.0.0.1 1027')} > tap || true",
        ".venv/bin/python session.py",
        f"linemon export {HOST} --since 10m -o host.csv",
        ".venv/bin/python own.py",
        "linemon sources",
    ]
    out = run(tmp_path, "\n".join(commands))
    assert all(len(line.split()) == 6 for line in (tmp_path / "tap").read_text().splitlines()[:-1])
    assert "cpu.busy_pct" in out
    assert (tmp_path / "host.csv").read_text().startswith("time,cpu.busy_pct")
    assert re.search(r"^room1 +1 +1 ", out, re.M)
