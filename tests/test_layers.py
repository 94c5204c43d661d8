"""Imports point down, and what each room must not know."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {
    "errors", "ports", "logs", "access", "boards", "config", "homes", "locks", "net", "patterns", "sections",
    "settings", "tls", "when",
}  # fmt: skip

# What each room may import beside itself. Within `inputs`, `outputs` and `parts` files do not know one another.
MAY = {
    "ground": set(),
    "store": {"ground"},
    "archive": {"ground", "store"},
    "lines": {"ground", "store"},
    "analysis": {"ground"},
    "tasks": {"ground", "analysis"},
    "sender": {"ground", "lines", "linemon_sender"},
    "inputs": {"ground", "store", "lines", "doors", "streams"},
    "connection": {"lines"},
    "streams": {"ground", "lines", "doors", "connection"},
    "outputs": {"ground", "store", "lines", "doors", "linemon_sender"},
    "http": {"ground", "store", "lines", "doors"},
    "doors": {"ground", "store", "lines"},
    "collector": {"ground", "store", "lines", "doors", "linemon_sender"},
    "parts": {"ground", "store", "archive", "tasks", "linemon_sender"},
    "cli": {
        "ground",
        "store",
        "archive",
        "lines",
        "doors",
        "outputs",
        "http",
        "collector",
        "parts",
        "analysis",
        "linemon_sender",
    },
    "linemon_sender": set(),
    "agent": {"linemon_sender"},
    "bokeh_app": {"ground", "store", "archive"},
}
BESIDE_IS_FORBIDDEN = {"inputs", "outputs", "parts"}
NO_IO = {"socket", "select", "selectors", "asyncio", "threading", "time", "subprocess"}
FILES = [path for room in ("linemon", "linemon_sender", "agent", "bokeh_app") for path in (ROOT / room).rglob("*.py")]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """The room that a module is in; empty for what is not ours, and for names of packages alone."""
    package, _, rest = module.partition(".")
    if package != "linemon":
        return package if package in ("linemon_sender", "agent", "bokeh_app") else ""
    name = rest.split(".")[0]
    return "ground" if name in GROUND else name if name in MAY else ""


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in it."""
    found = set()
    statements: list[ast.AST] = [ast.parse(path.read_text())]
    while statements:
        node = statements.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        for within in ("body", "orelse", "finalbody", "handlers", "cases"):
            statements += getattr(node, within, [])
    return found


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    """A module imports only from its own room and those below it; only the page and its server know Bokeh."""
    here = room(module_name(path))
    for other in imported(path):
        there = room(other)
        assert not there or not here or there == here or there in MAY[here], f"{module_name(path)} imports {other}"
        if there == here and here in BESIDE_IS_FORBIDDEN:
            within = ".".join(module_name(path).split(".")[:3])  # a part may be a folder
            assert other.startswith((within, f"linemon.{here}._")), f"{module_name(path)} imports {other}"
        if other.split(".")[0] in ("bokeh", "tornado"):
            assert here == "bokeh_app" or path.name in ("_page.py", "_login.py"), module_name(path)
        assert other != "psutil" or here == "agent", module_name(path)


def test_every_module_has_a_room() -> None:
    """A new file in `linemon/` itself is a new room, or ground: say which."""
    for path in (ROOT / "linemon").glob("*.py"):
        assert path.stem in ("__init__", "__main__") or room(module_name(path)), path


def test_the_core_does_no_io() -> None:
    """The grammar and the connection's state have no socket, no loop, no clock."""
    for path in (ROOT / "linemon" / "lines").glob("*.py"):
        assert not imported(path) & NO_IO, path
    for name in ("access", "errors", "store/ring", "store/arena", "store/window"):
        # A lock is its memory barrier; a row is stamped with the clock when it comes.
        allowed = {"store/ring": {"threading"}, "store/arena": {"time"}}.get(name, set())
        assert not imported(ROOT / "linemon" / f"{name}.py") & NO_IO - allowed, name


def test_commands_start_without_numpy() -> None:
    """What a command needs it imports when it runs: `linemon --help` imports them all."""
    for path in (ROOT / "linemon" / "cli").glob("*.py"):
        if path.name in ("_screen.py", "_page.py", "_login.py", "_csv.py"):
            continue
        top = ast.parse(path.read_text()).body
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
        heavy = ("numpy", "bokeh", "rich", "linemon.lines", "linemon.http", "linemon.store.reader", "linemon.collector")
        assert not {name for name in names if name.startswith(heavy)}, path
