"""Remembers: task definitions, slice rules, tables, and the append-only record that the others share."""
