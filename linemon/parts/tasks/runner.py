"""Runs of offline tasks: a process each, killed where it takes too long; `child.py` has the other end."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from linemon.parts.tasks.child import Job, OnlineJob

START_S: Final = 60.0  # until a process says something first
CLUSTER_S: Final = 30.0  # more than `timeout` for what is done elsewhere
TERM_S: Final = 2.0  # from asking to end to killing
LONGEST: Final = 8 << 20  # bytes of a line
# The same modules as here, whatever lies in the folder that it is started in. One thread each.
START: Final = "import sys; sys.path[:] = sys.argv[1:]; from linemon.parts.tasks.child import main; main()"
THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Process:
    """One that runs a job, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, job: Job | OnlineJob) -> Process:
        """OSError where the system does not let us."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", START, *filter(None, sys.path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LONGEST, start_new_session=True,
            env=os.environ | dict.fromkeys(THREADS, "1"), pass_fds=[job.at] if isinstance(job, OnlineJob) else (),
        )  # fmt: skip
        data = pickle.dumps(job)
        assert process.stdin
        process.stdin.write(len(data).to_bytes(8, "big") + data)
        return cls(process)

    async def hears(self, seconds: float) -> dict[str, Any] | None:
        """What it says next; None once it has ended. TimeoutError."""
        assert self.process.stdout
        async with asyncio.timeout(seconds):
            line = await self.process.stdout.readline()
        found: dict[str, Any] | None = json.loads(line) if line else None
        return found

    async def end(self, seconds: float = TERM_S) -> int:
        """Have it end, and all that it has started; its exit code."""
        if self.process.returncode is None:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.process.wait()
        self._signal(signal.SIGKILL)
        if self.process.stdin:
            self.process.stdin.close()
        return await self.process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


async def outcomes(job: Job) -> AsyncIterator[dict[str, Any]]:
    """What becomes of each source: `done`, or `failed`, with the names of those that it is said of."""
    left = list(job.sources)
    limit = job.task.timeout_s + (CLUSTER_S if job.config.tasks.dask else 0.0)
    while left:
        process = await Process.start(replace(job, sources=tuple(left)))
        unit: list[str] | None = None
        try:
            while left:
                said = await process.hears(START_S if unit is None else limit)
                if said is None:
                    code = await process.end()
                    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                    said = {"failed": unit or left, "kind": "died", "error": f"its process {how}"}
                elif "begins" in said:
                    unit = said["begins"]
                    continue
                yield said
                unit = None
                left = [name for name in left if name not in said.get("done", said.get("failed", ()))]
                if said.get("kind") == "died":
                    break
        except TimeoutError:
            gone = unit or left
            what = f"not done after {job.task.timeout_s:g} s" if unit else f"does not start within {START_S:g} s"
            yield {"failed": gone, "kind": "timeout", "error": f"{what}: killed"}
            left = [name for name in left if name not in gone]
        finally:
            await process.end()
