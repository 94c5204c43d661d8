"""Bounded columnar rings in mapped files: one writer, readers in any process (docs/STORE.md)."""
