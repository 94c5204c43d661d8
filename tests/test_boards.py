"""Boards as files: what people write there, what is said of a bad one, and what the page leaves of it."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokeh_app.board_changes import MOST_UNDO, keep, version
from linemon import boards
from linemon.boards import Chart, line_of, parse, rewritten, window_of
from linemon.config import Config, DashboardConfig, StoreConfig
from linemon.errors import ConfigError
from tests.forked import run

BY_HAND = """\
# What the night shift looks at.

# the two that fall over
[[chart]]
title = "Load"     # of all cores
lines = ["web1:load.1m", "{host}:load.1m"]
limits = [0, 8]

[[chart]]
title = 'Processor'
lines = [
  "web1:cpu.user_pct",  # ours
  "web1:cpu.system_pct",
]
kind = "stacked"
"""
NAMES = st.text(min_size=1, max_size=12)
CHARTS = st.builds(
    Chart,
    title=st.text(st.characters(categories=("L", "N", "P", "S"), include_characters=" "), max_size=12),
    lines=st.lists(st.builds(line_of, NAMES, NAMES), min_size=1, max_size=4).map(tuple),
    kind=st.sampled_from(("lines", "step", "mirrored")),
    limits=st.one_of(st.just(()), st.tuples(st.floats(-1e300, -1e-9), st.floats(0, 1e300)), st.just((0.1 + 0.2, 1e22))),
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(store=StoreConfig(path=str(tmp_path)))


def test_a_file_written_by_hand() -> None:
    load, cpu = parse(BY_HAND)
    assert load == Chart("Load", ("web1:load.1m", "{host}:load.1m"), "lines", (0.0, 8.0))
    assert load.pairs == [("web1", "load.1m"), ("{host}", "load.1m")]
    assert cpu.kind == "stacked"
    assert parse("") == ()


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ('title = "Load"', 'title = "Load', "at line 5"),
        ("limits = [0, 8]", "limits = [8, 0]", "line 7: [[chart]] limits = [8.0, 0.0]: expected [least, greatest]"),
        ('kind = "stacked"', 'kind = "pie"', "line 15: [[chart]] kind = 'pie': expected one of: lines, step"),
        ("web1:cpu.system", "web2:cpu.system", 'line 15: [[chart]] kind = "stacked": expected lines of one source'),
        ('kind = "stacked"', "colour = 3", "line 15: [[chart]] colour: unknown setting; expected one of: title, lines"),
        ("web1:load.1m", "load.1m", "line 6: [[chart]] lines = …'load.1m'…: expected \"SOURCE:COLUMN\""),
        ('lines = ["web1:load.1m", "{host}:load.1m"]\n', "", "line 4: [[chart]] lines = []: expected a list such as"),
        ("# What", "[panel]\n# What", "line 1: panel: expected window, sections [[chart]], and nothing else"),
        ("# What", "chart = 3\n# What", "at line"),
    ],
)
def test_a_bad_file_is_told_by_its_line(wrong: str, right: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(BY_HAND.replace(wrong, right, 1))
    assert said in str(raised.value)


def test_what_people_wrote_stays() -> None:
    """Charts that change places take the comments above and in them along; a new one comes behind."""
    load, cpu = parse(BY_HAND)
    assert rewritten(BY_HAND, [load, cpu]) == BY_HAND
    turned = rewritten(BY_HAND, [cpu, load])
    assert parse(turned) == (cpu, load)
    assert sorted(turned.split("\n")) == sorted(BY_HAND.split("\n"))
    assert turned.startswith("# What the night shift looks at.\n\n[[chart]]\ntitle = 'Processor'")
    more = Chart("Disk", ("web1:disk.read_bytes_per_s",))
    assert rewritten(BY_HAND, [load, cpu, more]) == BY_HAND + "\n" + more.toml + "\n"
    assert "fall over" not in rewritten(BY_HAND, [cpu])


def test_charts_written_in_another_way_are_not_lost() -> None:
    text = 'chart = [{title = "A", lines = ["a:b"]}, {lines = ["c:d"]}]'
    first, second = parse(text)
    assert parse(rewritten(text, [second, first])) == (second, first)


@given(st.lists(CHARTS, max_size=5), st.lists(CHARTS, max_size=5))
def test_any_charts_come_back(before: list[Chart], after: list[Chart]) -> None:
    """As they were, whatever is in their names, and whatever stood there before."""
    text = rewritten("", before)
    assert parse(text) == tuple(before)
    assert parse(rewritten(text, after)) == tuple(after)


@given(NAMES, NAMES)
def test_a_line_names_its_column(source: str, column: str) -> None:
    assert Chart("", (line_of(source, column),)).pairs == [(source, column)]


def test_a_name_is_that_of_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "boards"
    assert boards.names(folder) == []
    folder.mkdir()
    for file in ("b.toml", "A 1.toml", ".x.toml", "readme.md", "c.toml.new"):
        (folder / file).write_text("")
    assert boards.names(folder) == ["A 1", "b"]
    assert boards.read(folder, "b") == ""
    for name in ("", ".", "..", "../x", "a/b", ".x", "a\nb", " a", "é" * 101, "x" * 101):
        assert not boards.is_name(name)
        assert boards.read(folder, name) is None
    (folder / "b.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="expected UTF-8"):
        boards.read(folder, "b")


def test_where_they_are(tmp_path: Path) -> None:
    """Beside the file of what is kept, or where linemon.toml says."""
    assert Config(store=StoreConfig(path=str(tmp_path))).boards_folder == tmp_path / "boards"
    named = DashboardConfig(state=str(tmp_path / "x" / "y.json"))
    assert Config(dashboard=named).boards_folder == tmp_path / "x" / "boards"
    assert Config(dashboard=DashboardConfig(boards="/srv/boards")).boards_folder == Path("/srv/boards")


def test_check_says_which_one_is_wrong(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "linemon.toml"
    file.write_text(f'[store]\npath = "{tmp_path}"\n')
    config.boards_folder.mkdir()
    (config.boards_folder / "night.toml").write_text(BY_HAND)
    said = run(["check", "--config", str(file)])
    assert (said.returncode, f"boards: 1 in {config.boards_folder}\n" in said.stdout) == (0, True)
    (config.boards_folder / "day.toml").write_text("[[chart]]\nlines = 3\n")
    said = run(["check", "--config", str(file)])
    assert said.returncode == 2
    assert f"{config.boards_folder}/day.toml: line 2: [[chart]] lines = 3: expected a list" in said.stderr


# -- what people change on the page


def pin(config: Config, source: str, board: str = "night") -> dict[str, Any]:
    chart = {"title": f"{source} CPU", "lines": [[source, "cpu.busy_pct"]], "kind": "lines", "limits": []}
    return keep(config, {"what": "pin", "board": board, "chart": chart})


def change(config: Config, what: str, seen: str | None = None, **more: Any) -> dict[str, Any]:
    seen = (boards.read(config.boards_folder, "night") or "") if seen is None else seen
    return keep(config, {"what": what, "board": "night", "version": version(seen), **more})


def titles(config: Config, board: str = "night") -> list[str]:
    return [chart.title for chart in parse(boards.read(config.boards_folder, board) or "")]


def test_charts_are_pinned_ordered_named_and_removed(config: Config) -> None:
    for source in ("web1", "web:2%", "web3"):
        assert "change" in pin(config, source)
    assert parse(boards.read(config.boards_folder, "night") or "")[1].pairs == [("web:2%", "cpu.busy_pct")]
    assert "change" in change(config, "order", charts=[2, 0])
    assert titles(config) == ["web3 CPU", "web1 CPU"]
    number = change(config, "entitle", chart=1, title='"Ours" \\')["change"]
    assert titles(config) == ["web3 CPU", '"Ours" \\']
    assert "change" in keep(config, {"what": "undo", "change": number})
    assert titles(config) == ["web3 CPU", "web1 CPU"]


def test_a_board_is_renamed_and_deleted(config: Config) -> None:
    """Each can be undone; no board takes the place of another one."""
    pin(config, "web1")
    pin(config, "web1", "day")
    assert change(config, "rename", to="day")["error"] == "there is a board 'day'"
    assert change(config, "rename", to="../day")["error"] == "no board can be called '../day'"
    renamed = change(config, "rename", to="Night shift")["change"]
    assert boards.names(config.boards_folder) == ["day", "Night shift"]
    keep(config, {"what": "undo", "change": renamed})
    deleted = change(config, "delete")["change"]
    assert boards.names(config.boards_folder) == ["day"]
    keep(config, {"what": "undo", "change": deleted})
    assert titles(config) == ["web1 CPU"]
    pin(config, "web2")
    assert keep(config, {"what": "undo", "change": deleted})["error"] == "it has been changed again meanwhile"


@pytest.mark.slow
def test_changes_are_taken_back_after_a_restart(config: Config) -> None:
    """By another server, too; what keeps them may be damaged, and then begins anew."""
    first, second = pin(config, "web1")["change"], pin(config, "web2")["change"]
    undo = f"from tests.test_boards import *; undone({str(config.boards_folder)!r}, {second})"
    subprocess.run([sys.executable, "-c", undo], check=True)
    assert titles(config) == ["web1 CPU"]
    assert "change" in keep(config, {"what": "undo", "change": first})
    assert boards.names(config.boards_folder) == []
    file = config.boards_folder.with_name("boards.undo")
    file.write_text("[[1, 2")
    assert "too long ago" in keep(config, {"what": "undo", "change": second})["error"]
    assert "change" in keep(config, {"what": "undo", "change": pin(config, "web3")["change"]})
    pin(config, "web3")
    for _ in range(MOST_UNDO + 5):
        change(config, "entitle", chart=0, title="again")
    assert len(json.loads(file.read_text())) == MOST_UNDO


def undone(folder: str, number: int) -> None:
    assert "change" in keep(Config(dashboard=DashboardConfig(boards=folder)), {"what": "undo", "change": number})


def test_the_window_of_a_file_is_kept() -> None:
    """Whatever is changed by the page; it is one that the page offers."""
    for text in (f'window = "1h"  # ours\n{BY_HAND}', 'chart = [{lines = ["a:b"]}]\nwindow = "1h"\n'):
        assert window_of(text) == "1h"
        assert window_of(rewritten(text, [*parse(text), Chart("new", ("a:b",))])) == "1h"
    assert window_of(BY_HAND) == ""
    for said in ('"2h"', "3600"):
        with pytest.raises(ConfigError, match=r"line 2: window = .*: expected one of: 1m, 5m"):
            parse(f"# ours\nwindow = {said}\n")


def test_who_is_slower_changes_nothing(config: Config) -> None:
    """Whether the other one was on a page or in an editor; a pin goes behind whatever is there."""
    file = config.boards_folder / "night.toml"
    pin(config, "web1")
    seen = file.read_text()
    file.write_text(seen + "# by hand\n")
    for what, more in (("order", {"charts": []}), ("entitle", {"chart": 0, "title": ""}), ("delete", {})):
        assert "somebody else has changed" in change(config, what, seen, **more)["error"]
    assert file.read_text() == seen + "# by hand\n"
    pin(config, "web2")
    assert titles(config) == ["web1 CPU", "web2 CPU"]
    assert "# by hand" in file.read_text()


def _pin_until_done(folder: str, number: int) -> None:
    config = Config(store=StoreConfig(path=folder))
    while "change" not in pin(config, f"web{number}"):
        pass


def test_several_servers_lose_no_pin(config: Config) -> None:
    workers = [
        multiprocessing.get_context("fork").Process(target=_pin_until_done, args=(str(config.store.folder), number))
        for number in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(titles(config)) == [f"web{number} CPU" for number in range(8)]


def test_a_file_that_cannot_be_read_is_left_as_it_is(config: Config) -> None:
    pin(config, "web1")
    file = config.boards_folder / "night.toml"
    file.write_text(text := file.read_text() + "kind = 3\n")
    for said in (pin(config, "web2"), change(config, "order", charts=[])):
        assert "line 6: [[chart]] kind = 3: expected a string in quotes" in said["error"]
    assert file.read_text() == text


def test_what_cannot_be_is_refused(config: Config) -> None:
    assert "a board's name is that of its file" in pin(config, "web1", "a/b")["error"]
    assert change(config, "order", charts=[])["error"] == "there is no board 'night' any more"
    pin(config, "web1")
    for charts in ([1], [-1]):
        assert "no such charts" in change(config, "order", charts=charts)["error"]
    assert "once" in change(config, "order", charts=[0, 0])["error"]
    assert "no such charts" in change(config, "entitle", chart=1, title="")["error"]
    assert "one line" in change(config, "entitle", chart=0, title="a\nb")["error"]
    for _ in range(15):
        pin(config, "web1")
    assert pin(config, "web1")["error"] == "a board has 16 charts at most"


def test_a_file_keeps_its_mode_and_its_link(config: Config, tmp_path: Path) -> None:
    pin(config, "web1")
    file, real = config.boards_folder / "night.toml", tmp_path / "repository.toml"
    file.rename(real)
    real.chmod(0o640)
    file.symlink_to(real)
    pin(config, "web2")
    assert file.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert titles(config) == ["web1 CPU", "web2 CPU"]
