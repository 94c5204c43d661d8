"""Patterns of names: of sources, as commands, linemon.toml and tokens take them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

ESCAPES = str.maketrans({char: f"[{char}]" for char in "*?["})
OURS = "linemon."  # sources about linemon itself: only a pattern that names them means them
OUTPUT = "~"  # in SOURCE~TASK, what a task gives of a source: likewise


def fits(patterns: Sequence[str], name: str) -> bool:
    """Whether a pattern (``*``, ``?``, ``[abc]`` as in a shell) fits the name, and none of those that begin with ``!``.

    Their order does not matter; if all begin with ``!``, every other name fits. ``[!]x`` is for a name that begins
    with ``!``. A wildcard stands for no source ``linemon.…``, and for no output ``SOURCE~TASK``, unless the pattern has
    ``linemon.`` or ``~`` in it.
    """
    yes = [pattern for pattern in patterns if not is_exclusion(pattern)] or ["*"]
    return any(_fits(pattern, name) for pattern in yes) and not any(
        fnmatchcase(name, pattern[1:]) for pattern in patterns if is_exclusion(pattern)
    )


def exactly(name: str) -> str:
    """The pattern that fits this name and no other."""
    return ("[!]" if is_exclusion(name) else name[:1].translate(ESCAPES)) + name[1:].translate(ESCAPES)


def is_output(name: str) -> bool:
    """Whether a source is what a task gives of another, by its name."""
    return OUTPUT in name[1:]


def is_exclusion(pattern: str) -> bool:
    """Whether it says what is not meant."""
    return pattern.startswith("!")


def is_pattern(text: str) -> bool:
    """Whether it may stand for several names."""
    return is_exclusion(text) or any(char in text for char in "*?[")


def _fits(pattern: str, name: str) -> bool:
    if (name.startswith(OURS) or is_output(name)) and OURS not in pattern and OUTPUT not in pattern:
        return False
    if pattern.startswith("[!]"):
        pattern = "!" + pattern[3:]
    return fnmatchcase(name, pattern)
