"""Lines by a Unix socket."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from linemon.config import load
from linemon.errors import ConfigError
from tests.running import Running, eventually


def running_at(folder: Path, path: Path, more: str = "") -> Running:
    return Running(folder, f'[unix]\npath = "{path}"\n{more}')


def say(path: Path, text: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(text)
        sock.shutdown(socket.SHUT_WR)
        return sock.makefile("rb").read()


def test_lines_as_by_tcp(tmp_path: Path) -> None:
    """Directives, answers, sequences; who writes is the user."""
    path = tmp_path / "lines"
    running = running_at(tmp_path / "one", path)
    try:
        said = say(path, b"#errors on\n1 2\nx y\n#source s\n#seq 7 me\n5\n#stats\n").decode()
        assert "#error 3 " in said
        assert "#ack 8\n" in said
        assert "#stats received=3 stored=2 rejected=1 duplicate=0 dropped=0\n" in said
        eventually(lambda: running.status()["stored"] == 2, "the rows")
        assert f"unix:{os.getuid()}/2" in running.store
        assert running.status()["bad_lines"][-1]["peer"] == f"unix:{os.getuid()}"
        assert running.status()["unix"] == str(path)
    finally:
        assert running.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize(("who", "mode"), [("owner", 0o600), ("group", 0o660), ("everyone", 0o666)])
def test_who_may_write(tmp_path: Path, who: str, mode: int) -> None:
    """The mode of the socket's file, whatever the umask."""
    path = tmp_path / "lines"
    running = running_at(tmp_path / "one", path, f'writable_by = "{who}"\n')
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert running.stop() == 0


def test_a_socket_that_was_left_is_replaced(tmp_path: Path) -> None:
    """As a killed collector leaves it; one that is served, and what is no socket, are left alone."""
    path = tmp_path / "lines"
    first = running_at(tmp_path / "one", path)
    first.process.kill()
    first.stop()
    assert path.is_socket()
    second = running_at(tmp_path / "one", path)
    try:
        say(path, b"a 1\n")
        eventually(lambda: "a" in second.store, "a line")
        with pytest.raises(AssertionError, match=r"cannot listen on .*lines: Address already in use"):
            running_at(tmp_path / "two", path)
    finally:
        assert second.stop() == 0
    path.write_text("mine")
    with pytest.raises(AssertionError, match=r"cannot listen on .*lines: Address already in use"):
        running_at(tmp_path / "three", path)
    assert path.read_text() == "mine"


def test_anothers_socket_is_left(tmp_path: Path) -> None:
    """Who was put in its place keeps it."""
    path = tmp_path / "lines"
    running = running_at(tmp_path / "one", path)
    path.unlink()
    path.write_text("mine")
    assert running.stop() == 0
    assert path.read_text() == "mine"


def test_wrong_settings(tmp_path: Path) -> None:
    file = tmp_path / "linemon.toml"
    for said, says in (
        (f'path = "{"x" * 108}"', "a socket's path has at most 107 bytes"),
        ('writable_by = "root"', "expected one of: owner, group, everyone"),
    ):
        file.write_text(f"[unix]\n{said}\n")
        with pytest.raises(ConfigError, match=says):
            load(file)
