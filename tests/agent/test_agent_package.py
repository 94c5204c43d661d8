"""The agent stands alone: nothing of linemon, nothing but psutil, installable by itself."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

AGENT = Path(__file__).parents[2] / "agent"


def test_imports_standard_library_and_psutil_only() -> None:
    """As written, in every file."""
    imported = set()
    for path in AGENT.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"agent", "psutil"}


def test_loads_nothing_heavy() -> None:
    """As run: what costs memory is not loaded, by itself or through others."""
    heavy = "{'linemon', 'asyncio', 'argparse', 'logging', 'json', 'typing', 'dataclasses', 'random', 'numpy'}"
    script = (
        "import sys; before = set(sys.modules); import agent.__main__;"
        f"print(*sorted({{name.partition('.')[0] for name in set(sys.modules) - before}} & {heavy}))"
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


def test_installs_alone(tmp_path: Path) -> None:
    """`pip install ./agent` gives a package that runs without the rest of the repository."""
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(AGENT, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), str(source)], check=True, timeout=60)
    script = "import sys, agent.__main__; print(agent.__file__); sys.exit(agent.__main__.main(['--help']))"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert done.stdout.startswith(str(target))
    assert "usage: linemon agent" in done.stdout
    assert done.returncode == 0
    assert (target / "bin" / "linemon-agent").exists()
