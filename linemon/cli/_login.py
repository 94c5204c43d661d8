"""The page's login: a password, then a signed cookie. Bokeh asks `Login` who a request comes from."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from typing import Any

from bokeh.server.auth_provider import AuthProvider
from tornado.web import RequestHandler

COOKIE = "linemon"
DAYS = 30.0  # until one must log in again
WRONG_S = 1.0  # so long a wrong password is thought about
MAX_THINKING = 20  # at the same time; more are told so at once

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


def handler(password: str) -> type[RequestHandler]:
    """What answers at /login for this password."""
    secret = password.encode()
    thinking = 0

    class LoginHandler(RequestHandler):
        """A form; the password may also come as ``?token=``, for a link."""

        async def get(self) -> None:
            if self.get_query_argument("token", None) is None:
                self.show("")
            else:
                await self.judge(self.get_query_argument("token", strip=False))

        async def post(self) -> None:
            await self.judge(self.get_body_argument("password", "", strip=False))

        async def judge(self, said: str) -> None:
            nonlocal thinking
            if hmac.compare_digest(said.encode(), secret):
                self.set_signed_cookie(
                    COOKIE, "yes", DAYS, httponly=True, samesite="Lax", secure=self.request.protocol == "https"
                )
                self.redirect(self.application.prefix + "/")  # type: ignore[attr-defined]
                return
            self.set_status(401)
            if thinking < MAX_THINKING:
                thinking += 1
                try:
                    await asyncio.sleep(WRONG_S)
                finally:
                    thinking -= 1
            self.show("The password is wrong.")

        def show(self, problem: str) -> None:
            self.set_header(
                "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
            )
            self.finish(FORM.format(problem=problem))

    return LoginHandler


class Login(AuthProvider):
    """Lets those in who have said the password."""

    def __init__(self, password: str) -> None:
        self._handler = handler(password)
        super().__init__()

    @property
    def get_user(self) -> Callable[[Any], Any]:
        return lambda request: "reader" if request.get_signed_cookie(COOKIE, max_age_days=DAYS) else None

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
