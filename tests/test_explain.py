"""`linemon explain` says of lines what a collector makes of them, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.running import Running, eventually

LINES = [
    "room1.temperature 20.3",
    "#source web1",
    "#columns time cpu:% mem",
    "2026-11-22 10:15 12.5 40",
    "1 2",
    "21,5;40",
    "nan 3 -",
    "t=21.5 cpu=7",
    '{"cpu": 21.5, "text": "x", "in": {"h": 40}}',
    "put sys.load 1700000000 0.5 host=h7",
    'sys,host=h7 cpu=12.5,s="a b" 1700000000000000000',
    'sys,host=h7 s="a',
    'b",cpu=1',
    "# source x",
    "#hello",
    "room1.temperature 1 2 3",
    "",
    "#source there",
    "#columns other",
    "1",
    "#columns t:K",
    "1",
    "there.no 5",
    'sys,host=h7 s="never closed',
]


@pytest.fixture
def there(collector: Running) -> Running:
    """A collector that has a source of two columns, and one that is no metric's."""
    collector.say("#source there\n#columns t:°C h\n1 2\n#source there.no\n#columns a b\n1 2\n")
    eventually(lambda: collector.store["there.no"].rows, "it is there")
    return collector


def explained(collector: Running, *lines: str, stdin: str | None = None) -> list[dict[str, Any]]:
    found = collector.run("explain", "--json", *(["--", *lines] if lines else []), stdin=stdin)
    assert (found.returncode, found.stderr) == (0, "")
    said: list[dict[str, Any]] = json.loads(found.stdout)
    return said


def test_lines_are_explained_as_a_collector_takes_them(there: Running) -> None:
    """The same lines are refused, in the same words, and the others give the same rows."""
    said = explained(there, *LINES)
    assert [each["line"] for each in said] == LINES
    answers = there.say("#errors on\n" + "\n".join(LINES) + "\n").splitlines()
    errors = {int(number) - 1: words for _, number, _, words in (answer.split(" ", 3) for answer in answers)}
    assert {at + 1: each["error"] for at, each in enumerate(said) if each["error"]} == errors
    taken = [each for each in said if "source" in each]
    for name in {each["source"] for each in taken}:
        rows = there.store[name].last(100)
        held = [
            [[column, value] for column, value in zip(rows.columns, row, strict=True) if value == value]
            for row in rows.values.tolist()
        ][-sum(each.get("source") == name for each in said) :]
        shown = [
            [[column, value] for column, _, value in each["values"]] for each in said if each.get("source") == name
        ]
        assert sorted(shown) == sorted(held), name
    kinds = [each["kind"] for each in said]
    assert kinds[:4] == ["metric", "directive", "directive", "row"]
    assert kinds[7:13] == ["pairs", "JSON", "put", "influx", "influx", "influx"]
    assert kinds[13:15] == ["comment", "comment"]
    assert said[3]["time"] == "2026-11-22T10:15:00Z"
    assert (said[0]["time"], said[0]["is_new"], said[21]["is_new"]) == (None, True, False)
    assert said[11]["goes_on"]
    assert (said[8]["texts"], said[12]["texts"]) == (1, 1)


def test_a_foreign_protocol_ends_what_is_explained(collector: Running) -> None:
    said = explained(collector, stdin="GET / HTTP/1.1\nHost: x\n")
    assert [each["line"] for each in said] == ["GET / HTTP/1.1"]
    assert "HTTP" in said[0]["error"]


def test_nothing_is_left_behind(there: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row, no word in the collector's log, no file; and no collector is needed."""
    eventually(lambda: "linemon.collector" in there.store, "the collector's own source, a second after it has started")
    before, log = there.store.sources(), (there.folder / "log").read_text()
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    explained(there, "new.source 1", "oh dear")
    assert there.store.sources() == before
    assert (there.folder / "log").read_text() == log
    assert not list(own.iterdir())
    there.stop()
    assert explained(there, "there 1")[0]["error"] == "a metric has one column, 'value'; source 'there' has 't', 'h'"


def test_in_words(collector: Running) -> None:
    said = collector.run("explain", "#source room1", "#columns t:°C h:%", "20.5 40", "20 x", "# Source x").stdout
    assert said.splitlines() == [
        "#source room1",
        "    directive",
        "#columns t:°C h:%",
        "    directive",
        "20.5 40",
        "    row of room1, a new source: t = 20.5 °C, h = 40 %, at its arrival",
        "20 x",
        "    rejected: 'x' is not a number",
        "# Source x",
        "    a comment; did you mean #source at the start of the line, with a blank behind it?",
    ]
