"""The page's login, and the page behind a real nginx under a path; over HTTP and the page's own websocket."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from linemon.cli._login import where_to
from tests.running import DEADLINE_S, command, eventually, free_port, program
from tests.web import Address, Answer, ask

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def dashboard(folder: Path, settings: str, port: int = 0) -> Iterator[Address]:
    """The page on a port of its own."""
    port = port or free_port()
    config = folder / "linemon.toml"
    text = settings.replace("PORT", str(port))
    config.write_text(f'[store]\npath = "{folder}/store"\n[dashboard]\nlisten = "127.0.0.1:{port}"\n{text}\n')
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command("dashboard", "--config", str(config)), stderr=file, stdout=file)
    try:
        eventually(lambda: "the page is at" in log.read_text(), "the page", 60)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        assert process.wait(DEADLINE_S) == 0, log.read_text()


def log_in(at: Address, password: str, path: str = "/login", **headers: str) -> Answer:
    form = urlencode({"password": password})
    return ask(at, "POST", path, form, Content_Type="application/x-www-form-urlencoded", **headers)


def cookie_of(answer: Answer) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


def opens(at: Address, page: str, path: str = "/ws", **headers: str) -> bool:
    """Whether the websocket of a page that was served as `page` begins: with a message of the server's."""
    token = re.search(r'"token":\s*"([^"]+)"', page)
    assert token
    headers = {
        "Host": f"{at[0]}:{at[1]}", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==", "Sec-WebSocket-Protocol": f"bokeh, {token[1]}", **headers,
    }  # fmt: skip
    lines = [f"GET {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]
    with socket.create_connection(at, timeout=DEADLINE_S) as sock:
        sock.sendall("\r\n".join(lines).encode())
        file = sock.makefile("rb")
        begins = b" 101 " in file.readline()
        while file.readline() not in (b"\r\n", b""):
            pass
        return begins and file.read(1) == b"\x81"  # a text frame


def test_a_password(tmp_path: Path) -> None:
    """Without it there is only the form: no page, no websocket. With it, a cookie that cannot be made up."""
    with dashboard(tmp_path, 'password = "s3cret"') as at:
        for path in ("/", "/metadata", "/autoload.js?bokeh-autoload-element=x"):
            answer = ask(at, "GET", path)
            assert (answer.status, answer.headers["Location"].partition("?")[0]) == (302, "/login"), path
        assert "password" in ask(at, "GET", "/login").text
        for wrong in ("", "S3cret", "s3cret "):
            assert log_in(at, wrong).status == 401
        answer = log_in(at, "s3cret")
        assert (answer.status, answer.headers["Location"]) == (302, "/")
        assert "HttpOnly" in answer.headers["Set-Cookie"]
        good = cookie_of(answer)
        name = good.partition("=")[0]
        page = ask(at, "GET", "/", Cookie=good)
        assert page.status == 200
        here = f"http://127.0.0.1:{at[1]}"
        assert opens(at, page.text, Cookie=good, Origin=here)
        assert not opens(at, page.text, Cookie=good, Origin="http://evil.example")
        assert not opens(at, page.text, Origin=here)
        for bad in (good[:-1] + ("0" if good[-2:] != '0"' else "1") + '"', f"{name}=yes", good.replace("|", "")):
            assert ask(at, "GET", "/", Cookie=bad).status == 302
        link = ask(at, "GET", "/login?token=s3cret")
        assert ask(at, "GET", "/", Cookie=cookie_of(link)).status == 200
        assert ask(at, "GET", "/login?token=no").status == 401
        secure = log_in(at, "s3cret", X_Forwarded_Proto="https").headers["Set-Cookie"]
        assert "Secure" in secure


def test_a_link_is_kept_over_the_login(tmp_path: Path) -> None:
    """The view that was asked for is shown after the password; `next` leads nowhere else."""
    with dashboard(tmp_path, 'password = "s3cret"\nprefix = "/b"') as at:
        answer = ask(at, "GET", "/b/?source=web1&window=1h")
        form = answer.headers["Location"]
        assert (answer.status, form) == (302, "/b/login?" + urlencode({"next": "/b/?source=web1&window=1h"}))
        assert log_in(at, "s3cret", form).headers["Location"] == "/b/?source=web1&window=1h"
        for elsewhere in ("//evil.example/", "https://evil.example/b/", "/", "/c/", "/b/\\evil", "/b/\r\nX: y", "b/"):
            assert log_in(at, "s3cret", "/b/login?" + urlencode({"next": elsewhere})).headers["Location"] == "/b/"


@pytest.mark.parametrize("said", ["//evil.example/", "/\\evil.example", "/\t/evil.example", "https://evil.example", ""])
def test_where_a_login_does_not_lead(said: str) -> None:
    """To another site, in none of the ways that a browser would take for one."""
    assert where_to(said, "/") == "/"


def test_two_pages_on_one_host(tmp_path: Path) -> None:
    """Browsers send a cookie to all ports of a host, so each page has one of its own, for its path alone."""
    names, paths = [], []
    for number, prefix in enumerate(("", "/b")):
        folder = tmp_path / str(number)
        folder.mkdir()
        with dashboard(folder, f'password = "s3cret"\nprefix = "{prefix}"') as at:
            said = log_in(at, "s3cret", f"{prefix}/login").headers["Set-Cookie"]
            names.append((said.partition("=")[0], at[1]))
            paths.append(re.findall(r"Path=([^;]+)", said)[0])
    assert [name == f"linemon_{port}" for name, port in names] == [True, True]
    assert paths == ["/", "/b/"]


def test_passwords_cannot_be_guessed_by_the_hundred(tmp_path: Path) -> None:
    """A wrong one takes a second, and no more than twenty are looked at in one: also the right one waits its turn."""
    with dashboard(tmp_path, 'password = "s3cret"') as at:
        with ThreadPoolExecutor(60) as pool:
            began = time.monotonic()
            guesses = list(pool.map(lambda i: log_in(at, f"guess{i}").status, range(60)))
            took = time.monotonic() - began
        assert set(guesses) == {401, 429}
        assert 20 <= guesses.count(401) <= 20 * (1 + took)
        parked = [socket.create_connection(at, timeout=DEADLINE_S) for _ in range(20)]
        for sock in parked:
            sock.sendall(b"GET /login?token=wrong HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert eventually(lambda: (right := log_in(at, "s3cret")).status == 429 and right, "none is looked at")
        assert eventually(lambda: log_in(at, "s3cret").status == 302, "and then it is")
        for sock in parked:
            sock.close()


def test_names_of_other_hosts(tmp_path: Path) -> None:
    """DNS of strangers may call us by any name, and a websocket's Origin is its Host then: both are refused."""
    with dashboard(tmp_path, 'allow_origins = ["lab.example:8443"]') as at:
        page = ask(at, "GET", "/", Host=f"localhost:{at[1]}")
        assert page.status == 200
        for path in ("/", "/?source=web1", "/metadata", "/static/js/bokeh.min.js", "/nothing"):
            assert ask(at, "GET", path, Host=f"evil.example:{at[1]}").status == 403, path
        assert "allow_origins" in ask(at, "GET", "/", Host="evil.example").text
        evil, port = "evil.example", at[1]
        assert not opens(at, page.text, Host=f"{evil}:{port}", Origin=f"http://{evil}:{port}")
        assert not opens(
            at, page.text, Host=f"{evil}:{port}", Origin=f"http://{evil}:{port}", Sec_Fetch_Site="same-origin"
        )
        assert not opens(at, page.text, Host=f"localhost:{port}", Origin=f"http://{evil}:{port}")
        for name in ("localhost:9000", "127.0.0.1:9000", "[::1]:9000", "lab.example", "lab.example:8443"):
            assert opens(at, page.text, Host=name, Origin=f"http://{name}"), name  # such as `ssh -L 9000:…`
        assert opens(at, page.text, Host="lab.example", Origin="https://lab.example:8443")
        assert not opens(at, page.text, Host="lab.example", Origin="https://lab.example:1")


def test_head_of_the_page(tmp_path: Path) -> None:
    """What monitors ask, with and without a password; it costs no session."""
    with dashboard(tmp_path, "") as at:
        head = ask(at, "HEAD", "/")
        assert (head.status, head.headers["Content-Type"], head.body) == (200, "text/html", b"")
        assert ask(at, "HEAD", "/metadata").status == 200
        assert ask(at, "HEAD", "/static/js/bokeh.min.js").status == 200
        assert ask(at, "HEAD", "/nothing").status == 404
    with dashboard(tmp_path, 'password = "s3cret"\nprefix = "/b"') as at:
        assert ask(at, "HEAD", "/b/?source=x").headers["Location"] == ask(at, "GET", "/b/?source=x").headers["Location"]
        assert ask(at, "HEAD", "/b/login").status == 200
        assert ask(at, "HEAD", "/b/", Cookie=cookie_of(log_in(at, "s3cret", "/b/login"))).status == 200


def test_a_cookie_outlives_a_restart_but_not_its_password(tmp_path: Path) -> None:
    with dashboard(tmp_path, 'password = "s3cret"') as at:
        cookie = cookie_of(log_in(at, "s3cret"))
    with dashboard(tmp_path, 'password = "s3cret"', at[1]) as at:
        assert ask(at, "GET", "/", Cookie=cookie).status == 200
    with dashboard(tmp_path, 'password = "another"', at[1]) as at:
        assert ask(at, "GET", "/", Cookie=cookie).status == 302


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[[int], Address]]:
    """The server block of docs/PROXY.md in front of a page, on a port of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(page: int) -> Address:
        port = free_port()
        documented = (Path(__file__).parents[2] / "docs" / "PROXY.md").read_text()
        match = re.search(r"```nginx\n(.*?)```", documented, re.DOTALL)
        assert match
        block = match[1].replace("127.0.0.1:5006", f"127.0.0.1:{page}")
        (tmp_path / "nginx.conf").write_text(
            f"pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; daemon off; worker_processes 1;\n"
            f"events {{ }}\nhttp {{ access_log off;\n"
            + "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in TEMPORARY)
            + f"server {{ listen 127.0.0.1:{port};\n{block}\n}} }}\n"
        )
        started.append(subprocess.Popen([program("nginx"), "-c", tmp_path / "nginx.conf", "-e", tmp_path / "log"]))
        eventually(lambda: (tmp_path / "nginx.pid").exists(), "nginx is up")
        return "127.0.0.1", port

    yield start
    for each in started:
        each.terminate()
        each.wait(DEADLINE_S)


def test_behind_nginx_under_a_path(tmp_path: Path, nginx: Callable[[int], Address]) -> None:
    """The page, its scripts, its login and its websocket, all below /linemon/, by the proxy's name."""
    settings = 'prefix = "/linemon"\npassword = "s3cret"\nallow_origins = ["lab.example"]'
    with dashboard(tmp_path, settings) as page:
        at = nginx(page[1])
        answer = ask(at, "GET", "/linemon/", Host="lab.example")
        assert (answer.status, answer.headers["Location"].partition("?")[0]) == (302, "/linemon/login")
        answer = log_in(at, "s3cret", "/linemon/login", Host="lab.example")
        assert (answer.status, answer.headers["Location"]) == (302, "/linemon/")
        cookie = cookie_of(answer)
        shown = ask(at, "GET", "/linemon/", Cookie=cookie, Host="lab.example")
        assert shown.status == 200
        scripts = re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', shown.text)
        assert any("bokeh" in script for script in scripts)
        for script in scripts:
            if not script.startswith("data:"):
                path = script if script.startswith("/") else f"/linemon/{script}"
                assert ask(at, "GET", path, Host="lab.example").status == 200, script
        for origin in ("http://lab.example", f"http://lab.example:{at[1]}", "https://lab.example"):  # $host has no port
            assert opens(at, shown.text, "/linemon/ws", Cookie=cookie, Origin=origin, Host="lab.example"), origin
        assert not opens(at, shown.text, "/linemon/ws", Cookie=cookie, Origin="http://evil.example")
        assert not opens(at, shown.text, "/linemon/ws", Origin="http://lab.example")
