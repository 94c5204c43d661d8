"""To NATS JetStream, a bus from which others take: blocks of numbered lines, in order within a partition.

One message of a partition is on its way at a time, and the same one is sent again until it is acknowledged: many at
once could come in another order, and who takes them would drop the older rows as known. What is there twice does no
harm, as the lines are numbered.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from linemon.parts._far import Away, Denied
from linemon.parts._nats import (
    ONE_SERVER,
    PARTITIONS,
    Access,
    Bus,
    asked,
    connect,
    doubts,
    look,
    partition_of,
    partitions_of,
)
from linemon.parts._nats import SECRET as SECRET
from linemon.parts._port import header_of
from linemon.parts.forward.flow import Block, Flow
from linemon.parts.forward.target import Denied as NotLetIn
from linemon.parts.forward.target import Later, Target
from linemon.parts.forward.targets.linemon import row_lines
from linemon.sections import Span

if TYPE_CHECKING:
    from nats.aio.client import Client

TLS = True
LONGEST: Final = 256 << 10  # bytes of a message
WINDOW: Final = 16 << 20  # bytes that wait to be acknowledged
TRY_S: Final = 2.0  # until a message is sent again
AGAIN_S: Final = 0.25  # while a stream has no leader


@dataclass(frozen=True)
class Settings(Access):
    """Those of streams hold for new ones: what there is is left as it is."""

    partitions: int = 16
    replicas: int = 3
    max_age: Span = Span(259200)
    max_bytes: int = 1 << 30


class Message(NamedTuple):
    text: bytes  # none where all rows of it are refused
    ends: dict[Flow, int]  # what is held once it is acknowledged


@dataclass
class Section:
    """Rows of one flow in a message."""

    columns: tuple[str, ...]
    end: int  # the number of the row that can follow
    lines: list[bytes]


@dataclass
class Lane:
    """What is on its way to one partition."""

    sections: dict[Flow, Section] = field(default_factory=dict)  # of the message that is being made
    size: int = 0
    ready: deque[Message] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        return not self.ready and self.task is None


class To(Target):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._bus = Bus.parse("to", self.config.to)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._differs: list[str] = []

    @property
    def address(self) -> str:
        return f"nats:{self._bus.stream}"  # one more server is no other bus

    def check(self) -> list[str]:
        return doubts(self._bus, self.settings)

    def state(self) -> dict[str, Any]:
        return super().state() | ({"differs": "; ".join(self._differs)} if self._differs else {})

    # -- the bus

    def begin(self, flows: list[Flow], oldest: dict[Flow, int]) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._lanes = [Lane() for _ in range(self.settings.partitions)]
            self._waiting = 0  # bytes
            self._failed: Exception | None = None
            self._run(self._open())
        super().begin(flows, oldest)

    async def _open(self) -> None:
        self._acked = asyncio.Event()
        seconds = float(self.config.timeout)
        self._client = await connect(self._bus, self.settings, seconds)
        self._most = min(LONGEST, self._client.max_payload * 3 // 4)
        self._differs = [text for i in range(len(self._lanes)) for text in await self._have(i)]

    async def _have(self, partition: int) -> list[str]:
        """Make the stream of a partition where there is none; how one that there is differs from linemon.toml."""
        import nats
        from nats.js.api import RetentionPolicy, StorageType
        from nats.js.errors import APIError

        assert self._client
        bus, wanted = self._bus, self.settings
        info = await look(self._client, bus, partition)
        for replicas in (wanted.replicas, 1):
            if info is not None:
                break
            try:
                info = await self._client.jetstream().add_stream(
                    name=bus.name(partition),
                    subjects=[bus.subject(partition)],
                    num_replicas=replicas,
                    max_age=float(wanted.max_age),
                    max_bytes=wanted.max_bytes,
                    retention=RetentionPolicy.LIMITS,
                    storage=StorageType.FILE,
                    metadata={PARTITIONS: str(wanted.partitions)},
                )
            except APIError as error:
                if error.err_code != ONE_SERVER:  # a cluster, one of whose servers is away, is waited for
                    raise Away(f"it makes no stream {bus.name(partition)}: {error.description or error}") from None
            except (nats.errors.Error, OSError) as error:
                raise Away(f"it makes no stream {bus.name(partition)}: {error or type(error).__name__}") from None
        assert info
        if (found := partitions_of(info)) != wanted.partitions:
            raise Denied(
                f"{bus.stream} has {found} partitions, not {wanted.partitions}: set partitions = {found}, or use "
                "another stream, as sources would lose rows where they change their partition"
            )
        there = info.config
        pairs = {
            "replicas": (there.num_replicas, wanted.replicas),
            "max_age": (there.max_age or 0, float(wanted.max_age)),
            "max_bytes": (there.max_bytes, wanted.max_bytes),
        }
        return [f"{there.name} has {key} = {is_:g}" for key, (is_, should) in pairs.items() if is_ != should]

    # -- rows

    def send(self, blocks: list[Block]) -> None:
        for block in blocks:
            self._add(self._lanes[partition_of(block.flow.name, len(self._lanes))], block)
        self._run(self._until(lambda: self._waiting <= WINDOW))

    def settle(self) -> None:
        if self._loop is None:
            return
        for lane in self._lanes:
            self._cut(lane)
        self._run(self._until(lambda: all(lane.is_idle for lane in self._lanes)))

    def close(self) -> None:
        if self._loop is None:
            return
        if self._client is not None:
            with suppress(Exception):  # whatever it says
                self._loop.run_until_complete(asyncio.wait_for(self._client.close(), 1))
            self._client = None
        self._loop.run_until_complete(ended())
        self._loop.close()
        self._loop = None

    def _add(self, lane: Lane, block: Block) -> None:
        """Put rows into the message that is being made for a partition, or into new ones."""
        flow, columns = block.flow, block.rows.columns
        section = lane.sections.get(flow)
        if section and (section.columns, section.end) != (columns, block.first):
            self._cut(lane)
            section = None
        lines = row_lines(block).encode()
        if section is None:
            header = header_of(dict(zip(columns, block.rows.units, strict=True)))
            lines = b"#source %b\n%b\n#seq %d %b\n%b" % (
                flow.name.encode(), header, block.first, flow.run.encode(), lines,
            )  # fmt: skip
        size = len(lines)
        if lane.size + size <= self._most:
            if section is None:
                section = lane.sections[flow] = Section(columns, block.first, [])
            section.lines.append(lines)
            section.end = block.end
            lane.size += size
        elif lane.size:
            self._cut(lane)
            self._add(lane, block)
        elif len(block.rows) > 1:
            for half in block.halves():
                self._add(lane, half)
        else:
            self.refuse(flow, 1, f"{flow.source}: a row of {size} bytes, the bus takes {self._most}")
            lane.ready.append(Message(b"", {flow: block.end}))

    def _cut(self, lane: Lane) -> None:
        """What was collected for a partition is a message."""
        if lane.sections:
            text = b"".join(lines for section in lane.sections.values() for lines in section.lines)
            lane.ready.append(Message(text, {flow: section.end for flow, section in lane.sections.items()}))
            self._waiting += len(text)
            lane.sections, lane.size = {}, 0

    # -- messages

    async def _until(self, is_done: Callable[[], bool]) -> None:
        """Have messages sent until that is so. What one of them raised."""
        for i, lane in enumerate(self._lanes):
            if lane.ready and lane.task is None:
                lane.task = asyncio.create_task(self._drain(i, lane))
        await asyncio.sleep(0)
        while self._failed is None and not is_done():
            self._acked.clear()
            await self._acked.wait()
        if self._failed is not None:
            raise self._failed

    async def _drain(self, partition: int, lane: Lane) -> None:
        """Send what is ready, one message after the other."""
        try:
            while lane.ready:
                message = lane.ready[0]
                if message.text:
                    await self._publish(partition, message)
                lane.ready.popleft()
                self._waiting -= len(message.text)
                for flow, end in message.ends.items():
                    flow.held(end)
                self._acked.set()
        except (Away, Denied) as error:
            self._failed = error
        finally:
            lane.task = None
            self._acked.set()

    async def _publish(self, partition: int, message: Message) -> None:
        """The same message until the bus has it. Away where that takes too long: streams elect leaders in seconds."""
        assert self._client
        digest = blake2b(message.text, digest_size=12).hexdigest()
        stream, end = self._client.jetstream(), time.monotonic() + float(self.config.timeout)
        while True:
            try:
                await asked(
                    stream.publish(
                        self._bus.subject(partition),
                        message.text,
                        timeout=TRY_S,
                        stream=self._bus.name(partition),
                        headers={"Nats-Msg-Id": digest},  # of these very bytes: only then is it the same message
                    )
                )
                return
            except Away:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(AGAIN_S)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop
        try:
            self._loop.run_until_complete(work)
        except Away as error:
            raise Later(f"the bus {self._bus.stream} is away: {error}") from None
        except Denied as error:
            raise NotLetIn(f"the bus {self._bus.stream}: {error}") from None


async def ended() -> None:
    """All that goes on in this loop is over."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
