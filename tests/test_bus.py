"""The bus: forwards to NATS JetStream and subscriptions from it, over a cluster of three servers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from linemon.parts._nats import Bus as Address
from linemon.parts.subscribe.origins.nats import partitions
from tests import bus_kills
from tests.bus import PASSWORD, Cluster, Operator, Taker
from tests.forwards import Conformance, Near, Row, rows_in, rows_of, same
from tests.pki import Authority
from tests.running import Running, Work, eventually, free_port


@pytest.mark.slow
class TestNats(Conformance):
    """What is on the bus is what a subscription takes from it, into another linemon."""

    exactly_once = True
    secrets = (PASSWORD,)

    @pytest.fixture(autouse=True)
    def ends(self) -> Iterator[None]:
        yield
        self.far.close()

    def open(self) -> None:
        if not hasattr(self, "cluster"):
            self.cluster = Cluster(self.folder / "cluster")
            self.far = Taker(self.folder / "far", self.cluster.address("TEST"))
            self.far.start()
        else:
            self.cluster.start()

    def close(self) -> None:
        self.cluster.kill_all()

    def forward(self) -> str:
        return (
            f'[[forward]]\nname = "it"\nto = "{self.cluster.address("TEST")}"\npassword = "{PASSWORD}"\n'
            'since = "start"\nevery = 0.05\npartitions = 2\nmax_bytes = 10000000\n'
        )

    def read(self, source: str) -> list[Row]:
        return rows_in(self.far.collector.store, source)


FORWARD = 'since = "start"\nevery = 0.05\npartitions = 2\nmax_bytes = 10000000\n'
EVEN, ODD = "t", "s"  # sources of partition 0 and 1


class Bus:
    """A cluster, a store whose rows go there, and a linemon that takes them."""

    def __init__(self, folder: Path, size: int = 3, max_payload: str = "1MB", more: str = "") -> None:
        self.folder = folder
        self.cluster = Cluster(folder / "cluster", size, max_payload, more)
        self.address = self.cluster.address("BUS")
        self.near = Near(folder / "near", self.forward(), 100_000)
        self.takers: list[Taker] = []

    def forward(self, keys: str = FORWARD) -> str:
        return f'[[forward]]\nname = "it"\nto = "{self.address}"\npassword = "{PASSWORD}"\n{keys}'

    def taker(self, keys: str = "", settings: str = "", work: str = "") -> Taker:
        self.takers.append(Taker(self.folder / f"far{len(self.takers)}", self.address, keys, settings, work))
        return self.takers[-1]

    def close(self) -> None:
        self.near.close()
        for taker in self.takers:
            taker.close()
        self.cluster.kill_all()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    """Of one server: what it does alone is enough."""
    bus = Bus(tmp_path, 1)
    yield bus
    bus.close()


def arrives(taker: Taker, source: str, rows: list[Row], deadline_s: float = 30) -> None:
    try:
        eventually(lambda: same(rows_in(taker.collector.store, source), rows), "the rows", deadline_s)
    except AssertionError:
        found = rows_in(taker.collector.store, source)
        twice = len(found) - len({at for at, _ in found})
        raise AssertionError(
            f"{len(found)} rows in place of {len(rows)}, {twice} twice\n{taker.status()}\n{taker.log()}"
        ) from None


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kills_of_everything(tmp_path: Path) -> None:
    """Of the leading server 3 times, of the subscription 15, of the forward 5: no row is lost, none is there twice."""
    outcome = bus_kills.run(tmp_path, servers=3, forwards=5, subscriptions=15)
    assert outcome.is_right, outcome
    assert outcome.rows > 5000


def test_a_purge_is_counted(bus: Bus) -> None:
    """What the bus dropped before it was taken is lost, and said; what comes then is taken."""
    taker = bus.taker()
    bus.near.start()
    bus.near.add(EVEN, rows_of(10))
    taker.start()
    arrives(taker, EVEN, rows_of(10))
    taker.stop()
    for i in range(1, 4):  # each a message
        bus.near.add(EVEN, rows_of(10, 10 * i))
        bus.near.until(sent=10 * i + 10)
    bus.cluster.do(lambda js: js.purge_stream("BUS-0"))
    bus.near.add(EVEN, rows_of(10, 40))
    bus.near.until(sent=50)
    taker.start()
    arrives(taker, EVEN, rows_of(10) + rows_of(10, 40))
    taker.until(lost=3, behind_s=0.0)
    assert "dropped messages before they were taken, 3 by now" in taker.log()
    taker.stop()
    taker.start()
    assert taker.until(partitions="all of 2")["lost"] == 0  # it is counted once


def test_a_purge_while_it_takes(bus: Bus) -> None:
    taker = bus.taker()
    bus.near.start()
    taker.start()
    bus.near.add(EVEN, rows_of(10))
    arrives(taker, EVEN, rows_of(10))
    bus.cluster.do(lambda js: js.purge_stream("BUS-0"))
    bus.near.add(EVEN, rows_of(10, 10))
    arrives(taker, EVEN, rows_of(20))
    taker.until(lost=0)


def test_a_stream_that_is_made_anew(bus: Bus) -> None:
    """Its numbers begin again: the position in the old one says nothing."""
    taker = bus.taker()
    bus.near.start()
    taker.start()
    for i in range(5):
        bus.near.add(EVEN, rows_of(10, 10 * i))
        bus.near.until(sent=10 * i + 10)
    arrives(taker, EVEN, rows_of(50))

    async def delete(js: JetStreamContext) -> None:
        for partition in range(2):
            await js.delete_stream(f"BUS-{partition}")

    bus.cluster.do(delete)
    bus.near.add(EVEN, rows_of(10, 50))
    arrives(taker, EVEN, rows_of(60), 60)
    assert "is not the one that was read" in taker.log()


def test_another_number_of_partitions(bus: Bus) -> None:
    """It is an error: sources would change their partition, and their newer rows come before older ones."""
    bus.near.start()
    bus.near.add(EVEN, rows_of(10))
    bus.near.until(sent=10)
    bus.near.stop()
    bus.near.set(bus.forward(FORWARD.replace("partitions = 2", "partitions = 4")))
    bus.near.start()
    found = eventually(lambda: bus.near.status().get("denied"), "denied", 30)
    assert "BUS has 2 partitions, not 4: set partitions = 2, or use another stream" in found


def test_partitions_that_are_not_there(bus: Bus) -> None:
    taker = bus.taker('take = "1-2"')
    taker.start()
    eventually(lambda: "there is no stream BUS-1" in taker.status().get("away", ""), "it waits")
    bus.near.add(EVEN, rows_of(10))
    bus.near.start()
    found = eventually(lambda: taker.status().get("denied"), "denied", 30)
    assert "take = '1-2': BUS has 2 partitions, from 0" in found


def test_settings_of_a_stream_that_differ_are_said(bus: Bus) -> None:
    bus.near.start()
    bus.near.add(EVEN, rows_of(10))
    bus.near.until(sent=10, differs="BUS-0 has replicas = 1; BUS-1 has replicas = 1")


def test_a_partition_that_moves_to_another_centre(bus: Bus) -> None:
    """Both deliver it for a while, into one collector: each row is there once."""
    one = bus.taker('take = "0,1"')
    host, port = one.collector.address()
    other = bus.taker('take = "1"', work=f'to = "{host}:{port}"\n')
    bus.near.start()
    one.start()
    eventually(one.status, "it runs")
    for i in range(50):
        bus.near.add(EVEN, rows_of(20, 20 * i))
        bus.near.add(ODD, rows_of(20, 20 * i))
        if i == 15:
            other.start()
            eventually(lambda: other.status().get("rows"), "both deliver it")
        if i == 35:
            one.stop()
            one.collector.config.write_text(one.collector.config.read_text().replace('"0,1"', '"0"'))
            one.start()
        time.sleep(0.02)  # rows come while both work
    arrives(one, EVEN, rows_of(1000))
    arrives(one, ODD, rows_of(1000))
    assert one.collector.status()["lost"] == 0


def test_a_block_that_grew_is_no_duplicate(bus: Bus) -> None:
    """A forward that was killed before it noted its cursor sends the same rows with newer ones behind them."""
    bus.near.start()
    state = bus.near.folder / "store" / "forward.it.json"
    bus.near.add(EVEN, rows_of(1))
    bus.near.until(sent=1)
    bus.near.stop()
    before = state.read_text()
    bus.near.start()
    bus.near.add(EVEN, rows_of(10, 1))
    bus.near.until(sent=10)
    bus.near.stop()
    state.write_text(before)
    bus.near.add(EVEN, rows_of(10, 11))
    bus.near.start()
    bus.near.until(sent=20)
    taker = bus.taker()
    taker.start()
    arrives(taker, EVEN, rows_of(21))


def test_one_more_server_is_no_other_bus(bus: Bus) -> None:
    """The forward goes on where it was, though it is to begin with what is new."""
    bus.near.add(EVEN, rows_of(3))
    bus.near.set(bus.forward(FORWARD.replace('"start"', '"now"')))
    bus.near.start()
    bus.near.until(behind_s=0.0, sent=0)
    bus.near.stop()
    bus.near.add(EVEN, rows_of(3, 3))
    bus.address = bus.address.replace("/BUS", f",127.0.0.1:{free_port()}/BUS")
    bus.near.set(bus.forward(FORWARD.replace('"start"', '"now"')))
    bus.near.start()
    bus.near.until(sent=3)


@pytest.mark.slow
def test_a_row_that_is_longer_than_a_message(tmp_path: Path) -> None:
    """It is refused, and said; the others go on in smaller messages."""
    bus = Bus(tmp_path, 1, "8KB")
    try:
        taker = bus.taker()
        wide = [f"c{i}" for i in range(900)]
        bus.near.add("wide", rows_of(3, columns=wide))
        bus.near.add(EVEN, rows_of(1000))
        bus.near.start()
        taker.start()
        arrives(taker, EVEN, rows_of(1000))
        status = bus.near.until(refused=3, sent=1000, behind_s=0.0)
        assert "the bus takes 6144" in status["last refused"]
    finally:
        bus.close()


def test_columns_that_do_not_fit_go_by_name(bus: Bus) -> None:
    """The source has others there: as lines that name their columns the rows fit."""
    taker = bus.taker()
    taker.collector.say(f"#source {EVEN}\n#columns time z b\n1700000000 1 2\n")
    rows = [*rows_of(3), (30_000_000 * 10**9, {"a": 1971.0, "b": float("nan")}), *rows_of(3, 10)]
    bus.near.add(EVEN, rows)
    bus.near.start()
    taker.start()
    fitting: list[Row] = [(1_700_000_000 * 10**9, {"z": 1.0, "b": 2.0})]
    fitting += [(at, {c: values[c] for c in ("b", "a") if values[c] == values[c]}) for at, values in rows]
    arrives(taker, EVEN, fitting)
    bus.near.add(EVEN, rows_of(3, 20))
    arrives(taker, EVEN, fitting + [(at, {c: values[c] for c in ("b", "a")}) for at, values in rows_of(3, 20)])
    taker.until(refused=0)


def test_a_source_without_room_waits(bus: Bus) -> None:
    """Nothing of its partition is lost, the other partition goes on, and status says why."""
    taker = bus.taker(settings="max_sources = 4\n")  # with two of its own
    bus.near.start()
    taker.start()
    eventually(lambda: len(taker.collector.store.sources()) == 2, "its own sources")
    for source in (EVEN, ODD):
        bus.near.add(source, rows_of(3))
        arrives(taker, source, rows_of(3))
    bus.near.add("r", rows_of(3))  # of partition 1
    denied = eventually(lambda: taker.status().get("denied"), "denied")
    assert "of source 'r': max_sources" in denied
    bus.near.add(ODD, rows_of(3, 3))
    bus.near.add(EVEN, rows_of(3, 3))
    arrives(taker, EVEN, rows_of(6))
    taker.stop()
    taker.collector.stop()
    taker.collector.config.write_text(taker.collector.config.read_text().replace("max_sources = 4", "max_sources = 5"))
    taker.collector = Running(taker.folder)
    taker.start()
    arrives(taker, "r", rows_of(3))
    arrives(taker, ODD, rows_of(6))


def test_a_collector_that_asks_for_a_token(bus: Bus) -> None:
    """Its own is used; one that opens other sources only is named, and nothing is lost."""
    taker = bus.taker(settings='[[token]]\nsecret = "for-others"\nsources = ["other*"]\n')
    bus.near.start()
    bus.near.add(EVEN, rows_of(3))
    taker.start()
    denied = eventually(lambda: taker.status().get("denied"), "denied")
    assert f"of source '{EVEN}': token: this token may not write to '{EVEN}'" in denied
    taker.stop()
    taker.collector.stop()
    text = taker.collector.config.read_text()
    taker.collector.config.write_text(text.replace("[tcp]\n", '[tcp]\ntoken = "hush-hush"\n'))
    taker.collector = Running(taker.folder)
    taker.start()
    arrives(taker, EVEN, rows_of(3))
    assert "hush-hush" not in taker.log() + json.dumps(taker.status())


@pytest.mark.slow
def test_tls(tmp_path: Path) -> None:
    """Both ways; a certificate that nobody signed whom we trust is away, and said."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("bus")
    bus = Bus(tmp_path, 1, more=f'tls {{ cert_file: "{cert}", key_file: "{key}" }}')
    try:
        bus.address = bus.address.replace("nats://", "natss://")
        bus.near.set(bus.forward())
        bus.near.add(EVEN, rows_of(3))
        bus.near.start()
        away = eventually(lambda: bus.near.status().get("away"), "away", 30)
        assert "certificate verify failed" in away
        bus.near.stop()
        bus.near.set(bus.forward(f'{FORWARD}ca = "{authority.cert}"\n'))
        bus.near.start()
        taker = bus.taker(f'ca = "{authority.cert}"')
        taker.start()
        arrives(taker, EVEN, rows_of(3))
    finally:
        bus.close()


def test_a_wrong_password(bus: Bus) -> None:
    """It is denied, on both sides, and shown nowhere."""
    bus.near.set(bus.forward().replace(PASSWORD, "not-the-password"))
    taker = bus.taker()
    taker.collector.config.write_text(taker.collector.config.read_text().replace(PASSWORD, "not-the-password"))
    bus.near.add(EVEN, rows_of(3))
    bus.near.start()
    taker.start()
    eventually(lambda: "it does not let us in" in bus.near.status().get("denied", ""), "the forward is denied", 30)
    eventually(lambda: "it does not let us in" in taker.status().get("denied", ""), "the subscription is denied", 30)
    said = bus.near.log() + taker.log() + json.dumps([bus.near.status(), taker.status()])
    assert "not-the-password" not in said


@pytest.mark.slow
@pytest.mark.parametrize("way", ["token", "creds"])
def test_other_ways_to_say_who_we_are(tmp_path: Path, way: str) -> None:
    """A token, or the file of a user whom an operator's account signed; what is wrong is denied, and shown nowhere."""
    if way == "creds":
        pytest.importorskip("nkeys", reason="creds need nkeys, which linemon[nats] brings")
        operator, other = Operator(), Operator()
        right, wrong, lets_in = operator.creds(), other.creds(), operator.lets_in()
        for name, text in (("right", right), ("wrong", wrong)):
            (tmp_path / name).write_text(text)
        secrets = [text.split("\n")[at] for text in (right, wrong) for at in (1, 5)]
        keys = {"right": f'creds = "{tmp_path}/right"\n', "wrong": f'creds = "{tmp_path}/wrong"\n'}
    else:
        secrets = ["token-hush-hush", "wrong-hush-hush"]
        lets_in = 'authorization { token: "token-hush-hush" }'
        keys = {"right": 'token = "token-hush-hush"\n', "wrong": 'token = "wrong-hush-hush"\n'}
    cluster = Cluster(tmp_path / "cluster", 1, lets_in=lets_in)
    address = f"nats://127.0.0.1:{cluster.ports[0]}/BUS"

    def forward(which: str) -> str:
        return f'[[forward]]\nname = "it"\nto = "{address}"\n{FORWARD}{keys[which]}'

    near = Near(tmp_path / "near", forward("wrong"), 1000)
    taker = Taker(tmp_path / "far", address, keys["right"])
    try:
        near.add(EVEN, rows_of(3))
        near.start()
        eventually(lambda: "it does not let us in" in near.status().get("denied", ""), "it is denied", 30)
        said = near.log() + json.dumps(near.status())
        near.stop()
        near.set(forward("right"))
        near.start()
        taker.start()
        arrives(taker, EVEN, rows_of(3))
        said += near.log() + taker.log() + json.dumps([near.status(), taker.status()])
        assert not [secret for secret in secrets if secret in said]
    finally:
        near.close()
        taker.close()
        cluster.kill_all()


def test_what_is_no_block_is_counted(bus: Bus) -> None:
    async def publish(js: JetStreamContext) -> None:
        for text in (b"", b"hello", b"#source x\n1 2\n", b'#source a\n#columns ["time"]\n#seq 0 me\n1'):
            await js.publish("BUS.0", text)

    taker = bus.taker()
    bus.near.start()
    bus.near.add(EVEN, rows_of(3))
    bus.near.until(sent=3)
    bus.cluster.do(publish)
    bus.near.add(EVEN, rows_of(3, 3))
    taker.start()
    arrives(taker, EVEN, rows_of(6))
    taker.until(refused=4, messages=6)
    assert "message 2 of partition 0 is no block of lines" in taker.log()


def test_rows_that_come_back_are_not_stored_twice(bus: Bus) -> None:
    """A linemon that takes from the bus that it fills knows its own."""
    taker = bus.taker()
    taker.close()
    config = taker.collector.config
    config.write_text(config.read_text() + bus.forward(FORWARD))
    taker.collector = Running(taker.folder)
    taker.start()
    with taker.collector.connect() as sock:
        sock.sendall(f"#source {EVEN}\n#columns time a b\n".encode())
        for i in range(20):
            at, values = rows_of(1, i)[0]
            sock.sendall(f"{at} {values['a']} {values['b']}\n".encode())
        taker.until(rows=20)
    assert same(rows_in(taker.collector.store, EVEN), rows_of(20))


STRANGE = (
    b'#source q\n#columns ["time", "v"]\n#seq 0 me\n1 2\n\n3 4\n',  # a blank line, which has no number
    b'#source q\n#columns ["time", "v"]\n#seq 0 me\n# a comment\n1 2\n',
    b"#source t\n#columns [1, 2]\n#seq 0 me\n1 2\n",
    b'#source t\n#columns ["time", "b", "z"]\n#seq 0 me\n1 2\n',  # which do not fit, and a row that does not either
    b'#source t\n#columns ["b", ["z"]]\n#seq 0 me\n1 2\n',
    b"#source t\n#columns []\n#seq 0 me\n1 2\n",
    b'#source q\n#columns ["time", "v"]\n#seq 0 me\n\xff\xfe\nabc 5\n{"v": }\n1 2 3\nmeasured v=1 "\n',
    b'#source q\n#columns ["time"\n#seq 0 me\n1\n',
    b'#source \xff\n#columns ["time"]\n#seq 0 me\n1\n',
    b"#source " + b"n" * 3000 + b'\n#columns ["time", "v"]\n#seq 0 me\n1 2\n',
    b'#source q\n#columns ["time", "v"]\n#seq 5 other\n1700000000 ' + b"1" * 100_000 + b"\n",
    b'#source q\n#columns ["time", "v"]\n#seq 999999999999999999 other\n1700000000 1\n',
)


def test_what_others_publish_holds_up_nobody(bus: Bus) -> None:
    """Whatever a message is, it is counted, and those behind it are taken."""

    async def publish(js: JetStreamContext) -> None:
        for text in STRANGE:
            await js.publish("BUS.0", text)

    taker = bus.taker()
    bus.near.start()
    bus.near.add(EVEN, rows_of(3))
    taker.start()
    arrives(taker, EVEN, rows_of(3))
    bus.cluster.do(publish)
    bus.near.add(EVEN, rows_of(3, 3))
    arrives(taker, EVEN, rows_of(6))
    assert taker.until(messages=2 + len(STRANGE))["refused"] >= len(STRANGE) - 1
    assert not {"away", "denied"} & taker.status().keys()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_docs_scale_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge, a centre that computes the row of its groups, and another that sees it: as written there."""
    text = (Path(__file__).parents[1] / "docs" / "SCALE.md").read_text()
    cluster = Cluster(tmp_path / "cluster")
    servers = ",".join(f"127.0.0.1:{port}" for port in cluster.ports)
    edge, centre, pane = (
        each.replace("bus1:4222,bus2:4222,bus3:4222", servers) for each in re.findall(r"```toml\n(.*?)```", text, re.S)
    )
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "tasks").mkdir(mode=0o700)
    (tmp_path / "one" / "tasks" / "fleet.py").write_text(re.findall(r"```python\n(.*?)```", text, re.S)[0])
    monkeypatch.setenv("BUS_PASSWORD", PASSWORD)
    sides = [
        Running(tmp_path / name, f'{blocks}[work]\nstate = "{tmp_path}/{name}-state"\n')
        for name, blocks in (
            ("edge", edge.replace('"10s"', "0.1")),
            ("one", centre + pane.replace("every 1m", "every 10s")),
            ("two", pane[pane.index("[[subscribe]]") :]),
        )
    ]
    works = []
    try:
        for side in sides:
            checked = side.run("check")
            assert (checked.returncode, checked.stderr) == (0, ""), checked
            works.append(Work(side.config).start())
        edge_side, one, two = sides

        def a_row_is_there() -> bool:
            edge_side.say("#source host1\n#columns cpu.busy_pct\n20\n#source host2\n#columns cpu.busy_pct\n40\n")
            time.sleep(0.2)  # some rows a second
            source = two.store["fleet.centre1"]
            return source.columns == ("edge1",) and bool((source.last(1).values == 30).all())

        try:
            eventually(a_row_is_there, "the row of the groups", 150)
        except AssertionError:
            raise AssertionError([each.run("status", "--json").stdout for each in sides]) from None
        assert one.store["edge1/host1"].columns == ("cpu.busy_pct",)
    finally:
        for work in works:
            work.kill()
        cluster.kill_all()
        codes = [side.stop() for side in sides]
    assert codes == [0, 0, 0]


@pytest.mark.parametrize(
    ("said", "expected"), [("", ()), ("3", (3,)), ("0-3", (0, 1, 2, 3)), ("0,2-3,9", (0, 2, 3, 9)), ("4-4", (4,))]
)
def test_partitions_that_are_taken(said: str, expected: tuple[int, ...]) -> None:
    assert partitions(said) == expected


@pytest.mark.parametrize("said", ["x", "1-", "-1", "3-1", "1,,2", "1;2", "1 - 2"])
def test_partitions_that_are_none(said: str) -> None:
    with pytest.raises(ValueError, match="take"):
        partitions(said)


@pytest.mark.parametrize(
    "text",
    [
        "nats://a",
        "nats://a/",
        "nats://a/b.c",
        "nats://a/b/c",
        "nats://a:x/B",
        "nats://a:99999/B",
        "nats://,/B",
        "nats://a/B?x=1",
    ],
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected an address such as 'nats://a:4222,b:4222/STREAM'"):
        Address.parse("to", text)


def test_addresses() -> None:
    bus = Address.parse("to", "natss://me:a%2Fb@one,two:99,[::1]:7,[::2]/B-1")
    assert [str(server) for server in bus.servers] == ["one:4222", "two:99", "[::1]:7", "[::2]:4222"]
    assert (bus.stream, bus.user, bus.password, bus.is_tls) == ("B-1", "me", "a/b", True)
