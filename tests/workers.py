"""Tests in several processes, which are forked once all is imported and collected (docs/decisions/0094)."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection, Pipe, wait

import pytest
from _pytest.runner import pytest_sessionfinish as tear_down

Lot = Sequence[pytest.Item]
Location = tuple[str, int | None, str]
NUMBER = 2  # bytes of a lot's number in the queue


class Worker:
    """A process that takes lots and says what pytest says of their tests."""

    def __init__(self, session: pytest.Session, lots: Sequence[Lot], queue: int, number: int) -> None:
        self._session = session
        self._at: tuple[str, Location] | None = None  # the test that it is at
        self.says, theirs = Pipe(duplex=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy has threads, which bear it
            self._pid = os.fork()
        if not self._pid:
            self.says.close()
            _be(session, lots, queue, theirs, number)
        theirs.close()

    def hear(self) -> None:
        """What it says; EOFError: it has ended, and had nothing to say any more."""
        hook = self._session.config.hook
        name, said = self.says.recv()
        if name == "start":
            self._at = said
        elif name == "report":
            report = hook.pytest_report_from_serializable(config=self._session.config, data=said)
            hook.pytest_runtest_logreport(report=report)
        elif name == "finish":
            nodeid, location = said
            hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)
            self._at = None
        elif name == "warning":
            hook.pytest_warning_recorded.call_historic(kwargs=said)
        else:
            raise RuntimeError(said)

    def end(self) -> None:
        """One that dies is a fault of the test that it was at."""
        self.says.close()
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if self._at:
            died = pytest.TestReport(*self._at, {}, "failed", f"its process ended with exit code {code}", "call")
            self._session.config.hook.pytest_runtest_logreport(report=died)
        if self._at or code:
            self._session.shouldfail = f"a worker ended with exit code {code}"


def run(session: pytest.Session, lots: Sequence[Lot], count: int) -> None:
    """Run all lots, each whole and by one of so many workers. Whoever is free takes the next."""
    queue, full = os.pipe()
    os.write(full, b"".join(number.to_bytes(NUMBER, "big") for number in range(len(lots))))
    os.close(full)
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined] # one for all
    session.config.pluginmanager.getplugin("terminalreporter").showfspath = False
    workers = [Worker(session, lots, queue, number) for number in range(count)]
    running = {worker.says: worker for worker in workers}
    try:
        while running:
            for each in wait(list(running)):
                assert isinstance(each, Connection)
                try:
                    running[each].hear()
                except EOFError:
                    running.pop(each).end()
            if session.shouldfail or session.shouldstop:
                _empty(queue)
    finally:
        _empty(queue)
        for worker in running.values():
            worker.end()
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


def _empty(queue: int) -> None:
    """Who is at a test ends it, and finds no other."""
    while os.read(queue, 1 << 16):
        pass


def _be(session: pytest.Session, lots: Sequence[Lot], queue: int, to: Connection, number: int) -> None:
    """Be a worker; never returns."""
    code = 1
    try:
        _work(session, lots, queue, to, number)
        code = 0
    except KeyboardInterrupt:
        pass  # which all of them get
    except BaseException:
        with suppress(OSError):  # nobody listens any more
            to.send(("error", traceback.format_exc()))
    finally:
        os._exit(code)


def _work(session: pytest.Session, lots: Sequence[Lot], queue: int, to: Connection, number: int) -> None:
    config = session.config
    plugins = config.pluginmanager
    capture = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()  # into files of its own
    plugins.getplugin("terminalreporter")._tw._file = open(os.devnull, "w")  # noqa: SIM115 # the terminal is not its own
    plugins.register(Teller(config, to))
    temporary = config._tmp_path_factory  # type: ignore[attr-defined]
    temporary._basetemp = temporary.getbasetemp() / f"worker{number}"
    temporary._basetemp.mkdir()

    def items() -> Iterator[pytest.Item | None]:
        while taken := os.read(queue, NUMBER):
            yield from lots[int.from_bytes(taken, "big")]
        yield None

    try:
        for item, following in pairwise(items()):
            assert item
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail or session.shouldstop:
                break
    finally:
        tear_down(session)


class Teller:
    """Says what pytest says of the tests to the process that has the terminal."""

    def __init__(self, config: pytest.Config, to: Connection) -> None:
        self._config = config
        self._to = to

    def pytest_runtest_logstart(self, nodeid: str, location: Location) -> None:
        self._to.send(("start", (nodeid, location)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._to.send(("report", data))

    def pytest_runtest_logfinish(self, nodeid: str, location: Location) -> None:
        self._to.send(("finish", (nodeid, location)))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: object
    ) -> None:
        was = warning_message  # and what it is about may be nothing to send
        message = warnings.WarningMessage(str(was.message), was.category, was.filename, was.lineno)
        said = {"warning_message": message, "when": when, "nodeid": nodeid, "location": location}
        self._to.send(("warning", said))
