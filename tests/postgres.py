"""A PostgreSQL server of the tests' own: in a folder of its own, on a free port, as a user without rights."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.running import DEADLINE_S, eventually, free_port

STILL_THERE = "pre-existing shared memory block"
USER = "nobody"  # whom it runs as where the tests run as root, whom it does not let


def program(name: str) -> str | None:
    """Where a program of the server is; Debian has them aside, a folder a version."""
    asides = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(asides[-1]) if asides else None)


class Server:
    """It starts at once. `url` is of a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, 0
        initdb = program("initdb")
        if not initdb:
            pytest.skip("this system has no package postgresql")
        if os.getuid() == 0:
            shutil.chown(folder, USER)
        self._run(
            initdb, "-D", str(folder / "data"), "-U", "tester", "-E", "UTF8", "--locale=C", "-A", "trust", "--no-sync"
        )
        self.port = 0
        self.start()

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._user())

    def _user(self) -> dict[str, Any]:
        if os.getuid():
            return {}
        user = pwd.getpwnam(USER)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def start(self) -> None:
        """On the port that it had, or else one that is free."""
        if not self.port:
            self.port = free_port()
        postgres = program("postgres")
        assert postgres
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "64MB",
            "max_connections": 40, "max_wal_size": "256MB", "fsync": "off",  # the machine does not lose power
        }  # fmt: skip
        options = [option for key, value in settings.items() for option in ("-c", f"{key}={value}")]
        command = [postgres, "-D", str(self.folder / "data"), *options]

        def begin() -> None:
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._user())

        def answers() -> bool:
            if self.process.poll() is not None:  # for a moment after a kill, its memory is still in use
                said = (self.folder / "log").read_text()
                assert STILL_THERE in said[-1000:], said
                time.sleep(0.1)
                begin()
                return False
            try:
                self.query("postgres", "SELECT 1")
            except psycopg.OperationalError:
                return False
            return True

        begin()
        eventually(answers, "the server answers", 60)

    def query(self, database: str, *statements: str) -> list[tuple[object, ...]]:
        """What the last of them answers."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found: list[tuple[object, ...]] = []
            for statement in statements:
                cursor = connection.execute(statement.encode())
                found = cursor.fetchall() if cursor.description else []
            return found

    def url(self, database: str) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The address of a new one."""
        self._count += 1
        self.query("postgres", f"CREATE DATABASE archive{self._count} TEMPLATE template0")
        return self.url(f"archive{self._count}")

    def kill(self) -> None:
        """As where its machine loses power: it and its children, at once."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        for child in children:
            try:
                os.kill(int(child), signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(DEADLINE_S)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(DEADLINE_S)


@contextmanager
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="linemon-postgres-", ignore_cleanup_errors=True) as folder:
        running = Server(Path(folder))
        try:
            yield running
        finally:
            running.stop()
