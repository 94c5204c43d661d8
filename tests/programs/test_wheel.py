"""The built wheel, in a venv that has nothing else of ours, used in somebody's folder with names like ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.running import DEADLINE_S, eventually

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
FOREIGN = "raise SystemExit('foreign code was run')\n"

pytestmark = pytest.mark.together


def built(folder: Path, environment: dict[str, str]) -> Path:
    """The wheel, built of what git holds."""
    source = folder / "source"
    for name in ("agent", "bokeh_app", "linemon", "linemon_sender"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    quiet = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [*PIP, "wheel", *quiet, "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, env=os.environ | environment, check=True, timeout=100)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the venv's programs. Our own venv lends what linemon depends on, so that no network is needed."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = built(folder, {})
    venv.create(folder / "venv", with_pip=False)
    programs = folder / "venv" / "bin"
    subprocess.run(
        [*PIP, "--python", str(programs / "python"), "install", "--quiet", "--no-deps", str(wheel)], check=True
    )
    [packages] = (folder / "venv").glob("lib/*/site-packages")
    lent = [sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))]
    (packages / "lent.pth").write_text("\n".join(dict.fromkeys(lent)) + "\n")
    return programs


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of somebody's, who calls his own things agent and bokeh_app."""
    (tmp_path / "agent.py").write_text(FOREIGN)
    (tmp_path / "bokeh_app").mkdir()
    for name in ("__init__", "main", "session", "store"):
        (tmp_path / "bokeh_app" / f"{name}.py").write_text(FOREIGN)
    (tmp_path / "linemon.toml").write_text(
        f'[store]\npath = "{tmp_path}/store"\n[dashboard]\nlisten = "127.0.0.1:0"\n[tcp]\nlisten = "127.0.0.1:0"\n'
    )
    return tmp_path


def test_import(installed: Path, foreign: Path) -> None:
    """What README imports is there, and is what was installed."""
    say = (
        "import linemon, json; print(json.dumps([linemon.__file__, callable(linemon.open), callable(linemon.Sender)]))"
    )
    command = [str(installed / "python"), "-c", say]
    done = subprocess.run(command, cwd=foreign, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    file, *are_there = json.loads(done.stdout)
    assert Path(file).is_relative_to(installed.parent)
    assert are_there == [True, True]


@pytest.mark.skipif(
    shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="no C compiler here, or no headers of Python",
)
def test_the_c_reader_is_in_the_wheel(installed: Path, foreign: Path) -> None:
    """One build for all Pythons from 3.11 on, which `linemon check` tells of."""
    done = subprocess.run([installed / "linemon", "check"], cwd=foreign, capture_output=True, text=True, check=True)
    assert "lines are read in C\n" in done.stdout
    found = installed.parent.glob("lib/*/site-packages/linemon/lines/*.so")
    assert [path.name for path in found] == ["_reader.abi3.so"]
    assert [path.name for path in installed.parents[1].glob("*-cp311-abi3-*.whl")]


def test_without_a_compiler_the_c_reader_is_left_out(tmp_path: Path) -> None:
    """It is built all the same, and says what it is without."""
    unpacked = tmp_path / "unpacked"
    shutil.unpack_archive(built(tmp_path, {"CC": "no-such-compiler"}), unpacked, "zip")
    assert not list(unpacked.rglob("*.so"))
    say = "from linemon.lines import bulk; print(bulk.__file__, bulk.said())"
    done = subprocess.run([sys.executable, "-c", say], cwd=unpacked, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(unpacked))
    assert "no C compiler, or no Python.h, was found" in done.stdout


@pytest.mark.parametrize("program", ["linemon", "python -m linemon"])
def test_the_agent_is_ours(installed: Path, foreign: Path, program: str) -> None:
    name, *rest = program.split()
    command = [str(installed / name), *rest, "agent", "--help"]
    done = subprocess.run(command, cwd=foreign, capture_output=True, text=True, timeout=DEADLINE_S)
    assert "usage: linemon agent" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("program", ["linemon", "python -m linemon"])
def test_the_page_is_ours(installed: Path, foreign: Path, program: str) -> None:
    name, *rest = program.split()
    log = foreign / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([str(installed / name), *rest, "dashboard"], cwd=foreign, stderr=file, stdout=file)
    try:
        found = eventually(
            lambda: re.search(r"the page is at (http://\S+)", log.read_text()) or process.poll() is not None,
            "the page",
            60,
        )
        assert isinstance(found, re.Match), log.read_text()
        page = subprocess.run(["curl", "--silent", found[1]], capture_output=True, text=True, timeout=DEADLINE_S).stdout
        assert "<title>linemon" in page, log.read_text()
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
