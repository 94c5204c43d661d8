"""Which reader there is, and that the language is the same without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_language_without_the_c_reader() -> None:
    """Where it was not built, all vectors, properties and random bytes hold too: here again, without it.

    With few examples, as they cost several times as much; the suite has all of them where there is no compiler.
    """
    without = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]
    tests = [Path(__file__).parent / name for name in ("test_language.py", "test_vectors.py")]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *without, "-k", "not a_collector_holds", *tests],
        env=os.environ | {"LINEMON_READER": "python", "FAST": "1"},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:]


@pytest.mark.slow
def test_which_reader_there_is() -> None:
    """Where the C reader was not built numpy needs no setting."""
    code = "import sys; sys.modules['linemon.lines._reader'] = None; from linemon.lines import bulk; print(bulk.said())"
    assert "read in Python" in subprocess.check_output([sys.executable, "-c", code], text=True)
    code = "from linemon.lines import bulk; print(bulk.said())"
    asked = os.environ | {"LINEMON_READER": "python"}
    assert "read in Python" in subprocess.check_output([sys.executable, "-c", code], text=True, env=asked)
