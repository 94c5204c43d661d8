"""The `linemon` command."""
