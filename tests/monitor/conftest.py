"""A data directory with a control file and one gateway's exchange file, new for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.control_file import open_control_file
from ledger.exchange_file import ExchangeFile, exchange_path


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_control_file(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def exchanges(tmp_path: Path) -> Iterator[ExchangeFile]:
    file = ExchangeFile(exchange_path(tmp_path, "g0"))
    yield file
    file.close()
