"""New and changed slice rules: measured over the past too, each pair and label once, whatever happens meanwhile."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.cursors import cursor
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.tables import DetectorRow, SliceRuleRow, SumsRow
from monitor import cycle
from monitor.cycle import CycleReport, run_cycle
from monitor.declared_rules import Phase
from monitor.reading import Limits
from monitor.reports import merged_sums
from monitor.sums import SliceSums
from tests.monitor.test_cycle import Story
from tests.monitor.world import TASK, build_configuration, send_label, shadowed, traffic

AREA = {"name": "area", "header": "x-area"}
LENGTH = {"name": "length", "words": (50,)}
SHORT = {"name": "length", "words": (3,)}
SIZE = {"name": "size", "characters": (7,)}
BOTH = {"name": "both", "of": ("area", "length")}


def configured(directory: Path, *rules: dict[str, Any]) -> Configuration:
    return build_configuration(directory, slice=rules)


def sums_of(engine: Engine, **span: int) -> dict[str, SliceSums]:
    with Session(engine) as session:
        return merged_sums(session, TASK, "s-1", **span)


def counted(engine: Engine) -> dict[str, tuple[int, int]]:
    return {name: (sums.pairs, sums.labelled) for name, sums in sums_of(engine).items()}


def phases(engine: Engine) -> dict[str, str]:
    with Session(engine) as session:
        return {row.rule: row.phase for row in session.exec(select(SliceRuleRow))}


def catch_up(engine: Engine, configuration: Configuration, answers: int = 1000) -> list[CycleReport]:
    """Ticks until every declared rule has joined; each shows them so many answers of the past."""
    limits = Limits(answers, pairs=answers)
    reports = [run_cycle(engine, configuration, 0, limits)]
    while reports[-1].catching_up or reports[-1].is_behind:
        assert len(reports) < 500, reports[-1]
        reports.append(run_cycle(engine, configuration, 0, limits))
    return reports


def test_rules_of_a_new_deployment_are_in_time(
    engine: Engine, exchanges: ExchangeFile, tmp_path: Path
) -> None:
    """There is no past to catch up with, even if exchanges came before the monitor did."""
    exchanges.append(*traffic(3, "s-1"))
    report = run_cycle(engine, configured(tmp_path, AREA), 0)

    assert (report.joined, report.catching_up, phases(engine)) == ((), {}, {"area": Phase.JOINED})
    assert counted(engine) == {"all": (3, 0), "area=a": (3, 0)}


def test_a_new_rule_is_measured_over_the_past(
    engine: Engine, exchanges: ExchangeFile, tmp_path: Path
) -> None:
    """With the labels of the past, in the windows of the past, and without touching what was measured."""
    exchanges.append(*traffic(4, "s-1", disagree=(1,)))
    send_label(engine, "g0-2", "a")
    run_cycle(engine, configured(tmp_path, AREA), 0)
    before = sums_of(engine)
    report = run_cycle(engine, configured(tmp_path, AREA, SIZE), 1)

    assert (report.pairs, report.joined) == (0, ("desk/size",))
    after = sums_of(engine)
    assert {name: after[name] for name in before} == before
    assert after["size=0-6"] == before["all"]
    assert sums_of(engine, since_us=0) == after
    exchanges.append(*[part[4:] for part in traffic(6, "s-1", inputs=("longer text",))])
    run_cycle(engine, configured(tmp_path, AREA, SIZE), 2)
    assert (counted(engine)["size=0-6"], counted(engine)["size=7+"]) == ((4, 1), (2, 0))


def test_a_changed_rule_is_measured_anew(engine: Engine, exchanges: ExchangeFile, tmp_path: Path) -> None:
    """What its earlier definition counted is gone, its detectors too; a changed bar changes nothing."""
    exchanges.append(*traffic(5, "s-1"))
    run_cycle(engine, configured(tmp_path, AREA, LENGTH), 0)
    with transaction(engine) as session:
        for name in ("length=0-49", "area=a"):
            session.add(DetectorRow(task=TASK, artifact="s-1", slice=name, state={}))
    run_cycle(engine, configured(tmp_path, {**AREA, "bar": 0.5}, SHORT), 1)

    assert counted(engine) == {"all": (5, 0), "area=a": (5, 0), "length=0-2": (5, 0)}
    with Session(engine) as session:
        assert "length=0-49" not in {row.slice for row in session.exec(select(DetectorRow))}


def test_a_rule_that_comes_back_is_made_anew(engine: Engine, exchanges: ExchangeFile, tmp_path: Path) -> None:
    """Its sums stay while it is not declared; what it missed is in them when it is again."""
    exchanges.append(*traffic(2, "s-1"))
    run_cycle(engine, configured(tmp_path, AREA), 0)
    exchanges.append(*[part[2:] for part in traffic(5, "s-1")])
    run_cycle(engine, configured(tmp_path), 1)
    assert counted(engine) == {"all": (5, 0), "area=a": (2, 0)}
    assert phases(engine) == {"area": Phase.GONE}
    run_cycle(engine, configured(tmp_path, AREA), 2)

    assert counted(engine) == {"all": (5, 0), "area=a": (5, 0)}


def test_sums_of_an_earlier_release_are_taken_over(
    engine: Engine, exchanges: ExchangeFile, tmp_path: Path
) -> None:
    """Its file has no list of rules; a rule that has sums was measured all along."""
    exchanges.append(*traffic(2, "s-1"))
    run_cycle(engine, configured(tmp_path, AREA), 0)
    with transaction(engine) as session:
        session.connection().execute(text("DELETE FROM slice_rule"))
    report = run_cycle(engine, configured(tmp_path, AREA, SIZE), 1)

    assert report.joined == ("desk/size",)
    assert counted(engine) == {"all": (2, 0), "area=a": (2, 0), "size=0-6": (2, 0)}


def test_what_was_not_recorded_then_is_measured_from_then_on(
    engine: Engine, exchanges: ExchangeFile, tmp_path: Path
) -> None:
    """Exchanges without the header, or whose text was not kept, are in no slice of the rule."""
    kept = {"attributes": {"x-area": "a"}, "started_at_us": 7_000_000_000}
    for sequence, changes in enumerate(({"attributes": {}, "inputs": ("",)}, kept)):
        exchange, answer = shadowed(sequence, True, **changes)
        exchanges.append([exchange], [answer])
    run_cycle(engine, configured(tmp_path), 0)
    catch_up(engine, configured(tmp_path, AREA, SIZE))

    assert counted(engine) == {"all": (2, 0), "area=a": (1, 0), "size=0-6": (1, 0)}
    with Session(engine) as session:
        windows = session.exec(select(SumsRow.window_start_us).where(SumsRow.slice == "area=a")).all()
        rows = session.exec(select(SliceRuleRow)).all()
    assert sorted(windows) == [-1, 6_960_000_000]
    assert {row.rule: row.since_us for row in rows} == {"area": 7_000_000_000, "size": 7_000_000_000}


def test_the_past_is_read_in_small_steps(engine: Engine, exchanges: ExchangeFile, tmp_path: Path) -> None:
    """Live pairs go on being measured meanwhile, and the share that is read is told."""
    exchanges.append(*traffic(35, "s-1"))
    run_cycle(engine, configured(tmp_path), 0)
    exchanges.append(*[part[35:] for part in traffic(40, "s-1")])
    reports = catch_up(engine, configured(tmp_path, AREA), answers=10)

    assert [report.pairs for report in reports] == [5, 0, 0, 0, *([0] * (len(reports) - 4))]
    assert reports[0].catching_up == {"desk/area": 10 / 40}
    assert reports[-1].joined == ("desk/area",)
    assert counted(engine) == {"all": (40, 0), "area=a": (40, 0)}
    with Session(engine) as session:
        assert cursor(session, cycle.FOLLOWER, "answers:g0") == 0


def test_a_rule_declared_while_another_catches_up_waits(
    engine: Engine, exchanges: ExchangeFile, tmp_path: Path
) -> None:
    """And then begins at the first exchange like the one before it."""
    exchanges.append(*traffic(5, "s-1"))
    run_cycle(engine, configured(tmp_path), 0)
    few = Limits(answers=2, pairs=2)
    run_cycle(engine, configured(tmp_path, AREA), 0, few)
    run_cycle(engine, configured(tmp_path, AREA, SIZE), 0, few)
    assert phases(engine) == {"area": Phase.CATCHING_UP, "size": Phase.WAITING}
    joined = [report.joined for report in catch_up(engine, configured(tmp_path, AREA, SIZE)) if report.joined]

    assert joined == [("desk/area",), ("desk/size",)]
    assert counted(engine) == {"all": (5, 0), "area=a": (5, 0), "size=0-6": (5, 0)}


def test_past_exchanges_raise_no_alarm(engine: Engine, exchanges: ExchangeFile, tmp_path: Path) -> None:
    """Detectors of a new slice see what comes from then on."""
    exchanges.append(*traffic(300, "s-1", disagree=range(300)))
    run_cycle(engine, configured(tmp_path), 0)
    reports = catch_up(engine, configured(tmp_path, AREA))

    assert [report.alarms for report in reports] == [()] * len(reports)
    with Session(engine) as session:
        assert session.exec(select(DetectorRow).where(DetectorRow.slice == "area=a")).all() == []


def test_an_unreadable_gateway_is_waited_for(engine: Engine, exchanges: ExchangeFile, tmp_path: Path) -> None:
    """A rule joins when it has read every exchange file, and no tick is spun for that."""
    exchanges.append(*traffic(3, "s-1"))
    run_cycle(engine, configured(tmp_path), 0)
    broken = exchange_path(tmp_path, "broken")
    broken.write_bytes(b"this is not a database, however long one reads it" * 100)
    report = run_cycle(engine, configured(tmp_path, AREA), 1)
    assert (report.joined, report.is_behind, list(report.catching_up)) == ((), False, ["desk/area"])
    broken.unlink()

    assert run_cycle(engine, configured(tmp_path, AREA), 2).joined == ("desk/area",)
    assert counted(engine) == {"all": (3, 0), "area=a": (3, 0)}


def test_a_tick_that_fails_leaves_the_past_where_it_was(
    engine: Engine, exchanges: ExchangeFile, tmp_path: Path
) -> None:
    """The last write of the transaction is refused; the next tick does everything once."""
    exchanges.append(*traffic(6, "s-1"))
    run_cycle(engine, configured(tmp_path), 0)
    refuse = "CREATE TRIGGER refuse BEFORE INSERT ON heartbeat BEGIN SELECT RAISE(ABORT, 'refused'); END"
    with transaction(engine) as session:
        session.connection().execute(text(refuse))
    with pytest.raises(IntegrityError, match="refused"):
        run_cycle(engine, configured(tmp_path, AREA), 1)
    with transaction(engine) as session:
        session.connection().execute(text("DROP TRIGGER refuse"))
    assert phases(engine) == {"area": Phase.CATCHING_UP}

    assert run_cycle(engine, configured(tmp_path, AREA), 2).joined == ("desk/area",)
    assert counted(engine) == {"all": (6, 0), "area=a": (6, 0)}


class ChangingStory(Story):
    """Random traffic and labels, while rules come, go and change."""

    def step(self) -> None:
        if self.random.random() < 0.08:
            self.declare()
        else:
            super().step()

    def tick(self) -> None:
        run_cycle(self.engine, self.configuration, 0, Limits(answers=7, pairs=7))

    def declare(self) -> None:
        chosen = [rule for rule in (AREA, LENGTH, SHORT, SIZE) if self.random.random() < 0.6]
        if AREA in chosen and (LENGTH in chosen or SHORT in chosen):
            chosen.append(BOTH)
        if LENGTH in chosen and SHORT in chosen:
            chosen.remove(SHORT)
        self.configuration = configured(self.configuration.deployment.data_directory, *chosen)


@pytest.mark.parametrize("seed", range(8))
def test_sums_do_not_depend_on_when_a_rule_is_declared(
    seed: int, engine: Engine, exchanges: ExchangeFile, tmp_path: Path
) -> None:
    """Rules change in the middle of ticks, audits, late labels and corrections; in the end every slice is exact."""
    story = ChangingStory(seed, engine, exchanges, configured(tmp_path, AREA))
    for _ in range(300):
        story.step()
    story.configuration = configured(tmp_path, AREA, LENGTH, SIZE, BOTH)
    catch_up(engine, story.configuration, answers=7)

    assert sums_of(engine) == story.expected()
    assert sums_of(engine, since_us=0) == sums_of(engine)
