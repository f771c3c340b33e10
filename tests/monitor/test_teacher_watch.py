"""A teacher that changed, as a tick of the monitor sees it: written down once, and acted upon."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from ledger.certificates import VoidCause
from ledger.clock import now_us
from ledger.configuration import Configuration
from ledger.control_file import open_control_file, transaction
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.probe_replies import KEPT_REPLIES, append_replies, replies_after
from ledger.tables import AuditRow, CertifiedSliceRow, JobRow, TeacherChangeRow
from monitor.cycle import CycleReport, run_cycle
from monitor.teacher_watch import probe_watch
from tests.ledger.builders import build_certified_slice
from tests.monitor.probes import A, B, build_reply, passes
from tests.monitor.world import TASK, add_student, build_configuration

GOOD = {"all": (600, 570)}


def settings(directory: Path, **probe: Any) -> Configuration:
    return build_configuration(directory, probe=probe, candidate=({"kind": "static", "encoder": "nowhere"},))


def tick(engine: Engine, configuration: Configuration) -> CycleReport:
    return run_cycle(engine, configuration, now_us())


def changes(engine: Engine) -> list[TeacherChangeRow]:
    with Session(engine) as session:
        return list(session.exec(select(TeacherChangeRow)))


def test_a_changed_teacher_voids_certificates_and_opens_a_job(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """The answers move; the record, the audit log, every line and the job say so, each once."""
    artifact = add_student(engine, tmp_path, GOOD, lines={"all": build_certified_slice(0.75)}).artifact
    configuration = settings(tmp_path)
    append_replies(exchanges, list(passes(lambda n, probe: B if n >= 6 and probe < 12 else A, 0, 10)))

    report = tick(engine, configuration)
    later = [tick(engine, configuration) for _ in range(3)]

    (change,) = changes(engine)
    assert (change.kind, change.voids, change.evidence["changed"]) == ("answers", True, 12)
    (told,) = report.teacher_changes
    assert told.startswith(f"task {TASK}: 12 of 20 probes got another answer than at first")
    assert all(not one.teacher_changes and not one.voids for one in later)
    with Session(engine) as session:
        (line,) = session.exec(select(CertifiedSliceRow))
        assert (line.cause, line.voided_at_us) == (VoidCause.TEACHER_CHANGED, change.at_us)
        (job,) = session.exec(select(JobRow))
        assert job.cause == "teacher_changed"
        assert artifact in job.reasons[0]
        audited = session.exec(select(AuditRow.action)).all()
    assert audited.count("teacher_changed") == 1


@pytest.mark.parametrize(("on_fingerprint", "voids"), [("record", False), ("void", True)])
def test_a_new_fingerprint_is_recorded_and_voids_where_that_is_asked_for(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, on_fingerprint: str, voids: bool
) -> None:
    """Providers change machines more often than models."""
    add_student(engine, tmp_path, GOOD, lines={"all": build_certified_slice(0.75)})
    replies = [build_reply(0, number, fingerprint=name) for number, name in enumerate(("fp_a", "fp_b"))]
    append_replies(exchanges, replies)
    report = tick(engine, settings(tmp_path, on_fingerprint=on_fingerprint))
    (change,) = changes(engine)
    assert (change.kind, change.before, change.after, change.voids) == ("fingerprint", "fp_a", "fp_b", voids)
    assert bool(report.voids) == voids


def test_a_student_that_came_after_the_change_is_left_alone(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """Its certificate is about the teacher that answers now."""
    append_replies(exchanges, [build_reply(0, number, version=str(number)) for number in range(2)])
    tick(engine, settings(tmp_path))
    assert [change.kind for change in changes(engine)] == ["version"]
    add_student(engine, tmp_path, GOOD, lines={"all": build_certified_slice(0.75)}, registered_at_us=now_us())
    assert tick(engine, settings(tmp_path)).voids == ()
    with Session(engine) as session:
        assert session.exec(select(JobRow)).all() == []


def test_any_split_over_ticks_gives_the_same_state(tmp_path: Path, engine: Engine) -> None:
    """One tick after each reply, or one for all; a tick that was rolled back counts nothing."""
    replies = list(passes(lambda n, probe: B if n == 5 and probe < 3 else A, 0, 7, probes=5))
    states = []
    for name, size in (("one", 1), ("some", 8), ("all", len(replies))):
        directory = tmp_path / name
        file = ExchangeFile(exchange_path(directory, "g0"))
        control = open_control_file(directory)
        for start in range(0, len(replies), size):
            append_replies(file, replies[start : start + size])
            tick(control, settings(directory))
        with transaction(control) as session:
            states.append(probe_watch(session, TASK))
        control.dispose()
        file.close()
    assert states[0] == states[1] == states[2]
    assert states[0] is not None
    assert states[0].total.changed == 3


def test_replies_of_tasks_that_are_not_probed_move_nothing(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """Without the section nobody reads them."""
    append_replies(exchanges, list(passes(lambda n, probe: A, 0, 2)))
    tick(engine, build_configuration(tmp_path))
    with transaction(engine) as session:
        assert probe_watch(session, TASK) is None


def test_the_exchange_file_keeps_a_bounded_number_of_replies(exchanges: ExchangeFile) -> None:
    """The oldest go, and numbers are never given twice."""
    one = build_reply()
    for _ in range(3):
        append_replies(exchanges, [one] * (KEPT_REPLIES // 2))
    numbers = [number for number, _ in replies_after(exchanges._connection, 0, 10**6)]
    assert (len(numbers), numbers[-1]) == (KEPT_REPLIES, KEPT_REPLIES * 3 // 2)
