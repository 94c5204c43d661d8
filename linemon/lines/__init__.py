"""Lines in, rows out: bytes of many connections become rows in the store. No I/O but the store."""
