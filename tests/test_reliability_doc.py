"""docs/RELIABILITY.md names the test that shows each promise: it must be there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
DOC = (TESTS.parent / "docs/RELIABILITY.md").read_text()
NAMED = re.findall(r"`(?:([\w/]+(?:\.py|\.txt)))?(?:::)?…?(test_\w+)?…?`", DOC)


def test_every_test_that_it_names_is_there() -> None:
    """A name that ends in … is the start of one; one without a file is in the file before it."""
    file, found = "", 0
    for named, test in NAMED:
        file = named or file
        if named:
            assert (TESTS / named).is_file(), named
        if test:
            assert f"def {test}" in (TESTS / file).read_text(), f"{file}::{test}"
            found += 1
    assert found > 10
