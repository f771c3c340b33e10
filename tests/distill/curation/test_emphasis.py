"""Which training rows weigh more."""

from distill.curation.emphasis import MOST_EMPHASIS, emphasised
from distill.curation.split import GateRow, Split
from ledger.configuration import TaskSection
from tests.distill.desk import build_row
from tests.distill.gating.parrot import Parrot


def test_the_incumbents_failures_weigh_more(task: TaskSection) -> None:
    """A row that it answers as the teacher did keeps its weight, a wrong or failed one gains up to the limit."""
    agreed, wrong, failed = (build_row(task, number) for number in range(3))
    incumbent = Parrot(wrong=frozenset({wrong.text}), fails=frozenset({failed.text}))

    split = emphasised(Split((), (agreed, wrong, failed), (), ()), incumbent)

    weights = [row.emphasis for row in split.train]
    assert weights[0] == 1.0
    assert 1.0 < weights[1] <= weights[2] == MOST_EMPHASIS


def test_what_judges_keeps_its_natural_weight(task: TaskSection) -> None:
    """Gate, dev and calibration rows say what the traffic says."""
    row = build_row(task, 0)
    before = Split((GateRow(row, None),), (), (row,), (row,))

    assert emphasised(before, Parrot(wrong=frozenset({row.text}))) == before
