"""Adding changes to stored sums: exact, also where a sum leaves 64 bits."""

from functools import reduce

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from ledger.control_file import transaction
from monitor.folding import Key
from monitor.layout import layout_of, sums_of_row
from monitor.reports import WHOLE_LIFE, merged_sums
from monitor.sums import SliceSums
from monitor.windows import add_to_rows, with_whole_life
from tests.monitor.world import TASK

KEY: Key = (TASK, "s-1", "all", 0)


@pytest.mark.parametrize("times", [1, 2, 3, 4, 5, 9, 40])
def test_sums_have_no_end(engine: Engine, times: int) -> None:
    """A slice whose losses pass 2**63 after some thousand million pairs, and 2**64 later, goes on being exact."""
    layout = layout_of(2)
    change = np.ones(layout.width, dtype=np.int64)
    change[layout["nll_nats"]] = 2**62 - 1
    for _ in range(times):
        with transaction(engine) as session:
            add_to_rows(session, with_whole_life({KEY: change}))

    with Session(engine) as session:
        whole, windows = merged_sums(session, TASK, "s-1"), merged_sums(session, TASK, "s-1", since_us=0)
    assert whole == windows == {"all": reduce(SliceSums.merge, [sums_of_row(change)] * times)}
    assert whole["all"].nll_nats == times * (2**62 - 1)


def test_what_left_64_bits_comes_back(engine: Engine) -> None:
    """Taking back is adding."""
    change = np.full(layout_of(3).width, 2**62, dtype=np.int64)
    for row in (change, change, change, -change, -change, -change):
        with transaction(engine) as session:
            add_to_rows(session, {(*KEY[:3], WHOLE_LIFE): row})

    with Session(engine) as session:
        assert merged_sums(session, TASK, "s-1") == {"all": SliceSums.empty()}
