"""How many examples hypothesis tries: as many as a test asks for, or with `make test FAST=1` a tenth of them."""

from __future__ import annotations

import os

FAST = bool(os.environ.get("FAST"))  # make exports what it is given


def examples(wanted: int) -> int:
    return max(5, wanted // 10) if FAST else wanted
