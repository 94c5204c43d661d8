"""What a page has others do: what it asks and what it is answered, through the real commands."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from bokeh_app import orders
from linemon.config import load
from tests.running import Running


def lines(source: str, first: float, last: float) -> str:
    """A value every two seconds for 25 minutes; in the last five minutes another one."""
    now = time.time()
    rows = "".join(f"{now - ago:.3f} {(last if ago < 300 else first) + ago % 4 / 2}\n" for ago in range(1500, 0, -2))
    return f"#source {source}\n#columns time used_pct\n{rows}"


def asked(ago: float = 299.0, **more: Any) -> dict[str, Any]:
    now = time.time() * 1e3
    return {"do": "changed", "from": now - ago * 1e3, "to": now, "sources": None, **more}


@pytest.mark.slow
def test_what_changed_is_ranked_with_units(collector: Running) -> None:
    """Of all sources but what tasks say of them, or of those that are named, whatever is in their names."""
    collector.say(lines("[web]*", 40.0, 60.0) + lines("web2", 40.0, 40.0) + lines("web2~normal", 0.0, 9.0))
    config = load(collector.config)
    found = asyncio.run(orders.carry_out(config, asked()))
    assert [(each["source"], each["unit"]) for each in found["found"]] == [("[web]*", "%"), ("web2", "%")]
    assert found["found"][0]["score"] > 10 > 3 > found["found"][1]["score"]
    found = asyncio.run(orders.carry_out(config, asked(sources=["[web]*"])))
    assert [each["source"] for each in found["found"]] == ["[web]*"]


def test_what_changed_takes_a_bounded_time(collector: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, which is stopped then; and one at a time for all pages."""
    collector.say(lines("web1", 40.0, 60.0))
    commands: list[Any] = []
    start = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **more: Any) -> Any:
        assert all(each.returncode is not None for each in commands), "one at a time"
        commands.append(await start(*arguments, **more))
        return commands[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    monkeypatch.setattr(orders, "CHANGED_S", 0.15)  # Python alone takes longer to start
    config = load(collector.config)

    async def ask() -> list[dict[str, Any]]:
        return await asyncio.gather(*(orders.carry_out(config, asked()) for _ in range(3)))

    assert asyncio.run(ask()) == [{"error": "it took too long, and was stopped"}] * 3
    assert {each.returncode for each in commands} == {-9}


@pytest.mark.parametrize(
    "said", [{"from": "x"}, {"to": 0.0}, {"from": float("nan")}, {"from": 1e300}, {"sources": ["gone"]}, {"sources": 5}]
)
def test_what_cannot_be_asked_is_an_error(collector: Running, said: dict[str, Any]) -> None:
    collector.say(lines("web1", 40.0, 60.0))
    assert asyncio.run(orders.carry_out(load(collector.config), asked(**said)))["error"]
