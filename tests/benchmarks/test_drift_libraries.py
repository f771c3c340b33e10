"""The exchanges that drift libraries get: our own row of that table folds all of them."""

from pathlib import Path

import numpy as np

from benchmarks.drift_libraries import LIBRARIES, RULES, VALUES
from benchmarks.drift_peers import FILE, written
from monitor.layout import layout_of


def test_our_row_folds_every_exchange_into_each_of_its_slices(tmp_path: Path) -> None:
    """Twelve slices of each of eight rules share them out."""
    written(tmp_path / FILE, 500)
    with np.load(tmp_path / FILE) as file:
        rows = LIBRARIES["stillgate"](dict(file))()
    pairs = layout_of(10)["pairs"]

    assert len(rows) == RULES * VALUES
    assert sum(int(row[pairs]) for row in rows.values()) == RULES * 500
