"""The agent's loop with `--read`: what is read, and whatever the collector says."""

from __future__ import annotations

import os

from agent.field.device import FieldDevice
from agent.field.readers import reader
from agent.options import UsageError
from agent.settings import serial, state_of
from linemon_sender.sender import SpoolSender
from linemon_sender.spool import Spool, SpoolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable

    from agent.options import Options
    from linemon_sender.tls import Tls

TURN = 1.0  # seconds between two looks at what is due, where nothing happens


def run(
    options: Options, selector: selectors.BaseSelector, ended: list[int], tls: Tls | None, log: Callable[[str], None]
) -> int:
    """Read, send and listen until a signal; 0 = ended by it, 1 = cannot spool. UsageError."""
    assert options.to is not None
    source = options.name if options.has_name else ""
    state = state_of(options, options.read, log)
    product, said = options.product, options.serial
    if product and not said:
        said = serial(state, options.read)
    read = reader(options.read)
    try:
        spool = Spool(source, options.spool, options.spool_bytes, options.spool_age, log)
        folder = os.path.join(options.spool, "raw") if options.spool else ""
        raw = Spool("raw", folder, options.spool_bytes, options.spool_age, log)
    except SpoolError as error:
        log(str(error))
        return 1
    try:
        field = FieldDevice(read, spool, raw, state, log, product, said)
    except ValueError as error:
        raise UsageError(f"--{error}") from None
    sender = SpoolSender(options.to, options.token, spool, selector, log, tls=tls, device=field.device)
    read.start(log, sender.wake)
    while not ended:
        for key, mask in selector.select(TURN):
            key.data(mask)
        field.take()
        sender.turn()
    sender.close()
    field.close()
    spool.close()
    raw.close()
    return 0
