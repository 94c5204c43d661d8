"""`pytest --workers N`: what the workers' tests do is told as pytest tells it, and nothing is lost that was not run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import os
import warnings
from pathlib import Path

import pytest

@pytest.fixture(scope="module")
def shared():
    yield
    Path(__file__).with_name(f"ended-{os.getpid()}").touch()

@pytest.mark.parametrize("number", range(20))
def test_many(number, shared, tmp_path):
    tmp_path.joinpath("file").touch()

def test_that_fails():
    print("said before")
    raise ValueError("as it must")

def test_that_warns():
    warnings.warn("take care")

def test_that_is_left_out():
    pytest.skip("not here")
"""
DIES = """
def test_that_dies():
    os._exit(0)
"""


def run(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    file = folder / "test_some.py"
    file.write_text(text)
    without = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]  # which take long to be imported
    pytest = [sys.executable, "-m", "pytest", "--rootdir", str(folder), "-p", "tests.conftest", *without, *options]
    root = Path(__file__).parents[1]
    return subprocess.run([*pytest, "--workers", "2", str(file)], cwd=root, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_all_that_tests_do_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, TESTS)
    assert done.returncode == 1
    assert "1 failed, 21 passed, 1 skipped, 1 warning" in done.stdout.splitlines()[-1], done.stdout
    for said in ("ValueError: as it must", "said before", "take care"):
        assert said in done.stdout
    assert 1 <= len(list(tmp_path.glob("ended-*"))) <= 2  # each worker takes down what it has set up


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_run_and_names_the_test(tmp_path: Path) -> None:
    done = run(tmp_path, TESTS + DIES)
    assert done.returncode == 1
    assert "_ test_that_dies _" in done.stdout, done.stdout
    assert "its process ended with exit code 0" in done.stdout
