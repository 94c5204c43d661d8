"""Forks `linemon`, `agent` or `bokeh` for `tests/forked.py`, which runs this file as a program and says more."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import random
import resource
import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress


def linemon() -> None:
    """Import what a collector, parts and commands import when they run; more would make each fork slower."""
    import encodings.idna  # noqa: F401 # of getaddrinfo

    import dateutil.tz  # noqa: F401
    import httptools  # noqa: F401

    import linemon
    from linemon.cli.main import command, names, parse
    from linemon.store.specs import SHIPPED, Specs
    from linemon_sender.specs import Spec

    for name in names():
        command(name)
    for each in pkgutil.walk_packages(linemon.__path__, "linemon."):
        if not each.name.startswith(("linemon.__main__", "linemon.analysis", "linemon.archive", "linemon.cli")):
            importlib.import_module(each.name)
    parse(["collect"])  # regular expressions are compiled here once, not by each process
    Specs(SHIPPED, Spec)


def agent() -> None:
    """Import what an agent imports when it runs."""
    import ssl  # noqa: F401

    import agent
    import agent.__main__

    for each in pkgutil.walk_packages(agent.__path__, "agent."):
        importlib.import_module(each.name)


def bokeh() -> None:
    """Import what a server of pages imports before it has read the app."""
    import bokeh.command.bootstrap
    import bokeh.command.subcommands.serve
    import bokeh.plotting
    import bokeh.server.server  # noqa: F401

    import linemon  # noqa: F401


def main() -> None:
    program = sys.argv[1]
    {"linemon": linemon, "agent": agent, "bokeh": bokeh}[program]()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends pytest, and we end with it
    sock = socket.socket(fileno=int(sys.argv[2]))
    ready = select.poll()
    ready.register(sock, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}  # by descriptor of the child: its number, and where its end is reported
    while True:
        for fd, _ in ready.poll():
            if fd != sock.fileno():
                ready.unregister(fd)
                os.close(fd)
                child, reports = running.pop(fd)
                report(reports, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                os.close(reports)
                continue
            data, fds, *_ = socket.recv_fds(sock, 1 << 20, 4)
            if not data:
                return
            *files, reports = fds
            if not (child := os.fork()):
                sock.close()
                for other, (_, its) in running.items():
                    os.close(other)
                    os.close(its)
                os.close(reports)
                become(program, files, **json.loads(data))
            for file in files:
                os.close(file)
            report(reports, child)
            running[os.pidfd_open(child)] = child, reports
            ready.register(next(reversed(running)), select.POLLIN)


def report(to: int, number: int) -> None:
    """Say the child's number, or how it ended."""
    with suppress(OSError):  # nobody listens any more
        os.write(to, b"%20d" % number)


def become(
    program: str, files: Sequence[int], arguments: list[str], environment: dict[str, str], cwd: str, open_files: int
) -> None:
    """Be the process of a command; never returns."""
    for number, fd in enumerate(files):
        os.dup2(fd, number)
    for fd in files:
        if fd > 2:
            os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    time.tzset()
    random.seed()
    if arguments[0] == "collect":  # it is to close what it opens; commands just end
        warnings.simplefilter("default", ResourceWarning)
    if open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    sys.argv = [program, *arguments]
    if program == "agent":
        from agent.__main__ import program as run

        run()
    if program == "bokeh":
        from bokeh.command.bootstrap import main as serve

        serve(sys.argv)
        sys.exit()
    from linemon.cli.main import main

    try:
        code = main()
    except SystemExit as said:
        if not isinstance(said.code, int):
            raise
        code = said.code
    if arguments[0] != "work":  # which has threads that the interpreter is to wait for
        warnings.simplefilter("ignore", ResourceWarning)  # what is open at its end may be
        gc.collect()  # tasks that were forgotten say so now
        with suppress(OSError):  # to take an interpreter apart costs more than most commands do
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
