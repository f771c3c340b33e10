"""A deployment that is down: its files, as gateway, monitor and trainer left them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.control_file import open_control_file
from ledger.exchange_file import ExchangeFile, exchange_path
from tests.gateway.control.desk import load_from
from tests.stillgate.report.stopped import Stopped


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Stopped]:
    """Without any student or exchange yet."""
    path, configuration = load_from(tmp_path)
    directory = configuration.deployment.data_directory
    engine = open_control_file(directory)
    exchanges = ExchangeFile(exchange_path(directory, "g0"))
    yield Stopped(path, configuration, engine, exchanges)
    exchanges.close()
    engine.dispose()
