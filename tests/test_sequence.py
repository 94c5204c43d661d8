"""Numbered lines: every row exactly once and in order, whatever is cut, sent again or killed."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linemon.access import ANY_SOURCE, Tokens
from linemon.errors import LineError
from linemon.lines import session as session_module
from linemon.lines.intake import Intake
from linemon.lines.session import Session
from linemon.store import arena as arena_module
from linemon.store.reader import Store
from linemon.store.ring import SENDERS
from linemon.store.ring import fence as real_fence
from linemon.store.writer import StoreWriter
from tests.examples import examples

NOW = 1_700_000_000 * 10**9
PEER = "10.0.0.7"


class Killed(BaseException):
    """The collector's process is no more."""


class Collector:
    """A collector without sockets that can be killed between any two of the steps in which it writes."""

    def __init__(self, folder: Path, points: int = 1000) -> None:
        self.folder, self.points = folder, points
        self.start()

    def start(self) -> None:
        self.store = StoreWriter(self.folder, self.points, 20)
        self.intake = Intake(self.store)
        self.sessions: list[Session] = []

    def kill(self) -> None:
        """What is left is what the files hold."""
        os.close(self.store._lock)
        self.store._catalog.end()
        self.sessions.clear()
        self.start()

    def connect(self) -> Session:
        self.sessions.append(Session(PEER, 65536))
        return self.sessions[-1]

    def hear(self, session: Session, data: bytes) -> str:
        """One round: take, flush, answer."""
        self.intake.take(session, data, NOW)
        self.intake.flush(NOW)
        return self.answers(session)

    @staticmethod
    def answers(session: Session) -> str:
        answer = ""
        while data := session.to_send():
            answer += data.decode()
            del data[:]
        return answer

    def numbers(self, source: str = "s") -> list[float]:
        store = Store(self.folder)
        values: list[float] = store[source].since(0).values[:, 0].tolist() if source in store else []
        return values


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(tmp_path)


class Sender:
    """The other side, as DESIGN has it: it keeps what is not acknowledged, and sends from there on after each break."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: list[int] = []  # numbers of lines not acknowledged
        self.made = 0
        self.disconnect()

    def disconnect(self) -> None:
        self.session: Session | None = None
        self.unsent = b""
        self.heard = ""

    def make(self, count: int) -> None:
        self.kept += range(self.made, self.made + count)
        self.made += count

    def connect(self, session: Session) -> None:
        self.session, self.heard = session, ""
        first = self.kept[0] if self.kept else self.made
        self.unsent = f"#source s\n#columns n sender\n#seq {first} {self.name}\n".encode()
        self.next = first

    def fill(self) -> None:
        """Put lines not yet sent on the wire."""
        for number in self.kept:
            if number >= self.next:
                self.unsent += f"{number} {self.name[1:]}\n".encode()
                self.next = number + 1

    def hear(self, answers: str) -> None:
        """Answers may come cut anywhere."""
        *lines, self.heard = (self.heard + answers).split("\n")
        for line in lines:
            word, _, number = line.partition(" ")
            if word == "#ack":
                self.kept = [each for each in self.kept if each >= int(number)]
                if int(number) > self.next:
                    self.unsent += f"#seq {number} {self.name}\n".encode()
                    self.next = int(number)


def play(folder: Path, rng: random.Random, steps: int) -> tuple[Collector, list[Sender]]:
    """Two senders to one source; anything happens to them and to the collector, then all goes well for a while."""
    collector = Collector(folder, 5000)
    senders = [Sender("a1"), Sender("b2")]

    def move(sender: Sender, goes_well: bool) -> None:
        if sender.session is None or sender.session not in collector.sessions:
            sender.disconnect()
            sender.connect(collector.connect())
        sender.fill()
        size = len(sender.unsent) if goes_well else rng.randrange(len(sender.unsent) + 1)
        data, sender.unsent = sender.unsent[:size], sender.unsent[size:]
        fences = rng.randrange(1, 12) if not goes_well and rng.random() < 0.3 else 0

        def fence() -> None:
            nonlocal fences
            fences -= 1
            if fences == 0:
                raise Killed

        arena_module.fence = fence  # type: ignore[attr-defined]
        assert sender.session is not None
        try:
            answers = collector.hear(sender.session, data)
        except Killed:
            collector.kill()
            return
        finally:
            arena_module.fence = real_fence  # type: ignore[attr-defined]
        if not goes_well and rng.random() < 0.2:
            answers = answers[: rng.randrange(len(answers) + 1)]
            sender.hear(answers)
            sender.disconnect()  # the cable was pulled in the middle of an answer
        else:
            sender.hear(answers)

    for _ in range(steps):
        sender = rng.choice(senders)
        what = rng.random()
        if what < 0.5:
            sender.make(rng.choice((1, 1, 2, 5, 70)))
        if what < 0.8:
            move(sender, goes_well=False)
        elif what < 0.88 and sender.session:
            if rng.random() < 0.5:
                collector.intake.end(sender.session, NOW)  # a clean end in the middle of a line
            sender.disconnect()
        elif what < 0.93:
            collector.kill()
        elif what < 0.97:  # the sender is killed: what it kept was on its disk
            kept, made = sender.kept, sender.made
            sender.__init__(sender.name)  # type: ignore[misc]
            sender.kept, sender.made = kept, made
    for _ in range(4):
        for sender in senders:
            move(sender, goes_well=True)
    return collector, senders


@settings(max_examples=examples(300), deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60))
@pytest.mark.slow
def test_any_interleaving_ends_with_every_row_once_and_in_order(seed: int, steps: int) -> None:
    """Partial writes, cuts, resends, kills of either side between any steps: nothing lost or doubled."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    try:
        collector, senders = play(folder, random.Random(seed), steps)
        store = Store(folder)
        rows: list[list[float]] = store["s"].since(0).values.tolist() if "s" in store else []
        for sender in senders:
            mine = [int(number) for number, whose in rows if str(int(whose)) == sender.name[1:]]
            assert mine == list(range(sender.made))[-len(mine) :] if mine else sender.made == 0
            assert len(mine) == sender.made
            assert sender.kept == []
        assert collector.intake.accounts.lost == 0
        assert collector.intake.accounts.rejected.total() == 0
    finally:
        shutil.rmtree(folder)


# -- one rule after the other


def test_the_dialogue(collector: Collector) -> None:
    """The first answer comes at once, the others after each batch; duplicates are dropped, gaps counted."""
    session = collector.connect()
    assert collector.hear(session, b"#source s\n#seq 7 x\n") == "#ack 7\n"
    assert collector.hear(session, b"7\n8\n9\n") == "#ack 10\n"
    assert collector.hear(session, b"# a comment takes no number\n\n10\n") == "#ack 11\n"
    again = collector.connect()
    assert collector.hear(again, b"#source s\n#seq 9 x\n") == "#ack 11\n"
    assert collector.hear(again, b"9\n10\n11\n") == "#ack 12\n"
    assert (again.received, again.duplicate, again.stored) == (3, 2, 1)
    assert collector.hear(again, b"#seq 20 x\n20\n") == "#ack 21\n"
    assert collector.intake.accounts.lost == 8
    assert collector.numbers() == [7, 8, 9, 10, 11, 20]
    assert "duplicate=2" in collector.hear(again, b"#stats\n")


def test_a_rejected_line_takes_a_number(collector: Collector) -> None:
    """Also an over-long one, one of another kind, and one that comes before there is a ring."""
    session = collector.connect()
    assert collector.hear(session, b"#source s\n#columns a\n#seq 0 x\nnonsense 1\n") == "#ack 1\n"
    assert collector.hear(session, b"1\n2 2\n" + b"3" * 70000 + b"\nm,t=1 f=2\n4\n") == "#ack 6\n"
    assert dict(collector.intake.accounts.rejected) == {"sequence": 2, "tokens": 1, "length": 1}
    collector.kill()
    assert collector.hear(collector.connect(), b"#source s\n#seq 3 x\n") == "#ack 6\n"
    assert collector.numbers() == [1, 4]


def test_numbers_belong_to_a_source_and_a_sender(collector: Collector) -> None:
    """Another sender, another source, and no name are sequences of their own."""
    one, two, three = (collector.connect() for _ in range(3))
    assert collector.hear(one, b"#source s\n#seq 5 x\n5\n") == "#ack 6\n"
    assert collector.hear(two, b"#source s\n#seq 100 y\n100\n") == "#ack 101\n"
    assert collector.hear(three, b"#source t\n#seq 1\n1\n") == "#ack 2\n"
    assert collector.hear(one, b"#source t\n#seq 0\n") == "#ack 2\n"
    assert collector.hear(one, b"2\n") == "#ack 2\n"
    assert collector.intake.accounts.duplicate == 1
    collector.kill()
    for lines, answer in ((b"#source s\n#seq 0 x\n", 6), (b"#source s\n#seq 0 y\n", 101), (b"#source t\n#seq 0\n", 2)):
        assert collector.hear(collector.connect(), lines) == f"#ack {answer}\n"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"#seq 1 x\n", "say #source first"),
        (b"#source s\n#seq\n", "expected #seq N SENDER"),
        (b"#source s\n#seq -1 x\n", "expected #seq N SENDER"),
        (b"#source s\n#seq 1 x y\n", "expected #seq N SENDER"),
        (b"#source s\n#seq 1.5 x\n", "expected #seq N SENDER"),
        (b"#source s\n#seq 1 " + b"x" * 65 + b"\n", "expected #seq N SENDER"),
    ],
)
def test_a_wrong_seq_is_answered_and_rows_wait(collector: Collector, said: bytes, reason: str) -> None:
    """Rows after it are rejected until a right one: a sender that numbers must not be stored without numbers."""
    session = collector.connect()
    answers = collector.hear(session, b"#errors on\n" + said + b"1\n")
    assert answers.count("#error") == 2
    assert reason in answers
    assert collector.hear(session, b"#source s\n#seq 1 x\n1\n").endswith("#ack 2\n")
    assert session.stored == 1


def test_a_token_comes_first(tmp_path: Path) -> None:
    """Who may not write cannot acknowledge away what others have."""
    collector = Collector(tmp_path)
    stranger = Session(PEER, 65536, Tokens([("secret", ANY_SOURCE)]))
    assert collector.hear(stranger, b"#errors on\n#source s\n#seq 9 x\n9\n").count("#token") == 2
    assert collector.hear(stranger, b"#token secret\n#seq 3 x\n3\n") == "#ack 4\n"


def test_the_ninth_sender(collector: Collector) -> None:
    """Eight may number rows of one source at once; of those that are gone the oldest gives way."""
    sessions = [collector.connect() for _ in range(SENDERS)]
    for i, session in enumerate(sessions):
        collector.hear(session, b"#source s\n#seq 1 sender%d\n1\n" % i)
    ninth = collector.connect()
    answers = collector.hear(ninth, b"#errors on\n#source s\n#seq 1 ninth\n1\n")
    assert f"has {SENDERS} numbering senders already" in answers
    for gone in (2, 1):
        collector.sessions.remove(sessions[gone])
        del sessions[gone]
    del session
    assert collector.hear(ninth, b"2\n").endswith("#ack 3\n")
    assert ninth.stored == 1
    again = collector.connect()
    assert collector.hear(again, b"#source s\n#seq 1 sender2\n") == "#ack 2\n"
    assert collector.hear(collector.connect(), b"#source s\n#seq 1 sender1\n") == "#ack 1\n"


def test_a_source_that_gets_columns_keeps_its_numbers(collector: Collector) -> None:
    """Its ring moves, with the numbers of all its senders."""
    one, two = collector.connect(), collector.connect()
    collector.hear(one, b"#source s\n#columns a\n#seq 1 x\n1\n2\n")
    collector.hear(two, b"#source s\n#columns a b\n#seq 1 y\n1 1\n")
    assert collector.hear(one, b"3\n") == "#ack 4\n"
    collector.kill()
    assert collector.hear(collector.connect(), b"#source s\n#seq 1 x\n") == "#ack 4\n"
    assert collector.hear(collector.connect(), b"#source s\n#seq 1 y\n") == "#ack 2\n"


def test_one_sender_on_two_connections(collector: Collector) -> None:
    """The old connection of a half-open link still has bytes on the way: each line counts once."""
    old, new = collector.connect(), collector.connect()
    collector.hear(old, b"#source s\n#seq 1 x\n1\n")
    collector.hear(new, b"#source s\n#seq 2 x\n")
    collector.intake.take(new, b"2\n3\n", NOW)
    collector.intake.take(old, b"2\n3\n4\n", NOW)
    collector.intake.flush(NOW)
    assert collector.numbers() == [1, 2, 3, 4]
    assert (old.duplicate, new.duplicate) in ((2, 0), (0, 2))


def test_a_sender_that_never_reads_its_answers(collector: Collector) -> None:
    """What waits for it is one acknowledgement, the newest once it reads again."""
    session = collector.connect()
    collector.hear(session, b"#source s\n#seq 1 x\n")
    for i in range(1, 2000):
        collector.intake.take(session, b"%d\n" % i, NOW)
        collector.intake.flush(NOW)
        assert len(session.to_send()) < 20
    assert collector.answers(session) == "#ack 2\n#ack 2000\n"


def test_without_room_the_sender_keeps_its_lines(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for which the disk has no room is not acknowledged: the connection ends, and the sender sends it again."""
    session = collector.connect()
    collector.hear(session, b"#source s\n#seq 1 x\n1\n2\n")
    is_full = True

    def make_room(self: arena_module.ArenaWriter, slot: int, count: int) -> None:
        if is_full and count:
            raise LineError("store_full", "no room")

    monkeypatch.setattr(arena_module.ArenaWriter, "make_room", make_room)
    monkeypatch.setattr(
        arena_module.ArenaWriter, "append", lambda self, slots, block, acks=(): make_room(self, 0, len(block))
    )
    collector.hear(session, b"3\n4\n")
    assert session.is_over
    monkeypatch.undo()
    assert collector.hear(collector.connect(), b"#source s\n#seq 3 x\n3\n4\n") == "#ack 5\n"
    assert collector.numbers() == [1, 2, 3, 4]


def full(*_: object) -> None:
    raise LineError("store_full", "no room")


@pytest.mark.parametrize(
    "said", [b"#source new\n#columns a b c\n", b"#source s\n#columns a b\n"], ids=["source", "column"]
)
def test_without_room_for_a_ring_the_sender_keeps_its_lines(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """Also the first row of a source, or of more columns, is held back where its ring cannot be made."""
    collector.hear(collector.connect(), b"#source s\n#columns a\n#seq 1 x\n7\n")
    session = collector.connect()
    row = b"1 1 1\n" if b"a b c" in said else b"1 1\n"
    collector.hear(session, b"#errors on\n" + said + b"#seq 5 y\n")
    monkeypatch.setattr(StoreWriter, "_room_for", full)
    assert collector.hear(session, row + row) == "#error 5 store_full: no room\n#ack 5\n"
    assert session.is_over
    assert (session.received, dict(collector.intake.accounts.held_back)) == (0, {"store_full": 1})
    monkeypatch.undo()
    assert collector.hear(collector.connect(), said + b"#seq 5 y\n" + row + row) == "#ack 7\n"


def test_beyond_max_sources_the_sender_keeps_its_lines(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """What is refused for a while is not acknowledged; the log names the source, once a minute."""
    collector.store.max_sources = 1
    collector.hear(collector.connect(), b"m 1\n")
    for _ in range(5):
        session = collector.connect()
        assert collector.hear(session, b"#source late\n#seq 5 x\n5\n6\n") == "#ack 5\n"
        assert session.is_over
    assert [line for line in caplog.messages if "'late'" in line and "max_sources" in line] == caplog.messages
    assert len(caplog.messages) == 1
    collector.store.max_sources = 2
    assert collector.hear(collector.connect(), b"#source late\n#seq 5 x\n5\n6\n") == "#ack 7\n"
    assert collector.numbers("late") == [5, 6]


def test_another_token_on_a_numbered_connection(tmp_path: Path) -> None:
    """One that does not open the source: its lines wait until one does."""
    collector = Collector(tmp_path)
    tokens = Tokens([("all", ANY_SOURCE), ("rooms", ("room*",))])
    session = Session(PEER, 65536, tokens)
    assert collector.hear(session, b"#token all\n#source s\n#seq 1 x\n1\n#token rooms\n2\n3\n") == "#ack 2\n"
    assert session.is_over
    assert collector.hear(Session(PEER, 65536, tokens), b"#token all\n#source s\n#seq 2 x\n2\n3\n") == "#ack 4\n"
    assert collector.numbers() == [1, 2, 3]


def test_nothing_but_duplicates_is_acknowledged(collector: Collector) -> None:
    """A sender that did not hear the answer, or did not heed it, is told again, once a read."""
    session = collector.connect()
    collector.hear(session, b"#source s\n#seq 1 x\n1\n2\n3\n")
    again = collector.connect()
    assert collector.hear(again, b"#source s\n#seq 1 x\n") == "#ack 4\n"
    assert collector.hear(again, b"1\n2\n") == "#ack 4\n"
    assert collector.hear(again, b"3\n4\n") == "#ack 5\n"


# -- acknowledgements that say whose they are


def test_acks_named(collector: Collector) -> None:
    """One connection, many sources: each that moved is told, with its sender and source; blanks in its name stay."""
    session = collector.connect()
    said = b"#acks named\n#source room 1\n#columns a\n#seq 1 x\n1\n#source b\n#columns a b\n#seq 9 -\n9 9\n"
    assert collector.hear(session, said) == f"#acks {collector.store.id}\n#ack 2 x room 1\n#ack 10 - b\n"
    assert collector.hear(session, b"10 10\n#source c\n1\n") == "#ack 11 - b\n"
    assert collector.hear(collector.connect(), b"#source b\n#seq 1\n") == "#ack 11\n"  # - is the empty sender


def test_a_source_alone_goes_on_where_it_was(collector: Collector) -> None:
    """After #acks named a connection remembers its sources, their columns and numbers."""
    session = collector.connect()
    collector.hear(session, b"#acks named\n#source a\n#columns time x y\n#seq 1 s\n-1 1 2\n#source b\n#seq 5 s\n7\n")
    answer = collector.hear(session, b"#source a\n-1 3 4\n-1 5 6\n#source b\n8\n#source a\n-1 7 8\n")
    assert answer == "#ack 5 s a\n#ack 7 s b\n"
    assert collector.numbers("a") == [1, 3, 5, 7]
    assert collector.numbers("b") == [7, 8]
    assert Store(collector.folder)["a"].columns == ("x", "y")
    assert collector.hear(session, b"#source a\n#columns x y\n9 9\n") == "#ack 6 s a\n"  # said anew
    unnamed = collector.connect()
    collector.hear(unnamed, b"#source a\n#seq 6 s\n#source b\n#source a\n")
    assert collector.hear(unnamed, b"1 2\n") == ""  # not numbered until #seq says so again


def test_sources_that_are_asked_for_first(collector: Collector) -> None:
    """After #acks named each has the columns that were said for it, also where no row came before the next source."""
    session = collector.connect()
    collector.hear(session, b"#acks named\n#source a\n#columns x y\n#seq 1 s\n#source b\n#columns z\n#seq 1 s\n")
    assert collector.hear(session, b"#source a\n1 2\n#source b\n3\n") == "#ack 2 s a\n#ack 2 s b\n"
    assert (collector.numbers("a"), collector.numbers("b")) == ([1], [3])


def test_one_full_source_holds_up_no_other(collector: Collector) -> None:
    """After #acks named its lines are not received until its next #seq; the connection goes on."""
    collector.store.max_sources = 1
    session = collector.connect()
    answer = collector.hear(
        session,
        b"#errors on\n#acks named\n#source a\n#columns x\n#seq 1 s\n1\n"
        b"#source b\n#columns x\n#seq 1 s\n1\n2\n" + b"9" * 70000 + b"\n#source a\n2\n#source b\n3\n",
    )
    full = "#error 10 max_sources: source 'b' would be one more than max_sources = 1"
    assert answer == f"#acks {collector.store.id}\n{full}\n#ack 3 s a\n#ack 1 s b\n"
    assert (session.is_over, session.received, session.stored) == (False, 2, 2)
    collector.store.max_sources = 2
    assert collector.hear(session, b"4\n#source a\n3\n") == "#ack 4 s a\n"  # b waits still
    assert collector.hear(session, b"#source b\n#seq 1 s\n1\n2\n") == "#ack 3 s b\n"
    assert collector.numbers("b") == [1, 2]


def test_columns_in_another_order_are_numbered_too(collector: Collector) -> None:
    """Also where the connection goes to another source meanwhile, and comes back by #source alone."""
    collector.hear(collector.connect(), b"#source s\n#columns a b\n1 2\n")
    session = collector.connect()
    answer = collector.hear(session, b"#acks named\n#source s\n#columns b a\n#seq 7 x\n4 3\n6 5\n")
    assert answer.endswith("\n#ack 9 x s\n")
    collector.hear(session, b"#source t\n#columns b a\n#seq 1 x\n1 2\n")
    assert collector.hear(session, b"#source s\n8 7\n") == "#ack 10 x s\n"
    assert collector.numbers("s") == [1, 3, 5, 7]
    assert collector.numbers("t") == [1]


@pytest.mark.slow
def test_owed_acks_are_never_dropped(tmp_path: Path) -> None:
    """However many sources move while nobody reads: each is told in the end, and what waits stays bounded."""
    collector = Collector(tmp_path, points=4)
    collector.store.max_sources = 5000
    session = collector.connect()
    collector.intake.take(session, b"#acks named\n", NOW)
    for i in range(3000):
        collector.intake.take(session, b"#source a source of some length %d\n#seq 1 s\n1\n" % i, NOW)
        if i % 100 == 0:
            collector.intake.flush(NOW)
            assert len(session.to_send()) < (1 << 16) + 2000
    collector.intake.flush(NOW)
    told = dict.fromkeys(line.split(" ", 3)[3] for line in collector.answers(session).splitlines() if " 2 s " in line)
    assert len(told) == 3000


def test_a_connection_remembers_so_many_sources(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused."""
    monkeypatch.setattr(session_module, "MAX_PLACES", 2)
    session = collector.connect()
    collector.hear(session, b"#acks named\n#errors on\n#source a\n#seq 1\n#source b\n#seq 1\n#source c\n")
    assert "#error 8 sequence: a connection numbers the lines of at most 2 sources" in collector.hear(
        session, b"#seq 1\n"
    )
    assert collector.hear(session, b"#source a\n1\n") == "#ack 2 - a\n"


# -- the pace of a backlog


def backlog(start_s: float, count: int, step_s: float) -> bytes:
    base = NOW // 10**9 - start_s
    return b"".join(b"%.6f %d\n" % (base + i * step_s, i) for i in range(count))


def taken_in_time(collector: Collector, session: Session, data: bytes, seconds: float) -> list[int]:
    """How many rows the ring has after each 40 ms in which the session may be taken on."""
    heads = []
    now = NOW
    collector.intake.take(session, data, now)
    for _ in range(int(seconds / 0.04)):
        collector.intake.flush(now)
        heads.append(len(collector.numbers()) and Store(collector.folder)["s"].rows)
        now += 40_000_000
        if session.held and session.resume <= now:
            collector.intake.resume(session, now)
    return heads


@pytest.mark.parametrize(
    ("points", "step_s", "rate"),
    [(2000, 1.0, 500), (40, 1.0, 100), (400, 1 / 300, 600), (400, 0.0, 100)],
    ids=["a quarter of the ring", "a hundred", "twice the stamps", "equal stamps"],
)
def test_the_pace_of_a_backlog(tmp_path: Path, points: int, step_s: float, rate: int) -> None:
    """In no second are more rows taken than readers of the ring can follow, also of one read; and not much fewer."""
    collector = Collector(tmp_path, points)
    session = collector.connect()
    collector.hear(session, b"#source s\n#columns time n\n#seq 0 x\n")
    heads = taken_in_time(collector, session, backlog(5000, 4 * rate, step_s), 3.0)
    per_second = [after - before for before, after in zip([0] * 25 + heads, heads, strict=False)]
    assert max(per_second) <= rate
    assert heads[-1] >= 2 * rate
    assert session.received == heads[-1]  # what waits is not received yet
    assert collector.answers(session) == f"#ack {heads[-1]}\n"


def test_live_rows_and_rows_without_a_time_have_no_pace(collector: Collector) -> None:
    """They are taken as they come; so are those of who does not number them, and of young rows."""
    for said, data in (
        (b"#columns time n\n#seq 0 x\n", backlog(5, 900, 0.001)),
        (b"#columns n\n#seq 0 y\n", b"1\n" * 900),
        (b"#columns time n\n", backlog(5000, 900, 1.0)),
    ):
        session = collector.connect()
        collector.hear(session, b"#source s%d\n" % len(said) + said + data)
        assert (session.stored, session.held) == (900, [])


def test_all_senders_of_a_source_share_its_pace(tmp_path: Path) -> None:
    """Two spools of one source together are no faster than one."""
    collector = Collector(tmp_path, 400)
    for name in (b"x", b"y"):
        session = collector.connect()
        collector.hear(session, b"#source s\n#columns time n\n#seq 0 " + name + b"\n" + backlog(5000, 300, 1.0))
    assert Store(tmp_path)["s"].rows == 25  # of a quarter of a second


def test_a_backlog_of_several_sources_on_one_connection(tmp_path: Path) -> None:
    """Directives among the rows keep their place, every row is stored once, in order."""
    collector = Collector(tmp_path, 400)
    session = collector.connect()
    data = b"#acks named\n"
    for start in (0, 60):
        for name in ("s", "t"):
            data += f"#source {name}\n#columns time n\n#seq {start} x\n".encode()
            data += b"".join(b"%d %d\n" % (NOW // 10**9 - 5000 + i, i) for i in range(start, start + 60))
    taken_in_time(collector, session, data, 4.0)
    for name in ("s", "t"):
        assert collector.numbers(name) == list(range(120))


# -- errors that nobody foresaw


def test_an_error_costs_only_the_connection_whose_lines_meet_it(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Blocks of others that wait with it are stored; lost lines are counted as dropped, numbered ones come again."""
    good, bad, numbered = (collector.connect() for _ in range(3))
    collector.hear(good, b"#source good\n1 1\n")
    collector.hear(bad, b"#source bad\n1 1\n")
    collector.hear(numbered, b"#source bad too\n#seq 1 x\n1 1\n")
    real, failing = arena_module.ArenaWriter.make_room, (bad.slot, numbered.slot)

    def make_room(self: arena_module.ArenaWriter, slot: int, count: int) -> None:
        if count and slot in failing:
            raise OSError(5, "Input/output error")
        real(self, slot, count)

    monkeypatch.setattr(arena_module.ArenaWriter, "make_room", make_room)

    def make_rooms(self: arena_module.ArenaWriter, owners: list[int], heads: object, counts: object) -> None:
        for owner in owners:
            make_room(self, int(owner), 1)

    monkeypatch.setattr(arena_module.ArenaWriter, "_make_rooms", make_rooms)
    for session in (bad, good, numbered):
        collector.intake.take(session, b"2 2\n3 3\n", NOW)
    collector.intake.flush(NOW)
    assert (good.is_over, bad.is_over, numbered.is_over) == (False, True, True)
    assert collector.numbers("good") == [1, 2, 3]
    accounts = collector.intake.accounts
    assert (dict(accounts.dropped), accounts.failed) == ({"error": 2}, 2)
    assert accounts.received == accounts.stored + accounts.dropped.total() == 7
    assert len(caplog.messages) == 1
    monkeypatch.undo()
    assert collector.hear(collector.connect(), b"#source bad too\n#seq 2 x\n2 2\n3 3\n") == "#ack 4\n"
    assert collector.numbers("bad too") == [1, 2, 3]


@pytest.fixture(autouse=True)
def _fence() -> Iterator[None]:
    yield
    assert arena_module.fence is real_fence  # type: ignore[attr-defined]


def test_lines_lost_before_the_first_row_are_counted(collector: Collector) -> None:
    """A sender that says a higher number before its ring is there has lost lines all the same."""
    session = collector.connect()
    assert collector.hear(session, b"#source s\n#seq 1 X\n") == "#ack 1\n"
    assert collector.hear(session, b"#seq 1002 X\n") == "#ack 1002\n"
    assert collector.intake.accounts.lost == 1001
