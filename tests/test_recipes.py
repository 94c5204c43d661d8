"""The one-liners of docs/RECIPES.md as they stand there, each with what its program prints, while that still runs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import Running, eventually

ROOT = Path(__file__).parent.parent
PRINTED = ROOT / "tests" / "fixtures" / "recipes"  # recorded, as the programs print into a pipe
RECIPES: dict[str, str] = dict(
    re.findall(r"^## ([^\n]+)\n[^#]*?```sh\n(.*?)```", (ROOT / "docs" / "RECIPES.md").read_text(), re.M | re.S)
)
N = float("nan")

# Of each recipe: the program that is played, and the rows that must be there: source, columns, values.
EXPECTED: dict[str, tuple[str, dict[str, tuple[tuple[str, ...], list[list[float]]]]]] = {
    "vmstat": ("vmstat", {"vmstat": (
        ("r", "b", "swpd", "free", "buff", "cache", "si", "so", "bi", "bo", "in", "cs", "us", "sy", "id", "wa", "st"),
        [[7, 0, 0, 20828600, 33440, 3022296, 0, 0, 649, 1117, 580, 1726, 78, 9, 14, 0, 0],
         [9, 0, 0, 20828600, 33440, 3022296, 0, 0, 200, 292, 700, 878, 96, 4, 0, 0, 0]],
    )}),
    "iostat": ("iostat", {f"iostat,device={name}": (
        ("r/s", "rkB/s", "rrqm/s", "%rrqm", "r_await", "rareq-sz", "w/s", "wkB/s", "wrqm/s", "%wrqm", "w_await",
         "wareq-sz", "aqu-sz", "%util"), [values],
    ) for name, values in {
        "sda": [1, 4, 0, 0, 0, 4, 12, 132, 20, 62.5, 0.42, 11, 0.01, 1.2],
        "nvme0n1": [31, 540, 2, 6.06, 0.1, 17.42, 0, 0, 0, 0, 0, 0, 0, 0.8],
    }.items()}),
    "sar": ("sar", {"sar": (("user", "nice", "system", "iowait", "steal", "idle"),
                            [[3.52, 0, 1.01, 0.25, 0, 95.23], [4.02, 0, 1.26, 0, 0, 94.72]])}),
    "ping": ("ping", {"ping.gateway": (("value",), [[0.412], [12.9]])}),
    "df": ("df", {"df.used_pct;disk=/dev/vda1": (("value",), [[66]]),
                  "df.used_pct;disk=/dev/sdb": (("value",), [[3]])}),
    "Text between the numbers": ("ttyACM0", {"board": (("Temp", "Hum"), [[21.5, 40], [-0.5, 41]])}),
    "sensors": ("sensors", {"sensors": (
        ("coretemp-isa-0000.Package id 0.temp1_input", "coretemp-isa-0000.Package id 0.temp1_max",
         "nvme-pci-0100.Composite.temp1_input"), [[45, 100, 38.85]],
    )}),
    "nvidia-smi": ("nvidia-smi", {"gpu": (("temperature.gpu", "utilization.gpu", "power.draw", "memory.used"),
                                          [[45, 3, N, 512], [46, 97, 201.35, 9840]])}),
    "German CSV": ("keller.csv", {"keller": (("temperatur", "feuchte"), [[7.5, 81], [-0.25, N]])}),
    "NMEA": ("gpspipe", {"gps": (("lat", "lon", "height", "satellites"),
                                 [[48.1173, 11.516667, 545.4, 8], [-33.856667, 151.21, 12.1, 11]])}),
    "DSMR": ("ttyUSB0", {"dsmr.power_kW": (("value",), [[0.428]]), "dsmr.energy_kWh.1": (("value",), [[1234.567]]),
                         "dsmr.energy_kWh.2": (("value",), [[2345.678]]), "dsmr.gas_m3": (("value",), [[987.654]])}),
    "JSON by jq": ("mosquitto_sub", {"room1": (("t", "h"), [[21.5, 40.5], [21.6, N]])}),
    "A log file that grows": ("web1.log", {"web1": (("c1", "c2"), [[1, 2], [3, 4]])}),
}  # fmt: skip


def test_each_recipe_is_run() -> None:
    assert RECIPES.keys() == EXPECTED.keys()


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def stage(running: Running, played: str) -> dict[str, str]:
    """The environment in which the recipe's program is one that prints what was recorded, and does not end."""
    programs = running.folder / "bin"
    programs.mkdir()
    program(programs, "linemon", f'exec {sys.executable} -P -m linemon "$@"')
    program(programs, "stty", "exit 0")
    # The first pause is over at once, the next one never.
    program(programs, "sleep", f"test -e {programs}/slept && exec {shutil.which('sleep')} 1000; : > {programs}/slept")
    going_on = played not in ("sensors", "keller.csv")
    program(programs, played, f"cat '{PRINTED / played}'" + f"\nexec {shutil.which('sleep')} 1000" * going_on)
    return os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def same(found: list[list[float]], expected: list[list[float]]) -> bool:
    return len(found) == len(expected) and all(
        row == pytest.approx(other, abs=1e-6, nan_ok=True) for row, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recipe(name: str, collector: Running) -> None:
    """Its rows are in the store before the program ends: nothing waits in a buffer."""
    played, rows = EXPECTED[name]
    command = RECIPES[name]
    for needed in ("jq", "mawk"):
        if needed in command and not shutil.which(needed):
            pytest.skip(f"{needed} is not installed")
    environment = stage(collector, played)
    if played.startswith("tty"):
        command = command.replace(f"/dev/{played}", "port")
        os.mkfifo(collector.folder / "port")
        port = subprocess.Popen(
            ["sh", "-c", f"exec {played} > port"], cwd=collector.folder, env=environment, start_new_session=True
        )
    elif played.endswith((".csv", ".log")):
        shutil.copy(PRINTED / played, collector.folder)
    said = (collector.folder / "said").open("w+")
    pipe = subprocess.Popen(
        ["sh", "-c", command], cwd=collector.folder, env=environment, stdout=said, stderr=said, start_new_session=True
    )
    try:
        for source, (columns, values) in rows.items():
            eventually(
                lambda: source in collector.store and same(collector.store[source].since(0).values.tolist(), values),  # noqa: B023
                f"{values} of {source}; it said: {(collector.folder / 'said').read_text()}", 30,
            )  # fmt: skip
            assert collector.store[source].columns == columns
    finally:
        os.killpg(pipe.pid, signal.SIGKILL)
        pipe.wait()
        if played.startswith("tty"):
            os.killpg(port.pid, signal.SIGKILL)
            port.wait()
        said.close()
    assert collector.status()["rejected"] == {}
