"""The page's login: a password, then a signed cookie. Bokeh asks `Login` who a request comes from."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from bokeh.server.auth_provider import AuthProvider
from tornado.web import RequestHandler

from linemon.config import DashboardConfig

DAYS = 30.0  # until one must log in again
WRONG_S = 1.0  # so long a wrong password is thought about
MAX_THINKING = 20  # at the same time; more are not looked at

FORM = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>linemon: log in</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh }}
form {{ display: grid; gap: .75rem; width: 18rem }}
input, button {{ font: inherit; padding: .5rem }}
</style>
<form method="post"><label for="p">Password of this linemon</label>
<input id="p" name="password" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button><output role="alert">{problem}</output></form></html>
"""


def cookie_of(dashboard: DashboardConfig) -> str:
    """The cookie's name. Browsers send cookies to all ports of a host: each page there needs one of its own."""
    return f"linemon_{dashboard.listen.port}"


def handler(dashboard: DashboardConfig) -> type[RequestHandler]:
    """What answers at /login for this page's password."""
    secret = dashboard.password.encode()
    thinking = 0

    class LoginHandler(RequestHandler):
        """A form; the password may also come as ``?token=``, for a link. ``?next=`` says where to go then."""

        async def get(self) -> None:
            if self.get_query_argument("token", None) is None:
                self.show("")
            else:
                await self.judge(self.get_query_argument("token", strip=False))

        async def head(self) -> None:
            self.show("")

        async def post(self) -> None:
            await self.judge(self.get_body_argument("password", "", strip=False))

        async def judge(self, said: str) -> None:
            nonlocal thinking
            if thinking >= MAX_THINKING:  # else as many could be guessed at a time as there are connections
                self.set_status(HTTPStatus.TOO_MANY_REQUESTS)
                self.set_header("Retry-After", "1")
                return self.show("Too many wrong passwords at this moment: try again.")
            if hmac.compare_digest(said.encode(errors="replace"), secret):
                is_safe = self.request.protocol == "https"
                self.set_signed_cookie(
                    cookie_of(dashboard),
                    "yes",
                    DAYS,
                    path=dashboard.path,
                    httponly=True,
                    samesite="Lax",
                    secure=is_safe,
                )
                return self.redirect(where_to(self.get_query_argument("next", ""), dashboard.path))
            self.set_status(HTTPStatus.UNAUTHORIZED)
            thinking += 1
            try:
                await asyncio.sleep(WRONG_S)
            finally:
                thinking -= 1
            return self.show("The password is wrong.")

        def show(self, problem: str) -> None:
            self.set_header("Cache-Control", "no-store")
            self.set_header(
                "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
            )
            self.finish(FORM.format(problem=problem))

    return LoginHandler


def where_to(said: str, page: str) -> str:
    """An address of the page at the path `page`, where that is what was said; else the page itself."""
    is_path = said.startswith(page) and all(" " < char < "\x7f" and char != "\\" for char in said)
    return said if is_path and not said.startswith("//") else page


class Login(AuthProvider):
    """Lets those in who have said the password."""

    def __init__(self, dashboard: DashboardConfig) -> None:
        self._cookie = cookie_of(dashboard)
        self._handler = handler(dashboard)
        super().__init__()

    @property
    def get_user(self) -> Callable[[Any], Any]:
        return lambda request: "reader" if request.get_signed_cookie(self._cookie, max_age_days=DAYS) else None

    @property
    def get_user_async(self) -> None:
        return None

    @property
    def login_url(self) -> str:
        return "/login"

    @property
    def login_handler(self) -> type[RequestHandler]:
        return self._handler

    @property
    def get_login_url(self) -> None:
        return None

    @property
    def logout_url(self) -> None:
        return None

    @property
    def logout_handler(self) -> None:
        return None
