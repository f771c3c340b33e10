"""Joining teacher and student: what gives a pair, and what is counted instead."""

from typing import Any

import pytest

from ledger.exchange import TEACHER, Origin, Outcome
from ledger.observation import Observation, ObservationError
from ledger.slices import SliceRule
from monitor.pairs import join, pairs_of, teacher_observations_of
from tests.ledger.builders import build_answer, build_exchange
from tests.monitor.world import CLASSES, A, B

RULES = (
    SliceRule("area", "header", "x-area"),
    SliceRule("length", "words", word_edges=(50,)),
    SliceRule("desk", "teacher_class"),
)
FAILED = Observation(None, ObservationError.STUDENT_FAILED)
MALFORMED = Observation(None, ObservationError.MALFORMED)


def test_a_pair_knows_its_slices_time_and_sides() -> None:
    """Slices come from headers, words and the teacher's class."""
    exchange = build_exchange(5, teacher=(B,), input_words=(70,))

    (pair,) = pairs_of(exchange, build_answer(5, observations=(A,)), exchange.teacher, RULES, CLASSES)

    assert pair.slices == ("all", "area=a", "length=50+", "desk=b")
    assert (pair.exchange_id, pair.input_index, pair.artifact) == ("g0-5", 0, "s-1")
    assert pair.at_us == exchange.started_at_us
    assert pair.input_digest == exchange.input_digests[0]
    assert (pair.teacher, pair.student, pair.agrees) == (B, A, False)


def test_each_input_of_a_batch_is_a_pair_of_its_own() -> None:
    """Those that one side failed are counted by reason and spoil no other."""
    exchange = build_exchange(
        teacher=(A, MALFORMED, B, A),
        inputs=("a", "b", "c", "d"),
        input_words=(1, 60, 60, 1),
        input_digests=("0", "1", "2", "3"),
    )

    joined = join(exchange, build_answer(observations=(A, A, FAILED)), exchange.teacher, RULES, CLASSES)

    assert [pair.input_index for pair in joined.pairs] == [0]
    assert joined.unusable == {"teacher_malformed": 1, "student_student_failed": 1, "student_absent": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"measured": False}, "not_measured"),
        ({"outcome": Outcome.CLIENT_DISCONNECT}, "incomplete"),
        ({"teacher": ()}, "no_teacher"),
    ],
)
def test_exchanges_that_may_not_count(changes: dict[str, Any], reason: str) -> None:
    """Selection by what the student said, a cut exchange, and a missing teacher give no pairs."""
    exchange = build_exchange(**changes)

    joined = join(exchange, build_answer(), exchange.teacher, RULES, CLASSES)

    assert (joined.pairs, joined.unusable) == ((), {reason: 1})


def test_distributions_over_other_classes_are_not_compared() -> None:
    """The task's classes may have changed since the answer was recorded."""
    exchange = build_exchange()
    three = Observation((0.2, 0.3, 0.5))

    joined = join(exchange, build_answer(observations=(three,)), exchange.teacher, RULES, CLASSES)

    assert (joined.pairs, joined.unusable) == ((), {"student_wrong_classes": 1})


def test_the_teacher_speaks_on_the_path_or_by_audit() -> None:
    """An audit counts only where the path had no answer of the teacher."""
    audit = build_answer(0, TEACHER, origin=Origin.AUDIT, observations=(B,))

    assert teacher_observations_of(build_exchange(teacher=(A,)), [audit]) == (A,)
    assert teacher_observations_of(build_exchange(teacher=()), [build_answer(), audit]) == (B,)
    assert teacher_observations_of(build_exchange(teacher=()), [build_answer()]) == ()
