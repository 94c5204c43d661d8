"""Rows in PostgreSQL, for as long as one likes (docs/ARCHIVE.md).

`writer.py` brings them, `reader.py` reads them back. `tables.py` has the tables, `binary.py` rows as they travel,
`link.py` connections. It needs psycopg, which nobody imports before there is an archive.
"""
