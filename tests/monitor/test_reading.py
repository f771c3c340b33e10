"""Reading an exchange file: every pair once, whenever its two sides arrive."""

from pathlib import Path

import pytest

from ledger.exchange import TEACHER, Origin, Unpaired
from ledger.exchange_file import ExchangeFile, exchange_path
from monitor.columns import PairColumns
from monitor.reading import PAGE_ROWS, Arrivals, Limits, read_arrivals
from tests.ledger.builders import build_answer, build_exchange
from tests.monitor.world import A, B, build_configuration, served, shadowed, traffic

Found = tuple[str, str, int, int]  # exchange, student, top class of the teacher, of the student
EVERYTHING = Limits(answers=10_000, pairs=10_000)


def read(
    directory: Path, position: int = 0, limits: Limits = EVERYTHING, asked_about: tuple[int, ...] = ()
) -> Arrivals:
    tasks = {task.name: task for task in build_configuration(directory).task}
    return read_arrivals(exchange_path(directory, "g0"), position, limits, tasks, asked_about)


def found(pages: tuple[PairColumns, ...]) -> list[Found]:
    """Every pair, in order."""
    return [
        (exchange, columns.artifacts[artifact], teacher, student)
        for columns in pages
        for exchange, artifact, teacher, student in zip(
            columns.exchange_ids,
            columns.artifact.tolist(),
            columns.measures.teacher_top.tolist(),
            columns.measures.student_top.tolist(),
            strict=True,
        )
    ]


def test_a_shadow_answer_completes_its_pair(tmp_path: Path, exchanges: ExchangeFile) -> None:
    """The teacher's side lies in the exchange already."""
    exchange, answer = shadowed(0, agrees=False)
    exchanges.append([exchange], [answer])

    arrivals = read(tmp_path)

    assert [columns.task for columns in arrivals.pairs] == ["desk"]
    assert found(arrivals.pairs) == [("g0-0", "s-1", A.top, B.top)]


@pytest.mark.parametrize("student_first", [True, False])
def test_an_audit_and_an_inline_answer_meet_in_any_order(
    tmp_path: Path, exchanges: ExchangeFile, student_first: bool
) -> None:
    """The pair is read with the later one, in whichever tick that is, and only then."""
    exchange, inline = served(0)
    audit = build_answer(0, TEACHER, origin=Origin.AUDIT, observations=(B,))
    first, second = (inline, audit) if student_first else (audit, inline)

    exchanges.append([exchange], [first])
    early = read(tmp_path)
    exchanges.append([], [second])
    late = read(tmp_path, early.position)

    assert (early.pairs, early.unusable) == ((), {})
    assert found(late.pairs) == [("g0-0", "s-1", B.top, A.top)]
    assert read(tmp_path, late.position).pairs == ()
    assert found(read(tmp_path).pairs) == found(late.pairs)


def test_an_audit_completes_the_pair_of_every_student(tmp_path: Path, exchanges: ExchangeFile) -> None:
    """One serves, another shadows."""
    exchange, inline = served(0, "s-1")
    exchanges.append([exchange], [inline, build_answer(0, "s-2", observations=(B,))])
    exchanges.append([], [build_answer(0, TEACHER, origin=Origin.AUDIT, observations=(A,))])

    assert found(read(tmp_path).pairs) == [("g0-0", "s-1", A.top, A.top), ("g0-0", "s-2", A.top, B.top)]


def test_unusable_answers_are_counted_by_reason(tmp_path: Path, exchanges: ExchangeFile) -> None:
    """Not drawn for an audit, a teacher's error, and a path whose task is gone; a replay is passed over."""
    unaudited, inline = served(0, measured=False, unpaired=Unpaired.NOT_ASKED)
    failed, answer = shadowed(1, agrees=True, unpaired=Unpaired.TEACHER_ERROR)
    gone, other = shadowed(2, agrees=True, task="elsewhere")
    exchanges.append([unaudited, gone], [inline, other])
    exchanges.append([build_exchange(1, teacher=(), unpaired=failed.unpaired)], [answer])
    exchanges.append([build_exchange(3)], [build_answer(3, origin=Origin.REPLAY)])

    arrivals = read(tmp_path)

    assert arrivals.pairs == ()
    assert arrivals.unusable == {"not_measured": 1, "no_teacher": 1, "no_task": 1}
    assert arrivals.answers == 4


def test_a_backlog_is_read_in_bounded_portions(tmp_path: Path, exchanges: ExchangeFile) -> None:
    """Each continues where the one before stopped, across pages."""
    exchanges.append(*traffic(PAGE_ROWS + 50, "s-1"))

    first = read(tmp_path, limits=Limits(PAGE_ROWS + 20, 100_000))
    second = read(tmp_path, first.position, Limits(PAGE_ROWS + 20, 100_000))

    assert (first.answers, first.is_behind) == (PAGE_ROWS + 20, True)
    assert (second.answers, second.is_behind) == (30, False)
    ids = [exchange for exchange, *_ in found((*first.pairs, *second.pairs))]
    assert ids == [f"g0-{n}" for n in range(PAGE_ROWS + 50)]


def test_a_tick_stops_after_the_page_that_brings_enough_pairs(
    tmp_path: Path, exchanges: ExchangeFile
) -> None:
    """One answer may hold many inputs, so answers alone would not bound the memory of a tick."""
    exchanges.append(*traffic(PAGE_ROWS + 50, "s-1"))

    arrivals = read(tmp_path, limits=Limits(100_000, PAGE_ROWS))

    assert (arrivals.answers, arrivals.is_behind) == (PAGE_ROWS, True)


def test_exchanges_asked_about_are_known_up_to_the_position(tmp_path: Path, exchanges: ExchangeFile) -> None:
    """What has not been read yet is not known yet."""
    exchanges.append(*traffic(3, "s-1"))

    arrivals = read(tmp_path, limits=Limits(2, 100), asked_about=(0, 1, 2, 99))

    assert [exchange for exchange, *_ in found(arrivals.known)] == ["g0-0", "g0-1"]
