"""`python -m linemon` is the `linemon` command."""

import sys

from linemon.cli.main import main

sys.exit(main())
