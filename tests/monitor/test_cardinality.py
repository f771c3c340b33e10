"""Slices of a header are bounded: the first values keep theirs, in whatever ticks they come."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from ledger.configuration import Configuration
from ledger.exchange_file import ExchangeFile
from monitor.cycle import CycleReport, run_cycle
from monitor.reports import merged_sums
from tests.monitor.world import TASK, add_student, build_configuration, send_label, shadowed


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """Two areas are measured apart."""
    return build_configuration(tmp_path, slice=({"name": "area", "header": "x-area", "max_values": 2},))


def write(file: ExchangeFile, areas: str, first: int = 0, artifact: str = "s-1") -> None:
    for sequence, area in enumerate(areas, first):
        exchange, answer = shadowed(sequence, True, artifact, attributes={"x-area": area})
        file.append([exchange], [answer])


def pairs_by_slice(engine: Engine, artifact: str = "s-1") -> dict[str, int]:
    with Session(engine) as session:
        return {name: sums.pairs for name, sums in merged_sums(session, TASK, artifact).items()}


@pytest.mark.parametrize("cuts", [(), (1,), (2, 3), (4,), (1, 2, 3, 4, 5)])
def test_the_first_values_keep_their_slices(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration, cuts: Sequence[int]
) -> None:
    """Further ones are counted as other; where the ticks fall changes nothing."""
    areas = "qpqxpx"
    reports: list[CycleReport] = []
    for low, high in zip((0, *cuts), (*cuts, len(areas)), strict=True):
        write(exchanges, areas[low:high], low)
        reports.append(run_cycle(engine, configuration, low))

    assert pairs_by_slice(engine) == {"all": 6, "area=p": 2, "area=q": 2, "area=other": 2}
    assert sum(report.overflow.get("desk/area", 0) for report in reports) == 2


def test_each_student_has_slices_of_its_own(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """What an earlier one's callers sent takes no room from a later one."""
    write(exchanges, "pq")
    run_cycle(engine, configuration, 0)
    write(exchanges, "xyp", 2, "s-2")
    run_cycle(engine, configuration, 1)

    assert pairs_by_slice(engine, "s-2") == {"all": 3, "area=x": 1, "area=y": 1, "area=other": 1}


def test_slices_that_the_gate_judged_keep_their_place(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Whenever their traffic comes."""
    artifact = add_student(engine, tmp_path, {"all": (600, 570), "area=late": (300, 285)}).artifact
    write(exchanges, "pqx", 0, artifact)
    exchange, answer = shadowed(3, True, artifact, attributes={"x-area": "late"})
    exchanges.append([exchange], [answer])
    run_cycle(engine, configuration, 0)

    assert pairs_by_slice(engine, artifact) == {"all": 4, "area=p": 1, "area=late": 1, "area=other": 2}


def test_the_value_other_shares_the_slice(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """It takes no room and is told apart from nothing."""
    for sequence, area in enumerate(("other", "p", "q", "x")):
        exchange, answer = shadowed(sequence, True, attributes={"x-area": area})
        exchanges.append([exchange], [answer])
    run_cycle(engine, configuration, 0)

    assert pairs_by_slice(engine) == {"all": 4, "area=p": 1, "area=q": 1, "area=other": 2}


def test_a_late_label_finds_the_slice_that_its_pair_counts_in(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """And is no overflow of its own."""
    write(exchanges, "pqx")
    run_cycle(engine, configuration, 0)
    send_label(engine, "g0-2", "a")
    send_label(engine, "g0-0", "a")
    report = run_cycle(engine, configuration, 1)

    with Session(engine) as session:
        labelled = {name: sums.labelled for name, sums in merged_sums(session, TASK, "s-1").items()}
    assert labelled == {"all": 2, "area=p": 1, "area=q": 0, "area=other": 1}
    assert report.overflow == {}
