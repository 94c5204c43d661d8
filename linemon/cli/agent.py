"""`linemon agent`: the agent, with the settings of [agent]."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from linemon.access import Grant
from linemon.config import Config
from linemon.homes import expanded

HELP = "the agent: sends this machine's metrics"
EXAMPLE = "linemon agent --to 10.0.0.1:4000"
OWN_OPTIONS = True
AGENT = Path(__file__).parents[2] / "agent"  # ours: a folder of a user's may have another module of that name


def options(parser: argparse.ArgumentParser) -> None:
    """The agent has options of its own."""


def run(config: Config, options: argparse.Namespace) -> int:
    # In place of this process: the agent needs psutil and nothing else, and stays as small as it is alone.
    os.execv(sys.executable, [sys.executable, "-P", str(AGENT), *arguments(config, options.rest)])  # noqa: S606


def arguments(config: Config, given: list[str]) -> list[str]:
    """The agent's own options after those of [agent] in linemon.toml: what is given on the command line counts."""
    agent = config.agent
    reads = any(option.split("=")[0] == "--read" for option in given)  # another device, not this machine
    said = [] if reads else ["--name", agent.source, "--interval", str(agent.interval)]
    said += [] if reads else ["--subsamples", str(agent.subsamples)]
    said += ["--spool-bytes", str(agent.spool_bytes), "--spool-age", str(agent.spool_age)]
    if agent.tls:
        said += ["--tls", *(["--ca", agent.ca] if agent.ca else []), *(["--cert", agent.cert] if agent.cert else [])]
    said += ["--groups", ",".join(agent.groups)] if agent.groups and not reads else []
    said += ["--spool", str(expanded("[agent] spool", agent.spool))] if agent.spool and not reads else []
    says_where = any(option.split("=")[0] in ("--to", "--listen") for option in given)
    if not says_where and not os.environ.get("LINEMON_TO"):
        said += ["--to", str(agent.to)]
        if token := token_for(config):  # through the environment: a command line can be read by every user
            os.environ.setdefault("LINEMON_TOKEN", token)
    return said + given


def token_for(config: Config) -> str:
    """What the agent shows where it sends to: its own token; else one of our collector's, but to nobody else."""
    agent, ours = config.agent, config.tcp.listen
    is_ours = agent.to.port == ours.port and (agent.to.is_loopback or agent.to.host == ours.host)
    if agent.token or not is_ours:
        return agent.token
    fitting = (token.read() for token in config.token if Grant(token.sources).covers(agent.source))
    return config.tcp.token or next(fitting, "")
