"""`linemon alarms`: what fires, and what to do about it."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
import time
from typing import Any

from linemon.cli._terminal import print_json, span, table
from linemon.config import Config
from linemon.errors import AskedWrongly

HELP = "what fires, since when; try rules over what was, acknowledge, silence"
EXAMPLE = "linemon alarms; linemon alarms try 'disk full' --since 7d; linemon alarms silence 'web*' 2h"
READS_ONLY = True
NAMES = "alarm", "source", "column"  # of tables: what a terminal may lack room for
CRITICAL = 3  # the exit code where a critical alarm fires
DO = {
    "list": ("", "what fires or is about to"),
    "log": ("", "what was, and what was told"),
    "try": ("[NAME]", "the same rules over the rows and the history: what they would have told"),
    "test": ("NOTIFIER", "tell it something"),
    "ack": ("NUMBER", "no more reminders of an incident"),
    "silence": ("PATTERN SPAN", "tell nothing of an alarm, a source, ALARM@SOURCE or a number"),
    "unsilence": ("PATTERN", "tell again"),
}


def options(parser: argparse.ArgumentParser) -> None:
    lines = [f"  {f'{name} {args}'.strip():22} {what}" for name, (args, what) in DO.items()]
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "\n".join([f"{parser.description}", "", *lines, "", "Exit code 3 where a critical one fires."])
    parser.add_argument("do", metavar="WHAT", nargs="?", default="list", help=f"{', '.join(DO)}; default: list")
    parser.add_argument("what", metavar="NAME", nargs="*", help="of an alarm, a notifier, an incident, a pattern")
    parser.add_argument("--json", action="store_true", help="for scripts; of try and log an object a line")
    parser.add_argument("--all", action="store_true", help="of list: also what is OK")
    parser.add_argument("--since", metavar="WHEN", help="of log and try: 7d, 2026-11-22, ... (default: all there is)")
    parser.add_argument("--why", default="", help="of ack and silence: for others to read")


def run(config: Config, options: argparse.Namespace) -> int:
    """Do it; 3 where the list has a critical one."""
    if options.do not in DO:
        raise AskedWrongly(f"there is no {options.do!r}; there are: {', '.join(DO)}")
    arguments = DO[options.do][0].split()
    least = sum(not each.startswith("[") for each in arguments)
    if not least <= len(options.what) <= len(arguments):
        raise AskedWrongly(f"expected: linemon alarms {options.do} {' '.join(arguments)}".rstrip())
    if options.do == "list":
        return listed(config, options)
    if options.do == "log":
        return logged(config, options)
    if options.do == "try":
        return tried(config, options)
    from linemon.store.asking import ask

    request: dict[str, Any] = {"do": options.do, "by": getpass.getuser(), "why": options.why}
    names = {"test": ("notifier",), "ack": ("key",), "silence": ("pattern", "for"), "unsilence": ("pattern",)}
    print(ask(config.store.folder, request | dict(zip(names[options.do], options.what, strict=True))))
    return 0


def listed(config: Config, options: argparse.Namespace) -> int:
    """The list that the part publishes."""
    from linemon.store.status import ALARMS_OLD_S, read_alarms

    found, age = read_alarms(config.store.folder)
    if age > ALARMS_OLD_S:
        when = "" if age == float("inf") else f"; this was so {span(age)} ago"
        print(f"linemon: alarms are not running{when}. `linemon status` says more", file=sys.stderr)
    shown = [each for each in found if options.all or each["state"] != "ok"]
    if options.json:
        print_json(shown)
    elif shown:
        table(("n", "alarm", "state", "for", "source", "column", "value", "and"), map(line, shown), NAMES)
    elif found:
        print(f"nothing fires; {len(found)} are watched")
    if not found and age > ALARMS_OLD_S:
        return 1
    return CRITICAL if any(each["level"] == 2 for each in found) else 0


def line(each: dict[str, Any]) -> list[object]:
    """A line of the table."""
    level = ("", "warning", "critical")[each["level"]]
    state = each["state"] if each["state"] in ("ok", "pending") else level
    more = ["clearing"] * (each["state"] == "clearing") + ["no data"] * each["stale"]
    more += [f"acknowledged by {each['acked']['by']}"] if each["acked"] else []
    more += [f"silenced until {each['silenced_until']}"] if each["silenced_until"] else []
    more += [f"held: {each['held']}"] if each["held"] else []
    value = "-" if each["value"] is None else f"{each['value']:.4g} {each['unit']}".rstrip()
    return [each["n"], each["alarm"], state, since(each), each["source"], each["column"], value, ", ".join(more)]


def since(each: dict[str, Any]) -> str:
    return span(time.time() - seconds(each["since"])) if each["since"] else "-"


def seconds(iso: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(iso).timestamp()


def logged(config: Config, options: argparse.Namespace) -> int:
    """The log, oldest first."""
    from linemon.parts.alarms.keeping import LOG, read_log, state_file
    from linemon.when import iso_ns

    found = read_log(state_file(config).with_name(LOG))
    if options.since:
        begin = iso_ns(moment(options.since))
        found = [each for each in found if each["time"].ljust(30, "0") >= begin.ljust(30, "0")]
    show(found, options)
    return 0


def show(found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Events, as a table or an object a line."""
    if options.json:
        for each in found:
            print(json.dumps(each, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())
        return
    table(
        ("time", "event", "told", "for", "alarm", "source", "column", "value"),
        (
            [e["time"][:19] + "Z", e["event"], "yes" if e["told"] else "no", lasted(e), *(e[name] for name in NAMES),
             "-" if e["value"] is None else f"{e['value']:.4g}"]
            for e in found
        ),
        NAMES,
    )  # fmt: skip


def lasted(event: dict[str, Any]) -> str:
    """How long the incident went on by then."""
    return span(max(0.0, seconds(event["time"]) - seconds(event["since"])))


def tried(config: Config, options: argparse.Namespace) -> int:
    """The rules over what there is, without telling anybody."""
    from linemon.cli._terminal import store_of
    from linemon.parts.alarms.rules import rules
    from linemon.parts.alarms.trial import trial

    wanted = [rule for rule in rules(config) if not options.what or rule.name == options.what[0]]
    if not wanted:
        names = ", ".join(rule.name for rule in rules(config))
        raise AskedWrongly(f"no alarm {options.what[0]!r}; there are: {names}")
    result = trial(store_of(config), config, wanted, moment(options.since) if options.since else None)
    for note in result.notes:
        print(f"linemon: {note}", file=sys.stderr)
    if options.json:
        show(result.events, options)
    elif not result.lines:
        print(f"nothing fired in {span(result.span_s)}")
    else:
        table(("alarm", "source", "column", "incidents", "minutes", "messages a day"), result.lines, NAMES)
    return 0


def moment(text: str) -> int:
    from linemon.when import when

    try:
        return when(text, time.time_ns())
    except ValueError as error:
        raise AskedWrongly(str(error)) from None
