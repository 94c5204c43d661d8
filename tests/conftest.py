"""Collectors for the tests, stopped when the test ends; and what no test may leave behind."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import stat
import sys
import threading
from bisect import bisect
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import hypothesis
import pytest

from tests import workers
from tests.archives import reads as reads
from tests.examples import examples
from tests.forked import AGENTS, NURSERY
from tests.postgres import Server, server
from tests.running import Running, eventually

# Each module is compiled once, not in each of the processes that the tests start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What is imported and collected stays: to look through it for garbage would cost each worker a second, and tests more.
gc.disable()

# What a shell starts in the background ignores SIGINT, and so would all that it starts: the tests end some by it.
signal.signal(signal.SIGINT, signal.default_int_handler)


# No deadline: a busy machine takes longer now and then.
hypothesis.settings.register_profile("any machine", deadline=None, max_examples=examples(100))
hypothesis.settings.load_profile("any machine")

SLOW_ROOMS = ("browser", "faults", "programs")  # they start browsers, machines, other people's programs, whole linemons
SLOW_FIXTURES = {"steps", "bus", "house", "postgres"}  # of megabytes; a bus, a broker and a database of other people's

FAILED = pytest.StashKey[bool]()
FOLDERS = count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--workers", type=int, default=0, help="run the tests in so many processes, not in this one")


def pytest_collection(session: pytest.Session) -> None:
    if session.config.option.workers:
        for nursery in (NURSERY, AGENTS):
            nursery.prepare()  # one for all, while tests are collected


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is slow is told by where it lies, or what it uses."""
    for item in items:
        if item.path.parent.name in SLOW_ROOMS or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def lots(items: list[pytest.Item]) -> list[list[pytest.Item]]:
    """Each test alone, in order; pages come first, for three workers, a browser each: more would starve."""
    found: dict[str, list[pytest.Item]] = {}
    for number, item in enumerate(items):
        lot = str(number)
        if item.path.parent.name == "browser":
            lot = f"page {bisect('dn', item.path.stem.removeprefix('test_'))}"
        elif item.get_closest_marker("together"):
            lot = item.path.name
        found.setdefault(lot, []).append(item)
    return sorted(found.values(), key=lambda lot: lot[0].path.parent.name != "browser")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    options = session.config.option
    if not options.workers or options.collectonly or session.testsfailed:
        return None  # pytest goes on by itself
    workers.run(session, lots(session.items), options.workers)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed  # type: ignore[attr-defined]
    return report


def held() -> set[object]:
    """This process's threads, sockets and pipes.

    Not the files of stores and spools: tests leave these as a process that is killed does; many are about that. Nor
    what libraries keep for good: polars its epoll, Playwright's loop a pool of threads.
    """
    found: set[object] = {each for each in threading.enumerate() if not each.name.startswith("asyncio_")}
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            what = os.fstat(number)
        except OSError:  # the one that listed them
            continue
        if stat.S_ISSOCK(what.st_mode) or stat.S_ISFIFO(what.st_mode):
            found.add((number, what.st_ino))
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves a thread, a socket or a pipe; what a module shares was there before. Tasks: `Running.stop`."""
    before = held()
    yield
    if request.node.stash.get(FAILED, False) or held() <= before:
        return  # where it failed, the report holds on to what the test had

    def left() -> set[object]:
        gc.collect()
        return held() - before

    with suppress(AssertionError):
        eventually(lambda: not left(), "an end of threads that end now", 2.0)
    assert not left()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the test's own, which is removed at once where it passed: else its stores would be written to disk.

    pytest would look for a free name among those of all tests, and remove gigabytes at the end of a later run.
    """
    name = re.sub(r"\W", "_", request.node.name)[:30]
    folder: Path = tmp_path_factory.getbasetemp() / f"{name}{next(FOLDERS)}"
    folder.mkdir()
    yield folder
    if not request.node.stash.get(FAILED, False):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server for all tests of this process; each has databases, or schemas, of its own."""
    with server() as running:
        yield running


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    assert running.stop() == 0, (tmp_path / "log").read_text()


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start collectors with settings of one's own, each in its folder."""
    started: list[Running] = []

    def start(settings: str = "", name: str = "one", open_files: int = 0, fresh: bool = False) -> Running:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        started.append(Running(folder, settings, open_files, fresh=fresh))
        return started[-1]

    yield start
    for each in started:
        each.stop()
