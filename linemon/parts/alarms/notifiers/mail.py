"""E-mail, through a server that takes it for us (SMTP, RFC 5321)."""

from __future__ import annotations

import os
import re
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime
from functools import partial
from html import escape
from typing import Final

from linemon.parts.alarms.message import Message
from linemon.parts.alarms.notifier import Later, Notifier, Refused
from linemon.parts.alarms.notifiers import _http
from linemon.ports import Address

SECRET = ("password",)
MAILBOX: Final = re.compile(r"[!-?A-~]+@[!-?A-~]+")
MOST: Final = 20_000  # characters
COLOURS: Final = ("#12784f", "#8a5a00", "#b3261e")  # by level; each readable on white
PAGE: Final = """\
<!doctype html><html><head><meta name="color-scheme" content="light"></head>
<body style="margin:0;padding:24px 12px;background:#f4f6f8;font-family:system-ui,'Segoe UI',Roboto,sans-serif">
<table role="presentation" width="100%" style="max-width:640px;margin:0 auto;background:#fff;\
border-collapse:collapse;border-top:4px solid {colour}">
<tr><td style="padding:20px 24px 4px;font-size:20px;line-height:1.3;font-weight:600;color:{colour}">{title}</td></tr>
{lines}{picture}<tr><td style="padding:16px 24px 20px;font-size:12px;color:#6b7280">{link}linemon on {host}</td></tr>
</table></body></html>
"""
LINE: Final = '<tr><td style="padding:4px 24px;font-size:15px;line-height:1.5;color:#1f2937"><b>{}</b> {}</td></tr>\n'
PICTURE: Final = (
    '<tr><td style="padding:12px 8px 0"><img src="cid:{}" width="624" alt="{}" '
    'style="width:100%;height:auto;display:block"></td></tr>\n'
)
LINK: Final = '<a href="{0}" style="color:#1d4ed8">{0}</a><br>'


@dataclass(frozen=True)
class Settings:
    host: str = "localhost:25"
    from_: str = ""
    to: tuple[str, ...] = ()
    starttls: bool = False
    tls: bool = False
    ca: str = ""
    user: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        if not self.to:
            raise ValueError('to = []: expected a list of addresses such as ["ops@example.org"]')
        for key, address in [("to", each) for each in self.to] + [("from", self.sender)]:
            if not MAILBOX.fullmatch(address):
                raise ValueError(f'{key} = {address!r}: expected an address such as "ops@example.org"')
        if self.tls and self.starttls:
            raise ValueError("tls = true: expected it alone, or starttls")
        try:
            Address.parse(self.host)
        except ValueError:
            raise ValueError(f'host = {self.host!r}: expected an address such as "mail.example.org:587"') from None

    @property
    def sender(self) -> str:
        return self.from_ or f"linemon@{os.uname().nodename}"


class Notify(Notifier):
    def host(self) -> str:
        return Address.parse(self.settings.host).host

    def check(self) -> list[str]:
        address = Address.parse(self.settings.host)
        if self.settings.password and not (address.is_loopback or self.settings.tls or self.settings.starttls):
            return [f"it sends its password to {address.host} without tls or starttls: others may read it"]
        return []

    def tell(self, message: Message) -> None:
        """One mail to all; where only some have taken it, again to the others."""
        to = self.unserved(message, self.settings.to)
        data = self.written(message).as_bytes()
        try:
            with self._connect() as smtp:
                try:
                    refused = smtp.sendmail(self.settings.sender, to, data)
                except smtplib.SMTPRecipientsRefused as error:
                    refused = error.recipients
        except (OSError, smtplib.SMTPException) as error:  # the latter are OSErrors, too
            raise self._meaning(error) from None
        codes = {each: refused.get(each) for each in to}
        self.served(message, {each: self._reply(*code, each) if code else None for each, code in codes.items()})

    def _connect(self) -> smtplib.SMTP:
        server, settings = Address.parse(self.settings.host), self.settings
        context = ssl.create_default_context(cafile=settings.ca or None) if settings.tls or settings.starttls else None
        kind = partial(smtplib.SMTP_SSL, context=context) if settings.tls else smtplib.SMTP
        smtp = kind(server.host, server.port, os.uname().nodename, timeout=self.timeout)
        try:
            if settings.starttls:
                smtp.starttls(context=context)
            if settings.user:
                smtp.login(settings.user, settings.password)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _meaning(self, error: OSError) -> Later | Refused:
        if isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPResponseException):
            return self._reply(error.smtp_code, error.smtp_error, "")
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return Refused(f"{self.host()}: {error}")
        if isinstance(error, smtplib.SMTPServerDisconnected):
            return Later(f"{self.host()} closed the connection")
        return _http.unreachable(self.host(), error)

    def _reply(self, code: int, words: bytes | str, to: str) -> Later | Refused:
        """A server's reply: 4xx is for now, 5xx for good."""
        text = words.decode(errors="replace") if isinstance(words, bytes) else words
        said = f"{self.host()} answers {code} {text}" + (f" for {to}" if to else "")
        return Later(said, whole=False) if code < 500 else Refused(said)

    def written(self, message: Message) -> EmailMessage:
        """The mail: the text, and the same as HTML with a picture."""
        mail = EmailMessage(SMTP.clone(cte_type="7bit", max_line_length=200))
        mail["From"], mail["To"] = self.settings.sender, ", ".join(self.settings.to)
        mail["Subject"] = message.title
        mail["Date"] = format_datetime(localtime())
        mail["Message-ID"] = f"<{message.id}@linemon>"
        first = [each for each in (f"<{event.key}.1@linemon>" for event in message.incidents) if len(each) < 200]
        if first != [mail["Message-ID"]] and first:
            mail["References"] = " ".join(first[:10])  # a thread an incident
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text(MOST))
        picture = message.picture()
        shown = PICTURE.format("picture@linemon", escape(message.title)) if picture else ""
        mail.add_alternative(
            PAGE.format(
                colour=COLOURS[message.level],
                title=escape(message.title),
                lines="".join(LINE.format(*map(escape, part)) for part in message.parts),
                picture=shown,
                link=LINK.format(escape(message.link)) if message.link else "",
                host=escape(os.uname().nodename),
            ),
            subtype="html",
        )
        if picture:
            html = mail.get_payload()[1]  # type: ignore[index]  # of a multipart it is a list
            html.add_related(picture, "image", "png", cid="<picture@linemon>")  # type: ignore[union-attr]
        return mail
