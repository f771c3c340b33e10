"""Which logged exchanges are learned from, and why the others are not."""

from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from distill.curation.gathering import LabelUse
from distill.curation.ingest import ingest
from distill.curation.rows import Source, Unusable
from distill.curation.window import DAY_US, Window, job_window, window_of
from ledger.configuration import CurationSection, TaskSection
from ledger.control_file import open_control_file, transaction
from ledger.exchange import TEACHER, TEACHER_AGAIN, Answer, Exchange, Origin, Outcome, ServedBy
from ledger.exchange_file import ExchangeFile, exchange_path, exchange_paths
from ledger.labels import every_label, keep_label
from ledger.observation import Observation, ObservationError, hard_label
from ledger.tables import AlarmRow, JobRow, TeacherChangeRow
from tests.ledger.builders import SURE_A, build_answer, build_exchange

SAME: dict[str, Any] = {"inputs": ("same",), "input_digests": ("same",)}


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
    write(tmp_path, [build_exchange(number, **SAME) for number in range(3)], [])
    other = build_exchange(0, exchange_id="g1-0", started_at_us=1, **SAME)
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


def test_the_teachers_answers_to_one_text_are_averaged(tmp_path: Path, task: TaskSection) -> None:
    """Those of repeats, of texts that differ in white space alone, and of a second asking."""
    answers = [Observation((0.9, 0.1)), Observation((0.2, 0.8)), Observation((0.7, 0.3))]
    texts = ("to be", "to  be", "to be ")
    exchanges = [
        build_exchange(number, inputs=(text,), input_digests=(f"d{number}",), teacher=(said,))
        for number, (text, said) in enumerate(zip(texts, answers, strict=True))
    ]
    second = build_answer(0, TEACHER_AGAIN, origin=Origin.SECOND, observations=(Observation((0.6, 0.4)),))
    write(tmp_path, exchanges, [second])

    (row,) = ingest(tmp_path, task).rows

    assert row.teacher.probabilities == pytest.approx((0.6, 0.4))
    assert (row.digest, row.repeats, row.slices) == ("d0", 3, ("all", "area=a", "desk=a"))


def test_votes_become_shares(tmp_path: Path, task: TaskSection) -> None:
    """A teacher that only names classes: three votes against one; a unanimous one stays a bare class."""
    votes = [hard_label(number == 3, 2) for number in range(4)]
    exchanges = [build_exchange(number, teacher=(vote,), **SAME) for number, vote in enumerate(votes)]
    agreed = [build_exchange(10 + n, teacher=(hard_label(1, 2),), inputs=("b",)) for n in range(2)]
    write(tmp_path, [*exchanges, *agreed], [])

    voted, unanimous = ingest(tmp_path, task).rows

    assert (voted.teacher, voted.voted) == (Observation((0.75, 0.25)), True)
    assert unanimous.teacher == hard_label(1, 2)


def test_how_often_the_teacher_agrees_with_itself(tmp_path: Path, task: TaskSection) -> None:
    """The first two answers to each text; one that came a hundred times counts once."""
    said = {"a": [0, 0], "b": [0, 1, 1], "c": [1] * 100, "d": [0]}
    exchanges = [
        build_exchange(100 * place + n, inputs=(text,), input_digests=(text,), teacher=(hard_label(top, 2),))
        for place, (text, tops) in enumerate(said.items())
        for n, top in enumerate(tops)
    ]
    write(tmp_path, exchanges, [])

    agreement = ingest(tmp_path, task).agreement

    assert (agreement.inputs, agreement.agreements) == (3, 2)
    assert agreement.low == pytest.approx(binomtest(2, 3).proportion_ci(0.95, "exact").low)
    assert agreement.high == pytest.approx(binomtest(2, 3).proportion_ci(0.95, "exact").high)


def test_only_the_window_is_learned_from(tmp_path: Path, task: TaskSection) -> None:
    """What came before is counted, but for rows of earlier jobs: these are replayed, once."""
    write(tmp_path, [build_exchange(number, started_at_us=number) for number in range(10)], [])
    again = build_exchange(20, inputs=("text 2",), input_digests=(f"{2:032x}",), started_at_us=20)
    write(tmp_path, [again], [], gateway="g1")

    ingested = ingest(tmp_path, task, Window(6, 8), replay=[f"{number:032x}" for number in (1, 2, 7)])

    assert [row.at_us for row in ingested.rows] == [6, 7, 8, 9, 20]
    assert [row.live for row in ingested.rows] == [0, 0, 1, 1, 1]
    assert [(row.at_us, row.source) for row in ingested.replay] == [(1, Source.REPLAY)]
    assert ingested.unusable == {Unusable.OUT_OF_WINDOW: 6}


def test_what_the_teacher_said_before_it_changed_is_left_out(tmp_path: Path, task: TaskSection) -> None:
    """Although its version is the same."""
    write(tmp_path, [build_exchange(number, started_at_us=number) for number in range(10)], [])

    ingested = ingest(tmp_path, task, Window(0, 0, teacher_since_us=4))

    assert (len(ingested.rows), ingested.unusable) == (6, {Unusable.BEFORE_TEACHER_CHANGE: 4})


def test_an_answer_that_names_mostly_no_class_is_left_out(tmp_path: Path, task: TaskSection) -> None:
    """What is left of it is no opinion."""
    write(tmp_path, [build_exchange(teacher=(Observation((0.9, 0.1), other=0.7),))], [])

    assert ingest(tmp_path, task).unusable == {Unusable.MOSTLY_OTHER: 1}


def test_rows_have_their_callers_and_true_classes(tmp_path: Path, task: TaskSection) -> None:
    """Labels of one text that differ give it none; each kind is counted."""
    write(
        tmp_path,
        [
            build_exchange(0, inputs=("one",), subject="ann"),
            build_exchange(1, inputs=("one",), subject="bob"),
            build_exchange(2, inputs=("two",)),
            build_exchange(3, inputs=("two",)),
            build_exchange(4, inputs=("three",)),
        ],
        [],
    )
    labels = {("g0-0", 0): "b", ("g0-2", 0): "a", ("g0-3", 0): "b", ("g0-4", 0): "zebra"}

    ingested = ingest(tmp_path, task, labels=labels)

    assert [row.principals for row in ingested.rows] == [("ann", "bob"), ("",), ("",)]
    assert [row.truth for row in ingested.rows] == [1, None, None]
    assert ingested.labels == {
        LabelUse.VERIFIED: 1,
        LabelUse.TEACHER_WRONG: 1,
        LabelUse.CONTRADICTING: 1,
        LabelUse.UNKNOWN_CLASS: 1,
    }


def test_texts_that_are_rarely_asked_about_stand_for_more(tmp_path: Path, task: TaskSection) -> None:
    """One arrival of a tenth and one of all are eleven."""
    exchanges = [build_exchange(number, inclusion=1.0 - 0.9 * number, **SAME) for number in range(2)]
    write(tmp_path, exchanges, [])

    (row,) = ingest(tmp_path, task).rows

    assert row.live == pytest.approx(11)
    assert row.repeats / row.inclusion == pytest.approx(11)


def test_the_window_follows_the_alarm() -> None:
    """Live is what came since the change; a change long ago extends the window."""
    settings = CurationSection(window_days=30, live_days=7)
    assert window_of(100 * DAY_US, settings, None) == Window(70 * DAY_US, 93 * DAY_US)
    assert window_of(100 * DAY_US, settings, 98 * DAY_US) == Window(70 * DAY_US, 98 * DAY_US)
    assert window_of(100 * DAY_US, settings, 20 * DAY_US) == Window(20 * DAY_US, 20 * DAY_US)


def test_a_jobs_window_comes_from_its_alarm(tmp_path: Path, task: TaskSection) -> None:
    """And from the teacher's last change that voids; a clock that had jumped ahead moves nothing."""
    opened = 200 * DAY_US
    write(tmp_path, [build_exchange(0, started_at_us=opened), build_exchange(1, started_at_us=10**17)], [])
    engine = open_control_file(tmp_path)
    with transaction(engine) as session:
        receipt = {"change_us": 195 * DAY_US}
        alarm = AlarmRow(task="desk", slice="all", artifact="s", at_us=1, decision="", receipt=receipt)
        change = TeacherChangeRow(
            task="desk", at_us=150 * DAY_US, kind="answers", voids=True, probe_set="", evidence={}
        )
        session.add_all([alarm, change])
        session.flush()
        job = JobRow(task="desk", cause="alarm", alarm_id=alarm.id, opened_by="", opened_at_us=opened)
        window = job_window(session, exchange_paths(tmp_path), task, job)
    engine.dispose()
    assert window == Window(110 * DAY_US, 195 * DAY_US, 150 * DAY_US)


def test_the_last_label_holds(tmp_path: Path) -> None:
    """Whatever was said before."""
    engine = open_control_file(tmp_path)
    with transaction(engine) as session:
        for label in ("a", "b"):
            keep_label(session, "g0-1", 0, label, "file")
        known = every_label(session)
    engine.dispose()
    assert known == {("g0-1", 0): "b"}
