"""Distances as losses: nulls from the gate's rows, alarms where probabilities drift and top answers do not."""

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from ledger.configuration import Configuration, TriggerSection
from ledger.exchange_file import ExchangeFile
from ledger.harms import Harm
from ledger.observation import Observation
from ledger.tables import AlarmRow, DetectorRow
from monitor.baseline import REFERENCE_DELTA
from monitor.cycle import CycleReport, run_cycle
from monitor.distances import BINS, LOSSES, coarse, null_of_distance
from monitor.intervals import mean_upper_bound, upper_bound
from monitor.receipt import replay_alarm
from monitor.statistics import references_of
from monitor.sums import SliceSums, merged
from tests.ledger.builders import build_answer
from tests.monitor.world import A, add_student, build_configuration, build_pair, shadowed

TICK_US = 10_000_000
GOOD = {"all": (600, 570), "area=a": (300, 285)}
NEAR, FAR = Observation((0.85, 0.15)), Observation((0.55, 0.45))  # of A = (0.9, 0.1): 0.05 and 0.35 away


def rows(count: int, far: int = 0) -> SliceSums:
    """So many gate rows of which so many lie far apart."""
    return merged(SliceSums.of_pair(build_pair(A, FAR if n < far else NEAR)) for n in range(count))


def test_the_bound_of_a_mean_holds_and_knows_the_spread() -> None:
    """Four hundred references of losses that lie close together: nearly never too low, far below Hoeffding's."""
    draw, losses = random.Random(5), LOSSES
    missed, widths = 0, []
    for _ in range(400):
        counts = [0] * BINS
        for _ in range(300):
            counts[min(BINS - 1, int(draw.betavariate(2, 18) * BINS))] += 1
        bound = mean_upper_bound(counts, losses, 0.05)
        mean = sum(loss * count for loss, count in zip(losses, counts, strict=True)) / 300
        missed += bound < 0.08439  # the mean of these losses, rounded down to 32 bins
        widths.append(bound - mean)

    assert missed <= 31  # 20 on average at most; more has a probability below one in a hundred
    assert max(widths) < 0.5 * 0.0707  # sqrt(log(20) / 600)


def test_of_zeros_and_ones_it_is_a_little_above_the_exact_bound() -> None:
    """It has to hold for any losses with this mean."""
    found = mean_upper_bound([570, 30], [0.0, 1.0], 0.01)

    assert upper_bound(30, 600, 0.01) < found < 1.25 * upper_bound(30, 600, 0.01)
    assert mean_upper_bound([0, 0], [0.0, 1.0], 0.01) == 1.0


def test_bins_of_the_detector_are_pairs_of_those_of_the_sums() -> None:
    """So that the same histogram serves both."""
    assert coarse(((0, 3), (1, 2), (2, 1), (63, 4))) == (5, 1, *[0] * 29, 4)


def test_the_null_of_a_distance_comes_from_the_gate() -> None:
    """The slice's own rows where there are enough, else the overall slice's; nothing without."""
    kept = references_of({"all": rows(600, far=60), "area=a": rows(250), "area=z": rows(150, far=150)})
    trigger = TriggerSection(tolerance=0.02, reference_pairs=200)

    def null(name: str, harm: Harm = Harm.TOTAL_VARIATION) -> Any:
        return null_of_distance(harm, name, kept, trigger)

    mean = (60 * 11 / 32 + 540 * 1 / 32) / 600  # 0.35 and 0.05, rounded down to 32 bins
    bound = mean_upper_bound(coarse(rows(600, far=60).total_variation_histogram), LOSSES, REFERENCE_DELTA / 3)
    assert null("all").rate == pytest.approx(mean)
    assert null("all").m0 == pytest.approx(bound + 0.02)
    assert (null("all").source, null("area=a").source, null("area=z").source) == ("gate", "gate", "parent")
    assert null("area=z").m0 == null("all").m0 > null("area=a").m0
    assert null("all", Harm.DIVERGENCE_BITS).m0 < null("all").m0
    assert null_of_distance(Harm.TOTAL_VARIATION, "all", {}, trigger) is None
    assert (
        null_of_distance(Harm.TOTAL_VARIATION, "area=a", references_of({"area=a": rows(120)}), trigger)
        is None
    )


@pytest.fixture
def student(tmp_path: Path, engine: Engine) -> str:
    reference = {"all": rows(600, far=12), "area=a": rows(300, far=6)}
    return add_student(engine, tmp_path, GOOD, reference=reference).artifact


def watching(tmp_path: Path, *harms: str) -> Configuration:
    settings = {"harms": harms, "false_alarms": 1.0, "period_days": 1.0, "cooldown_seconds": 60.0}
    return build_configuration(tmp_path, trigger=settings)


def drive(
    engine: Engine, file: ExchangeFile, settings: Configuration, student: str, ticks: range, far: int
) -> list[CycleReport]:
    """Forty pairs a tick whose top answers agree, so many of which lie far apart."""
    reports = []
    for tick in ticks:
        sequences = range(40 * tick, 40 * tick + 40)
        file.append(
            [shadowed(n, agrees=True, started_at_us=tick * TICK_US)[0] for n in sequences],
            [build_answer(n, student, observations=(FAR if n % 40 < far else NEAR,)) for n in sequences],
        )
        reports.append(run_cycle(engine, settings, tick * TICK_US))
    return reports


@pytest.mark.parametrize("harm", ["total_variation", "divergence_bits"])
def test_probabilities_that_drift_raise_an_alarm(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, student: str, harm: str
) -> None:
    """Though every top answer stays the same; the receipt names the harm and replays bit for bit."""
    settings = watching(tmp_path, "disagreement", harm)
    quiet = drive(engine, exchanges, settings, student, range(10), far=0)
    drifted = drive(engine, exchanges, settings, student, range(10, 30), far=36)

    assert [alarm for report in quiet for alarm in report.alarms] == []
    assert {alarm.harm for report in drifted for alarm in report.alarms} == {harm}
    with Session(engine) as session:
        receipt = orjson.loads(orjson.dumps(session.exec(select(AlarmRow.receipt)).first()))
    replay = replay_alarm(receipt)
    assert replay is not None
    assert replay.is_same
    assert (len(receipt["losses"]), receipt["null_source"]) == (BINS, "gate")
    assert receipt["change_us"] == 10 * TICK_US


def test_distributions_that_come_closer_raise_none(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, student: str
) -> None:
    """Only harm counts, and the state stays small however long it lasts."""
    settings = watching(tmp_path, "total_variation")
    reports = drive(engine, exchanges, settings, student, range(70), far=0)

    assert not any(report.alarms for report in reports)
    with Session(engine) as session:
        row = session.exec(select(DetectorRow).where(DetectorRow.slice == "all")).one()
    assert sum(row.state["detector"]["totals"]) == 70 * 40
    assert len(orjson.dumps(row.state)) < 12_000


def test_a_student_without_such_a_reference_is_not_watched_for_distances(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """Students of an earlier release: their other harms are watched with the whole mass."""
    old = add_student(engine, tmp_path, GOOD).artifact
    drive(engine, exchanges, build_configuration(tmp_path, slice=()), old, range(2), far=0)

    with Session(engine) as session:
        found = session.exec(select(DetectorRow)).all()
    assert [(row.slice, row.harm) for row in found] == [("all", "disagreement")]
    assert found[0].state["detector"]["ticks"][-1][0] == pytest.approx(0.9)
