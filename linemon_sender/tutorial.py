"""What a tap sends where nobody says which columns: those of LabPlot's own tutorial, in its order."""

from __future__ import annotations

TUTORIAL = ("cpu.busy_pct", "cpu.freq_mhz", "mem.used_pct", "load.1m", "load.5m", "load.15m")
SCALED = {"cpu.freq_mhz": ("cpu.freq_hz", 1e-6)}
"""Columns that exist in taps only: of which other, and times what."""
