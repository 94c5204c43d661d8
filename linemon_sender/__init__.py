"""What the agent and `linemon.Sender` share: rows wait in a spool and go to a collector, none lost, none twice.

Standard library only, Python 3.9 or newer, and small: an agent lives on it.
"""
