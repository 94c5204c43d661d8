"""How columns are put together into charts: by their names and units, or as linemon.toml says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bokeh_app.layout import as_toml, lay_out, misses, tiles
from bokeh_app.panels import LINES_PER_PANEL, MAX_LINES, MAX_PANELS, Panel, group, unit_of
from linemon.config import PanelConfig, load

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
        ("value", "degC", "°C"),
        ("usage", "percent", "%"),
        ("_pct", "", ""),
        ("busses", "", ""),
        ("", "", ""),
    ],
)
def test_units(name: str, said: str, unit: str) -> None:
    assert unit_of(name, said) == unit


def drawn(panel: Panel) -> tuple[str, str, str, list[tuple[int, str, str]]]:
    return panel.title, panel.unit, panel.kind, [(line.column, line.label, line.role) for line in panel.lines]


def test_what_is_measured_alike_is_drawn_together() -> None:
    network, errors, cpu = grouped("net.rx_bytes_per_s", "cpu.busy_pct", "net.tx_bytes_per_s", "net.errors_per_s")
    assert drawn(network) == ("Network", "B/s", "mirrored", [(0, "rx", "line"), (2, "tx", "below")])
    assert drawn(errors) == ("Network", "/s", "lines", [(3, "errors", "line")])
    assert drawn(cpu) == ("CPU", "%", "lines", [(1, "busy", "line")])


def test_devices_have_their_own_chart() -> None:
    total, cores = grouped("cpu.busy_pct", "cpu.0.busy_pct", "cpu.1.busy_pct")
    assert [line.label for line in total.lines] == ["busy"]
    assert drawn(cores) == ("CPU busy", "%", "lines", [(1, "cpu 0", "line"), (2, "cpu 1", "line")])
    (network,) = grouped("net.eth0.rx_bytes_per_s", "net.eth0.tx_bytes_per_s")
    assert drawn(network)[2:] == ("mirrored", [(0, "eth0 rx", "line"), (1, "eth0 tx", "below")])
    assert [line.label for line in grouped("fs.%2F.used_pct", "fs.%2Fvar%2Flog.used_pct")[0].lines] == ["/", "/var/log"]


def test_the_modes_of_a_processor_are_stacked() -> None:
    """Its parts on top of each other; what is a sum of some is a line, or it would be counted twice."""
    (cpu,) = grouped("cpu.busy_pct", "cpu.user_pct", "cpu.system_pct", "cpu.iowait_pct")
    assert cpu.kind == "stacked"
    assert [line.role for line in cpu.lines] == ["line", "stack", "stack", "stack"]
    (telegraf,) = grouped("usage_user", "usage_system", "usage_idle", units=("percent",) * 3)
    assert [line.role for line in telegraf.lines] == ["stack", "stack", "line"]
    assert grouped("cpu.user_pct", "cpu.busy_pct")[0].kind == "lines"


def test_what_goes_out_is_below_zero() -> None:
    for pair in (("disk.read_bytes_per_s", "disk.write_bytes_per_s"), ("bytes_recv", "bytes_sent"), ("in", "out")):
        panels = grouped(*pair, units=("B/s", "B/s"))
        if len(panels) == 1:
            assert panels[0].kind == "mirrored"
    assert grouped("mem.write_bytes", "mem.free_bytes")[0].kind == "lines"
    assert grouped("p.written", "p.output_voltage")[0].kind == "lines"


def test_temperatures_are_together_whatever_they_belong_to() -> None:
    (panel,) = grouped("room1.temp", "cpu.0.heat", "outside", units=("C", "°C", "celsius"))
    assert (panel.title, panel.unit) == ("Temperature", "°C")
    assert [line.label for line in panel.lines] == ["room1 temp", "cpu 0 heat", "outside"]


def test_strangers_columns() -> None:
    assert drawn(grouped("value", units=("W",))[0]) == ("value", "W", "lines", [(0, "value", "line")])
    assert [panel.title for panel in grouped(*(f"c{i}" for i in range(1, 7)))] == ["c1", "c2", "c3", "c4", "c5", "c6"]
    (usage,) = grouped("usage_user", "usage_idle")
    assert (usage.title, [line.label for line in usage.lines]) == ("usage", ["user", "idle"])
    assert len(grouped("", ".", "a..b", "%zz", "_", "a", "<b>")) > 0


def test_a_name_is_split_only_at_dots_or_where_several_share_its_first_word() -> None:
    names = ("Bodenfeuchte_in_zwanzig_cm", "big_offset", "Temperatur", "usage_user", "usage_idle", "_a", "_b")
    panels = grouped(*names, units=("%", "", "°C", "", "", "V", "A"))
    assert [(panel.title, [line.label for line in panel.lines]) for panel in panels] == [
        ("Bodenfeuchte in zwanzig cm", ["Bodenfeuchte in zwanzig cm"]),
        ("big offset", ["big offset"]),
        ("Temperatur", ["Temperatur"]),
        ("usage", ["user", "idle"]),
        (" a", [" a"]),
        (" b", [" b"]),
    ]
    wanted = [PanelConfig("Mine", "", ("usage_*",)), PanelConfig("Other", "", ("big*",))]
    mine, other = lay_out("s", names, ("",) * len(names), wanted)[0]
    assert [line.label for line in mine.lines] == ["user", "idle"]
    assert [line.label for line in other.lines] == ["big offset"]


def test_temperatures_in_and_out_are_not_below_zero() -> None:
    (panel,) = grouped("room.in", "room.out", units=("°C", "°C"))
    assert panel.kind == "lines"


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
    assert [line.label for line in panels[4].lines] == ["total", "available", "cached", "buffers", "swap used"]
    assert [tile.label for tile in tiles(panels, AGENT, [""] * len(AGENT))] == [
        "CPU busy",
        "Memory used",
        "Load 1m",
        "Network rx",
        "Network tx",
        "Disk write",
    ]


def test_faults_stand_apart_from_what_goes_well() -> None:
    """A card's errors would be flat beside its packets; pressure is one chart, and what a load is of stands with it."""
    columns = """
        cpu.count load.1m load.5m cpu.limit_cores net.eth0.rx_bytes_per_s net.eth0.errors_per_s net.eth0.drops_per_s
        net.eth0.packets_per_s psi.cpu.some_pct psi.io.some_pct psi.io.full_pct net.tcp.retransmits_per_s fs./.used_pct
        fs./.inodes_used_pct disk.sda.await_s proc.total proc.files_open clock.offset_s clock.synced
    """.split()  # noqa: SIM905
    assert [(panel.title, panel.unit, [line.label for line in panel.lines]) for panel in grouped(*columns)] == [
        ("Load", "", ["cpu count", "1m", "5m", "cpu limit cores"]),
        ("Network rx", "B/s", ["eth0"]),
        ("Network faults", "/s", ["eth0 errors", "eth0 drops", "tcp retransmits"]),
        ("Network packets", "/s", ["eth0"]),
        ("Pressure", "%", ["cpu some", "io some", "io full"]),
        ("File systems by device", "%", ["/ used", "/ inodes used"]),
        ("Disk await", "s", ["sda"]),
        ("Processes", "", ["total"]),
        ("Open files", "", ["proc files open"]),
        ("Clock", "s", ["offset"]),
        ("Clock", "", ["synced"]),
    ]


def test_the_charts_of_an_agent_where_not_all_fit() -> None:
    """Totals, then devices with their temperatures, then faults; numbers that stand alone are in the table."""
    more = """cpu.count net.eth0.errors_per_s net.eth0.packets_per_s fs.%2F.free_bytes fs.%2F.inodes_used_pct
        disk.sda.await_s disk.sda.write_bytes_per_s psi.cpu.some_pct mem.oom_kills clock.offset_s clock.synced
    """.split()  # noqa: SIM905
    columns = [*(name for name in AGENT if name not in ("cpu.0.busy_pct", "cpu.1.busy_pct")), *more]
    panels, others = group(columns, [""] * len(columns))
    titles = [panel.title for panel in panels]
    assert len(titles) == MAX_PANELS
    assert {"Pressure", "Disk await", "Network errors", "Temperature"} <= set(titles)
    assert {"proc.total", "clock.synced", "net.eth0.packets_per_s"} <= {columns[number] for number in others}


def test_the_layout_of_linemon_toml() -> None:
    """Patterns choose columns in their order; only panels of this source count, and then no others are drawn."""
    columns, units = ("cpu.busy_pct", "net.eth0.tx_bytes_per_s", "net.eth0.rx_bytes_per_s", "x"), ("", "", "", "mV")
    wanted = [
        PanelConfig("Traffic", "web*", ("net.*.rx_*", "net.*"), "mirrored"),
        PanelConfig("Load", "web1", ("cpu.*", "x"), "lines", (0.0, 50.0)),
        PanelConfig("No such", "web1", ("disk.*",)),
        PanelConfig("Sent", "", ("!*.rx_*", "net.*")),
        PanelConfig("Steps", "web1", ("x",), "step"),
        PanelConfig("Other", "db*", ("x",)),
    ]
    panels, others = lay_out("web1", columns, units, wanted)
    assert [drawn(panel) for panel in panels] == [
        ("Traffic", "B/s", "mirrored", [(2, "eth0 rx", "line"), (1, "eth0 tx", "below")]),
        ("Load", "%", "lines", [(0, "CPU busy", "line"), (3, "x", "line")]),
        ("Sent", "B/s", "lines", [(1, "eth0 tx", "line")]),
        ("Steps", "mV", "step", [(3, "x", "step")]),
    ]
    assert panels[1].limits == (0.0, 50.0)
    assert [panel.right for panel in panels] == ["", "mV", "", ""], "two units have an axis each"
    assert others == []
    assert lay_out("web1", ("y",), ("V",), wanted) == group(("y",), ("V",)), "panels that name none of its columns"
    assert misses("web1", ("y",), wanted)
    assert not misses("web1", columns, wanted)
    del wanted[3]  # which is for all sources
    assert not misses("mail", ("y",), wanted)
    assert lay_out("mail", columns, units, wanted) == group(columns, units)


@pytest.mark.parametrize("source", ["web1", "!web", "linemon.x", 'a [b]* "c"? \\ ü\x7f'])
def test_the_layout_as_toml_gives_the_same_layout(tmp_path: Path, source: str) -> None:
    """What a page says of its layout, put into linemon.toml, gives the same charts."""
    columns = [*AGENT[:20], "odd[1]*", 'q"uo\\te', "!x"]
    units = [""] * len(columns)
    panels, _ = lay_out(source, columns, units, ())
    file = tmp_path / "linemon.toml"
    file.write_text(as_toml(source, panels, columns))
    again, _ = lay_out(source, columns, units, load(file).dashboard.panel)
    assert [(panel.title, panel.kind, [line.column for line in panel.lines]) for panel in again] == [
        (panel.title, panel.kind, [line.column for line in panel.lines]) for panel in panels
    ]


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
    drawn = [line.column for panel in panels for line in panel.lines]
    assert len(panels) <= MAX_PANELS
    assert len(drawn) <= MAX_LINES
    assert all(len(panel.lines) <= LINES_PER_PANEL for panel in panels)
    assert sorted(drawn + others) == list(range(len(columns)))
