"""README's "Add a second host", done: two hosts that are network namespaces, one cable between them, the .pyz."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from linemon.store.reader import Store
from tests.running import archive, command, eventually

HERE, THERE = "10.254.254.1", "10.254.254.2"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Cable:
    """Two namespaces and what joins them."""

    def __init__(self) -> None:
        self.near, self.far = f"lm{os.getpid()}a", f"lm{os.getpid()}b"
        ip("netns", "add", self.near)
        ip("netns", "add", self.far)
        ip("-n", self.near, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self.far)
        for space, address in ((self.near, HERE), (self.far, THERE)):
            ip("-n", space, "addr", "add", f"{address}/30", "dev", "cable")
            for link in ("lo", "cable"):
                ip("-n", space, "link", "set", link, "up")

    def pull(self) -> None:
        ip("-n", self.near, "link", "set", "cable", "down")

    def plug_in(self) -> None:
        ip("-n", self.near, "link", "set", "cable", "up")

    def remove(self) -> None:
        for space in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", space], capture_output=True)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip(
            "network namespaces need root and the program ip; tests/faults/test_chaos.py cuts a link of our own"
        )
    made = Cable()
    yield made
    made.remove()


def test_a_second_host(cable: Cable, tmp_path: Path) -> None:
    """It appears under its own name; the minute in which the cable was pulled is there afterwards, too."""
    config = tmp_path / "linemon.toml"
    config.write_text(
        f'[store]\npath = "{tmp_path}/store"\n[tcp]\nlisten = "0.0.0.0:4000"\ntoken = "${{LINEMON_TOKEN}}"\n'
        '[[tap]]\nlisten = "127.0.0.1:0"\n'
    )
    agent_file = archive(tmp_path / "other")
    environment = {**os.environ, "LINEMON_TOKEN": "choose-one"}
    collect = ["ip", "netns", "exec", cable.near, *command("collect", "--config", str(config))]
    start = f"hostname other && exec {sys.executable} {agent_file} --to {HERE}:4000 --interval 0.1"
    agent = ["ip", "netns", "exec", cable.far, "unshare", "--uts", "sh", "-c", start]
    store = Store(tmp_path / "store")
    processes: list[subprocess.Popen[bytes]] = []
    with open(tmp_path / "log", "wb") as log:
        try:
            processes += [
                subprocess.Popen(each, env=environment, cwd=tmp_path, stderr=log) for each in (collect, agent)
            ]
            eventually(lambda: "other" in store, "the host's source")
            source = store["other"]
            eventually(lambda: source.rows > 10, "rows")
            cable.pull()
            before = source.rows
            time.sleep(3.0)
            cable.plug_in()
            eventually(lambda: source.rows > before + 35, "the rows of the outage", 60.0)
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()
    gaps = np.diff(source.since(0).time).astype(np.int64) / 1e9
    assert gaps.min() > 0
    assert gaps.max() < 1.0, (tmp_path / "log").read_text()
