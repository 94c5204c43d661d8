"""`linemon set`: wish for settings of devices."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from linemon.config import Config
from linemon.errors import AskedWrongly

HELP = "set something of a device, which does it at once or when it is back"
EXAMPLE = "linemon set web1 interval=0.5 groups=cores,top --wait 10s; linemon set 'meter.*' interval="
READS_ONLY = True
LOOK_S = 0.1


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="of a device, or a pattern such as 'meter.*'")
    parser.add_argument("settings", metavar="KEY=VALUE", nargs="+", help="KEY= takes the wish back")
    parser.add_argument(
        "--wait", metavar="SPAN", help="until it is reported, at most so long: 10s, 1m; exit code 1 if not"
    )


def run(config: Config, options: argparse.Namespace) -> int:
    """Wish, and say nothing; 1 where it was waited for in vain, or refused."""
    from linemon.sections import Span
    from linemon.store.asking import ask
    from linemon.store.status import COLLECT_SOCKET

    request = {"do": "set", "name": options.name, "settings": dict(map(said, options.settings))}
    try:
        wait_s = Span.parse(options.wait) if options.wait else 0.0
    except ValueError:
        raise AskedWrongly(f"--wait {options.wait}: expected a span such as 10s or 1m") from None
    ask(config.store.folder, request, COLLECT_SOCKET)
    if not wait_s:
        return 0
    end = time.monotonic() + wait_s
    while True:
        found = ask(config.store.folder, {"do": "devices", "name": options.name}, COLLECT_SOCKET)
        left = [each for each in found if each["waiting_since"]]
        if not left or time.monotonic() > end:
            break
        time.sleep(LOOK_S)
    missing = [f"{each['name']} has not reported it within {options.wait}" for each in left]
    missing += [
        f"{each['name']} refuses {key}: {why}"
        for each in found
        for key, why in each["refused"].items()
        if key in request["settings"] and each not in left
    ]
    for text in missing:
        print(f"linemon: {text}", file=sys.stderr)
    return 1 if missing else 0


def said(text: str) -> tuple[str, Any]:
    """A key and its value: JSON where it is that, else a string; None takes the wish back. AskedWrongly."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise AskedWrongly(f"{text!r}: expected KEY=VALUE")
    if not value:
        return key, None
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
