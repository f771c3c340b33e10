"""The exchange file: what is written comes back, and every request is accounted for."""

import sqlite3
from pathlib import Path

import pytest

from ledger.exchange import Fallback, Outcome, Unpaired, parse_exchange_id
from ledger.exchange_file import (
    BLOCK_SIZE,
    ExchangeFile,
    answers_after,
    answers_of,
    exchange_at,
    exchanges_of_task,
    reading,
)
from ledger.observation import Observation, ObservationError
from ledger.schema import SchemaTooNew
from tests.ledger.builders import SURE_A, build_answer, build_exchange


def test_an_exchange_comes_back_as_it_went_in(file: ExchangeFile, path: Path) -> None:
    """Every field survives, observations with errors included."""
    exchange = build_exchange(
        3,
        outcome=Outcome.UPSTREAM_TRUNCATED,
        fallback=Fallback.LOW_CONFIDENCE,
        unpaired=Unpaired.INCOMPLETE,
        inputs=("ä\n", ""),
        input_words=(1, 0),
        input_digests=("x", "y"),
        teacher=(SURE_A, Observation(None, ObservationError.NOT_FINITE)),
    )

    file.append([exchange], [])

    with reading(path) as connection:
        assert exchange_at(connection, 3) == exchange
        assert list(exchanges_of_task(connection, "desk")) == [exchange]


def test_answers_come_in_order_of_arrival_with_their_exchange(file: ExchangeFile, path: Path) -> None:
    """A reader that follows the answer numbers misses nothing and sees nothing twice."""
    file.append([build_exchange(0), build_exchange(1)], [build_answer(1)])
    file.append([], [build_answer(0), build_answer(0, "s-2")])

    with reading(path) as connection:
        first = answers_after(connection, 0, limit=2)
        rest = answers_after(connection, first[-1][0], limit=10)

    assert [(answer.responder, exchange.sequence) for _, answer, exchange in first + rest] == [
        ("s-1", 1),
        ("s-1", 0),
        ("s-2", 0),
    ]


def test_spots_come_back_beside_their_observations(file: ExchangeFile, path: Path) -> None:
    """None is written where the student tells none."""
    told = (SURE_A._replace(spot=7), SURE_A, Observation(None, ObservationError.STUDENT_FAILED))
    file.append([build_exchange(0)], [build_answer(0, observations=told), build_answer(0, "s-2")])

    with reading(path) as connection:
        assert [answer.observations for answer in answers_of(connection, 0)] == [told, (SURE_A,)]
        stored = connection.execute("SELECT spots FROM answer ORDER BY number").fetchall()
    assert stored == [("[7,-1,-1]",), ("[]",)]


def test_a_second_answer_of_one_responder_is_ignored(file: ExchangeFile, path: Path) -> None:
    """An answer is keyed by exchange and responder; the first one stands."""
    file.append([build_exchange(0)], [build_answer(0, latency_us=1)])
    file.append([], [build_answer(0, latency_us=2)])

    with reading(path) as connection:
        assert [answer.latency_us for answer in answers_of(connection, 0)] == [1]


def test_what_a_block_started_and_did_not_write_is_a_crash_loss(file: ExchangeFile) -> None:
    """requests = recorded + dropped holds after a block is closed, with the rest counted as crash."""
    first = file.open_block()
    file.append([build_exchange(first), build_exchange(first + 1)], [])

    file.close_block(first, started=7, dropped={"shutdown": 2})

    accounts = file.accounts()
    assert accounts.dropped == {"shutdown": 2, "crash": 3}
    assert accounts.requests == accounts.recorded + sum(accounts.dropped.values()) == 7


def test_sequence_numbers_are_never_used_twice(path: Path) -> None:
    """A run that was killed before it wrote anything still leaves its block behind."""
    for expected in (0, BLOCK_SIZE, 2 * BLOCK_SIZE):
        file = ExchangeFile(path)
        assert file.open_block() == expected
        file.close()

    file = ExchangeFile(path)
    assert file.open_blocks() == [0, BLOCK_SIZE, 2 * BLOCK_SIZE]
    file.close()


def test_numbers_of_answers_grow_whatever_is_removed(file: ExchangeFile, path: Path) -> None:
    """A reader that stands at the last answer sees the next one, also when retention took all that it had read."""
    file.append([build_exchange(0), build_exchange(1)], [build_answer(0), build_answer(1)])
    file.remove([0, 1], "age")
    file.append([build_exchange(2)], [build_answer(2)])

    with reading(path) as connection:
        assert [(number, one.sequence) for number, _, one in answers_after(connection, 2, 10)] == [(3, 2)]
        assert [one.sequence for _, _, one in answers_after(connection, 0, 10)] == [2]


def test_readers_cannot_write(file: ExchangeFile, path: Path) -> None:
    """Only the gateway writes its file."""
    file.append([build_exchange(0)], [])

    with reading(path) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM exchange")


def test_a_file_of_a_later_release_is_refused(file: ExchangeFile, path: Path) -> None:
    """An old release does not touch what it cannot understand, and says which one can."""
    file.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(SchemaTooNew, match="schema version 99"):
        ExchangeFile(path)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("g0-17", ("g0", 17)),
        ("a-b-3", ("a-b", 3)),
        ("g0-", None),
        ("-3", None),
        ("g0-x", None),
        ("", None),
        ("g0-²", None),
        ("g0-" + "9" * 40, None),
    ],
)
def test_an_exchange_id_is_a_gateway_and_a_number(text: str, parsed: tuple[str, int] | None) -> None:
    """What is no exchange id is recognised, however odd."""
    assert parse_exchange_id(text) == parsed
