"""Labels of exchanges that never come: kept for a day, then counted and removed."""

from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from ledger.clock import now_us
from ledger.configuration import Configuration
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.tables import HeartbeatRow, LabelRow
from monitor.cycle import CycleReport, run_cycle
from monitor.reports import merged_sums
from tests.monitor.world import TASK, build_configuration, send_label, traffic

DAY_US = 86_400_000_000


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return build_configuration(tmp_path)


def tick(engine: Engine, configuration: Configuration, days: float) -> CycleReport:
    return run_cycle(engine, configuration, now_us() + round(days * DAY_US))


def kept(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return list(session.exec(select(LabelRow.exchange_id).order_by(LabelRow.number)))  # type: ignore[arg-type]


def labelled(engine: Engine) -> int:
    with Session(engine) as session:
        sums = merged_sums(session, TASK, "s-1")
    return sums["all"].labelled if sums else 0


def test_a_label_waits_a_day_for_its_exchange(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Then it is counted and gone; labels with an exchange stay, since they may be corrected."""
    exchanges.append(*traffic(1, "s-1"))
    for name in ("g0-0", "g0-7", "g5-1", "g0-0"):
        send_label(engine, name, "a" if name == "g0-7" else "b")
    send_label(engine, "g0-0", "a")
    assert [tick(engine, configuration, days).lost_labels for days in (0, 0.9)] == [0, 0]
    assert len(kept(engine)) == 4
    reports = [tick(engine, configuration, days) for days in (1.1, 1.2)]

    assert [report.lost_labels for report in reports] == [2, 0]
    assert kept(engine) == ["g0-0", "g0-0"]
    assert labelled(engine) == 1
    with Session(engine) as session:
        heartbeat = session.get(HeartbeatRow, "monitor")
    assert heartbeat is not None
    assert heartbeat.report["lost_labels"] == 2


def test_an_exchange_that_comes_late_meets_its_label(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """The label was read long before."""
    send_label(engine, "g0-0", "a")
    send_label(engine, "g0-1", "a")
    tick(engine, configuration, 0.5)
    exchanges.append(*traffic(2, "s-1"))
    tick(engine, configuration, 2)

    assert (labelled(engine), kept(engine)) == (2, ["g0-0", "g0-1"])


def test_the_numbers_of_labels_go_on_growing(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """The last label stays until another one came: its number would be given again, and never be read."""
    exchanges.append(*traffic(1, "s-1"))
    send_label(engine, "g0-5", "a")
    send_label(engine, "g0-6", "a")
    assert [tick(engine, configuration, days).lost_labels for days in (0, 2)] == [0, 1]
    assert kept(engine) == ["g0-6"]
    send_label(engine, "g0-0", "a")
    tick(engine, configuration, 2)

    assert labelled(engine) == 1
    assert (tick(engine, configuration, 2).lost_labels, kept(engine)) == (0, ["g0-0"])


def test_labels_of_a_file_that_cannot_be_read_wait(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """And so do those behind them."""
    broken = exchange_path(tmp_path, "broken")
    for name in ("g0-5", "broken-1", "g0-6", "g0-7"):
        send_label(engine, name, "a")
    tick(engine, configuration, 0)
    broken.write_bytes(b"this is not a database, however long one reads it" * 100)
    assert tick(engine, configuration, 2).lost_labels == 1
    broken.unlink()

    assert tick(engine, configuration, 2).lost_labels == 2
    assert kept(engine) == ["g0-7"]
