"""`python -m bench`: measures every case, prints a table, leaves the numbers in bench/results.json.

What is measured is the CPU time (user and system) that the receiving process takes from the first byte of a case until
all of it is stored; starting and connecting are left out. Receivers and senders share this machine over loopback.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench import alarms, archive, bus, devices, footprint, forward, history, lone, mqtt, sources, start, tasks
from bench.cases import CASES, Case, rows
from bench.http import run_http
from bench.http import show as show_http
from bench.measuring import measure
from bench.receivers import (
    CarbonCache,
    Failed,
    InfluxDb,
    Linemon,
    LinemonInPython,
    PlainLoop,
    Receiver,
    VictoriaMetrics,
)
from bench.senders import allow_files
from bench.store import figures
from linemon.lines import bulk, wire

RECEIVERS: list[type[Receiver]] = [Linemon, LinemonInPython, PlainLoop, CarbonCache, VictoriaMetrics, InfluxDb]
PEERS = RECEIVERS[1:]
PARSE, LONE, STORE, SOURCES, HISTORY, ALARMS = "parse", "lone", "store", "sources", "history", "alarms"
TASKS, DEVICES, FORWARD, MQTT, ARCHIVE, BUS = "tasks", "devices", "forward", "mqtt", "archive", "bus"
AGENT, HTTP, START = "agent", "http", "start"
PARSE_ROWS = (1, 10, 100, 2_000, 35_000)


def run_case(case: Case, runs: int, quick: bool) -> dict[str, Any]:
    """Linemon `runs` times, the others once on fewer lines; what they came to."""
    result: dict[str, Any] = {
        "title": case.title,
        "unit": case.unit,
        "floor": case.floor,
        "budget": case.budget,
        "python_budget": case.python_budget,
    }
    if not allow_files(case.connections):
        return result | {"linemon": {"skipped": f"this machine does not allow {case.connections:,} open files"}}
    lines = case.lines // (4 if quick else 1)
    for receiver in RECEIVERS:
        if case.kind not in receiver.kinds or (quick and receiver is not Linemon and case.period_s):
            continue
        if not receiver.installed():
            result[receiver.name] = {"failed": "not installed"}
            continue
        traffic = case.make(lines if case.period_s else int(lines * receiver.share))
        try:
            done = [measure(case, receiver, traffic) for _ in range(runs if receiver is Linemon else 1)]
        except (Failed, OSError, ValueError, LookupError, EOFError) as error:  # the others may answer as they like
            result[receiver.name] = {"failed": str(error) or repr(error)}
            continue
        costs = [run.cost for run in done]
        result[receiver.name] = {
            "median": statistics.median(costs), "min": min(costs), "max": max(costs),
            "lines_per_s": statistics.median(run.lines / run.wall_s for run in done),
            "runs": [asdict(run) for run in done],
        }  # fmt: skip
    return result


def run_parse() -> list[dict[str, float]]:
    """Nanoseconds a row of six, by rows a call, beside float() on each token."""
    results = []
    for count in PARSE_ROWS:
        block = rows(count, 6, 1).streams[0].parts[0]
        block = b"".join((block * -(-count // block.count(b"\n"))).splitlines(keepends=True)[:count])

        def at_once(block: bytes = block) -> object:
            return wire.rows([block], 6, None, 7, 0)

        def plain(block: bytes = block) -> object:
            return [[float(token) for token in line.split()] for line in block.splitlines()]

        assert at_once() is not None
        line: dict[str, float] = {"rows": count}
        for name, parse in (("wire.rows", at_once), ("float()", plain)):
            times = []
            for _ in range(5):
                start, calls = time.process_time_ns(), 0
                while (spent := time.process_time_ns() - start) < 5e7:
                    for _ in range(max(1, 500 // count)):
                        parse()
                    calls += max(1, 500 // count)
                times.append(spent / calls / count)
            line[name] = statistics.median(times)
        results.append(line)
    return results


def machine() -> dict[str, Any]:
    """What was measured on."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
        cpu = next(line.split(": ")[1] for line in cpuinfo.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return {
        "cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
        "linemon": version("linemon"), "reader": bulk.said(), "load_1m_before": os.getloadavg()[0],
    }  # fmt: skip


def said_budget(case: Case, peer: type[Receiver], other: dict[str, Any]) -> str:
    """What linemon without its C reader costs, beside what it may."""
    if peer is not LinemonInPython:
        return ""
    budget, cost = case.python_budget, other["median"]
    return f" {cost:.2f}" + (f" ({budget:g} {'ok' if cost <= budget else 'OVER'})" if budget else "")


def show(case: Case, results: dict[str, Any]) -> str:
    """One line of the table."""
    result = results[case.name]
    ours = result["linemon"]
    if "median" not in ours:
        return f"{case.title:41} {ours.get('failed') or ours.get('skipped')}"
    measured, verdict = ours["median"], ""
    if case.against:
        base = results.get(case.against, {}).get("linemon", {}).get("median")
        measured = result["ratio"] = ours["median"] / base if base else None
    if case.budget and measured:
        verdict = f"{'x' if case.against else ''}{case.budget:g} {'ok' if measured <= case.budget else 'OVER'}"
    if case.against and measured:
        verdict = f"x{measured:.2f} of " + verdict
    digits = 1 if case.period_s else 3
    cost = f"{ours['median']:.{digits}f} ({ours['min']:.{digits}f}-{ours['max']:.{digits}f})"
    others = [
        f"{peer.name} "
        + (other.get("failed") or f"x{other['median'] / ours['median']:.1f}" + said_budget(case, peer, other))
        for peer in PEERS
        if (other := result.get(peer.name))
    ]
    cost += " %" if case.period_s else " s"
    return (
        f"{case.title:41} {cost:>22} {ours['lines_per_s']:>10,.0f}  {verdict:19} {case.floor or '-':>5}  "
        + ", ".join(others)
    )


def main() -> int:
    names = [case.name for case in CASES] + [PARSE, LONE, STORE, SOURCES, HISTORY, ALARMS, TASKS, DEVICES]
    names += [FORWARD, MQTT, ARCHIVE, BUS, AGENT, HTTP, START]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--case", action="append", choices=names, help="only this one; may be said again")
    parser.add_argument("--quick", action="store_true", help="a quarter of the lines, one run")
    parser.add_argument("--runs", type=int, default=3, help="of linemon a case (3); the median counts")
    numbers = Path(__file__).with_name("results.json")
    parser.add_argument("--json", type=Path, default=numbers, metavar="FILE", help="where the numbers go")
    asked = parser.parse_args()
    chosen = set(asked.case or names)
    chosen |= {case.against for case in CASES if case.name in chosen and case.against}

    report: dict[str, Any] = {"machine": machine(), "cases": {}}
    about = report["machine"]
    print(
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['kernel']}, "
        f"Python {about['python']}, linemon {about['linemon']}, "
        f"{about['reader']}; load before: {about['load_1m_before']:.1f}\n"
    )
    print("CPU seconds of the receiver per million lines (% of one core where paced): median (min-max)\n")
    print(f"{'case':41} {'linemon':>22} {'lines/s':>10}  {'budget':19} {'C':>5}  the others cost")
    for case in CASES:
        if case.name in chosen:
            report["cases"][case.name] = run_case(case, 1 if asked.quick else asked.runs, asked.quick)
            print(show(case, report["cases"]), flush=True)
    if PARSE in chosen:
        report[PARSE] = run_parse()
        print(f"\n{'parse only: rows of 6 a call':30} {'wire.rows':>20} {'float() a token':>20}   ns a row")
        for line in report[PARSE]:
            print(f"{line['rows']:30,} {line['wire.rows']:20,.0f} {line['float()']:20,.0f}")
    kinds = (
        (LONE, lone.figures),
        (STORE, figures),
        (SOURCES, sources.figures),
        (HISTORY, history.figures),
        (ALARMS, alarms.figures),
        (TASKS, tasks.figures),
        (DEVICES, devices.figures),
        (FORWARD, forward.figures),
        (MQTT, mqtt.figures),
        (ARCHIVE, archive.figures),
        (BUS, bus.figures),
    )
    for what, measured in kinds:
        if what in chosen:
            report[what] = [figure._asdict() for figure in measured()]
            with_cpu = what not in (LONE, TASKS, DEVICES, ARCHIVE, BUS)
            print(f"\n{what}" + ", CPU time of one process, medians" * with_cpu)
            for line in report[what]:
                verdict = "ok" if line["measured"] <= (line["budget"] or math.inf) else "OVER"
                budget = f"  {line['budget']:g} {verdict}" if line["budget"] else ""
                print(f"{line['title']:55} {line['measured']:8.2f} {line['unit']}{budget}")
    if AGENT in chosen:
        costs = footprint.run(5.0 if asked.quick else 20.0, 1.0)
        report[AGENT] = {name: asdict(cost) for name, cost in costs.items()}
        print(footprint.verdict(costs))
    if HTTP in chosen:
        report[HTTP] = run_http()
        print("\n" + show_http(report[HTTP]))
    if START in chosen:
        found = start.figures()
        report[START] = [figure._asdict() for figure in found]
        print("\nbefore anything is done\n" + start.show(found))
    asked.json.write_text(json.dumps(report, indent=1))
    print("\nHow we know that all was stored:")
    for receiver in RECEIVERS:
        print(f"  {receiver.name}: {receiver.checked}")
    print(f"Numbers: {asked.json}")
    return int(any("failed" in result["linemon"] for result in report["cases"].values()))


if __name__ == "__main__":
    sys.exit(main())
