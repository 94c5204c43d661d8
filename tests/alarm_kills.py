"""`python -m tests.alarm_kills --kills 200`: kills `linemon work` at random while incidents come and go, then compares
what a notifier was told with what there was: each begin and end at least once, in order, and no other.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from linemon.store.status import read_part
from tests import kills
from tests.running import Running, Work, eventually

SOURCES = ("a", "b", "c")
RULES = """
[alarms]
flap = 1000000
[[alarm]]
name = "high"
columns = "v"
warning = "> 90"
critical = "> 97"
"""


@dataclass
class Outcome:
    """What a run came to; `wrong` has what should not have been."""

    kills: int = 0
    incidents: int = 0
    messages: int = 0
    twice: int = 0  # the same key and number: who is killed between telling and noting it tells it once more
    wrong: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not self.wrong


class Run:
    """A collector, `linemon work alarms`, and sources that go up and down between kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random, self.folder, self.told = random.Random(seed), folder, folder / "told"
        script = f"cat > {folder}/$$.new; mv {folder}/$$.new {folder}/$$.$(date +%s%N).said"
        notify = f'[[notify]]\nname = "file"\nkind = "command"\nargv = ["/bin/sh", "-c", "{script}"]\n'
        self.collector = Running(folder, f'{RULES}{notify}[work]\nstate = "{folder}/state"\n')
        self.level = dict.fromkeys(SOURCES, 0)
        self.incidents: list[tuple[str, int, int]] = []  # source, begin in ms, worst level
        self.work = Work(self.collector.config, "alarms").start()
        state = folder / "state" / "alarms.state"
        eventually(state.exists, "it has begun: what was over before its first look is told to nobody")

    def send(self, level: int | None = None) -> None:
        """One row of one source, at another level."""
        source = self.random.choice(SOURCES)
        now = time.time_ns() // 10**6
        level = self.random.choice([0, 0, 1, 2]) if level is None else level
        if level and not self.level[source]:
            self.incidents.append((source, now, level))
        elif level > self.level[source]:
            at = max(i for i, each in enumerate(self.incidents) if each[0] == source)
            self.incidents[at] = (source, self.incidents[at][1], max(level, self.incidents[at][2]))
        self.level[source] = level
        self.collector.say(f"#source {source}\n#columns time v\n{now} {(50, 95, 99)[level]}\n")

    def kill(self) -> None:
        self.work.kill()
        self.work.start()

    def end(self, outcome: Outcome) -> Outcome:
        for source in SOURCES:
            self.collector.say(f"#source {source}\n#columns v\n50\n")
        wanted = len(self.incidents)
        with suppress(AssertionError):  # what is missing is said below
            eventually(lambda: len(self.ended()) >= wanted, f"all of {wanted} incidents are told", 120)
        eventually(lambda: read_part(self.collector.store_path, "alarms").get("pid") == self.work.pid, "it runs")
        self.work.stop(60)
        self.collector.stop()
        return self.compare(outcome)

    def ended(self) -> set[str]:
        return {each["key"] for each in self.messages() if each["state"] == "ok"}

    def messages(self) -> list[dict[str, str]]:
        """In the order in which they were told."""
        files = sorted(self.folder.glob("*.said"), key=lambda path: int(path.name.split(".")[1]))
        whole = (path.read_text() for path in files)  # else the part was killed while it said it
        return [json.loads(text) for text in whole if text.endswith("}\n")]

    def compare(self, outcome: Outcome) -> Outcome:
        told: dict[str, list[tuple[int, str]]] = {}
        for each in self.messages():
            told.setdefault(each["key"], []).append((int(each["seq"]), each["state"]))
        outcome.incidents, outcome.messages = len(self.incidents), sum(map(len, told.values()))
        for source, begin, level in self.incidents:
            said = told.pop(f"high/{source}/v/{begin}", [])
            once = list(dict.fromkeys(said))
            outcome.twice += len(said) - len(once)
            if max(Counter(said).values(), default=0) > 1 + outcome.kills or once != sorted(once):
                outcome.wrong.append(f"{source} {begin}: out of order: {said}")
            states = [state for _, state in once]
            worst = "critical" if level == 2 else "warning"
            if states[-1:] != ["ok"] or worst not in states or states.count("ok") != 1:
                outcome.wrong.append(f"{source} {begin} {level}: {said}")
        outcome.wrong += [f"invented: {key} {said}" for key, said in told.items()]
        return outcome


def run(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill so often, and compare."""
    running, outcome = Run(folder, seed), Outcome()
    try:
        while outcome.kills < kills:
            begin = time.monotonic()
            alive = running.random.uniform(0.2, 6.0)
            while time.monotonic() - begin < alive:
                running.send()
                time.sleep(running.random.uniform(0.05, 1.0))
            running.kill()
            outcome.kills += 1
        return running.end(outcome)
    finally:
        running.work.kill()
        running.collector.kill()


if __name__ == "__main__":
    raise SystemExit(kills.main(run, __doc__, 200))
