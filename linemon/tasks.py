"""The analyses that come with linemon, for Python: functions of the rows or windows that a store gives.

from linemon.tasks import forecast
times, values = forecast(linemon.open()["web1"].window("2026-11-01", "2026-11-15", points=336))
"""

from linemon.analysis.changed import changed
from linemon.analysis.forecast import forecast
from linemon.analysis.groups import groups
from linemon.analysis.normal import normal
from linemon.analysis.spectrum import spectrum
from linemon.analysis.strange import strange

__all__ = ["changed", "forecast", "groups", "normal", "spectrum", "strange"]
