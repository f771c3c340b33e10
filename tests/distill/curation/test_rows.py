"""Which logged exchanges are learned from, and why the others are not."""

from pathlib import Path
from typing import Any

import pytest

from distill.curation.rows import Unusable, ingest
from ledger.configuration import TaskSection
from ledger.exchange import TEACHER, Answer, Exchange, Origin, Outcome, ServedBy
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.observation import Observation, ObservationError
from tests.ledger.builders import SURE_A, build_answer, build_exchange


def write(folder: Path, exchanges: list[Exchange], answers: list[Answer], gateway: str = "g0") -> None:
    file = ExchangeFile(exchange_path(folder, gateway))
    file.append(exchanges, answers)
    file.close()


def test_a_complete_exchange_is_a_row_with_its_slices(tmp_path: Path, task: TaskSection) -> None:
    """The row carries the text, the teacher's distribution and the slices that it shows."""
    write(tmp_path, [build_exchange(attributes={"x-area": "mars"})], [])

    (row,) = ingest(tmp_path, task).rows

    assert (row.text, row.teacher, row.repeats) == ("text 0", SURE_A, 1)
    assert row.slices == ("all", "area=mars", "desk=a")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outcome": Outcome.UPSTREAM_TRUNCATED}, Unusable.INCOMPLETE),
        ({"outcome": Outcome.CLIENT_DISCONNECT}, Unusable.INCOMPLETE),
        ({"teacher_epoch": "2"}, Unusable.OTHER_TEACHER),
        ({"teacher": (Observation(None, ObservationError.NOT_FINITE),)}, Unusable.NO_DISTRIBUTION),
        ({"inputs": ("",)}, Unusable.TEXT_NOT_KEPT),
        ({"teacher": (), "served_by": ServedBy.STUDENT}, Unusable.NOT_ASKED),
    ],
)
def test_what_is_left_out_is_counted(
    tmp_path: Path, task: TaskSection, changes: dict[str, Any], reason: Unusable
) -> None:
    """Nothing is dropped without its reason."""
    write(tmp_path, [build_exchange(**changes)], [])

    ingested = ingest(tmp_path, task)

    assert ingested.rows == ()
    assert ingested.unusable == {reason: 1}


def test_a_students_answer_is_never_a_target(tmp_path: Path, task: TaskSection) -> None:
    """An exchange that the student served is learned from only where the teacher was audited."""
    served = {"teacher": (), "served_by": ServedBy.STUDENT, "artifact": "s-1", "inclusion": 0.1}
    audited = Observation((0.3, 0.7))
    write(
        tmp_path,
        [build_exchange(0, **served), build_exchange(1, **served)],
        [
            build_answer(0, "s-1", origin=Origin.INLINE),
            build_answer(1, "s-1", origin=Origin.INLINE),
            build_answer(1, TEACHER, origin=Origin.AUDIT, observations=(audited,)),
        ],
    )

    (row,) = ingest(tmp_path, task).rows

    assert (row.exchange_id, row.teacher, row.inclusion) == ("g0-1", audited, 0.1)


def test_a_repeated_text_is_one_row_over_all_gateways(tmp_path: Path, task: TaskSection) -> None:
    """One client's retry loop does not become training data a thousand times over."""
    write(tmp_path, [build_exchange(number, input_digests=("same",)) for number in range(3)], [])
    other = build_exchange(0, exchange_id="g1-0", input_digests=("same",), started_at_us=1)
    write(tmp_path, [other], [], gateway="g1")

    ingested = ingest(tmp_path, task)

    assert [row.repeats for row in ingested.rows] == [4]
    assert ingested.unusable == {Unusable.REPEATED: 3}


def test_each_input_of_a_request_is_a_row(tmp_path: Path, task: TaskSection) -> None:
    """A batch request gives as many rows as it has inputs; one without an observation is counted."""
    exchange = build_exchange(
        inputs=("x", "y", "z"),
        input_words=(1, 1, 1),
        input_digests=("x", "y", "z"),
        teacher=(SURE_A, Observation((0.1, 0.9))),
    )
    write(tmp_path, [exchange], [])

    ingested = ingest(tmp_path, task)

    assert [(row.text, row.input_index) for row in ingested.rows] == [("x", 0), ("y", 1)]
    assert ingested.unusable == {Unusable.NOT_ASKED: 1}


def test_no_exchange_file_is_no_rows(tmp_path: Path, task: TaskSection) -> None:
    """A deployment that never ran has nothing to learn from, which is not an error."""
    assert ingest(tmp_path, task).rows == ()
