"""From NATS JetStream, of a bus that a forward fills: blocks of numbered lines, each partition from where it was.

The position is ours: it is saved once the collector holds a block's rows. Each partition is read by a consumer without
acknowledgements, which is made anew at the position after any gap: what is redelivered would come after newer rows,
and be dropped as known.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from linemon.config import Config
from linemon.logs import Seldom
from linemon.parts._far import Away, Denied
from linemon.parts._nats import SECRET as SECRET
from linemon.parts._nats import Access, Bus, asked, connect, doubts, look, partitions_of
from linemon.parts.subscribe.numbered import NumberedPort, sections_of
from linemon.parts.subscribe.origin import Origin
from linemon.store.folder import replace_file

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.api import StreamInfo

log = logging.getLogger(__name__)

TLS = True
TAKE: Final = re.compile(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*")
AT_ONCE: Final = 8  # messages that a partition asks for
EXPIRES_S: Final = 30  # until it asks again
ALIVE_S: Final = 2  # from one sign of life to the next
DEAD_S: Final = 5
SAVE_S: Final = 1.0
TIMEOUT_S: Final = 10.0  # for one answer
BACK_OFF_S: Final = (1.0, 60.0)
DENIED_S: Final = 60.0  # from one question of who is not let in to the next


@dataclass(frozen=True)
class Settings(Access):
    take: str = ""


@dataclass
class Lane:
    """One partition: what is to be taken next, and how that goes."""

    partition: int
    created: str = ""  # when its stream was made; empty: it was never read
    next: int = 0  # the stream's number of the message that is awaited
    waits_since: float | None = None  # when the oldest message came there (s) that is known of and not taken
    why: tuple[str, str] | None = None  # a word and a text: why nothing is taken


class From(Origin):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._bus = Bus.parse("from", self.config.from_)
        self._take = partitions(self.settings.take)
        self._lanes: list[Lane] = []
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._why: tuple[str, str] | None = None
        self._partitions = self._messages = self._rows = self._lost = self._refused = 0
        self._ports: list[NumberedPort] = []
        self._losses = Seldom()

    def check(self, config: Config) -> list[str]:
        said = doubts(self._bus, self.settings)
        for table in config.forward:
            scheme, _, _ = str(table.get("to")).partition(":")
            if table.get("relay") and scheme in ("nats", "natss") and str(table["to"]).endswith(f"/{self._bus.stream}"):
                said.append(f"a [[forward]] with relay = true sends what comes from {self._bus.stream} there again")
        return said

    def totals(self) -> dict[str, float]:
        since = min((lane.waits_since for lane in self._lanes if lane.waits_since is not None), default=None)
        return {
            "behind_s": 0.0 if since is None else round(max(0.0, time.time() - since), 1),
            "messages": self._messages,
            "rows": self._rows,
            "lost": self._lost,
            "refused": self._refused + sum(port.refused for port in self._ports),
        }

    def state(self) -> dict[str, Any]:
        why = [self._why, *(lane.why for lane in self._lanes)]
        said = {word: text for each in why if each for word, text in [each]}
        if self._partitions:
            said["partitions"] = f"{self.settings.take or 'all'} of {self._partitions}"
        refused = [port.why for port in self._ports if port.why]
        return said | ({"last refused": self.clean(refused[-1])} if refused else {})

    # -- from one failure to the next

    async def run(self, config: Config) -> None:
        self._lanes, self._ports, back_off = [], [], BackOff()
        while not self._lanes:
            try:
                self._lanes = [Lane(partition) for partition in await self._mine()]
                self._why = None
            except (Away, Denied) as error:
                self._why = told(error, self)
                await asyncio.sleep(back_off.after(error))
        positions = Positions(self._file, self._lanes)
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(self._follow(lane, NumberedPort(config, TIMEOUT_S)))
                group.create_task(positions.keep())
        finally:
            positions.save()
            if self._client is not None:
                with suppress(Exception):
                    await asyncio.wait_for(self._client.close(), 1)

    async def _follow(self, lane: Lane, port: NumberedPort) -> None:
        """Take one partition for ever."""
        back_off = BackOff()
        self._ports.append(port)
        try:
            while True:
                try:
                    await self._read(lane, port, back_off)
                except (Away, Denied) as error:
                    lane.why = told(error, self)
                    port.close()
                    await asyncio.sleep(back_off.after(error))
        finally:
            port.close()

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None or self._client.is_closed:
                self._client = await connect(self._bus, self.settings, TIMEOUT_S)
            return self._client

    async def _mine(self) -> tuple[int, ...]:
        """The partitions to be taken, of those that the bus has."""
        info = await self._look(await self._connected(), self._take[0] if self._take else 0)
        self._partitions = partitions_of(info)
        if self._take and max(self._take) >= self._partitions:
            raise Denied(f"take = {self.settings.take!r}: {self._bus.stream} has {self._partitions} partitions, from 0")
        return self._take or tuple(range(self._partitions))

    async def _look(self, client: Client, partition: int) -> StreamInfo:
        info = await look(client, self._bus, partition)
        if info is None:
            raise Away(f"there is no stream {self._bus.name(partition)}: a forward makes it")
        return info

    # -- one partition

    async def _read(self, lane: Lane, port: NumberedPort, back_off: BackOff) -> None:
        """Take messages in their order; Away after a gap, or when nothing comes any more."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        client = await self._connected()
        self._place(lane, await self._look(client, lane.partition))
        inbox = client.new_inbox()
        heard = await asked(client.subscribe(inbox))
        try:
            made = await asked(
                client.jetstream().add_consumer(
                    stream := self._bus.name(lane.partition),
                    ConsumerConfig(
                        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                        opt_start_seq=lane.next,
                        ack_policy=AckPolicy.NONE,
                        inactive_threshold=60,
                        mem_storage=True,
                        num_replicas=1,
                    ),
                )
            )
            count, open_ = 0, 0
            question = {"batch": AT_ONCE, "expires": EXPIRES_S * 10**9, "idle_heartbeat": ALIVE_S * 10**9}
            while True:
                if not open_:
                    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{made.name}"
                    await asked(client.publish(subject, json.dumps(question).encode(), inbox))
                    open_ = AT_ONCE
                message = await asked(heard.next_msg(DEAD_S))
                status = (message.headers or {}).get("Status")
                if status is None:
                    count, open_ = count + 1, open_ - 1
                    await self._taken(lane, message, count, port)
                    back_off.worked()
                elif status in ("404", "408"):  # the question is over
                    open_ = 0
                elif status != "100":
                    raise Away(f"{stream}: {status} {(message.headers or {}).get('Description', '')}")
                lane.why = None
        finally:
            with suppress(Exception):
                await heard.unsubscribe()

    def _place(self, lane: Lane, info: StreamInfo) -> None:
        """Where to go on, in the stream as it is now."""
        name, created, state = info.config.name, str(info.created), info.state
        if lane.created and (lane.created != created or lane.next > state.last_seq + 1):
            log.warning(
                "%s: the stream %s is not the one that was read: from its first message", self.config.title, name
            )
            lane.next = 0
        elif lane.created and state.first_seq > lane.next:
            self._loses(lane, state.first_seq)
        lane.created, lane.next = created, max(lane.next, state.first_seq, 1)
        if lane.next > state.last_seq:
            lane.waits_since = None

    def _loses(self, lane: Lane, number: int) -> None:
        """The bus dropped messages before they were taken: the next one has this number."""
        self._lost += number - lane.next
        lane.next = number
        if self._losses.due():
            log.error(
                "%s: %s dropped messages before they were taken, %d by now: it keeps too few, or we were away too long",
                self.config.title,
                self._bus.name(lane.partition),
                self._lost,
            )

    async def _taken(self, lane: Lane, message: Msg, count: int, port: NumberedPort) -> None:
        """Have the collector hold a message's rows. `count`: how many of this consumer came."""
        told = message.metadata
        number = told.sequence.stream
        if told.sequence.consumer != count or number < lane.next:
            raise Away("a message was lost on its way")
        if number > lane.next:
            self._loses(lane, number)
        lane.waits_since = told.timestamp.timestamp()
        try:
            sections = sections_of(message.data)
        except ValueError:
            self._refused += 1
            log.warning(
                "%s: message %d of partition %d is no block of lines", self.config.title, number, lane.partition
            )
        else:
            await port.take(sections)
            self._rows += sum(each.end - each.first for each in sections)
        self._messages += 1
        lane.next = number + 1
        if not told.num_pending:
            lane.waits_since = None


class BackOff:
    """How long to wait after the n-th failure in a row."""

    def __init__(self) -> None:
        self._failures = 0

    def worked(self) -> None:
        self._failures = 0

    def after(self, error: Away | Denied) -> float:
        """Seconds."""
        if isinstance(error, Denied):
            return DENIED_S
        least, most = BACK_OFF_S
        self._failures += 1
        return float(min(most, least * 2 ** min(self._failures - 1, 10)) * random.uniform(0.75, 1.0))  # noqa: S311


class Positions:
    """How far each partition was taken, as a file: replaced by rename, so that it is whole whenever we are killed."""

    def __init__(self, path: Path, lanes: list[Lane]) -> None:
        self._path, self._lanes = path, lanes
        self._saved: dict[str, list[Any]] = {}
        try:
            self._saved = {
                str(name): [str(each[0]), int(each[1])] for name, each in json.loads(path.read_bytes()).items()
            }
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s cannot be read, all that the bus has is taken again: %s", path, error)
        for lane in lanes:
            lane.created, lane.next = self._saved.get(str(lane.partition), ("", 0))

    async def keep(self) -> None:
        """Save it now and then, for ever. OSError."""
        while True:
            await asyncio.sleep(SAVE_S)
            self.save()

    def save(self) -> None:
        said = self._saved | {str(lane.partition): [lane.created, lane.next] for lane in self._lanes if lane.created}
        if said != self._saved:
            os.close(replace_file(self._path, json.dumps(said).encode(), 0o600))
            self._saved = said


def partitions(said: str) -> tuple[int, ...]:
    """Of ``0-7,9``; none for all. ValueError."""
    if not said:
        return ()
    if not TAKE.fullmatch(said):
        raise ValueError(f"take = {said!r}: expected partitions such as '0-7' or '0,3,8-15'")
    found: set[int] = set()
    for part in said.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    if not found:
        raise ValueError(f"take = {said!r}: expected the smaller number first")
    return tuple(sorted(found))


def told(error: Away | Denied, origin: Origin) -> tuple[str, str]:
    return ("denied" if isinstance(error, Denied) else "away"), origin.clean(str(error))
