"""The `linemon` command: one file per subcommand.

A file of this folder is a command of its name, but for `main.py` and those that begin with `_`. It has ``HELP`` (what
it does, in one line), ``EXAMPLE``, ``options(parser)`` and ``run(config, options)``, which returns the exit code. All
are imported to list them, so what is heavy is imported by `run`. ``READS_ONLY = True``: it works where the secrets
of linemon.toml are not known; ``OWN_OPTIONS = True``: what it does not know itself comes in ``options.rest``.
"""
