"""What a page does when something goes away or is slow, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import socket
import sys
import threading
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from bokeh_app.page import MAX_OPEN
from tests.browser.conftest import APP, COLUMNS, Feed, Served
from tests.browser.looking import newest, until_newer, view
from tests.running import Running, eventually

Show = Callable[..., Page]


def test_from_waiting_to_a_column_more(show: Show, own_feed: Feed) -> None:
    """Pages from before there is a store to a source that grows, without a hand on them."""
    served = Served(own_feed.config)
    try:
        page = show(served.url, wait="live")
        expect(page.locator("#empty")).to_contain_text("echo 'room1.temperature 20.3' | nc -q1 127.0.0.1 4000")
        web1 = show(served.url + "?source=web1&window=1m", wait="waiting")
        other = show(served.url + "?source=no%20such", wait="waiting")
        expect(other.locator("#waiting")).to_contain_text("no such")
        own_feed.move(5)
        expect(page.locator("#hosts tbody a")).to_have_text("web1")
        expect(page.locator("#empty")).to_be_hidden()
        expect(web1.locator("figcaption b").first).to_have_text("CPU")
        own_feed.write("web1", dict.fromkeys((*COLUMNS, "temp.disk_celsius"), 38.5))
        expect(web1.locator(".line", has_text="disk").locator("output")).to_have_text("38.5 °C")
        expect(web1.locator(".window[aria-pressed=true]")).to_have_text("1m")
        own_feed.write("no such", {"value": 1.0})
        expect(other.locator("figcaption b")).to_have_text("no such")
        for each in page, web1, other:
            expect(each.locator("#status")).to_have_text("live")
            each.close()
    finally:
        served.stop()


def test_the_page_comes_back_with_its_server(browser: Browser, own_feed: Feed) -> None:
    """Cut off, it says so; then it shows again what it showed, zoom and choice included."""
    own_feed.move()
    served = Served(own_feed.config)
    page, zoomed = browser.new_page(), browser.new_page()
    try:
        for each in page, zoomed:
            each.goto(served.url + "?source=web1&window=1m")
            expect(each.locator("#status")).to_have_text("live")
        zoomed.locator("#card0 .line").nth(1).click()
        zoomed.keyboard.press("ArrowLeft")
        zoomed.wait_for_function("location.search.includes('from=')")
        was = view(zoomed)
        served.stop()
        for each in page, zoomed:
            expect(each.locator("#status")).to_have_text("connection lost")
            expect(each.locator('link[rel="icon"]')).to_have_attribute("data-state", "lost")
            assert each.title().startswith("(no connection) ")
        said = page.evaluate("linemon.ask({do: 'keep', source: 'web1', flag: 'hidden', on: true})")
        assert said == {"error": "There is no connection: nothing was done."}
        served = Served(own_feed.config, served.port)
        expect(page.locator("#status")).to_have_text("live")
        until_newer(page, newest(page))
        expect(zoomed.locator("#status")).to_have_text("paused")
        assert view(zoomed) == pytest.approx(was, abs=1)
        expect(zoomed.locator("#card0 .line").first).to_have_attribute("aria-pressed", "false")
    finally:
        page.close()
        zoomed.close()
        served.stop()


def test_a_websocket_that_does_not_get_through_is_told_and_tried_again(browser: Browser, served: Served) -> None:
    """Behind a proxy that at first passes on no upgrade."""
    refuses = threading.Event()
    refuses.set()

    def relay(near: socket.socket) -> None:
        head = near.recv(65536)
        if refuses.is_set() and b"upgrade: websocket" in head.lower():
            near.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", served.port))
        far.sendall(head)
        for a, b in (near, far), (far, near):
            threading.Thread(target=pass_on, args=(a, b), daemon=True).start()

    def pass_on(a: socket.socket, b: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
        for each in a, b:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=relay, args=(door.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=accept, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{door.getsockname()[1]}/bokeh_app?source=web1")
        expect(page.locator("#refused")).to_be_visible()
        expect(page.locator("#refused")).to_contain_text("docs/PROXY.md")
        expect(page.locator("#status")).to_have_text("no connection")
        refuses.clear()
        expect(page.locator("#status")).to_have_text("live")
        expect(page.locator("#refused")).to_be_hidden()
        page.close()
        door.shutdown(socket.SHUT_RDWR)


def test_a_page_that_takes_long_to_come(show: Show, served: Served) -> None:
    """Time is up as soon as the scripts are there, and before the rest is: nothing fails, and then it is live."""
    late = "const later = setTimeout; window.setTimeout = (act, ms) => ms == 8000 ? act() : later(act, ms)"
    page = show(served.url + "?source=web1", script=late)
    expect(page.locator("#refused")).to_be_hidden()


def test_the_back_button_brings_a_page_of_now(browser: Browser, served: Served) -> None:
    """Not the one that the browser kept, whose token no server takes any more."""
    page = browser.new_page()
    page.goto(served.url + "?source=web1")
    expect(page.locator("#status")).to_have_text("live")
    token = 'document.documentElement.innerHTML.match(/"token":"([^"]+)/)[1]'
    first = page.evaluate(token)
    page.goto("about:blank")
    page.go_back()
    expect(page.locator("#status")).to_have_text("live")
    assert page.evaluate(token) != first
    page.close()


def test_the_page_outlives_the_collector(show: Show, own_feed: Feed) -> None:
    """Killed and started again, rows go on in the same charts."""
    folder = own_feed.config.parent / "real"
    running = Running(folder)
    running.say("#source web1\n#columns cpu.busy_pct\n" + "5\n" * 20)
    served = Served(running.config)
    try:
        page = show(served.url + "?source=web1&window=1m")
        page.evaluate("window.mark = 1")
        running.process.kill()
        running.stop()
        seen = newest(page)
        running = Running(folder)
        running.say("#source web1\n#columns cpu.busy_pct\n7\n")
        until_newer(page, seen)
        expect(page.locator(".line output")).to_have_text("7 %")
        expect(page.locator("#status")).to_have_text("live")
        assert page.evaluate("window.mark") == 1
        page.close()
    finally:
        running.stop()
        served.stop()


def test_a_slow_tab_gets_fewer_messages_not_older_ones(show: Show, served: Served) -> None:
    """Six times slower, and for a while not drawing at all: what it shows is never far behind."""
    page = show(served.url + "?source=web1")
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 6})
    page.evaluate("window.blockUntil = Date.now() + 4000; while (Date.now() < window.blockUntil) {}")
    before = newest(page)
    until_newer(page, before)
    eventually(lambda: page.evaluate("linemon.now() - linemon.charts.sources[0].newest") < 2500, "caught up")
    expect(page.locator("#status")).to_have_text("live")
    eventually(lambda: page.evaluate("linemon.model('wishes').ack") > 0, "an answer")


def test_a_page_behind_a_slow_link_says_so(browser: Browser, served: Served) -> None:
    """Messages that were long on their way: the page says how far it is behind, until they come at once again."""
    held: list[tuple[float, str | bytes]] = []
    sockets: list[WebSocketRoute] = []
    is_slow = False

    def route(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda frame: held.append((time.monotonic(), frame)) if is_slow else socket.send(frame))
        sockets.append(socket)

    def let_through(until: float) -> None:
        while held and held[0][0] <= until:
            sockets[0].send(held.pop(0)[1])

    page = browser.new_page()
    page.route_web_socket("**", route)
    page.goto(served.url + "?source=web1")
    status = page.locator("#status")
    expect(status).to_have_text("live")
    is_slow = True
    page.wait_for_timeout(5000)
    let_through(held[0][0] + 1)
    expect(status).to_have_text(re.compile(r"^[45] s behind$"))
    expect(status).to_have_attribute("data-state", "behind")
    is_slow = False
    let_through(time.monotonic())
    expect(status).to_have_text("live")
    page.close()


def test_a_hidden_tab_is_sent_nothing(show: Show, served: Served) -> None:
    """Without frames there is no answer, and without answers no message; then it catches up at once."""
    page = show(served.url + "?source=web1")
    page.evaluate("window.real = requestAnimationFrame; window.held = []; requestAnimationFrame = (f) => held.push(f)")
    start, count = page.evaluate("linemon.model('wishes').ack"), "linemon.received"
    eventually(lambda: page.evaluate(count) == start + MAX_OPEN, "as many messages as may be open")
    page.wait_for_timeout(2500)
    assert page.evaluate(count) == start + MAX_OPEN
    page.evaluate("requestAnimationFrame = real; held.filter((f) => f instanceof Function).forEach((f) => f(0))")
    page.wait_for_function(f"(n) => {count} > n", arg=start + MAX_OPEN)
    eventually(lambda: page.evaluate("linemon.now() - linemon.charts.sources[0].newest") < 1500, "caught up")


@pytest.mark.parametrize(
    "address", ["", "?source=web1", "?plot=web1:cpu.busy_pct", "?measure=cpu.busy_pct", "?health=1"]
)
def test_a_closed_tab_leaves_nothing(show: Show, own_feed: Feed, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """At `/`, in this process, to look into it."""
    from bokeh.application.handlers import DirectoryHandler
    from bokeh.document import Document
    from bokeh.server.server import Server

    from linemon.cli._page import Prepared

    monkeypatch.setenv("LINEMON_CONFIG", str(own_feed.config))
    own_feed.move()
    ready = threading.Event()
    servers: list[Server] = []

    def serve() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        server = Server(
            {"/": Prepared(DirectoryHandler(filename=str(APP)))},
            address="127.0.0.1",
            port=0,
            check_unused_sessions_milliseconds=200,
            unused_session_lifetime_milliseconds=200,
        )
        server.start()
        servers.append(server)
        ready.set()
        server.io_loop.start()
        server.unlisten()
        server.io_loop.close(all_fds=True)

    before = {module for module in sys.modules if module.endswith(".pump")}
    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(20)
    try:
        server = servers[0]
        context = server._tornado._applications["/"]
        page = show(f"http://localhost:{server.port}/{address}", wait=None)
        (name,) = {module for module in sys.modules if module.endswith(".pump")} - before
        pump = sys.modules[name].pump
        eventually(lambda: len(pump.pages) == 1, "an open page")
        page.close()
        eventually(lambda: not pump.pages and not context._sessions, "the session gone")

        def is_freed() -> bool:
            gc.collect()
            return not any(isinstance(each, Document) and each.title.endswith("linemon") for each in gc.get_objects())

        eventually(is_freed, "its document freed")
    finally:
        servers[0].io_loop.add_callback(servers[0].io_loop.stop)
        thread.join()
