"""`POST /api/lines`: a body is a connection."""

from __future__ import annotations

import gzip
from collections.abc import Callable

from tests.running import Running, eventually
from tests.web import get, post

Start = Callable[..., Running]


def test_all_kinds_of_lines(collector: Running) -> None:
    """Directives too; each body begins anew."""
    at = collector.address("http")
    body = (
        b"\xef\xbb\xbf#source web1\r\n#columns cpu:% mem\n12.5 40\n\n# a comment\nroom1.temperature 20.3 1700000000\n"
        b'put sys.load 1700000000 0.5 host=h7\nclimate,room=2 t=21i\n#source pairs\nt=5 h=6\n{"t": 7}\n#stats'
    )
    assert post(at, body, "/api/lines").status == 204
    assert post(at, gzip.compress(b"1 2 3"), "/api/lines", Content_Encoding="gzip").status == 204
    eventually(lambda: collector.status()["stored"] == 7, "all of them")
    names = {"web1", "room1.temperature", "sys.load;host=h7", "climate,room=2", "pairs", "127.0.0.1/3"}
    assert set(collector.store) - {"linemon.collector"} == names
    assert collector.store["web1"].units == ("%", "")


def test_what_is_bad_is_told(collector: Running) -> None:
    """The good ones are stored; the first ten bad ones are named, with their lines."""
    at = collector.address("http")
    answer = post(at, b"a 1\n#Source x\na x\na 2\n" + b"b y\n" * 20, "/api/lines")
    said = answer.json
    assert (answer.status, said["stored"], said["rejected"]) == (400, 2, 21)
    assert [each["line"] for each in said["errors"]] == [3, *range(5, 14)]
    assert said["errors"][0]["reason"] == "number"
    assert said["error"] == f"line 3: {said['errors'][0]['error']}"


def test_numbers_need_a_connection(collector: Running) -> None:
    """`#seq` and `#acks` are refused, and the rows behind them: nobody would be there to hear what is acknowledged."""
    at = collector.address("http")
    for directive in (b"#seq 1 me", b"#acks named"):
        said = post(at, b"#source s\n%b\n1 2\n#source s\n3 4\n" % directive, "/api/lines").json
        assert (said["stored"], said["rejected"]) == (0, 2)
        assert [(each["line"], each["reason"]) for each in said["errors"]] == [(n, "sequence") for n in (2, 3, 5)]


def test_another_protocol(collector: Running) -> None:
    """One rejected line, which the answer names."""
    said = post(collector.address("http"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\na 1\n", "/api/lines")
    assert (said.status, said.json["errors"][0]["reason"], said.json["rejected"]) == (400, "protocol", 1)


def test_only_there(collector: Running) -> None:
    """`/lines` is http-plot-server's, as any other path; what /api/lines does not know it says."""
    at = collector.address("http")
    assert post(at, b'{"tag": "a", "value": 1}', "/lines").status == 200
    assert post(at, b"a 1", "/api/lines?x=1").json["field"] == "x"
    assert get(at, "/api/lines").status == 405


def test_a_token_for_some_sources(start_collector: Start) -> None:
    """It opens these; the others are told of."""
    settings = '[tcp]\nlisten = "127.0.0.1:0"\n[[token]]\nsecret = "rooms"\nsources = ["room*"]\n'
    at = start_collector(settings).address("http")
    said = post(at, b"room1 1\nhall 2\n", "/api/lines", Authorization="Bearer rooms").json
    assert (said["stored"], said["errors"][0]["reason"]) == (1, "token")
    assert post(at, b"#token rooms\nroom1 1\n", "/api/lines").status == 401  # before the body is looked at
