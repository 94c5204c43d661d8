"""Times as a person types them: `--since`, `--until`, and what HTTP takes as they do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from linemon.when import when

NOW = int(datetime(2026, 11, 25, 12, 0, 30, tzinfo=UTC).timestamp()) * 10**9
S, M, H, D = 10**9, 60 * 10**9, 3600 * 10**9, 86400 * 10**9
MIDNIGHT = NOW // D * D


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("now", NOW),
        ("10m", NOW - 10 * M),
        ("-10m", NOW - 10 * M),
        ("2h", NOW - 2 * H),
        ("1h30m", NOW - 90 * M),
        ("5m30s", NOW - 330 * S),
        ("1.5h", NOW - 90 * M),
        ("0.25s", NOW - S // 4),
        ("3d", NOW - 3 * D),
        ("1w2d3h4m5s", NOW - 9 * D - 3 * H - 4 * M - 5 * S),
        ("99999999w", 0),
        ("10:15", MIDNIGHT + 10 * H + 15 * M),
        ("0:05", MIDNIGHT + 5 * M),
        ("2026-11-25", MIDNIGHT),
        ("2026-11-25T10:15:00Z", MIDNIGHT + 10 * H + 15 * M),
        ("2026-11-25 10:15:00", MIDNIGHT + 10 * H + 15 * M),
        ("2026-11-25T10:15:00+02:00", MIDNIGHT + 8 * H + 15 * M),
        ("2026-11-25T10:15:00.123456789", MIDNIGHT + 10 * H + 15 * M + 123456789),
        ("1764072000", 1764072000 * S),
        ("1764072000.5", 1764072000 * S + S // 2),
        ("1764072000123", 1764072000123 * 10**6),
        ("1764072000123456789", 1764072000123456789),
    ],
)
def test_what_it_takes(text: str, ns: int) -> None:
    assert when(text, NOW) == ns


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "soon", "Monday", "10 minutes", "10 m", "10M", "5s30m", "1m1m", "-5", "-", "m", "10", "2026",
        "12345678",
        "-1", "nan", "1e9", "2026-11", "3/4/2026", "Nov 22 2026", "24:00", "10:60", "1:2", "10:15:00", "2026-13-01",
        "1900-01-01", "2263-01-01", "9" * 400, "9" * 400 + "w", "\udc80", "١٠m",
    ],
)  # fmt: skip
def test_what_it_does_not_guess(text: str) -> None:
    """An error says what is expected; none is read as another day, year or unit."""
    with pytest.raises(ValueError, match="is not a time: expected a span back from now"):
        when(text, NOW)
