"""The measure that budgets are held with, on work of known cost."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.budget import cost
from tests.running import Running


def test_a_loop_that_stands_still_is_seen(collector: Running) -> None:
    """It waits as long as the collector is stopped, which costs no CPU."""

    def stop_and_go() -> None:
        time.sleep(0.1)
        os.kill(collector.process.pid, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(collector.process.pid, signal.SIGCONT)
        collector.say("#stats\n")

    spent = cost(collector, stop_and_go)
    assert spent.wait_s > 0.3
    assert spent.cpu_s < 0.2


@pytest.mark.slow
def test_ten_times_the_lines_cost_several_times_the_cpu(collector: Running) -> None:
    def send(lines: int) -> float:
        text = "#source room\n" + "1 2 x\n" * lines + "#stats\n"  # bad lines, which go one by one
        return cost(collector, lambda: collector.say(text)).cpu_s

    assert send(100_000) > 4 * send(10_000) > 0
