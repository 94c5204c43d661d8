"""The HTTP port: points in, rows and counters out."""
