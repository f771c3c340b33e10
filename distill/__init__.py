"""Learns: reads logged exchanges, trains candidates, gates them against a locked set, registers a student."""
