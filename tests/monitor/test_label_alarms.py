"""Alarms on true labels: from the null that the first ones give, within the same budget, and refused where due."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from gateway.control.evidence import last_alarm
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.exchange_file import ExchangeFile
from ledger.jobs import open_job
from ledger.labels import keep_label
from ledger.stages import Stage
from ledger.tables import AlarmRow, AuditRow, DetectorRow, LabelWatchRow
from monitor.cycle import CycleReport, run_cycle
from monitor.label_watch import kept
from monitor.receipt import replay_alarm
from tests.monitor.world import (
    TASK,
    add_student,
    build_configuration,
    set_stage,
    shadowed,
)

TICK_US = 10_000_000
GOOD = {"all": (600, 570), "area=a": (300, 285)}
TRIGGER: dict[str, Any] = {
    "harms": ["regret"],
    "false_alarms": 1.0,
    "period_days": 1.0,
    "cooldown_seconds": 60.0,
    "reference_pairs": 100,
}
A_TICK = 40  # pairs


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return build_configuration(tmp_path, trigger=TRIGGER, slice=())


@pytest.fixture
def artifact(tmp_path: Path, engine: Engine) -> str:
    return add_student(engine, tmp_path, GOOD).artifact


class Days:
    """Traffic of forty pairs a tick of which some are labelled; the teacher is always right."""

    def __init__(
        self, engine: Engine, file: ExchangeFile, configuration: Configuration, artifact: str
    ) -> None:
        self.engine, self.file, self.artifact = engine, file, artifact
        self.configuration = configuration
        self.ticks = 0

    def go(
        self,
        ticks: int,
        wrong: Sequence[int],
        labelled: Sequence[int],
        probability: float | None = None,
    ) -> list[CycleReport]:
        """Places of a tick's pairs on which the student is wrong, and of those that get a label."""
        reports = []
        for _ in range(ticks):
            first, at_us = self.ticks * A_TICK, self.ticks * TICK_US
            pairs = [
                shadowed(first + place, place not in wrong, self.artifact, started_at_us=at_us)
                for place in range(A_TICK)
            ]
            self.file.append([exchange for exchange, _ in pairs], [answer for _, answer in pairs])
            send(self.engine, [first + place for place in labelled], "a", probability)
            reports.append(run_cycle(self.engine, self.configuration, at_us))
            self.ticks += 1
        return reports


@pytest.fixture
def days(engine: Engine, exchanges: ExchangeFile, configuration: Configuration, artifact: str) -> Days:
    return Days(engine, exchanges, configuration, artifact)


def send(
    engine: Engine, sequences: Iterable[int], label: str = "a", probability: float | None = None
) -> None:
    with transaction(engine) as session:
        for sequence in sequences:
            keep_label(session, f"g0-{sequence}", 0, label, "test", probability)


def alarms(engine: Engine) -> list[AlarmRow]:
    with Session(engine) as session:
        return list(session.exec(select(AlarmRow).order_by(AlarmRow.id)))  # type: ignore[arg-type]


def test_labels_raise_an_alarm_when_the_student_becomes_worse_than_the_teacher(
    engine: Engine, days: Days
) -> None:
    """The first labels say what is normal; the alarm names the harm, opens a job and replays bit for bit."""
    quiet = days.go(12, wrong=[0], labelled=range(20))
    harm = days.go(6, wrong=range(10), labelled=range(20))

    assert [alarm for report in quiet for alarm in report.alarms] == []
    first = next(alarm for report in harm for alarm in report.alarms)
    assert (first.slice, first.harm, first.decision) == ("all", "regret", "job_opened")
    row = alarms(engine)[0]
    receipt = orjson.loads(orjson.dumps(row.receipt))
    replay = replay_alarm(receipt)
    assert row.harm == "regret"
    assert row.cause is not None
    assert {finding["source"] for finding in row.cause["findings"]} == {
        "teacher",
        "student",
        "serving",
        "input",
    }
    assert replay is not None
    assert replay.is_same
    assert receipt["null_source"] == "labels"
    assert "6 of the first 120 labels" in receipt["null_reason"]
    assert receipt["change_us"] == 12 * TICK_US


def test_a_student_that_becomes_better_raises_none(engine: Engine, days: Days) -> None:
    """Only harm counts."""
    days.go(8, wrong=range(5), labelled=range(20))
    days.go(20, wrong=[], labelled=range(20))

    assert alarms(engine) == []


def test_labels_that_come_for_mistakes_alone_are_refused(engine: Engine, days: Days, artifact: str) -> None:
    """The student is as it was; what is labelled is not. The row says so, and nothing follows from it."""
    days.go(12, wrong=[0], labelled=range(20))
    days.go(16, wrong=[0, 30], labelled=[0, 30])

    refused = alarms(engine)[0]
    assert (refused.decision, refused.job_id, refused.cause) == ("labels_moved", None, None)
    assert "50.0% of the slice's pairs before" in refused.receipt["decision_reason"]
    assert "5.0% since" in refused.receipt["decision_reason"]
    with Session(engine) as session:
        assert open_job(session, TASK) is None
        assert last_alarm(session, TASK, artifact) is None
        actions = set(session.exec(select(AuditRow.action)))
    assert "alarm_refused" in actions
    assert "alarm_raised" not in actions


def test_a_refused_stretch_is_no_norm_for_later(engine: Engine, days: Days) -> None:
    """Labels that stay as they became are refused again; labels as they were are believed again."""
    days.go(12, wrong=[0], labelled=range(20))
    days.go(40, wrong=[0, 30], labelled=[0, 30])
    refused = [alarm.decision for alarm in alarms(engine)]
    days.go(30, wrong=range(10), labelled=range(20))

    assert len(refused) >= 2
    assert set(refused) == {"labels_moved"}
    assert alarms(engine)[-1].decision in ("job_opened", "job_already_open")


def test_a_nightly_file_of_labels_is_no_move(engine: Engine, days: Days) -> None:
    """Labels that come together for all pairs since the last ones: the share is what it was."""
    for wrong in [[0]] * 8 + [list(range(10))] * 5:
        days.go(5, wrong=wrong, labelled=[])
        send(engine, range((days.ticks - 5) * A_TICK, days.ticks * A_TICK, 2))
        days.go(1, wrong=wrong, labelled=[])

    assert alarms(engine)[0].decision == "job_opened"


def test_too_few_labels_watch_nothing(engine: Engine, days: Days) -> None:
    """Ninety-nine after the very first ones say nothing about what is normal; the hundredth begins it."""
    days.go(12, wrong=[], labelled=range(9))
    with Session(engine) as session:
        before = session.exec(select(DetectorRow)).all()
        learning = kept(session, TASK)
    days.go(2, wrong=[], labelled=range(9))

    assert before == []
    assert [watch.learnt.effective for watch in learning.values()] == [108]
    with Session(engine) as session:
        rows = session.exec(select(DetectorRow)).all()
    assert [(row.slice, row.harm) for row in rows] == [("all", "regret")]
    assert sum(rows[0].state["detector"]["totals"]) == 9


def test_a_corrected_label_is_no_second_evidence(engine: Engine, days: Days) -> None:
    """The first one was bet on; sums are corrected, wealth is not."""
    days.go(7, wrong=[], labelled=range(20))
    for change in ("b", "a", "b"):
        send(engine, [*range(20), *range(A_TICK, A_TICK + 20)], change)
        days.go(1, wrong=[], labelled=[])

    with Session(engine) as session:
        row = session.exec(select(DetectorRow)).one()
    assert sum(row.state["detector"]["totals"]) == 20


def test_weighted_labels_are_bet_on_by_their_weight(engine: Engine, days: Days) -> None:
    """The easy half is labelled once in ten, the hard half always, each saying so: that is no harm."""
    hard, easy = range(20), [20, 21]
    for _ in range(60):
        _mixed(days, hard, easy)

    assert alarms(engine) == []
    with Session(engine) as session:
        watch = kept(session, TASK)[days.artifact, "all"]
        row = session.exec(select(DetectorRow)).one()
    assert watch.limit == 16
    assert len(row.state["detector"]["losses"]) == 17
    assert row.state["null"]["rate"] == pytest.approx(4 / 40, rel=0.01)


def _mixed(days: Days, hard: Sequence[int], easy: Sequence[int]) -> None:
    first = days.ticks * A_TICK
    for places, probability in ((hard, 1.0), (easy, 0.1)):
        send(days.engine, [first + place for place in places], "a", probability)
    days.go(1, wrong=range(4), labelled=[])


def test_a_heavier_label_begins_the_bets_anew(engine: Engine, days: Days) -> None:
    """What a weight may be has to be known before it is seen; its own tick is not bet on."""
    days.go(8, wrong=[0], labelled=range(20))
    days.go(1, wrong=range(20), labelled=range(20), probability=0.25)
    with Session(engine) as session:
        row = session.exec(select(DetectorRow)).one()

    assert len(row.state["detector"]["losses"]) == 17
    assert sum(row.state["detector"]["totals"]) == 0


def test_the_mass_is_shared_with_the_other_detectors(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, artifact: str
) -> None:
    """One budget: a tick gives out no more mass because labels are watched too."""
    both = build_configuration(tmp_path, trigger=TRIGGER | {"harms": ["disagreement", "regret"]}, slice=())
    Days(engine, exchanges, both, artifact).go(10, wrong=[0], labelled=range(20))

    with Session(engine) as session:
        rows = session.exec(select(DetectorRow)).all()
    assert sorted(row.harm for row in rows) == ["disagreement", "regret"]
    assert all(row.state["detector"]["ticks"][-1][0] == pytest.approx(0.45) for row in rows)


def test_ticks_between_labels_change_nothing_but_the_mass(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, days: Days
) -> None:
    """The clock of this stream is the arrival of labels."""
    days.go(8, wrong=[0], labelled=range(20))
    days.go(3, wrong=[0], labelled=[])

    with Session(engine) as session:
        row = session.exec(select(DetectorRow)).one()
        watch = kept(session, TASK)[days.artifact, "all"]
    assert row.state["detector"]["owed_mass"] == pytest.approx(2.7)
    assert watch.waiting == 3 * A_TICK


def test_a_student_that_stopped_answering_learns_anew(engine: Engine, days: Days) -> None:
    """As with its other detectors."""
    days.go(8, wrong=[0], labelled=range(20))
    set_stage(engine, days.artifact, Stage.ROLLED_BACK)
    days.go(1, wrong=[0], labelled=range(20))

    with Session(engine) as session:
        assert session.exec(select(LabelWatchRow)).all() == []
        assert session.exec(select(DetectorRow)).all() == []


def test_harms_that_are_no_longer_watched_are_forgotten(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, days: Days
) -> None:
    """Evidence that nobody asked for is worth nothing when the harm is watched again."""
    days.go(8, wrong=[0], labelled=range(20))
    other = build_configuration(tmp_path, trigger=TRIGGER | {"harms": ["disagreement"]}, slice=())

    run_cycle(engine, other, days.ticks * TICK_US)

    with transaction(engine) as session:
        assert session.exec(select(DetectorRow)).all() == []
        assert session.exec(select(LabelWatchRow)).all() == []
