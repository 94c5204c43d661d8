"""What a sender that said `#errors on` is told: what was wrong, and what to write."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.running import DEADLINE_S, Running, eventually

CSV = "numbers are separated by blanks; `linemon send --csv` takes CSV"
STATSD = "statsd is not spoken here, a metric is NAME VALUE"
PAIR = "a pair is NAME=VALUE without blanks, a metric NAME VALUE"
UNIT = "units stand in #columns NAME:UNIT"
LISTS = "JSON lines are objects, one a line, not lists; HTTP takes lists and NDJSON"
MEANT = "a comment; did you mean #{} at the start of the line, with a blank behind it?"

# Lines that people send, and how the answer to the last of them ends.
ANSWERS = [
    ("12.5,40.1", f"'12.5,40.1' is not a number: {CSV}"),
    ("12.5;40.1", f"'12.5;40.1' is not a number: {CSV}"),
    ("20.3, 45.1", f"'20.3,' is not a number: {CSV}"),
    ("12,5", "'12,5' is not a number: the decimal sign is a point; `linemon send --csv` takes CSV"),
    ("room1 12,5", "'12,5' is not a number: the decimal sign is a point; `linemon send --csv` takes CSV"),
    ("21,5;40", f"{CSV}, with --sep ';' --decimal ,"),
    ("time,temp,hum", f"a metric is NAME VALUE [TIME], not 1 token: {CSV}"),
    ("2026-11-22T10:15:00,21.5,3", f"is not a number: {CSV}"),
    ('"a","b"', f"is not a number: {CSV}"),
    ("temp=20.3,hum=45", "'20.3,hum=45' is not a number: a blank, and no comma, stands between pairs"),
    ("temp:20.3,hum:45", f"a metric is NAME VALUE [TIME], not 1 token: {CSV}"),
    ("temperature: 20.3", f"'temperature:' is not a number: {PAIR}"),
    ("temperature:20.3", f"a metric is NAME VALUE [TIME], not 1 token: {PAIR}"),
    ("t=21.5 40", "'40' is not a pair NAME=NUMBER, as all tokens of such a line are; a time is time=…"),
    ("kitchen=21.5 1700000000", "is not a pair NAME=NUMBER, as all tokens of such a line are; a time is time=…"),
    ("t=21.5C", f"'21.5C' is not a number: {UNIT}"),
    ("21.5°C", f"'21.5°C' is not a number: {UNIT}"),
    ("45%", f"'45%' is not a number: {UNIT}"),
    ("x:1|c", STATSD),
    ("app.hits:3.5|ms|@0.1", STATSD),
    ("x:1|g|#tag", STATSD),
    ("# source web", MEANT.format("source")),
    ("#Source web", MEANT.format("source")),
    ("#source: web", MEANT.format("source")),
    ("#Columns a b", MEANT.format("columns")),
    ("#columns a,b\n1 2", "expected 1 token, the line has 2: #columns has one name, 'a,b'; blanks stand between names"),
    ("#columns", "#columns names no column"),
    ('#columns ["a", 1]', 'as a list #columns are names, or names with units: ["time", "a b", ["x:y", "m / s"]]'),
    ("temperature", "a metric is NAME VALUE [TIME], not 1 token"),
    ("room1 1 2 3", "a metric is NAME VALUE [TIME], not 4 tokens"),
    ("room 20.3 45", "lies before 2000: is it a second value? A row of several is #source NAME, and the numbers alone"),
    ("room 1700000000 21.5", "lies before 2000: the value comes before the time, NAME VALUE TIME"),
    ("1700000000 t=21.5", "is no measurement: a time stands at the end, or as time=… t=21.5 before pairs"),
    ("10:15:00 t=21.5", "is no measurement: a time stands at the end, or as time=… t=21.5 before pairs"),
    ("2026-11-22 10:15:00 21.5", "'2026-11-22' is not a number: `#columns time …` says where the time stands"),
    ("[1, 2]", f"'[1,' is not a number: {LISTS}"),
    ('[{"a": 1}]', LISTS),
    ('{"a": 1', "not JSON: one object a line, such as {\"t\": 21.5} (Expecting ',' delimiter)"),
    ('{\n"a": 5,', "'\"a\":' is not a number: a JSON object stands on one line"),
    ('{"a": "x"}', "the object has no numbers, and nothing to store"),
    ("put x 1700000000 1 a", "'a' is not a tag KEY=VALUE"),
    ("put 5 2026-11-22 10:15:00", "an OpenTSDB line is put NAME TIME VALUE [KEY=VALUE]…, a metric NAME VALUE [TIME]"),
    ('x{a="b;c"} 1', "the value of a in 'x{a=\"b;c\"}' holds a semicolon or equals sign"),
    ("1_000", "'1_000' is not a number: numbers are decimal, such as -1234.5e-6"),
    ("0x10", "'0x10' is not a number: numbers are decimal, such as -1234.5e-6"),
]  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("collector"))
    yield running
    assert running.stop() == 0


def answers(running: Running, text: str) -> list[str]:
    """All that the collector says to a connection that sends this."""
    with running.connect() as sock:
        sock.settimeout(DEADLINE_S)
        sock.sendall(text.encode())
        sock.shutdown(socket.SHUT_WR)
        return sock.makefile("rb").read().decode().splitlines()


@pytest.mark.parametrize(("lines", "end"), ANSWERS, ids=lambda text: text[:30])
def test_an_answer_says_what_to_write(running: Running, lines: str, end: str) -> None:
    """The last line of each is answered so."""
    *_, last = answers(running, f"#errors on\n#source s\n{lines}\n")
    number = 2 + len(lines.split("\n"))
    assert last.startswith(f"#error {number} ")
    assert last.endswith(end)


def test_a_comment_that_looks_like_a_directive_is_listed_and_counts_as_nothing(running: Running) -> None:
    """Who asks for no errors is told nothing; `linemon sources --errors` and the page have it."""
    told = answers(running, "# source listed\n# a source of comments\n#hello\n#sources x\n#stats\n")
    assert told == ["#stats received=0 stored=0 rejected=0 duplicate=0 dropped=0"]
    listed = eventually(
        lambda: [bad for bad in running.status()["bad_lines"] if bad["line"] == "# source listed"], "listed"
    )
    assert [(bad["reason"], bad["number"]) for bad in listed] == [("comment", 1)]
    assert "#source at the start of the line" in listed[0]["error"]


def test_http_on_the_line_port_is_told_where_to_go(running: Running) -> None:
    """The connection is closed, and the reason names the port that speaks HTTP."""
    assert answers(running, "POST /write?db=x HTTP/1.1\r\nHost: x\r\n\r\n") == []
    error = eventually(
        lambda: [bad["error"] for bad in running.status()["bad_lines"] if bad["reason"] == "protocol"], "listed"
    )[0]
    assert error.endswith("the peer speaks HTTP: Influx's write API is at the [http] port, 8080")
