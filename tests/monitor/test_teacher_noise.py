"""The teacher's second answers as the monitor folds them: its noise per slice, beside students, alarming nobody."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine
from sqlmodel import Session, select

from ledger.clock import now_us
from ledger.control_file import open_control_file_read_only, transaction
from ledger.exchange import TEACHER_AGAIN, Origin
from ledger.exchange_file import ExchangeFile
from ledger.tables import DetectorRow
from monitor.cycle import run_cycle
from monitor.exporter import ControlFileCollector
from monitor.reports import merged_sums, students_with_sums
from tests.ledger.builders import build_answer
from tests.monitor.world import TASK, A, B, add_student, build_configuration, shadowed

GOOD = {"all": (600, 570)}


def give(exchanges: ExchangeFile, artifact: str, count: int = 60) -> None:
    """Every third exchange was asked twice; in area b the teacher never says the same again."""
    for sequence in range(count):
        area = "ab"[sequence % 2]
        exchange, answer = shadowed(
            sequence, True, artifact, attributes={"x-area": area}, started_at_us=now_us()
        )
        second = build_answer(
            sequence,
            TEACHER_AGAIN,
            origin=Origin.SECOND,
            observations=(A if area == "a" else B,),
            inclusion=0.3,
        )
        exchanges.append([exchange], [answer, second] if sequence % 3 == 0 else [answer])


def test_the_noise_of_each_slice_is_measured(tmp_path: Path, engine: Engine, exchanges: ExchangeFile) -> None:
    """As whole-number sums under a name of its own; the students' sums are as without it."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    give(exchanges, artifact)
    run_cycle(engine, build_configuration(tmp_path), now_us())
    with transaction(engine) as session:
        noise, student = (merged_sums(session, TASK, name) for name in (TEACHER_AGAIN, artifact))
    counts = {name: (sums.pairs, sums.agreements) for name, sums in noise.items()}
    assert {name: counts[name] for name in ("all", "area=a", "area=b")} == {
        "all": (20, 10),
        "area=a": (10, 10),
        "area=b": (10, 0),
    }
    with transaction(engine) as session:
        assert students_with_sums(session, TASK) == [artifact]
    assert (student["all"].pairs, student["all"].agreements) == (60, 60)


def test_a_noisy_teacher_raises_no_alarm(tmp_path: Path, engine: Engine, exchanges: ExchangeFile) -> None:
    """It is no student: no detector watches it."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    give(exchanges, artifact, 3000)
    report = run_cycle(engine, build_configuration(tmp_path), now_us())
    assert report.alarms == ()
    with Session(engine) as session:
        assert set(session.exec(select(DetectorRow.artifact))) == {artifact}


def test_the_noise_is_exported_beside_the_students(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """With bounds; no slice gauge takes the teacher for a student."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    give(exchanges, artifact)
    configuration = build_configuration(tmp_path)
    run_cycle(engine, configuration, now_us())
    reader = open_control_file_read_only(tmp_path)
    registry = CollectorRegistry()
    registry.register(ControlFileCollector(reader, configuration))
    value = registry.get_sample_value
    of_b = {"task": TASK, "slice": "area=b"}
    assert value("stillgate_teacher_noise_ratio", of_b) == 1.0
    assert value("stillgate_teacher_again_pairs", of_b) == 10
    low = value("stillgate_teacher_noise_low_ratio", of_b)
    assert low == pytest.approx(
        1 - (value("stillgate_teacher_noise_high_ratio", {"task": TASK, "slice": "area=a"}) or 0)
    )
    of_teacher = {"task": TASK, "artifact": TEACHER_AGAIN, "slice": "all"}
    assert value("stillgate_slice_fidelity_ratio", of_teacher) is None
    reader.dispose()
