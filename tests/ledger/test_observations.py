"""Observations on disk."""

from pathlib import Path

from ledger.exchange_file import ExchangeFile, exchange_at, reading
from ledger.observation import Observation, ObservationError, hard_label
from tests.ledger.builders import build_exchange


def test_observations_read_back(tmp_path: Path) -> None:
    """Distributions, hard labels, the share of no class and errors, as they were written."""
    said = (
        Observation((0.25, 0.75)),
        Observation((0.25, 0.75), None, False, 0.125),
        hard_label(1, 2),
        hard_label(0, 2, 0.5),
        Observation(None, ObservationError.NOT_FINITE),
    )
    path = tmp_path / "g0.sqlite"
    file = ExchangeFile(path)
    file.append([build_exchange(1, teacher=said)], [])
    file.close()
    with reading(path) as connection:
        found = exchange_at(connection, 1)
    assert found is not None
    assert found.teacher == said
