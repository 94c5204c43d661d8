"""What to write in place of a token that is no number, where one can tell what was meant."""

from __future__ import annotations

import re
from typing import Final

ODD: Final = re.compile(rb'[|,;"\[\]{}:=%<]|\d[^\d.eE]')  # what a token must have for a hint
CSV: Final = "numbers are separated by blanks; `linemon send --csv` takes CSV"
HINTS: Final = tuple((re.compile(form), meant) for form, meant in (
    (rb"^\[[\[{\"\d]", "JSON lines are objects, one a line, not lists; HTTP takes lists and NDJSON"),
    (rb'^[\]}\[]|^"[^"]*":', "a JSON object stands on one line"),
    (rb"\|(?:c|g|ms|h|s|d)(?:\||$)", "statsd is not spoken here, a metric is NAME VALUE"),
    (rb"^[^=,]*,[^=,]+=", "a blank, and no comma, stands between pairs"),
    (rb"^[+-]?\d+,\d+;|;[+-]?\d+,\d", CSV + ", with --sep ';' --decimal ,"),
    (rb"[;\"]|,$|,.*,|\.\d*,|^\d{4}-.*,|^[A-Za-z]\w*,", CSV),
    (rb"^[+-]?\d+,\d+$", "the decimal sign is a point; `linemon send --csv` takes CSV"),
    (rb"^[+-]?0[xX]|^[+-]?\d[\d_]*_\d", "numbers are decimal, such as -1234.5e-6"),
    (rb"^[+-]?[\d.]+(?:[eE]\d+)?[^\d\s.,:;_-]{1,6}$", "units stand in #columns NAME:UNIT"),
    (rb"^\d{4}-\d\d-\d\d|^\d\d:\d\d", "`#columns time …` says where the time stands"),
    (rb"^[^=:]+[:=]$|^[^=:]+:[+-]?[\d.]+$", "a pair is NAME=VALUE without blanks, a metric NAME VALUE"),
))  # fmt: skip


def hint(token: bytes) -> str:
    """What to write in place of a token that is no number, where one can tell what was meant."""
    for form, meant in HINTS if ODD.search(token) else ():
        if form.search(token):
            return f": {meant}"
    return ""
