"""Certificates on live pairs: what voids a line, what renews it, and what is no evidence."""

from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from ledger.artifacts import CertifiedSlice
from ledger.certificates import VoidCause
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.exchange_file import ExchangeFile
from ledger.tables import AlarmRow, AuditRow, CertifiedSliceRow
from monitor.cycle import CycleReport, run_cycle
from tests.ledger.builders import build_certified_slice
from tests.monitor.world import add_student, build_configuration, shadowed

TICK_US = 10_000_000
LENIENT = {
    "all": (600, 300),
    "area=a": (300, 150),
    "area=z": (300, 150),
}  # the drift detector's null is far above
STRICT = {"all": (600, 590), "area=a": (300, 295), "area=z": (300, 295)}
LINES = {name: build_certified_slice(0.75) for name in ("all", "area=a", "area=z")}  # accepts every answer


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """An area may be certified without a bar, and lets its parent tell the drift detector's null."""
    return build_configuration(tmp_path, slice=({"name": "area", "header": "x-area"},))


class World:
    """One student whose certificate is watched tick by tick."""

    def __init__(self, directory: Path, engine: Engine, file: ExchangeFile, configuration: Configuration):
        self.directory, self.engine, self.file, self.configuration = directory, engine, file, configuration
        self.artifact, self.ticks = "", 0

    def certify(self, counts: dict[str, tuple[int, int]], lines: dict[str, CertifiedSlice]) -> None:
        self.artifact = add_student(self.engine, self.directory, counts, lines=lines).artifact

    def tick(self, wrong_of_ten: dict[str, int], pairs: int = 40, **changes: object) -> CycleReport:
        """Traffic over the given areas in equal parts, of which so many of ten answers disagree."""
        self.ticks += 1
        areas = sorted(wrong_of_ten)
        made = [
            shadowed(
                sequence := self.ticks * 1000 + place,
                place // len(areas) % 10 >= wrong_of_ten[areas[place % len(areas)]],
                self.artifact,
                **{"attributes": {"x-area": areas[place % len(areas)]}, "started_at_us": self.ticks * TICK_US}
                | {"input_digests": (f"{sequence}",)}
                | changes,
            )
            for place in range(pairs)
        ]
        self.file.append([exchange for exchange, _ in made], [answer for _, answer in made])
        return run_cycle(self.engine, self.configuration, self.ticks * TICK_US)

    def rows(self) -> dict[str, CertifiedSliceRow]:
        with transaction(self.engine) as session:
            return {row.slice: row for row in session.exec(select(CertifiedSliceRow))}

    def causes(self) -> dict[str, str | None]:
        return {name: row.cause for name, row in self.rows().items()}


@pytest.fixture
def world(tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration) -> World:
    return World(tmp_path, engine, exchanges, configuration)


def test_pairs_above_the_threshold_that_disagree_void_their_line(world: World) -> None:
    """Four of ten where one was certified, in one slice; the others go on, and no drift alarm is needed."""
    world.certify(LENIENT, LINES)
    voids = [void for _ in range(4) for void in world.tick({"a": 4, "z": 0}).voids]

    assert [(void.slice, void.cause) for void in voids] == [("area=a", VoidCause.AUDIT)]
    assert world.causes() == {"all": None, "area=a": "audit", "area=z": None}
    assert "at most 10.0% was certified" in (world.rows()["area=a"].reason or "")
    with transaction(world.engine) as session:
        assert session.exec(select(AlarmRow)).all() == []
        actions = [row.action for row in session.exec(select(AuditRow))]
    assert actions.count("certificate_voided") == 1


def test_a_void_line_stays_void(world: World) -> None:
    """However well the pairs agree later; its evidence stays as it was."""
    world.certify(LENIENT, LINES)
    while "audit" not in world.causes().values():
        world.tick({"a": 5})
    state = world.rows()["area=a"].state
    for _ in range(5):
        assert world.tick({"a": 0}).voids == ()
    assert (world.causes()["area=a"], world.rows()["area=a"].state) == ("audit", state)


def test_answers_below_the_threshold_say_nothing(world: World) -> None:
    """Those that disagree have confidence 0.8, and 0.85 is what was certified."""
    world.certify(LENIENT, {name: build_certified_slice(0.85) for name in LINES})
    for _ in range(5):
        assert world.tick({"a": 5, "z": 5}).voids == ()
    assert world.rows()["all"].state["against"]["totals"][-1] == 0


def test_a_repeated_input_is_no_evidence(world: World) -> None:
    """One client that retries the same input for ever."""
    world.certify(LENIENT, LINES)
    for _ in range(5):
        assert world.tick({"a": 10}, input_digests=("same",)).voids == ()
    assert sum(world.rows()["area=a"].state["against"]["totals"]) == 5


def test_the_members_of_a_pool_count_together(world: World) -> None:
    """Two areas that are small by themselves refute their common line sooner than either could."""
    pool = build_certified_slice(0.75, pool=("area=a", "area=z"))
    world.certify(LENIENT, {"all": build_certified_slice(0.85), "area:small": pool})
    world.tick({"a": 3, "z": 3})
    assert sum(world.rows()["area:small"].state["against"]["totals"]) == 40
    while not (report := world.tick({"a": 3, "z": 3})).voids:
        assert world.ticks < 10
    assert [void.slice for void in report.voids] == ["area:small"]


def test_a_drift_alarm_voids_the_line_of_its_slice(world: World) -> None:
    """In the same transaction, although no accepted pair disagreed."""
    world.certify(STRICT, {name: build_certified_slice(0.85) for name in LINES})
    while not (report := world.tick({"a": 4, "z": 0}, pairs=10)).alarms:
        assert world.ticks < 40
    alarmed = {alarm.slice for alarm in report.alarms}
    assert {(void.slice, void.cause) for void in report.voids} == {
        (name, VoidCause.ALARM) for name in alarmed
    }
    assert alarmed <= set(LINES)


def test_an_alarm_on_a_slice_that_only_measures_voids_everything(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """The teacher's class is not known before it answers, so nobody could keep these inputs from the student."""
    rule = ({"name": "desk", "teacher_class": True, "alarm_below": 0.95},)
    world = World(tmp_path, engine, exchanges, build_configuration(tmp_path, slice=rule))
    world.certify({"all": (600, 300)}, {"all": build_certified_slice(0.85)})
    while not (report := world.tick({"a": 3})).alarms:
        assert world.ticks < 40
    assert {alarm.slice for alarm in report.alarms} == {"desk=a"}
    assert [(void.slice, void.cause) for void in report.voids] == [("all", VoidCause.ALARM)]


def test_an_answer_of_another_teacher_voids_every_line(world: World) -> None:
    """The certificate says nothing about agreement with that one."""
    world.certify(LENIENT, LINES)
    assert world.tick({"a": 0, "z": 0}).voids == ()
    report = world.tick({"a": 0}, pairs=1, teacher_epoch="2")
    assert {void.slice for void in report.voids} == set(LINES)
    assert set(world.causes().values()) == {"teacher_changed"}


def test_pairs_that_agree_renew_a_line(world: World) -> None:
    """Its age then counts from there; a slice without traffic keeps the age that it has."""
    world.certify(LENIENT, LINES)
    for _ in range(3):
        world.tick({"a": 0})
    rows = world.rows()
    assert rows["area=a"].certified_at_us >= TICK_US
    assert rows["area=z"].certified_at_us < TICK_US
    assert set(world.causes().values()) == {None}
