"""Side-by-side measurements against named peers: `python -m benchmarks`, one command, every floor checked."""
