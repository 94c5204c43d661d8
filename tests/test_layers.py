"""Imports point one way, and the core does no I/O of its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the bottom up: a module may import what stands below it, not beside it.
LAYERS = [
    {"linemon.errors", "linemon.access", "linemon.logs"},
    {"linemon.lines.wire", "linemon.store.ring"},
    {"linemon.store.arena", "linemon.store.catalog", "linemon.store.window", "linemon.lines.influx"},
    {"linemon.store.reader", "linemon.store.upgrade"},
    {"linemon.config", "linemon.store.writer", "linemon.when", "linemon.store.liveness"},
    {"linemon.sender"},  # with the spool and the connection of the agent
    {"linemon", "linemon.lines.sequence", "linemon.tls", "linemon.net", "linemon.cli._login"},
    {"linemon.lines.session"},
    {"linemon.lines.accounts", "linemon.lines.named"},
    {"linemon.lines.careful"},
    {"linemon.lines.intake"},
    {"linemon.doors", "linemon.http.points"},
    {"linemon.inputs.tcp", "linemon.outputs.tap", "linemon.store.formats", "linemon.http.server"},
    {"linemon.http.answers"},
    {"linemon.http.stream"},
    {"linemon.http.site"},
    {"linemon.collector", "linemon.cli.commands", "linemon.cli.up", "linemon.cli.dashboard", "linemon.cli.top"},
    {"linemon.cli.main"},
    {"linemon.__main__"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
NO_IO = {"socket", "select", "selectors", "asyncio", "threading", "time", "subprocess"}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


FILES = sorted((ROOT / "linemon").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    """A module imports only from layers below its own; a new module must be given a layer here."""
    module = module_name(path)
    if module in ("linemon.inputs", "linemon.outputs"):
        assert not imported(path)
        return
    assert module in LEVEL, f"give {module} a layer"
    for other in imported(path) & set(LEVEL):
        if other == "linemon" and module != "linemon":
            continue  # `from linemon import wire` names the package, not what it exports
        assert LEVEL[other] < LEVEL[module], f"{module} imports {other}"


def test_what_the_core_must_not_know() -> None:
    """The grammar and the connection's state have no socket, no loop, no clock; only the page knows Bokeh."""
    for name in (
        "wire",
        "influx",
        "session",
        "accounts",
        "named",
        "careful",
        "intake",
        "points",
        "access",
        "ring",
        "arena",
        "window",
        "errors",
    ):
        allowed = {"threading"} if name == "ring" else set()  # a lock is its memory barrier
        assert not imported(ROOT / "linemon" / f"{name}.py") & NO_IO - allowed, name
    for path in FILES:
        roots = {each.split(".")[0] for each in imported(path)}
        assert "psutil" not in roots, path
        assert not roots & {"bokeh", "tornado"} or path.name in ("dashboard.py", "login.py"), path


def test_the_agent_and_the_page_stand_apart() -> None:
    """The agent imports nothing of linemon; the page only reads the store and the settings."""
    for path in (ROOT / "agent").glob("*.py"):
        assert not {each for each in imported(path) if each.split(".")[0] in ("linemon", "bokeh_app", "numpy")}, path
    allowed = {"linemon", "linemon.store.reader", "linemon.config", "linemon.errors", "linemon.store.liveness"}
    for path in (ROOT / "bokeh_app").glob("*.py"):
        for each in imported(path):
            if each.split(".")[0] == "linemon":
                assert each in allowed or each.rpartition(".")[0] in allowed, f"{path}: {each}"


def test_what_linemon_takes_from_the_agent() -> None:
    """Sending and spooling are written once, in the agent; linemon takes them from there, and nothing that samples."""
    agent = {f"agent.{path.name}" for path in (ROOT / "agent").glob("*.py")}
    taken = {
        module_name(path): {each for each in imported(path) if f"{each}.py" in agent}
        for path in FILES
        if any(each.split(".")[0] == "agent" for each in imported(path))
    }
    assert taken == {
        "linemon.sender": {"linemon_sender.sender", "linemon_sender.spool", "linemon_sender.tls"},
        "linemon.config": {"linemon_sender.spool"},
        "linemon.cli.commands": {"linemon_sender.tls", "agent.unit"},
    }
