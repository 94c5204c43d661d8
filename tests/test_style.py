"""docs/STYLE.md, as far as a machine can hold it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 420  # lines of a file
# Files that were longer when the rule came: each number only goes down, and a file leaves when it is short enough.
LONGER: dict[str, int] = {}
ROOMS = ("linemon", "linemon_sender", "agent", "bokeh_app")


def tracked(*patterns: str) -> list[Path]:
    names = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split()]


def test_no_file_is_too_long() -> None:
    for path in tracked("*.py", "*.js", "*.c"):
        name = str(path.relative_to(ROOT))
        if name.split("/")[0] in ROOMS:
            assert len(path.read_text().splitlines()) <= LONGER.get(name, LONGEST), name
            assert name not in LONGER or len(path.read_text().splitlines()) > LONGEST, f"{name} is short enough now"


def test_every_module_is_in_architecture() -> None:
    """docs/ARCHITECTURE.md names each module, and none that is no more."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    here = {path.name for path in tracked("*.py") if path.relative_to(ROOT).parts[0] in ROOMS} - {"__init__.py"}
    named = set(re.findall(r"[a-z_]\w*\.py", text))
    assert not here - named, "not named"
    assert not named - {path.name for path in tracked("*.py")} - {"toy.py"}, "named, and not there"


def test_links_lead_somewhere() -> None:
    for path in tracked("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_decision_has_its_three_parts() -> None:
    for path in tracked("docs/decisions/0*.md"):
        text = path.read_text()
        assert text.startswith(f"# {int(path.name[:4])}. "), path.name
        for part in ("**Context.**", "**Decision.**", "**Consequence.**"):
            assert part in text, f"{path.name} has no {part}"
