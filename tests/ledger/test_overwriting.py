"""Overwriting in place: nothing is left in the bytes of the file, and everything else is as it was."""

import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ledger.erasures import Erasure, Step
from ledger.exchange_file import ExchangeFile, answers_after, exchanges_of_task, reading
from ledger.overwriting import (
    ERASED_SUBJECT,
    clear,
    count_due,
    digests_in_record,
    end_erasure,
    erased_inputs,
    overwrite_slice,
    report_of,
)
from tests.ledger.builders import build_answer, build_exchange

HERS, HIS = "a" * 32, "b" * 32


def erasure(subject: str | None = HERS, ids: tuple[str, ...] = (), before_us: int = 2**62) -> Erasure:
    return Erasure("t1", Step.RECORD, "desk", subject, ids, before_us)


def carry_out(file: ExchangeFile, wanted: Erasure) -> None:
    while overwrite_slice(file, wanted):
        pass
    assert file.empty_log()
    end_erasure(file, wanted.token)


def stored(path: Path) -> bytes:
    return b"".join(one.read_bytes() for one in path.parent.iterdir())


def test_no_byte_is_left(file: ExchangeFile, path: Path) -> None:
    """Of texts of any length, between others, also where retention has removed rows before."""
    draw = random.Random(5)
    hers = {number for number in range(1500) if draw.random() < 0.4}
    for start in range(0, 1500, 50):
        rows = [
            build_exchange(
                number,
                inputs=(f"T{number:05d}ä" * draw.choice([1, 5, 40, 300, 900]), ""),
                input_words=(1, 0),
                input_digests=(f"D{number:05d}".ljust(32, "x"), f"E{number:05d}".ljust(32, "x")),
                attributes={"x-area": f"A{number:05d}"},
                subject=HERS if number in hers else HIS,
            )
            for number in range(start, start + 50)
        ]
        file.append(rows, [build_answer(number) for number in range(start, start + 50)])
    file.remove(list(range(333)), "age")
    carry_out(file, erasure())
    assert clear(file, "t1")
    content = stored(path)
    found = {int(number) for number in re.findall(rb"[TDEA](\d{5})", content)}
    assert found == set(range(333, 1500)) - hers
    assert HERS.encode() not in content
    with reading(path) as connection:
        kept = {one.sequence: one for one in exchanges_of_task(connection, "desk")}
        assert len(answers_after(connection, 0, 2000)) == 1500 - 333
    assert sorted(kept) == list(range(333, 1500))
    for number, one in kept.items():
        assert (one.input_words, len(one.teacher), len(set(one.input_digests))) == ((1, 0), 1, 2)
        assert (one.inputs == ("", "")) == (number in hers)
        assert (one.subject == ERASED_SUBJECT) == (number in hers)
    assert file.accounts().recorded == 1500


def test_later_exchanges_and_other_tasks_stay(file: ExchangeFile, path: Path) -> None:
    """An erasure reaches what started before it, in its task."""
    rows = [
        build_exchange(number, subject=HERS, started_at_us=at_us, task=task)
        for number, (at_us, task) in enumerate([(5, "desk"), (6, "desk"), (7, "desk"), (5, "other")])
    ]
    file.append(rows, [])
    assert count_due(path, erasure(before_us=6)) == 2
    carry_out(file, erasure(before_us=6))
    with reading(path) as connection:
        subjects = dict(connection.execute("SELECT sequence, subject FROM exchange").fetchall())
    assert subjects == {0: ERASED_SUBJECT, 1: ERASED_SUBJECT, 2: HERS, 3: HERS}


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": HERS},
        {"subject": None},
        {"subject": None, "inputs": (), "input_words": (), "input_digests": ()},
        {"subject": HERS, "inputs": (), "input_words": (), "input_digests": (), "attributes": {}},
    ],
)
def test_by_id_once(file: ExchangeFile, path: Path, changes: dict[str, object]) -> None:
    """Whatever of a caller there is; what was erased is not erased again, under any name."""
    file.append([build_exchange(0, **changes), build_exchange(1)], [])
    by_id = erasure(None, ("g0-0", "g1-1", "g0-7"))
    assert count_due(path, by_id) == 1
    carry_out(file, by_id)
    assert (count_due(path, by_id), count_due(path, erasure())) == (0, 0)
    assert report_of(path, "t1").exchanges == 1


def test_digests_are_kept_until_they_are_cleared(file: ExchangeFile, path: Path) -> None:
    """For whoever looks through the jobs; those that somebody else sent too are told apart."""
    texts = [("x" * 32, HERS), ("y" * 32, HERS), ("x" * 32, HERS), ("y" * 32, HIS)]
    file.append([build_exchange(n, input_digests=(d,), subject=s) for n, (d, s) in enumerate(texts)], [])
    carry_out(file, erasure())
    found = erased_inputs([path], "t1")
    assert {(one.digest, one.started_at_us) for one in found} == {
        ("x" * 32, 1_000_000),
        ("y" * 32, 1_000_001),
    }
    assert digests_in_record([path], "desk", [one.digest for one in found]) == {"y" * 32}
    assert (report_of(path, "t1").has_ended, report_of(path, "t1").is_cleared) == (True, False)
    assert clear(file, "t1")
    assert (erased_inputs([path], "t1"), report_of(path, "t1").is_cleared) == ([], True)
    assert b"x" * 32 not in stored(path)


def test_a_reader_in_the_way_is_waited_for(file: ExchangeFile, path: Path) -> None:
    """While somebody looks at the older state it is in the log, and the erasure has not ended."""
    file.append([build_exchange(0, subject=HERS)], [])
    with reading(path) as connection:
        connection.execute("SELECT count(*) FROM exchange").fetchone()
        assert overwrite_slice(file, erasure())
        assert not file.empty_log()
    assert file.empty_log()
    assert b"text 0" not in stored(path)


def test_a_file_of_the_release_before_is_brought_up(path: Path) -> None:
    """Its exchanges have no subject; new ones beside them have."""
    file = ExchangeFile(path)
    file.append([build_exchange(0)], [])
    file.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP INDEX exchange_of_subject")
        connection.execute("ALTER TABLE exchange DROP COLUMN subject")
        connection.execute("DROP TABLE erasure_report")
        connection.execute("DROP TABLE erased_exchange")
        connection.execute("PRAGMA user_version = 3")
    assert not report_of(path, "t1").has_ended
    file = ExchangeFile(path)
    file.append([build_exchange(1, subject=HERS)], [])
    carry_out(file, erasure())
    file.close()
    with reading(path) as connection:
        assert [one.inputs for one in exchanges_of_task(connection, "desk")] == [("text 0",), ("",)]
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT sequence FROM exchange WHERE subject = ?", (HERS,)
        ).fetchall()
    assert "exchange_of_subject" in plan[0][-1]
