"""`http-plot-server`'s clients work with ours: the same posts to both, the same answers where the original is right."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.running import Running, eventually
from tests.web import Address, Answer, ask, get, plot_server, post

OURS, THEIRS = 0, 1


@pytest.fixture
def both(start_collector: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Address, Address]]:
    """The HTTP ports of ours and of the original, both in New York."""
    monkeypatch.setenv("TZ", "America/New_York")
    with plot_server() as theirs:
        yield start_collector().address("http"), theirs


def post_both(both: tuple[Address, Address], point: Any, path: str = "/") -> tuple[Answer, Answer]:
    return post(both[OURS], point, path), post(both[THEIRS], point, path)


def data_of_both(both: tuple[Address, Address], tag: str) -> tuple[Any, Any]:
    """What `/current_data` says, without the cursor that only ours has."""
    ours, theirs = (get(each, "/current_data", tag=tag) for each in both)
    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"] == "application/json"
    return {name: part for name, part in ours.json.items() if name != "cursor"}, theirs.json


@pytest.mark.parametrize("path", ["/", "/any/path", "/state", "/apiary", "/x?y=z"])
@pytest.mark.parametrize("value", [20.3, 5, -1e-5, "12.5", " 7 ", "1_000", True])
def test_posts(both_shared: tuple[Address, Address], path: str, value: object) -> None:
    """A post on any path, with whatever float() takes, is answered by the same text."""
    ours, theirs = post_both(both_shared, {"tag": "t", "value": value}, path)
    assert (ours.status, ours.headers["Content-Type"]) == (theirs.status, theirs.headers["Content-Type"])
    if path != "/x?y=z":  # theirs shows the query too
        assert ours.body == theirs.body
    assert [answer["value"][-1] for answer in data_of_both(both_shared, "t")] == [float(value)] * 2  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def both_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Address, Address]]:
    running = Running(tmp_path_factory.mktemp("both"))
    with plot_server() as theirs:
        yield running.address("http"), theirs
    running.stop()


@pytest.mark.parametrize(
    "ts",
    [1649859909, 1649859909.25, 1649859909250, 1649859909250.5, 1000000000, 0],
)
def test_times(both: tuple[Address, Address], ts: float) -> None:
    """Seconds and milliseconds; both come out as local time with its zone."""
    post_both(both, {"tag": "t", "value": 1, "ts": ts})
    ours, theirs = data_of_both(both, "t")
    assert ours == theirs


def test_the_unit_of_a_time_is_told_by_its_size(both: tuple[Address, Address]) -> None:
    """As in lines: also nine digits, a second before 2001, which the original takes for milliseconds."""
    cases = {123456: "1970-01-02 05:17:36-05:00", 999_999_999: "2001-09-08 21:46:39-04:00",
             100_000_000_000: "1973-03-03 04:46:40-05:00", "999999999": "2001-09-08 21:46:39-04:00"}  # fmt: skip
    for at, (ts, local) in enumerate(cases.items()):
        assert post(both[OURS], {"tag": f"t{at}", "value": 1, "ts": ts}).status == 200
        assert get(both[OURS], "/current_data", tag=f"t{at}").json["time"] == [local]
    for beyond in (99_999_999_999, 9_300_000_000_000_000_000):
        assert post(both[OURS], {"tag": "t", "value": 1, "ts": beyond}).json["field"] == "ts"


def test_an_error_quotes_what_was_sent(collector: Running) -> None:
    """Not what became of it on the way."""
    for ts in ("Tue, 02 Jan 2024 10:15:00", "2024-01-02 25:00:00", "2024-01-02T10:15:00.1234567891Z"):
        answer = post(collector.address("http"), {"tag": "t", "value": 1, "ts": ts})
        assert answer.status == 400
        assert repr(ts) in answer.json["error"]


def test_half_a_character_breaks_nothing(collector: Running) -> None:
    """JSON can hold half of a pair of surrogates, anywhere; what shows bad lines goes on."""
    at = collector.address("http")
    for part in ("tag", "value", "unit", "ts", "other"):
        point = {"tag": "t", "value": "x", part: "\\ud800"}
        assert post(at, json.dumps(point).replace("\\\\", "\\").encode()).status == 400
        assert post(at, json.dumps([point]).replace("\\\\", "\\").encode()).json["rejected"] == 1
        assert get(at, "/api/health").json["last_bad"]["reason"]
    eventually(lambda: len(collector.status()["bad_lines"]) == 10, "the bad lines in the status")
    for done in (collector.run("sources", "--errors"), collector.run("sources", "--errors", "--json")):
        assert (done.returncode, done.stderr) == (0, "")


def test_time_of_arrival(both: tuple[Address, Address]) -> None:
    """Without ts it is now."""
    post_both(both, {"tag": "t", "value": 1})
    for data in data_of_both(both, "t"):
        at = datetime.fromisoformat(data["time"][0])
        assert abs(at.timestamp() - time.time()) < 20
        assert at.utcoffset() == datetime.now().astimezone(at.tzinfo).utcoffset()


def test_more_times_than_the_original_knows(both: tuple[Address, Address]) -> None:
    """Microseconds, nanoseconds, texts, ISO 8601 in UTC or with a zone, and what /current_data writes."""
    same = [1649859909.25, 1649859909250, 1649859909250000, 1649859909250000000, "1649859909.25",
            "2022-04-13T14:25:09.250Z", "2022-04-13T14:25:09.25", "2022-04-13T16:25:09.250+02:00",
            "2022-04-13 10:25:09.250000-04:00"]  # fmt: skip
    for ts in same:
        assert post(both[OURS], {"tag": "t", "value": 1, "ts": ts}).status == 200
    assert get(both[OURS], "/current_data", tag="t").json["time"] == ["2022-04-13 10:25:09.250000-04:00"] * len(same)


def test_units_are_sticky(both: tuple[Address, Address]) -> None:
    """A unit stays until another one comes, which is taken."""
    for point in ({"value": 1}, {"value": 2, "unit": "°C"}, {"value": 3}, {"value": 4, "unit": None}):
        post_both(both, {"tag": "t", "ts": 1649859909, **point})
        ours, theirs = data_of_both(both, "t")
        assert ours == theirs
    post_both(both, {"tag": "t", "ts": 1649859909, "value": 5, "unit": "K"})
    ours, theirs = data_of_both(both, "t")
    assert ours == theirs
    assert ours["unit"] == "K"


def test_a_changed_unit_is_logged(collector: Running) -> None:
    """What silently relabels old values in the original is a warning here."""
    for unit in ("V", "mV"):
        post(collector.address("http"), {"tag": "t", "value": 1, "unit": unit})
    log = collector.folder / "log"
    eventually(lambda: "units changed from V to mV" in log.read_text(), "the warning")


def test_units_that_alternate_do_not_fill_the_log(collector: Running) -> None:
    """Two senders that do not agree: one line a minute, and each row is taken."""
    for number in range(100):
        post(collector.address("http"), {"tag": "t", "value": number, "unit": ("V", "mV")[number % 2]})
    assert collector.store["t"].rows == 100
    assert collector.store["t"].units == ("mV",)
    assert collector.stop() == 0
    assert (collector.folder / "log").read_text().count("units changed") == 1


def test_what_there_is(both: tuple[Address, Address]) -> None:
    """Tags in the order in which they came; any text is one."""
    tags = ["b", "a", "Raum 1/T", "<b>ü</b>", "a"]
    for tag in tags:
        post_both(both, {"tag": tag, "value": 1, "ts": 1649859909})
    ours, theirs = (get(each, "/available_plots").json for each in both)
    assert [tag for tag in ours if not tag.startswith("linemon.collector:")] == theirs == tags[:-1]
    for tag in theirs:
        ours, theirs = data_of_both(both, tag)
        assert ours == theirs


def next_millisecond() -> None:
    """Numbers that are times in ms differ from here on."""
    before = time.time_ns() // 10**6
    eventually(lambda: time.time_ns() // 10**6 > before, "another millisecond")


@pytest.mark.parametrize("which", [OURS, THEIRS])
def test_state_and_plot_id(both: tuple[Address, Address], which: int) -> None:
    """Integers, ms since the epoch: of the last new tag, of a tag's last value."""
    at = both[which]

    def number(path: str, **query: str) -> int:
        answer = get(at, path, **query)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain")
        assert abs(int(answer.text) - time.time() * 1000) < 20_000
        return int(answer.text)

    post(at, {"tag": "a", "value": 1})
    if which == OURS:  # its own source is the only other one that comes
        eventually(lambda: "linemon.collector:sources" in get(at, "/available_plots").json, "our own source")
    state, first = number("/state"), number("/plot_id", tag="a")
    next_millisecond()
    post(at, {"tag": "a", "value": 2})
    assert number("/state") == state
    second = number("/plot_id", tag="a")
    assert second > first
    assert number("/plot_id", tag="a") == second
    next_millisecond()
    post(at, {"tag": "b", "value": 1, "ts": 1649859909})
    assert number("/state") > state
    assert number("/plot_id", tag="a") == second
    assert number("/plot_id", tag="b") > second


def test_the_newest_points_are_kept(start_collector: Callable[..., Running], tmp_path: Path) -> None:
    """--max-points, also from the same param.cfg; a later option counts."""
    cfg = tmp_path / "param.cfg"
    cfg.write_text("--max-points 3\n  --port 1 --host 127.0.0.1\n")
    running = start_collector()
    running.stop()
    running = Running(running.folder, options=[f"--cfg={cfg}", "--port", "0"])
    with plot_server("--max-points", "3") as theirs:
        both = running.address("http"), theirs
        for i in range(5):
            post_both(both, {"tag": "t", "value": i, "ts": 1649859909 + i})
        ours, original = data_of_both(both, "t")
        assert ours == original
        assert ours["value"] == [2.0, 3.0, 4.0]
    assert running.stop() == 0


BAD: list[tuple[bytes, str | None]] = [
    (b"{", None),
    (b"", None),
    (b'{"tag": "t", "value": 1} {', None),
    (b"\xff", None),
    (b"[" * 100_000, None),
    (b"5", None),
    (b"null", None),
    (b'"text"', None),
    (b'{"value": 1}', "tag"),
    (b'{"tag": "t"}', "value"),
    (b'{"tag": "t", "value": null}', "value"),
    (b'{"tag": "t", "value": [1]}', "value"),
    (b'{"tag": "t", "value": "x"}', "value"),
    (b'{"tag": "t", "value": 1, "ts": "yesterday"}', "ts"),
    (b'{"tag": "t", "value": 1, "ts": [1]}', "ts"),
    (b'{"tag": "t", "value": 1, "ts": 1e300}', "ts"),
    (b'{"tag": ["t"], "value": 1}', "tag"),
]
WORSE: list[tuple[bytes, str | None]] = [  # which the original takes
    (b'{"tag": null, "value": 1}', "tag"),
    (b'{"tag": 5, "value": 1}', "tag"),
    (b'{"tag": "", "value": 1}', "tag"),
    (b'{"tag": "%b", "value": 1}' % (b"x" * 1025), "tag"),
    (b'{"tag": "a\\u0000b", "value": 1}', "tag"),
    (b'{"tag": "a\\nb", "value": 1}', "tag"),
    (b'{"tag": "\\ud800", "value": 1}', "tag"),
    (b'{"tag": "t", "value": Infinity}', "value"),
    (b'{"tag": "t", "value": 1e999}', "value"),
    (b'{"tag": "t", "value": "-inf"}', "value"),
    (b'{"tag": "t", "value": 1, "unit": 5}', "unit"),
    (b'{"tag": "t", "value": 1, "unit": "\\u001b[2J"}', "unit"),
    (b'{"tag": "t", "value": 1, "ts": -5}', "ts"),
    (b'{"tag": "t", "value": 1, "ts": true}', "ts"),
]


@pytest.mark.parametrize(("body", "field"), BAD + WORSE, ids=repr)
def test_bad_posts(both_shared: tuple[Address, Address], body: bytes, field: str | None) -> None:
    """Theirs is 500 with the body in it, or stores what cannot be asked for; ours is 400 and says what was wrong."""
    ours = post(both_shared[OURS], body)
    theirs = post(both_shared[THEIRS], body) if body[:1] not in (b"[", b"\xff") else None  # it just hangs up
    assert (ours.status, ours.headers["Content-Type"]) == (400, "application/json")
    assert set(ours.json) == {"error", "field"}
    assert ours.json["field"] == field
    assert len(body) < 6 or body not in ours.body
    if theirs and (body, field) in BAD:
        assert theirs.status == 500


def test_missing_values(both: tuple[Address, Address]) -> None:
    """NaN is a missing value; the original's answer is no JSON then."""
    for value in (float("nan"), "nan", 1.5):
        post_both(both, {"tag": "t", "value": value, "ts": 1649859909})
    ours, theirs = (get(each, "/current_data", tag="t") for each in both)
    assert ours.json["value"] == [None, None, 1.5]
    with pytest.raises(AssertionError, match="NaN is no JSON"):
        theirs.json  # noqa: B018


def test_points_out_of_order(both: tuple[Address, Address]) -> None:
    """Ours come in time order, the original's zigzag."""
    for at in (3, 1, 2):
        post_both(both, {"tag": "t", "value": at, "ts": 1649859909 + at})
    ours, theirs = data_of_both(both, "t")
    assert (ours["value"], theirs["value"]) == ([1.0, 2.0, 3.0], [3.0, 1.0, 2.0])


def test_only_what_is_new(collector: Running) -> None:
    """`since` with the cursor of the last answer; in the original every answer is the whole buffer."""
    at = collector.address("http")
    post(at, {"tag": "t", "value": 1})
    first = get(at, "/current_data", tag="t").json
    assert set(first) == {"time", "value", "tag", "unit", "cursor"}
    assert get(at, "/current_data", tag="t", since=first["cursor"]).json["value"] == []
    post(at, [{"tag": "t", "value": 2, "ts": 1649859910}, {"tag": "t", "value": 3, "ts": 1649859909}])
    assert get(at, "/current_data", tag="t", since=first["cursor"]).json["value"] == [3.0, 2.0]
    for wrong in ("x", "-1", "", "1.", "1.5.2", "9" * 30):
        answer = get(at, "/current_data", tag="t", since=wrong)
        assert (answer.status, answer.json["field"]) == (400, "since")


def test_tags_of_other_sources(collector: Running) -> None:
    """A column of any source is the tag SOURCE:COLUMN; a source of just that name comes first."""
    at = collector.address("http")
    collector.say("#source web:1\n#columns cpu:% mem\n1 2\n")
    eventually(lambda: "web:1" in collector.store, "the source")
    assert {"web:1:cpu", "web:1:mem"} <= set(get(at, "/available_plots").json)
    assert get(at, "/current_data", tag="web:1:cpu").json["value"] == [1.0]
    assert get(at, "/current_data", tag="web:1:cpu").json["unit"] == "%"
    assert get(at, "/current_data", tag="web:1").status == 404
    assert post(at, {"tag": "web:1:cpu", "value": 7}).status == 200
    assert get(at, "/current_data", tag="web:1:cpu").json["value"] == [7.0]
    wrong = post(at, {"tag": "web:1", "value": 7})
    assert (wrong.status, wrong.json["field"]) == (400, "tag")


def test_http_and_tcp_meet(collector: Running) -> None:
    """A number posted and one sent as a line go to the same source."""
    at = collector.address("http")
    post(at, {"tag": "room1.temperature", "value": 20})
    collector.say("room1.temperature 21\n#source room1.temperature\n#columns value\n22\n")
    eventually(lambda: collector.store["room1.temperature"].rows == 3, "all three")
    assert get(at, "/current_data", tag="room1.temperature").json["value"] == [20.0, 21.0, 22.0]
    assert collector.store["room1.temperature"].last(3).values.tolist() == [[20.0], [21.0], [22.0]]


def test_questions_without_an_answer(both: tuple[Address, Address]) -> None:
    """What is 500, or 200 without having done anything, in the original."""
    cases = [
        ("GET", "/current_data", 400), ("GET", "/current_data?tag=none", 404), ("GET", "/plot_id", 400),
        ("GET", "/plot_id?tag=none", 404), ("GET", "/nothing", 404), ("GET", "/api/nothing", 404),
        ("DELETE", "/", 405), ("DELETE", "/anything", 405), ("PUT", "/state", 405), ("POST", "/api/rows", 405),
    ]  # fmt: skip
    for method, path, status in cases:
        answer = ask(both[OURS], method, path, "{}" if method == "POST" else None)
        assert (answer.status, set(answer.json)) == (status, {"error", "field"}), path
        assert (status == 405) == ("Allow" in answer.headers)
    assert get(both[THEIRS], "/current_data", tag="none").status == 500
    assert get(both[OURS], "/state", cache="bust").status == 200  # as the original, which looks at no parameter
    assert get(both[THEIRS], "/nothing").status == 200


def test_one_stalled_client(both: tuple[Address, Address]) -> None:
    """A client that sends half a request keeps the original from all others; ours answers them."""
    stalled = [socket.create_connection(each) for each in both]
    for sock in stalled:
        sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    assert post(both[OURS], {"tag": "t", "value": 1}).status == 200
    with socket.create_connection(both[THEIRS], timeout=1) as waits:
        waits.sendall(b"GET /state HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            waits.recv(1)
    for sock in stalled:
        sock.close()


def test_the_way_to_the_page(collector: Running) -> None:
    """`GET /` leads to the dashboard, by the name that the browser used."""
    host, port = collector.address("http")
    for name in ("localhost", "127.0.0.1", "[::1]"):
        answer = ask((host, port), "GET", "/", Host=f"{name}:{port}")
        assert (answer.status, answer.headers["Location"]) == (302, f"http://{name}:5006/")


@pytest.mark.parametrize("prefix", ["/linemon", "linemon/"])
def test_the_way_to_a_page_below_a_path(start_collector: Callable[..., Running], prefix: str) -> None:
    at = start_collector(f'[dashboard]\nlisten = "127.0.0.1:7"\nprefix = "{prefix}"\n').address("http")
    assert get(at, "/").headers["Location"] == "http://127.0.0.1:7/linemon/"


def test_batches(collector: Running) -> None:
    """A list or NDJSON: the good points are stored, the bad ones counted, the first of them is explained."""
    at = collector.address("http")
    points: list[Any] = [{"tag": f"t{i % 3}", "value": i, "ts": 1649859909 + i} for i in range(3000)]
    answer = post(at, points)
    assert (answer.status, answer.json) == (200, {"accepted": 3000, "rejected": 0, "first_error": None})
    assert [get(at, "/current_data", tag=f"t{i}").json["value"] for i in range(3)] == [
        [float(value) for value in range(i, 3000, 3)] for i in range(3)
    ]
    points[1700], points[2500] = {"tag": "t", "value": "x"}, 5
    answer = post(at, points).json
    error = answer["first_error"]
    assert (answer["accepted"], answer["rejected"], error["index"], error["field"]) == (2998, 2, 1700, "value")
    lines = "\n".join(['{"tag": "n", "value": 1}', "rubbish", "", '{"tag": "n", "value": 2}\r', "[]", ""])
    for headers in ({}, {"Content_Type": "application/x-ndjson"}):
        answer = ask(at, "POST", "/", lines, **headers).json
        assert (answer["accepted"], answer["rejected"]) == (2, 2)
        assert (answer["first_error"]["index"], answer["first_error"]["field"]) == (1, None)
    assert post(at, []).json == {"accepted": 0, "rejected": 0, "first_error": None}
    one_line = ask(at, "POST", "/", '{"tag": "n", "value": 1}', Content_Type="application/x-ndjson")
    assert one_line.json == {"accepted": 1, "rejected": 0, "first_error": None}
    rubbish_first = ask(at, "POST", "/", "rubbish\n" + lines)
    assert (rubbish_first.status, rubbish_first.json["field"]) == (400, None)
    rubbish_first = ask(at, "POST", "/", "rubbish\n" + lines, Content_Type="application/x-ndjson")
    assert (rubbish_first.json["accepted"], rubbish_first.json["rejected"]) == (2, 3)
    pretty = json.dumps({"tag": "n", "value": 9}, indent=2).encode()
    assert post(at, pretty).text == "path: /received value: 9.0"


def test_all_is_counted(collector: Running) -> None:
    """received = stored + rejected, in points; a body that cannot be read is one."""
    at = collector.address("http")
    post(at, {"tag": "t", "value": 1})
    post(at, [{"tag": "t", "value": 1}, {"tag": "t"}, {"tag": 5, "value": 1}, 7])
    post(at, b"{")
    health = get(at, "/api/health").json
    assert health["rejected"] == {"number": 1, "name": 1, "syntax": 2}
    assert (health["received"], health["stored"]) == (6, 2)
    assert health["last_bad"]["line"] == "{"
    assert collector.store["t"].rejected == 1
    eventually(lambda: collector.status()["received"] == 6, "the counters")
    listed = json.loads(collector.run("sources", "--errors", "--json").stdout)
    assert [bad["reason"] for bad in listed] == ["number", "name", "syntax", "syntax"]


def test_more_tags_than_sources(start_collector: Callable[..., Running]) -> None:
    """Beyond max_sources a post is 507; those within go on."""
    at = start_collector("max_sources = 3\n").address("http")
    statuses = [post(at, {"tag": f"t{i}", "value": 1}).status for i in range(5)]
    assert sorted(statuses[:3])[:2] == [200, 200]
    assert statuses[3:] == [507, 507]
    assert post(at, {"tag": "t0", "value": 1}).status == 200
