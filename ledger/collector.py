"""Settings of Python's cyclic garbage collector for processes that hold much and make few cycles."""

import gc

THRESHOLDS = (20_000, 20, 100)


def calm_collector() -> None:
    """Rows and exchanges in hand are many objects and no cycles: at its usual pace the collector would walk them,
    and all that was imported, several times a second. Cycles are rare here: tracebacks, mostly. Call it once
    everything is imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
