"""The analyses that come with linemon, a file each: functions of arrays that need nothing but numpy.

A file `NAME.py` of this folder is the built-in ``linemon:NAME``: it has a function of that name, which gets what a
task's function gets and gives what one gives. `linemon.tasks` has them all for use without a task.
"""
