"""How columns are put together into charts, and rows into points."""

from __future__ import annotations

import numpy as np
import pytest

from bokeh_app.panels import LINES_PER_PANEL, MAX_LINES, MAX_PANELS, Panel, group, unit_of
from bokeh_app.session import thin

AGENT = """
cpu.busy_pct cpu.user_pct cpu.system_pct cpu.iowait_pct cpu.steal_pct cpu.0.busy_pct cpu.1.busy_pct load.1m load.5m
load.15m mem.total_bytes mem.available_bytes mem.used_pct mem.cached_bytes mem.buffers_bytes swap.used_bytes
swap.used_pct net.rx_bytes_per_s net.tx_bytes_per_s net.eth0.rx_bytes_per_s net.eth0.tx_bytes_per_s
disk.read_bytes_per_s disk.write_bytes_per_s disk.sda.reads_per_s disk.sda.busy_pct fs.%2F.used_pct fs.%2Fhome.used_pct
kernel.ctx_switches_per_s kernel.interrupts_per_s proc.total cpu.freq_hz temp.package_celsius sys.uptime_s
agent.cpu_pct agent.rss_bytes
""".split()  # noqa: SIM905  a list this long reads better as a text


def grouped(*columns: str, units: tuple[str, ...] = ()) -> list[Panel]:
    panels, others = group(columns, units or ("",) * len(columns))
    assert not others
    return panels


@pytest.mark.parametrize(
    ("name", "said", "unit"),
    [
        ("cpu.busy_pct", "", "%"),
        ("mem.total_bytes", "", "B"),
        ("net.rx_bytes_per_s", "", "B/s"),
        ("kernel.interrupts_per_s", "", "/s"),
        ("cpu.freq_hz", "", "Hz"),
        ("temp.core_celsius", "", "°C"),
        ("sys.uptime_s", "", "s"),
        ("cpu.busy_pct", "permille", "permille"),
        ("value", "degC", "degC"),
        ("usage", "percent", "%"),
        ("_pct", "", ""),
        ("busses", "", ""),
        ("", "", ""),
    ],
)
def test_units(name: str, said: str, unit: str) -> None:
    assert unit_of(name, said) == unit


def test_what_is_measured_alike_is_drawn_together() -> None:
    assert grouped("net.rx_bytes_per_s", "cpu.busy_pct", "net.tx_bytes_per_s", "net.errors_per_s") == [
        Panel("Network", "B/s", (0, 2), ("rx", "tx")),
        Panel("Network", "/s", (3,), ("errors",)),
        Panel("CPU", "%", (1,), ("busy",)),
    ]


def test_devices_have_their_own_chart() -> None:
    assert grouped("cpu.busy_pct", "cpu.0.busy_pct", "cpu.1.busy_pct") == [
        Panel("CPU", "%", (0,), ("busy",)),
        Panel("CPU busy", "%", (1, 2), ("cpu 0", "cpu 1")),
    ]
    assert grouped("net.eth0.rx_bytes_per_s", "net.eth0.tx_bytes_per_s") == [
        Panel("Network by device", "B/s", (0, 1), ("eth0 rx", "eth0 tx"))
    ]
    assert grouped("fs.%2F.used_pct", "fs.%2Fvar%2Flog.used_pct")[0].labels == ("/", "/var/log")


def test_strangers_columns() -> None:
    assert grouped("value", units=("W",)) == [Panel("value", "W", (0,), ("value",))]
    assert [panel.title for panel in grouped(*(f"c{i}" for i in range(1, 7)))] == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert grouped("usage_user", "usage_idle") == [Panel("usage", "", (0, 1), ("user", "idle"))]
    assert len(grouped("", ".", "a..b", "%zz", "_", "a", "<b>")) > 0


def test_the_agents_columns_are_drawn_totals_first() -> None:
    panels, others = group(AGENT, [""] * len(AGENT))
    assert [f"{panel.title} {panel.unit}".strip() for panel in panels] == [
        "CPU %",
        "CPU busy %",
        "CPU Hz",
        "Load",
        "Memory B",
        "Memory %",
        "Network B/s",
        "Network by device B/s",
        "Disk B/s",
        "Disk reads /s",
        "Disk busy %",
        "File systems used %",
        "Kernel /s",
        "Processes",
        "Temperature °C",
        "System s",
    ]
    assert [AGENT[number] for number in others] == ["agent.cpu_pct", "agent.rss_bytes"]
    assert panels[4].labels == ("total", "available", "cached", "buffers", "swap used")


@pytest.mark.parametrize(
    "columns",
    [
        [f"c{i}" for i in range(1000)],
        [f"net.eth{i}.rx_bytes_per_s" for i in range(500)],
        [f"group{i}.{k}" for i in range(50) for k in "abcdefghijklmnop"],
        [f"x{i}.a_pct" for i in range(40)],
        ["a"] * 30,
        [],
    ],
)
def test_never_too_much_and_nothing_lost(columns: list[str]) -> None:
    panels, others = group(columns, [""] * len(columns))
    drawn = [number for panel in panels for number in panel.columns]
    assert len(panels) <= MAX_PANELS
    assert len(drawn) <= MAX_LINES
    assert all(len(panel.columns) == len(panel.labels) <= LINES_PER_PANEL for panel in panels)
    assert sorted(drawn + others) == list(range(len(columns)))


def test_few_rows_stay_as_they_are() -> None:
    times = np.array([30, 10, 20])
    points, values = thin(times, np.array([[3.0], [1.0], [2.0]]), 10)
    assert points.tolist() == [10, 20, 30]
    assert values.tolist() == [[1], [2], [3]]


def test_many_rows_become_least_and_greatest_per_bucket() -> None:
    times = np.arange(1000, 2000)
    values = np.stack([np.arange(1000.0), np.full(1000, np.nan)], axis=1)
    points, thinned = thin(times, values, 100)
    assert points.tolist() == [t for start in range(1000, 2000, 100) for t in (start, start + 99)]
    assert thinned[:4, 0].tolist() == [0, 99, 100, 199]
    assert np.isnan(thinned[:, 1]).all()
    again, _ = thin(times[150:], values[150:], 100)
    assert again[2:].tolist() == points[4:].tolist()  # a later look finds the same buckets


def test_nothing_gives_nothing() -> None:
    points, values = thin(np.empty(0, np.int64), np.empty((0, 3)), 1)
    assert points.shape == (0,)
    assert values.shape == (0, 3)
