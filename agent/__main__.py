"""The agent's loop: one row at each point of a monotonic grid, and between them whatever the sockets bring."""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress

if not __package__:  # run by its path, so that no other module called agent can stand in its place
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

try:
    import psutil
except ImportError:
    sys.exit("linemon agent: needs psutil: `apt install python3-psutil`, or `pip install psutil`")

from agent.options import Options, UsageError, help_text, is_local
from agent.sampler import FIXED, Sampler
from agent.settings import HostSettings, host
from linemon_sender.columns import columns_line
from linemon_sender.sender import SpoolSender
from linemon_sender.spool import Spool, SpoolError

NAN = float("nan")


def main(argv: list[str] | None = None) -> int:
    """Run the agent until SIGINT or SIGTERM; 0 = ended by them, 1 = cannot listen or spool, 2 = wrong options."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        options = Options(argv)
    except UsageError as error:
        log(f"{error}; --help shows how")
        return 2
    if options.help:
        print(help_text(), end="")
        return 0
    if options.print_unit:
        from agent.unit import agent_unit

        print(agent_unit(argv), end="")
        return 0
    try:
        return run(options)
    except UsageError as error:
        log(f"{error}; --help shows how")
        return 2


def run(options: Options) -> int:
    """Sample, send and serve until a signal; or read another device. UsageError."""
    selector = selectors.DefaultSelector()
    ended: list[int] = []
    woken, waker = socket.socketpair()  # a signal must end a wait that has just begun, too
    woken.setblocking(False)
    waker.setblocking(False)
    selector.register(woken, selectors.EVENT_READ, lambda _: ended.extend(set(woken.recv(16)) - {signal.SIGALRM}))
    signal.set_wakeup_fd(waker.fileno())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    tls = None
    if options.tls and options.to:
        from linemon_sender.tls import Tls

        tls = Tls(options.to[0], options.ca, options.cert)
    elif options.token and options.to and not is_local(options.to):
        log(f"warning: the token goes to {options.to[0]} in the clear; --tls keeps it secret")
    if options.read:
        from agent.field.loop import run as run_field

        return run_field(options, selector, ended, tls, log)

    sampler = Sampler(psutil, log, groups=options.groups, subsamples=options.subsamples > 1)
    settings = HostSettings(options, sampler)
    listener = sender = None
    if options.listen:
        from agent.listener import Listener

        try:
            listener = Listener(options.listen, options.columns, selector, log)
        except OSError as error:
            log(f"cannot listen on {options.listen[0]}:{options.listen[1]}: {error.strerror or error}")
            return 1
        if not is_local(options.listen):
            log("warning: everyone who reaches this port can read this machine's metrics")
    if options.to:
        try:
            device = host(options, settings, log)
            spool = Spool(
                options.name, options.spool, options.spool_bytes, options.spool_age, log, device=device.identity
            )
        except SpoolError as error:
            log(str(error))
            return 1
        sender = SpoolSender(
            options.to, options.token, spool, selector, log, fixed=len(FIXED), lazy=True, tls=tls, device=device
        )

    sampler.sample(0)  # what the first differences are taken from
    header, names, wanted = b"", list[str](), list[bool]()
    settings.is_new = True
    gc.collect()
    gc.freeze()  # what is here now stays: later collections need not look at it
    while not ended:
        if settings.is_new:
            settings.is_new = False
            names = []
            subsamples, step = settings.subsamples, settings.interval / settings.subsamples
            begun, steps = time.monotonic(), 1  # of the grid: its start, and the point that is next
            if sender:  # wishes are heard within a second: at the next row, or as they come, at the cost of a wake-up
                sender.lazy = settings.interval <= 1.0
        due = begun + steps * step
        for key, mask in selector.select(max(0.0, due - time.monotonic())):
            key.data(mask)
        late = time.monotonic() - due
        if late < 0:
            continue
        passed = 1 + int(late / step)  # points of the grid, most of them missed if it is more than one
        is_row = (steps + passed - 1) // subsamples != (steps - 1) // subsamples
        steps += passed
        if not is_row:
            sampler.subsample()
            continue
        sample = sampler.sample(spool.dropped if sender else 0)
        if sample is None:
            continue
        at, values = sample
        if sender:
            if len(names) != len(sampler.columns):
                names, header = list(sampler.columns), columns_line(sampler.columns)
                wanted = settings.wanted(names)
            row = [f"{at:.6f}"]
            row.extend([f"{values.get(name, NAN):.15g}" if yes else "nan" for name, yes in zip(names, wanted)])
            spool.append(" ".join(row).encode(), header)
            sender.turn()
        if listener:
            listener.publish(values)
    if listener:
        listener.close()
    if sender:
        sender.close()
        spool.close()
    return 0


def log(text: str) -> None:
    """Write one line to standard error; that nobody reads it is no reason to stop."""
    try:
        sys.stderr.write(f"linemon agent: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def program() -> None:
    """The agent as a process. A thread may be dialling in TLS: to end the interpreter under it crashes now and then."""
    code = main()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    program()
