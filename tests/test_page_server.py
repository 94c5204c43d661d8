"""The page's server as it stands around the app."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bokeh.application.handlers import DirectoryHandler

from linemon.cli._page import Prepared

HOOKS = """
async def on_session_created(context):
    context.steps.append("begun")
    await context.is_known.wait()
    context.steps.append("prepared")
"""

HOMELESS = """
import pwd
import sys

def nobody(number):
    raise KeyError

pwd.getpwuid = nobody
from linemon.cli.main import main
sys.exit(main(["dashboard"]))
"""


def test_a_page_of_a_user_without_a_home_directory(tmp_path: Path) -> None:
    """As newer systemds and containers make them up; Bokeh asks for it when it is imported."""
    (tmp_path / "linemon.toml").write_text(f'[store]\npath = "{tmp_path}"\n[dashboard]\nlisten = "127.0.0.1:0"\n')
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    page = subprocess.Popen(
        [sys.executable, "-c", HOMELESS], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert page.stderr
    with page, page.stderr:
        try:
            said = page.stderr.readline()
            assert "the page is at " in said
            with urllib.request.urlopen(said.split()[-1], timeout=30) as answer:
                assert answer.status == 200
        finally:
            page.terminate()
    assert page.returncode == 0


def test_what_a_page_needs_is_waited_for_while_others_are_served(tmp_path: Path) -> None:
    """Bokeh's own drops what an `async` hook gives, so it never runs."""
    (tmp_path / "main.py").write_text("")
    (tmp_path / "app_hooks.py").write_text(HOOKS)
    app = Prepared(DirectoryHandler(filename=str(tmp_path)))

    async def serve() -> list[str]:
        context: Any = SimpleNamespace(steps=[], is_known=asyncio.Event())
        creating = asyncio.create_task(app.on_session_created(context))
        while not context.steps:
            await asyncio.sleep(0)
        assert not creating.done()
        context.steps.append("others")
        context.is_known.set()
        await creating
        return list(context.steps)

    assert asyncio.run(serve()) == ["begun", "others", "prepared"]
