"""Alarms: on the slice that drifts, with a receipt, a decision, and silence afterwards."""

from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from ledger.clock import now_us
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.exchange_file import ExchangeFile
from ledger.jobs import JobStatus, claim_job, finish_job, open_job
from ledger.stages import Stage
from ledger.tables import AlarmRow, AuditRow, DetectorRow
from monitor.cycle import CycleReport, run_cycle
from monitor.receipt import replay_alarm
from monitor.reports import merged_sums
from tests.monitor.world import TASK, add_student, build_configuration, set_stage, shadowed, traffic

TICK_US = 10_000_000
GOOD = {"all": (600, 570), "area=a": (300, 285), "area=z": (300, 285)}


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return build_configuration(tmp_path)


def drive(
    engine: Engine,
    file: ExchangeFile,
    configuration: Configuration,
    artifact: str,
    ticks: range,
    wrong_of_ten: dict[str, int],
    per_tick: int = 40,
) -> list[CycleReport]:
    """Traffic over the given areas in equal parts, of which so many of ten answers disagree."""
    areas = sorted(wrong_of_ten)
    reports = []
    for number in ticks:
        sequences = range(number * per_tick, (number + 1) * per_tick)
        pairs = []
        for sequence in sequences:
            area = areas[sequence % len(areas)]
            agrees = sequence // len(areas) % 10 >= wrong_of_ten[area]
            at_us = number * TICK_US
            pairs.append(
                shadowed(sequence, agrees, artifact, attributes={"x-area": area}, started_at_us=at_us)
            )
        file.append([exchange for exchange, _ in pairs], [answer for _, answer in pairs])
        reports.append(run_cycle(engine, configuration, number * TICK_US))
    return reports


def test_a_drifting_slice_raises_one_alarm_and_opens_a_job(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """The area that decays alarms, the one beside it does not; job, alarm and audit row belong together."""
    artifact = add_student(engine, tmp_path, GOOD).artifact

    quiet = drive(engine, exchanges, configuration, artifact, range(30), {"a": 0, "z": 0})
    drift = drive(engine, exchanges, configuration, artifact, range(30, 36), {"a": 0, "z": 4})

    assert [alarm for report in quiet for alarm in report.alarms] == []
    first = next(alarm for report in drift for alarm in report.alarms)
    assert (first.slice, first.artifact, first.decision) == ("area=z", artifact, "job_opened")
    assert not any(alarm.slice == "area=a" for report in drift for alarm in report.alarms)
    with Session(engine) as session:
        job = open_job(session, TASK)
        assert job is not None
        assert (job.id, job.alarm_id, job.cause, job.opened_by) == (
            first.job_id,
            first.alarm_id,
            "alarm",
            "d",
        )
        actions = session.exec(select(AuditRow.action)).all()
        assert {"alarm_raised", "job_opened"} <= set(actions)


def test_the_receipt_replays_the_alarm_bit_for_bit(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """From its own numbers alone, after a round trip through the file, and it dates the change."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    drive(engine, exchanges, configuration, artifact, range(30), {"a": 0, "z": 1})
    drive(engine, exchanges, configuration, artifact, range(30, 36), {"a": 0, "z": 7})

    with Session(engine) as session:
        alarm = session.exec(select(AlarmRow).order_by(AlarmRow.id)).first()  # type: ignore[arg-type]
    assert alarm is not None
    receipt = orjson.loads(orjson.dumps(alarm.receipt))
    replay = replay_alarm(receipt)
    assert replay is not None
    assert replay.is_same
    assert replay.replayed["log_wealth"] == alarm.receipt["log_wealth"] >= receipt["log_threshold"]
    assert sum(sum(counts) for _, _, *counts in receipt["ticks"]) == receipt["inputs"]
    assert receipt["null_source"] == "gate"
    assert receipt["overall"]["inputs"] > receipt["inputs"]
    assert 28 * TICK_US <= receipt["change_us"] <= 31 * TICK_US
    assert receipt["training_window_us"] == [receipt["change_us"], alarm.at_us]


def test_a_receipt_that_was_altered_replays_otherwise(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """One disagreement more, another budget, another null: each of them shows."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    drive(engine, exchanges, configuration, artifact, range(6), {"a": 0, "z": 7})
    with Session(engine) as session:
        receipt = session.exec(select(AlarmRow.receipt)).first()
    assert receipt is not None

    mass, at_us, agreements, disagreements = receipt["ticks"][0]
    for change in (
        {"ticks": [[mass, at_us, agreements - 1, disagreements + 1], *receipt["ticks"][1:]]},
        {"ticks": [[mass, at_us + 1, agreements, disagreements], *receipt["ticks"][1:]]},
        {"false_alarms": 1e-9},
        {"m0": receipt["m0"] * (1 + 1e-15)},
    ):
        replay = replay_alarm(receipt | change)
        assert replay is not None
        assert not replay.is_same
    assert replay_alarm(receipt | {"format": 1}) is None


def test_a_detector_of_another_release_begins_anew(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Its state cannot be read, and the stream is watched all the same."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    drive(engine, exchanges, configuration, artifact, range(2), {"a": 0})
    with transaction(engine) as session:
        for row in session.exec(select(DetectorRow)):
            row.state = row.state | {"detector": {"m0": 0.1, "bets": [], "ticks": []}}
            session.add(row)

    drive(engine, exchanges, configuration, artifact, range(2, 3), {"a": 0})

    with Session(engine) as session:
        after = session.get(DetectorRow, (TASK, artifact, "area=a", "disagreement"))
    assert after is not None
    assert sum(after.state["detector"]["totals"]) == 40


def test_after_an_alarm_a_slice_is_silent_for_the_cooldown(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Sixty seconds are six ticks; then it starts from nothing and alarms again while nothing has changed."""
    artifact = add_student(engine, tmp_path, GOOD).artifact

    reports = drive(engine, exchanges, configuration, artifact, range(16), {"z": 10})

    alarmed = [n for n, report in enumerate(reports) if any(a.slice == "area=z" for a in report.alarms)]
    assert len(alarmed) >= 2
    assert all(later - earlier >= 6 for earlier, later in pairwise(alarmed))
    decisions = [alarm.decision for report in reports for alarm in report.alarms]
    assert decisions.count("job_opened") == 1
    assert set(decisions) == {"job_opened", "job_already_open"}


def test_an_alarm_soon_after_a_job_waits(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """The job that just ended, with whatever outcome, bars another until the cooldown is over."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    drive(engine, exchanges, configuration, artifact, range(3), {"z": 10})
    with transaction(engine) as session:
        job = claim_job(session, "w")
        assert job is not None
        assert job.id is not None
        assert finish_job(session, job.id, "w", JobStatus.FAILED, ["it did"])

    start = now_us() // TICK_US + 1
    reports = [
        report
        for report in drive(engine, exchanges, configuration, artifact, range(start, start + 4), {"z": 10})
        if report.alarms
    ]

    assert {alarm.decision for report in reports for alarm in report.alarms} == {"cooldown"}


def test_an_alarm_about_a_replaced_student_opens_no_job(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """A newer student answers already; it is the one to judge."""
    old = add_student(engine, tmp_path, GOOD, registered_at_us=1).artifact
    add_student(engine, tmp_path, GOOD, registered_at_us=2)

    reports = drive(engine, exchanges, configuration, old, range(4), {"z": 10})

    assert {alarm.decision for report in reports for alarm in report.alarms} == {"newer_student"}


def test_students_that_do_not_answer_are_measured_but_not_watched(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """And one that stops answering loses its detectors, so that it begins anew if it comes back."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    drive(engine, exchanges, configuration, artifact, range(2), {"z": 0})
    with Session(engine) as session:
        assert len(session.exec(select(DetectorRow)).all()) == 4

    set_stage(engine, artifact, Stage.ROLLED_BACK)
    reports = drive(engine, exchanges, configuration, artifact, range(2, 6), {"z": 10})

    assert not any(report.alarms for report in reports)
    with Session(engine) as session:
        assert merged_sums(session, TASK, artifact)["area=z"].disagreements == 160
        assert session.exec(select(DetectorRow)).all() == []


def test_repeated_inputs_count_once_for_the_detector_alone(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """A client in a retry loop cannot raise an alarm; its pairs are measured all the same."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    exchanges.append(*traffic(500, artifact, disagree=range(500), input_digests=("same",)))

    report = run_cycle(engine, configuration, 0)

    assert report.alarms == ()
    with Session(engine) as session:
        assert merged_sums(session, TASK, artifact)["all"].disagreements == 500
        row = session.get(DetectorRow, (TASK, artifact, "all", "disagreement"))
    assert row is not None
    assert row.state["detector"]["totals"] == [0, 1]


def test_a_damaged_artifact_is_named_and_the_slices_hold_against_their_bars(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """The gate report cannot be trusted then, and a null is still there."""
    student = add_student(engine, tmp_path, GOOD)
    (student.folder / "manifest.json").write_text("{}")
    exchanges.append(*traffic(5, student.artifact))

    report = run_cycle(engine, configuration, 0)

    assert "differs from the registered digest" in report.problems[student.artifact]
    with Session(engine) as session:
        row = session.get(DetectorRow, (TASK, student.artifact, "all", "disagreement"))
    assert row is not None
    assert row.state["null"]["source"] == "bar"


def test_another_null_starts_the_detector_anew(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Evidence against the old null says nothing about the new one; the same null keeps it."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    drive(engine, exchanges, configuration, artifact, range(2), {"a": 0})
    stricter = build_configuration(tmp_path, trigger={"tolerance": 0.0})

    inputs = []
    for number, settings in ((2, configuration), (3, stricter), (4, stricter)):
        drive(engine, exchanges, settings, artifact, range(number, number + 1), {"a": 0})
        with Session(engine) as session:
            row = session.get(DetectorRow, (TASK, artifact, "area=a", "disagreement"))
        assert row is not None
        inputs.append(sum(row.state["detector"]["totals"]))

    assert inputs == [120, 40, 80]
