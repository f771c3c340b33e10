"""Erasures beyond the record: lists of jobs, flags of students, files that nobody runs on, and being killed."""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.control.erasing import Eraser
from gateway.store import close_store, open_store
from ledger.audit import first_broken_audit_row
from ledger.control_file import transaction
from ledger.erasures import Step
from ledger.exchange import exchange_id
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.gateway_beats import beat_path, leave_beat
from ledger.job_folders import LOCK_FILE, job_folder, read_lists, write_rows, write_whole
from ledger.jobs import JobStatus
from ledger.probe_set import Probe, freeze, kept_set
from ledger.tables import ErasureRow, JobRow
from tests.gateway.control.desk import TASK, Desk, add_student, wait_until
from tests.ledger.builders import build_exchange

BEFORE_US = 1_700_000_030_000_000  # add_student's jobs ended half a minute later


@pytest.fixture
def file(desk: Desk) -> Iterator[ExchangeFile]:
    """Of a gateway that does not run."""
    file = ExchangeFile(exchange_path(desk.data_directory, "g0"))
    texts = [
        build_exchange(
            number,
            task=TASK,
            inputs=(f"text {number}",),
            input_digests=(digest(number),),
            started_at_us=BEFORE_US,
        )
        for number in range(6)
    ]
    file.append(texts, [])
    yield file
    file.close()


def digest(number: int) -> str:
    return f"{number:032x}"


def digests(*numbers: int) -> set[str]:
    return set(map(digest, numbers))


def ask(desk: Desk, *sequences: int) -> int:
    body = {"exchange_ids": [exchange_id("g0", sequence) for sequence in sequences]}
    return int(desk.ask("olga", "POST", f"/api/v1/tasks/{TASK}/erasures", body).json()["id"])


def erase(desk: Desk, *sequences: int) -> dict[str, Any]:
    """Ask for it, and carry it out as the control process does where no gateway runs."""
    number = ask(desk, *sequences)
    Eraser(desk.engine, desk.data_directory, unowned_seconds=0).advance()
    return look(desk, number)


def look(desk: Desk, number: int) -> dict[str, Any]:
    document: dict[str, Any] = desk.ask("vera", "GET", f"/api/v1/erasures/{number}").json()
    return document


def give_lists(desk: Desk, job_id: int, gate: Sequence[int], train: Sequence[int] | None) -> Path:
    folder = job_folder(desk.data_directory, job_id)
    folder.mkdir(parents=True)
    lock: Mapping[str, Any] = {"task": TASK, "rows": dict.fromkeys(map(digest, gate), None)}
    write_whole(folder / LOCK_FILE, lock)
    if train is not None:
        write_rows(folder, {"train": digests(*train[1:]), "dev": digests(*train[:1]), "calibration": ()})
    return folder


def job_of(desk: Desk, artifact: str) -> int:
    return int(next(one["job_id"] for one in desk.task()["students"] if one["artifact"] == artifact))


def test_students_are_flagged_and_lists_rewritten(desk: Desk, file: ExchangeFile) -> None:
    """Two erasures add up, each says what it was; a student that read nothing of it has no flag."""
    first, second = (add_student(desk.engine, desk.data_directory, seed=seed) for seed in (1, 2))
    folder = give_lists(desk, job_of(desk, first), gate=[0, 1], train=[2, 3, 4])
    give_lists(desk, job_of(desk, second), gate=[5], train=[4])
    erased = erase(desk, 0, 2, 3)
    assert (erased["step"], erased["exchanges"], erased["waits_for"]) == ("done", 3, [])
    assert [(job["artifact"], job["training_rows"], job["gate_rows"]) for job in erased["jobs"]] == [
        (first, 2, 1)
    ]
    assert [job["job_id"] for job in erase(desk, 4)["jobs"]] == [job_of(desk, first), job_of(desk, second)]
    flags = {one["artifact"]: one["erased"] for one in desk.task()["students"]}
    assert [(flags[one]["training_rows"], flags[one]["gate_rows"]) for one in (first, second)] == [
        (3, 1),
        (1, 0),
    ]
    assert flags[first]["is_bound"] is False
    assert (read_lists(folder).gate, read_lists(folder).training) == (digests(1), frozenset())
    student = desk.ask("vera", "GET", f"/api/v1/tasks/{TASK}/students/{first}").json()
    assert student["erased"] == flags[first]
    with transaction(desk.engine) as session:
        assert first_broken_audit_row(session) is None


def test_what_somebody_else_sent_too_stays_in_the_lists(desk: Desk, file: ExchangeFile) -> None:
    """The row is his as well; the student is flagged all the same, since hers was among what it learned from."""
    artifact = add_student(desk.engine, desk.data_directory)
    folder = give_lists(desk, job_of(desk, artifact), gate=[], train=[1])
    file.append([build_exchange(7, task=TASK, input_digests=(digest(1),))], [])
    assert erase(desk, 1)["jobs"][0]["training_rows"] == 1
    assert read_lists(folder).training == digests(1)


def test_a_job_that_kept_no_list(desk: Desk, file: ExchangeFile) -> None:
    """It is said to have read at most what had arrived when it ended."""
    artifact = add_student(desk.engine, desk.data_directory)
    late = build_exchange(8, task=TASK, started_at_us=BEFORE_US * 2, input_digests=(digest(8),))
    file.append([late], [])
    erased = erase(desk, 1, 2, 8)
    assert erased["exchanges"] == 2  # what starts in the future is later than the erasure
    assert [(job["training_rows"], job["is_bound"]) for job in erased["jobs"]] == [(2, True)]
    assert desk.task()["students"][0]["erased"]["is_bound"]
    assert desk.task()["students"][0]["artifact"] == artifact


@pytest.mark.parametrize(("train", "begins_anew"), [([1, 2], True), ([3], False)])
def test_an_open_job(desk: Desk, file: ExchangeFile, train: list[int], begins_anew: bool) -> None:
    """One that has read what is erased is taken from its worker and begins anew; what it makes has no flag."""
    with transaction(desk.engine) as session:
        job = JobRow(task=TASK, cause="by_hand", opened_by="olga", opened_at_us=1, attempts=2)
        job.status, job.claimed_by = JobStatus.RUNNING, "w-1"
        session.add(job)
        session.flush()
    assert job.id is not None
    folder = give_lists(desk, job.id, gate=[4, 5], train=train)
    before = (folder / LOCK_FILE).read_bytes()
    erased = erase(desk, 1, 4) if begins_anew else erase(desk, 1)
    assert (erased["exchanges"], erased["jobs"]) == (2 if begins_anew else 1, [])
    with transaction(desk.engine) as session:
        found = session.get_one(JobRow, job.id)
    assert (found.status, found.claimed_by, found.attempts) == (
        (JobStatus.WAITING, None, 1) if begins_anew else (JobStatus.RUNNING, "w-1", 2)
    )
    assert ((folder / LOCK_FILE).read_bytes() == before) != begins_anew
    assert read_lists(folder).gate == (digests(5) if begins_anew else digests(4, 5))


def test_a_file_that_a_gateway_holds_is_left_to_it(desk: Desk) -> None:
    """Nobody else writes it, however long it takes; the erasure names whom it waits for."""
    store = open_store(desk.data_directory, "g0")
    store.file.append([build_exchange(0, task=TASK)], [])
    waiting = erase(desk, 0)
    assert (waiting["step"], waiting["waits_for"], waiting["done_at_us"]) == ("record", ["g0"], None)
    close_store(store, settle=False)
    Eraser(desk.engine, desk.data_directory, unowned_seconds=0).advance()
    assert look(desk, waiting["id"])["step"] == "done"


def test_a_gateway_that_was_just_alive_comes_back(desk: Desk, file: ExchangeFile) -> None:
    """Killed and started again it must find its file free; after a while without a sign of life it is gone."""
    path = beat_path(desk.data_directory, "g0")
    leave_beat(path)
    waiting = erase(desk, 0)
    assert (waiting["step"], waiting["waits_for"]) == ("record", ["g0"])
    os.utime(path, (time.time() - 60, time.time() - 60))
    Eraser(desk.engine, desk.data_directory, unowned_seconds=0).advance()
    assert look(desk, waiting["id"])["step"] == "done"


def test_a_file_is_left_alone_while_its_gateway_may_be_starting(desk: Desk, file: ExchangeFile) -> None:
    """For some seconds after the first look."""
    number = ask(desk, 0)
    Eraser(desk.engine, desk.data_directory).advance()
    assert look(desk, number)["step"] == "record"


def test_broken_files_are_named(desk: Desk, file: ExchangeFile) -> None:
    """They are out of reach, so a person has to delete them."""
    path = exchange_path(desk.data_directory, "g0")
    for suffix in ("", "-wal"):
        path.with_name(f"g0.sqlite.broken-17{suffix}").write_bytes(b"her text")
    assert erase(desk, 0)["not_reached"] == ["exchanges/g0.sqlite.broken-17"]


class Dying(Eraser):
    """Ends when what comes before a step is committed, and the step is not noted yet."""

    at: Step

    def _go_on(self, row: ErasureRow, step: Step) -> bool:
        if step is self.at:
            raise KeyboardInterrupt
        return super()._go_on(row, step)


@pytest.mark.parametrize("step", [Step.COUNTING, Step.COPIES, Step.CLEARING])
def test_killed_before_a_step_was_noted(desk: Desk, file: ExchangeFile, step: Step) -> None:
    """What was done is done again without another outcome: counts are neither lost nor doubled."""
    artifact = add_student(desk.engine, desk.data_directory)
    folder = give_lists(desk, job_of(desk, artifact), gate=[0], train=[1, 2, 3])
    number = ask(desk, 0, 1, 2)
    dying = Dying(desk.engine, desk.data_directory, unowned_seconds=0)
    dying.at = step
    with pytest.raises(KeyboardInterrupt):
        dying.advance()
    assert look(desk, number)["step"] == list(Step)[list(Step).index(step) - 1]
    Eraser(desk.engine, desk.data_directory, unowned_seconds=0).advance()
    erased = look(desk, number)
    assert (erased["step"], erased["exchanges"]) == ("done", 3)
    assert [(job["training_rows"], job["gate_rows"]) for job in erased["jobs"]] == [(2, 1)]
    assert read_lists(folder).training == digests(3)


def test_a_gateway_that_comes_later_is_not_waited_for(desk: Desk, file: ExchangeFile) -> None:
    """Its file holds nothing of what was erased before it was there."""
    number = ask(desk, 0)
    dying = Dying(desk.engine, desk.data_directory, unowned_seconds=0)
    dying.at = Step.CLEARING
    with pytest.raises(KeyboardInterrupt):
        dying.advance()
    store = open_store(desk.data_directory, "g1")
    Eraser(desk.engine, desk.data_directory, unowned_seconds=0).advance()
    close_store(store, settle=True)
    assert look(desk, number)["step"] == "done"


def test_it_runs_beside_everything_else(desk: Desk, file: ExchangeFile) -> None:
    """The thread of the control process finds what was asked for, and ends when it is told to."""
    stopping = threading.Event()
    eraser = Eraser(desk.engine, desk.data_directory, unowned_seconds=0)
    thread = threading.Thread(target=eraser.run_until, args=(stopping,))
    thread.start()
    number = ask(desk, 3)
    wait_until(lambda: look(desk, number)["step"] == "done")
    stopping.set()
    thread.join()


def test_probes_that_were_drawn_from_it_go_too(desk: Desk, file: ExchangeFile) -> None:
    """The set keeps its name and is smaller; other probes stay."""
    probes = [
        Probe(number, "/classify", "application/json", "{}", exchange_id("g0", number), None, BEFORE_US)
        for number in range(3)
    ]
    frozen = freeze(desk.data_directory, TASK, probes, is_declared=False, now_us=BEFORE_US)
    assert erase(desk, 1)["step"] == Step.DONE
    kept = kept_set(desk.data_directory, TASK)
    assert kept is not None
    assert (kept.name, [probe.number for probe in kept.probes]) == (frozen.name, [0, 2])
