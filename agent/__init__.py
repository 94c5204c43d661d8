"""The linemon agent: reads this machine's metrics, from /proc and with psutil, and sends them as lines of numbers.

It installs alone, needs psutil only and imports nothing of linemon. One process, one blocking loop:
`sampler` asks `probes` for values at each point of a monotonic grid, `sender` hands them to the collector,
`listener` to whoever connects to the agent itself.

It is small because of what it leaves out: asyncio, argparse, logging, json, typing and random together cost
more memory than all of the agent's own code.
"""
