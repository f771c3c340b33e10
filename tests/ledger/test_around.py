"""Exchanges around a moment, in a real exchange file."""

from pathlib import Path

import pytest

from ledger.around import answered_before, answered_since, first_sequence_at
from ledger.exchange import TEACHER, Origin
from ledger.exchange_file import BLOCK_SIZE, ExchangeFile, exchange_path, reading
from tests.ledger.builders import build_answer, build_exchange


@pytest.fixture
def file(file: ExchangeFile) -> ExchangeFile:
    """Two runs of the gateway: numbers leap between them, times do not."""
    for first, start in ((0, 0), (5 * BLOCK_SIZE, 100)):
        sequences = [first + 2 * n for n in range(10)]
        file.append(
            [build_exchange(s, started_at_us=start + n // 2) for n, s in enumerate(sequences)],
            [build_answer(s) for s in sequences[:5]],
        )
    return file


def test_the_first_exchange_of_a_moment_is_found(file: ExchangeFile) -> None:
    """For every moment: the same as by looking at each exchange."""
    with reading(file.path) as connection:
        rows = connection.execute("SELECT sequence, started_at_us FROM exchange ORDER BY sequence").fetchall()
        for at_us in range(-1, 110):
            later = [sequence for sequence, started in rows if started >= at_us]
            found = first_sequence_at(connection, at_us)
            assert {s for s, _ in rows if s >= found} == set(later)


def test_an_empty_file_has_no_first_exchange(tmp_path: Path) -> None:
    """Reading on from there finds nothing."""
    empty = ExchangeFile(exchange_path(tmp_path, "g1"))
    empty.close()
    with reading(exchange_path(tmp_path, "g1")) as connection:
        sequence = first_sequence_at(connection, 5)
        assert answered_since(connection, "s-1", "desk", sequence, 9, False) == []
        assert answered_before(connection, "s-1", "desk", sequence, 9, False) == []


def test_both_sides_come_nearest_first(file: ExchangeFile) -> None:
    """Exchanges without an answer too; none of another task; texts only where they are asked for."""
    with reading(file.path) as connection:
        middle, second_run = first_sequence_at(connection, 100), 5 * BLOCK_SIZE
        after = answered_since(connection, "s-1", "desk", middle, 7, True)
        before = answered_before(connection, "s-1", "desk", middle, 3, False)
        assert answered_since(connection, "s-1", "another", 0, 7, False) == []

    assert [row.sequence for row in after] == [second_run + 2 * n for n in range(7)]
    assert [row.sequence for row in before] == [18, 16, 14]
    assert [row.observations != "[]" for row in after] == [True] * 5 + [False] * 2
    assert all(row.responder == "s-1" for row in after)
    assert (after[0].inputs, before[0].inputs) == (f'["text {second_run}"]', "[]")


def test_an_audit_is_the_teachers_side(file: ExchangeFile) -> None:
    """Where the student served; a replay is no live answer."""
    audited = build_answer(99, TEACHER, origin=Origin.AUDIT)
    replayed = build_answer(99, "s-1", origin=Origin.REPLAY)
    file.append([build_exchange(99, teacher=())], [audited, replayed])

    with reading(file.path) as connection:
        (row,) = answered_since(connection, "s-1", "desk", 99, 1, False)

    assert row.teacher != "[]"
    assert (row.observations, row.number) == ("[]", 0)
