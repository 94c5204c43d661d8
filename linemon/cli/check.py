"""`linemon check`: whether linemon.toml is right, and what it means."""

from __future__ import annotations

import argparse
import sys

from linemon import boards
from linemon.config import Config, HttpConfig, TcpConfig
from linemon.errors import ConfigError
from linemon.sections import HistoryConfig
from linemon.tls import server_context

HELP = "say whether linemon.toml is right, and what it means"
EXAMPLE = "linemon check --config linemon.toml"


def options(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def run(config: Config, options: argparse.Namespace) -> int:
    """Say what the settings mean; they are right, or they could not have been loaded."""
    from linemon.doors import reach, said
    from linemon.lines import bulk
    from linemon.parts.alarms import notifiers
    from linemon.parts.alarms.rules import check as check_alarms
    from linemon.parts.forward import targets
    from linemon.parts.subscribe import origins
    from linemon.parts.tasks.plan import check as check_tasks
    from linemon.store.folder import sources_that_fit

    alarms, notify = check_alarms(config, config.store.folder), notifiers.check(config)
    forwards, tasks = targets.check(config), check_tasks(config, config.store.folder)
    subscriptions = origins.check(config)
    print(f"{config.file or 'built-in defaults (no linemon.toml here or in the config folder)'}: OK")
    store = config.store
    print(f"store:     {store.folder}, the newest {store.points} rows of up to {store.max_sources} sources")
    fitting = {columns: sources_that_fit(store.folder, store.points, columns) for columns in (1, 10, 60)}
    print(
        "           room for "
        + ", ".join(f"{fitting[columns]} sources of {columns}" for columns in fitting)
        + " columns"
    )
    config.tokens()
    if config.tls.cert:
        server_context(config.tls)
    print(*said(config), sep="\n")
    print(f"reader:    {bulk.said()}")
    print(f"devices:   {about_devices(config)}")
    page = config.dashboard
    print(f"dashboard: {page.url}, {reach(page.listen)}")
    print(f"           boards: {about_boards(config)}")
    if page.archive:
        print(f"           what is older than history comes from {archive_of(page.archive)}")
    agent = config.agent
    print(f"agent:     sends {agent.source} to {agent.to} every {agent.interval:g} s")
    spool = agent.spool or "memory"
    print(f"           rows wait in {spool}, up to {agent.spool_bytes} bytes and {agent.spool_age:g} s")
    history = config.history
    if history.enabled:
        tiers = ", ".join(f"{tier.step.text} for {tier.keep.text}" for tier in history.tiers)
        sizes = " and ".join(
            f"{bytes_of(history, columns):,} bytes a source of {columns} columns" for columns in (10, 60)
        )
        print(f"history:   {history.folder(store.folder)}, {tiers}")
        print(f"           at most {sizes}, {100 * history.share:g} % of the free space in all")
    work = "runs with linemon up" if config.work.enabled else "does not run with linemon up ([work] enabled = false)"
    print(f"work:      {work}; what must outlive a reboot is in {config.state_folder}")
    show("tasks:", *tasks)
    show("alarms:", *alarms)
    show("forwards:", *forwards)
    show("subscribes:", *subscriptions)
    show("notify:", notify[0] or ["nobody: alarms are shown only"], notify[1])
    warn(config, fitting[1])
    return 0


def about_boards(config: Config) -> str:
    """How many there are. ConfigError where one is wrong."""
    folder, found = config.boards_folder, boards.names(config.boards_folder)
    for name in found:
        try:
            boards.parse(boards.read(folder, name) or "")
        except ConfigError as error:
            raise ConfigError(f"{folder / name}.toml: {error}") from None
    return f"{len(found)} in {folder}"


def about_devices(config: Config) -> str:
    """What is set of devices. ConfigError where a spec is wrong."""
    from linemon.store.specs import SHIPPED, Specs
    from linemon_sender.specs import Spec

    folder, found = config.devices.specs_folder, 0
    if folder and not folder.is_dir():
        raise ConfigError(f"[devices] specs = {str(folder)!r}: there is no such folder")
    for each in (folder, SHIPPED):
        specs = Specs(each, Spec)
        for name, fault in specs.faults.items():
            raise ConfigError(f"{each}/{name}.toml: {fault}")
        found += specs.count
    required = f", needed for {' '.join(config.devices.patterns)}" if config.devices.patterns else ""
    return f"up to {config.devices.max_devices}, in {config.devices_folder}; {found} specs{required}"


def show(head: str, said: list[str], warnings: list[str]) -> None:
    """What a part says of its settings, and how they may go wrong."""
    for i, line in enumerate(said):
        print(f"{'' if i else head:<10} {line}")
    for text in warnings:
        print(f"warning: {text}", file=sys.stderr)


def archive_of(url: str) -> str:
    """Its address without what is secret. ConfigError where it is none."""
    from linemon.archive.link import Place

    try:
        return str(Place.parse(url))
    except ValueError as error:
        raise ConfigError(f"[dashboard] archive: {error}") from None


def bytes_of(history: HistoryConfig, columns: int) -> int:
    """What the history of a source takes when it is full, but for what comes late."""
    return sum(8 * (1 + 4 * columns) * tier.points for tier in history.tiers)


def warn(config: Config, fitting: int) -> None:
    """Say what is allowed, and perhaps not meant; `fitting`: sources of one column for which the disk has room."""
    tcp, agent = config.tcp, config.agent
    warnings = []
    if fitting < config.store.max_sources:
        warnings.append(f"[store] max_sources = {config.store.max_sources}, but {fitting} at most fit in its folder")
    if tcp.tls and not agent.tls:
        warnings.append("[tcp] tls = true, but [agent] tls = false: an agent in the clear is refused")
    if agent.to.is_loopback and tcp.listen.is_loopback and tcp.listen.port not in (0, agent.to.port):
        warnings.append(f"[tcp] listens on {tcp.listen}, but the agent sends to {agent.to}: see [agent] to")
    if any(token.enrols for token in config.token) and not (config.devices.path or config.store.path):
        warnings.append(f"the store is in memory: tokens of devices are kept in {config.devices_folder}")
    if any(token.enrols for token in config.token) and not (tcp.listen.is_loopback or tcp.tls or tcp.allow_open):
        warnings.append("a [[token]] enrols, but without [tcp] tls no device beyond this machine is told a token")
    for section, port in config.ports():
        if port.listen is None:
            continue
        if port.allow_open and not port.listen.is_loopback:
            warnings.append(f"{section} listens on {port.listen} and asks nobody who they are")
        elif isinstance(port, TcpConfig | HttpConfig) and not port.listen.is_loopback and not port.tls:
            warnings.append(f"{section} listens on {port.listen} without tls: others may read it all")
    for text in warnings:
        print(f"warning: {text}", file=sys.stderr)
