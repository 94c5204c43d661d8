"""`python -m linemon` is the `linemon` command."""

import sys

from linemon.cli import main

sys.exit(main())
