"""The agent stands alone: nothing of linemon, nothing but psutil, installable by itself."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agent.groups.sockets import SOCKETS
from agent.sampler import FIXED, Sampler
from tests.running import archive

SPIKES = ("cpu.busy_{}_pct", "mem.used_{}_pct", "net.rx_{}_bytes_per_s", "net.tx_{}_bytes_per_s")
AGENT = Path(__file__).parents[2] / "agent"
SHARED = AGENT.parent / "linemon_sender"


def test_imports_standard_library_and_psutil_only() -> None:
    """As written, in every file but that which reads Modbus, with a library that is asked for."""
    imported = set()
    for path in {*AGENT.rglob("*.py"), *SHARED.glob("*.py")} - {AGENT / "field" / "modbus.py"}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"agent", "linemon_sender", "psutil"}


def test_loads_nothing_heavy() -> None:
    """As run: what costs memory is not loaded, by itself or through others."""
    heavy = "{'linemon', 'asyncio', 'argparse', 'logging', 'json', 'typing', 'dataclasses', 'random', 'numpy'}"
    unasked = "{'agent.field', 'agent.groups', 'agent.listener', 'agent.spikes', 'agent.unit', 'ctypes', "
    unasked += "'linemon_sender.specs'}"
    script = (
        "import sys; before = set(sys.modules); import agent.__main__;"
        f"print(*sorted({{name.partition('.')[0] for name in set(sys.modules) - before}} & {heavy}),"
        f"*sorted(set(sys.modules) & {unasked}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=AGENT.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=15,
    )
    assert done.stdout.strip() == ""


def test_every_column_is_documented() -> None:
    """docs/COLUMNS.md has a row for each, with what OpenTelemetry and node_exporter call it."""
    documented = set()
    for line in (AGENT.parent / "docs" / "COLUMNS.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("`"):
            assert all(cells[-3:]), f"an empty cell: {line}"
            documented |= {each.strip("`") for each in cells[0].split()}
    devices = ("IF", "DEV", "MOUNT", "NAME", "N")
    patterns = [
        re.compile(re.sub(rf"(?<![A-Z])({'|'.join(devices)})(?![A-Z])", ".+", re.escape(name))) for name in documented
    ]
    names = {*FIXED, *SOCKETS.values(), "mem.limit_bytes", "cpu.limit_cores"}
    names |= {name.format(part) for name in SPIKES for part in ("min", "mean", "max")}
    sampler = Sampler(psutil, print)
    sampler.sample(0)
    sampler.sample(0)
    names |= sampler.columns.keys()  # what this machine has
    assert not [name for name in names if not any(pattern.fullmatch(name) for pattern in patterns)]


def test_is_python_3_9() -> None:
    """The grammar of the oldest Python it promises; what the library has there is for the reader to mind."""
    for path in [*AGENT.rglob("*.py"), *SHARED.glob("*.py")]:
        ast.parse(path.read_text(), feature_version=(3, 9))


@pytest.mark.slow
def test_archive(tmp_path: Path) -> None:
    """`make agent` gives one file that runs anywhere, knows its exit codes, and prints a unit that starts it."""
    file = archive(tmp_path)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(file), *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=15)

    assert "usage: linemon agent" in run("--help").stdout
    assert run("--bogus").returncode == 2
    unit = run("--to", "10.0.0.1:4000", "--name", "100% of it", "--token", "s3cret", "--print-unit").stdout
    start = f'ExecStart={sys.executable} {file} --to 10.0.0.1:4000 --name "100%% of it"'
    assert start in unit.splitlines()
    assert "s3cret" not in unit
    assert {"DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict"} <= set(unit.splitlines())
    if verify := shutil.which("systemd-analyze"):
        service = tmp_path / "linemon-agent.service"
        service.write_text(unit)
        done = subprocess.run([verify, "verify", str(service)], capture_output=True, text=True, timeout=30)
        # It reads the units that ours names, too, and what is wrong with those of other packages is not ours.
        assert [line for line in done.stderr.splitlines() if service.name in line] == []


@pytest.mark.slow
def test_archive_is_compiled(tmp_path: Path) -> None:
    """For the Python that built it: to compile at the start would cost memory for as long as the agent runs."""
    script = (
        f"import sys; sys.path.insert(0, {str(archive(tmp_path))!r}); import agent.probes; print(agent.probes.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("linemon-agent.pyz/agent/probes.pyc\n")


@pytest.mark.slow
def test_installs_alone(tmp_path: Path) -> None:
    """`pip install ./agent` gives a package that runs without the rest of the repository, linemon_sender in it."""
    source, target = tmp_path / "source/agent", tmp_path / "target"
    for folder in (AGENT, SHARED):
        ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        shutil.copytree(folder, source.parent / folder.name, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), str(source)], check=True, timeout=60)
    script = (
        "import sys, agent.__main__, linemon_sender\n"
        "print(agent.__file__, linemon_sender.__file__, sep='\\n')\n"
        "sys.exit(agent.__main__.main(['--help']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert all(line.startswith(str(target)) for line in done.stdout.splitlines()[:2]), done.stdout
    assert "usage: linemon agent" in done.stdout
    assert done.returncode == 0
    assert (target / "bin" / "linemon-agent").exists()
