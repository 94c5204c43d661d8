"""Devices: they register, hear what is wished of them and what their spec is, and report. No I/O but the store.

docs/DEVICES.md has the conversation. What a device is told waits in its session, the newest of each kind, until the
peer takes it: so one that does not read costs nothing, and none of it is lost.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from hashlib import sha256
from secrets import token_hex
from typing import Any, Final

from linemon.access import Grant
from linemon.errors import LineError, show
from linemon.lines import wire
from linemon.lines.contact import Contact, Refusal
from linemon.lines.session import Session
from linemon.logs import Seldom
from linemon.patterns import exactly, fits
from linemon.sections import DevicesConfig
from linemon.store.devices import Device, DeviceBook, Settings
from linemon.store.marks import SETTING, Mark
from linemon.store.specs import Specs

log = logging.getLogger(__name__)

WORD_BYTES: Final = 64  # of a product, a serial, a version
MAX_SETTINGS: Final = 16384  # bytes of JSON
KEY: Final = re.compile(r"[^\s=\x00-\x1f]{1,64}")  # the name of a setting
HEARD_S: Final = 10.0  # a connection that was heard from within this, or INTERVALS of its device's, is alive
INTERVALS, LONGEST_S = 3, 600.0
CONNECTED: Final = "this device is connected already"
REPORT: Final = re.compile(rb"(\d{1,15})[ \t]+(.+)", re.DOTALL)


class Devices:
    """All devices of a collector."""

    def __init__(
        self,
        book: DeviceBook | None = None,
        specs: Specs | None = None,
        config: DevicesConfig = DevicesConfig(),
        mark: Callable[[Mark], None] = lambda mark: None,
    ) -> None:
        """`mark` sets a mark when settings take effect."""
        self.book = book or DeviceBook()
        self.specs = specs or Specs()
        self._config = config
        self._mark = mark
        self._contacts: dict[Device, Contact] = {}
        self._claims: dict[Session, Device] = {}  # who says to be one that is connected, and may show that by its #seq
        self._told: defaultdict[str, Seldom] = defaultdict(Seldom)

    # -- what a connection says

    def said(self, session: Session, word: bytes, rest: bytes, now: int) -> None:
        """Carry out `#device`, `#is` or `#spec`. LineError `device` if it is none; Refusal ends the connection."""
        if word == b"#device":
            who = self._who(session, rest)
            try:
                self._come(session, *who, now)
            except LineError as error:
                raise Refusal(str(error)) from None  # also where there is no room to keep it: it tries again
        elif session.contact is None:
            raise LineError("device", f"{show(word)} goes after #device")
        elif word == b"#is":
            self._report(session.contact, rest, now)
        else:
            session.contact.device.spec = said_word(rest, "#spec VERSION")
            self.book.keep_later(session.contact.device)

    def claims(self, session: Session, sender: str, now: int) -> None:
        """It numbers its lines as this sender: as the one that is connected already, or Refusal."""
        if device := self._claims.pop(session, None):
            contact = self._contacts.get(device)
            if contact:
                there = contact.session.sequence
                if not sender or there is None or there.sender != sender:
                    raise self._cloned(device, session)
                self._end(contact, "another connection goes on in its place", now)
            del session.refused[b"#device"]
            self._begin(session, device, now)

    def heed(self, session: Session, source: str) -> None:
        """A connection is about to write rows to a source: count it, once, where that is another device's."""
        owner = self.book.named(source)
        if owner and source not in session.foreign and not (session.contact and session.contact.device is owner):
            session.foreign += (source,)
            owner.foreign += 1

    def leave(self, session: Session, now: int) -> None:
        """The connection is gone."""
        self._claims.pop(session, None)
        contact, session.contact, session.link = session.contact, None, None
        if contact and self._contacts.get(contact.device) is contact:
            del self._contacts[contact.device]
            contact.device.connected, contact.device.since = False, now

    def find(self, secret: bytes) -> Grant | None:
        """What a device's own token opens; None if it is none."""
        device = self.book.of_token(sha256(secret).hexdigest())
        if device is None or device.blocked:
            return None
        if not device.token_shown:
            device.token_shown = True
            self.book.keep_later(device)
        return Grant((exactly(device.name),), device=device.key)

    # -- registration

    def _who(self, session: Session, rest: bytes) -> tuple[str, str]:
        session.refused.pop(b"#device", None)
        words = [word for word in rest.replace(b"\t", b" ").split(b" ") if word]
        try:
            if len(words) != 2:
                raise LineError("device", f"{show(rest)}: expected #device PRODUCT SERIAL")
            product, serial = (said_word(word, "#device PRODUCT SERIAL") for word in words)
        except LineError as error:
            session.refused[b"#device"] = error
            raise
        if session.contact or session in self._claims:
            raise Refusal("a connection is one device: this one has said #device before")
        return product, serial

    def _come(self, session: Session, product: str, serial: str, now: int) -> None:
        key = product, serial
        if session.grant is None:
            raise Refusal("this port asks for a #token first")
        if session.grant.device not in (None, key):
            raise Refusal("this token is another device's own")
        device = self.book.get(key)
        if device and device.blocked:
            raise Refusal("it is blocked here")
        if device and device.token_shown and session.grant.enrols:
            raise Refusal(f"it has a token of its own; `linemon devices --forget {device.name}` lets it have another")
        if device is None:
            device = self._meet(session, product, serial)
        if not session.grant.covers(device.name):
            raise Refusal(f"this token may not write to {device.name!r}")
        session.go_to(device.name)
        if contact := self._contacts.get(device):
            link = contact.session.link
            interval = device.reported.get("interval")
            usual_s = INTERVALS * interval if isinstance(interval, (int, float)) else 0.0
            if link and link.silent_s() < max(HEARD_S, min(usual_s, LONGEST_S)):
                if contact.session.peer != session.peer:
                    raise self._cloned(device, session)
                self._claims[session] = device
                session.refused[b"#device"] = Refusal(CONNECTED)  # unless its #seq says otherwise
                return
            self._end(contact, "another connection takes its place", now)
        self._begin(session, device, now)

    def _meet(self, session: Session, product: str, serial: str) -> Device:
        """A device that was never here; it is kept. Refusal where there is no room, or no name."""
        if self.book.count >= self._config.max_devices:
            raise Refusal(f"there are max_devices = {self._config.max_devices} already")
        wanted = session.source or self._config.name.format(product=product, serial=serial)
        assert session.grant
        for name in (wanted, f"{wanted}.{serial[:4]}", f"{wanted}.{serial}"):
            owner = self.book.named(name)
            if owner is None and session.grant.covers(name):
                break
            if owner is None:
                raise Refusal(f"this token may not write to {name!r}")
        else:
            raise Refusal(f"another device has the name {wanted!r}")
        device = Device(product, serial, wire.source_name(name), wanted="" if name == wanted else wanted)
        if device.wanted and self._told["name"].due():
            log.warning("%s %s is %r: another device has the name %r", product, serial, name, wanted)
        self.book.keep(device)
        return device

    def _begin(self, session: Session, device: Device, now: int) -> None:
        """Tell a device who it is, and what there is for it."""
        secret = ""
        if session.grant and session.grant.enrols and session.link and session.link.is_private:
            secret = token_hex(16)
            self.book.keep(device, token=sha256(secret.encode()).hexdigest())
        session.contact = contact = self._contacts[device] = Contact(device, session)
        device.connected, device.since, device.address = True, now, session.peer
        session.reply(f"#device {device.name}")
        if secret:
            session.reply(f"#token {secret}")
        self._offer_spec(contact)
        self._offer_settings(contact)

    def _cloned(self, device: Device, session: Session) -> Refusal:
        device.clone = session.peer
        if self._told["clone"].due():
            log.warning("%s says to be %s, which is connected: is it a copy?", session.peer, " ".join(device.key))
        return Refusal(CONNECTED)

    def _end(self, contact: Contact, why: str, now: int) -> None:
        """Turn a device away that is connected."""
        session = contact.session
        session.turn_away(Refusal(why), session.lines)
        link = session.link
        self.leave(session, now)
        if link:
            link.wake()

    # -- settings and specs

    def _report(self, contact: Contact, rest: bytes, now: int) -> None:
        """What it works with now, and what it refused."""
        match = REPORT.fullmatch(rest)
        if not match or len(match[2]) > MAX_SETTINGS:
            raise LineError("device", f"expected #is VERSION JSON, a number and up to {MAX_SETTINGS} bytes")
        said = object_of(wire.text(match[2]))
        device, version = contact.device, int(match[1])
        refused = said.pop("refused", device.refused if version == device.reported_version else {})
        if not isinstance(refused, dict) or not all(isinstance(why, str) for why in refused.values()):
            raise LineError("device", '"refused" is an object of reasons, {"KEY": "REASON"}')
        if version > device.version:  # of a registry that was lost: what it wishes now comes after that
            device.version = version + bool(device.desired)
        device.desired = as_reported(device.desired, said)
        before, was_done = device.reported, device.has_answered
        if (before, device.reported_version, device.refused) != (said, version, refused):
            device.reported, device.reported_version, device.refused = said, version, refused
            self.book.keep_later(device)
        if version and device.has_answered and not was_done:
            self.book.flush()
            changed = {key: value for key, value in said.items() if before.get(key) != value}
            words = [*map(setting, changed.items()), *(f"{key} refused: {why}" for key, why in refused.items())]
            text = "".join(char if char.isprintable() else "?" for char in "; ".join(words) or "settings as they came")
            self._mark(Mark.of(now, text[: wire.MAX_MARK], device.name, SETTING))
        self._offer_settings(contact)

    def _offer_settings(self, contact: Contact) -> None:
        """Send what is wished and not answered, once on a connection."""
        device = contact.device
        if device.has_answered:
            contact.session.news.pop("#set", None)
        elif contact.told_set != device.version:
            contact.told_set = device.version
            contact.session.news["#set"] = f"#set {device.version} {as_json(device.desired)}"

    def _offer_spec(self, contact: Contact) -> None:
        spec = self.specs.find(contact.device.product)
        if spec and contact.told_spec != spec.text:
            contact.told_spec = spec.text
            contact.session.news["#spec"] = f"#spec {spec.version} {spec.text}"

    def update(self) -> None:
        """Once a second: specs that changed go out, and what waits is written down."""
        if self.specs.refresh():
            for contact in self._contacts.values():
                self._offer_spec(contact)
                self._wake(contact)
        self.book.flush()

    @staticmethod
    def _wake(contact: Contact) -> None:
        if contact.session.news and contact.session.link:
            contact.session.link.wake()

    # -- what people say

    def matching(self, pattern: str) -> Iterator[Device]:
        """Those that have this name, or else one that fits."""
        exact = self.book.named(pattern)
        return iter([exact] if exact else [each for each in self.book if fits([pattern], each.name)])

    def wish(self, device: Device, changes: Settings, now: int) -> None:
        """Wish for these settings; one of None takes its wish back. LineError if they are none."""
        desired = {key: value for key, value in {**device.desired, **changes}.items() if value is not None}
        desired = as_reported(desired, device.reported)
        for key in changes:
            if not KEY.fullmatch(key) or key == "refused":
                raise LineError("device", f"{key[:60]!r} is no name of a setting")
        if len(as_json(desired).encode(errors="replace")) > MAX_SETTINGS:
            raise LineError("device", f"settings of more than {MAX_SETTINGS} bytes")
        if desired == device.desired:
            return
        before = device.desired, device.version, device.wished
        device.desired, device.version, device.wished = desired, device.version + 1, now
        try:
            self.book.keep(device)
        except LineError:
            device.desired, device.version, device.wished = before
            raise
        if contact := self._contacts.get(device):
            self._offer_settings(contact)
            self._wake(contact)

    def block(self, device: Device, is_blocked: bool, now: int) -> None:
        """Refuse it from now on, or no longer. LineError where that cannot be written."""
        device.blocked = is_blocked
        self.book.keep(device)
        if is_blocked and (contact := self._contacts.get(device)):
            self._end(contact, "it is blocked here", now)

    def forget(self, device: Device, now: int) -> None:
        """Know its name, token and wishes no longer. LineError where that cannot be written."""
        self.book.forget(device)
        if contact := self._contacts.get(device):
            self._end(contact, "it is forgotten here: it may register anew", now)


def said_word(word: bytes, expected: str) -> str:
    """A product, a serial, a version. LineError `device` if it is none."""
    text = wire.text(word)
    if not word or len(word) > WORD_BYTES or not text.isprintable() or " " in text:
        raise LineError("device", f"{show(word)}: expected {expected}, each up to {WORD_BYTES} bytes without blanks")
    return text


def object_of(text: str) -> Settings:
    """A JSON object. LineError `device` if it is none."""

    def no_number(word: str) -> None:
        raise ValueError(f"{word} is no number of JSON")

    try:
        found = json.loads(text, parse_constant=no_number)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # neither half characters nor 1e999
    except (ValueError, RecursionError) as error:
        raise LineError("device", f'expected a JSON object such as {{"interval": 1}}: {error}') from None
    return found


def as_reported(desired: Settings, reported: Settings) -> Settings:
    """The same wishes, where a device has lists: ``a,b`` is one."""
    return {
        key: [each.strip() for each in value.split(",") if each.strip()]
        if isinstance(value, str) and isinstance(reported.get(key), list)
        else value
        for key, value in desired.items()
    }


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def setting(item: tuple[str, Any]) -> str:
    return f"{item[0]} = {as_json(item[1])}"
