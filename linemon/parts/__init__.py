"""What `linemon work` runs: readers of the store, one file each, and `work.py` that runs them.

A file of this folder is a kind of part. It has ``parts(config)``, which returns those that linemon.toml asks for, as
objects with

- ``name``: ``history``, or ``forward.NAME`` where there may be several;
- ``settings``: all that it goes by; once linemon.toml has other ones, the part is started again;
- ``async run()``: works until it is cancelled, in the loop that it shares with the others, so it computes for no longer
  than a tenth of a second at a time. What it raises is shown to the user, and it is started again a little later;
- ``commands()``, if it takes any: by name what answers a request that came by `work.sock`, in the same loop;
- ``state()``: what `linemon status` shows of it, as JSON has it; ``behind_s`` is how far it is behind. What `work.py`
  says of it, ``part``, ``pid``, ``runs``, ``since``, ``failed`` and ``failed_at``, is not the part's to say.

Libraries that linemon does not need itself are imported by ``run``, so that a part whose library is missing costs none
of the others, and can say what to install.
"""
