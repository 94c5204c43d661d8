"""The agent on this machine's real kernel: interfaces that contain each other, a file system that never answers."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
APART = ["unshare", "--net", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]

BRIDGE = """
    import json, socket, subprocess, sys
    import psutil
    from agent.probes import Probes

    def ip(words):
        subprocess.run(["ip", *words.split()], check=True)

    far = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    far.stdout.readline()
    inside = ["nsenter", f"--net=/proc/{far.pid}/ns/net"]
    ip(f"link add eth1 type veth peer name far netns {far.pid}")
    ip("link add br0 type bridge")
    ip("link set eth1 master br0")
    ip("addr add 10.254.253.1/24 dev br0")
    for link in ("lo", "eth1", "br0"):
        ip(f"link set {link} up")
    subprocess.run([*inside, "ip", "link", "set", "far", "up"], check=True)
    subprocess.run([*inside, "ip", "addr", "add", "10.254.253.2/24", "dev", "far"], check=True)
    port = socket.create_server(("10.254.253.1", 0))
    probes = Probes(psutil, print)
    probes.net(0.0)
    send = "import socket as s, sys; s.create_connection(('10.254.253.1', int(sys.argv[1]))).sendall(bytes(20_000_000))"
    sender = subprocess.Popen([*inside, sys.executable, "-c", send, str(port.getsockname()[1])])
    came = port.accept()[0]
    while came.recv(1 << 20):
        pass
    print(json.dumps(probes.net(1.0)))
    sender.wait()
    far.kill()
"""


def test_a_bridge_and_its_port_are_one_way_in() -> None:
    """20,000,000 bytes that come through a bridge's only port are counted once; both have their columns."""
    script = ["sh", "-c", 'mount -t sysfs sysfs /sys && exec "$@"', "sh"]
    bridge = ["ip", "link", "add", "name", "br0", "type", "bridge"]
    if subprocess.run([*APART, *script, *bridge], capture_output=True).returncode:
        pytest.skip("this machine does not let us make a namespace with a bridge")
    done = subprocess.run(
        [*APART, *script, sys.executable, "-c", textwrap.dedent(BRIDGE)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    for name in ("net.rx_bytes_per_s", "net.eth1.rx_bytes_per_s", "net.br0.rx_bytes_per_s"):
        assert 20_000_000 < values[name] < 22_000_000, name


# A FUSE file system on a block device, which nobody serves: statfs waits for ever.
DEAD = """
    set -e
    dd if=/dev/zero of="$0/image" bs=1M count=1 2> /dev/null
    mkdir "$0/dead"
    loop=$(losetup -f --show "$0/image")
    trap 'losetup -d "$loop"' EXIT
    exec 9<> /dev/fuse
    mount -i -t fuseblk -o fd=9,rootmode=40000,user_id=0,group_id=0,blksize=512 "$loop" "$0/dead"
    losetup -d "$loop"
    trap - EXIT
    exec "$@"
"""
QUICK = """
    import sys
    from agent import sampler
    sampler.SLOW_EVERY = 1.0
    from agent.__main__ import main
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_file_system_that_never_answers(serve: Callable[..., Any], tmp_path: Path, until: Callable[..., Any]) -> None:
    """It costs the file systems' columns, with one line in the log; rows go on, and SIGTERM ends the agent."""
    dead = ["unshare", "--mount", "bash", "-c", textwrap.dedent(DEAD)]
    (tmp_path / "try").mkdir()
    if subprocess.run([*dead, str(tmp_path / "try"), "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a FUSE file system on a loop device")
    server = serve()
    log = tmp_path / "log"
    agent = [sys.executable, "-c", textwrap.dedent(QUICK), "--to", server.address, "--interval", "0.1"]
    with log.open("w") as file:
        process = subprocess.Popen([*dead, str(tmp_path), *agent], cwd=REPOSITORY, stderr=file)
    try:
        lines = server.accept()
        names = ["time", *(column.partition(":")[0] for column in lines.columns())]
        rows = [lines.row()]
        while rows[-1][0] - rows[0][0] < 4.0:
            rows.append(lines.row())
        gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(rows)]
        assert max(gaps) < 1.5
        row = dict(zip(names, rows[-1], strict=False))
        assert row["proc.total"] > 0
        assert row["mem.total_bytes"] > 0
        assert not [name for name in names if name.startswith("fs.")]
        assert log.read_text().count("cannot read filesystems: no answer") == 1
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert time.monotonic() - begun < 3
    finally:
        process.kill()
        process.wait()


LATER = """
    import json, subprocess, sys
    import psutil
    from agent.probes import Probes

    probes, seen = Probes(psutil, print), []

    def look(*command):
        subprocess.run(command, check=True)
        seen.append({name: value for name, value in probes.filesystems(10.0 * len(seen)).items() if "/mnt" in name})

    look("true")
    look("mount", "-o", "loop", sys.argv[1], "/mnt")
    look("sh", "-c", "for number in $(seq 50); do touch /mnt/$number; done")
    look("umount", "/mnt")
    print(json.dumps(seen))
"""


def test_a_file_system_that_is_mounted_later(tmp_path: Path) -> None:
    """It has its columns from then on, as long as it is there; 50 files are 50 of its 128 inodes."""
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    made = subprocess.run(["/sbin/mkfs.ext2", "-q", "-N", "128", str(image)], capture_output=True).returncode == 0
    apart = ["unshare", "--mount"]
    if not made or subprocess.run([*apart, "mount", "-o", "loop", str(image), "/mnt"], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a file system from a file")
    command = [*apart, sys.executable, "-c", textwrap.dedent(LATER), str(image)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    before, mounted, filled, gone = json.loads(done.stdout)
    assert before == gone == {}
    names = {f"fs./mnt.{name}" for name in ("used_pct", "free_bytes", "inodes_used_pct")}
    assert mounted.keys() == filled.keys() == names
    more = filled["fs./mnt.inodes_used_pct"] - mounted["fs./mnt.inodes_used_pct"]
    assert more == pytest.approx(100 * 50 / 128)
