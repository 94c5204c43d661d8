"""The analyses that come with linemon, a file each: functions of arrays that need nothing but numpy.

A file `NAME.py` has a function of that name. It gets the rows or the window of a source, or what looks like one, and
gives times and columns (`_series.py` has the shapes); `linemon.tasks` has them all under their names.
"""
