"""The page's server as it stands around the app."""

from __future__ import annotations

import asyncio
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
