"""Marks that parts set: by the collector's HTTP port. It blocks."""

from __future__ import annotations

from collections.abc import Iterable

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.store.asking import post
from linemon.store.marks import Mark


def set_marks(config: Config, marks: Iterable[Mark]) -> None:
    """Set them. LinemonError where the collector is away, or refuses one; those after it are not set."""
    try:
        post(config, "/api/marks", (mark.fields for mark in marks))
    except LinemonError as error:
        raise LinemonError(f"no mark is set: {error}") from None
