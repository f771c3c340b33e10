"""Pages of answers: in order, bounded, and the same rows however they are cut."""

import orjson

from ledger.answer_pages import ROWS_A_READ, Answered, answers_upto, by_row, decoded, page_after
from ledger.exchange import TEACHER, Origin
from ledger.exchange_file import ExchangeFile, reading
from tests.ledger.builders import build_answer, build_exchange

ROOM = 2**20


def test_a_row_holds_the_answer_beside_its_exchange(file: ExchangeFile) -> None:
    """Column by column, under its own name."""
    exchange, answer = build_exchange(5), build_answer(5)
    file.append([exchange], [answer])

    with reading(file.path) as connection:
        (row,) = by_row(page_after(connection, 0, 10, ROOM))

    assert (row.number, row.responder, row.origin, row.sequence) == (1, "s-1", "shadow", 5)
    assert (row.exchange_id, row.task, row.started_at_us) == ("g0-5", "desk", exchange.started_at_us)
    assert (row.outcome, row.measured, row.unpaired) == ("complete", 1, None)
    assert orjson.loads(row.attributes) == exchange.attributes
    lists = (row.observations, row.teacher, row.input_words, row.input_digests)
    assert decoded(lists) == [[[0.9, 0.1]], [[0.9, 0.1]], [2], list(exchange.input_digests)]


def test_pages_go_on_where_the_last_one_ended(file: ExchangeFile) -> None:
    """Nothing twice, nothing left out, and a page of few bytes still brings rows."""
    numbers = range(3 * ROWS_A_READ)
    file.append([build_exchange(n) for n in numbers], [build_answer(n) for n in numbers])

    found: list[Answered] = []
    with reading(file.path) as connection:
        while page := by_row(page_after(connection, found[-1].number if found else 0, 2 * ROWS_A_READ, 1)):
            assert len(page) <= ROWS_A_READ
            found += page

    assert [row.sequence for row in found] == list(numbers)


def test_rows_of_different_settings_keep_their_own(file: ExchangeFile) -> None:
    """A page reads what neighbours share once, whoever answered and however the exchange ended."""
    numbers = range(40)
    kept = [
        build_exchange(n, task=f"task-{n % 3}", teacher_epoch="ünï", measured=n % 2 == 0) for n in numbers
    ]
    file.append(kept, [build_answer(n, f"s-{n % 4}") for n in numbers])

    with reading(file.path) as connection:
        page = by_row(page_after(connection, 0, 100, ROOM))
        asked = answers_upto(connection, list(numbers), 100)

    assert page == asked
    assert [(row.task, row.responder, row.measured) for row in page] == [
        (f"task-{n % 3}", f"s-{n % 4}", int(n % 2 == 0)) for n in numbers
    ]
    assert {(row.teacher_epoch, row.unpaired) for row in page} == {("ünï", None)}


def test_live_students_are_neither_teachers_nor_replays(file: ExchangeFile) -> None:
    """Only what a student said at the time is compared."""
    answers = [
        build_answer(0, "s-1"),
        build_answer(0, TEACHER, origin=Origin.AUDIT),
        build_answer(0, "s-2", origin=Origin.REPLAY),
    ]
    file.append([build_exchange(0), build_exchange(1)], [*answers, build_answer(1)])

    with reading(file.path) as connection:
        rows = answers_upto(connection, [0, 9], 4)
        early = answers_upto(connection, [0, 1], 1)
        assert answers_upto(connection, [], 4) == []

    assert [(row.responder, row.is_live_student) for row in rows] == [
        ("s-1", True),
        (TEACHER, False),
        ("s-2", False),
    ]
    assert [(row.sequence, row.responder) for row in early] == [(0, "s-1")]
